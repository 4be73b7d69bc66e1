"""Event loops, callbacks and finalizers that the main thread can be in."""

import sys
import time

from report import FOREVER, ready, tell


# --- asyncio

def asyncio_run():
    import asyncio

    async def work(name):
        try:
            await asyncio.sleep(FOREVER)
        finally:
            tell("task", name)

    async def main():
        tasks = [asyncio.ensure_future(work(n)) for n in range(3)]
        await asyncio.sleep(0)
        ready()
        try:
            await asyncio.gather(*tasks)
        finally:
            tell("main task")
    asyncio.run(main())


def asyncio_cleanup():
    import asyncio

    async def main():
        try:
            ready()
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.1)
            tell("awaited in finally")
    asyncio.run(main())


def asyncio_busy():
    import asyncio

    class Turn:  # asyncio.sleep(0), which warns where the exception comes before its await
        def __await__(self):
            yield

    async def work():
        try:
            ready()
            while True:
                await Turn()
        finally:
            tell("task")
    asyncio.run(work())


def asyncio_blocked():
    """A coroutine that blocks, in code that waits in a selector as asyncio's own loop does."""
    import asyncio
    import multiprocessing

    async def main():
        reader, _writer = multiprocessing.Pipe(duplex=False)
        ready()
        reader.poll(None)
    asyncio.run(main())


def asyncio_server():
    import asyncio

    async def main():
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        ready()
        async with server:
            await server.serve_forever()
    asyncio.run(main())


def asyncio_executor():
    import asyncio

    async def main():
        loop = asyncio.get_running_loop()
        ready()
        try:
            await loop.run_in_executor(None, time.sleep, 0.5)
            await asyncio.sleep(FOREVER)
        finally:
            tell("task")
    asyncio.run(main())


def asyncio_run_forever():
    import asyncio
    loop = asyncio.new_event_loop()
    loop.call_later(FOREVER, print)
    ready()
    try:
        loop.run_forever()
    finally:
        loop.close()
        tell("loop closed")


# --- where an exception is easily lost

class Slow:
    """An object whose end takes forever."""

    def __del__(self):
        ready()
        time.sleep(FOREVER)


def in_del():
    Slow()
    time.sleep(FOREVER)


def in_del_with_cleanup():
    class Careful:
        def __del__(self):
            try:
                ready()
                time.sleep(FOREVER)
            finally:
                tell("del finally")
    Careful()
    time.sleep(FOREVER)


def in_garbage_collection():
    import gc
    slow = Slow()
    slow.cycle = slow
    del slow
    gc.collect()
    time.sleep(FOREVER)


def in_gc_callback():
    import gc

    calls = []

    def callback(phase, info):
        calls.append(phase)  # the collector runs at the exit, too
        if len(calls) == 1:
            ready()
            time.sleep(FOREVER)
    gc.callbacks.append(callback)
    gc.collect()
    gc.callbacks.clear()
    time.sleep(FOREVER)


def in_weakref_callback():
    import weakref

    class Thing:
        pass

    def callback(ref):
        ready()
        time.sleep(FOREVER)
    thing = Thing()
    ref = weakref.ref(thing, callback)
    del thing
    time.sleep(FOREVER)
    ref()


def in_c_callback():
    import ctypes

    @ctypes.CFUNCTYPE(ctypes.c_int)
    def callback():
        ready()
        time.sleep(FOREVER)
        return 0
    callback()
    time.sleep(FOREVER)


def in_signal_handler():
    import signal

    def handler(signum, frame):
        ready()
        time.sleep(FOREVER)
    signal.signal(signal.SIGUSR1, handler)
    signal.raise_signal(signal.SIGUSR1)


def in_trace_function():
    def trace(frame, event, arg):
        if frame.f_code.co_name == "traced":
            ready()
            time.sleep(FOREVER)

    def traced():
        pass
    sys.settrace(trace)
    traced()
    sys.settrace(None)
    time.sleep(FOREVER)


def in_str_of_print():
    class Text:
        def __str__(self):
            ready()
            time.sleep(FOREVER)
            return "text"
    print("a", Text())


def in_sort_key():
    def key(n):
        ready()
        time.sleep(FOREVER)
    sorted([1, 2], key=key)


def in_logging():
    import logging

    class Handler(logging.Handler):
        def emit(self, record):
            try:
                ready()
                time.sleep(FOREVER)
            except Exception:
                self.handleError(record)
    logging.getLogger().addHandler(Handler())
    logging.warning("x")


# --- callbacks from C code that drops what they raise, and fails or goes on

def sqlite_function():
    """A function of SQL's that holds a lock, in a loop that tries again."""
    import sqlite3
    import threading

    lock = threading.Lock()
    database = sqlite3.connect(":memory:")

    def work(number):
        with lock:
            return sum(range(number))
    database.create_function("work", 1, work)
    ready()
    while True:
        try:
            database.execute("select work(100000)").fetchone()
        except sqlite3.OperationalError:
            pass


def sqlite_progress():
    """A function that C code calls all the time."""
    import sqlite3

    database = sqlite3.connect(":memory:")
    database.set_progress_handler(lambda: sum(range(1000)) < 0, 1)
    ready()
    while True:
        try:
            database.execute("with recursive t(n) as (select 1 union all select n + 1 from t where n < 100000)"
                             "select count(n) from t").fetchone()
        except sqlite3.OperationalError:
            pass
