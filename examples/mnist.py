"""MNIST: a network of Tensors learns to read handwritten digits.

    python examples/mnist.py                            # 5 epochs; downloads the digits once (11 MB)
    python examples/mnist.py --limit 2000 --epochs 3    # a first look, in seconds
    python examples/mnist.py --checkpoint mnist.safetensors             # and then, if it was stopped,
    python examples/mnist.py --checkpoint mnist.safetensors --resume    # on from its last whole epoch
    python examples/mnist.py --lr 0.01 --momentum 0 --weight-decay 1e-4 --epochs 20    # a plain recipe

After every epoch the network reads 10,000 digits that it was not trained on. At the end: which digits
it takes for which, in the terminal and, with its most confident mistakes, in mnist.svg. With
--checkpoint, a run that was stopped or killed goes on (--resume) to the very same numbers.
data_parallel.py does the same with more than one process.
"""
from common import (BLOCKS, Progress, Svg, at_least, clock, columns, count, diverged, draw_confusion,
                    fetch, output_path, paint, picture_path, start, wild)
import argparse
import gzip
import math
import operator
import random
import struct
import sys
import time
import zlib
from pathlib import Path
from micrograd import SGD, Adam, AdamW, Linear, Sequential, Tensor, cross_entropy, load, no_grad, save

