"""How fast micrograd.py is, beside the same work done in other ways.

    python examples/benchmark.py            # a minute or two; --quick: seconds; --markdown: tables
    python examples/benchmark.py --versus old/micrograd.py      # another version: see versus.py
    pip download micrograd==0.1.0 --no-deps
    python examples/benchmark.py --peer micrograd-0.1.0-py3-none-any.whl microgpt.py

"By hand" is backpropagation worked out on paper (by_hand.py). NumPy, by hand too, and PyTorch, in
float64, take part where they are installed. A peer is another micrograd in a wheel, or a script like
microgpt; both run unchanged. All start from the same numbers, and the benchmark stops where their losses
differ. "Traced" is the source code that `trace` makes of a function of Values, "untraced" the engine.
"""
from common import can_print, start
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
from itertools import chain, count
from pathlib import Path
from time import perf_counter
import by_hand
import versus

ROOT = Path(__file__).resolve().parent.parent
OURS = "micrograd.py"
NODES, NAMES, CALLS, LR, L2 = 10_000, 8, 500, 0.05, 1e-4


# --------------------------------------------------------------------------------------------- the races

def race(contestants, budget):
    """Take turns for `budget` seconds, three at least: {name: [best seconds, first three losses]}."""
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
        pairs = [(linear, relu) for linear in linears]
        return lib.Sequential(*list(chain.from_iterable(pairs))[:-1])

    def penalty(model):
        return l2 * sum((p * p).sum() for p in model.parameters()) if l2 else 0.0

    def loss():
        scores = model(inputs)
        return mg.hinge_loss(scores.reshape(-1), targets) if l2 else mg.cross_entropy(scores, targets)

    random.seed(1)
    model, inputs = network(mg, mg.Tensor.relu), mg.Tensor(x, requires_grad=False)
    state = model.state_dict()
    layers = [[state[name], state[name.replace("weight", "bias")]] for name in state if "weight" in name]
    hand_loss = by_hand.hinge if l2 else by_hand.cross_entropy
    hand = by_hand.mlp_by_hand([list(layer) for layer in layers], x, targets, hand_loss, LR, l2)
    contestants = {OURS: autograd_step(mg.SGD(model.parameters(), LR), lambda: loss() + penalty(model)),
                   "by hand": hand}
    if np:
        contestants["NumPy"] = by_hand.mlp_in_numpy(np, layers, x, targets, LR, l2)
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
    """The GPT of gpt.py, a step of Adam for each of NAMES names."""
    import gpt
    import micrograd as mg
    random.seed(42)
    names = list(gpt.NAMES)
    random.shuffle(names)
    letters = sorted(set("".join(names)))
    tokens = [gpt.tokenize(name, letters) for name in names[:NAMES]]
    examples = [(t[:-1], t[1:]) for t in tokens]
    model, steps = gpt.GPT(len(letters) + 1, layers=1, heads=4, width=16, context=16), count()
    optimizer = mg.Adam(model.parameters(), lr=0.01, betas=(0.85, 0.99), eps=1e-8)
    step = autograd_step(optimizer, lambda tokens, targets: mg.cross_entropy(model(tokens), targets))

    def adam_step(*example):
        optimizer.lr = 0.01 * (1 - next(steps) / 1000)
        return step(*example)
    return race({OURS: lambda: sum(adam_step(*example) for example in examples) / len(examples),
                 "by hand": by_hand.gpt_by_hand(model.state_dict().values(), 4, examples)}, budget)


def wavenet_race(budget):
    """The WaveNet of the course (makemore, part 5), a step of SGD on 32 examples."""
    import micrograd as mg
    random.seed(1)
    return race({OURS: versus.wavenet(mg)}, budget)


# ---------------------------- scalars: each peer in a process of its own, since all are called micrograd

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
    model, (points, targets) = MLP(2, [16, 16, 1]), versus.moons()

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


def rosenbrock(x):
    """The valley of Rosenbrock: easy to find, hard to follow."""
    return sum(100 * (b - a ** 2) ** 2 + (1 - a) ** 2 for a, b in zip(x, x[1:]))


def recurrence(numbers):
    """A small network that reads its own output, 20 times."""
    w, x = numbers
    for _ in range(20):
        x = (w * x + 0.1).tanh()
    return x


