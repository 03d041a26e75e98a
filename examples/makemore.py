"""makemore: models that read names letter by letter, and then make up names of their own.

    python examples/makemore.py                     # bigram: a table of which letter follows which
    python examples/makemore.py --model mlp         # an MLP that sees 3 letters, with batch norm
    python examples/makemore.py --model wavenet     # a tree over 8 letters
    python examples/makemore.py --model rnn         # a network that reads letter after letter; also gru

These are the models of Andrej Karpathy's lectures on makemore; the next one, the transformer, is gpt.py.
All have one form: (batch, block) letters as numbers -> (batch, letters), the logits of the letter that
comes next. Letter 0, written ".", begins and ends a name. At the end come the losses on names to learn
from (train), to choose options by (dev) and to judge by (test), new names, and a picture of what it has
learned about letters. Ctrl-C stops early and uses what was learned so far.
"""
from common import (Training, at_least, count, diverged, heat_map, output_path, picture_path, scatter,
                    start, wild)
import argparse
import math
import random
import sys
from operator import mul
import micrograd.nn.functional as F
from micrograd import AdamW, Tensor, cat, load, nn, no_grad, save
from gpt import names_in, names_online


# -------------------------------------------------------------------------------------------- the models

class Bigram(nn.Module):
    """A table: for each letter, the logits of what follows it (part 1)."""

    def __init__(self, letters, block, emb, hidden):
        self.table = nn.Parameter(Tensor.zeros(letters, letters))

    def forward(self, x):
        return self.table[x[:, -1]]


class MLP(nn.Module):
    """A row of numbers for each letter; the rows, side by side, enter a layer (parts 2 and 3)."""

    def __init__(self, letters, block, emb, hidden):
        self.emb = nn.Embedding(letters, emb)
        self.layers = nn.Sequential(
            nn.Linear(block * emb, hidden, bias=False), nn.BatchNorm1d(hidden), nn.Tanh(),
            nn.Linear(hidden, letters))

    def forward(self, x):
        return self.layers(self.emb(x).flatten(1))      # (batch, block, emb) -> (batch, block * emb)


class FlattenConsecutive(nn.Module):
    """(batch, T, C) -> (batch, T / n, C * n), without a middle dimension of 1."""

    def __init__(self, n):
        self.n = n

    def forward(self, x):
        batch, size, channels = x.shape
        return x.view(batch, size // self.n, channels * self.n).squeeze(1)


class BatchNorm(nn.BatchNorm1d):
    """BatchNorm1d over all dimensions but the last, as in the lecture."""

    def forward(self, x):
        return super().forward(x.view(-1, x.shape[-1])).view(*x.shape)


class WaveNet(nn.Module):
    """Two letters at a time become one row, two of these rows the next, until one is left (part 5)."""

    def __init__(self, letters, block, emb, hidden):
        self.emb, layers, nin = nn.Embedding(letters, emb), [], emb
        while block > 1:
            layers += [FlattenConsecutive(2), nn.Linear(2 * nin, hidden, bias=False),
                       BatchNorm(hidden), nn.Tanh()]
            block, nin = block // 2, hidden
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, letters))

    def forward(self, x):
        return self.layers(self.emb(x))


class RNN(nn.Module):
    """It reads the letters in turn; `h` is all that it remembers (as in makemore.py)."""

    def __init__(self, letters, block, emb, hidden):
        self.emb = nn.Embedding(letters, emb)
        self.start = nn.Parameter(Tensor.zeros(1, hidden))
        self.cell = nn.Linear(emb + hidden, hidden)
        self.out = nn.Linear(hidden, letters)

    def step(self, x, h):
        """What it remembers after one more letter."""
        return self.cell(cat([x, h], 1)).tanh()

    def forward(self, x):
        x, h = self.emb(x), self.start.expand(len(x), -1)
        for t in range(x.shape[1]):
            h = self.step(x[:, t], h)
        return self.out(h)


class GRU(RNN):
    """An RNN with gates: r says what of h to look at, z how much of it to replace."""

    def __init__(self, letters, block, emb, hidden):
        super().__init__(letters, block, emb, hidden)
        self.reset, self.update = nn.Linear(emb + hidden, hidden), nn.Linear(emb + hidden, hidden)

    def step(self, x, h):
        """What it remembers after one more letter."""
        xh = cat([x, h], 1)
        r, z = self.reset(xh).sigmoid(), self.update(xh).sigmoid()
        new = self.cell(cat([x, r * h], 1)).tanh()
        return (1 - z) * h + z * new


