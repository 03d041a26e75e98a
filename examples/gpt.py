"""A GPT in a hundred lines: it reads names, letter by letter, and then makes up names of its own.

    python examples/gpt.py                                     # 32,033 names, 1000 steps, 20 new names
    python examples/gpt.py --data words.txt --width 32         # any file with a word on each line

This is the network of Andrej Karpathy's microgpt, to be read beside it: the same numbers at the start, the same
names in the same order, the same loss at every step. There each number is a node of the graph and the letters come
one after the other. Here a node is a whole matrix and the letters of a name are its rows, T of them, all at once;
what it costs that no letter may look at a later one is a mask. Ctrl-C stops early and uses what was learned so far.
"""

import argparse
import math
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from common import Progress, at_least, fetch
from micrograd import Adam, Module, Tensor, cross_entropy, linear, no_grad

URL = "https://raw.githubusercontent.com/karpathy/makemore/988aa59/names.txt"
SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"
NAMES = """ada alan alice amelia anna arthur ben carl charlotte clara daniel david edith edward elena ella emil emma
    eva felix fiona frank george grace hannah henry ida isaac ivy jack jasmine julia karim kevin laura leo liam lucy
    maria max maya mia nina noah nora oliver omar oscar paula quentin rosa ruby samuel sara sofia theo thomas uma
    victor walter xavier yara yusuf zoe""".split()  # where there is no network


# -------------------------------------------------------------------------------------------------------- the network

def matrix(rows, columns):
    """A (rows, columns) Tensor of small random numbers."""
    return Tensor([[random.gauss(0, 0.08) for _ in range(columns)] for _ in range(rows)])


def rmsnorm(x):
    """Scale each row to a root mean square of 1; 1e-5 keeps a row of zeros from dividing by zero."""
    return x * ((x * x).mean(-1, keepdim=True) + 1e-5) ** -0.5


class Layer(Module):
    """Attention, then a small network on each row; what they say is added to x, (T, width) -> (T, width)."""

    def __init__(self, width, heads):
        self.heads = heads
        self.wq, self.wk, self.wv, self.wo = (matrix(width, width) for _ in range(4))
        self.fc1, self.fc2 = matrix(4 * width, width), matrix(width, 4 * width)

    def __call__(self, x):
        x = x + self.attention(rmsnorm(x))
        return x + linear(linear(rmsnorm(x), self.fc1).relu(), self.fc2)

    def attention(self, x):
        """Each letter asks (q) what the letters up to itself have to offer (k), and takes a mixture of their v.

        softmax(q kᵀ / √d) v: the more a question and an offer point the same way, the greater the share. Every
        head does this on its own d = width / heads of the columns.
        """
        q, k, v = (self.split(linear(x, weight)) for weight in (self.wq, self.wk, self.wv))     # (heads, T, d)
        scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])                                 # (heads, T, T)
        mixture = (scores + self.mask(len(x))).softmax(-1) @ v                                  # (heads, T, d)
        return linear(mixture.permute(1, 0, 2).reshape(*x.shape), self.wo)                      # (T, width)

    def split(self, x):
        """(T, width) -> (heads, T, d)"""
        return x.reshape(len(x), self.heads, -1).permute(1, 0, 2)

    def mask(self, size):
        """0 where row t may look at column s, that is s <= t; elsewhere -inf, whose share after softmax is 0."""
        rows = [[0.0] * (t + 1) + [-math.inf] * (size - t - 1) for t in range(size)]
        return Tensor(rows, requires_grad=False)


class GPT(Module):
    """From T tokens to T rows of logits, (T, vocabulary): what may come next after each of them."""

    def __init__(self, vocabulary, layers, heads, width, context):
        self.context = context
        self.wte = matrix(vocabulary, width)    # a row for each token: what it is
        self.wpe = matrix(context, width)       # a row for each position: where it is
        self.lm_head = matrix(vocabulary, width)
        self.layers = [Layer(width, heads) for _ in range(layers)]

    def __call__(self, tokens):
        x = rmsnorm(self.wte[tokens] + self.wpe[:len(tokens)])
        for layer in self.layers:
            x = layer(x)
        return linear(x, self.lm_head)


