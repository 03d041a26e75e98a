"""From Values to plain code: a curve fitted by traced gradients, and a network that leaves as C.

    python examples/trace.py                    # writes classifier.py and classifier.c
    python examples/trace.py --out somewhere    # the same in another folder

First a damped oscillation is fitted to noisy points in three ways: by the engine, by the source code
that `trace` makes of the same function, and by derivatives worked out by hand. Then a small network
learns to tell two half circles apart, on traced gradients, too, and is written as Python and as C, which
need neither the engine nor anything else. Both are run (C where a compiler is found), and must agree.
"""
from common import Training, at_least, can_print, count, start
import argparse
import math
import random
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from micrograd import MLP, Adam, Value, cos, exp, softplus, trace
from moons import accuracy, half_circles

TRUE, GUESS = (2.0, 0.3, 4.0, 0.5), (1.0, 0.1, 3.6, 0.0)    # height, decay, frequency, phase
MAIN = """#include <stdio.h>
int main(void)
{
    double x[2], out;
    while (scanf("%lf %lf", x, x + 1) == 2) {
        classifier(x, &out);
        printf("%.17g\\n", out);
    }
    return 0;
}
"""


# ---------------------------------------------------------------------------------------- a curve to fit

def oscillation(height, decay, frequency, phase, t):
    """A swing that dies away, at time t."""
    return height * exp(-decay * t) * cos(frequency * t + phase)


def mean_square(times, heights):
    """The loss of a list of four parameters, Values or plain numbers: how far off the curve is."""
    def loss(p):
        return sum((oscillation(*p, t) - h) ** 2 for t, h in zip(times, heights)) / len(times)
    return loss


def by_engine(loss, p):
    """The loss and its gradient, from a graph of Values."""
    values = [Value(x) for x in p]
    out = loss(values)
    out.backward()
    return out.data, [v.grad for v in values]


def by_hand(times, heights, p):
    """The loss and its gradient, as somebody with pencil and paper would write them."""
    (height, decay, frequency, phase), n = p, len(times)
    total = d_height = d_decay = d_frequency = d_phase = 0.0
    for t, h in zip(times, heights):
        shrunk, angle = math.exp(-decay * t), frequency * t + phase
        swing = shrunk * math.cos(angle)
        error = height * swing - h
        slope = -2 / n * error * height * shrunk * math.sin(angle)
        total += error * error / n
        d_height += 2 / n * error * swing
        d_decay -= 2 / n * error * height * swing * t
        d_frequency += slope * t
        d_phase += slope
    return total, [d_height, d_decay, d_frequency, d_phase]


def descend(gradient_of, p, steps, lr=0.02, momentum=0.9):
    """Go downhill; the parameters at the end, the last loss, and the seconds that a step took."""
    p, speed, loss, began = list(p), [0.0] * len(p), math.nan, perf_counter()
    for _ in range(steps):
        loss, gradient = gradient_of(p)
        speed = [momentum * v - lr * g for v, g in zip(speed, gradient)]
        p = [x + v for x, v in zip(p, speed)]
    return p, loss, (perf_counter() - began) / steps


def fit_a_curve(points, noise, steps):
    """Fit the oscillation in three ways, and print how long they take."""
    times = [6 * i / points for i in range(points)]
    heights = [oscillation(*TRUE, t) + random.gauss(0, noise) for t in times]
    loss = mean_square(times, heights)
    print(f"What trace makes of the curve and its slopes:\n\n{trace(oscillation, *GUESS, 0.0).python}")
    began = perf_counter()
    traced = trace(loss, GUESS)
    print(f"{traced}, made in {1000 * (perf_counter() - began):.0f} ms\n")
    ways = {"engine": lambda p: by_engine(loss, p), "traced": lambda p: flat(*traced(p)),
            "by hand": lambda p: by_hand(times, heights, p)}
    print(f"{count(points, 'point')}, {count(steps, 'step')}")
    print("           time of a step   faster         loss   parameters")
    slowest, sign = None, "×" if can_print("×") else "x"
    for name, gradient_of in ways.items():
        p, last, seconds = descend(gradient_of, GUESS, steps)
        slowest = slowest or seconds
        print(f"{name:10} {1e6 * seconds:11.1f} us {slowest / seconds:6.1f} {sign}   {last:.8f}  ",
              *[f"{x:.5f}" for x in p])