FUNCTIONS = {"rosenbrock": (rosenbrock, [0.1 * i for i in range(10)], "Rosenbrock of 10 variables"),
             "recurrence": (recurrence, [0.9, 0.3], "20 times tanh(w x + 0.1)")}


def graph_of(Value, f):
    """The function that gives the value of f and its gradient by way of a graph."""
    def value_and_gradient(numbers):
        values = [Value(x) for x in numbers]
        out = f(values)
        out.backward()
        return out.data, [v.grad for v in values]
    return value_and_gradient


def calls(value_and_gradient, numbers):
    """A function that makes CALLS calls, and returns the sum of what the last one gave."""
    def step():
        for _ in range(CALLS):
            value, gradient = value_and_gradient(numbers)
        return value + sum(gradient)
    return step


def traced_race(name, budget):
    """A function and its gradient as plain code, by hand, and as a graph."""
    from micrograd import Value, trace
    f, numbers, _ = FUNCTIONS[name]
    traced = trace(f, numbers)

    def plain(numbers):
        value, (gradient,) = traced(numbers)
        return value, gradient
    return race({OURS: calls(plain, numbers), "by hand": calls(getattr(by_hand, name), numbers),
                 "untraced": calls(graph_of(Value, f), numbers)}, budget)


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
    works = {name: calls(graph_of(Value, f), numbers) for name, (f, numbers, _) in FUNCTIONS.items()
             if name == "rosenbrock" or hasattr(Value, "tanh")}
    works.update(chain=lambda: chain_of(Value, NODES), demo=demo_step(Value, MLP))
    return race(works, budget)


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
    """Bytes for a Value in a graph, before backward and after; None where Python cannot tell (PyPy)."""
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
        Path(folder, "input.txt").write_text("\n".join(gpt.NAMES), encoding="utf-8")  # microgpt reads it
        program = str(Path(__file__).resolve())
        command = [sys.executable, program, "--worker", job, str(path), str(budget)]
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
    """{work: {name: [best seconds, losses]}} for the scalar work of micrograd.py and peers, in turns."""
    found = {work: {} for work in ("chain", "demo", "gpt", *FUNCTIONS)}
    for _ in range(turns):
        for name, path in {OURS: ROOT, **peers}.items():
            for work, (seconds, losses) in worker("scalar_race", path, budget / turns).items():
                found[work][name] = [min(seconds, found[work].get(name, [math.inf])[0]), losses]
    return found


