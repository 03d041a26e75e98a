"""Two moons: a small network learns to tell two interleaved half circles apart.

    python examples/moons.py                    # on tensors, all points at once
    python examples/moons.py --engine values    # the same on scalars, one number at a time

No straight line separates the moons, so it takes a hidden layer to draw the curve between them. At the
end the plane is drawn in the terminal and, with the loss curve, in moons.svg. Ctrl-C stops early and
draws what was learned so far. In a notebook, moons.main(["--steps", "20"]) shows the picture.
"""
from common import (BLOCKS, COLOUR, Svg, Training, around, at_least, columns, count, diverged,
                    draw_curve, draw_surface, paint, picture_path, plane, start, wild)
import argparse
import math
import random
from micrograd import MLP, Adam, Linear, Sequential, Tensor, binary_cross_entropy_with_logits, no_grad


def half_circles(count, noise):
    """`count` points [x, y], and for each its label: 1 on the upper half circle, 0 on the lower one."""
    points, labels = [], []
    for i in range(count):
        angle = math.pi * i / count
        x, y = math.cos(angle), math.sin(angle)
        x, y = (1 - x, 0.5 - y) if i % 2 else (x, y)
        points.append([x + random.gauss(0, noise), y + random.gauss(0, noise)])
        labels.append(1 - i % 2)
    return points, labels


def value_network(hidden):
    """A model of Values, and the function from points to a list of scores."""
    model = MLP(2, hidden + [1], act="tanh")
    return model, lambda points: [model(point) for point in points]


def tensor_network(hidden):
    """A model of Tensors, and the function from points to a Tensor of scores."""
    steps = []
    for nin, nout in zip([2] + hidden, hidden + [1]):
        steps += [Linear(nin, nout), Tensor.tanh]
    model = Sequential(*steps[:-1])  # no tanh after the last layer: a score may be any number
    return model, lambda points: model(points).reshape(-1)


def numbers(scores):
    """The plain numbers in a Tensor or in a list of Values."""
    return scores.tolist() if isinstance(scores, Tensor) else [score.data for score in scores]


def train(model, scores, points, labels, steps, lr):
    """Fit the model; returns the loss of each step. A score above 0 says "upper moon"."""
    optimizer = Adam(model.parameters(), lr=lr)
    with Training(steps, "step") as training:
        for step in range(steps):
            outputs = scores(points)                                    # forward
            loss = binary_cross_entropy_with_logits(outputs, labels)
            optimizer.zero_grad()
            loss.backward()                                             # backward
            optimizer.step()                                            # downhill
            training.show(step + 1, loss.data, f"accuracy {accuracy(numbers(outputs), labels)}")
    return training.losses


def accuracy(scores, labels):
    """The share of scores on the right side of 0, as `98.5%`; `100%` means all."""
    right = sum((score > 0) == (label == 1) for score, label in zip(scores, labels))
    return f"{100 * right / len(labels):.4g}%"


def print_plane(score, points, labels, rows=32):
    """Draw regions and points in the terminal: two pixels to a character, as the halves of a block."""
    (left, right, bottom, top), width = around(points), max(8, min(64, columns() - 1))
    pixels = [[int(number > 0) for number in row] for row in plane(score, around(points), width, rows)]
    for (x, y), label in zip(points, labels):
        row, column = (top - y) / (top - bottom) * (rows - 1), (x - left) / (right - left) * (width - 1)
        pixels[round(row)][round(column)] = 2 + label
    palette = [24, 94, 117, 222]  # regions dark, points bright; blue below, orange above
    for upper, lower in zip(pixels[::2], pixels[1::2]):
        if COLOUR and BLOCKS:
            print("".join(paint("▀", palette[u], palette[l]) for u, l in zip(upper, lower)))
        else:
            print("".join(" .xo"[max(u, l)] for u, l in zip(upper, lower)))


def draw(title, score, points, labels, losses):
    """The picture: the regions with the points on the left, the loss of each step on the right."""
    svg = Svg(820, 400, title)
    draw_surface(svg, (52, 76, 440, 266), score, points, labels)
    if losses:  # none when stopped at once
        draw_curve(svg, (566, 76, 226, 266), losses)
    return svg


def arguments(argv):
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="moons.py", description=__doc__.split("\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--engine", choices=["tensors", "values"], default="tensors", help="what the network is made of")
    add("--hidden", type=at_least(1), nargs="+", default=[16, 16], help="sizes of the hidden layers")
    add("--steps", type=at_least(1), default=150, help="steps of the optimizer")
    add("--lr", type=at_least(0, float), default=0.1, help="learning rate")
    add("--points", type=at_least(2), default=100, help="how many points")
    add("--noise", type=at_least(0, float), default=0.1, help="standard deviation of the points")
    add("--seed", type=int, default=1337, help="the same seed gives the same numbers")
    add("--out", type=picture_path, default="moons.svg", help="where the picture goes")
    return parser.parse_args(argv)


def main(argv=None):
    """Make the data, train, draw; returns the picture, which a notebook shows."""
    args = arguments(argv)
    random.seed(args.seed)
    points, labels = half_circles(args.points, args.noise)
    model, scores = (value_network if args.engine == "values" else tensor_network)(args.hidden)
    losses = train(model, scores, points, labels, args.steps, args.lr)

    @no_grad()
    def score(points):
        found = numbers(scores(points))
        if any(map(wild, found)):
            diverged("the scores are huge or no numbers", count(len(losses), "step"))
        return found
    sizes = "-".join(map(str, [2] + args.hidden + [1]))
    right, steps = accuracy(score(points), labels), count(len(losses), "step")
    title = f"A {sizes} network has {right} of {count(args.points, 'point')} right after {steps}"
    print_plane(score, points, labels)
    print(title)
    picture = draw(title, score, points, labels, losses)
    picture.save(args.out)
    return picture


if __name__ == "__main__":
    start(main)
