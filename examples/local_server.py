"""A web server for one page, on this computer only, for examples that draw in a browser.

Every web site that is open in the browser can send requests to this computer, and a name of its own can be
made to lead here: so the server looks at who asks, how much, and in which words. It waits for nobody, since
each connection has a thread; it ends at once with Ctrl-C. Whatever it refuses, it says why in a sentence.
"""

import base64
import hashlib
import json
import re
import select
import socketserver
import sys
import threading
import webbrowser
from http.server import BaseHTTPRequestHandler

PATIENCE = 5                            # seconds to wait for the rest of a request
MOST_BYTES, MOST_THREADS = 4000, 300    # in a request; at once


class Refused(Exception):
    """A request that is answered with a sentence and a status."""


class Handler(BaseHTTPRequestHandler):
    """One request. ROUTES of a subclass names its method for each: {"GET /": "page", "POST /run": "run"}."""

    ROUTES = {}
    timeout, server_version, sys_version = PATIENCE, "micrograd", ""
    log_message = lambda *args: None    # the terminal stays quiet

    def do_GET(self):
        """Do what the request asks for, or say what is wrong with it."""
        try:
            self.check_sender()
            route = self.ROUTES.get(f"{self.command} {self.path.partition('?')[0]}")
            if route is None:
                raise Refused("There is nothing at this address.", 404)
            getattr(self, route)()
        except Refused as refused:
            self.reply(refused.args[0], "text/plain", refused.args[1])
        except ValueError as error:
            self.reply(str(error), "text/plain", 400)

    do_POST = do_GET

    def check_sender(self):
        """Only our own page may ask: no other site, nor one whose name was made to lead here."""
        host, port = self.headers.get("Host"), self.server.server_address[1]
        if host not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            raise Refused(f"This server answers to http://127.0.0.1:{port}/ alone.", 403)
        if self.headers.get("Origin", f"http://{host}") != f"http://{host}":
            raise Refused("Other sites may not ask this server.", 403)

    def asked(self, *names):
        """The body of the request: a JSON object with exactly these names."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,12}", length):
            raise ValueError("The request does not say how long it is.")
        if int(length) > MOST_BYTES:
            for _ in range(min(int(length), 1 << 25) >> 16):
                self.rfile.read(1 << 16)        # who still sends would not hear the answer
            raise Refused(f"The request has {length} bytes, and {MOST_BYTES} are the most.", 413)
        try:
            body = json.loads(self.rfile.read(int(length)).decode())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"The request is not JSON ({error}).")
        if type(body) is not dict or set(body) != set(names):
            raise ValueError(f"The request must be a JSON object with exactly {', '.join(names)}.")
        return body

    def head(self, kind, status=200, **more):
        """The first lines of an answer."""
        self.send_response(status)
        for name, value in {"Content-Type": f"{kind}; charset=utf-8", "Cache-Control": "no-store",
                            "X-Content-Type-Options": "nosniff", **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def reply(self, text, kind="application/json", status=200, **more):
        """A whole answer."""
        data = text.encode()
        self.head(kind, status, **{"Content-Length": str(len(data)), **more})
        self.wfile.write(data)

    def reply_page(self, path):
        """An HTML file, whose own script and style may run, and ask this server, and load nothing else."""
        text = path.read_text(encoding="utf-8")
        policy = "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; " \
                 "form-action 'none'; frame-ancestors 'none'"
        for tag in "script", "style":
            own = re.search(f"<{tag}>(.*?)</{tag}>", text, re.S).group(1)
            digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
            policy += f"; {tag}-src 'sha256-{digest}'"
        self.reply(text, "text/html", **{"Content-Security-Policy": policy})

    def hung_up(self, seconds):
        """Wait so long; true as soon as the other side closes (it has nothing more to send)."""
        return bool(select.select([self.connection], [], [], max(seconds, 0))[0])


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection to this port; port 0 is any free one."""

    daemon_threads, block_on_close, request_queue_size = True, False, 64
    allow_reuse_address = sys.platform != "win32"       # where it would let two servers share a port

    def __init__(self, port, handler):
        super().__init__(("127.0.0.1", port), handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}/"

    def process_request(self, request, address):
        """A thread for the request, unless there are too many."""
        if threading.active_count() > MOST_THREADS:
            self.shutdown_request(request)
        else:
            super().process_request(request, address)

    def handle_error(self, request, address):
        """Say what went wrong, unless the other side has just gone."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, address)

    def serve_until_ctrl_c(self, open_browser=True):
        """Serve, and show the page, until somebody presses Ctrl-C."""
        if open_browser:
            threading.Thread(target=webbrowser.open, args=[self.address], daemon=True).start()
        try:
            self.serve_forever()
        except KeyboardInterrupt:
            print("\nstopped")
        self.server_close()
