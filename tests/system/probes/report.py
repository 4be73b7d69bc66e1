"""What the functions of blocking.py report, and where to."""

import os
import sys

try:
    import pyentry
except ImportError:  # the stock interpreter, to see that the tests can fail
    pyentry = None
Terminated = pyentry.Terminated if pyentry else KeyboardInterrupt

REPORT = int(sys.argv[1])
FOREVER = 600


def tell(*words):
    os.write(REPORT, (" ".join(map(str, words)) + "\n").encode())


def ready():
    tell("ready")
