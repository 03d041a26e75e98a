"""A playground in the browser: watch a small network learn, and look into it while it does.

    python examples/playground.py                         # opens the page; Ctrl-C ends it
    python examples/playground.py --port 8000 --no-open

The network learns here, in Python, with micrograd.py; the page (playground.html) only draws. Each tab of the
browser has a network of its own and two threads: one trains, without ever waiting for the other, which sends
15 pictures per second, made from a copy of the weights. The server answers to this computer alone.
"""

import argparse
import base64
import copy
import hashlib
import json
import math
import random
import re
import select
import socketserver
import sys
import threading
import time
import webbrowser
from http.server import BaseHTTPRequestHandler
from operator import itemgetter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from common import at_least, spread
from micrograd import (SGD, Adam, AdamW, Linear, Sequential, Tensor, binary_cross_entropy_with_logits, grad,
                       no_grad)

PAGE = Path(__file__).resolve().with_suffix(".html")
PICTURES = 15           # per second
MOST_TABS = 5           # a browser opens six connections to a server; each tab holds one
MOST_THREADS = 100      # connections beyond are closed at once
MOST_BYTES = 4000       # in a request
PATIENCE = 5            # seconds: to wait for a request, and for the first look at a new network


# ------------------------------------------------------------------------------------------------- the data
# Each function makes one point of class `label`, 0 or 1, from a random generator. The plane is the window
# from -WINDOW to WINDOW in both directions; its picture has SIDE x SIDE numbers, that of a neuron a quarter.

WINDOW, SIDE = 3.0, 40
FLAT = 8.0          # scores go as tanh(score / FLAT): a probability is too steep to be drawn from a few numbers


def moons(rng, label):
    angle = rng.uniform(0, math.pi)
    x, y = 1.6 * math.cos(angle) - 0.8, 1.6 * math.sin(angle) - 0.4
    return (x, y) if label else (-x, -y)


def circles(rng, label):
    radius, angle = rng.uniform(0, 1) if label else rng.uniform(1.7, 2.6), rng.uniform(0, 2 * math.pi)
    return radius * math.cos(angle), radius * math.sin(angle)


def xor(rng, label):
    x, y = rng.uniform(0.5, 2.5), rng.uniform(0.5, 2.5)
    side = rng.choice((-1, 1))
    return side * x, side * y if label else -side * y


def spirals(rng, label):
    turn = rng.uniform(0.05, 1)
    angle = 3.5 * math.pi * turn + math.pi * label
    return 2.6 * turn * math.sin(angle), 2.6 * turn * math.cos(angle)


def blobs(rng, label):
    centre = 1.2 if label else -1.2
    return centre + rng.gauss(0, 0.4), centre + rng.gauss(0, 0.4)


DATASETS = {make.__name__: make for make in (moons, circles, xor, spirals, blobs)}


def sample(data, count, noise, rng):
    """`count` points [x, y, label], half of each class, in random order."""
    points = []
    for i in range(count):
        x, y = DATASETS[data](rng, i % 2)
        points.append([x + rng.gauss(0, noise), y + rng.gauss(0, noise), i % 2])
    rng.shuffle(points)
    return points


# The inputs that a network may have: how Python writes them, and what they are.
FEATURES = {
    "x": ("x", lambda x, y: x), "y": ("y", lambda x, y: y),
    "x²": ("x * x", lambda x, y: x * x), "y²": ("y * y", lambda x, y: y * y), "xy": ("x * y", lambda x, y: x * y),
    "sin x": ("math.sin(x)", lambda x, y: math.sin(x)), "sin y": ("math.sin(y)", lambda x, y: math.sin(y)),
}


def inputs(features, points):
    """The inputs of a network, a row per point [x, y] or [x, y, label]."""
    functions = [FEATURES[name][1] for name in features]
    return [[f(point[0], point[1]) for f in functions] for point in points]


# ------------------------------------------------------------------------------------------- the settings
# What a page may choose: a value out of a list or between two numbers, or up to `most` of such values.

ACTIVATIONS = {"tanh": Tensor.tanh, "relu": Tensor.relu, "sigmoid": Tensor.sigmoid, "gelu": Tensor.gelu,
               "linear": None}
OPTIMIZERS = {"Adam": (Adam, {}), "AdamW": (AdamW, {}), "SGD": (SGD, {}),
              "SGD + momentum": (SGD, {"momentum": 0.9})}
