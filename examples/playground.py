"""A playground in the browser: watch a small network learn, and look into it while it does.

    python examples/playground.py                         # opens the page; Ctrl-C ends it
    python examples/playground.py --port 8000 --no-open

The network learns here, in Python; the page (playground.html) only draws. Each tab of the browser has a
network of its own and two threads: one trains, and never waits for the other, which sends 15 pictures a
second, made from a copy of the weights.
"""

import argparse
import base64
import copy
import json
import math
import random
import re
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from common import at_least, spread
from local_server import Handler, Refused, Server
from micrograd import (
    SGD, Adam, AdamW, Linear, Sequential, Tensor, binary_cross_entropy_with_logits, grad, no_grad)

PAGE = Path(__file__).resolve().with_suffix(".html")
PICTURES = 15           # per second
PATIENCE = 5            # seconds that a network waits for its page to look at it
MOST_TABS = 5           # a browser makes six connections to a server, and each tab keeps one

# ---------------------------------------------------------------------------------------------- the data
# A function per kind: a point of class `label`, 0 or 1, from a random generator.


def moons(rng, label):
    angle = rng.uniform(0, math.pi)
    x, y = 1.6 * math.cos(angle) - 0.8, 1.6 * math.sin(angle) - 0.4
    return (x, y) if label else (-x, -y)


def circles(rng, label):
    radius, angle = rng.uniform(0, 1) if label else rng.uniform(1.7, 2.6), rng.uniform(0, 2 * math.pi)
    return radius * math.cos(angle), radius * math.sin(angle)


def xor(rng, label):
    x, y, side = rng.uniform(0.5, 2.5), rng.uniform(0.5, 2.5), rng.choice((-1, 1))
    return side * x, side * y if label else -side * y


def spirals(rng, label):
    turn = rng.uniform(0.15, 1)
    angle = math.pi * (3.5 * turn + label)
    return 2.6 * turn * math.sin(angle), 2.6 * turn * math.cos(angle)


def blobs(rng, label):
    centre = 1.2 if label else -1.2
    return centre + rng.gauss(0, 0.4), centre + rng.gauss(0, 0.4)


DATASETS = {make.__name__: make for make in (moons, circles, xor, spirals, blobs)}
FEATURES = {            # what a network may see of a point: as Python text, and as a function
    "x": ("x", lambda x, y: x), "y": ("y", lambda x, y: y),
    "x²": ("x * x", lambda x, y: x * x), "y²": ("y * y", lambda x, y: y * y),
    "xy": ("x * y", lambda x, y: x * y),
    "sin x": ("math.sin(x)", lambda x, y: math.sin(x)),
    "sin y": ("math.sin(y)", lambda x, y: math.sin(y)),
}


def sample(data, count, noise, rng):
    """`count` points [x, y, label], half of each class, in random order."""
    points = []
    for i in range(count):
        x, y = DATASETS[data](rng, i % 2)
        points.append([x + rng.gauss(0, noise), y + rng.gauss(0, noise), i % 2])
    rng.shuffle(points)
    return points


def inputs(features, points):
    """What a network sees: a row of features for each point."""
    functions = [FEATURES[name][1] for name in features]
    return [[f(point[0], point[1]) for f in functions] for point in points]


# ------------------------------------------------------------------------------------------ the settings

ACTIVATIONS = {"tanh": Tensor.tanh, "relu": Tensor.relu, "sigmoid": Tensor.sigmoid, "gelu": Tensor.gelu,
               "linear": None}
OPTIMIZERS = {"Adam": (Adam, {}), "AdamW": (AdamW, {}), "SGD": (SGD, {}),
              "SGD + momentum": (SGD, {"momentum": 0.9})}
