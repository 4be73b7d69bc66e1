"""The end: the stop timeline that the init keeps, and what Python leaves behind.

The programs are in probes/stuck.py and probes/init_family.py.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from harness import PROBES, PYENTRY, Child, clean_env, is_gone, run, until, wait_asleep
from test_init import (FAMILY, KILL, TERM, Init, after_signal, children_of, family, last_words,
                       mode)  # noqa: F401  (a fixture)

STUCK = str(PROBES / "stuck.py")
SOON = ["--stop-report=300ms", "--stop-timeout=1500ms"]
KILLED = re.compile(r"pyentry: still running 1\.[5-9] s after SIGTERM: killed, as --stop-timeout says")
GRACE = 2.0


class Timed(Init):
    """A running probes/stuck.py whose stderr keeps each write apart: blocks() gives (seconds after SIGTERM, text)."""

    def __init__(self, mode, place, *options):
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.settimeout(20)
        super().__init__(mode, *options, STUCK, "REPORT", place, report=True, stderr=theirs)
        theirs.close()
        self.report.wait("ready\n")

    def stop(self):
        wait_asleep(self.python)
        self.sent = time.monotonic()
        self.tell(TERM)

    def blocks(self):
        """Up to the end of stderr, which is the end of the last who has it."""
        found = []
        while True:
            block = self.ours.recv(1 << 20)
            if not block:
                return found
            found.append((time.monotonic() - self.sent, block.decode()))

    def __exit__(self, *exc_info):
        super().__exit__(*exc_info)
        self.ours.close()


# --- the timeline

@pytest.mark.parametrize("place", ["stuck_with_gil", "stuck_without_gil", "own_handler_that_hangs"])
def test_stuck(mode, place):
    """The report at --stop-report, one block with frames and time; the kill at --stop-timeout, one line; 137."""
    with Timed(mode, place, *SOON) as stuck:
        stuck.stop()
        (after, report), (killed_after, line) = stuck.blocks()
        assert stuck.wait() == 128 + KILL
        assert 0.29 <= after < 1.4 and re.match(r"pyentry: still running 0\.[3-9] s after SIGTERM", report)
        where = "hanging_handler" if place == "own_handler_that_hangs" else "locked_mutex"
        assert re.search(rf'File ".*stuck\.py", line \d+ in {where}\b', report) and f"in {place}" in report
        assert 1.49 <= killed_after < 3 and KILLED.fullmatch(line.rstrip("\n"))


def test_all_threads(mode):
    """Every thread is in the report, with the GIL held for ever by the main thread."""
    with Timed(mode, "threads_with_gil", *SOON) as stuck:
        stuck.stop()
        (_, report), _ = stuck.blocks()
        for function in ("stuck_with_gil", "waiting_worker", "looping_worker"):
            assert f"in {function}" in report, report


def test_no_timeline_without_sigterm(mode):
    """SIGINT, SIGHUP and the rest start no clock."""
    code = ("import signal, time\nfor n in (1, 2, 10): signal.signal(n, lambda *a: None)\n"
            "print('ready'); end = time.monotonic() + 1\nwhile time.monotonic() < end: time.sleep(0.1)")
    with Init(mode, "--stop-report=100ms", "--stop-timeout=300ms", "-c", code) as child:
        child.out.wait("ready\n")
        for number in (1, 2, 10):
            child.tell(number)
        assert (child.wait(), child.err.all()) == (0, b"")


def test_the_first_sigterm_counts(mode):
    """A second SIGTERM does not begin the time anew."""
    with Timed(mode, "stuck_with_gil", *SOON) as stuck:
        stuck.stop()
        for _ in range(4):
            until(lambda now=time.monotonic(): time.monotonic() > now + 0.3, "a moment")
            stuck.tell(TERM)
        blocks = stuck.blocks()
        assert len(blocks) == 2 and blocks[1][0] < 3
        assert stuck.wait() == 128 + KILL


def test_in_time(mode):
    """A program that ends in time has its own end, and nothing is said."""
    with Timed(mode, "ends_at_once", "--stop-report=5s", "--stop-timeout=9s") as stuck:
        stuck.stop()
        assert (stuck.blocks(), stuck.wait()) == ([], after_signal(mode, TERM))


def test_goes_on_after_the_report(mode):
    """The report shortens nothing."""
    with Timed(mode, "slow_clean_up", "--stop-report=300ms") as stuck:
        stuck.stop()
        assert len(stuck.blocks()) == 1
        assert stuck.wait() == after_signal(mode, TERM)
        assert stuck.report.all() == b"ready\nslept True\n"


def test_never(mode):
    """--stop-report=0: no report, and the kill still comes."""
    with Timed(mode, "stuck_without_gil", "--stop-report=0", "--stop-timeout=1500ms") as stuck:
        stuck.stop()
        (_, line), = stuck.blocks()
        assert KILLED.fullmatch(line.rstrip("\n")) and stuck.wait() == 128 + KILL


def test_a_mapped_sigterm_starts_the_clock(mode):
    """TERM=USR1 is a stop, and so is USR1=TERM; TERM=0 is none."""
    code = "import signal, time\nfor n in (10, 15): signal.signal(n, lambda *a: print('got'))\nprint('ready')\n" \
           "end = time.monotonic() + {}\nwhile time.monotonic() < end: time.sleep(0.1)"
    for mapping, sent in (("TERM=USR1", TERM), ("USR1=TERM", signal.SIGUSR1)):
        with Init(mode, f"--signal-map={mapping}", "--stop-timeout=300ms", "-c", code.format(600)) as child:
            child.out.wait("ready\n")
            child.tell(sent)
            assert child.wait() == 128 + KILL, mapping
    with Init(mode, "--signal-map=TERM=0", "--stop-timeout=200ms", "-c", code.format(0.8)) as child:
        child.out.wait("ready\n")
        child.tell(TERM)
        assert (child.wait(), child.out.all(), child.err.all()) == (0, b"ready\n", b"")


def test_the_init_alone_rewrites_and_forwards(mode, tmp_path):
    """A program that executed itself again: a swapped pair of signals is not swapped back, a child hears SIGTERM once."""
    file = tmp_path / "again.py"
    file.write_text("""