SETTINGS = {
    "data": {"first": "moons", "choices": list(DATASETS)},
    "noise": {"first": 0.15, "low": 0, "high": 0.6, "step": 0.05},
    "count": {"first": 200, "low": 20, "high": 500, "step": 20},
    "test": {"first": 30, "low": 10, "high": 50, "step": 10},       # per cent of the points
    "seed": {"first": 1, "low": 0, "high": 9999, "step": 1},
    "features": {"first": ["x", "y"], "choices": list(FEATURES), "least": 1, "most": len(FEATURES)},
    "layers": {"first": [6, 4], "low": 1, "high": 8, "step": 1, "least": 0, "most": 6},
    "act": {"first": "tanh", "choices": list(ACTIVATIONS)},
    "optimizer": {"first": "Adam", "choices": list(OPTIMIZERS)},
    "lr": {"first": 0.003, "choices": [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1]},
    "l2": {"first": 0, "choices": [0, 0.0001, 0.001, 0.003, 0.01, 0.03, 0.1]},
    "batch": {"first": 20, "low": 1, "high": 50, "step": 1},
    "pace": {"first": 0, "choices": [0, 200, 50, 10]},      # steps per second; 0: as many as it can
}
TUNABLE = "lr", "l2", "batch", "pace"       # these change while the network learns; the others begin anew


def checked(name, value):
    """A setting that came from outside; a ValueError says what is wrong with it."""
    rule = SETTINGS[name]
    if "most" not in rule:
        return one_checked(name, rule, value)
    if type(value) is not list or not rule["least"] <= len(value) <= rule["most"]:
        raise ValueError(f"{name} must be a list of {rule['least']} to {rule['most']}, not {value!r:.60}.")
    items = [one_checked(name, rule, item) for item in value]
    if "choices" in rule and len(set(items)) < len(items):
        raise ValueError(f"{name} has something twice: {value!r:.60}.")
    return items


def one_checked(name, rule, value):
    if "choices" in rule:
        good, wanted = type(value) in (str, int, float) and value in rule["choices"], rule["choices"]
    else:
        whole = type(rule["step"]) is int
        good = type(value) in ((int,) if whole else (int, float)) and rule["low"] <= value <= rule["high"]
        wanted = f"a {'whole ' * whole}number from {rule['low']} to {rule['high']}"
    if not good:
        raise ValueError(f"{name}: {value!r:.60} is not {'one of ' * ('choices' in rule)}{wanted}.")
    return value


def python_code(settings):
    """The lines of Python that make and train the network of these settings."""
    layers = [f"Linear({nin}, {nout})" for nin, nout in zip(*layer_sizes(settings))]
    act = "" if settings["act"] == "linear" else f"Tensor.{settings['act']}, "
    kind, options = OPTIMIZERS[settings["optimizer"]]
    extra = "".join(f", {key}={value}" for key, value in options.items())
    row = ", ".join(FEATURES[name][0] for name in settings["features"])
    return f"""import {'math, ' * ('math' in row)}random
from micrograd import {kind.__name__}, Linear, Sequential, Tensor, binary_cross_entropy_with_logits

random.seed({settings["seed"]})
model = Sequential({(', ' + act).join(layers)})
optimizer = {kind.__name__}(model.parameters(), lr={settings["lr"]}{extra}, weight_decay={settings["l2"]})

def step(points, labels):       # points [[x, y], ...], labels [0 or 1, ...]
    scores = model([[{row}] for x, y in points])
    loss = binary_cross_entropy_with_logits(scores.reshape(-1), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
"""


# -------------------------------------------------------------------------------------------- the network

SEEDING = threading.Lock()      # modules draw their weights from the one generator of `random`
GRID = [[x, y] for y in spread(WINDOW, -WINDOW, SIDE) for x in spread(-WINDOW, WINDOW, SIDE)]
QUARTER = itemgetter(*[r * SIDE + c for r in range(0, SIDE, 2) for c in range(0, SIDE, 2)])


def layer_sizes(settings):
    """How many inputs each layer has, and how many outputs."""
    sizes = [len(settings["features"])] + settings["layers"] + [1]
    return sizes[:-1], sizes[1:]


def network(settings):
    """The model that these settings describe: the same seed gives the same weights."""
    act, steps = ACTIVATIONS[settings["act"]], []
    with SEEDING:
        random.seed(settings["seed"])
        for nin, nout in zip(*layer_sizes(settings)):
            steps += [Linear(nin, nout)] + [act] * (act is not None)
    return Sequential(*(steps if act is None else steps[:-1]))      # a score may be any number


def layers(model, x):
    """For each layer of the model: its sums, and what the activation makes of them."""
    sums, values = [], []
    for step in model.steps:
        if isinstance(step, Linear):
            x = step(x)
            sums.append(x)
            values.append(x)
        else:
            x = values[-1] = step(x)
    return sums, values