# ------------------------------------------------------------------------------------------------ learning and talking

def tokenize(name, letters):
    """Numbers for letters, with a token that means "a name begins or ends" on both sides."""
    return [len(letters), *map(letters.index, name), len(letters)]


def train(model, names, letters, steps, lr):
    """One name, one step of Adam, with a rate that falls to 0 in a straight line; returns the losses."""
    optimizer, losses = Adam(model.parameters(), lr=lr, betas=(0.85, 0.99), eps=1e-8), []
    with Progress(steps, "step") as progress:
        try:
            for step in range(steps):
                tokens = tokenize(names[step % len(names)], letters)[:model.context + 1]
                loss = cross_entropy(model(tokens[:-1]), tokens[1:])    # each row must predict the next token
                optimizer.zero_grad()
                loss.backward()
                optimizer.lr = lr * (1 - step / steps)
                optimizer.step()
                losses.append(loss.item())
                progress.show(step + 1, f"loss {sum(losses[-100:]) / len(losses[-100:]):.4f}")
        except KeyboardInterrupt:
            print(f"\nstopped after {len(losses)} of {steps} steps", end="")
    return losses


@no_grad()
def invent(model, letters, temperature):
    """A new name. `temperature`: near 0 always the likeliest letter, at 1 as often as the network believes."""
    tokens = [len(letters)]
    while len(tokens) <= model.context:
        shares = (model(tokens)[-1] / temperature).softmax(-1).tolist()
        token = random.choices(range(len(shares)), shares)[0]
        if token == len(letters):
            break
        tokens.append(token)
    return "".join(letters[token] for token in tokens[1:])


# --------------------------------------------------------------------------------------------------- the command line

def names_in(path):
    """An argparse type: the names in a text file, one to a line."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeError) as error:
        raise argparse.ArgumentTypeError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}")
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise argparse.ArgumentTypeError(f"no names in {path}: it needs one on each line")
    return names


def names_online():
    """The names that microgpt learns, from the network or the cache; without them, a short list."""
    try:
        return names_in(fetch(URL, SHA256))
    except OSError as error:
        print(f"cannot download {URL} ({error}):\nlearning {len(NAMES)} built-in names instead; --data FILE for others")
        return list(NAMES)


def arguments():
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=names_in, metavar="FILE", help="names, one to a line (default: downloaded once)",
                        default=argparse.SUPPRESS)
    parser.add_argument("--layers", type=at_least(1), default=1, help="how often attention and network alternate")
    parser.add_argument("--heads", type=at_least(1), default=4, help="how many questions a layer asks at a time")
    parser.add_argument("--width", type=at_least(1), default=16, help="numbers for each letter")
    parser.add_argument("--context", type=at_least(1), default=16, help="the most letters it can look back on")
    parser.add_argument("--steps", type=at_least(1), default=1000, help="steps of training, a name each")
    parser.add_argument("--lr", type=at_least(0, float), default=0.01, help="learning rate of the first step")
    parser.add_argument("--samples", type=at_least(0), default=20, help="how many names to make up")
    parser.add_argument("--temperature", type=at_least(0.01, float), default=0.5, help="low is careful, high is wild")
    parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same names")
    args = parser.parse_args()
    if args.width % args.heads:
        parser.error(f"--width {args.width} is not a multiple of --heads {args.heads}")
    return args


def main():
    """Read, train, make up names."""
    args = arguments()
    names = args.data if "data" in args else names_online()
    random.seed(args.seed)
    random.shuffle(names)
    letters = sorted(set("".join(names)))
    model = GPT(len(letters) + 1, args.layers, args.heads, args.width, args.context)
    print(f"{len(names)} names of {len(letters)} letters, {sum(p.size for p in model.parameters())} parameters")
    losses = train(model, names, letters, args.steps, args.lr)
    print("losses at first:", *(f"{loss:.12f}" for loss in losses[:5]))
    for number in range(args.samples):
        print(f"{number + 1:4}  {invent(model, letters, args.temperature)}")


if __name__ == "__main__":
    main()