SETTINGS = {            # what a page may choose: one of the choices, or a number, or a list of such
    "data": {"first": "moons", "choices": list(DATASETS)},
    "noise": {"first": 0.15, "low": 0, "high": 0.6, "step": 0.05},
    "count": {"first": 200, "low": 20, "high": 500, "step": 20},
    "test": {"first": 30, "low": 10, "high": 50, "step": 10},       # per cent of the points
    "seed": {"first": 1, "low": 0, "high": 9999, "step": 1},
    "features": {"first": ["x", "y"], "choices": list(FEATURES), "least": 1, "most": len(FEATURES)},
    "layers": {"first": [6, 4], "low": 1, "high": 8, "step": 1, "least": 0, "most": 6},
    "act": {"first": "tanh", "choices": list(ACTIVATIONS)},
    "optimizer": {"first": "Adam", "choices": list(OPTIMIZERS)},
    "lr": {"first": 0.005, "choices": [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]},
    "l2": {"first": 0, "choices": [0, 0.0001, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]},
    "batch": {"first": 20, "low": 1, "high": 50, "step": 1},
    "pace": {"first": 0, "choices": [0, 200, 50, 10]},      # steps per second; 0: as many as it can
}
TUNABLE = "lr", "l2", "batch", "pace"       # change while it learns; after others a network begins anew


def checked(name, value):
    """A setting from outside; a ValueError says what is wrong with it."""
    rule = SETTINGS[name]
    if "most" not in rule:
        return checked_one(name, rule, value)
    if type(value) is not list or not rule["least"] <= len(value) <= rule["most"]:
        raise ValueError(f"{name}: {value!r:.60} is not a list of {rule['least']} to {rule['most']}.")
    if "choices" in rule and any(item in value[:i] for i, item in enumerate(value)):
        raise ValueError(f"{name}: {value!r:.60} has something twice.")
    return [checked_one(name, rule, item) for item in value]


def checked_one(name, rule, value):
    if "choices" in rule:
        good = type(value) in (str, int, float) and value in rule["choices"]
        wanted = "one of " + ", ".join(map(str, rule["choices"]))
    else:
        low, high, kinds = rule["low"], rule["high"], (int, type(rule["step"]))
        good = type(value) in kinds and low <= value <= high
        wanted = f"a{'' if float in kinds else ' whole'} number from {low} to {high}"
    if not good:
        raise ValueError(f"{name}: {value!r:.60} is not {wanted}.")
    return value


def python_code(settings):
    """The lines of Python that make the network of these settings, weight by weight, and train it."""
    act = "" if settings["act"] == "linear" else f", Tensor.{settings['act']}"
    gap = act + (", " if len(settings["layers"]) < 3 else ",\n                   ")
    steps = gap.join(f"Linear({nin}, {nout})" for nin, nout in layer_sizes(settings))
    kind, options = OPTIMIZERS[settings["optimizer"]]
    options = {"lr": settings["lr"], **options, "weight_decay": settings["l2"]}
    row = ", ".join(FEATURES[name][0] for name in settings["features"])
    return f"""import {'math, ' * ('math' in row)}random
from micrograd import {kind.__name__}, Linear, Sequential, Tensor, binary_cross_entropy_with_logits

random.seed({settings["seed"]})
model = Sequential({steps})
optimizer = {kind.__name__}(model.parameters(), {', '.join(f'{key}={x}' for key, x in options.items())})

def step(points, labels):       # points [[x, y], ...], labels [0 or 1, ...]
    scores = model([[{row}] for x, y in points]).reshape(-1)
    loss = binary_cross_entropy_with_logits(scores, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
"""


# ------------------------------------------------------------------------------------------- the network

WINDOW = 3.0                # the plane that is drawn goes from -WINDOW to WINDOW
FLAT = 8.0                  # scores are sent as tanh(score / FLAT): their signs alone would have steps
SEEDING = threading.Lock()  # weights come from the one generator of the module random


def plane(side):
    """side * side points, row by row from the top."""
    return [[x, y] for y in spread(WINDOW, -WINDOW, side) for x in spread(-WINDOW, WINDOW, side)]


