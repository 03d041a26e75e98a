"""How fast micrograd.py is, beside the same work done in other ways. Prints two tables in Markdown.

    python examples/benchmark.py                                    # a minute or two; --quick: a few seconds
    pip download micrograd==0.1.0 --no-deps
    python examples/benchmark.py --peer micrograd-0.1.0-py3-none-any.whl microgpt.py

"By hand" is backpropagation worked out on paper and written with the means of micrograd.py: lists of rows,
and `sumprod`, `zip` and comprehensions over them. What the engine takes beyond that is the price of not
having to do so. (It multiplies out what relu sets to 0 afterwards; to skip that would take 13 % off the
moons, 3 % off the digits.) NumPy, by hand too, and PyTorch, in float64, have a column where they are
installed. A peer is another micrograd in a wheel, or a script like microgpt; both run unchanged. All start
from the same numbers, and the benchmark stops where their losses differ.
"""

import argparse
import gc
import importlib.util
import json
import math
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
from itertools import chain, count, islice
from operator import add, mul
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
OURS = "micrograd.py"
NODES, NAMES, LR, L2 = 10_000, 8, 0.05, 1e-4
sumprod = getattr(math, "sumprod", None) or (lambda a, b: sum(map(mul, a, b)))  # Python has it since 3.12


# ---------------------------------------------------------------- by hand, on matrices that are lists of rows

def transpose(a):
    """aᵀ, as lists: PyPy is three times as fast where no row is a tuple."""
    return list(map(list, zip(*a)))


def product(a, b):
    """a bᵀ: each row of a times each row of b."""
    if len(b[0]) == 1:
        column = [s for s, in b]
        return [[r * s for s in column] for r, in a]
    return [[sumprod(r, s) for s in b] for r in a]


def affine(x, weight, bias):
    """x weightᵀ + bias"""
    neurons = list(zip(weight, bias))
    return [[sumprod(r, w) + b for w, b in neurons] for r in x]


def plus(a, b):
    """a + b"""
    return [list(map(add, r, s)) for r, s in zip(a, b)]


def relu(a):
    """What is above 0, and 0 for the rest."""
    return [[x if x > 0 else 0.0 for x in r] for r in a]


def relu_back(g, out):
    """g where `out`, the result of relu, is above 0."""
    return [[x if y > 0 else 0.0 for x, y in zip(r, s)] for r, s in zip(g, out)]


def softmax(row):
    """exp(x) / sum(exp(x)) without overflow, and the logarithm of the sum."""
    top = max(row)
    exps = [math.exp(x - top) for x in row]
    total = sum(exps)
    return [e / total for e in exps], top + math.log(total)


def hinge(scores, targets):
    """mean(relu(1 - target * score)), and its gradient."""
    n, margins = len(targets), [1 - y * s for y, (s,) in zip(targets, scores)]
    gradient = [[-y / n if m > 0 else 0.0] for y, m in zip(targets, margins)]
    return sum(m for m in margins if m > 0) / n, gradient


def cross_entropy(logits, targets):
    """mean(-log softmax(row)[target]), and its gradient."""
    n, loss, gradient = len(targets), 0.0, []
    for row, target in zip(logits, targets):
        shares, log_sum = softmax(row)
        loss += (log_sum - row[target]) / n
        shares[target] -= 1
        gradient.append([s / n for s in shares])
    return loss, gradient


def mlp_by_hand(layers, x, targets, loss, l2):
    """A function that makes a step of SGD on the layers, lists [weight, bias], and returns the loss."""
    def step():
        inputs = [x]
        for weight, bias in layers[:-1]:
            inputs.append(relu(affine(inputs[-1], weight, bias)))
        value, g = loss(affine(inputs[-1], *layers[-1]), targets)
        if l2:
            value += l2 * sum(sumprod(r, r) for weight, bias in layers for r in weight + [bias])
        for layer, inp in zip(layers[::-1], inputs[::-1]):
            (weight, bias), columns, keep = layer, transpose(g), 1 - 2 * LR * l2
            gradient = product(columns, transpose(inp))
            if inp is not x:
                g = relu_back(product(g, transpose(weight)), inp)
            layer[:] = ([[keep * p - LR * d for p, d in zip(r, s)] for r, s in zip(weight, gradient)],
                        [keep * p - LR * sum(c) for p, c in zip(bias, columns)])
        return value
    return step


