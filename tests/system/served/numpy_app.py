"""A service whose answers numpy computes, with the threads that its library starts."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        side = 400
        product = numpy.ones((side, side)) @ numpy.ones((side, side))
        body = f"hello from {self.path}: {product.sum():.0f}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(f"listening on http://127.0.0.1:{server.server_port}", file=sys.stderr)
    server.serve_forever()