def quarter(rows, side):
    """Every second one of side * side rows, in both directions."""
    return [row for i in range(0, side, 2) for row in rows[i * side:(i + 1) * side:2]]


def layer_sizes(settings):
    """The pairs (number of inputs, number of outputs) of all layers."""
    sizes = [len(settings["features"])] + settings["layers"] + [1]
    return list(zip(sizes, sizes[1:]))


def network(settings):
    """The model of these settings; the same seed gives the same weights."""
    act, steps = ACTIVATIONS[settings["act"]], []
    with SEEDING:
        random.seed(settings["seed"])
        for nin, nout in layer_sizes(settings):
            steps += [Linear(nin, nout)] + [act] * (act is not None)
    return Sequential(*(steps[:-1] if act else steps))      # the score of a point may be any number


def run_layers(model, x):
    """For each layer: the weighted sums of its inputs, and what the activation makes of them."""
    sums, values = [], []
    for step in model:
        x = step(x)
        if isinstance(step, Linear):
            sums.append(x)
            values.append(x)
        values[-1] = x
    return sums, values


def shades(numbers):
    """Numbers from -1 to 1 (what is beyond is cut off) as text: a byte for each, in base64."""
    data = bytes([int(127.5 + 127.5 * max(-1.0, min(1.0, x))) for x in numbers])
    return base64.b64encode(data).decode()


def parameters(model):
    """The weights and biases of each layer, as lists."""
    linear = [step for step in model if isinstance(step, Linear)]
    return {"weights": [step.weight.tolist() for step in linear],
            "biases": [step.bias.tolist() for step in linear]}


def loss_and_share(scores, points):
    """The loss of these points, and the share of them that is on the right side of 0."""
    labels = [label for x, y, label in points]
    right = sum((score > 0) == (label == 1) for score, label in zip(scores.tolist(), labels))
    return [binary_cross_entropy_with_logits(scores, labels).item(), right / len(labels)]


