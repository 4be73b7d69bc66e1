"""A WSGI application: / says hello, /slow says so and works for a second."""

import sys
import time


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        print("working", file=sys.stderr)
        time.sleep(1)
    body = f"hello from {path}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