HOME = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FILES = {  # and the SHA-256 of each as .gz
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
OPTIMIZERS = {"sgd": (SGD, 0.03), "adam": (Adam, 0.001), "adamw": (AdamW, 0.001)}  # and a learning rate
SHADES = [byte / 255 for byte in range(256)]


# -------------------------------------------------------------------------------------------- the digits

def find(folder, name):
    """The path of one of the FILES: in the folder, gzip or plain; without a folder, downloaded."""
    if folder is None:
        try:
            return fetch(f"{HOME}{name}.gz", FILES[name])
        except OSError as error:
            advice = f"get {', '.join(FILES)} (.gz) from {HOME} elsewhere, and pass --data FOLDER"
            raise OSError(f"cannot download the digits: {error}\n{advice}") from None
    for path in (folder / f"{name}.gz", folder / name):
        if path.exists():
            return path
    raise OSError(f"no {name}.gz and no {name} in {folder}")


def read_idx(path, ndim):
    """Sizes and bytes in an IDX file: it is 0, 0, 8, ndim, the sizes as 32-bit numbers, the bytes."""
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
        shape = " x ".join(map(str, sizes))
        raise ValueError(f"{path} should hold {shape} bytes, not {len(data) - start}")
    return sizes, data[start:]


def read_digits(folder, kind, limit):
    """The first `limit` images, as 784 bytes each, and their labels."""
    image_path, label_path = (find(folder, f"{kind}-{name}-ubyte")
                              for name in ("images-idx3", "labels-idx1"))
    (number, height, width), pixels = read_idx(image_path, 3)
    (labelled,), labels = read_idx(label_path, 1)
    if (height, width) != (28, 28) or not number:
        found = f"{count(number, 'image')} of {height} x {width}"
        raise ValueError(f"{image_path} holds {found}, not of 28 x 28")
    if labelled != number or max(labels) > 9:
        raise ValueError(f"{label_path} does not hold a digit from 0 to 9 for each of {number} images")
    return [pixels[i:i + 784] for i in range(0, 784 * number, 784)][:limit], list(labels)[:limit]


# ------------------------------------------------------------------------------------------- the network

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


def backpropagate(model, images, labels, batch):
    """Set the gradients for these images of a `batch`; returns their loss and how many are right."""
    scores = model(inputs(images))
    loss = cross_entropy(scores, labels, reduction="sum") / batch
    model.zero_grad()
    loss.backward()
    return loss.item(), sum(map(operator.eq, scores.argmax(1).tolist(), labels))


def predict(model, images):
    """For each image (probability, digit): what the model reads, and how sure it is."""
    guesses = []
    with no_grad():
        for i in range(0, len(images), 250):  # a few at a time: numbers take more room than bytes
            rows = model(inputs(images[i:i + 250])).softmax(1).tolist()
            guesses += [max(zip(row, range(10))) for row in rows]
    return guesses


# ---------------------------------------------------------------------------------------------- training

class Run:
    """A model on its way through the epochs, with all that a checkpoint holds."""

    def __init__(self, args):
        self.args, self.epoch, self.shuffler = args, 0, random.Random(args.seed)
        self.guesses = []   # what it read in the last test
        self.model = network([784] + args.hidden + [10])
        widen(self.model)
        kind, lr = OPTIMIZERS[args.optimizer]
        options = {"momentum": args.momentum} if kind is SGD else {}
        self.optimizer = kind(self.model.parameters(), lr=lr if args.lr is None else args.lr,
                              weight_decay=args.weight_decay, **options)

    def gradients(self, images, labels):
        """Set the gradients for a batch; returns its loss and how many are right."""
        return backpropagate(self.model, images, labels, len(images))

    def predict(self, images):
        """For each image (probability, digit)."""
        return predict(self.model, images)

    def save(self):
        """Write the checkpoint, if one is wanted: weights, moments, epoch, and where the dice stand."""
        if self.args.checkpoint:
            state = {**self.model.state_dict("model."), **self.optimizer.state_dict("optimizer."),
                     "epoch": self.epoch, "random": list(self.shuffler.getstate()[1])}
            save(self.args.checkpoint, state)

    def resume(self):
        """Go back to where the checkpoint was written. ValueError when it is not one of such a run."""
        path, state = self.args.checkpoint, load(self.args.checkpoint)
        if not {"epoch", "random", "model.0.bias"} <= state.keys():
            raise ValueError(f"{path} is not a checkpoint of this program")
        biases = [state.get(f"model.{i}.bias") for i in range(0, len(state), 2)]
        hidden = [len(bias) for bias in biases if bias][:-1]
        if hidden != self.args.hidden:
            there, here = (" ".join(map(str, sizes)) for sizes in (hidden, self.args.hidden))
            raise ValueError(f"{path} holds a network of --hidden {there}: resume with that, not {here}")
        self.model.load_state_dict(state, "model.")
        try:
            self.optimizer.load_state_dict(state, "optimizer.")
        except ValueError:
            raise ValueError(f"{path} was written with another --optimizer or --momentum: "
                             "resume with the options of then") from None
        self.shuffler.setstate((3, tuple(map(int, state["random"])), None))
        self.epoch = int(state["epoch"])

    def kept(self):
        """What a run that ends now leaves behind."""
        if not self.args.checkpoint:
            return "without --checkpoint FILE nothing is kept"
        return f"{self.args.checkpoint} keeps all epochs before this one: go on with --resume"

    def train(self, images, labels):
        """One epoch: every image once, in a new order."""
        order, size, losses, rights = list(range(len(images))), self.args.batch, 0, 0
        self.shuffler.shuffle(order)
        with Progress(len(order), f"epoch {self.epoch + 1}/{self.args.epochs}", lines=1) as progress:
            for start in range(0, len(order), size):
                batch = order[start:start + size]
                loss, right = self.gradients([images[i] for i in batch], [labels[i] for i in batch])
                if wild(loss):
                    step = f"step {start // size + 1} of epoch {self.epoch + 1}"
                    diverged(f"the loss is {loss:.4g}", step)
                self.optimizer.step()
                done, losses, rights = start + len(batch), losses + loss * len(batch), rights + right
                progress.show(done, f"loss {losses / done:.4f}  accuracy {rights / done:.2%}")
        self.epoch += 1

    def learn(self, digits, test):
        """The epochs that are left, each with a test and a checkpoint."""
        began, first, last = time.perf_counter(), self.epoch, self.args.epochs
        while self.epoch < last:
            self.train(*digits)
            self.guesses = self.predict(test[0])
            if any(wild(sure) for sure, _ in self.guesses):
                diverged("the answers are no numbers", count(self.epoch, "epoch"))
            self.save()
            left = (time.perf_counter() - began) / (self.epoch - first) * (last - self.epoch)
            wait = f"  {clock(left)} left" if left else ""
            print(f"test accuracy {accuracy(self.guesses, test[1]):.2%}{wait}", flush=True)


# -------------------------------------------------------------------------------------------- the report

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
    least = 1 + len(str(max(map(max, counts))))
    width, none = max(least, min(6, (columns() - 15) // 10)), "·" if BLOCKS else "."
    shares = columns() > 14 + 10 * width  # a narrow terminal goes without
    print("\nA row per digit, a column per answer:\n      "
          + "".join(f"{digit:{width}}" for digit in range(10)) + "   right" * shares)
    for label, row in enumerate(counts):
        inks = [114 if guess == label else 208 if number > 9 else 180 if number else 240
                for guess, number in enumerate(row)]
        cells = "".join(paint(f"{number or none:>{width}}", ink) for number, ink in zip(row, inks))
        print(f"{label:6}{cells}" + f"{row[label] / max(sum(row), 1):8.1%}" * shares)


def draw_mistakes(svg, guesses, labels, images, x0, y0):
    """Draw the twenty digits that were read wrong with most confidence, from the corner x0, y0."""
    wrong = [i for i, label in enumerate(labels) if guesses[i][1] != label]
    caption = "its most confident mistakes" if wrong else "no mistake"
    svg.add("text", caption, x=x0, y=y0 - 10, class_="muted")
    for place, i in enumerate(sorted(wrong, key=lambda i: -guesses[i][0])[:20]):
        x, y = x0 + place % 5 * 87, y0 + place // 5 * 79
        image = [images[i][j:j + 28] for j in range(0, 784, 28)]
        for shade in (70, 150):
            svg.contour(image, (x, y, 58, 58), shade, class_="ink")
        text = f"{labels[i]}, read as {guesses[i][1]}"
        svg.add("text", text, x=x + 29, y=y + 70, class_="small muted middle")


def report(args, epochs, guesses, labels, images):
    """Say how well the network reads, in the terminal and as a picture; returns the picture."""
    counts, sizes = confusion(guesses, labels), "-".join(map(str, [784] + args.hidden + [10]))
    share, new = accuracy(guesses, labels), count(len(labels), "new digit")
    title = f"A {sizes} network reads {share:.2%} of {new} after {count(epochs, 'epoch')}"
    print_confusion(counts)
    print(title)
    svg = Svg(860, 440, title)
    draw_confusion(svg, (53, 92), counts)
    draw_mistakes(svg, guesses, labels, images, 400, 92)
    svg.save(args.out)
    return svg


# --------------------------------------------------------------------------------------------- the start

def options(program, about):
    """The parser of the command line."""
    parser = argparse.ArgumentParser(prog=program, description=about,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="folder of the IDX files (or else they are downloaded)")
    add("--limit", type=at_least(1), metavar="N", help="only the first N digits, in training and test")
    add("--hidden", type=at_least(1), nargs="+", default=[128, 64], help="sizes of its layers (128 64)")
    add("--epochs", type=at_least(1), default=5, help="how often to go through all digits (5)")
    add("--batch", type=at_least(1), default=64, help="digits per step (64)")
    add("--optimizer", choices=list(OPTIMIZERS), default="sgd", help="how to go downhill (sgd)")
    add("--lr", type=at_least(0, float), help="learning rate (0.03 for sgd, 0.001 for adam and adamw)")
    add("--momentum", type=at_least(0, float), default=0.9, help="of sgd (0.9)")
    add("--weight-decay", type=at_least(0, float), default=0.0, help="strength of the L2 penalty (0)")
    add("--seed", type=int, default=1337, help="the same seed gives the same numbers (1337)")
    add("--checkpoint", type=output_path, metavar="FILE", help="a file, written after each epoch")
    add("--resume", action="store_true", help="go on from the checkpoint, with the options of then")
    add("--out", type=picture_path, default="mnist.svg", help="where the picture goes (mnist.svg)")
    return parser


def parse(parser, argv):
    """The options in argv, with what they need of each other."""
    args = parser.parse_args(argv)
    if args.resume and not (args.checkpoint and args.checkpoint.exists()):
        parser.error("--resume needs --checkpoint with a file that a former run has written")
    if args.checkpoint and args.checkpoint.exists() and not args.resume:
        parser.error(f"{args.checkpoint} exists: add --resume to go on from it, or delete it")
    return args


def carry_out(args, make=Run):
    """Train, test and report; returns the picture."""
    random.seed(args.seed)
    try:
        run = make(args)
        digits, test = [read_digits(args.data, kind, args.limit) for kind in ("train", "t10k")]
        run.resume() if args.resume else run.save()
        try:
            run.learn(digits, test)
        except KeyboardInterrupt:
            print(f"stopped in epoch {run.epoch + 1}; {run.kept()}")
        if not run.guesses and run.epoch < args.epochs:
            return None     # stopped before there was anything to report
        images, labels = test
        guesses = run.guesses or run.predict(images)    # a complete run was resumed
    except BrokenPipeError:     # an OSError that `start` knows better
        raise
    except (OSError, ValueError) as error:
        sys.exit(f"mnist: {error}")
    return report(args, run.epoch, guesses, labels, images)


def main(argv=None):
    """Read the digits, train, report; returns the picture, which a notebook shows."""
    parser = options("mnist.py", __doc__)
    parser.add_argument("--workers", help=argparse.SUPPRESS)
    args = parse(parser, argv)
    if args.workers:
        parser.error("--workers has moved: data_parallel.py takes it, and all other options of mnist.py")
    return carry_out(args)


if __name__ == "__main__":
    start(main)
