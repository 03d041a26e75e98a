"""Two versions of micrograd.py race against each other in one process, step by step in turns.

    python examples/versus.py old/micrograd.py                      # against the micrograd.py here
    python examples/versus.py old/micrograd.py new/micrograd.py     # or any two
    python examples/versus.py old/micrograd.py --only wavenet gpt   # rows with one of these words

A row does the same work with both; it shows the best times and their ratio, new / old: below 1 is
faster. Where a row comes in two sizes, n and 2n, the second shows how the time has grown as well. A row
that one of the two cannot do says so, and the race goes on.
"""
from common import at_least, can_print, start
import argparse
import importlib.util
import math
import random
import sys
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
ROWS = {}       # name -> function from a micrograd to a step, a function that gives a number


def row(name):
    """A decorator that puts a function into ROWS."""
    def register(make):
        ROWS[name] = make
        return make
    return register


def numbers(*shape, scale=1.0):
    """Nested lists of normal random numbers."""
    if not shape:
        return random.gauss(0, scale)
    return [numbers(*shape[1:], scale=scale) for _ in range(shape[0])]


def integers(below, *shape):
    """Nested lists of random ints from 0 to below - 1."""
    return [integers(below, *shape[1:]) for _ in range(shape[0])] if shape else random.randrange(below)


def mlp(mg, *sizes):
    """A network of linear layers of these sizes, with relu between them."""
    steps = []
    for nin, nout in zip(sizes, sizes[1:]):
        steps += [mg.Linear(nin, nout), mg.Tensor.relu]
    return mg.Sequential(*steps[:-1])


def descend(optimizer, loss):
    """A step: forward, backward, update; it gives the loss."""
    def step():
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.item() if hasattr(value, "item") else value.data
    return step


# ------------------------------------------------------------------------------------------------ Values

@row("a chain of scalar operations")
def scalar_chain(mg):
    """A chain of x * w + b, 10,000 operations."""
    def step():
        x, w, b = mg.Value(0.5), mg.Value(0.9), mg.Value(0.1)
        for _ in range(5000):
            x = x * w + b
        x.backward()
        return w.grad
    return step


@row("graphs of five nodes")
def five_nodes(mg):
    """(a * b + 5) ** 2, 500 times."""
    Value = mg.Value

    def step():
        for _ in range(500):
            a, b = Value(2.0), Value(-3.0)
            loss = (a * b + 5) ** 2
            loss.backward()
        return a.grad
    return step


@row("one unary chain")
def unary_chain(mg):
    """tanh of tanh of tanh, 3000 times."""
    def step():
        x = y = mg.Value(0.5)
        for _ in range(3000):
            y = y.tanh()
        y.backward()
        return x.grad
    return step


@row("lecture network, 4 examples")
def lecture(mg):
    """The network that the first lecture trains."""
    model = mg.MLP(3, [4, 4, 1], act="tanh")
    xs = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
    ys = [1.0, -1.0, -1.0, 1.0]

    def step():
        loss = sum((model(x) - y) ** 2 for x, y in zip(xs, ys))
        for p in model.parameters():
            p.grad = 0.0
        loss.backward()
        for p in model.parameters():
            p.data += -0.01 * p.grad
        return loss.data
    return step


@row("moons demo, Values")
def demo(mg):
    """The demo of micrograd: one step on 100 points."""
    model, (points, targets) = mg.MLP(2, [16, 16, 1]), moons()

    def step():
        scores = [model(list(map(mg.Value, point))) for point in points]
        losses = [(1 + -y * score).relu() for y, score in zip(targets, scores)]
        loss = sum(losses) * (1.0 / len(losses)) + 1e-4 * sum(p * p for p in model.parameters())
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= 0.05 * p.grad
        return loss.data
    return step


@row("second order, Values")
def second_order(mg):
    """A Hessian of three variables."""
    def step():
        for _ in range(20):
            x = [mg.Value(v) for v in (0.7, -0.4, 1.2)]
            y = (x[0] * x[1]).sin() * x[2].exp() + x[0] ** 3 / x[2] + (x[1] * x[2]).tanh()
            slopes = mg.grad(y, x, create_graph=True)
            hessian = [[h.data for h in mg.grad(slope, x)] for slope in slopes]
        return sum(map(sum, hessian))
    return step


@row("second order, Tensors of 4")
def second_order_tensor(mg):
    """A gradient of a gradient."""
    def step():
        for _ in range(10):
            x = mg.Tensor([0.7, -0.4, 1.2, 0.3])
            y = (x.sin() * x.exp()).sum() + (x * x).mean().tanh()
            slope, = mg.grad(y, x, create_graph=True)
            curve, = mg.grad((slope * slope).sum(), x)
        return sum(curve.tolist())
    return step