import os, signal, sys, time
if len(sys.argv) == 1:
    os.execv(sys.executable, [sys.executable, __file__, "again"])
heard = []
for signum in signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP:
    signal.signal(signum, lambda signum, frame: heard.append(signum))
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, lambda signum, frame: os.write(1, b"told\\n"))
    os.write(1, b"ready\\n")
    while signal.SIGHUP not in heard:
        time.sleep(0.01)
    os._exit(0)
try:
    while signal.SIGUSR2 not in heard:
        time.sleep(0.01)
    print("heard", *map(int, heard))
    time.sleep(600)
finally:
    os.kill(child, signal.SIGHUP)
    os.waitpid(child, 0)
""")
    with Init(mode, "--signal-map=USR1=USR2,USR2=USR1", "--forward=group", str(file)) as child:
        child.out.wait("ready\n")
        child.tell(signal.SIGUSR1)
        child.out.wait(f"heard {int(signal.SIGUSR2)}\n")
        child.tell(TERM)
        assert child.wait() == after_signal(mode, TERM), child.seen()
        assert child.out.all().count(b"told\n") == 1


@pytest.mark.parametrize("options", [["--stop-report=300ms"], ["--stop-report=300ms", "--faulthandler=off"]])
def test_a_program_that_executes_itself_again(mode, options, tmp_path):
    """os.execv of sys.executable, as reloaders do it: the report is one block, and the program goes on after it."""
    file = tmp_path / "again.py"
    file.write_text("import os, sys, time\n"
                    "if len(sys.argv) == 1: os.execv(sys.executable, [sys.executable, __file__, 'again'])\n"
                    "try: print('ready'); time.sleep(600)\n"
                    "finally: time.sleep(0.9); print('cleaned')\n")
    with Init(mode, *options, str(file)) as child:
        child.out.wait("ready\n")
        wait_asleep(child.python)
        child.tell(TERM)
        assert child.wait() == after_signal(mode, TERM), child.seen()
        assert child.out.all() == b"ready\ncleaned\n"
        assert child.err.all().count(b"pyentry: still running") == 1


def test_a_program_that_became_another(mode):
    """Where another program took Python's place nobody can make the report: one line says that it runs still."""
    code = ("import os; os.execvp('sh', ['sh', '-c', "
            "'trap \"sleep 1; exit 3\" TERM; echo ready; while :; do sleep 0.1; done'])")
    with Init(mode, "--stop-report=300ms", "-c", code) as child:
        child.out.wait("ready\n")
        child.tell(TERM)
        assert child.wait() == 3
        line, = last_words(child).splitlines()
        assert re.match(r"pyentry: still running 0\.\d s after SIGTERM", line)


# 16 is SIGSTKFLT, of which Python knows the name from 3.11 on.
OWN_HANDLER = ("import os, signal, time\n{}\n"
               "try: time.sleep(0.1); print('ready'); time.sleep(600)\nfinally: time.sleep(0.8)\n")