class Lesson:
    """Data, a network and an optimizer, as a page has chosen them."""

    def __init__(self, settings):
        self.settings, self.rng = settings, random.Random(settings["seed"])
        points = sample(settings["data"], settings["count"], settings["noise"], self.rng)
        cut = settings["count"] * settings["test"] // 100
        self.test, self.train = points[:cut], points[cut:]
        self.rows = inputs(settings["features"], self.train)
        weights = sum(nin * nout for nin, nout in layer_sizes(settings))
        self.side = 40 if weights < 100 else 32 if weights < 250 else 24    # pictures must come in time
        everything = inputs(settings["features"], plane(self.side) + points)
        self.everything = Tensor(everything, requires_grad=False)
        self.model = network(settings)
        kind, options = OPTIMIZERS[settings["optimizer"]]
        self.optimizer = kind(self.model.parameters(), lr=settings["lr"], **options)
        self.tune(settings)
        self.lock, self.version, self.problem = threading.Lock(), 1, ""
        self.publish(0)

    def publish(self, steps):
        """Leave the number of steps and the weights, both in one assignment, for whoever draws."""
        self.published = steps, [p.tolist() for p in self.model.parameters()]

    def tune(self, settings):
        """Change what may change while the network learns."""
        self.settings = {**self.settings, **settings}
        self.optimizer.lr, self.optimizer.weight_decay = settings["lr"], settings["l2"]

    def step(self):
        """One step of the optimizer, on a few points."""
        with self.lock:
            batch = self.rng.sample(range(len(self.train)), min(self.settings["batch"], len(self.train)))
            scores = self.model([self.rows[i] for i in batch]).reshape(-1)
            loss = binary_cross_entropy_with_logits(scores, [self.train[i][2] for i in batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.publish(self.published[0] + 1)

    def twin(self):
        """The number of steps, and a model with the weights of then, which go on changing here only."""
        model, (steps, weights) = copy.deepcopy(self.model), self.published
        for p, data in zip(model.parameters(), weights):
            p.data = data
        return steps, model

    def picture(self):
        """All that the page draws, from one pass of the plane and all points through the network."""
        (steps, model), cut = self.twin(), self.side ** 2
        with no_grad():
            values = run_layers(model, self.everything)[1]
            scores = values.pop().reshape(-1)
            test = loss_and_share(scores[cut:cut + len(self.test)], self.test)
            train = loss_and_share(scores[cut + len(self.test):], self.train)
        return {"version": self.version, "steps": steps, "train": train, "test": test,
                **parameters(model),
                "surface": shades([math.tanh(score / FLAT) for score in scores.tolist()[:cut]]),
                "neurons": [list(map(shades, zip(*quarter(x.tolist(), self.side)))) for x in values]}

    def look(self, number):
        """What one training point does to each neuron, and the gradients of its loss."""
        steps, model = self.twin()
        sums, values = run_layers(model, [self.rows[number]])
        loss = binary_cross_entropy_with_logits(values[-1].reshape(-1), [self.train[number][2]])
        found = {"values": values, "gradients": grad(loss, values),
                 "sums": sums, "sum_gradients": grad(loss, sums)}
        return {"version": self.version, "steps": steps, "point": number, "loss": loss.item(),
                "inputs": self.rows[number], **parameters(model),
                **{name: [x.tolist()[0] for x in layers] for name, layers in found.items()}}


class Tab:
    """A tab of a browser: its lesson, and the thread that trains. It lives while its page looks on."""

    def __init__(self):
        self.lesson, self.born, self.running = None, time.monotonic(), threading.Event()
        self.watched = self.closed = False

    def begin(self, lesson, running):
        """Put a lesson in the place of the old one, if there was one."""
        if self.lesson:
            lesson.version = self.lesson.version + 1
        else:
            threading.Thread(target=self.train, daemon=True).start()
        self.lesson = lesson
        self.switch(running)

    def switch(self, running):
        """Train from now on, or do not."""
        (self.running.set if running else self.running.clear)()

    def train(self):
        """Step after step, while the page says so."""
        while not self.closed:
            if self.running.wait(0.2):
                lesson = self.lesson
                self.attempt(lesson, lesson.step)
                # Not 0: then this thread would be back before any other has had its turn.
                time.sleep(1 / lesson.settings["pace"] if lesson.settings["pace"] else 1e-5)
            if not self.watched and time.monotonic() > self.born + PATIENCE:
                self.closed = True

    def attempt(self, lesson, task, *args):
        """What the task gives, as JSON; None, and the end of training, where numbers have no bounds."""
        try:
            return json.dumps(task(*args), allow_nan=False)
        except (ArithmeticError, ValueError):
            lesson.problem = "The numbers have grown beyond all bounds: try a smaller learning rate."
            self.running.clear()

    def state(self):
        """Whether there is something new to draw: whether this has changed."""
        return self.lesson, self.lesson.published[0], self.running.is_set(), self.lesson.problem

    def message(self):
        """What the page needs to know now, as JSON."""
        lesson, running = self.lesson, self.running.is_set()
        text = self.attempt(lesson, lambda: {**lesson.picture(), "running": running})
        problem = {"version": lesson.version, "problem": lesson.problem, "running": False}
        return text or json.dumps(problem)


# -------------------------------------------------------------------------------------------- the server

class Playground(Handler):
    """What a page may ask for."""

    ROUTES = {"GET /": "page", "GET /start": "start", "GET /pictures": "pictures", "POST /new": "new",
              "POST /run": "run", "POST /step": "step", "POST /tune": "tune", "POST /look": "look"}

    def asked(self, *names):
        """The fields of the request; settings are checked."""
        body = super().asked(*names)
        if type(body.get("running", True)) is not bool:
            raise ValueError("running must be true or false.")
        return {name: checked(name, x) if name in SETTINGS else x for name, x in body.items()}

    def page(self):
        self.reply_page(PAGE)

    def start(self):
        """What never changes: the settings there are, pictures of inputs, some points of each kind."""
        columns = zip(FEATURES, zip(*inputs(FEATURES, plane(20))))
        features = {name: shades([x / max(column) for x in column]) for name, column in columns}
        gallery = {name: sample(name, 80, 0.1, random.Random(0)) for name in DATASETS}
        self.reply(json.dumps({"settings": SETTINGS, "tunable": TUNABLE, "features": features,
                               "gallery": gallery, "window": WINDOW, "flat": FLAT}))

    def new(self):
        """A new network, in the tab that asks for it."""
        asked = self.asked("id", "running", *SETTINGS)
        name, running = asked.pop("id"), asked.pop("running")
        lesson = Lesson(asked)
        self.server.tab(name, new=True).begin(lesson, running)
        self.reply(json.dumps({"version": lesson.version, "train": lesson.train, "test": lesson.test,
                               "code": python_code(asked)}))

    def run(self):
        asked = self.asked("id", "running")
        self.server.tab(asked["id"]).switch(asked["running"])
        self.reply("{}")

    def step(self):
        tab = self.server.tab(self.asked("id")["id"])
        tab.switch(False)
        tab.attempt(tab.lesson, tab.lesson.step)
        self.reply("{}")

    def tune(self):
        asked = self.asked("id", *TUNABLE)
        lesson = self.server.tab(asked.pop("id")).lesson
        lesson.tune(asked)
        self.reply(json.dumps({"code": python_code(lesson.settings)}))

    def look(self):
        asked = self.asked("id", "point")
        tab, point = self.server.tab(asked["id"]), asked["point"]
        lesson = tab.lesson
        if type(point) is not int or not 0 <= point < len(lesson.train):
            raise ValueError(f"point: {point!r:.60} is not the number of a point.")
        text = tab.attempt(lesson, lesson.look, point)
        if not text:
            raise ValueError(lesson.problem)
        self.reply(text)

    def pictures(self):
        """A picture whenever there is something new, until the page closes; then its tab ends, too."""
        tab = self.server.tab(self.path.partition("?id=")[2])
        if tab.watched:
            raise Refused("Another page looks at this network.", 409)
        tab.watched, shown, due = True, None, time.monotonic()
        try:
            self.head("text/event-stream")
            while not tab.closed and not self.hung_up(due - time.monotonic()):
                due = max(due + 1 / PICTURES, time.monotonic())
                if shown != tab.state():
                    shown = tab.state()
                    self.wfile.write(f"data: {tab.message()}\n\n".encode())
        finally:
            tab.closed = True


class Tabs(Server):
    """The server, and the tabs by their ids."""

    def __init__(self, port):
        super().__init__(port, Playground)
        self.tabs, self.lock = {}, threading.Lock()

    def tab(self, name, new=False):
        """The tab of this id; with new=True it may be one that was not there before."""
        if not isinstance(name, str) or not re.fullmatch("[0-9a-f]{8,32}", name):
            raise ValueError("id: not 8 to 32 hexadecimal digits.")
        with self.lock:
            self.tabs = {key: tab for key, tab in self.tabs.items() if not tab.closed}
            if name not in self.tabs and not new:
                raise Refused("There is no such network, or not any more.", 404)
            if name not in self.tabs and len(self.tabs) >= MOST_TABS:
                raise Refused(f"{MOST_TABS} tabs are open, and those are all: close one of them.", 503)
            return self.tabs.setdefault(name, Tab())


def main(argv=None):
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--port", type=at_least(0), default=8421, help="0 takes any free one; default: 8421")
    add("--no-open", action="store_true", help="do not open a browser")
    args = parser.parse_args(argv)
    try:
        server = Tabs(args.port)
    except (OSError, OverflowError) as error:
        sys.exit(f"port {args.port} cannot be used ({error}); with --port 0 any free one is taken")
    print(f"The playground is at {server.address} (Ctrl-C ends it)", flush=True)
    server.serve_until_ctrl_c(open_browser=not args.no_open)


if __name__ == "__main__":
    main()
