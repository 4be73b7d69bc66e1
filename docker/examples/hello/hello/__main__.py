"""The service: `pyentry -m hello`, or `python3 -u -m hello` to compare.

There is no signal handler here and nothing is flushed.  Under pyentry SIGTERM
raises an exception in the main thread, so that one `finally` is the whole of
the clean-up; every print() below is in the log when it returns.
"""

import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LONGEST_WORK = 60.0


class Handler(BaseHTTPRequestHandler):
    # A browser opens connections in advance and says nothing on them.
    # Without a limit such a connection would hold up the stop.
    timeout = 2

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/":
            self.answer(200, "Hello from Python, by way of pyentry.\n")
        elif url.path == "/slow":
            self.work(parse_qs(url.query).get("s", ["2"])[0])
        else:
            self.answer(404, "There is / and /slow?s=2 here.\n")

    def work(self, asked):
        try:
            seconds = float(asked)
        except ValueError:
            seconds = -1.0
        if not 0.0 <= seconds <= LONGEST_WORK:
            self.answer(400, "s takes a number of seconds from 0 to 60.\n")
            return
        print(f"hello: working for {seconds:g} s")
        time.sleep(seconds)
        self.answer(200, f"Done after {seconds:g} s of work.\n")

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        print(f"hello: {self.address_string()} {format % args}")

    def log_error(self, format, *args):
        """Nothing: a request that failed has its line from log_request already."""


class Server(ThreadingHTTPServer):
    # server_close() then waits for the requests that are being answered.
    daemon_threads = False


class Worker(threading.Thread):
    """What else a service does: something every few seconds, until told to stop."""

    def __init__(self, pause):
        super().__init__(name="worker")
        self.pause = pause
        self.rounds = 0
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.wait(self.pause):
            self.rounds += 1
            print(f"hello: worker: round {self.rounds}")

    def stop(self):
        self.stopping.set()
        if self.ident is not None:
            self.join()
        print(f"hello: worker stopped after round {self.rounds}")


def main():
    port = os.environ.get("PORT", "8080")
    try:
        server = Server(("", int(port)), Handler)
    except OSError as error:
        sys.exit(f"hello: port {port}: {error.strerror}. With another one: PORT=18080 ./bootstrap run, or pyentry -m hello")
    serving = threading.Thread(target=server.serve_forever, name="server", daemon=True)
    worker = Worker(float(os.environ.get("TICK", "10")))
    try:
        worker.start()
        serving.start()
        print(f"hello: listening on http://127.0.0.1:{server.server_port}/ (stop with Ctrl-C or SIGTERM)")
        # Signals raise in the main thread.  It only waits, so they cut nothing off.
        serving.join()
    except KeyboardInterrupt:
        print("hello: Ctrl-C")
    finally:
        if serving.is_alive():
            server.shutdown()
        server.server_close()
        print("hello: every request is answered")
        worker.stop()


if __name__ == "__main__":
    main()