def import_seconds(budget):
    """What `import micrograd` adds to the time of an interpreter that does nothing, once compiled."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": folder}
        env.pop("PYTHONDONTWRITEBYTECODE", None)

        def start(code):
            return lambda: subprocess.run([sys.executable, "-c", code], env=env, check=True)
        times = race({"bare": start("pass"), "full": start("import micrograd")}, budget)
    return times["full"][0] - times["bare"][0]


# -------------------------------------------------------------------------------------------- the tables

def rows(peers, budget, turns):
    """Race by race: the work, how many units of it a step is, {name: [best seconds, losses]}."""
    scalars = scalar_races(peers, budget, turns)
    yield f"a chain of {NODES:,} scalar operations, each", NODES, scalars["chain"]
    yield "moons 2-16-16-1, 100 points, Values", 1, scalars["demo"]
    for name, (_, _, text) in FUNCTIONS.items():
        del scalars[name][OURS]     # the engine: it is in the race below, as "untraced"
        yield f"{text}, traced", CALLS, {**traced_race(name, budget / 2), **scalars[name]}
    found = mlp_race([2, 16, 16, 1], *versus.moons(), L2, budget)
    yield "moons 2-16-16-1, 100 points, Tensors", 1, found
    found = mlp_race([784, 128, 64, 10], *versus.digits(), 0, 2 * budget)
    yield "digits 784-128-64-10, batch of 64", 1, found
    yield "GPT of 4192 parameters, a name", NAMES, {**gpt_race(budget), **scalars["gpt"]}
    yield "WaveNet of 76,579 parameters, batch of 32", 1, wavenet_race(budget)


def agree(work, results):
    """End the program unless all report the same losses, as far as they go."""
    for name, (_, losses) in results.items():
        for step, (loss, ours) in enumerate(zip(losses, results[OURS][1]), 1):
            if not math.isclose(loss, ours, rel_tol=1e-9):
                sys.exit(f"{work}: step {step}: the loss of {name} is {loss!r}, that of {OURS} {ours!r}")


def cell(seconds, ours):
    """A time, and how it compares with ours."""
    ratio, word = (seconds / ours, "slower") if seconds >= ours else (ours / seconds, "faster")
    times = "×" if can_print("×") else "x"
    return f"{versus.amount(seconds)}, {ratio:.{2 if ratio < 10 else 0}f}{times} {word}"


def cells(units, results):
    """{name: what its cell says}"""
    ours = results[OURS][0] / units
    others = {name: cell(seconds / units, ours) for name, (seconds, _) in results.items()}
    return {**others, OURS: versus.amount(ours)}


def table(lines):
    """Lines of Markdown for a list of (work, {name: cell})."""
    present = list(chain.from_iterable(names for _, names in lines))
    usual = [name for name in (OURS, "by hand", "NumPy", "PyTorch") if name in present]
    names = list(dict.fromkeys(usual + present))
    yield f"| work | {' | '.join(names)} |"
    yield f"| --- |{' ---: |' * len(names)}"
    for work, found in lines:
        yield f"| {work} | {' | '.join(found.get(name, '') for name in names)} |"


def figures(per_node, budget):
    """What is not a race: (what, how much)."""
    yield "Values per second, forward and backward", f"{1e-6 / per_node:.2f} million"
    sizes, times = worker("memory", ROOT, budget), worker("growth", ROOT, budget)
    if sizes:
        yield "bytes for a Value in a graph (after backward)", "{:.0f} ({:.0f})".format(*sizes)
    off, on = (times[mode][1] / times[mode][0] for mode in ("off", "on"))
    what = f"time per node at {times['nodes']:,} nodes over {NODES:,}, gc off (on)"
    yield what, f"{off:.2f} ({on:.2f})"
    yield "`import micrograd`", versus.amount(import_seconds(budget / 2))


def peer(text):
    """An argparse type: a wheel or a script."""
    path = Path(text).resolve()
    if not path.is_file() or path.suffix not in (".whl", ".py"):
        raise argparse.ArgumentTypeError(f"{text} is not a wheel (.whl) or a script (.py)")
    return path


def arguments(argv):
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="benchmark.py", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, for a rough idea")
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown, at the end")
    parser.add_argument("--peer", type=peer, nargs="+", default=[], metavar="FILE",
                        help="other micrograds to race with: wheels, or scripts like microgpt.py")
    parser.add_argument("--versus", type=peer, metavar="FILE",
                        help="race with another version of micrograd.py instead; versus.py says how")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def report(peers, budget, turns, markdown):
    """Run the races. In Markdown two tables at the end; else a few lines for each race, once done."""
    python = f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}"
    print(f"{python} {platform.machine()}, {os.cpu_count()} cores; forward, backward and update, "
          "the best of many\n", flush=True)
    lines, per_node = [], None
    for work, units, results in rows(peers, budget, turns):
        agree(work, results)
        per_node = per_node or results[OURS][0] / units     # the first row is the chain
        lines.append((work, cells(units, results)))
        if not markdown:
            print(work)
            for name, text in lines[-1][1].items():
                print(f"    {name:16} {text}", flush=True)
    if markdown:
        print("\n".join(table(lines)) + "\n\n| | |\n| --- | ---: |")
    for what, text in figures(per_node, budget):
        print(f"| {what} | {text} |" if markdown else f"{what.replace('`', '')}: {text}", flush=True)


def main(argv=None):
    """Run the races, print the tables."""
    args = arguments(argv)
    if args.worker:
        return serve(*args.worker)
    if args.versus:
        return versus.main([str(args.versus)] + ["--seconds", "0.2"] * args.quick)
    peers = {" ".join(path.stem.split("-")[:2]): path for path in args.peer}
    report(peers, *((0.2, 1) if args.quick else (5, 3)), args.markdown)


if __name__ == "__main__":
    start(main)