def test_the_report_is_not_a_signal_of_the_programs(mode):
    """The signal that carries the report is the program's still: its own handler is called for its own signals only."""
    code = OWN_HANDLER.format("signal.signal(16, lambda *a: os.write(1, b'got it\\n'))\n"
                              "os.kill(os.getppid(), 16)")
    with Init(mode, "--stop-report=300ms", "-c", code) as child:
        child.out.wait("got it\nready\n")
        wait_asleep(child.python)
        child.tell(TERM)
        assert child.wait() == after_signal(mode, TERM)
        assert child.out.all() == b"got it\nready\n"
        assert len(re.findall(rb"^pyentry: still running 0\.\d s after SIGTERM; where", child.err.all(), re.M)) == 1


@pytest.mark.parametrize("way", ["signal.signal(16, signal.SIG_IGN)",
                                 "signal.pthread_sigmask(signal.SIG_BLOCK, [16])"])
def test_a_program_that_shuts_the_report_out(mode, way):
    """SIGSTKFLT ignored, or blocked and perhaps waited for with sigwait: it is not sent, one line says what there is."""
    with Init(mode, "--stop-report=300ms", "-c", OWN_HANDLER.format(way)) as child:
        child.out.wait("ready\n")
        wait_asleep(child.python)
        child.tell(TERM)
        assert child.wait() == after_signal(mode, TERM)
        assert re.fullmatch(rb"pyentry: still running 0\.\d s after SIGTERM, and cannot say where\n", child.err.all())


# --- what is left behind

@pytest.mark.parametrize("kinds", [["plain"], ["polite", "polite"], ["stopped"], ["has_children"],
                                   ["plain", "polite", "stopped", "has_children"]], ids="+".join)
def test_daemons_are_ended(mode, kinds):
    """Processes that double-forked away are asked to end, and are gone before the init is; the status is Python's."""
    with family(mode, "leaves", 6, *kinds) as child:
        child.report.wait("ready\n")
        began = time.monotonic()
        child.type("\n")
        assert (child.wait(), child.err.all()) == (6, b"")
        assert time.monotonic() - began < GRACE
        assert child.report.all(5).count(b"cleaned") == sum(kind in ("polite", "stopped") for kind in kinds)


def test_what_subprocess_leaves(mode):
    """subprocess.run(["sh", "-c", "sleep 100 & sleep 100"]): nothing of it is left after SIGTERM, in no time."""
    code = "import subprocess; print('ready'); subprocess.run(['sh', '-c', 'sleep 100 & sleep 100'])"
    with Init(mode, "-c", code) as child:
        child.out.wait("ready\n")
        sleepers = until(lambda: sleepers_below(child.python), "two sleeping")
        began = time.monotonic()
        child.tell(TERM)
        assert child.wait() == after_signal(mode, TERM)
        assert time.monotonic() - began < GRACE and all(map(is_gone, sleepers))


def sleepers_below(pid):
    below = [grandchild for child in children_of(pid) for grandchild in children_of(child)]
    return below if len(below) == 2 else None


LEFT = re.compile(r"pyentry: killed what Python had left behind: it did not end within (\d+) ms of SIGTERM\n")


@pytest.mark.parametrize("kind", ["deaf", "breeding"])
def test_the_deaf_are_killed_after_the_grace(mode, kind):
    """Who ignores SIGTERM is killed after 2 s, with one line, and who is born meanwhile too."""
    with family(mode, "leaves", 6, kind, "polite") as child:
        child.report.wait("ready\n")
        began = time.monotonic()
        child.type("\n")
        assert child.wait() == 6
        assert GRACE <= time.monotonic() - began < GRACE + 2
        assert LEFT.fullmatch(last_words(child))[1] == "2000"
        assert b"cleaned" in child.report.all(5)


def test_the_grace_is_within_the_stop_timeout(mode):
    """--stop-timeout bounds the whole stop, what is left behind included."""
    with family(mode, "leaves_when_stopped", "deaf", "polite", options=["--stop-timeout=800ms"]) as child:
        child.report.wait("ready\n")
        began = time.monotonic()
        child.tell(TERM)
        assert child.wait() == after_signal(mode, TERM)
        assert time.monotonic() - began < 1.8
        assert 0 < int(LEFT.fullmatch(last_words(child))[1]) <= 800
        child.report.all(5)


def test_the_timeout_kills_all(mode):
    """At --stop-timeout Python is killed, and what is below it in the same moment: 137."""
    code = ("import os, signal, sys, time\nsignal.signal(15, signal.SIG_IGN)\n"
            "if os.fork() == 0: os.setsid()\nos.write(int(sys.argv[1]), b'r')\ntime.sleep(600)")
    with Init(mode, "--stop-timeout=500ms", "--stop-report=0", "-c", code, "REPORT", report=True) as child:
        child.report.wait("rr")
        began = time.monotonic()
        child.tell(TERM)
        assert child.wait() == 128 + KILL
        assert time.monotonic() - began < 1.5
        child.report.all(5)