# ----------------------------------------------------------------------------------------- small Tensors

@row("a few operations, Tensors of 4")
def tensors_of_four(mg):
    """Six operations, forward and backward."""
    w, b = mg.Tensor([0.1, -0.2, 0.3, 0.4]), mg.Tensor([0.5, 0.6, -0.7, 0.8])
    x = mg.Tensor([1.0, 2.0, -3.0, 4.0], requires_grad=False)

    def step():
        for _ in range(100):
            loss = ((x * w + b).tanh() * w - x).relu().sum()
            w.grad = b.grad = None
            loss.backward()
        return loss.item()
    return step


@row("moons, Tensors")
def moons_tensors(mg):
    """The demo on Tensors."""
    (points, targets), model = moons(), mlp(mg, 2, 16, 16, 1)
    x = mg.Tensor(points, requires_grad=False)

    def loss():
        penalty = 1e-4 * sum((p * p).sum() for p in model.parameters())
        return mg.hinge_loss(model(x).reshape(-1), targets) + penalty
    return descend(mg.SGD(model.parameters(), lr=0.05), loss)


def sum_of_rows(rows):
    """A loop over the rows of a Tensor."""
    def make(mg):
        x = mg.Tensor(numbers(rows, 8))

        def step():
            y = mg.stack([row.sum() for row in x])
            x.grad = None
            (y * y).sum().backward()
            return y.data[0]
        return step
    return make


def recurrence(steps):
    """A loop over time, on slices of a Tensor."""
    def make(mg):
        x, w = mg.Tensor(numbers(2, steps, 4)), mg.Tensor(numbers(4, 8))
        u = mg.Tensor(numbers(8, 8, scale=0.3))

        def step():
            h = mg.Tensor.zeros(2, 8, requires_grad=False)
            for t in range(steps):
                h = (x[:, t] @ w + h @ u).tanh()
            x.grad = w.grad = u.grad = None
            loss = h.sum()
            loss.backward()
            return loss.item()
        return step
    return make


PAIRS = {"stack of row sums, 200 rows": sum_of_rows(200),
         "stack of row sums, 400 rows": sum_of_rows(400),
         "recurrence over x[:, t], 100 steps": recurrence(100),
         "recurrence over x[:, t], 200 steps": recurrence(200)}
ROWS.update(PAIRS)


# ---------------------------------------------------------------------------------------------- networks

@row("makemore mlp, 3 letters (part 2)")
def makemore_part_2(mg):
    """The MLP of the lecture on makemore, batch 32."""
    c, w1 = mg.Tensor(numbers(27, 10)), mg.Tensor(numbers(30, 200, scale=0.3))
    b1, w2 = mg.Tensor(numbers(200)), mg.Tensor(numbers(200, 27, scale=0.01))
    b2 = mg.Tensor([0.0] * 27)
    xs, ys = integers(27, 32, 3), integers(27, 32)

    def loss():
        h = (c[xs].reshape(-1, 30) @ w1 + b1).tanh()
        return mg.cross_entropy(h @ w2 + b2, ys)
    return descend(mg.SGD([c, w1, b1, w2, b2], lr=0.1), loss)


@row("makemore mlp (makemore.py), batch 4")
def makemore_mlp(mg, batch=4, block=16, width=64):
    """The MLP of makemore.py: at each place of a name, the letters before it."""
    wte = mg.Tensor(numbers(28, width))
    model = mg.Sequential(mg.Linear(block * width, width), mg.Tensor.tanh, mg.Linear(width, 27))
    xs, ys = integers(27, batch, block), sum(integers(27, batch, block), [])

    def loss():
        index, parts = xs, []
        for _ in range(block):
            parts.append(wte[index])
            index = [[27] + line[:-1] for line in index]
        return mg.cross_entropy(model(mg.cat(parts, -1)).reshape(-1, 27), ys)
    return descend(mg.AdamW([wte] + model.parameters(), lr=5e-4), loss)


