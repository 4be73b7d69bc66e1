"""A program with children. usage: family.py REPORT-DESCRIPTOR WHAT; see the functions.

Children report the SIGTERM that they get, and their end; the main program reports what it sees of them.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

REPORT = int(sys.argv[1]) if len(sys.argv) > 2 else -1
FOREVER = 600


def tell(*words):
    os.write(REPORT, (" ".join(map(str, words)) + "\n").encode())


LISTENER = """
import os, signal, sys, time
name, report, style = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def tell(words): os.write(report, (words + "\\n").encode())
signal.signal(signal.SIGTERM, lambda *a: tell(name + " got it"))
signal.signal(signal.SIGRTMIN, lambda *a: tell(name + " done"))  # handled after a SIGTERM sent before it
if style == "group": os.setpgid(0, 0)
if style == "session": os.setsid()
tell(f"up {name} {os.getpid()}")
while True: time.sleep(600)
"""


def listener(name, style="plain", **options):
    """A stock child that reports every SIGTERM and stays."""
    return subprocess.Popen([os.environ["LISTENER_PYTHON"], "-c", LISTENER, name, str(REPORT), style],
                            pass_fds=[REPORT], **options)


GRANDPARENT = """
import subprocess, sys, time, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(sys.argv[1:], close_fds=False)
while True: time.sleep(600)
"""


def direct():
    """Children of every kind, and a grandchild that nobody but its parent may signal."""
    listener("plain")
    listener("group", "group")
    listener("session", "session")
    started = threading.Event()

    def from_thread():
        listener("from-thread")
        started.set()
        time.sleep(FOREVER)
    threading.Thread(target=from_thread, daemon=True).start()
    started.wait()
    short = threading.Thread(target=listener, args=("from-ended-thread",))
    short.start()
    short.join()
    subprocess.Popen([os.environ["LISTENER_PYTHON"], "-c", GRANDPARENT, os.environ["LISTENER_PYTHON"], "-c",
                      LISTENER, "grandchild", str(REPORT), "plain"], close_fds=False)
    if os.fork() == 0:
        fork_child()
    if os.fork() == 0:
        os._exit(0)  # stays a zombie: passing the signal on must not mind
    stay()


def fork_child():
    """A forked copy of this very interpreter: Terminated reaches it as well."""
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
        tell(f"up forked {os.getpid()}")
        signal.sigwaitinfo({signal.SIGRTMIN})
    except SystemExit:
        tell("forked got it")
    finally:
        tell("forked done")
        os._exit(0)


def stay():
    """Wait for SIGTERM, and after it until the test has seen enough."""
    try:
        tell("ready")
        time.sleep(FOREVER)
    finally:
        tell("stopping")
        sys.stdin.readline()


def own_handler():
    """A program with a handler of its own decides alone."""
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(4))
    listener("plain")
    stay()


def order():
    """A child that ends on SIGTERM: the parent's clean-up can wait for it."""
    import pyentry
    child = subprocess.Popen([sys.executable, "-c", "import sys, time\ntry:\n print('up'); time.sleep(600)\n"
                              "finally: print('child cleaned')"], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    try:
        tell("ready")
        time.sleep(FOREVER)
    except pyentry.Terminated:
        tell(child.communicate(timeout=20)[0].strip(), child.returncode)
        raise


def worker(report):
    try:
        os.write(report, b"worker up\n")
        time.sleep(FOREVER)
    finally:
        os.write(report, b"worker cleaned\n")


def sent_worker(report):
    worker(report.detach())


def start_worker(method):
    context = multiprocessing.get_context(method)
    if method == "fork":
        process = context.Process(target=worker, args=(REPORT,))
    else:
        from multiprocessing import reduction
        process = context.Process(target=sent_worker, args=(reduction.DupFd(REPORT),))
    process.start()
    return process


def sleep(_):
    time.sleep(FOREVER)


def terminate(method):
    """Process.terminate(): exitcode -15, as under python, and the worker's finally runs."""
    process = start_worker(method)
    sys.stdin.readline()
    process.terminate()
    process.join()
    tell("exitcode", process.exitcode)


def stop_with_worker(method):
    """SIGTERM to the main program reaches the worker too, and both clean up."""
    process = start_worker(method)
    try:
        process.join()
        time.sleep(FOREVER)
    finally:
        process.join(20)
        tell("exitcode", process.exitcode)


def fork_server():
    """The server of the start method forkserver is told, and goes on."""
    from multiprocessing import forkserver
    for times in (1, 2):
        workers = [start_worker("forkserver") for _ in range(2)]
        if times == 1:
            tell("server", forkserver._forkserver._forkserver_pid)
        for process in workers:
            process.join()
        tell("exitcodes", times, [process.exitcode for process in workers])
    sys.stdin.readline()
    process = multiprocessing.get_context("forkserver").Process(target=sys.exit, args=(3,))
    process.start()
    process.join()
    tell("exitcode", process.exitcode)


def nobody(method):
    """Pools and executors are left behind without a word and without a process."""
    import concurrent.futures
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        result = pool.map_async(sleep, range(2))
        executor = concurrent.futures.ProcessPoolExecutor(2, mp_context=context)
        executor.submit(os.getpid).result()
        tell("ready")
        result.get()


if __name__ == "__main__":
    globals()[sys.argv[2]](*sys.argv[3:])
