"""What the examples share. They import it before anything else, so that Ctrl-C is quiet from then on.

`start`        runs the main function of an example: Ctrl-C and a closed pipe (| head) end it quietly
`Progress`     a line that shows how far we are, how fast, and how long it still takes
`Training`     the same with a loss: Ctrl-C stops early, a loss that is no number any more is explained
`Svg`          a picture, built element by element, readable on light and dark pages, shown by notebooks
`curve` `surface` `heat_map` `confusion_matrix` `scatter`      such pictures, ready made
`spread`       evenly spaced numbers
`paint`        coloured text, where the terminal has colours
`count`        `1 name`, `2 names`
`fetch`        a file from the internet, downloaded once into the user's cache folder
`at_least`     argparse type: a number with a lower bound
`output_path` `picture_path`   argparse types: a file that can be written, a picture that can
"""
import os
import sys


def quiet(kind, error, trace):
    """Instead of a traceback, one word for Ctrl-C."""
    if not issubclass(kind, KeyboardInterrupt):
        return sys.__excepthook__(kind, error, trace)
    print("stopped", file=sys.stderr)


FOLDER = os.path.dirname(os.path.abspath(__file__))
PROGRAM = getattr(sys.modules["__main__"], "__file__", None)
if PROGRAM and os.path.dirname(os.path.abspath(PROGRAM)) == FOLDER:
    sys.excepthook = quiet  # an example is the program: nobody else's hook is replaced
sys.path.insert(0, os.path.dirname(FOLDER))  # where micrograd.py is

import argparse
import hashlib
import itertools
import math
import shutil
import time
import urllib.request
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

TERMINAL = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
COLOUR = TERMINAL and not os.environ.get("NO_COLOR")
if TERMINAL and os.name == "nt":
    os.system("")  # wakes the escape codes of older Windows consoles


def can_print(text):
    """Does the encoding of the output have these characters?"""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeError:
        return False
    return True


BLOCKS = can_print("█░▀·")  # elsewhere, in ASCII say, plain characters take their place
if hasattr(sys.stdout, "reconfigure"):
    sys.stdout.reconfigure(errors="replace")  # a name in the data may still have another letter


def start(main):
    """Run the main function of an example. Ctrl-C ends it with one word, a closed pipe without any."""
    try:
        try:
            main()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still flushes
        sys.exit(141)


# ------------------------------------------------------------------------------------------ the terminal

def paint(text, ink=None, paper=None):
    """`text` in colour `ink` on `paper` (numbers of the 256-colour palette); plain where none are."""
    codes = [f"38;5;{ink}"] * (ink is not None) + [f"48;5;{paper}"] * (paper is not None)
    return f"\033[{';'.join(codes)}m{text}\033[0m" if COLOUR and codes else text


def columns():
    """The width of the terminal; 80 where there is none."""
    return shutil.get_terminal_size().columns


def notebook():
    """The function that shows something in a notebook, or None where we are not in one."""
    shell = "IPython" in sys.modules and sys.modules["IPython"].get_ipython()
    return sys.modules["IPython"].display.display if hasattr(shell, "kernel") else None


class Progress:
    """Count up to `total`: one line drawn over and over in a terminal or a notebook.

    Elsewhere plain lines: at most `lines` for parts that are done, and one after 2, 6, 18 ... seconds,
    since silence looks like a program that hangs.

        with Progress(1000, "step") as progress:
            progress.show(step, f"loss {loss:.4f}")
    """

    def __init__(self, total, label="step", lines=10):
        self.total, self.label, self.lines, self.done = total, label, lines, 0
        self.began, self.drawn, self.printed, self.pause, self.open = time.perf_counter(), 0, 0, 2, False
        self.display, self.handle = notebook(), None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.open:  # stopped halfway: what is printed next begins on a line of its own
            print(flush=True)

    def show(self, done, text=""):
        """Report that `done` are done; `text` adds what else there is to say."""
        now, last, self.done = time.perf_counter(), done >= self.total, done
        if TERMINAL or self.display:
            if last or now - self.drawn > (0.2 if self.display else 0.05):
                self.drawn = now
                self.draw(self.line(done, text), last)
        elif done * self.lines // self.total > self.printed or now - self.began > self.pause:
            self.printed = done * self.lines // self.total
            self.pause = max(self.pause, 3 * (now - self.began))
            print(self.line(done, text), flush=True)

    def draw(self, line, last):
        """Put the line in the place of the one before."""
        if not self.display:
            print("\r" + line[:columns() - 1] + "\033[K", end="\n" if last else "", flush=True)
            self.open = not last
        elif self.handle:
            self.handle.update({"text/plain": line}, raw=True)
        else:
            self.handle = self.display({"text/plain": line}, raw=True, display_id=True)

    def line(self, done, text):
        """`step  40/100 ████░░░░░░  812/s  0:01 left  ` and the text."""
        passed = max(time.perf_counter() - self.began, 1e-9)
        rate = done / passed
        when = f"in {clock(passed)}" if done >= self.total or not rate else \
            f"{clock((self.total - done) / rate)} left"
        full, empty = "█░" if BLOCKS else "#."
        bar = f" {full * (10 * done // self.total):{empty}<10}" if TERMINAL or self.display else ""
        share = f"{done:{len(str(self.total))}}/{self.total}"
        return f"{self.label} {share}{bar}  {short(rate)}/s  {when}  {text}"


