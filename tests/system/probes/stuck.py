"""Does not end on SIGTERM in time. usage: stuck.py REPORT-DESCRIPTOR WHERE; each function below is a place."""

import ctypes
import os
import signal
import sys
import threading
import time

REPORT = int(sys.argv[1])


def tell(*words):
    os.write(REPORT, (" ".join(map(str, words)) + "\n").encode())


def locked_mutex(library):
    """Lock a C mutex a second time: a C call that never returns, whatever signal arrives."""
    mutex = ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    tell("ready")
    library.pthread_mutex_lock(mutex)


def stuck_without_gil():
    locked_mutex(ctypes.CDLL(None))


def stuck_with_gil():
    locked_mutex(ctypes.PyDLL(None))


def waiting_worker(started):
    started.set()
    time.sleep(600)


def looping_worker(started):
    started.set()
    while True:
        pass


def with_workers(place):
    for work in (waiting_worker, looping_worker):
        started = threading.Event()
        threading.Thread(target=work, args=(started,), daemon=True, name=work.__name__).start()
        started.wait()
    place()


def threads_without_gil():
    with_workers(stuck_without_gil)


def threads_with_gil():
    with_workers(stuck_with_gil)


def slow_clean_up():
    try:
        tell("ready")
        time.sleep(600)
    finally:
        began = time.monotonic()
        time.sleep(1.2)
        tell("slept", time.monotonic() - began >= 1.19)


def long_clean_up():
    try:
        tell("ready")
        time.sleep(600)
    finally:
        sys.stdin.readline()
        tell("cleaned")


def own_handler_that_hangs():
    def hanging_handler(signum, frame):
        time.sleep(600)
    signal.signal(signal.SIGTERM, hanging_handler)
    tell("ready")
    time.sleep(600)


def own_handler_that_goes_on():
    signal.signal(signal.SIGTERM, lambda *a: tell("noted"))
    tell("ready")
    sys.stdin.readline()


def swallowed():
    try:
        tell("ready")
        time.sleep(600)
    except SystemExit:
        tell("swallowed")
    sys.stdin.readline()


def asyncio_that_goes_on():
    import asyncio

    async def main():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, tell, "noted")
        tell("ready")
        await asyncio.sleep(600)
    asyncio.run(main())


def waiting_for_a_thread():
    threading.Thread(target=time.sleep, args=(600,), name="the one that stays").start()
    try:
        tell("ready")
        time.sleep(600)
    finally:
        for thread in threading.enumerate():
            if thread is not threading.main_thread():
                thread.join()


def deep_recursion():
    def down(n):
        if n:
            down(n - 1)
        else:
            stuck_without_gil()
    down(300)


def ends_at_once():
    tell("ready")
    time.sleep(600)


if __name__ == "__main__":
    globals()[sys.argv[2]]()
