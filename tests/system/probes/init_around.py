"""Prints as JSON what Python finds around itself: signals, descriptors, streams, directory. usage: init_around.py"""

import json
import os
import signal
import subprocess
import sys


def masks(text):
    return {line.split(":")[0]: line.split()[1] for line in text.splitlines() if line.startswith(("Sig", "Shd"))}


def main():
    with open("/proc/self/status", encoding="ascii") as file:
        mine = masks(file.read())
    mine.pop("SigCgt")  # pyentry has handlers of its own
    mine.pop("SigQ")
    below = subprocess.run(["cat", "/proc/self/status"], stdout=subprocess.PIPE, text=True, restore_signals=False,
                           check=False, stdin=subprocess.DEVNULL)
    theirs = masks(below.stdout)
    theirs.pop("SigQ", None)
    open_ones = []
    for name in os.listdir("/proc/self/fd"):
        try:
            open_ones.append((int(name), os.readlink(f"/proc/self/fd/{name}").split(":")[0]))
        except OSError:
            pass  # the directory that is being read
    print(json.dumps({
        "mine": mine, "theirs": theirs, "descriptors": sorted(open_ones), "directory": os.getcwd(),
        "streams": [stream is None for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "dispositions": {int(n): str(signal.getsignal(n)) for n in signal.valid_signals() - {signal.SIGTERM}},
        "listen": [os.environ.get("LISTEN_PID"), os.getpid(), os.getppid()]}, sort_keys=True))


if __name__ == "__main__":
    main()
