"""A Flask application, as one writes it without pyentry."""

import os
import time

from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def hello():
    return f"Hello from Flask, worker {os.getpid()}.\n"


@app.get("/slow")
def slow():
    seconds = min(request.args.get("s", 2.0, float), 60.0)
    print(f"flask: working for {seconds:g} s")
    time.sleep(seconds)
    return f"Done after {seconds:g} s of work.\n"
