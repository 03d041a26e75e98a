"""MNIST: a network of Tensors learns to read handwritten digits.

    python examples/mnist.py                            # 5 epochs; downloads the digits once (11 MB)
    python examples/mnist.py --limit 2000 --epochs 3    # a first look, in seconds
    python examples/mnist.py --workers 2 --batch 256 --checkpoint mnist.safetensors
    python examples/mnist.py --lr 0.01 --momentum 0 --weight-decay 1e-4 --epochs 20    # the plainest recipe

After every epoch the network reads 10,000 digits that it was not trained on. At the end: which digits it
takes for which, in the terminal and, with its most confident mistakes, in mnist.svg. With --checkpoint, a run
that was stopped or killed goes on after its last whole epoch (--resume), to the very same numbers.
"""

import argparse
import functools
import gzip
import math
import operator
import os
import random
import signal
import struct
import sys
import time
import zlib
from array import array
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread, local

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from common import Progress, Svg, at_least, clock, fetch, output_path, paint
from micrograd import (SGD, Adam, AdamW, Linear, Sequential, Tensor, cross_entropy, flat, load, nest, no_grad,
                       save)

HOME = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FILES = {  # and the SHA-256 of each as .gz
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
OPTIMIZERS = {"sgd": (SGD, 0.03), "adam": (Adam, 0.001), "adamw": (AdamW, 0.001)}  # and a good learning rate
SHADES = [byte / 255 for byte in range(256)]


# ------------------------------------------------------------------------------------------------ the digits

def find(folder, name):
    """The path of one of the FILES: in the folder, gzip or plain; without a folder, downloaded."""
    if folder is None:
        try:
            return fetch(f"{HOME}{name}.gz", FILES[name])
        except OSError as error:
            advice = f"get {', '.join(FILES)} (.gz) from {HOME} elsewhere and pass their folder with --data"
            raise OSError(f"cannot download the digits: {error}\n{advice}") from None
    for path in (folder / f"{name}.gz", folder / name):
        if path.exists():
            return path
    raise OSError(f"no {name}.gz and no {name} in {folder}")


def read_idx(path, ndim):
    """The sizes and the bytes in an IDX file: it is 0, 0, 8, ndim, the sizes as 32-bit numbers, the bytes."""
    data = path.read_bytes()
    try:
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    start = 4 + 4 * ndim
    if len(data) < start or data[:4] != bytes([0, 0, 8, ndim]):
        raise ValueError(f"{path} is not an IDX file of bytes with {ndim} dimensions")
    sizes = struct.unpack(f">{ndim}I", data[4:start])
    if len(data) - start != math.prod(sizes):
        raise ValueError(f"{path} should hold {' x '.join(map(str, sizes))} bytes, not {len(data) - start}")
    return sizes, data[start:]


def read_digits(folder, kind, limit):
    """The first `limit` images, as 784 bytes each, and their labels."""
    image_path, label_path = (find(folder, f"{kind}-{name}-ubyte") for name in ("images-idx3", "labels-idx1"))
    (count, height, width), pixels = read_idx(image_path, 3)
    (labelled,), labels = read_idx(label_path, 1)
    if (height, width) != (28, 28) or not count:
        raise ValueError(f"{image_path} holds {count} images of {height} x {width}, not of 28 x 28")
    if labelled != count or max(labels) > 9:
        raise ValueError(f"{label_path} does not hold a digit from 0 to 9 for each of {count} images")
    return [pixels[i:i + 784] for i in range(0, 784 * count, 784)][:limit], list(labels)[:limit]


# ----------------------------------------------------------------------------------------------- the network

def network(sizes):
    """A network of linear layers of these sizes, with relu between them."""
    steps = []
    for nin, nout in zip(sizes, sizes[1:]):
        steps += [Linear(nin, nout), Tensor.relu]
    return Sequential(*steps[:-1])


def widen(model):
    """Start with larger weights (He's), to make up for each relu, which halves the signal."""
    for weight in model.parameters()[::2]:
        weight.data = [[math.sqrt(6) * number for number in row] for row in weight.data]


def inputs(images):
    """Images as rows of numbers from 0 to 1, a constant (n, 784) Tensor."""
    return Tensor([list(map(SHADES.__getitem__, image)) for image in images], requires_grad=False)


def backpropagate(model, images, labels, count):
    """Set the gradients for these images of a batch of `count`; returns their loss and how many are right."""
    scores = model(inputs(images))
    loss = cross_entropy(scores, labels, reduction="sum") / count
    model.zero_grad()
    loss.backward()
    return loss.item(), sum(map(operator.eq, scores.argmax(1), labels))


def predict(model, images):
    """For each image (probability, digit): what the model reads, and how sure it is."""
    guesses = []
    with no_grad():
        for i in range(0, len(images), 250):  # a few at a time: numbers take more room than bytes
            rows = model(inputs(images[i:i + 250])).softmax(1).tolist()
            guesses += [max(zip(row, range(10))) for row in rows]
    return guesses


# ---------------------------------------------------------------------------------------------- more workers
# The gradient of a sum is the sum of the gradients: cut the batch into shards, let every worker differentiate
# one, add what comes back. A job brings its weights and images along, as bytes, and may go to any worker: so
# any concurrent.futures.Executor will do, whether its workers are processes here or machines elsewhere.

KEPT = local()  # a worker keeps its network from job to job: only the weights change


def pack(arrays):
    """Nested lists of floats as bytes."""
    return b"".join(array("d", flat(data)).tobytes() for data in arrays)


def unpack(packed, parameters):
    """The nested lists in the bytes, one for each parameter and of its shape."""
    numbers, start = array("d", packed).tolist(), 0
    for parameter in parameters:
        yield nest(numbers[start:start + parameter.size], parameter.shape)
        start += parameter.size


def work(task, sizes, weights, *arguments):
    """In a worker: do the task with a network of these weights; its result, and the gradients if any."""
    if getattr(KEPT, "sizes", None) != sizes:
        KEPT.sizes, KEPT.model = sizes, network(sizes)
    parameters = KEPT.model.parameters()
    for parameter, data in zip(parameters, unpack(weights, parameters)):
        parameter.data, parameter.grad = data, None
    result = task(KEPT.model, *arguments)
    return result, pack(parameter.grad for parameter in parameters if parameter.grad is not None)


def share_out(executor, task, model, shards):
    """Let the workers do the task on each shard, a tuple of arguments; the results in order."""
    shapes = [weight.shape for weight in model.parameters()[::2]]
    sizes = [shapes[0][1]] + [nout for nout, nin in shapes]
    weights = pack(parameter.data for parameter in model.parameters())
    jobs = [executor.submit(work, task, sizes, weights, *shard) for shard in shards]
    return [job.result() for job in jobs]


def sharded_gradients(executor, workers, model, images, labels):
    """What `backpropagate` does, by the workers of any concurrent.futures.Executor."""
    shards = [(images[i::workers], labels[i::workers], len(images)) for i in range(min(workers, len(images)))]
    results, packed = zip(*share_out(executor, backpropagate, model, shards))
    gradients = [array("d", gradient) for gradient in packed]
    total = functools.reduce(lambda a, b: array("d", map(operator.add, a, b)), gradients)
    for parameter, gradient in zip(model.parameters(), unpack(total, model.parameters())):
        parameter.grad = gradient
    return [sum(column) for column in zip(*results)]


def sharded_predict(executor, workers, model, images):
    """What `predict` does, by the workers."""
    size = math.ceil(len(images) / workers)
    shards = [(images[i:i + size],) for i in range(0, len(images), size)]
    return [guess for guesses, _ in share_out(executor, predict, model, shards) for guess in guesses]


# -------------------------------------------------------------------------------------------------- training

class Training:
    """A model on its way through the epochs, with all that a checkpoint holds."""

    def __init__(self, args, executor=None):
        self.args, self.executor, self.epoch = args, executor, 0
        self.shuffler = random.Random(args.seed)
        self.model = network([784] + args.hidden + [10])
        widen(self.model)
        kind, lr = OPTIMIZERS[args.optimizer]
        options = {"momentum": args.momentum} if kind is SGD else {}
        self.optimizer = kind(self.model.parameters(), lr=lr if args.lr is None else args.lr,
                              weight_decay=args.weight_decay, **options)

    def save(self):
        """Write the checkpoint, if one is wanted: weights, moments, the epoch, and where the dice stand."""
        if self.args.checkpoint:
            state = {**self.model.state_dict("model."), **self.optimizer.state_dict("optimizer."),
                     "epoch": self.epoch, "random": list(self.shuffler.getstate()[1])}
            save(self.args.checkpoint, state)

    def resume(self):
        """Go back to where the checkpoint was written. ValueError when it is not one of such a run."""
        state = load(self.args.checkpoint)
        if not {"epoch", "random"} <= state.keys():
            raise ValueError(f"{self.args.checkpoint} is not a checkpoint of this program")
        self.model.load_state_dict(state, "model.")
        self.optimizer.load_state_dict(state, "optimizer.")
        self.shuffler.setstate((3, tuple(map(int, state["random"])), None))
        self.epoch = int(state["epoch"])

    def kept(self):
        """What a run that ends now leaves behind."""
        if not self.args.checkpoint:
            return "without --checkpoint FILE nothing is kept"
        return f"{self.args.checkpoint} keeps all epochs before this one: go on with --resume"

    def step(self, images, labels):
        """One step downhill; returns the loss and how many were right."""
        if self.executor:
            loss, right = sharded_gradients(self.executor, self.args.workers, self.model, images, labels)
        else:
            loss, right = backpropagate(self.model, images, labels, len(images))
        self.optimizer.step()
        return loss, right

    def train(self, images, labels):
        """One epoch: every image once, in a new order."""
        order, size, losses, rights = list(range(len(images))), self.args.batch, 0, 0
        self.shuffler.shuffle(order)
        with Progress(len(order), f"epoch {self.epoch + 1}/{self.args.epochs}", lines=1) as progress:
            for start in range(0, len(order), size):
                batch = order[start:start + size]
                loss, right = self.step([images[i] for i in batch], [labels[i] for i in batch])
                done, losses, rights = start + len(batch), losses + loss * len(batch), rights + right
                progress.show(done, f"loss {losses / done:.4f}  accuracy {rights / done:.2%}")
        self.epoch += 1

    def predict(self, images):
        """What the model reads in each image."""
        if self.executor:
            return sharded_predict(self.executor, self.args.workers, self.model, images)
        return predict(self.model, images)


def learn(training, digits, test):
    """The epochs that are left, each with a checkpoint and a test; returns the last guesses in the test."""
    began, first, last, guesses = time.perf_counter(), training.epoch, training.args.epochs, []
    while training.epoch < last:
        training.train(*digits)
        training.save()
        guesses = training.predict(test[0])
        left = (time.perf_counter() - began) / (training.epoch - first) * (last - training.epoch)
        print(f"test accuracy {accuracy(guesses, test[1]):.2%}" + (f"  {clock(left)} left" if left else ""),
              flush=True)
    return guesses


# ------------------------------------------------------------------------------------------------ the report

STYLE = """
    .right { fill: #2da44e } .wrong { fill: #e8710a } .ink { fill: #1f2328; fill-opacity: 0.55 }
    @media (prefers-color-scheme: dark) { .ink { fill: #e6edf3 } }"""


def accuracy(guesses, labels):
    """The share of digits that were read right."""
    return sum(guess == label for (_, guess), label in zip(guesses, labels)) / len(labels)


def confusion(guesses, labels):
    """counts[label][guess]: how often a digit was taken for which."""
    counts = [[0] * 10 for _ in range(10)]
    for (_, guess), label in zip(guesses, labels):
        counts[label][guess] += 1
    return counts


def print_confusion(counts):
    """The counts in the terminal: right ones green, the more frequent mistakes the brighter."""
    print("\nA row per digit, a column per answer:\n      "
          + "".join(f"{digit:6}" for digit in range(10)) + "   right")
    for label, row in enumerate(counts):
        inks = [114 if guess == label else 208 if count > 9 else 180 if count else 240
                for guess, count in enumerate(row)]
        cells = "".join(paint(f"{count or '·':>6}", ink) for count, ink in zip(row, inks))
        print(f"{label:6}{cells}{row[label] / max(sum(row), 1):8.1%}")


def draw_confusion(svg, counts, x0, y0, size=31):
    """Draw the counts, each on a square of its size, from the corner x0, y0."""
    for digit in range(10):
        svg.add("text", digit, x=x0 - 13, y=y0 + size * digit + 20, class_="muted middle")
        svg.add("text", digit, x=x0 + size * digit + 15, y=y0 - 10, class_="muted middle")
    most = max([1] + [count for i, row in enumerate(counts) for count in row[:i] + row[i + 1:]])
    for label, row in enumerate(counts):
        for guess, count in enumerate(row):
            x, y = x0 + size * guess, y0 + size * label
            shade = 0.06 + (count / max(sum(row), 1) if guess == label else count / most) / 2
            svg.add("rect", x=x, y=y, width=size - 2, height=size - 2, rx=3, fill_opacity=shade,
                    class_="right" if guess == label else "wrong")
            if count:
                svg.add("text", count, x=x + 14.5, y=y + 19, class_="small middle")
    svg.add("text", "rows: the digit · columns: how it is read", x=x0, y=y0 + 329, class_="small muted")


def draw_mistakes(svg, guesses, labels, images, x0, y0):
    """Draw the twenty digits that were read wrong with most confidence, from the corner x0, y0."""
    wrong = [i for i, label in enumerate(labels) if guesses[i][1] != label]
    svg.add("text", "its most confident mistakes" if wrong else "no mistake", x=x0, y=y0 - 10, class_="muted")
    for place, i in enumerate(sorted(wrong, key=lambda i: -guesses[i][0])[:20]):
        x, y = x0 + place % 5 * 87, y0 + place // 5 * 79
        image = [images[i][j:j + 28] for j in range(0, 784, 28)]
        for shade in (70, 150):
            svg.contour(image, (x, y, 58, 58), shade, class_="ink")
        text = f"{labels[i]}, read as {guesses[i][1]}"
        svg.add("text", text, x=x + 29, y=y + 70, class_="small muted middle")


def report(args, epochs, guesses, labels, images):
    """Say how well the network reads, in the terminal and as a picture."""
    counts, sizes = confusion(guesses, labels), "-".join(map(str, [784] + args.hidden + [10]))
    title = (f"A {sizes} network reads {accuracy(guesses, labels):.2%} of {len(labels):,} new digits "
             f"after {epochs} epoch{'s' * (epochs != 1)}")
    print_confusion(counts)
    print(title)
    svg = Svg(860, 440, title, STYLE)
    svg.add("text", title, x=28, y=36, class_="title")
    draw_confusion(svg, counts, 53, 92)
    draw_mistakes(svg, guesses, labels, images, 400, 92)
    svg.save(args.out)


# -------------------------------------------------------------------------------------------------- the start

def arguments(argv=None):
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="folder of the four IDX files (default: download them once)")
    add("--limit", type=at_least(1), metavar="N", help="only the first N digits, in training and in the test")
    add("--hidden", type=at_least(1), nargs="+", default=[128, 64], help="sizes of hidden layers (128 64)")
    add("--epochs", type=at_least(1), default=5, help="how often to go through all digits (5)")
    add("--batch", type=at_least(1), default=64, help="digits per step (64)")
    add("--optimizer", choices=list(OPTIMIZERS), default="sgd", help="how to go downhill (sgd)")
    add("--lr", type=at_least(0, float), help="learning rate (0.03 for sgd, 0.001 for adam and adamw)")
    add("--momentum", type=at_least(0, float), default=0.9, help="of sgd (0.9)")
    add("--weight-decay", type=at_least(0, float), default=0.0, help="strength of the L2 penalty (0)")
    add("--seed", type=int, default=1337, help="the same seed gives the same numbers (1337)")
    add("--workers", type=at_least(1), default=1, metavar="N", help="share each batch among N processes (1)")
    add("--checkpoint", type=output_path, metavar="FILE", help="safetensors file, written after each epoch")
    add("--resume", action="store_true", help="go on from the checkpoint, with the same options as before")
    add("--out", type=output_path, default="mnist.svg", help="where the picture goes (mnist.svg)")
    args = parser.parse_args(argv)
    if args.resume and not (args.checkpoint and args.checkpoint.exists()):
        parser.error("--resume needs --checkpoint with a file that a former run has written")
    if args.checkpoint and args.checkpoint.exists() and not args.resume:
        parser.error(f"{args.checkpoint} exists: add --resume to go on from it, or delete it")
    return args


def run(args, executor=None):
    """Train, test and report, with the workers of the executor if there is one."""
    random.seed(args.seed)
    training, guesses = Training(args, executor), []
    try:
        digits, test = [read_digits(args.data, kind, args.limit) for kind in ("train", "t10k")]
        training.resume() if args.resume else training.save()
        try:
            guesses = learn(training, digits, test)
        except KeyboardInterrupt:
            print(f"stopped in epoch {training.epoch + 1}; {training.kept()}")
    except BrokenExecutor as error:
        sys.exit(f"a worker died: {error}\n{training.kept()}")
    except (OSError, ValueError) as error:
        sys.exit(f"mnist: {error}")
    images, labels = test
    report(args, training.epoch, guesses or predict(training.model, images), labels, images)


def stay_with_parent():
    """In a new worker process: leave Ctrl-C to the parent, and end when it ends, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()


def main(argv=None, executor=None):
    """Run with the options in argv. An executor (Dask, MPI) replaces the worker processes."""
    args = arguments(argv)
    if args.workers == 1 or executor:
        return run(args, executor)
    with ProcessPoolExecutor(args.workers, initializer=stay_with_parent) as pool:
        run(args, pool)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