def shades(numbers):
    """Numbers from -1 to 1 (others are cut off) as text: a byte each, in base64."""
    return base64.b64encode(bytes([int(127.5 + 127.5 * max(-1.0, min(1.0, x))) for x in numbers])).decode()


def parameters(model):
    """The weights and biases of each layer."""
    linear = [step for step in model.steps if isinstance(step, Linear)]
    return {name: [rounded(getattr(step, attribute).tolist()) for step in linear]
            for name, attribute in (("weights", "weight"), ("biases", "bias"))}


def rounded(numbers):
    """Numbers of a picture with six digits: nobody sees more."""
    return [rounded(x) if isinstance(x, list) else float(f"{x:.6g}") for x in numbers]


class Lesson:
    """Data, a network and an optimizer, as a page has chosen them."""

    def __init__(self, settings):
        self.settings, self.rng = settings, random.Random(settings["seed"])
        points = sample(settings["data"], settings["count"], settings["noise"], self.rng)
        cut = settings["count"] * settings["test"] // 100
        self.test, self.train = points[:cut], points[cut:]
        self.rows = inputs(settings["features"], self.train)
        everything = inputs(settings["features"], GRID + points)
        self.everything = Tensor(everything, requires_grad=False)
        self.model = network(settings)
        kind, options = OPTIMIZERS[settings["optimizer"]]
        self.optimizer = kind(self.model.parameters(), lr=settings["lr"], weight_decay=settings["l2"], **options)
        self.lock, self.problem = threading.Lock(), ""
        self.publish(0)

    def publish(self, steps):
        """Leave the number of steps and a copy of the weights, both at once, for whoever draws."""
        self.published = steps, [p.tolist() for p in self.model.parameters()]

    def tune(self, settings):
        """Change what can be changed while the network learns."""
        self.settings = {**self.settings, **settings}
        self.optimizer.lr, self.optimizer.weight_decay = self.settings["lr"], self.settings["l2"]

    def step(self):
        """One step of the optimizer, on a few random points."""
        with self.lock:
            size = min(self.settings["batch"], len(self.train))
            batch = self.rng.sample(range(len(self.train)), size)
            scores = self.model([self.rows[i] for i in batch]).reshape(-1)
            loss = binary_cross_entropy_with_logits(scores, [self.train[i][2] for i in batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.publish(self.published[0] + 1)

    def twin(self):
        """The number of steps, and a model with the weights after them, which no step will change."""
        model, (steps, weights) = copy.deepcopy(self.model), self.published
        for p, data in zip(model.parameters(), weights):
            p.data = data
        return steps, model

    def picture(self):
        """All that the page draws, from one pass of the plane and the data through the network."""
        steps, model = self.twin()
        with no_grad():
            values = layers(model, self.everything)[1]
            scores = values[-1].reshape(-1)
            cut = len(GRID) + len(self.test)
            test, train = self.score(scores[len(GRID):cut], self.test), self.score(scores[cut:], self.train)
        surface = [math.tanh(score / FLAT) for score in scores.tolist()[:len(GRID)]]
        return {"steps": steps, "train": train, "test": test, "surface": shades(surface),
                "neurons": [[shades(c) for c in zip(*QUARTER(v.tolist()))] for v in values[:-1]],
                **parameters(model)}

    @staticmethod
    def score(scores, points):
        """The loss, and the share of points on the right side of 0."""
        labels = [label for x, y, label in points]
        right = sum((score > 0) == (label == 1) for score, label in zip(scores.tolist(), labels))
        return [binary_cross_entropy_with_logits(scores, labels).item(), right / len(labels)]

    def look(self, number):
        """What one point does to every neuron: sums, values, and the gradients of its loss."""
        if type(number) is not int or not 0 <= number < len(self.train):
            raise ValueError(f"point must be a whole number from 0 to {len(self.train) - 1}.")
        steps, model = self.twin()
        sums, values = layers(model, Tensor([self.rows[number]], requires_grad=False))
        loss = binary_cross_entropy_with_logits(values[-1].reshape(-1), [self.train[number][2]])
        gradients = [rounded(g.tolist()[0]) for g in grad(loss, sums + values)]
        return {"steps": steps, "point": number, "loss": loss.item(), "inputs": self.rows[number],
                **parameters(model),
                "sums": [rounded(x.tolist()[0]) for x in sums], "values": [rounded(x.tolist()[0]) for x in values],
                "sum_gradients": gradients[:len(sums)], "gradients": gradients[len(sums):]}


# ----------------------------------------------------------------------------------------------- the tabs

class Tab:
    """One tab of a browser: its lesson, and the thread that trains. It lives as long as its page looks."""

    def __init__(self, lesson):
        self.lesson, self.version, self.began = lesson, 0, time.monotonic()
        self.running, self.watched, self.closed = threading.Event(), False, False
        threading.Thread(target=self.train, daemon=True).start()

    def begin(self, lesson):
        self.lesson, self.version = lesson, self.version + 1

    def switch(self, running):
        """Train from now on, or do not."""
        if type(running) is not bool:
            raise ValueError("running must be true or false.")
        (self.running.set if running else self.running.clear)()

    def train(self):
        """Step after step while the page says so."""
        while not self.closed:
            lesson = self.lesson
            if self.running.wait(0.2):
                self.attempt(lesson, lesson.step)
                pace = lesson.settings["pace"]
                time.sleep(1 / pace if pace else 0)
            self.closed |= not self.watched and time.monotonic() > self.began + PATIENCE

    def state(self):
        """What changes whenever there is something new to draw."""
        return self.lesson, self.lesson.published[0], self.running.is_set(), self.lesson.problem

    def attempt(self, lesson, task):
        """The result of a task of the lesson; None, and training ends, where its numbers have no bounds."""
        try:
            return task()
        except (ArithmeticError, ValueError):
            lesson.problem = f"The numbers have become too large: try a smaller learning rate."
            self.running.clear()

    def message(self):
        """The picture of now for the page, as JSON, or of what went wrong."""
        lesson, state = self.lesson, {"version": self.version, "running": self.running.is_set()}
        picture = self.attempt(lesson, lambda: json.dumps({**state, **lesson.picture()}, allow_nan=False))
        return picture if not lesson.problem else json.dumps({**state, "running": False, "problem": lesson.problem})


# --------------------------------------------------------------------------------------------- the server

class Refused(Exception):
    """A request that gets no more than a status and a sentence."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request, in a thread of its own; a client that says nothing is left after PATIENCE."""

    timeout = PATIENCE
    log_message = version_string = lambda self, *args: "playground"     # no log, and no talk about versions

    def do_GET(self):
        self.answer({"/": self.page, "/start": self.start, "/pictures": self.pictures})

    def do_POST(self):
        self.answer({"/new": self.new, "/run": self.run, "/step": self.step, "/tune": self.tune,
                     "/look": self.look, "/close": self.close})

    def answer(self, routes):
        """Call the route that the request names; whatever is wrong with the request becomes a sentence."""
        try:
            self.check_sender()
            route = routes.get(self.path.partition("?")[0])
            if route is None:
                raise Refused("There is nothing at this address.", 404)
            route()
        except Refused as refused:
            self.reply(refused.args[1], "text/plain", refused.args[0])
        except (ValueError, RecursionError) as error:
            self.reply(str(error), "text/plain", 400)

    def check_sender(self):
        """Only our own page may ask: other sites (also under a name that leads here) may not."""
        hosts = [f"{name}:{self.server.port}" for name in ("127.0.0.1", "localhost")]
        if self.server.port == 80:
            hosts += ["127.0.0.1", "localhost"]
        if self.headers.get("Host") not in hosts:
            raise Refused(f"This server answers to http://{hosts[0]} alone.", 403)
        if self.headers.get("Origin", "http://" + self.headers["Host"]) != "http://" + self.headers["Host"]:
            raise Refused("Other sites may not ask this server.", 403)

    def head(self, kind, status=200, **more):
        """The first lines of an answer."""
        self.send_response(status)
        for name, value in {"Content-Type": f"{kind}; charset=utf-8", "Cache-Control": "no-store",
                            "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
                            **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def reply(self, text, kind="application/json", status=200, **more):
        data = text.encode()
        self.head(kind, status, **{"Content-Length": str(len(data)), **more})
        self.wfile.write(data)

    def asked(self, *names):
        """The body of the request: a JSON object with these names, its settings checked."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,18}", length):
            raise ValueError("The request does not say how long it is.")
        if int(length) > MOST_BYTES:
            self.drop(int(length))
            raise Refused(f"The request is too long: {length} bytes, and {MOST_BYTES} are the most.", 413)
        body = json.loads(self.rfile.read(int(length)).decode())
        if type(body) is not dict or set(body) != set(names):
            raise ValueError(f"The request must be a JSON object with {', '.join(names)}.")
        return {name: checked(name, value) if name in SETTINGS else value for name, value in body.items()}

    def drop(self, length):
        """Read what is not wanted (not without bounds): who still sends does not hear the answer."""
        for _ in range(min(length, 1 << 25) >> 16):
            if not self.rfile.read(1 << 16):
                break

    # ---- what the page asks for

    def page(self):
        """The page, allowed to run its own script and style, and to load nothing."""
        text = PAGE.read_text(encoding="utf-8")
        policy = "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        policy += "frame-ancestors 'none'"
        for tag in "script", "style":
            part = re.search(f"<{tag}>(.*?)</{tag}>", text, re.S).group(1)
            digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
            policy += f"; {tag}-src 'sha256-{digest}'"
        self.reply(text, "text/html", **{"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"})

    def start(self):
        """What does not change: the settings, a picture of each input, and a few points of each kind."""
        columns = dict(zip(FEATURES, zip(*QUARTER(inputs(FEATURES, GRID)))))
        features = {name: shades([x / max(column) for x in column]) for name, column in columns.items()}
        gallery = {name: sample(name, 80, 0.1, random.Random(0)) for name in DATASETS}
        self.reply(json.dumps({"settings": SETTINGS, "tunable": TUNABLE, "features": features,
                               "gallery": gallery, "window": WINDOW, "side": SIDE, "flat": FLAT}))

    def new(self):
        """A new network, in the tab that asks or in a new one."""
        asked = self.asked("id", "running", *SETTINGS)
        lesson = Lesson({name: asked[name] for name in SETTINGS})
        tab = self.server.begin(asked["id"], lesson)
        tab.switch(asked["running"])
        self.reply(json.dumps({"version": tab.version, "train": lesson.train, "test": lesson.test,
                               "code": python_code(lesson.settings)}))

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
        lesson = self.server.tab(asked["id"]).lesson
        self.reply(json.dumps(lesson.look(asked["point"]), allow_nan=False))

    def close(self):
        self.server.tab(self.asked("id")["id"]).closed = True
        self.reply("{}")

    def pictures(self):
        """A picture whenever there is something new, until the page closes; then its tab ends, too."""
        tab = self.server.tab(self.path.partition("?id=")[2])
        if tab.watched:
            raise Refused("This network is on another page.", 409)
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

    def hung_up(self, seconds):
        """Wait; true as soon as the other side closes (it has nothing more to say)."""
        return bool(select.select([self.connection], [], [], max(seconds, 0))[0])


class Server(socketserver.ThreadingTCPServer):
    """The tabs, and a thread per connection."""

    daemon_threads, block_on_close, request_queue_size = True, False, 64
    allow_reuse_address = sys.platform != "win32"       # there, two servers could have one port

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), Handler)
        self.port, self.tabs, self.lock = self.server_address[1], {}, threading.Lock()

    def tab(self, name):
        """The tab of this id."""
        tab = self.tabs.get(name) if isinstance(name, str) else None
        if tab is None or tab.closed:
            raise Refused("There is no such tab, or not any more: load the page again.", 404)
        return tab

    def begin(self, name, lesson):
        """Put a lesson into the tab of this id, which may be a new one."""
        if not isinstance(name, str) or not re.fullmatch("[0-9a-f]{8,32}", name):
            raise ValueError("id must be 8 to 32 hexadecimal digits.")
        with self.lock:
            self.tabs = {key: tab for key, tab in self.tabs.items() if not tab.closed}
            if name not in self.tabs and len(self.tabs) >= MOST_TABS:
                raise Refused(f"{MOST_TABS} tabs are open, and no more are served: close one of them.", 503)
            if name not in self.tabs:
                self.tabs[name] = Tab(lesson)
            self.tabs[name].begin(lesson)
            return self.tabs[name]

    def process_request(self, request, address):
        if threading.active_count() > MOST_THREADS:
            self.shutdown_request(request)
        else:
            super().process_request(request, address)

    def handle_error(self, request, address):
        if not isinstance(sys.exc_info()[1], OSError):      # that the other side has gone is no error of ours
            super().handle_error(request, address)


def arguments(argv=None):
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=at_least(0), default=8421, help="0 takes any free one; default: 8421")
    parser.add_argument("--no-open", action="store_true", help="do not open a browser")
    return parser.parse_args(argv)


def main(argv=None):
    """Serve until Ctrl-C."""
    args = arguments(argv)
    try:
        server = Server(args.port)
    except (OSError, OverflowError) as error:
        sys.exit(f"port {args.port} cannot be used ({error}); --port 0 takes any free one")
    address = f"http://127.0.0.1:{server.port}/"
    print(f"the playground is at {address} (Ctrl-C ends it)", flush=True)
    if not args.no_open:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("\nstopped")
    server.server_close()


if __name__ == "__main__":
    main()