@row("WaveNet of the course (part 5), batch 32")
def wavenet(mg, width=24, hidden=128, batch=32):
    """The WaveNet of the course (makemore, part 5)."""
    emb, parameters = mg.Tensor(numbers(27, width)), []

    def block(nin):
        w = mg.Tensor(numbers(nin, hidden, scale=nin ** -0.5))
        gamma, beta = mg.Tensor([1.0] * hidden), mg.Tensor([0.0] * hidden)
        running = [mg.Tensor([v] * hidden, requires_grad=False) for v in (0.0, 1.0)]
        parameters.extend([w, gamma, beta])

        def forward(x):
            b, t, c = x.shape
            x = x.reshape(b, t // 2, 2 * c)
            x = (x if t > 2 else x.squeeze(1)) @ w
            dim = (0, 1) if t > 2 else 0
            mean, var = x.mean(dim, keepdim=True), x.var(dim, keepdim=True)
            x = gamma * ((x - mean) / (var + 1e-5).sqrt()) + beta
            with mg.no_grad():
                running[0] = 0.999 * running[0] + 0.001 * mean
                running[1] = 0.999 * running[1] + 0.001 * var
            return x.tanh()
        return forward
    layers = [block(2 * width), block(2 * hidden), block(2 * hidden)]
    w, b = mg.Tensor(numbers(hidden, 27, scale=0.1 * hidden ** -0.5)), mg.Tensor([0.0] * 27)
    xs, ys = integers(27, batch, 8), integers(27, batch)

    def loss():
        x = emb[xs]
        for layer in layers:
            x = layer(x)
        return mg.cross_entropy(x @ w + b, ys)
    return descend(mg.SGD([emb, w, b] + parameters, lr=0.1), loss)


def lecture_gpt(mg, own, width=32, heads=4, depth=3, size=8, batch=4, letters=65):
    """The GPT of the lecture. With `own`, LayerNorm and masked_fill are those of the version."""
    ahead = [[0.0] * (t + 1) + [-math.inf] * (size - t - 1) for t in range(size)]
    ahead, parameters = mg.Tensor(ahead, requires_grad=False), []

    def linear(nin, nout, bias=True):
        layer = mg.Linear(nin, nout, bias=bias)
        parameters.extend(layer.parameters())
        return layer

    def layer_norm():
        if own:
            layer = mg.LayerNorm(width)
            parameters.extend(layer.parameters())
            return layer
        gamma, beta = mg.Tensor([1.0] * width), mg.Tensor([0.0] * width)
        parameters.extend([gamma, beta])

        def forward(x):
            mean = x.mean(-1, keepdim=True)
            centred = x - mean
            return centred / ((centred * centred).mean(-1, keepdim=True) + 1e-5).sqrt() * gamma + beta
        return forward

    def head():
        key, query, value = (linear(width, width // heads, bias=False) for _ in range(3))

        def forward(x):
            k, q, v = key(x), query(x), value(x)
            wei = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
            wei = wei.masked_fill(ahead < 0, -math.inf) if own else wei + ahead
            return wei.softmax(-1) @ v
        return forward

    def block():
        parts, proj = [head() for _ in range(heads)], linear(width, width)
        ln1, ln2 = layer_norm(), layer_norm()
        up, down = linear(width, 4 * width), linear(4 * width, width)

        def forward(x):
            y = ln1(x)
            x = x + proj(mg.cat([part(y) for part in parts], -1))
            return x + down(up(ln2(x)).relu())
        return forward

    wte, wpe = mg.Tensor(numbers(letters, width)), mg.Tensor(numbers(size, width))
    blocks, norm, lm_head = [block() for _ in range(depth)], layer_norm(), linear(width, letters)
    xs, ys = integers(letters, batch, size), sum(integers(letters, batch, size), [])

    def loss():
        x = wte[xs] + wpe[list(range(size))]
        for part in blocks:
            x = part(x)
        return mg.cross_entropy(lm_head(norm(x)).reshape(-1, letters), ys)
    return descend(mg.AdamW([wte, wpe] + parameters, lr=1e-3), loss)


@row("ng gpt, 32 wide, 3 layers, T = 8, batch 4")
def ng_gpt(mg):
    """The GPT of the lecture, with operations that both versions have."""
    return lecture_gpt(mg, False)


@row("ng gpt, with the modules a version has")
def ng_gpt_own(mg):
    """The same as each version would write it."""
    return lecture_gpt(mg, hasattr(mg, "LayerNorm"))


@row("gpt.py, beside each version, a name")
def microgpt(mg):
    """The example gpt.py as it stands beside each version."""
    gpt = example(mg, "gpt")
    model = gpt.GPT(27, 1, 4, 16, 16)
    adam, state = mg.Adam(model.parameters(), lr=0.01, betas=(0.85, 0.99), eps=1e-8), random.Random(1)

    def loss():
        tokens = [26] + [state.randrange(26) for _ in range(6)] + [26]
        return mg.cross_entropy(model(tokens[:-1]), tokens[1:])
    return descend(adam, loss)


@row("digits 784-128-64-10, batch 64")
def classifier(mg):
    """A step on the digits."""
    model = mlp(mg, 784, 128, 64, 10)
    images, labels = digits()
    x = mg.Tensor(images, requires_grad=False)
    return descend(mg.SGD(model.parameters(), lr=0.05), lambda: mg.cross_entropy(model(x), labels))


def digits():
    """64 rows of 784 random numbers, and a class for each: in time, that is as good as MNIST."""
    random.seed(1)
    return [[random.random() for _ in range(784)] for _ in range(64)], integers(10, 64)


def moons():
    """100 points on two half circles, and 1 or -1 for each."""
    arc = [(math.cos(math.pi * i / 49), math.sin(math.pi * i / 49)) for i in range(50)]
    return [[x, y] for x, y in arc] + [[1 - x, 0.5 - y] for x, y in arc], [1.0] * 50 + [-1.0] * 50


# ---------------------------------------------------------------------------------------------- the race

def module(path, name):
    """The module in the file, under this name, so that several versions live side by side."""
    spec = importlib.util.spec_from_file_location(name, path)
    found = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def example(mg, name):
    """The example of that name beside the version `mg`, or else the one here, built on this version."""
    path = Path(mg.__file__).resolve().parent / "examples" / f"{name}.py"
    path = path if path.exists() else ROOT / "examples" / f"{name}.py"

    def ours():
        return [key for key in sys.modules if key.split(".")[0] in ("micrograd", "common")]
    kept, places = {key: sys.modules.pop(key) for key in ours()}, list(sys.path)
    try:
        sys.path.insert(0, str(path.parent))
        for key in [key for key in sys.modules if key.split(".")[0] == mg.__name__]:
            sys.modules["micrograd" + key[len(mg.__name__):]] = sys.modules[key]
        return module(path, f"{mg.__name__}_{name}")
    finally:
        for key in ours():
            del sys.modules[key]
        sys.modules.update(kept)
        sys.path[:] = places


def prepare(make, mg):
    """(step, result of a first step) or (None, what went wrong)."""
    random.seed(1)
    try:
        step = make(mg)
        return step, step()
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def timed(step, rounds):
    """Seconds for a step, the mean of some rounds."""
    start = perf_counter()
    for _ in range(rounds):
        step()
    return (perf_counter() - start) / rounds


def race(steps, budget):
    """The best time of each step: they take turns for `budget` seconds, five at least."""
    rounds = max(1, min(1000, int(0.02 / max(timed(steps[0], 1), 1e-9))))
    best, end, turn = [math.inf] * len(steps), perf_counter() + budget, 0
    while turn < 5 or perf_counter() < end:
        for i in range(len(steps))[::-1 if turn % 2 else 1]:
            best[i] = min(best[i], timed(steps[i], rounds))
        turn += 1
    return best


def amount(seconds):
    """`480 ns`, `2.31 ms`"""
    unit, size = next((unit, size) for unit, size in (("ns", 1e9), ("µs", 1e6), ("ms", 1e3), ("s", 1))
                      if seconds * size < 999.5 or unit == "s")
    return f"{seconds * size:.3g} {unit if can_print(unit) else 'us'}"


def outcome(name, versions, seconds, last):
    """The lines of a row, as cells. `last` keeps the times of the first size for the second."""
    ready = [prepare(ROWS[name], mg) for mg in versions]
    for mg, (step, what) in zip(versions, ready):
        if not step:
            return [(name, f"{mg.__name__} cannot:"), ("", what[:70])]
    best, (first, second) = race([step for step, _ in ready], seconds), (result for _, result in ready)
    lines = [(name, f"{amount(best[0]):>9} {amount(best[1]):>9} {best[1] / best[0]:8.3f}")]
    if name in PAIRS:
        kind = name.split(",")[0]
        if kind in last:
            growth = [now / then for now, then in zip(best, last[kind])]
            lines.append(("    times the half of it", "{:9.2f} {:9.2f}".format(*growth)))
        last[kind] = best
    if not math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-12):
        lines.append(("    the results differ", f"{first:.14g}, {second:.14g}"))
    return lines


def main(argv=None):
    """Run the rows, print a line for each."""
    parser = argparse.ArgumentParser(prog="versus.py", description=__doc__.split("\n")[0])
    parser.add_argument("old", help="a micrograd.py")
    parser.add_argument("new", nargs="?", default=ROOT / "micrograd.py", help="another (the one here)")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="only rows with one of these words")
    parser.add_argument("--seconds", type=at_least(0, float), default=3, help="time for each row (3)")
    args = parser.parse_args(argv)
    for path in args.old, args.new:
        if not Path(path).is_file():
            parser.error(f"{path} is not a file")
    versions = [module(args.old, "micrograd_old"), module(args.new, "micrograd_new")]
    chosen = [name for name in ROWS
              if not args.only or any(word.lower() in name.lower() for word in args.only)]
    width, last = max(map(len, chosen), default=0), {}
    print(f"{'':{width}}       old       new  new/old")
    for name in chosen:
        for what, cells in outcome(name, versions, args.seconds, last):
            print(f"{what:{width}} {cells}", flush=True)


if __name__ == "__main__":
    start(main)
