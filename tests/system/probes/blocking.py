"""Blocks in one of many ways until SIGTERM. usage: blocking.py REPORT-DESCRIPTOR NAME

Writes "ready" to the report, blocks, and reports what reaches it: "caught CODE", "finally", "atexit".
"""

import atexit
import sys

import blocking_calls
import blocking_places
from report import Terminated, tell


def main():
    atexit.register(tell, "atexit")
    try:
        getattr(blocking_calls, sys.argv[2], getattr(blocking_places, sys.argv[2], None))()
        tell("went on")
    except Terminated as stop:
        tell("caught", getattr(stop, "code", None))
        raise
    finally:
        tell("finally")


if __name__ == "__main__":
    main()
