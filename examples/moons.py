"""Two moons: a small network learns to tell two interleaved half circles apart.

    python examples/moons.py                    # on tensors, all points at once
    python examples/moons.py --engine values    # the same on scalars, one number at a time

No straight line separates the moons, so it takes a hidden layer to draw the curve between them. At the end
the plane is drawn in the terminal and, with the loss curve, in moons.svg. Ctrl-C stops early and draws what
was learned so far.
"""

import argparse
import math
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from common import COLOUR, Progress, Svg, at_least, output_path, paint, spread
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
    return scores.data if isinstance(scores, Tensor) else [score.data for score in scores]


def train(model, scores, points, labels, steps):
    """Fit the model; returns the loss of each step. A score above 0 says "upper moon"."""
    optimizer, losses = Adam(model.parameters(), lr=0.1), []
    with Progress(steps, "step") as progress:
        try:
            for step in range(steps):
                outputs = scores(points)                                    # forward
                loss = binary_cross_entropy_with_logits(outputs, labels)
                optimizer.zero_grad()
                loss.backward()                                             # backward
                optimizer.step()                                            # downhill
                losses.append(loss.data)
                right = accuracy(numbers(outputs), labels)
                progress.show(step + 1, f"loss {loss.data:.4f}  accuracy {right}")
        except KeyboardInterrupt:
            pass
    if len(losses) < steps:
        print(f"stopped after {len(losses)} of {steps} steps")
    return losses


def accuracy(scores, labels):
    """The share of scores on the right side of 0, as `98.5%`; `100%` means all."""
    right = sum((score > 0) == (label == 1) for score, label in zip(scores, labels))
    return f"{100 * right / len(labels):.4g}%"


def plane(scores, window, columns, rows):
    """Scores on a grid over the window (left, right, bottom, top), a list per row, the top row first."""
    left, right, bottom, top = window
    grid = [[x, y] for y in spread(top, bottom, rows) for x in spread(left, right, columns)]
    with no_grad():
        flat = numbers(scores(grid))
    return [flat[i:i + columns] for i in range(0, len(flat), columns)]


def print_plane(scores, window, points, labels, columns=64, rows=32):
    """Draw regions and points in the terminal: two pixels to a character, as the halves of a block."""
    left, right, bottom, top = window
    pixels = [[int(score > 0) for score in row] for row in plane(scores, window, columns, rows)]
    for (x, y), label in zip(points, labels):
        row, column = (top - y) / (top - bottom) * (rows - 1), (x - left) / (right - left) * (columns - 1)
        pixels[round(row)][round(column)] = 2 + label
    palette = [24, 94, 117, 222]  # regions dark, points bright; blue below, orange above
    for upper, lower in zip(pixels[::2], pixels[1::2]):
        if COLOUR:
            print("".join(paint("▀", palette[u], palette[l]) for u, l in zip(upper, lower)))
        else:
            print("".join(" .xo"[max(u, l)] for u, l in zip(upper, lower)))


# ---------------------------------------------------------------------------------------------- the picture

STYLE = """
    .zero { fill: #2f81f7; } .one { fill: #e8710a; } .region { fill-opacity: 0.13 }
    .point { stroke: #ffffff; stroke-width: 1.2 } .curve { fill: none; stroke: #8250df; stroke-width: 2 }
    @media (prefers-color-scheme: dark) { .point { stroke: #0d1117 } .curve { stroke: #bc8cff } }"""


def ticks(low, high):
    """Four or so round numbers between `low` and `high`."""
    step = 10.0 ** math.floor(math.log10((high - low) / 10))
    step *= min((1, 2, 5, 10), key=lambda m: abs((high - low) / (m * step) - 4))
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def axes(svg, box, window, xlabel, ylabel):
    """Draw a frame with ticks and names; returns the function from (x, y) to the place in the picture."""
    (x0, y0, width, height), (left, right, bottom, top) = box, window

    def place(x, y):
        return x0 + (x - left) / (right - left) * width, y0 + (top - y) / (top - bottom) * height
    svg.add("rect", x=x0, y=y0, width=width, height=height, class_="line")
    for tick in ticks(left, right):
        svg.add("text", f"{tick:g}", x=place(tick, 0)[0], y=y0 + height + 17, class_="small muted middle")
    for tick in ticks(bottom, top):
        svg.add("text", f"{tick:g}", x=x0 - 7, y=place(0, tick)[1] + 4, class_="small muted end")
    svg.add("text", xlabel, x=x0 + width / 2, y=y0 + height + 36, class_="muted middle")
    svg.add("text", ylabel, x=x0, y=y0 - 9, class_="muted")
    return place


def draw(path, title, scores, window, points, labels, losses):
    """Write the picture: the regions with the points on the left, the loss of each step on the right."""
    svg = Svg(820, 400, title, STYLE)
    svg.add("text", title, x=28, y=34, class_="title")
    box = (52, 76, 440, 266)
    grid = plane(scores, window, 67, 41)
    for margin in (0, 1, 3):
        svg.contour(grid, box, margin, class_="one region")
        svg.contour([[-score for score in row] for row in grid], box, margin, class_="zero region")

    place = axes(svg, box, window, "x", "y")
    for point, label in zip(points, labels):
        x, y = place(*point)
        svg.add("circle", cx=x, cy=y, r=4.5, class_=("zero", "one")[label] + " point")
    if losses:  # none when stopped at once
        window = (0, len(losses), 0, 1.05 * max(losses))
        place = axes(svg, (566, 76, 226, 266), window, "step", "loss")
        line = " ".join("{:.1f},{:.1f}".format(*place(i + 1, loss)) for i, loss in enumerate(losses))
        svg.add("polyline", points=line, class_="curve")
    svg.save(path)


def arguments():
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--engine", choices=["tensors", "values"], default="tensors", help="what the network is made of")
    add("--hidden", type=at_least(1), nargs="+", default=[16, 16], help="sizes of the hidden layers")
    add("--steps", type=at_least(1), default=150, help="steps of the optimizer")
    add("--points", type=at_least(2), default=100, help="how many points")
    add("--noise", type=at_least(0, float), default=0.1, help="standard deviation of the points")
    add("--seed", type=int, default=1337, help="the same seed gives the same numbers")
    add("--out", type=output_path, default="moons.svg", help="where the picture goes")
    return parser.parse_args()


def main():
    """Make the data, train, draw."""
    args = arguments()
    random.seed(args.seed)
    points, labels = half_circles(args.points, args.noise)
    model, scores = (value_network if args.engine == "values" else tensor_network)(args.hidden)
    losses = train(model, scores, points, labels, args.steps)
    window = (min(x for x, y in points) - 0.3, max(x for x, y in points) + 0.3,
              min(y for x, y in points) - 0.3, max(y for x, y in points) + 0.3)
    with no_grad():
        right = accuracy(numbers(scores(points)), labels)
    sizes = "-".join(map(str, [2] + args.hidden + [1]))
    title = f"A {sizes} network has {right} of {args.points} points right after {len(losses)} steps"
    print_plane(scores, window, points, labels)
    print(title)
    draw(args.out, title, scores, window, points, labels, losses)


if __name__ == "__main__":
    main()
