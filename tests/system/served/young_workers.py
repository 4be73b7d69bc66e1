"""Starts worker processes and stops each within a millisecond; prints how they ended.

    python -m young_workers fork|forkserver COUNT
"""

import collections
import multiprocessing
import os
import random
import sys
import time


def work():
    time.sleep(3600)


def busy(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def main(method, count):
    context = multiprocessing.get_context(method)
    codes = collections.Counter()
    parent = os.getpid()
    try:
        for _ in range(int(count)):
            process = context.Process(target=work)
            process.start()
            busy(random.random() * 0.001)
            process.terminate()
            process.join(30)
            codes[process.exitcode] += 1
    finally:
        if os.getpid() != parent:
            os.write(2, b"the parent's clean-up ran in a worker\n")
    print(dict(codes), file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