def flat(value, gradients):
    """What a traced function of one list gives: the value, and the gradient as a list."""
    return value, gradients[0]


# ------------------------------------------------------------------------------- a network to take along

def train(model, points, labels, steps):
    """Fit the model by Adam, with the gradient of one example as source code of all its weights."""
    def loss_of(weights, point, label):
        score = model(point)        # the weights are those in the model: the example below is its own
        return softplus(score) - label * score
    parameters = model.parameters()
    loss, optimizer = trace(loss_of, parameters, points[0], 1.0), Adam(parameters, lr=0.05)
    print(f"\nThe loss of one example, as a function of all weights: {loss}")
    with Training(steps, "step") as training:
        for step in range(steps):
            weights = [p.data for p in parameters]
            found = [loss(weights, point, label) for point, label in zip(points, labels)]
            for p, column in zip(parameters, zip(*[gradients[0] for _, gradients in found])):
                p.grad = sum(column) / len(points)
            optimizer.step()
            training.show(step + 1, sum(value for value, _ in found) / len(found))


def scores_in_c(path, points):
    """What the classifier in a file of C says; None where no compiler is found."""
    compiler = next(filter(None, map(shutil.which, ["cc", "gcc", "clang"])), None)
    if not compiler:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "scores.c"), str(Path(folder, "scores.exe"))
        source.write_text(f'#include "{path.resolve().as_posix()}"\n{MAIN}', encoding="utf-8")
        subprocess.run([compiler, "-std=c99", "-O2", str(source), "-o", program, "-lm"], check=True)
        numbers = "\n".join(f"{x!r} {y!r}" for x, y in points)
        found = subprocess.run([program], input=numbers.encode(), stdout=subprocess.PIPE, check=True)
    return list(map(float, found.stdout.split()))


def take_along(model, points, labels, folder):
    """Write the network as Python and as C, and run both on all points."""
    def classifier(x, y):
        return model([x, y])
    traced = trace(classifier, 0.0, 0.0, gradient=False)
    files = Path(folder, "classifier.py"), Path(folder, "classifier.c")
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        traced.save(path)
        print(f"{path}: {path.stat().st_size:,} bytes")
    scores = [model(point).data for point in points]
    in_python = runpy.run_path(str(files[0]))["classifier"]
    print(f"in the engine  {accuracy(scores, labels)} of {count(len(points), 'point')} right")
    compare("in Python", [in_python(*point) for point in points], scores, labels)
    compare("in C", scores_in_c(files[1], points), scores, labels)
    return traced


def compare(where, found, scores, labels):
    """How a network does elsewhere, beside its scores in the engine: the same, or the program ends."""
    if not found:
        return print(f"{where:14} not run: no C compiler here")
    difference = max(abs(a - b) for a, b in zip(found, scores))
    print(f"{where:14} {accuracy(found, labels)} right, scores at most {difference:.1e} apart")
    if difference > 1e-9 * max(map(abs, scores)):
        sys.exit(f"the network {where} is another one")


def arguments(argv):
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="trace.py", description=__doc__.split("\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--points", type=at_least(2), default=100, help="points of the curve, and of the half circles")
    add("--noise", type=at_least(0, float), default=0.1, help="standard deviation of the points")
    add("--steps", type=at_least(1), default=300, help="steps down the hill")
    add("--hidden", type=at_least(1), nargs="+", default=[8, 8], help="sizes of the hidden layers")
    add("--seed", type=int, default=1337, help="the same seed gives the same numbers")
    add("--out", type=Path, default=Path("."), help="the folder for classifier.py and classifier.c")
    return parser.parse_args(argv)


def main(argv=None):
    """Fit the curve, train the network and take it along; returns the traced network."""
    args = arguments(argv)
    random.seed(args.seed)
    fit_a_curve(args.points, args.noise, args.steps)
    points, labels = half_circles(args.points, args.noise)
    model = MLP(2, args.hidden + [1], act="tanh")
    train(model, points, labels, args.steps)
    return take_along(model, points, labels, args.out)


if __name__ == "__main__":
    start(main)