class Training(Progress):
    """Progress of steps with a loss; `.losses` keeps them. Ctrl-C ends the block early, with what was
    learned so far; a loss that is no number any more, or a huge one, ends the program with advice.

        with Training(steps, "step") as training:
            for step in range(steps):
                ...
                training.show(step + 1, loss.item())
    """

    def __init__(self, total, label="step", lines=10):
        super().__init__(total, label, lines)
        self.losses = []

    def show(self, done, loss, text=""):
        """Report that `done` steps are done, the last one with this loss."""
        if wild(loss):
            diverged(f"the loss is {loss:.4g}", f"{self.label} {done}")
        self.losses.append(loss)
        recent = self.losses[-100:]
        super().show(done, f"loss {sum(recent) / len(recent):.4f}  {text}".rstrip())

    def __exit__(self, kind, error, trace):
        super().__exit__()
        if kind is not None and issubclass(kind, ArithmeticError):  # 1e200 ** 2 is no float
            diverged(error, f"{self.label} {self.done}")
        if kind is KeyboardInterrupt:
            print(f"stopped after {self.done} of {count(self.total, self.label)}")
        return kind is KeyboardInterrupt


def wild(number):
    """Has it left the numbers that come up in training that goes well?"""
    return not abs(number) < 1e12  # this way nan is wild, too


def diverged(what, when):
    """End the program: the steps were too large."""
    sys.exit(f"{what} after {when}: try a lower --lr")


def count(number, thing):
    """`1 name`, `2,000 names`"""
    return f"{number:,} {thing}{'s' * (number != 1)}"


