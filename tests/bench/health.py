"""`pyentry --healthcheck` beside what it replaces: curl, and a Python that opens the URL.

    PYENTRY=... PYTHON=... tests/bench/health.py

Times are from start to end of the command.  Memory is looked at when a command is about to exit, and has freed nothing:
its anonymous memory, which nothing else shares and no file backs; and its most resident memory, which counts pages of
files too, the ones that the app's own pyentry has mapped anyway.
"""

import ctypes
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

URLLIB_REACH, CURL_REACH = 1 / 30, 1.0  # of the time of a Python that opens the URL, and of curl
ALLOWANCE = 1.15                        # server and command take turns, which a busy machine delays
MEMORY_REACH = 2.0                      # times true's, where libpython is static

SERVER = """
import socket
with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\nConnection: close\\r\\n\\r\\nok\\n")
"""

# <sys/ptrace.h>
PTRACE_TRACEME, PTRACE_CONT, PTRACE_SETOPTIONS = 0, 7, 0x4200
PTRACE_O_TRACEEXIT, PTRACE_EVENT_EXIT = 0x40, 6

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
NULL = os.open(os.devnull, os.O_RDWR)
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYENTRY", "http", "HTTP"))}


def start(command):
    return os.posix_spawn(command[0], command, ENVIRONMENT, file_actions=[(os.POSIX_SPAWN_DUP2, NULL, 1)])


def ended(pid, command):
    if os.waitpid(pid, 0)[1]:
        sys.exit(f"bench: {' '.join(command)} failed")


def wall(command):
    """Seconds."""
    began = time.perf_counter()
    ended(start(command), command)
    return time.perf_counter() - began


def field(pid, file, name):
    with open(f"/proc/{pid}/{file}") as text:
        return int(re.search(rf"^{name}:\s+(\d+) kB$", text.read(), re.MULTILINE)[1])


def memory(command):
    """KiB of a command at its exit: anonymous, most resident."""
    pid = os.fork()
    if pid == 0:
        os.dup2(NULL, 1)
        LIBC.ptrace(PTRACE_TRACEME, 0, None, None)
        os.execve(command[0], command, ENVIRONMENT)
    os.waitpid(pid, 0)
    LIBC.ptrace(PTRACE_SETOPTIONS, pid, None, PTRACE_O_TRACEEXIT)
    LIBC.ptrace(PTRACE_CONT, pid, None, None)
    if os.waitpid(pid, 0)[1] >> 8 != signal.SIGTRAP | PTRACE_EVENT_EXIT << 8:
        sys.exit(f"bench: {' '.join(command)} was stopped before its end")
    kib = field(pid, "smaps_rollup", "Anonymous"), field(pid, "status", "VmHWM")
    LIBC.ptrace(PTRACE_CONT, pid, None, None)
    ended(pid, command)
    return kib


def has_static_libpython(pyentry):
    done = subprocess.run(["ldd", pyentry], stdout=subprocess.PIPE, text=True, check=True)
    return "libpython" not in done.stdout


def compare_times(table, ours, others, rounds):
    """Each beside ours, in turn."""
    for name, command, reach, text in others:
        pairs = [(wall(ours), wall(command)) for _ in range(rounds)]
        ratio = statistics.median(a / b for a, b in pairs)
        columns = (f"{statistics.median(column) * 1e3:.2f} ms" for column in zip(*pairs))
        table.line(f"--healthcheck, wall, beside {name}", *columns, ratio, text,
                   None if reach is None else ratio <= reach, reach is None or ratio > reach * ALLOWANCE)


def beside(table, rounds, url, curl, true):
    pyentry, python = (os.environ[name] for name in ("PYENTRY", "PYTHON"))
    ours = [pyentry, "--healthcheck", url]
    urllib = [python, "-c", f"import urllib.request; urllib.request.urlopen('{url}')"]
    compare_times(table, ours, [("python3", urllib, URLLIB_REACH, "<= 1/30"),
                                ("curl", [curl, "-fsS", url], CURL_REACH, "< 1"), ("true", [true], None, "")], rounds)
    static = has_static_libpython(pyentry)
    for what, own, least in zip(("anonymous", "resident"), memory(ours), memory([true])):
        table.line(f"--healthcheck, {what}, beside true", f"{own} KiB", f"{least} KiB", own / least,
                   f"<= {MEMORY_REACH:.2f}" if static else "", own <= MEMORY_REACH * least if static else None)


def health(table, rounds):
    """Adds the lines to the table of tests/bench/run."""
    pyentry = os.environ["PYENTRY"]
    curl, true = shutil.which("curl"), shutil.which("true")
    if curl is None:
        sys.exit("bench: curl is not installed")
    with subprocess.Popen([pyentry, "-c", SERVER], stdout=subprocess.PIPE, env=ENVIRONMENT, text=True) as server:
        try:
            beside(table, rounds, f"http://127.0.0.1:{server.stdout.readline().strip()}/", curl, true)
        finally:
            server.kill()


class Table:
    """As in tests/bench/run, where this is called without it."""

    def line(self, what, ours, theirs, ratio, reach="", reached=None, beyond_noise=True):
        mark = {None: "", True: "reached", False: "MISSED" if beyond_noise else "missed within noise"}[reached]
        print(f"{what:40}{ours:>12}{theirs:>12}{ratio:8.3f}  {reach:10}{mark}", flush=True)


if __name__ == "__main__":
    health(Table(), 60)
