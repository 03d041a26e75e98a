"""Several workers, processes here or on other machines, share each batch of mnist.py.

    python examples/data_parallel.py --workers 2 --batch 256    # all other options as in mnist.py

The gradient of a sum is the sum of the gradients. So a batch is cut into shards, every worker
differentiates one, and what comes back is added up: the step is that of one process, but for the last
bits. A job brings its weights and images along, as bytes, and may go to any worker: so any
concurrent.futures.Executor will do, wherever its workers are. With examples/ in the PYTHONPATH of all
machines, these scripts use Dask and MPI (`mpiexec -n 9 python -m mpi4py.futures script.py`):

    import data_parallel
    from dask.distributed import Client
    data_parallel.main(["--workers", "8", "--batch", "512"], Client("scheduler:8786").get_executor())

    import data_parallel
    from mpi4py.futures import MPIPoolExecutor
    if __name__ == "__main__":
        data_parallel.main(["--workers", "8", "--batch", "512"], MPIPoolExecutor())

It pays where a shard takes much longer than its weights on their way there, and its gradients back.
"""
from common import at_least, start
import functools
import math
import operator
import os
import signal
import sys
from array import array
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import parent_process
from threading import Thread, local
from micrograd import flat, nest
from mnist import Run, backpropagate, carry_out, network, options, parse, predict

KEPT = local()  # a worker keeps its network from job to job: only the weights change


# ------------------------------------------------------------------------------------------ what travels

def pack(arrays):
    """Nested lists of floats as bytes."""
    return b"".join(array("d", flat(data)).tobytes() for data in arrays)


def unpack(packed, parameters):
    """The nested lists in the bytes, one for each parameter and of its shape."""
    numbers, start = array("d", packed).tolist(), 0
    for parameter in parameters:
        yield nest(numbers[start:start + parameter.numel()], parameter.shape)
        start += parameter.numel()


# ------------------------------------------------------------------------------------------- in a worker

def work(task, sizes, weights, *arguments):
    """Do the task with a network of these weights; its result, and the gradients if it leaves some."""
    if getattr(KEPT, "sizes", None) != sizes:
        KEPT.sizes, KEPT.model = sizes, network(sizes)
    parameters = KEPT.model.parameters()
    for parameter, data in zip(parameters, unpack(weights, parameters)):
        parameter.data, parameter.grad = data, None
    result = task(KEPT.model, *arguments)
    return result, pack(p.grad.tolist() for p in parameters if p.grad is not None)


def stay_with_parent():
    """In a new process: leave Ctrl-C to the parent, and end when it ends, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()


# ----------------------------------------------------------------------------------------- in the parent

class SharedRun(Run):
    """A run of mnist.py whose batches and tests are shared out among the workers of an executor."""

    def __init__(self, args, executor):
        super().__init__(args)
        self.executor = executor

    def share_out(self, task, shards):
        """Let the workers do the task on each shard, a tuple of arguments; the results in order."""
        parameters = self.model.parameters()
        shapes = [weight.shape for weight in parameters[::2]]
        sizes = [shapes[0][1]] + [nout for nout, nin in shapes]
        weights = pack(parameter.tolist() for parameter in parameters)
        jobs = [self.executor.submit(work, task, sizes, weights, *shard) for shard in shards]
        return [job.result() for job in jobs]

    def gradients(self, images, labels):
        """Set the gradients to the sum of those of the shards; the loss, and how many are right."""
        size, step = len(images), min(self.args.workers, len(images))
        shards = [(images[i::step], labels[i::step], size) for i in range(step)]
        results, packed = zip(*self.share_out(backpropagate, shards))
        gradients = [array("d", gradient) for gradient in packed]
        total = functools.reduce(lambda a, b: array("d", map(operator.add, a, b)), gradients)
        parameters = self.model.parameters()
        for parameter, gradient in zip(parameters, unpack(total, parameters)):
            parameter.grad = gradient
        return [sum(column) for column in zip(*results)]

    def predict(self, images):
        """For each image (probability, digit)."""
        size = math.ceil(len(images) / self.args.workers)
        shards = [(images[i:i + size],) for i in range(0, len(images), size)]
        return [guess for guesses, _ in self.share_out(predict, shards) for guess in guesses]


def main(argv=None, executor=None):
    """Run with the options in argv; an executor (Dask, MPI) replaces the processes. The picture."""
    parser = options("data_parallel.py", __doc__)
    parser.add_argument("--workers", type=at_least(1), default=2, metavar="N",
                        help="share each batch among N workers (2)")
    args = parse(parser, argv)
    pool = executor or ProcessPoolExecutor(args.workers, initializer=stay_with_parent)
    try:
        return carry_out(args, lambda args: SharedRun(args, pool))
    except BrokenExecutor as error:
        kept = f"; {args.checkpoint} keeps whole epochs, go on with --resume" if args.checkpoint else ""
        sys.exit(f"a worker died{kept}\n{error}")
    finally:
        if not executor:
            pool.shutdown()


if __name__ == "__main__":
    start(main)