def test_sigkill_of_python_ends_the_rest(mode):
    """What a killed Python leaves is ended as well; the status is 137."""
    with family(mode, "leaves", 6, "plain", "has_children") as child:
        child.report.wait("ready\n")
        os.kill(child.python, KILL)
        assert child.wait() == 128 + KILL
        child.report.all(5)


# --- never a stranger

def test_strangers_are_left_alone():
    """As a subreaper only descendants: processes beside it, of the same group and session too, are not touched."""
    with subprocess.Popen(["sleep", "600"]) as stranger, \
            subprocess.Popen([sys.executable, "-c", "import os, time\nos.fork(); os.fork(); print(flush=True)\n"
                              "time.sleep(600)"], stdout=subprocess.PIPE) as others:
        try:
            for _ in range(4):
                others.stdout.readline()
            below = list(children_of(others.pid))
            with family("always", "leaves", 6, "deaf", "plain") as child:
                child.report.wait("ready\n")
                child.type("\n")
                assert child.wait() == 6
                child.report.all(5)
            assert not any(map(is_gone, [stranger.pid, others.pid, *below]))
        finally:
            for pid in below:
                os.kill(pid, KILL)
            others.kill()
            stranger.kill()


SIBLING = """
"$@" & inner=$!
sleep 600 & stranger=$!
wait $inner; echo status $?
kill -0 $stranger && echo stranger lives
"""


def test_below_another_init(pid_one):
    """A shared PID namespace, pyentry not its PID 1: the other processes in it live on."""
    with Child(*pid_one, "sh", "-c", SIBLING, "sh", PYENTRY, "--init=always", FAMILY, "REPORT", "leaves", "6", "deaf",
               report=True) as child:
        child.report.wait("ready\n")
        child.out.wait("status 6\nstranger lives\n")


def test_never_kill_minus_one(tmp_path):
    """Not PID 1: no signal to everybody, to a group of strangers, or to PID 1, in a whole life with leftovers."""
    log = tmp_path / "calls"
    done = run(["strace", "-f", "-qq", "-e", "trace=kill,tkill,tgkill,rt_sigqueueinfo,pidfd_send_signal", "-e",
                "signal=none", "-o", str(log), PYENTRY, "--init=always", "--forward=group", FAMILY, "1", "leaves", "6",
                "deaf", "has_children"], input=b"\n")
    assert done.returncode == 6
    targets = [int(target) for target in re.findall(r"\b(?:kill|rt_sigqueueinfo)\((-?\d+),", log.read_text())]
    assert len(targets) > 3 and all(target > 1 for target in targets), targets


def test_proc_of_another_namespace(tmp_path):
    """/proc shows another PID namespace: its numbers mean other processes here, and none of those is touched."""
    script = ("import os, signal, subprocess, sys, time\n"
              "def start_as(number, argv):\n"
              "    open('/proc/sys/kernel/ns_last_pid', 'w').write(str(number - 1))\n"
              "    process = subprocess.Popen(argv)\n    assert process.pid == number, (process.pid, number)\n"
              "    return process\n"
              "outer, below = map(int, sys.argv[1:3])\n"
              "stranger = start_as(below, ['sleep', '600'])\n"
              "program = start_as(outer, sys.argv[3:])\n"
              "print('status', program.wait())\n"
              "print('stranger', stranger.poll())\n")
    outer = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    code = ("import os, signal, time\nr, w = os.pipe()\n"
            "if os.fork() == 0:\n    signal.signal(15, signal.SIG_IGN); os.write(w, b'r'); time.sleep(600)\n"
            "os.read(r, 1); os._exit(6)\n")
    file = tmp_path / "script.py"
    file.write_text(script)
    with subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, env=clean_env()) as above:
        below = int(above.stdout.readline())
        try:
            done = run(["unshare", "--pid", "--fork", "--kill-child", sys.executable, str(file), str(above.pid),
                        str(below), PYENTRY, "--init=always", "-c", code])
        finally:
            os.kill(below, KILL)
            above.kill()
    assert done.stdout == b"status 6\nstranger None\n", done


def test_a_daemon_started_through_sys_executable(mode):
    """A daemon that a short-lived Python starts lives as long as the program, and is ended with it."""
    with family(mode, "through_itself") as child:
        child.report.wait("daemons 1\n")
        child.type("\n")
        assert child.wait() == 0
        child.report.all(5)