def mlp_in_numpy(np, layers, x, targets, l2):
    """The same with NumPy."""
    layers, x, targets = [[np.array(p) for p in layer] for layer in layers], np.array(x), np.array(targets)
    n, signs = len(x), targets[:, None]

    def loss(scores):
        if l2:
            margins = 1 - signs * scores
            return np.maximum(margins, 0).mean(), (margins > 0) * -signs / n
        shares = np.exp(scores - scores.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        value = -np.log(shares[range(n), targets]).mean()
        shares[range(n), targets] -= 1
        return value, shares / n

    def step():
        inputs = [x]
        for weight, bias in layers[:-1]:
            inputs.append(np.maximum(inputs[-1] @ weight.T + bias, 0))
        value, g = loss(inputs[-1] @ layers[-1][0].T + layers[-1][1])
        if l2:
            value += l2 * sum((p * p).sum() for layer in layers for p in layer)
        for layer, inp in zip(layers[::-1], inputs[::-1]):
            (weight, bias), above = layer, g
            if inp is not x:
                g = above @ weight * (inp > 0)
            layer[:] = (weight - LR * (above.T @ inp + 2 * l2 * weight),
                        bias - LR * (above.sum(0) + 2 * l2 * bias))
        return float(value)
    return step


def rmsnorm(x):
    """Each row scaled to a root mean square of 1, and the scales."""
    scales = [(sumprod(r, r) / len(r) + 1e-5) ** -0.5 for r in x]
    return [[a * s for a in r] for r, s in zip(x, scales)], scales


def rmsnorm_back(g, out, scales):
    """The gradient for x: scale * (g - out * mean(g * out))."""
    means = [sumprod(r, o) / len(r) for r, o in zip(g, out)]
    return [[s * (a - b * m) for a, b in zip(r, o)] for r, o, m, s in zip(g, out, means, scales)]


def attention(q, k, v):
    """softmax(q kᵀ / √d) v for one head, where row t sees rows 0 to t; and the shares."""
    scale, shares = len(q[0]) ** -0.5, []
    for t, row in enumerate(q, 1):
        shares.append(softmax([sumprod(row, s) * scale for s in k[:t]])[0] + [0.0] * (len(q) - t))
    return product(shares, transpose(v)), shares


def attention_back(g, shares, q, k, v):
    """The gradients for q, k and v."""
    scale, g_shares = len(q[0]) ** -0.5, product(g, v)
    means = map(sumprod, g_shares, shares)
    g_scores = [[(a - m) * p * scale for a, p in zip(r, s)] for r, s, m in zip(g_shares, shares, means)]
    return (product(g_scores, transpose(k)), product(transpose(g_scores), transpose(q)),
            product(transpose(shares), transpose(g)))


def gpt_gradients(weights, heads, tokens, targets):
    """The loss of a GPT of one layer, and the gradient of each of its weights."""
    wte, wpe, lm_head, wq, wk, wv, wo, fc1, fc2 = weights
    width, zeros = len(wte[0]), [0.0] * len(wte[0])
    cuts = [slice(a, a + width // heads) for a in range(0, width, width // heads)]
    x0, scales0 = rmsnorm(plus([wte[token] for token in tokens], wpe))
    x1, scales1 = rmsnorm(x0)
    qkv = [product(x1, w) for w in (wq, wk, wv)]
    parts = [[[row[cut] for row in x] for x in qkv] for cut in cuts]
    outs, shares = zip(*[attention(*part) for part in parts])
    x2 = [list(chain(*rows)) for rows in zip(*outs)]
    x3 = plus(x0, product(x2, wo))
    x4, scales4 = rmsnorm(x3)
    x5 = relu(product(x4, fc1))
    x6 = plus(x3, product(x5, fc2))
    loss, g7 = cross_entropy(product(x6, lm_head), targets)

    g6 = product(g7, transpose(lm_head))
    g5 = relu_back(product(g6, transpose(fc2)), x5)
    g3 = plus(g6, rmsnorm_back(product(g5, transpose(fc1)), x4, scales4))
    g2 = product(g3, transpose(wo))
    g_outs = [[row[cut] for row in g2] for cut in cuts]
    g_parts = [attention_back(g, s, *part) for g, s, part in zip(g_outs, shares, parts)]
    gq, gk, gv = ([list(chain(*rows)) for rows in zip(*g_heads)] for g_heads in zip(*g_parts))
    g1 = plus(plus(product(gq, transpose(wq)), product(gk, transpose(wk))), product(gv, transpose(wv)))
    g0 = rmsnorm_back(plus(g3, rmsnorm_back(g1, x1, scales1)), x0, scales0)
    g_wte = [zeros for _ in wte]
    for token, row in zip(tokens, g0):
        g_wte[token] = list(map(add, g_wte[token], row))
    pairs = (g7, x6), (gq, x1), (gk, x1), (gv, x1), (g3, x2), (g5, x4), (g6, x5)
    return loss, [g_wte, g0 + [zeros] * (len(wpe) - len(g0)),
                  *(product(transpose(g), transpose(x)) for g, x in pairs)]


def gpt_by_hand(weights, heads, examples):
    """A function that makes a step of Adam for each example, (tokens, targets), and returns the mean loss."""
    weights = list(weights)
    p = list(chain.from_iterable(chain.from_iterable(weights)))
    m, v, steps = [0.0] * len(p), [0.0] * len(p), count()

    def adam_step(i, tokens, targets):
        loss, gradients = gpt_gradients(weights, heads, tokens, targets)
        g = list(chain.from_iterable(chain.from_iterable(gradients)))
        rate, scale = 0.01 * (1 - i / 1000) / (1 - 0.85 ** (i + 1)), (1 - 0.99 ** (i + 1)) ** -0.5
        m[:] = [0.85 * a + 0.15 * b for a, b in zip(m, g)]
        v[:] = [0.99 * a + 0.01 * b * b for a, b in zip(v, g)]
        p[:] = [w - rate * a / (scale * math.sqrt(b) + 1e-8) for w, a, b in zip(p, m, v)]
        numbers = iter(p)
        weights[:] = [[list(islice(numbers, len(row))) for row in rows] for rows in weights]
        return loss
    return lambda: sum(adam_step(next(steps), *example) for example in examples) / len(examples)


# -------------------------------------------------------------------------------------------------- the races

def race(contestants, budget):
    """Take turns for `budget` seconds, three at least: {name: [best seconds, losses of the first three]}."""
    results, end, turn = {name: [math.inf, []] for name in contestants}, perf_counter() + budget, 0
    gc.collect()
    while turn < 3 or perf_counter() < end:
        for name, step in contestants.items():
            start = perf_counter()
            loss = step()
            seconds, (best, losses) = perf_counter() - start, results[name]
            results[name] = [min(best, seconds), losses + [loss] * (turn < 3)]
        turn += 1
    return results


def moons():
    """100 points on two half circles, and 1 or -1 for each."""
    arc = [(math.cos(math.pi * i / 49), math.sin(math.pi * i / 49)) for i in range(50)]
    return [[x, y] for x, y in arc] + [[1 - x, 0.5 - y] for x, y in arc], [1.0] * 50 + [-1.0] * 50


def digits():
    """64 rows of 784 random numbers, and a class for each: in time, that is as good as MNIST."""
    random.seed(1)
    images = [[random.random() for _ in range(784)] for _ in range(64)]
    return images, [random.randrange(10) for _ in range(64)]


def installed(name):
    """The module of that name, or None."""
    return __import__(name) if importlib.util.find_spec(name) else None


def autograd_step(optimizer, loss):
    """A function that makes a step and returns the loss: the same lines for micrograd.py and PyTorch."""
    def step(*batch):
        value = loss(*batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.item()
    return step


def mlp_race(sizes, x, targets, l2, budget):
    """An MLP: the moons with hinge loss and L2, or the digits with cross entropy and without."""
    import micrograd as mg  # not at the top: a worker (below) imports another one
    np, torch = installed("numpy"), installed("torch")

    def network(lib, relu):
        linears = [lib.Linear(nin, nout) for nin, nout in zip(sizes, sizes[1:])]
        return lib.Sequential(*chain.from_iterable((linear, relu) for linear in linears[:-1]), linears[-1])

    def penalty(model):
        return l2 * sum((p * p).sum() for p in model.parameters()) if l2 else 0.0

    def loss():
        scores = model(inputs)
        return mg.hinge_loss(scores.reshape(-1), targets) if l2 else mg.cross_entropy(scores, targets)

    random.seed(1)
    model, inputs = network(mg, mg.Tensor.relu), mg.Tensor(x, requires_grad=False)
    state = model.state_dict()
    layers = [[state[name], state[name.replace("weight", "bias")]] for name in state if "weight" in name]
    hand_loss = hinge if l2 else cross_entropy
    contestants = {OURS: autograd_step(mg.SGD(model.parameters(), LR), lambda: loss() + penalty(model)),
                   "by hand": mlp_by_hand([list(layer) for layer in layers], x, targets, hand_loss, l2)}
    if np:
        contestants["NumPy"] = mlp_in_numpy(np, layers, x, targets, l2)
    if torch:
        torch.set_default_dtype(torch.float64)
        twin, xs, ys = network(torch.nn, torch.nn.ReLU()), torch.tensor(x), torch.tensor(targets)
        twin.load_state_dict({name: torch.tensor(numbers) for name, numbers in state.items()})

        def twin_loss():
            s = twin(xs)
            return (1 - ys * s[:, 0]).relu().mean() if l2 else torch.nn.functional.cross_entropy(s, ys)
        contestants["PyTorch"] = autograd_step(torch.optim.SGD(twin.parameters(), LR),
                                               lambda: twin_loss() + penalty(twin))
    return race(contestants, budget)


def gpt_race(budget):
    """The GPT of gpt.py, a step of Adam for each of NAMES names. On PyTorch it is the very same file."""
    import gpt
    import micrograd as mg
    torch = installed("torch")
    random.seed(42)
    names = list(gpt.NAMES)
    random.shuffle(names)
    letters, state = sorted(set("".join(names))), random.getstate()
    tokens = [gpt.tokenize(name, letters) for name in names[:NAMES]]
    examples = [(t[:-1], t[1:]) for t in tokens]

    def contestant(module, optimizer_of, set_lr, loss):
        random.setstate(state)
        model, steps = module.GPT(len(letters) + 1, layers=1, heads=4, width=16, context=16), count()
        optimizer = optimizer_of(model)
        step = autograd_step(optimizer, lambda tokens, targets: loss(model(tokens), targets))

        def adam_step(*example):
            set_lr(optimizer, 0.01 * (1 - next(steps) / 1000))
            return step(*example)
        return model, lambda: sum(adam_step(*example) for example in examples) / len(examples)

    adam = {"lr": 0.01, "betas": (0.85, 0.99), "eps": 1e-8}
    model, step = contestant(gpt, lambda model: mg.Adam(model.parameters(), **adam),
                             lambda optimizer, lr: setattr(optimizer, "lr", lr), mg.cross_entropy)
    contestants = {OURS: step, "by hand": gpt_by_hand(model.state_dict().values(), 4, examples)}
    if torch:
        spec = importlib.util.spec_from_file_location("gpt_in_torch", gpt.__file__)
        twin = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(twin)
        twin.linear, cross_entropy_of = torch.nn.functional.linear, torch.nn.functional.cross_entropy
        twin.Tensor = lambda rows, requires_grad=True: torch.tensor(rows, requires_grad=requires_grad)

        def parameters(model):
            return [p for part in (model, *model.layers) for p in vars(part).values() if torch.is_tensor(p)]
        contestants["PyTorch"] = contestant(twin, lambda model: torch.optim.Adam(parameters(model), **adam),
                                            lambda optimizer, lr: optimizer.param_groups[0].update(lr=lr),
                                            lambda logits, y: cross_entropy_of(logits, torch.tensor(y)))[1]
    return race(contestants, budget)


# --------------------------------- scalars: each peer in a process of its own, since all are called micrograd

def chain_of(Value, nodes):
    """Build a chain of operations, go back through it, and forget it."""
    x, w, b = Value(0.5), Value(0.9), Value(0.1)
    for _ in range(nodes // 2):
        x = x * w + b
    x.backward()
    return x.data


def demo_step(Value, MLP):
    """A function that makes a step of the demo of micrograd: the moons, one number at a time."""
    random.seed(1337)
    model, (points, targets) = MLP(2, [16, 16, 1]), moons()

    def step():
        scores = [model(list(map(Value, point))) for point in points]
        losses = [(1 + -y * score).relu() for y, score in zip(targets, scores)]
        loss = sum(losses) * (1.0 / len(losses)) + L2 * sum(p * p for p in model.parameters())
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= LR * p.grad
        return loss.data
    return step


def run_script(path):
    """Run microgpt for NAMES steps: its Value, the seconds that the steps took, and their mean loss."""
    class Enough(Exception):
        pass

    def note(*_, **__):  # it prints three times before the first step, then once for each
        marks.append(perf_counter())
        losses.extend([names["loss"].data] if len(marks) > 3 else [])
        if len(losses) == NAMES:
            raise Enough
    marks, losses, names = [], [], {"__name__": "__main__", "print": note}
    try:
        exec(compile(Path(path).read_text(encoding="utf-8"), path, "exec"), names)
    except Enough:
        return names["Value"], marks[-1] - marks[2], sum(losses) / NAMES
    raise ValueError(f"{path} did not print {NAMES} losses, as microgpt does")


def scalar_race(path, budget):
    """Of the micrograd at `path`, a folder, a wheel or a script: {work: [best seconds, losses]}."""
    if path.endswith(".py"):
        Values, seconds, losses = zip(*[run_script(path) for _ in range(3)])
        chain_race = race({"chain": lambda: chain_of(Values[0], NODES)}, budget)
        return {"gpt": [min(seconds), losses[:1]], **chain_race}
    sys.path.insert(0, path)
    from micrograd.engine import Value
    from micrograd.nn import MLP
    return race({"chain": lambda: chain_of(Value, NODES), "demo": demo_step(Value, MLP)}, budget)


def growth(path, budget):
    """Seconds per node of a chain of NODES and of a long one, with the garbage collector off and on."""
    sys.path.insert(0, path)
    from micrograd import Value
    found = {"nodes": 1_000_000 if budget > 1 else 100_000}
    for mode, switch in (("off", gc.disable), ("on", gc.enable)):
        switch()
        found[mode] = [race({"": lambda: chain_of(Value, nodes)}, budget / 4)[""][0] / nodes
                       for nodes in (NODES, found["nodes"])]
    return found


def memory(path, budget):
    """Bytes for each Value in a graph, before backward and after; None where Python cannot tell (PyPy)."""
    tracemalloc = installed("_tracemalloc") and installed("tracemalloc")
    if not tracemalloc:
        return None
    sys.path.insert(0, path)
    from micrograd import Value
    tracemalloc.start()
    x, w, b = Value(0.5), Value(0.9), Value(0.1)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(NODES // 2):
        x = x * w + b
    built = tracemalloc.get_traced_memory()[0] - before
    x.backward()
    return [built / NODES, (tracemalloc.get_traced_memory()[0] - before) / NODES]


def worker(job, path, budget):
    """The result of a job, one of the three above, done in a process of its own."""
    import gpt
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "input.txt").write_text("\n".join(gpt.NAMES), encoding="utf-8")  # what microgpt reads
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", job, str(path), str(budget)]
        done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8")
    if not done.stdout:
        sys.exit(f"{job} of {path}: {(done.stderr.strip() or 'it ended early').splitlines()[-1]}")
    return json.loads(done.stdout)


def serve(job, path, budget):
    """The other end. Peers recurse as deep as the graph, which takes a large stack: that of a thread."""
    def run():
        jobs = {"scalar_race": scalar_race, "growth": growth, "memory": memory}
        print(json.dumps(jobs[job](path, float(budget))))
    sys.setrecursionlimit(10 * NODES)
    threading.stack_size(256 << 20)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def scalar_races(peers, budget, turns):
    """{work: {name: [best seconds, losses]}} for the scalar work of micrograd.py and its peers, in turns."""
    found = {"chain": {}, "demo": {}, "gpt": {}}
    for _ in range(turns):
        for name, path in {OURS: ROOT, **peers}.items():
            for work, (seconds, losses) in worker("scalar_race", path, budget / turns).items():
                found[work][name] = [min(seconds, found[work].get(name, [math.inf])[0]), losses]
    return found


def import_seconds(budget):
    """What `import micrograd` adds to the time of an interpreter that does nothing, once it is compiled."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": folder}
        env.pop("PYTHONDONTWRITEBYTECODE", None)

        def start(code):
            return lambda: subprocess.run([sys.executable, "-c", code], env=env, check=True)
        times = race({"bare": start("pass"), "full": start("import micrograd")}, budget)
    return times["full"][0] - times["bare"][0]


# ------------------------------------------------------------------------------------------------- the tables

def agree(work, results):
    """End the program unless all report the same losses, as far as they go."""
    for name, (_, losses) in results.items():
        for step, (loss, ours) in enumerate(zip(losses, results[OURS][1]), 1):
            if not math.isclose(loss, ours, rel_tol=1e-9):
                sys.exit(f"{work}: step {step}: the loss of {name} is {loss!r}, that of {OURS} {ours!r}")


def amount(seconds):
    """`480 ns`, `2.31 ms`"""
    unit, size = next((unit, size) for unit, size in (("ns", 1e9), ("µs", 1e6), ("ms", 1e3), ("s", 1))
                      if seconds * size < 999.5 or unit == "s")
    return f"{seconds * size:.3g} {unit}"


def cell(seconds, ours):
    """A time, and how it compares with ours."""
    ratio, word = (seconds / ours, "slower") if seconds >= ours else (ours / seconds, "faster")
    return f"{amount(seconds)}, {ratio:.{2 if ratio < 10 else 0}f}× {word}"


def table(rows):
    """Lines of Markdown for rows (work, how many units of it, {name: [seconds, losses]})."""
    present = list(chain.from_iterable(results for _, _, results in rows))
    usual = [name for name in (OURS, "by hand", "NumPy", "PyTorch") if name in present]
    names = list(dict.fromkeys(usual + present))
    yield f"| work | {' | '.join(names)} |"
    yield f"| --- |{' ---: |' * len(names)}"
    for work, units, results in rows:
        ours = results[OURS][0] / units
        cells = [cell(results[name][0] / units, ours) if name in results else "" for name in names[1:]]
        yield f"| {' | '.join([work, amount(ours), *cells])} |"


def figures(per_node, budget):
    """Lines of Markdown: what is not a race."""
    yield "| | |"
    yield "| --- | ---: |"
    yield f"| Values per second, forward and backward | {1e-6 / per_node:.2f} million |"
    sizes, times = worker("memory", ROOT, budget), worker("growth", ROOT, budget)
    if sizes:
        yield "| bytes for a Value in a graph (after backward) | {:.0f} ({:.0f}) |".format(*sizes)
    off, on = (times[mode][1] / times[mode][0] for mode in ("off", "on"))
    yield f"| time per node at {times['nodes']:,} nodes over {NODES:,}, gc off (on) | {off:.2f} ({on:.2f}) |"
    yield f"| `import micrograd` | {amount(import_seconds(budget / 2))} |"


def peer(text):
    """An argparse type: a wheel or a script."""
    path = Path(text).resolve()
    if not path.is_file() or path.suffix not in (".whl", ".py"):
        raise argparse.ArgumentTypeError(f"{text} is not a wheel (.whl) or a script (.py)")
    return path


def arguments():
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, for a rough idea")
    parser.add_argument("--peer", type=peer, nargs="+", default=[], metavar="FILE",
                        help="other micrograds to race with: wheels, or scripts like microgpt.py")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Run the races, print the tables."""
    args = arguments()
    if args.worker:
        return serve(*args.worker)
    sys.path.insert(0, str(ROOT))
    budget, turns = (0.2, 1) if args.quick else (5, 3)
    peers = {" ".join(path.stem.split("-")[:2]): path for path in args.peer}
    scalars = scalar_races(peers, budget, turns)
    rows = [
        (f"a chain of {NODES:,} scalar operations, each", NODES, scalars["chain"]),
        ("moons 2-16-16-1, 100 points, Values", 1, scalars["demo"]),
        ("moons 2-16-16-1, 100 points, Tensors", 1, mlp_race([2, 16, 16, 1], *moons(), L2, budget)),
        ("digits 784-128-64-10, batch of 64", 1, mlp_race([784, 128, 64, 10], *digits(), 0, 2 * budget)),
        ("GPT of 4192 parameters, a name", NAMES, {**gpt_race(budget), **scalars["gpt"]})]
    for work, _, results in rows:
        agree(work, results)
    per_node = rows[0][2][OURS][0] / NODES
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} "
          f"{platform.machine()}, {os.cpu_count()} cores; forward, backward and update, the best of many\n")
    print("\n".join(table(rows)) + "\n")
    print("\n".join(figures(per_node, budget)))


if __name__ == "__main__":
    main()
