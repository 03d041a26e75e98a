"""Graphs as pictures, before and after `backward`: the neuron of the lecture, and a network of Tensors.

    python examples/graph.py                    # neuron-before.svg, neuron-after.svg and two more
    python examples/graph.py --out pictures     # the same in another folder

Boxes are numbers (or Tensors) with their gradients, and between them are the operations. Before
`backward` all gradients are 0 (None for a Tensor); after it, each says how fast the result grows when
that number grows. In a notebook, draw_dot(graph.neuron()) shows the picture.
"""
from common import start
import argparse
import sys
from pathlib import Path
from micrograd import Tensor, Value, draw_dot


def labelled(node, label):
    """The node, with a label for the picture."""
    node.label = label
    return node


def neuron():
    """o = tanh(x1*w1 + x2*w2 + b), with a bias that makes the gradients round numbers."""
    x1, x2 = Value(2.0, label="x1"), Value(0.0, label="x2")
    w1, w2 = Value(-3.0, label="w1"), Value(1.0, label="w2")
    b = Value(6.8813735870195432, label="b")
    x1w1, x2w2 = labelled(x1 * w1, "x1*w1"), labelled(x2 * w2, "x2*w2")
    n = labelled(labelled(x1w1 + x2w2, "x1*w1 + x2*w2") + b, "n")
    return labelled(n.tanh(), "o")


def network():
    """The loss of a network with three hidden neurons, for two points at once."""
    x = Tensor([[2.0, -1.0], [0.5, 3.0]], label="x", requires_grad=False)
    target = Tensor([[1.0], [-1.0]], label="target", requires_grad=False)
    w1 = Tensor([[0.4, -0.2, 0.1], [0.3, 0.5, -0.6]], label="w1")
    w2 = Tensor([[0.7], [-0.3], [0.2]], label="w2")
    b1, b2 = Tensor([0.0, 0.1, -0.1], label="b1"), Tensor([0.05], label="b2")
    hidden = labelled((x @ w1 + b1).tanh(), "hidden")
    y = labelled(hidden @ w2 + b2, "y")
    return labelled(((y - target) ** 2).mean(), "loss")


def main(argv=None):
    """Build both graphs and write their pictures; returns their paths."""
    parser = argparse.ArgumentParser(prog="graph.py", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for the pictures (here)")
    folder, pictures = parser.parse_args(argv).out, {}
    if folder.suffix in (".svg", ".png"):
        parser.error(f"--out is a folder, for four pictures: {folder} would be one file")
    for name, result, rankdir in ("neuron", neuron(), "LR"), ("network", network(), "TB"):
        pictures[folder / f"{name}-before.svg"] = draw_dot(result, rankdir)
        result.backward()
        pictures[folder / f"{name}-after.svg"] = draw_dot(result, rankdir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, picture in pictures.items():
            picture.save(path)
    except OSError as error:
        sys.exit(f"cannot write pictures into {folder}: {error.strerror}")
    for path in pictures:
        print("picture:", path)
    return list(pictures)


if __name__ == "__main__":
    start(main)