#                    the model, and for it: block, emb, hidden, steps, batch, learning rate
MODELS = {"bigram": (Bigram, 1, 27, 27, 500, 200, 0.3), "mlp": (MLP, 3, 10, 100, 1500, 32, 0.01),
          "wavenet": (WaveNet, 8, 10, 48, 500, 32, 0.01), "rnn": (RNN, 8, 10, 48, 500, 32, 0.01),
          "gru": (GRU, 8, 10, 48, 300, 32, 0.01)}


# ---------------------------------------------------------------------------------- learning and talking

def examples_of(names, letters, block):
    """(context, next letter) for each letter of each name and for its end."""
    xs, ys, number = [], [], {letter: i for i, letter in enumerate(letters)}
    for name in names:
        context = [0] * block
        for letter in name + ".":
            xs.append(context)
            ys.append(number[letter])
            context = context[1:] + [number[letter]]
    return xs, ys


def train(model, optimizer, xs, ys, args, step, keep):
    """Steps of AdamW from `step` on, at a rate that falls to 0; `keep(step)` at times."""
    with Training(args.steps, "step") as training:
        for step in range(step, args.steps):
            batch = random.Random(f"{args.seed} {step}").choices(range(len(xs)), k=args.batch)
            logits = model(Tensor([xs[i] for i in batch], requires_grad=False))
            loss = F.cross_entropy(logits, [ys[i] for i in batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.lr = args.lr * (1 - step / args.steps)
            optimizer.step()
            training.show(step + 1, loss.item())
            if (step + 1) % 100 == 0 or step + 1 == args.steps:
                keep(step + 1)
    return training.losses


@no_grad()
def average_loss(model, xs, ys, most):
    """The mean loss over the examples, or over `most` of them drawn at random."""
    chosen, total = random.Random(1).sample(range(len(xs)), min(most, len(xs))), 0
    for i in range(0, len(chosen), 500):
        part = chosen[i:i + 500]
        logits = model(Tensor([xs[j] for j in part], requires_grad=False))
        total += F.cross_entropy(logits, [ys[j] for j in part], reduction="sum").item()
    return total / len(chosen)


@no_grad()
def invent(model, letters, block):
    """A new name, each letter drawn with the odds that the model gives it."""
    context, name = [0] * block, ""
    while len(name) < 30:
        odds = model(Tensor([context], requires_grad=False)).softmax(1).tolist()[0]
        if wild(odds[0]):
            diverged("the odds are no numbers", "training")
        letter = random.choices(range(len(letters)), odds)[0]
        if letter == 0:
            break
        context, name = context[1:] + [letter], name + letters[letter]
    return name


# ------------------------------------------------------------------------------------------- the picture

def two_directions(rows):
    """The rows along the two directions in which they differ most: their principal components."""
    means = [sum(column) / len(rows) for column in zip(*rows)]
    rows, places = [[x - mean for x, mean in zip(row, means)] for row in rows], []
    for _ in range(min(2, len(means))):
        direction = [random.Random(i).gauss(0, 1) for i in range(len(means))]
        for _ in range(100):                            # power iteration on the covariance
            along = [sum(map(mul, row, direction)) for row in rows]
            direction = [sum(map(mul, along, column)) for column in zip(*rows)]
            length = math.sqrt(sum(x * x for x in direction)) or 1.0
            direction = [x / length for x in direction]
        places.append([sum(map(mul, row, direction)) for row in rows])
        rows = [[x - a * d for x, d in zip(row, direction)] for row, a in zip(rows, places[-1])]
    return list(zip(*places, *[[0.0] * len(rows)] * (2 - len(places))))


def picture(model, letters):
    """What the model knows about letters: the table, in percent, or the embedding in two dimensions."""
    if isinstance(model, Bigram):
        table = [[round(100 * share) for share in row] for row in model.table.softmax(1).tolist()]
        return heat_map(table, letters, letters, "What follows the letter on the left, in percent")
    points = two_directions(model.emb.weight.tolist())
    return scatter(points, letters, "Letters that are used alike are near")


# -------------------------------------------------------------------------------------- the command line

def arguments(argv):
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="makemore.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", choices=list(MODELS), default="bigram", help="which model (bigram)")
    add("--data", type=names_in, metavar="FILE", help="names, one on each line (or they are downloaded)")
    add("--block", type=at_least(1), help="how many letters back it sees (mlp 3, later ones 8)")
    add("--emb", type=at_least(1), help="how many numbers stand for a letter (10)")
    add("--hidden", type=at_least(1), help="size of the hidden layers (mlp 100, others 48)")
    add("--steps", type=at_least(1), help="steps of the optimizer (300 to 1500)")
    add("--batch", type=at_least(2), help="examples per step (32, bigram 200)")
    add("--lr", type=at_least(0, float), help="learning rate of the first step (0.01, bigram 0.3)")
    add("--samples", type=at_least(0), default=20, help="how many names to make up (20)")
    add("--examples", type=at_least(1), default=2000, help="how many of each part to test on (2000)")
    add("--seed", type=int, default=42, help="the same seed gives the same names (42)")
    add("--checkpoint", type=output_path, metavar="FILE", help="a file, written every 100 steps")
    add("--resume", action="store_true", help="go on from the checkpoint, with the options of then")
    add("--out", type=picture_path, default="makemore.svg", help="where the picture goes (makemore.svg)")
    args = parser.parse_args(argv)
    for name, default in zip(("block", "emb", "hidden", "steps", "batch", "lr"), MODELS[args.model][1:]):
        if getattr(args, name) is None:
            setattr(args, name, default)
    if args.model == "wavenet" and args.block not in (2, 4, 8, 16, 32, 64):
        parser.error(f"--block {args.block}: the tree of wavenet needs 2, 4, 8, 16, 32 or 64 letters")
    if args.resume and not (args.checkpoint and args.checkpoint.exists()):
        parser.error("--resume needs --checkpoint with a file that a former run has written")
    if args.checkpoint and args.checkpoint.exists() and not args.resume:
        parser.error(f"{args.checkpoint} exists: add --resume to go on from it, or delete it")
    return args


def options_of(args, letters):
    """What a checkpoint must agree on with the options."""
    return {"model": list(MODELS).index(args.model), "letters": len(letters), "block": args.block,
            "emb": args.emb, "hidden": args.hidden}


def resume(args, model, optimizer, letters):
    """Go back to where the checkpoint was written, the step. ValueError if it is of another run."""
    state, wanted = load(args.checkpoint), options_of(args, letters)
    if not {"step", *wanted} <= state.keys():
        raise ValueError(f"{args.checkpoint} is not a checkpoint of this program")
    found = {name: int(state[name]) for name in wanted}
    if found != wanted:
        there = "--model {} --block {} --emb {} --hidden {} and {} letters".format(
            list(MODELS)[found["model"]], *map(found.get, ("block", "emb", "hidden", "letters")))
        raise ValueError(f"{args.checkpoint} was written with {there}, which --resume needs")
    model.load_state_dict(state, "model.")
    optimizer.load_state_dict(state, "optimizer.")
    return int(state["step"])


def main(argv=None):
    """Read, train, test, make up names, draw; returns the picture, which a notebook shows."""
    args = arguments(argv)
    names = args.data or names_online()
    random.seed(args.seed)
    random.shuffle(names)
    letters = ["."] + sorted(set("".join(names)) - {"."})
    cuts = [0, int(0.8 * len(names)), int(0.9 * len(names)), len(names)]
    parts = [examples_of(names[a:b], letters, args.block) for a, b in zip(cuts, cuts[1:])]
    model = MODELS[args.model][0](len(letters), args.block, args.emb, args.hidden)
    optimizer = AdamW(model.parameters(), lr=args.lr)
    size = count(sum(p.numel() for p in model.parameters()), "parameter")
    print(f"{count(len(names), 'name')} of {count(len(letters) - 1, 'letter')}, {size}")

    def keep(step):
        if args.checkpoint:
            save(args.checkpoint, {**model.state_dict("model."), **optimizer.state_dict("optimizer."),
                                   "step": step, **options_of(args, letters)})
    try:
        step = resume(args, model, optimizer, letters) if args.resume else 0
        losses = train(model.train(), optimizer, *parts[0], args, step, keep)
    except (OSError, ValueError) as error:
        sys.exit(f"makemore: {error}")
    model.eval()
    if losses:
        print(f"first loss {losses[0]:.4f}")
    for part, (xs, ys) in zip(("train", "dev", "test"), parts):
        if xs:
            print(f"{part:5} loss {average_loss(model, xs, ys, args.examples):.4f}  "
                  f"({count(min(args.examples, len(xs)), 'example')})")
    for number in range(args.samples):
        print(f"{number + 1:4}  {invent(model, letters, args.block)}")
    svg = picture(model, letters)
    svg.save(args.out)
    return svg


if __name__ == "__main__":
    start(main)
