"""What the examples share:

`Progress`     a line that shows how far we are, how fast, and how long it still takes
`Svg`          a picture, built element by element, readable on light and dark pages
`spread`       evenly spaced numbers
`paint`        coloured text, where the terminal has colours
`fetch`        a file from the internet, downloaded once into the user's cache folder
`at_least`     argparse type: a number with a lower bound
`output_path`  argparse type: a file that can be written
"""

import argparse
import hashlib
import itertools
import math
import os
import shutil
import sys
import time
import urllib.request
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

TERMINAL = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
COLOUR = TERMINAL and not os.environ.get("NO_COLOR")
if hasattr(sys.stdout, "reconfigure"):
    sys.stdout.reconfigure(errors="replace")  # "?" instead of an error where block characters are unknown
if TERMINAL and os.name == "nt":
    os.system("")  # wakes the escape codes of older Windows consoles


def paint(text, ink=None, paper=None):
    """`text` in colour `ink` on `paper` (numbers of the 256-colour palette); plain where there are none."""
    codes = [f"38;5;{ink}"] * (ink is not None) + [f"48;5;{paper}"] * (paper is not None)
    return f"\033[{';'.join(codes)}m{text}\033[0m" if COLOUR and codes else text


class Progress:
    """Count up to `total`: one line drawn over and over in a terminal, elsewhere at most `lines` plain lines.

        with Progress(1000, "step") as progress:
            progress.show(step, f"loss {loss:.4f}")
    """

    def __init__(self, total, label="step", lines=10):
        self.total, self.label, self.lines = total, label, lines
        self.began, self.drawn, self.printed, self.open = time.perf_counter(), 0, 0, False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.open:  # stopped halfway: what is printed next begins on a line of its own
            print(flush=True)

    def show(self, done, text=""):
        """Report that `done` are done; `text` adds what else there is to say."""
        now, last, lines = time.perf_counter(), done >= self.total, done * self.lines // self.total
        if TERMINAL and (last or now - self.drawn > 0.05):
            line = self.line(done, text)[:shutil.get_terminal_size().columns - 1]
            print("\r" + line + "\033[K", end="\n" if last else "", flush=True)
            self.drawn, self.open = now, not last
        elif not TERMINAL and lines > self.printed:
            print(self.line(done, text), flush=True)
            self.printed = lines

    def line(self, done, text):
        """`step  40/100 ████░░░░░░  812/s  0:01 left  ` and the text."""
        passed = max(time.perf_counter() - self.began, 1e-9)
        rate = done / passed
        when = f"in {clock(passed)}" if done >= self.total or not rate else \
            f"{clock((self.total - done) / rate)} left"
        bar = f" {'█' * (10 * done // self.total):░<10}" if TERMINAL else ""
        count = f"{done:{len(str(self.total))}}/{self.total}"
        return f"{self.label} {count}{bar}  {short(rate)}/s  {when}  {text}"


def clock(seconds):
    """Seconds as `0.4 s`, `12:05` or `1:02:03`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"


def short(number):
    """A number in few characters: `0.42`, `37`, `812`, `1.3M`."""
    power = min(int(math.log10(max(number, 1))) // 3, 3)
    number /= 1000 ** power
    return f"{number:{'.3g' if number < 99.95 else '.0f'}}{('', 'k', 'M', 'G')[power]}"


class Svg:
    """A picture of `width` by `height`. Text is dark on light and light on dark, as the page is."""

    STYLE = """
    text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
    .title { font-size: 16px; font-weight: 600 } .small { font-size: 11px } .muted { fill: #656d76 }
    .card { fill: #ffffff; stroke: #d0d7de } .line { stroke: #afb8c1; fill: none }
    .middle { text-anchor: middle } .end { text-anchor: end }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .muted { fill: #9198a1 }
      .card { fill: #0d1117; stroke: #3d444d } .line { stroke: #57606a }
    }"""

    def __init__(self, width, height, title, style=""):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                      f'width="{width}" height="{height}" role="img">', f"<title>{escape(title)}</title>",
                      f"<style>{self.STYLE}{style}\n</style>"]
        self.add("rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=8, class_="card")

    def add(self, tag, text="", **attributes):
        """Add one element: `svg.add("text", "loss", x=10, y=20, class_="muted", text_anchor="end")`."""
        inside = tag
        for name, value in attributes.items():
            value = f"{value:.5g}" if isinstance(value, float) else str(value)
            inside += f" {name.rstrip('_').replace('_', '-')}={quoteattr(value)}"
        self.parts.append(f"<{inside}>{escape(str(text))}</{tag}>" if text != "" else f"<{inside}/>")

    def contour(self, grid, box, level, **attributes):
        """Fill the part of the box (x, y, width, height) where `grid` (its top row first) exceeds `level`.

        Each cell between four numbers is drawn whole, not at all, or cut where its sides cross the level.
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

    def save(self, path):
        """Write the picture; the program ends with a message where that is impossible."""
        try:
            Path(path).write_text("\n".join(self.parts + ["</svg>\n"]), encoding="utf-8")
        except OSError as error:
            sys.exit(f"cannot write the picture {path}: {error.strerror}")
        print(f"picture: {path}")


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


def fetch(url, sha256=None):
    """The path of the file at `url`, from the cache folder or else downloaded. OSError when that fails."""
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
        raise argparse.ArgumentTypeError(f"cannot write {text}: not a writable file in an existing folder")
    return path
