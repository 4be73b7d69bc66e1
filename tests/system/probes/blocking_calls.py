"""System calls, locks and loops that the main thread can be in."""

import os
import sys
import threading
import time

from report import FOREVER, ready, tell


def sleep():
    ready()
    time.sleep(FOREVER)


def lock():
    held = threading.Lock()
    held.acquire()
    ready()
    held.acquire()


def lock_with_timeout():
    held = threading.Lock()
    held.acquire()
    ready()
    held.acquire(timeout=FOREVER)


def rlock():
    held = threading.RLock()
    taken = threading.Event()

    def hold():
        held.acquire()
        taken.set()
        time.sleep(FOREVER)
    threading.Thread(target=hold, daemon=True).start()
    taken.wait()
    ready()
    held.acquire()


def event():
    ready()
    threading.Event().wait()


def condition():
    waiting = threading.Condition()
    with waiting:
        ready()
        waiting.wait()


def semaphore():
    ready()
    threading.Semaphore(0).acquire()


def barrier():
    ready()
    threading.Barrier(2).wait()


def thread_join():
    thread = threading.Thread(target=time.sleep, args=(FOREVER,), daemon=True)
    thread.start()
    ready()
    thread.join()


def queue_get():
    import queue
    ready()
    queue.Queue().get()


def simple_queue_get():
    import queue
    ready()
    queue.SimpleQueue().get()


def future():
    import concurrent.futures
    ready()
    concurrent.futures.Future().result()


def select_call():
    import select
    ends = os.pipe()
    ready()
    select.select([ends[0]], [], [])


def poll():
    import select
    ready()
    select.poll().poll()


def epoll():
    import select
    with select.epoll() as waiting:
        ready()
        waiting.poll()


def selector():
    import selectors
    with selectors.DefaultSelector() as waiting:
        waiting.register(os.pipe()[0], selectors.EVENT_READ)
        ready()
        waiting.select()


def read_pipe():
    ends = os.pipe()
    ready()
    os.read(ends[0], 1)


def read_stdin():
    ready()
    sys.stdin.read()


def input_line():
    ready()
    input()


def read_buffered():
    with os.fdopen(os.pipe()[0], "rb") as file:
        ready()
        file.read(10)


def write_pipe():
    ends = os.pipe()
    os.set_blocking(ends[1], False)
    try:
        while os.write(ends[1], b"x" * 65536):
            pass
    except BlockingIOError:
        os.set_blocking(ends[1], True)
    ready()
    os.write(ends[1], b"x" * 65536)


def print_into_full_pipe():
    ready()
    print("x" * (1 << 20))


def print_into_full_nonblocking_pipe():
    os.set_blocking(1, False)
    ready()
    print("x" * (1 << 20))


def prints_into_full_pipe():
    ready()
    while True:
        print("x" * 100)


def write_into_full_pipe():
    ready()
    sys.stdout.write("x" * (1 << 20))


def print_behind_another_thread():
    threading.Thread(target=print, args=("x" * (1 << 20),), daemon=True).start()
    import fcntl
    while int.from_bytes(fcntl.ioctl(1, 0x541B, b"\0" * 4), sys.byteorder) < 65536:  # FIONREAD
        time.sleep(0.01)
    ready()
    print("behind")


def accept():
    import socket
    with socket.create_server(("127.0.0.1", 0)) as server:
        ready()
        server.accept()


def accept_with_timeout():
    import socket
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(FOREVER)
        ready()
        server.accept()


def receive():
    import socket
    ours, theirs = socket.socketpair()
    ready()
    ours.recv(10)


def http_server():
    import http.server
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        ready()
        server.serve_forever()


def subprocess_run():
    import subprocess
    ready()
    subprocess.run(["sleep", str(FOREVER)])


def subprocess_communicate():
    import subprocess
    with subprocess.Popen(["sleep", str(FOREVER)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        ready()
        process.communicate()


def subprocess_that_ignores():
    import signal
    import subprocess

    def deaf():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ignore = subprocess.Popen(["sleep", str(FOREVER)], preexec_fn=deaf)
    tell("child", ignore.pid)
    ready()
    try:
        ignore.wait()
    finally:
        ignore.kill()
        tell("killed", ignore.wait())


def system():
    ready()
    os.system(f"exec sleep {FOREVER}")


def system_beside_busy_thread():
    def busy():
        while True:
            pass
    threading.Thread(target=busy, daemon=True).start()
    ready()
    os.system(f"exec sleep {FOREVER}")


def sigwait():
    import signal
    ready()
    signal.sigwait({signal.SIGHUP})


def waitpid():
    pid = os.fork()
    if pid == 0:
        os.execvp("sleep", ["sleep", str(FOREVER)])
    ready()
    os.waitpid(pid, 0)
    time.sleep(FOREVER)


def process_join():
    import multiprocessing
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(FOREVER,), daemon=True)
    process.start()
    ready()
    process.join()
    time.sleep(FOREVER)


def process_pool():
    import multiprocessing
    with multiprocessing.get_context("fork").Pool(2) as pool:
        ready()
        pool.map(time.sleep, [FOREVER, FOREVER])


def process_queue():
    import multiprocessing
    queue = multiprocessing.get_context("fork").Queue()
    ready()
    queue.get()


def signal_pause():
    import signal
    ready()
    signal.pause()


def file_lock():
    import fcntl
    import tempfile
    with tempfile.NamedTemporaryFile() as first, open(first.name) as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        ready()
        fcntl.flock(second, fcntl.LOCK_EX)


def open_fifo():
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        os.mkfifo(folder + "/fifo")
        ready()
        open(folder + "/fifo")


def busy_loop():
    ready()
    while True:
        pass


def busy_with_threads():
    def spin():
        while True:
            pass
    for _ in range(4):
        threading.Thread(target=spin, daemon=True).start()
    ready()
    spin()


def regular_expression():
    import re
    ready()
    re.match("(a*)*b", "a" * 40)


def big_number():
    ready()
    while True:
        pow(3, 10 ** 5)


def import_loop():
    ready()
    while True:
        list(map(__import__, ["colorsys"] * 100))
        del sys.modules["colorsys"]


def importing():
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/slow_module.py", "w") as file:
            file.write("import time, report\nreport.ready()\ntime.sleep(600)\n")
        sys.path.insert(0, folder)
        import slow_module
        slow_module.unused()


def exec_code():
    ready()
    exec("import time\ntime.sleep(600)")


def generator():
    def endless():
        while True:
            time.sleep(0.001)
            yield
    ready()
    for _ in endless():
        pass


def with_block():
    import contextlib

    @contextlib.contextmanager
    def resource():
        try:
            yield
        finally:
            tell("released")
    with resource():
        ready()
        time.sleep(FOREVER)


def except_exception():
    while True:
        try:
            ready()
            time.sleep(FOREVER)
        except Exception:
            tell("swallowed")


def in_except_block():
    try:
        raise ValueError("first")
    except ValueError:
        ready()
        time.sleep(FOREVER)
