"""A program that has two worker processes, and more tasks than those can do.

    python -m pool_app executor|pool fork|spawn|forkserver
"""

import concurrent.futures
import multiprocessing
import sys
import time


def task(number):
    try:
        print(f"task {number} began", file=sys.stderr)
        time.sleep(3600)
    finally:
        print(f"task {number} cleaned up", file=sys.stderr)


def main(kind, method):
    multiprocessing.set_start_method(method)
    if kind == "executor":
        with concurrent.futures.ProcessPoolExecutor(2) as executor:
            # Not map(): it cancels what waits, and the broken pool of older Pythons may stumble over that and say so.
            for future in [executor.submit(task, number) for number in range(6)]:
                future.result()
    else:
        with multiprocessing.Pool(2) as pool:
            pool.map(task, range(6), chunksize=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
