"""The init: pyentry as PID 1, and as a subreaper with --init=always.

Here: the modes that all tests of the init run in, the exit status, and reaping. The programs are in
probes/init_family.py.
"""

import functools
import os
import random
import re
import signal
import subprocess

import pytest

from harness import (PROBES, PYENTRY, PYTHON, Child, attempt, first_child, gather, in_pid_namespace, is_gone, no_core, run,
                     state_of, status_field, until)

FAMILY = str(PROBES / "init_family.py")
TERM, INT, KILL, CONT, STOP = signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGCONT, signal.SIGSTOP
MODES = ("pid1", "always")
SETTING = ["-I", "-S"]  # where Python's own start does not matter


@pytest.fixture(params=MODES)
def mode(request):
    if request.param == "pid1":
        request.getfixturevalue("pid_one")
    return request.param


def command(mode, *args):
    """The command line that starts pyentry in this mode."""
    return {"pid1": lambda: [*in_pid_namespace(), PYENTRY, *args],
            "bare": lambda: [*in_pid_namespace(), PYENTRY, "--init=never", *args],
            "always": lambda: [PYENTRY, "--init=always", *args],
            "never": lambda: [PYENTRY, "--init=never", *args]}[mode]()


def after_signal(mode, number):
    """What a parent sees of a pyentry whose Python was ended by this signal."""
    as_it_is = mode == "always" and number in (TERM, INT)
    return -number if as_it_is else 128 + number


def executable(pid):
    try:
        return os.path.realpath(f"/proc/{pid}/exe")
    except OSError:
        return ""


def is_init(pid):
    """Whether it is a pyentry that has a child: from then on it takes signals as an init does."""
    return executable(pid) == os.path.realpath(PYENTRY) and first_child(pid) is not None


def init_below(pid):
    """The first init from this process down, or None."""
    while pid is not None and not is_init(pid):
        pid = first_child(pid)
    return pid


class Init(Child):
    """A supervising pyentry. init and python are the process ids of the two, as they are seen from here."""

    def __init__(self, mode, *args, prefix=(), **options):
        super().__init__(*prefix, *command(mode, *args), **options)
        self.mode = mode

    @functools.cached_property
    def init(self):
        return until(self._find_init, f"an init, so far {self.seen()}")

    def _find_init(self):
        assert self.process.poll() is None, f"ended: {self.process.returncode}, {self.seen()}"
        return init_below(self.pid)

    @functools.cached_property
    def python(self):
        return until(lambda: first_child(self.init), "Python")

    def tell(self, number):
        """A signal to the init."""
        os.kill(self.init, number)

    def __enter__(self):
        try:
            assert self.init and self.python
        except BaseException:
            self.__exit__()
            raise
        return self


def family(mode, *args, options=(), **more):
    """A running probes/init_family.py."""
    return Init(mode, *options, FAMILY, "REPORT", *map(str, args), report=True, **more)


def children_of(pid):
    """{process id: state}"""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid:
            found[int(name)] = state
    return found


def last_words(child):
    return child.err.all().decode()


# --- the exit status

def test_every_exit_code(mode):
    """The codes 0 to 255 are the container's, by sys.exit and by _exit, with nothing said."""
    def end(code):
        way = "import sys; sys.exit" if code % 2 else "import os; os._exit"
        done = run(command(mode, *SETTING, "-c", f"{way}({code})"))
        return None if (done.returncode, done.stdout, done.stderr) == (code, b"", b"") else (code, done)

    assert list(filter(None, gather(end, range(256)))) == []


def test_python_does_not_start(mode):
    """What python says of a bad command line, a missing file or an exception is what the init ends with."""
    for args, status in ((["-Z"], 2), (["/nonexistent.py"], 2), (["-c", "1/0"], 1), (["-m", "no.such"], 1),
                         (["-c", "raise SystemExit('x')"], 1)):
        done = run(command(mode, *args))
        assert (done.returncode, done.stdout) == (status, b"") and not done.stderr.startswith(b"pyentry: "), args


