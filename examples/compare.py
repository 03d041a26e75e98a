"""A network here and the same one in PyTorch, if that is installed: how far apart are their numbers?

    python examples/compare.py

Outputs, loss and gradients of the first step, and the weights after ten. Both run the same lines, those
of `run`, where `torch` is one library or the other.
"""
from common import start
import importlib
import importlib.util
import random
import micrograd


def run(torch, weights, points, classes):
    """Train a small network for ten steps from these weights; {what: numbers}."""
    nn = torch.nn
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    model.load_state_dict({name: torch.tensor(numbers) for name, numbers in weights.items()})
    optimizer, found = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.01), {}
    for step in range(10):
        outputs = model(torch.tensor(points))
        loss = nn.functional.cross_entropy(outputs, torch.tensor(classes))
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            found = {"outputs": outputs.tolist(), "loss": loss.item(),
                     "gradients": [p.grad.tolist() for p in model.parameters()]}
        optimizer.step()
    return {**found, "weights after ten steps": [p.tolist() for p in model.parameters()]}


def flat(numbers):
    """The numbers in nested lists, whatever their shape."""
    return [x for part in numbers for x in flat(part)] if isinstance(numbers, list) else [numbers]


def main(argv=None):
    """Compare, or say that there is nothing to compare with."""
    if not importlib.util.find_spec("torch"):
        return print("PyTorch is not installed here, so there is nothing to compare with.")
    torch = importlib.import_module("torch")
    torch.set_default_dtype(torch.float64)
    random.seed(1)
    points = [[random.gauss(0, 1) for _ in range(4)] for _ in range(32)]
    classes, nn = [i % 3 for i in range(32)], micrograd.nn
    weights = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3)).state_dict()
    ours, theirs = (run(library, weights, points, classes) for library in (micrograd, torch))
    for what in ours:
        pairs = zip(flat(ours[what]), flat(theirs[what]))
        print(f"{what}: the largest difference is {max(abs(a - b) for a, b in pairs):.1e}")


if __name__ == "__main__":
    start(main)