def clock(seconds):
    """Seconds as `0.4 s`, `12:05` or `1:02:03`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def short(number):
    """A number in few characters: `0.42`, `37`, `812`, `1.3M`."""
    power = min(int(math.log10(max(number, 1))) // 3, 3)
    number /= 1000 ** power
    return f"{number:{'.3g' if number < 99.95 else '.0f'}}{('', 'k', 'M', 'G')[power]}"


# ---------------------------------------------------------------------------------------------- pictures

class Svg:
    """A picture of `width` by `height`. Text is dark on light and light on dark, as the page is.

    A notebook shows it. All styles begin with .plot: in a page, they leave other things alone.
    """

    STYLE = """
    .plot text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif }
    .plot text, .plot .ink { fill: #1f2328 } .plot .muted { fill: #656d76 }
    .plot .white { fill: #ffffff }
    .plot .title { font-size: 16px; font-weight: 600 } .plot .small { font-size: 11px }
    .plot .tiny { font-size: 8px } .plot .middle { text-anchor: middle } .plot .end { text-anchor: end }
    .plot .card { fill: #ffffff; stroke: #d0d7de } .plot .line { stroke: #afb8c1; fill: none }
    .plot .zero { fill: #2f81f7 } .plot .one { fill: #e8710a } .plot .two { fill: #2da44e }
    .plot .region { fill-opacity: 0.13 } .plot .ink { fill-opacity: 0.55 }
    .plot .point { stroke: #ffffff; stroke-width: 1.2 }
    .plot .curve { fill: none; stroke: #8250df; stroke-width: 2; stroke-linejoin: round }
    @media (prefers-color-scheme: dark) {
      .plot text, .plot .ink { fill: #e6edf3 } .plot .muted { fill: #9198a1 }
      .plot .card { fill: #0d1117; stroke: #3d444d } .plot .line { stroke: #57606a }
      .plot .point { stroke: #0d1117 } .plot .curve { stroke: #bc8cff }
    }"""

    def __init__(self, width, height, title):
        self.width, self.height, self.title = width, height, title
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                      f'width="{width}" height="{height}" role="img" class="plot">',
                      f"<title>{escape(title)}</title>", f"<style>{self.STYLE}\n</style>"]
        self.add("rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=8, class_="card")
        self.add("text", title, x=28, y=34, class_="title")

    def add(self, tag, text="", **attributes):
        """Add one element: `svg.add("text", "loss", x=10, y=20, class_="muted", text_anchor="end")`."""
        inside = tag
        for name, value in attributes.items():
            value = f"{value:.5g}" if isinstance(value, float) else str(value)
            inside += f" {name.rstrip('_').replace('_', '-')}={quoteattr(value)}"
        self.parts.append(f"<{inside}>{escape(str(text))}</{tag}>" if text != "" else f"<{inside}/>")

    def contour(self, grid, box, level, **attributes):
        """Fill the part of the box (x, y, width, height) where `grid`, top row first, exceeds `level`.

        A cell between four numbers is drawn whole, not at all, or cut where its sides cross the level.
        """
        xs, ys = [[round(10 * edge) for edge in spread(box[i], box[i] + box[i + 2], size)]
                  for i, size in enumerate((len(grid[0]), len(grid)))]
        shapes, joined = [], False
        for i, j in itertools.product(range(len(ys) - 1), range(len(xs) - 1)):
            corners = (i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j)
            ring = [(xs[column], ys[row], grid[row][column] - level) for row, column in corners]
            whole, shape = all(height > 0 for _, _, height in ring), cut(ring)
            if whole and joined and j:  # one long rectangle instead of many small ones
                shapes[-1][1:3] = shape[1:3]
            elif shape:
                shapes.append(shape)
            joined = whole
        if shapes:  # tenths of a unit, each corner as its distance from the last: a third of the size
            self.add("path", d="".join(map(outline, shapes)), transform="scale(.1)", **attributes)

    @property
    def source(self):
        """The picture as text."""
        return "\n".join(self.parts + ["</svg>\n"])

    def _repr_svg_(self):
        return self.source

    def __repr__(self):
        return (f"<Svg {self.title!r}: a notebook shows it when you trust it (File, Trust Notebook) or "
                "run the cell; .save('picture.svg') writes it>")

    def save(self, path):
        """Write the picture; the program ends with a message where that is impossible."""
        try:
            Path(path).write_text(self.source, encoding="utf-8")
        except OSError as error:
            sys.exit(f"cannot write the picture {path}: {error.strerror}")
        print(f"picture: {path}")


def curve(losses, title="loss", xlabel="step"):
    """A picture of the numbers as a line, from left to right."""
    svg = Svg(640, 360, title)
    draw_curve(svg, (62, 72, 548, 232), losses, xlabel)
    return svg


def surface(score, points, labels, title="scores above and below 0"):
    """A picture of the plane, coloured by `score`, a function from points [x, y] to a list of numbers.

    The points stand in it, orange for label 1 and blue for others (0 or -1), as is the plane for scores
    above 0 and below.
    """
    svg = Svg(560, 424, title)
    draw_surface(svg, (52, 72, 480, 290), score, points, labels)
    return svg


def heat_map(table, rows=None, columns=None, title="", numbers=True):
    """A picture of a table: a square for each number, the darker the larger; with names and numbers."""
    size = 31 if len(table[0]) <= 12 else 22
    svg = Svg(max(76 + size * len(table[0]), 300), 100 + size * len(table), title)
    draw_heat_map(svg, (48, 78, size), table, rows, columns, numbers)
    return svg


def confusion_matrix(counts, names=None, title="how often each is taken for which"):
    """A picture of counts[label][guess]: right ones green, mistakes orange."""
    svg = Svg(max(76 + 31 * len(counts), 300), 120 + 31 * len(counts), title)
    draw_confusion(svg, (48, 88), counts, names)
    return svg


def scatter(points, names, title=""):
    """A picture of a name at each point (x, y)."""
    svg, (left, right, bottom, top) = Svg(560, 560, title), around(points)
    place = axes(svg, (52, 72, 480, 440), (left, right, bottom, top), "", "")
    for point, name in zip(points, names):
        x, y = place(*point)
        svg.add("circle", cx=x, cy=y, r=11, class_="zero region")
        svg.add("text", name, x=x, y=y + 4, class_="middle")
    return svg


def draw_curve(svg, box, losses, xlabel="step", ylabel="loss"):
    """Draw the numbers as a line into the box; more than 400 as means of several."""
    each = max(1, math.ceil(len(losses) / 400))
    means = [sum(losses[i:i + each]) / len(losses[i:i + each]) for i in range(0, len(losses), each)]
    means = [(i * each + 1, mean) for i, mean in enumerate(means) if math.isfinite(mean)]
    low, high = min([0] + [y for _, y in means]), max([y for _, y in means] or [1])
    place = axes(svg, box, (0, max(len(losses), 1), low, high + 0.05 * (high - low)), xlabel, ylabel)
    line = " ".join("{:.1f},{:.1f}".format(*place(x, mean)) for x, mean in means)
    svg.add("polyline", points=line, class_="curve")


def draw_surface(svg, box, score, points, labels):
    """Draw the regions where `score` is above and below 0 into the box, and the points."""
    window = around(points)
    grid = plane(score, window, 67, 41)
    for margin in (0, 1, 3):
        svg.contour(grid, box, margin, class_="one region")
        svg.contour([[-number for number in row] for row in grid], box, margin, class_="zero region")
    place = axes(svg, box, window, "x", "y")
    for point, label in zip(points, labels):
        x, y = place(*point)
        svg.add("circle", cx=x, cy=y, r=4.5, class_=("one" if label == 1 else "zero") + " point")


def draw_heat_map(svg, corner, table, rows=None, columns=None, numbers=True):
    """Draw the table from the corner (x, y, size of a square): 16 shades, a path for each."""
    (x0, y0, size), most = corner, max([0] + [abs(number) for row in table for number in row]) or 1
    shades = [[round(15 * abs(number) / most) for number in row] for row in table]
    for shade in range(16):
        squares = [f"M{x0 + size * j} {y0 + size * i}h{size - 1}v{size - 1}h{1 - size}z"
                   for i, row in enumerate(shades) for j, s in enumerate(row) if s == shade]
        if squares:
            svg.add("path", d="".join(squares), class_="zero", fill_opacity=0.04 + 0.064 * shade)
    for i, name in enumerate(rows or []):
        svg.add("text", name, x=x0 - 8, y=y0 + size * i + size / 2 + 4, class_="small muted end")
    for j, name in enumerate(columns or []):
        svg.add("text", name, x=x0 + size * j + size / 2, y=y0 - 8, class_="small muted middle")
    for i, row in enumerate(table if numbers else []):
        for j, number in enumerate(row):
            if number:
                ink = " white" if shades[i][j] > 9 else ""
                text = number if isinstance(number, int) else f"{number:.2f}".lstrip("0")
                svg.add("text", text, x=x0 + size * j + size / 2, y=y0 + size * i + size / 2 + 3,
                        class_=("tiny" if size < 31 else "small") + " middle" + ink)


def draw_confusion(svg, corner, counts, names=None, size=31):
    """Draw counts[label][guess], each on a square of its size, from the corner (x, y)."""
    x0, y0 = corner
    for i, name in enumerate(names or range(len(counts))):
        svg.add("text", name, x=x0 - 13, y=y0 + size * i + 20, class_="muted middle")
        svg.add("text", name, x=x0 + size * i + 15, y=y0 - 10, class_="muted middle")
    most = max([1] + [number for i, row in enumerate(counts) for number in row[:i] + row[i + 1:]])
    for label, row in enumerate(counts):
        for guess, number in enumerate(row):
            x, y = x0 + size * guess, y0 + size * label
            shade = 0.06 + (number / max(sum(row), 1) if guess == label else number / most) / 2
            svg.add("rect", x=x, y=y, width=size - 2, height=size - 2, rx=3, fill_opacity=shade,
                    class_="two" if guess == label else "one")
            if number:
                svg.add("text", number, x=x + 14.5, y=y + 19, class_="small middle")
    svg.add("text", "rows: what it is · columns: how it is read", x=x0, y=y0 + size * len(counts) + 19,
            class_="small muted")


def around(points, margin=0.3):
    """The window (left, right, bottom, top) around points, with a margin."""
    xs, ys = zip(*points)
    return min(xs) - margin, max(xs) + margin, min(ys) - margin, max(ys) + margin


def plane(score, window, columns, rows):
    """Scores on a grid over the window (left, right, bottom, top), a list per row, the top row first."""
    left, right, bottom, top = window
    flat = score([[x, y] for y in spread(top, bottom, rows) for x in spread(left, right, columns)])
    return [flat[i:i + columns] for i in range(0, len(flat), columns)]


def ticks(low, high):
    """Four or so round numbers between `low` and `high`."""
    step = 10.0 ** math.floor(math.log10((high - low) / 10))
    step *= min((1, 2, 5, 10), key=lambda m: abs((high - low) / (m * step) - 4))
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def axes(svg, box, window, xlabel, ylabel):
    """Draw a frame with ticks and names; returns the function from (x, y) to a place in the picture."""
    (x0, y0, width, height), (left, right, bottom, top) = box, window
    top = top if top > bottom else bottom + 1  # all numbers are equal

    def place(x, y):
        return x0 + (x - left) / (right - left) * width, y0 + (top - y) / (top - bottom) * height
    svg.add("rect", x=x0, y=y0, width=width, height=height, class_="line")
    for tick in ticks(left, right):
        x, y = place(tick, 0)[0], y0 + height + 17
        svg.add("text", f"{tick:g}", x=x, y=y, class_="small muted middle")
    for tick in ticks(bottom, top):
        svg.add("text", f"{tick:g}", x=x0 - 7, y=place(0, tick)[1] + 4, class_="small muted end")
    svg.add("text", xlabel, x=x0 + width / 2, y=y0 + height + 36, class_="muted middle")
    svg.add("text", ylabel, x=x0, y=y0 - 9, class_="muted")
    return place


def spread(low, high, count):
    """`count` numbers from `low` to `high`."""
    return [low + (high - low) * i / (count - 1) for i in range(count)]


def cut(ring):
    """The part of a polygon of corners (x, y, height) with height > 0, as a list of (x, y)."""
    shape = []
    for (x, y, height), (x2, y2, height2) in zip(ring, ring[1:] + ring[:1]):
        if height > 0:
            shape.append((x, y))
        if (height > 0) != (height2 > 0):
            t = height / (height - height2)
            shape.append((round(x + t * (x2 - x)), round(y + t * (y2 - y))))
    return shape


def outline(shape):
    """The path of a polygon: move to its first corner, then from each corner to the next."""
    lines = " ".join(f"{x2 - x} {y2 - y}" for (x, y), (x2, y2) in zip(shape, shape[1:]))
    return "M{} {}l{}z".format(*shape[0], lines).replace(" -", "-")


# ------------------------------------------------------------------------------------- files and options

def fetch(url, sha256=None):
    """The path of the file at `url`, from the cache folder or downloaded. OSError when that fails."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "micrograd"
    path = folder / url.rsplit("/", 1)[1]
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    data = download(url, path.name)
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise OSError(f"{url}: not the file we expect (its SHA-256 differs)")
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_bytes(data)
    os.replace(part, path)  # a download that is cut short never looks like a whole file
    return path


def download(url, label):
    """The bytes at `url`, with a progress line. OSError when they do not all arrive."""
    chunks, done = [], 0
    with urllib.request.urlopen(url, timeout=20) as response:
        total = int(response.headers.get("Content-Length") or 0)
        with Progress(total or 1, label, lines=1) as progress:
            for chunk in iter(lambda: response.read(1 << 16), b""):
                chunks.append(chunk)
                done += len(chunk)
                progress.show(min(done, total), "bytes")
    if done < total:
        raise OSError(f"{url}: the connection broke after {done} of {total} bytes")
    return b"".join(chunks)


def at_least(low, kind=int):
    """An argparse type: an int (or another `kind` of number), finite, and not below `low`."""
    def parse(text):
        number = kind(text)
        if not low <= number < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not a number of at least {low}")
        return number
    parse.__name__ = kind.__name__  # what argparse names in "invalid int value"
    return parse


def output_path(text):
    """An argparse type: the path of a file that can be written, known before the long work begins."""
    path = Path(text)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot write {text}: no writable file in an existing folder")
    return path


def picture_path(text):
    """An argparse type: an output_path that ends in .svg."""
    path = Path(text)
    if path.suffix.lower() != ".svg":
        name = path.with_suffix(".svg").name if path.name else "picture.svg"
        raise argparse.ArgumentTypeError(f"{text}: pictures are drawn as SVG: try {name}")
    return output_path(text)
