"""The init beside tini and dumb-init: how fast it passes a signal on, and what memory is its own.

    PYENTRY=... tests/bench/init.py [OTHER-PYENTRY...]

Every init is PID 1 of a PID namespace of its own.  Below it runs a program that sends SIGUSR1 to PID 1 and waits for
it to come back, over and over; below pyentry that is pyentry's Python, below the others the stock one.  The memory is what the
init alone has: Private_* in smaps_rollup, while the program waits.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys

MEMORY_REACH = 1.5  # times tini's
NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]

# No handler: sigtimedwait takes the signal without a detour through the interpreter's loop.
PROGRAM = """
import os, signal, sys, time
rounds, own = int(sys.argv[1]), {signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, own)
for _ in range(rounds):
    began = time.perf_counter()
    os.kill(1, signal.SIGUSR1)
    signal.sigwaitinfo(own)
    print(time.perf_counter() - began)
print("done", flush=True)
sys.stdin.read()
"""


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(size) for size in re.findall(r"^Private_\w+: +(\d+) kB$", file.read(), re.MULTILINE))


def first_child(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return int(file.read().split()[0])


def measure(command, rounds):
    """(median seconds from kill to arrival, private KiB of the init)."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYENTRY"))}
    with subprocess.Popen([*NAMESPACE, *command, "-c", PROGRAM, str(rounds)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, env=environment, text=True) as process:
        took = [float(line) for line in iter(process.stdout.readline, "done\n") if line]
        memory = private_kib(first_child(process.pid))
        process.stdin.close()
    if process.returncode:
        sys.exit(f"{' '.join(command)}: status {process.returncode}")
    return statistics.median(took), memory


def inits(table, rounds, others=()):
    """Adds the lines to the table of tests/bench/run."""
    python = os.environ["PYTHON"]
    for name in ("tini", "dumb-init", "unshare"):
        if not shutil.which(name):
            sys.exit(f"bench: {name} is not installed")
    tini = ["tini", "--", python]
    dumb = ["dumb-init", python]
    measure(tini, rounds)
    tini_latency, tini_memory = measure(tini, rounds)
    lines = [("pyentry", [os.environ["PYENTRY"]])] + [(name, [name]) for name in others] + [("dumb-init", dumb)]
    for name, command in lines:
        latency, memory = measure(command, rounds)
        table.line(f"{name}: a signal passed on, beside tini", f"{latency * 1e6:.0f} us", f"{tini_latency * 1e6:.0f} us",
                   latency / tini_latency)
        if name == "dumb-init":
            table.line(f"{name}: private memory, beside tini", f"{memory} KiB", f"{tini_memory} KiB", memory / tini_memory)
        else:
            ratio = memory / tini_memory
            table.line(f"{name}: init's private memory, beside tini", f"{memory} KiB", f"{tini_memory} KiB", ratio,
                       f"<= {MEMORY_REACH:.2f}", ratio <= MEMORY_REACH)


class Table:
    """As in tests/bench/run, where this is called without it."""

    def line(self, what, ours, theirs, ratio, reach="", reached=None):
        mark = {None: "", True: "reached", False: "MISSED"}[reached]
        print(f"{what:50}{ours:>12}{theirs:>12}{ratio:8.3f}  {reach:10}{mark}", flush=True)


if __name__ == "__main__":
    inits(Table(), 5000, sys.argv[1:])
