"""A GPT in a hundred lines: it reads names, letter by letter, and then makes up names of its own.

    python examples/gpt.py                                # 32,033 names, 1000 steps, 20 new names
    python examples/gpt.py --data words.txt --width 32    # any file with a word on each line

This is the network of Andrej Karpathy's microgpt, to be read beside it: the same numbers at the start,
the same names in the same order, the same loss at every step. There, each number is a node of the graph,
and the letters of a name come one after the other. Here, a node is a whole matrix, the T letters of a
name are its rows, all at once, and none looks ahead. Ctrl-C stops early and uses what it has learned.
"""
from common import Training, at_least, count, diverged, fetch, start, wild
import argparse
import random
from pathlib import Path
import micrograd.nn.functional as F
from micrograd import Adam, Module, Tensor, no_grad

URL = "https://raw.githubusercontent.com/karpathy/makemore/988aa59/names.txt"
SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"
# For those without a network:
NAMES = """abigail adriana alexander amelia annabelle anthony antonio beatrice benjamin caroline
    catherine charlotte clara daniel david dominic edward eleanor elena elizabeth emily emma felix fiona
    francesca frederick gabriel george grace hannah henry isaac isabella ivy jack jasmine jonathan julia
    karim laura leo liam lucy maria matilda max mia nathaniel nora oliver oscar paula penelope quentin
    rosalind ruby samuel sebastian sofia theodore thomas uma valentina victor walter xavier yara yusuf
    zoe""".split()


# ------------------------------------------------------------------------------------------- the network

def matrix(rows, columns):
    """A (rows, columns) Tensor of small random numbers."""
    return Tensor([[random.gauss(0, 0.08) for _ in range(columns)] for _ in range(rows)])


def rmsnorm(x):
    """Each row scaled to a root mean square of 1; the 1e-5 is there for a row of zeros."""
    return F.rms_norm(x, x.shape[-1:], eps=1e-5)


class Layer(Module):
    """(T, width) -> (T, width): attention, then a small network for each row; both add to x."""

    def __init__(self, width, heads):
        self.heads = heads
        self.wq, self.wk, self.wv, self.wo = (matrix(width, width) for _ in range(4))
        self.fc1, self.fc2 = matrix(4 * width, width), matrix(width, 4 * width)

    def forward(self, x):
        x = x + self.attention(rmsnorm(x))
        return x + F.linear(F.linear(rmsnorm(x), self.fc1).relu(), self.fc2)  # linear(x, w) is x @ w.T

    def attention(self, x):
        """softmax(q kᵀ / √d) v: each letter asks (q) what the letters up to it have to offer (k, v).

        The better an offer fits the question, the more of it goes into the answer. Every head does so by
        itself, on d = width / heads of the columns.
        """
        size, width = x.shape
        q, k, v = (F.linear(x, w).reshape(size, self.heads, -1).permute(1, 0, 2)     # (heads, T, d)
                   for w in (self.wq, self.wk, self.wv))
        answers = F.scaled_dot_product_attention(q, k, v, is_causal=True)           # (heads, T, d)
        return F.linear(answers.permute(1, 0, 2).reshape(size, width), self.wo)


class GPT(Module):
    """T tokens -> (T, vocabulary): for each token, the logits of what may come next."""

    def __init__(self, vocabulary, layers, heads, width, context):
        self.context = context
        self.wte = matrix(vocabulary, width)        # a row for each token: what it is
        self.wpe = matrix(context, width)           # a row for each position: where it is
        self.lm_head = matrix(vocabulary, width)
        self.layers = [Layer(width, heads) for _ in range(layers)]

    def forward(self, tokens):
        x = rmsnorm(self.wte[tokens] + self.wpe[:len(tokens)])
        for layer in self.layers:
            x = layer(x)
        return F.linear(x, self.lm_head)


# ---------------------------------------------------------------------------------- learning and talking