def test_death_by_every_signal(mode):
    """128+n, as a subreaper SIGINT by the signal itself; one line that names it, of SIGINT none."""
    quiet = {signal.SIGCHLD, CONT, signal.SIGURG, signal.SIGWINCH, STOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
    numbers = [n for n in range(1, 65) if n not in quiet and n not in (32, 33)]

    def die(number):
        reset = "" if number == KILL else f"signal.signal({number}, signal.SIG_DFL);"
        done = run(command(mode, *SETTING, "-c", f"import os, signal; {reset} os.kill(os.getpid(), {number})"),
                   preexec_fn=no_core)
        line = rf"pyentry: Python was ended by signal {number} \([^)]+\) after \d+\.\d s\n"
        assert done.returncode == (after_signal(mode, number) if number == INT else 128 + number), done
        assert re.fullmatch("" if number == INT else line, done.stderr.decode()), done
        return None

    assert list(filter(None, gather(lambda number: attempt(die, number), numbers))) == []


@pytest.mark.parametrize("name, end", [("Segmentation fault", "import ctypes; ctypes.string_at(0)"),
                                       ("Aborted", "import os; os.abort()"),
                                       ("Killed", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")])
def test_the_verdict(mode, name, end):
    """One line, the last, in one write; a crash has its traceback before it."""
    done = run(command(mode, "-c", end), preexec_fn=no_core)
    number = {"Segmentation fault": 11, "Aborted": 6, "Killed": 9}[name]
    *before, last = done.stderr.decode().splitlines()
    assert re.fullmatch(rf"pyentry: Python was ended by signal {number} \({name}\) after \d+\.\d s", last)
    assert done.returncode == 128 + number
    assert before == [] if name == "Killed" else before[0].startswith("Fatal Python error")
    assert not any(line.startswith("pyentry: ") for line in before)


def test_the_verdict_says_how_long_it_lived(mode):
    """The time since the start, in seconds."""
    done = run(command(mode, *SETTING, "-c", "import os, time; time.sleep(1.2); os.kill(os.getpid(), 9)"))
    assert 1.2 <= float(re.search(r"after (\d+\.\d) s", done.stderr.decode())[1]) < 6


def test_sigterm_and_sigint(mode):
    """SIGTERM: clean-up, then 143 or the signal; SIGINT: python's traceback; no line of ours in either case."""
    code = "import time\ntry: print('ready'); time.sleep(600)\nfinally: print('finally')"
    for number in (TERM, INT):
        with Init(mode, "-c", code) as child:
            child.out.wait("ready\n")
            child.tell(number)
            assert child.wait() == after_signal(mode, number)
            assert child.out.all() == b"ready\nfinally\n"
            assert (b"KeyboardInterrupt" in child.err.all()) == (number == INT) and b"pyentry" not in child.err.all()


@pytest.mark.parametrize("status", [0, 7])
def test_term_status(mode, status):
    """--term-status is the status of a stop that SIGTERM asked for, also where the program has no clean-up left."""
    for code in ("import time; print('ready'); time.sleep(600)",
                 "import signal, time; signal.signal(15, signal.SIG_DFL); print('ready'); time.sleep(600)"):
        with Init(mode, f"--term-status={status}", "-c", code) as child:
            child.out.wait("ready\n")
            child.tell(TERM)
            assert (child.wait(), child.err.all()) == (status, b"")


def test_a_sigterm_that_was_not_asked_for(mode):
    """A SIGTERM that somebody sends to Python itself is no stop of the init's; the status is no success."""
    with Init(mode, "--term-status=0", "-c", "import signal, time\nsignal.signal(15, signal.SIG_DFL)\n"
              "print('ready'); time.sleep(600)") as child:
        child.out.wait("ready\n")
        os.kill(child.python, TERM)
        assert child.wait() == 128 + TERM
        assert "ended by signal 15" in last_words(child)


# --- reaping

def test_a_thousand_orphans(mode):
    """All adopted, all reaped, whatever their codes; Python's own status stays Python's."""
    with family(mode, "orphans", 1000) as child:
        child.report.wait("orphaned\n")
        until(lambda: len(children_of(child.init)) == 1001, "1,000 orphans and Python below the init")
        child.type("go\n")
        child.report.wait("ready\n")
        until(lambda: set(children_of(child.init)) == {child.python}, "all of them reaped")
        assert state_of(child.init) in "SR"
        child.type("go\n")
        assert (child.wait(), child.err.all()) == (9, b"")


def test_an_orphan_that_was_dead_before(mode):
    """A zombie that is handed over, not one that ends here, is reaped too."""
    code = ("import os\nparent = os.fork()\n"
            "if parent == 0:\n    if os.fork() == 0: os._exit(3)\n    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)\n"
            "    os._exit(4)\n"
            "assert os.waitpid(parent, 0)[1] == 4 << 8\nprint('left'); input()")
    with Init(mode, *SETTING, "-c", code) as child:
        child.out.wait("left\n")
        until(lambda: set(children_of(child.init)) == {child.python}, "the zombie reaped")
        child.type("\n")
        assert child.wait() == 0


def test_subprocess_under_load(mode):
    """2,000 children with random codes, each exactly what subprocess reports, while orphans die around them."""
    with family(mode, "load", 2000, options=SETTING) as child:
        assert child.wait(90) == 0
        assert child.report.all() == b"wrong []\n"


def test_every_way_to_wait(mode):
    """os.wait, waitid, multiprocessing, asyncio and Popen see their own children's ends, none is taken away."""
    code = ("import asyncio, multiprocessing, os, subprocess, sys\n"
            "got = []\n"
            "async def main():\n"
            "    p = await asyncio.create_subprocess_exec('sh', '-c', '(:) & exit 3')\n    got.append(await p.wait())\n"
            "asyncio.run(main())\n"
            "p = multiprocessing.get_context('fork').Process(target=os._exit, args=(4,))\n"
            "p.start(); p.join(); got.append(p.exitcode)\n"
            "if os.fork() == 0: os._exit(5)\n"
            "got.append(os.wait()[1] >> 8)\n"
            "pid = os.posix_spawn('/bin/sh', ['sh', '-c', 'kill -9 $$'], {})\n"
            "got.append(os.waitid(os.P_PID, pid, os.WEXITED).si_status)\n"
            "got.append(os.system('exit 6') >> 8)\n"
            "try: os.wait()\nexcept ChildProcessError: got.append('none left')\n"
            "print(got)\n")
    done = run(command(mode, "-c", code))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"[3, 4, 5, 9, 6, 'none left']\n", b"")


def test_the_status_among_coalesced_ends(mode):
    """Python ends in the middle of a flood of orphans' ends: its status, each time."""
    code = ("import os, signal\nsignal.signal(15, signal.SIG_DFL)\nr, w = os.pipe()\n"
            "if os.fork() == 0:\n"
            "    for n in range(200):\n        if os.fork() == 0: os.close(w); os.read(r, 1); os._exit(1)\n"
            "    os._exit(0)\n"
            "os.wait()\nos._exit(42)")
    ends = gather(lambda _: run(command(mode, *SETTING, "-c", code)), range(20))
    assert [(end.returncode, end.stderr) for end in ends] == [(42, b"")] * 20


# --- who ends with whom

def test_sigkill_of_a_subreaper():
    """A killed pyentry leaves no Python behind, also one that had just been started."""
    def kill(number):
        with Init("always", "-c", "import time; print('ready'); time.sleep(600)") as child:
            if number % 2:
                child.out.wait("ready\n")
            python = child.python
            child.tell(KILL)
            child.wait()
            until(lambda: is_gone(python), "Python gone")
            return child.process.returncode

    assert gather(kill, range(10)) == [-KILL] * 10


def test_never():
    """--init=never runs Python in this very process, as PID 1 too, and auto does where it is not PID 1."""
    code = "import os; print(os.getpid(), os.getppid())"
    bare = run(command("bare", *SETTING, "-c", code))
    assert bare.stdout == b"1 0\n"
    for args in (["--init=never"], ["--init=auto"], []):
        with Child(PYENTRY, *args, "-c", f"{code}; input()") as child:
            child.out.wait(f"{child.pid} {os.getpid()}\n")
            child.type("\n")
            assert child.wait() == 0


def test_who_is_who(mode):
    """Python is the init's child: PID 2 below PID 1; sys.executable and argv are as without an init."""
    code = "import os, sys; print(os.getppid(), sys.argv, sys.executable); input()"
    with Init(mode, "-c", code, "x") as child:
        parent = 1 if mode == "pid1" else child.init
        child.out.wait(f"{parent} ['-c', 'x'] {PYENTRY}\n")
        assert executable(child.python) == os.path.realpath(PYENTRY)
        child.type("\n")
        assert child.wait() == 0


def test_the_probes_can_fail():
    """The stock interpreter as PID 1 does not pass: it keeps its orphans as zombies."""
    with Child(*in_pid_namespace(), PYTHON, FAMILY, "REPORT", "orphans", "100", report=True) as child:
        child.report.wait("orphaned\n")
        python = first_child(child.pid)
        child.type("go\n")
        child.report.wait("ready\n")
        until(lambda: list(children_of(python).values()).count("Z") == 100, "zombies")
        child.type("go\n")
        assert child.wait() == 9


# --- starting and stopping, often

CYCLES = int(os.environ.get("PYENTRY_TEST_CYCLES", "300"))
WORK = ("import os, signal, subprocess, sys\n"
        "signal.signal(signal.SIGUSR1, lambda *unused: None)\nsignal.signal(signal.SIGHUP, lambda *unused: None)\n"
        "if os.fork() == 0:\n    if os.fork() == 0: signal.pause()\n    os._exit(0)\n"
        "os.wait()\nos.write(1, b'r')\n"
        "for n in range(3): assert subprocess.call(['true']) == 0\n"
        "os._exit(5)")


def cycle(number):
    """One start with signals at random moments: "" when it came to one of the ends that are allowed."""
    rng = random.Random(number)
    mode = MODES[number % 2]
    with Child(*command(mode, *SETTING, "-c", WORK)) as child:
        sent = set()
        target = None
        while child.process.poll() is None and len(sent) < 4:
            target = target or init_below(child.pid)
            if target is None:
                continue
            with_timeout(child, rng.random() * 0.02)
            if child.process.poll() is None:
                number_sent = rng.choice([TERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGWINCH, CONT])
                try:
                    os.kill(target, number_sent)
                except ProcessLookupError:
                    break
                sent.add(number_sent)
        status = child.wait()
    allowed = {5} | {after_signal(mode, n) for n in sent & {TERM, signal.SIGUSR1, signal.SIGHUP}}
    if status in allowed and (target is None or is_gone(target)):
        return ""
    return f"{mode}, seed {number}: status {status} after {sorted(sent)}, {child.seen()}"


def with_timeout(child, seconds):
    """The random moment: it is what is tested."""
    try:
        child.process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass


def test_cycles():
    """Starts and stops with signals at random moments: no hang, no lost status, no zombie, nobody left.

    PYENTRY_TEST_CYCLES sets how many.
    """
    assert "\n".join(filter(None, gather(lambda number: attempt(cycle, number), range(CYCLES)))) == ""
    assert [pid for pid in children_of(os.getpid()) if executable(pid) == os.path.realpath(PYENTRY)] == []


def test_the_init_does_not_grow(mode):
    """Thousands of orphans and signals later the init has the descriptors and the memory that it had."""
    code = ("import os, signal\nsignal.signal(signal.SIGUSR1, lambda *unused: None)\nprint('ready')\n"
            "while input() == 'go':\n"
            "    for n in range(100):\n"
            "        if os.fork() == 0:\n            if os.fork(): os._exit(0)\n            os._exit(0)\n"
            "        os.wait()\n"
            "    print('done')")

    def size():
        return os.listdir(f"/proc/{child.init}/fd"), status_field(child.init, "VmData")

    with Init(mode, *SETTING, "-c", code) as child:
        at = child.out.wait("ready\n")
        sizes = []
        for _ in range(6):
            for _ in range(100):
                child.tell(signal.SIGUSR1)
            child.type("go\n")
            at = child.out.wait("done\n", at)
            sizes.append(size())
        assert sizes[1:] == sizes[:1] * 5
        child.type("\n")
        assert child.wait() == 0
