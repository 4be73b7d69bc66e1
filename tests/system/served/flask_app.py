"""A flask application of one page."""

import flask

app = flask.Flask(__name__)


@app.route("/<path:name>")
def page(name):
    return f"hello from /{name}"