def tokenize(name, letters):
    """A number for each letter, between two tokens that mean: here a name begins or ends."""
    return [len(letters), *map(letters.index, name), len(letters)]


def train(model, names, letters, steps, lr):
    """A step of Adam for each name, at a rate that falls to 0 in a straight line; returns the losses."""
    optimizer = Adam(model.parameters(), lr=lr, betas=(0.85, 0.99), eps=1e-8)
    with Training(steps, "step") as training:
        for step in range(steps):
            tokens = tokenize(names[step % len(names)], letters)[:model.context + 1]
            loss = F.cross_entropy(model(tokens[:-1]), tokens[1:])      # each row guesses the next
            optimizer.zero_grad()
            loss.backward()
            optimizer.lr = lr * (1 - step / steps)
            optimizer.step()
            training.show(step + 1, loss.item())
    return training.losses


@no_grad()
def invent(model, letters, temperature):
    """A new name. Temperature 1 keeps the odds of the model, a lower one favours the likely."""
    tokens = [len(letters)]
    while len(tokens) <= model.context:
        odds = (model(tokens)[-1] / temperature).softmax(-1).tolist()
        if wild(odds[0]):
            diverged("the odds are no numbers", "training")
        token = random.choices(range(len(odds)), odds)[0]
        if token == len(letters):
            break
        tokens.append(token)
    return "".join(letters[token] for token in tokens[1:])


# -------------------------------------------------------------------------------------- the command line

def names_in(path):
    """An argparse type: the names in a text file, one on each line."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise argparse.ArgumentTypeError(f"cannot read {path}: {reason}")
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise argparse.ArgumentTypeError(f"{path} has no names in it; it needs one on each line")
    return names


def names_online():
    """The names that microgpt learns, from the network or the cache; failing that, a short list."""
    try:
        return names_in(fetch(URL, SHA256))
    except OSError as error:
        print(f"cannot get {URL}: {error}\n{len(NAMES)} built-in names must do; --data FILE for others")
        return list(NAMES)


def arguments(argv):
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="gpt.py", description=__doc__.split("\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--data", type=names_in, metavar="FILE", help="names, one on each line (or they are downloaded)")
    add("--layers", type=at_least(1), default=1, help="layers, each with attention and a network")
    add("--heads", type=at_least(1), default=4, help="how many questions a letter asks at a time")
    add("--width", type=at_least(1), default=16, help="how many numbers stand for a letter")
    add("--context", type=at_least(1), default=16, help="how many letters back it sees")
    add("--steps", type=at_least(1), default=1000, help="steps of training, a name each")
    add("--lr", type=at_least(0, float), default=0.01, help="learning rate of the first step")
    add("--samples", type=at_least(0), default=20, help="how many names to make up")
    add("--temperature", type=at_least(0.01, float), default=0.5, help="low is careful, high is wild")
    add("--seed", type=int, default=42, help="the same seed gives the same names")
    args = parser.parse_args(argv)
    if args.width % args.heads:
        parser.error(f"--width {args.width} is not a multiple of --heads {args.heads}")
    return args


def main(argv=None):
    """Read, train, make up names."""
    args = arguments(argv)
    names = args.data or names_online()
    random.seed(args.seed)
    random.shuffle(names)
    letters = sorted(set("".join(names)))
    model = GPT(len(letters) + 1, args.layers, args.heads, args.width, args.context)
    size = count(sum(p.numel() for p in model.parameters()), "parameter")
    print(f"{count(len(names), 'name')} of {count(len(letters), 'letter')}, {size}")
    losses = train(model, names, letters, args.steps, args.lr)
    if losses:  # none when stopped at once
        print("the first losses:", *(f"{loss:.12f}" for loss in losses[:5]), sep="\n    ")
    for number in range(args.samples):
        print(f"{number + 1:4}  {invent(model, letters, args.temperature)}")


if __name__ == "__main__":
    start(main)
