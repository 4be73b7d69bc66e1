"""A program with processes below it. usage: init_family.py REPORT-DESCRIPTOR NAME [ARGUMENT...]

Each function is a program. What is said goes to the report, which every process below holds open: it has an end when
they all have ended.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time

REPORT = int(sys.argv[1])


def tell(*words):
    os.write(REPORT, (" ".join(map(str, words)) + "\n").encode())


def stay():
    while True:
        time.sleep(600)


def until_stopped(status):
    """Sleeps to the end that a SIGTERM brings, or leaves at a line on standard input."""
    tell("ready")
    sys.stdin.readline()
    os._exit(status)


# --- orphans

def orphans(count):
    """Leaves count processes to the init; all of them end at once, at the first line of input."""
    gate, door = os.pipe()
    for _ in range(10):
        if os.fork() == 0:
            for _ in range(int(count) // 10):
                if os.fork() == 0:
                    os.close(door)
                    os.read(gate, 1)
                    os._exit(random.randrange(256))
            os._exit(0)
    for _ in range(10):
        os.wait()
    tell("orphaned")
    sys.stdin.readline()
    os.close(door)
    tell("released")
    until_stopped(9)


def load(count):
    """Starts children with random codes from several threads, each of which leaves an orphan behind."""
    wrong = []

    def work(share):
        numbers = random.Random(share)
        for _ in range(int(count) // 4):
            code = numbers.randrange(256)
            got = subprocess.call(["sh", "-c", f"(:) & exit {code}"])
            if got != code:
                wrong.append((code, got))
    threads = [threading.Thread(target=work, args=(share,)) for share in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tell("wrong", wrong)


# --- what is left behind

def daemon(work):
    """Runs work() in a process that double-forked away, in a session of its own; returns when it is at work."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            work(writer)
        os._exit(0)
    os.wait()
    os.close(writer)
    assert os.read(reader, 1) == b"r"
    os.close(reader)


def plain(ready):
    os.write(ready, b"r")
    stay()


def clean(*unused):
    tell("cleaned")
    os._exit(0)


def polite(ready):
    signal.signal(signal.SIGTERM, clean)
    plain(ready)


def deaf(ready):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    plain(ready)


def stopped(ready):
    signal.signal(signal.SIGTERM, clean)
    os.write(ready, b"r")
    os.kill(os.getpid(), signal.SIGSTOP)
    stay()


def has_children(ready):
    """A daemon that has daemons, and children in sessions of their own."""
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            stay()
    daemon(plain)
    os.write(ready, b"r")
    stay()


def breeding(ready):
    """Ignores SIGTERM and starts processes that do, one after the other."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(ready, b"r")
    while True:
        if os.fork() == 0:
            time.sleep(0.3)
            os._exit(0)
        time.sleep(0.02)
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def leaves(status, *kinds):
    """Leaves daemons of these kinds behind and ends with this status, at a line of input."""
    for kind in kinds:
        daemon(globals()[kind])
    until_stopped(int(status))


def leaves_when_stopped(*kinds):
    """The same at SIGTERM."""
    for kind in kinds:
        daemon(globals()[kind])
    tell("ready")
    stay()


def through_itself():
    """Starts a daemon through a short-lived Python of the same kind; it must outlive that Python."""
    subprocess.run([sys.executable, __file__, str(REPORT), "leaves", "0", "plain"], pass_fds=[REPORT],
                   stdin=subprocess.DEVNULL, check=True)
    mine = [pid for pid in filter(str.isdigit, os.listdir("/proc")) if is_daemon(pid)]
    tell("daemons", len(mine))
    input()  # till the test has seen who is who


def is_daemon(pid):
    """Of this pyentry, not of another that is being tested, too."""
    try:
        if os.readlink(f"/proc/{pid}/exe") != os.readlink("/proc/self/exe"):
            return False
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"leaves" in file.read().split(b"\0") and os.getsid(int(pid)) != os.getsid(0)
    except OSError:
        return False


if __name__ == "__main__":
    globals()[sys.argv[2]](*sys.argv[3:])
