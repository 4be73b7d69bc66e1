"""SIGTERM raises pyentry.Terminated in the main thread, wherever that is: clean-up runs, nothing is printed,
and the process ends by SIGTERM itself; as PID 1 with status 143; with --term-status=N with status N.

The places where the main thread can be are the functions of probes/blocking.py.
"""

import ast
import contextlib
import os
import resource
import signal

import pytest

from harness import (PROBES, PYENTRY, VERSION, Child, attempt, catches, first_child, gather, is_gone, pyentry, run,
                     wait_asleep)

BLOCKING = str(PROBES / "blocking.py")
TERM = signal.SIGTERM
KEEPS_RUNNING = {  # places where the main thread does not sleep, or not at once
    "busy_loop", "busy_with_threads", "regular_expression", "big_number", "import_loop", "generator",
    "sqlite_function", "sqlite_progress",
    "prints_into_full_pipe"}


def functions(path):
    """Names of the functions of a probe, in order."""
    return [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]


PLACES = functions(PROBES / "blocking_calls.py") + functions(PROBES / "blocking_places.py")
PLACES.remove("asyncio_busy")  # at many moments: test_sigterm_window.py
EXTRA = {  # what a place reports besides "caught", "finally" and "atexit"
    "with_block": ["released"], "asyncio_run": ["task 0", "task 1", "task 2", "main task"],
    "asyncio_cleanup": ["awaited in finally"], "asyncio_executor": ["task"], "asyncio_run_forever": ["loop closed"],
    "subprocess_that_ignores": ["killed -9"], "in_del_with_cleanup": ["del finally"]}


@contextlib.contextmanager
def unread_pipe():
    ours, theirs = os.pipe()
    try:
        yield theirs
    finally:
        os.close(ours)
        os.close(theirs)


def stop_at(place, *options, prefix=()):
    """(status, report lines without "ready", stderr) of a program that gets SIGTERM in a place.

    Nobody reads its stdout, so that it can be full.
    """
    with unread_pipe() as stdout, Child(*prefix, PYENTRY, *options, BLOCKING, "REPORT", place, report=True,
                                        stdout=stdout) as child:
        child.report.wait("ready\n")
        pid = first_child(child.pid) if prefix else child.pid
        if place not in KEEPS_RUNNING:
            wait_asleep(pid)
        os.kill(pid, TERM)
        status = child.wait()
        lines = child.report.all().decode().splitlines()
        return status, [line for line in lines if line != "ready"], child.err.all()


def wrong_end(place, outcome, expected_status=-TERM, code=143):
    """"" when the program ended as promised, else what was wrong."""
    status, lines, err = outcome
    words = [line for line in lines if not line.startswith("child ")]
    promised = {f"caught {code}", "finally", "atexit", *EXTRA.get(place, [])}
    if status != expected_status or err or set(words) != promised or len(words) != len(promised):
        return f"{place}: status {status}, report {lines}, stderr {err.decode()!r:.600}"
    return "" if words[-2:] == ["finally", "atexit"] else f"{place}: order {words}"


def failures(places, *options, prefix=(), status=-TERM, code=143):
    def check(place):
        return wrong_end(place, stop_at(place, *options, prefix=prefix), status, code)
    return "\n".join(filter(None, gather(lambda place: attempt(check, place), places, at_once=6)))


def test_every_place():
    """In every blocking call: finally, with and atexit run, nothing is printed, the process dies by SIGTERM."""
    assert failures(PLACES) == ""


CORE = ["sleep", "lock", "thread_join", "select_call", "subprocess_run", "system", "asyncio_run", "accept", "read_pipe",
        "print_into_full_pipe", "importing", "busy_loop", "in_del"]


def test_as_pid_one(pid_one):
    """As PID 1, where no signal can end the process, the status is 143; the rest is the same."""
    assert failures(CORE, "--init=never", prefix=pid_one, status=143) == ""


def test_term_status():
    """--term-status=N: the exception has code N and the program exits with N."""
    assert failures(["sleep", "asyncio_run", "lock"], "--term-status=0", status=0, code=0) == ""
    assert failures(["sleep", "select_call"], "--term-status", "5", status=5, code=5) == ""
    assert failures(["sleep"], "--term-status=143", status=143) == ""


def test_term_status_as_pid_one(pid_one):
    """--term-status holds for PID 1 too."""
    assert failures(["sleep"], "--init=never", "--term-status=0", prefix=pid_one, status=0, code=0) == ""


# --- what the program does with it. A program has say(), a line to the report, and wait(), which says READY.

START = """
import atexit, os, pyentry, signal, sys, threading, time


def say(*words):
    os.write(int(sys.argv[1]), (" ".join(map(str, words)) + "\\n").encode())


def wait():
    say("READY")
    time.sleep(600)


"""


def stop_program(code, *options, signals=(TERM,), **extra):
    """(status, report after READY, stdout, stderr) of START + code, signalled once it is ready."""
    with Child(PYENTRY, *options, "-c", START + code, "REPORT", report=True, **extra) as child:
        child.report.wait("READY\n")
        if signals:
            wait_asleep(child.pid)
        for signum in signals:
            child.send(signum)
        status = child.wait()
        return status, child.report.all().decode().split("READY\n")[1], child.out.all(), child.err.all()


def ended(code, *options, **extra):
    """(status, report) of a program that must not write anything to its streams."""
    status, report, out, err = stop_program(code, *options, **extra)
    assert (out, err) == (b"", b"")
    return status, report


CATCH = """
try:
    wait()
except SystemExit as e:
    main = threading.current_thread() is threading.main_thread()
    say(type(e).__module__, type(e).__name__, e.code, isinstance(e, pyentry.Terminated), main)
    raise
"""


def test_what_is_raised():
    """It is pyentry.Terminated, a SystemExit with code 143, in the main thread."""
    assert ended(CATCH) == (-TERM, "pyentry Terminated 143 True True\n")


def test_except_exception_does_not_catch_it():
    """`except Exception` lets it pass; `except BaseException` sees it."""
    assert ended("while True:\n try: wait()\n except Exception: say('caught')\n") == (-TERM, "")
    code = "try: wait()\nexcept BaseException as e: say(type(e).__name__)\n"
    assert ended(code) == (0, "Terminated\n")


@pytest.mark.parametrize("code, status", [
    ("try: wait()\nexcept pyentry.Terminated: sys.exit(3)", 3),
    ("try: wait()\nexcept pyentry.Terminated: sys.exit(0)", 0),
    ("try: wait()\nexcept pyentry.Terminated: sys.exit()", 0),
    ("try: wait()\nexcept pyentry.Terminated: pass", 0),
    ("try: wait()\nexcept pyentry.Terminated: os._exit(4)", 4),
    ("try: wait()\nexcept pyentry.Terminated: raise", -TERM),
    ("try: wait()\nexcept pyentry.Terminated as e: raise e from None", -TERM),
    ("try: wait()\nexcept pyentry.Terminated as e: saved = e\nraise saved", -TERM),
    ("try: wait()\nfinally: sys.exit(6)", 6),
    ("def f():\n try: wait()\n finally: return\nf()", 0),
    ("def f():\n try: wait()\n finally: return\nf()\nsys.exit(9)", 9),
    ("atexit.register(os._exit, 7)\nwait()", 7),
    ("sys.excepthook = lambda *a: say('hook')\nwait()", -TERM)])
def test_the_status_is_the_programs(code, status):
    """A status that the program gives is never replaced; only an unhandled Terminated ends by SIGTERM."""
    assert ended(code) == (status, "")


def test_an_exit_with_the_code_of_the_exception():
    """sys.exit(e.code) after clean-up: 143 to a shell, whether by the status or by the signal."""
    assert ended("try: wait()\nexcept pyentry.Terminated as e: sys.exit(e.code)")[0] in (143, -TERM)


def test_an_error_during_clean_up_is_an_error():
    """An exception raised while Terminated is handled is uncaught as in python: a traceback and status 1."""
    status, _, out, err = stop_program("try: wait()\nfinally: 1/0")
    assert (status, out) == (1, b"") and err.endswith(b"ZeroDivisionError: division by zero\n")


def test_raised_by_the_program_itself():
    """A program that raises Terminated itself, or exits with 143, gets what it asked for."""
    assert run(["sh", "-c", '"$0" -c "import pyentry; raise pyentry.Terminated"; echo $?', PYENTRY]).stdout == b"143\n"
    assert pyentry("-c", "import sys; sys.exit(143)").returncode == 143
    assert pyentry("-c", "raise SystemExit(143)").returncode == 143


def test_ways_to_get_it():
    """kill by the program itself, raise_signal and pthread_kill raise it at once, in the main thread."""
    for send in ("os.kill(os.getpid(), 15)", "signal.raise_signal(15)",
                 "signal.pthread_kill(threading.get_ident(), 15)"):
        done = pyentry("-c", f"import os, signal, sys, threading\ntry:\n {send}\n print('not reached')\n"
                       "except SystemExit as e:\n print(e.code)\n raise")
        assert (done.returncode, done.stdout, done.stderr) == (-TERM, b"143\n", b""), send


DELIVERED = """
def work():
    say("READY")
    while open(f"/proc/self/stat").read().rpartition(")")[2].split()[0] != "S":
        pass
    signal.pthread_kill(threading.get_ident(), 15)
    time.sleep(600)


threading.Thread(target=work, daemon=True).start()
try:
    PLACE
finally:
    say("finally")
"""


def test_sent_to_another_thread():
    """Whichever thread the kernel gives it to, the main thread gets it, also asleep or waiting for a lock."""
    for place in ("time.sleep(600)", "threading.Event().wait()", "os.read(os.pipe()[0], 1)"):
        assert ended(DELIVERED.replace("PLACE", place), signals=()) == (-TERM, "finally\n"), place


BLOCKED = """
signal.pthread_sigmask(signal.SIG_BLOCK, {15})
say("READY")
signal.sigtimedwait({10}, 0.5)
say("blocked")
try:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {15})
    time.sleep(600)
finally:
    say("finally")
"""


def test_main_thread_that_blocks_it():
    """A blocked SIGTERM waits until it is unblocked, and sigwait can take it, as in python."""
    code = "signal.pthread_sigmask(signal.SIG_BLOCK, {15})\nsay('READY')\nsay(int(signal.sigwait({15})))"
    assert ended(code) == (0, "15\n")
    assert ended(BLOCKED) == (-TERM, "blocked\nfinally\n")


CLEAN_UP = """
try:
    wait()
finally:
    say("cleaning")
    line = sys.stdin.readline()
    time.sleep(0.1)
    say("cleaned", line.strip())
"""


def test_only_once():
    """More SIGTERMs during clean-up, while it works and while it waits, change nothing."""
    with Child(PYENTRY, "-c", START + CLEAN_UP, "REPORT", report=True) as child:
        child.report.wait("READY\n")
        child.send()
        child.report.wait("cleaning\n")
        for _ in range(5):
            child.send()
        wait_asleep(child.pid)
        child.send()
        child.type("x\n")
        assert child.wait() == -TERM
        assert child.report.all().endswith(b"cleaning\ncleaned x\n") and child.err.all() == b""


def test_many_at_once():
    """Twenty SIGTERM in a row are one Terminated."""
    code = "try: wait()\nexcept pyentry.Terminated:\n say('caught')\n time.sleep(0.3)\n say('still here')\n raise\n"
    assert ended(code, signals=[TERM] * 20) == (-TERM, "caught\nstill here\n")


def test_getsignal():
    """signal.getsignal(SIGTERM) shows pyentry's handler."""
    done = pyentry("-c", "import signal; h = signal.getsignal(signal.SIGTERM); "
                   "print(callable(h), 'pyentry' in repr(h) + str(getattr(h, '__module__', '')))")
    assert done.stdout == b"True True\n"


FINALLY = "try: wait()\nfinally: say('finally')\n"
USR1 = signal.SIGUSR1


@pytest.mark.parametrize("code, signals, expected", [
    ("signal.signal(15, lambda *a: say('own', a[0]) or sys.exit(2))\n" + FINALLY, [TERM], (2, "own 15\nfinally\n")),
    ("signal.signal(15, signal.SIG_DFL)\n" + FINALLY, [TERM], (-TERM, "")),
    ("signal.signal(15, signal.SIG_IGN)\nsignal.signal(10, lambda *a: sys.exit(8))\nwait()", [TERM, USR1], (8, "")),
    ("old = signal.signal(15, signal.SIG_IGN)\nsignal.signal(15, old)\n" + FINALLY, [TERM], (-TERM, "finally\n")),
    ("signal.signal(15, signal.default_int_handler)\ntry: wait()\nexcept KeyboardInterrupt: sys.exit(5)", [TERM],
     (5, "")),
    ("old = signal.getsignal(15)\nsignal.signal(15, lambda *a: say('mine') or old(*a))\n" + FINALLY, [TERM],
     (-TERM, "mine\nfinally\n"))],
    ids=["own", "default", "ignored", "restored", "default_int_handler", "chained"])
def test_handlers_of_the_program(code, signals, expected):
    """The program's own handler replaces pyentry's and gets the signal instead; it can be put back or called."""
    assert ended(code, signals=signals) == expected


def test_wakeup_descriptor():
    """signal.set_wakeup_fd hears of SIGTERM as it does under python."""
    code = ("import socket\nours, theirs = socket.socketpair()\ntheirs.setblocking(False)\n"
            "signal.set_wakeup_fd(theirs.fileno())\ntry: wait()\nfinally: say(ours.recv(10))")
    assert ended(code) == (-TERM, "b'\\x0f'\n")


def test_asyncio_handler():
    """loop.add_signal_handler(SIGTERM) replaces pyentry's handling."""
    code = ("import asyncio\nasync def main():\n    stop = asyncio.Event()\n"
            "    asyncio.get_running_loop().add_signal_handler(15, stop.set)\n    say('READY')\n    await stop.wait()\n"
            "    say('stopped')\nasyncio.run(main())")
    assert ended(code) == (0, "stopped\n")


TASKS = """
import asyncio
async def work(number):
    try:
        if number == 1:
            say("READY")
            os.kill(os.getpid(), 15)
            say("went on")
        await asyncio.sleep(600)
    finally:
        say("finally", number)
async def main():
    tasks = [asyncio.ensure_future(work(number)) for number in range(3)]
    AWAIT
"""
IN_A_GROUP = "async with asyncio.TaskGroup() as group: group.create_task(work(3))"
AWAITED = ["await asyncio.Event().wait()", "await asyncio.gather(*tasks)", "await asyncio.wait_for(tasks[1], 600)",
           "await asyncio.shield(tasks[1])", "await tasks[1]", "await asyncio.wait(tasks)"]
if VERSION >= (3, 11):
    AWAITED.append(IN_A_GROUP)


@pytest.mark.parametrize("awaited", AWAITED)
def test_asyncio_tasks(awaited):
    """A SIGTERM in a task's own code is the loop's, not the task's: nobody might ask for that, and it be reported."""
    status, report = ended(TASKS.replace("AWAIT", awaited) + "asyncio.run(main())", signals=())
    cleaned = [f"finally {number}" for number in range(4 if awaited == IN_A_GROUP else 3)]
    assert (status, report.splitlines()[0], sorted(report.splitlines()[1:])) == (-TERM, "went on", cleaned)


def test_asyncio_callbacks():
    """The same without tasks, and in a loop that the program runs itself."""
    code = "import asyncio\nloop = asyncio.new_event_loop()\nsay('READY')\nloop.call_soon(os.kill, os.getpid(), 15)\n"
    assert ended(code + "try: loop.run_forever()\nfinally: say('finally')", signals=()) == (-TERM, "finally\n")


BLOCKED_TASK = """
import asyncio
async def work():
    try:
        wait()
    finally:
        say("finally")
async def main():
    task = asyncio.ensure_future(work())
    await asyncio.Event().wait()
"""


@pytest.mark.parametrize("handler", ["", "signal.signal(15, lambda *args, old=signal.getsignal(15): old(*args))\n"],
                         ids=["pyentry's", "chained"])
def test_asyncio_task_that_blocks(handler):
    """Where the loop does not come to it, the exception is raised in the task."""
    status, report, out, _ = stop_program(BLOCKED_TASK + handler + "asyncio.run(main())")
    assert (status, report, out) == (-TERM, "finally\n", b"")


def test_inherited_ignore():
    """SIGTERM ignored by the parent stays ignored, as CPython keeps SIGINT ignored."""
    code = "say(signal.getsignal(15) == signal.SIG_IGN)\nsignal.signal(10, lambda *a: sys.exit(8))\nwait()"

    def ignore():
        signal.signal(TERM, signal.SIG_IGN)

    with Child(PYENTRY, "-c", START + code, "REPORT", report=True, preexec_fn=ignore) as child:
        child.report.wait("True\nREADY\n")
        assert not catches(child.pid, TERM)
        child.send()
        child.send(signal.SIGUSR1)
        assert child.wait() == 8


def test_i_keeps_the_default_action():
    """With -i and at a prompt SIGTERM keeps its default action."""
    code = "import signal; print(signal.getsignal(15) == signal.SIG_DFL); print('READY')"
    with Child(PYENTRY, "-i", "-c", code) as child:
        child.out.wait("True\nREADY")
        child.send()
        assert child.wait() == -TERM


# --- the end of the program

AT_THE_END = {  # title: (program, what it reports)
    "atexit callback": ("atexit.register(say, 'other')\natexit.register(wait)\n", "other\n"),
    "atexit callback with finally": (
        "def callback():\n    try: wait()\n    finally: say('finally')\natexit.register(callback)\n", "finally\n"),
    "waiting for a thread": (
        "atexit.register(say, 'atexit')\n"
        "threading.Thread(target=lambda: (say('READY'), time.sleep(600))).start()\n", "atexit\n"),
    "waiting for an executor": (
        "import concurrent.futures\npool = concurrent.futures.ThreadPoolExecutor(1)\n"
        "pool.submit(lambda: (say('READY'), time.sleep(1)))\n", ""),
    "module teardown": (
        "class Last:\n    def __del__(self, write=os.write, sleep=time.sleep, report=int(sys.argv[1])):\n"
        "        write(report, b'READY\\n')\n        sleep(600)\nlast = Last()\n", ""),
    "excepthook": ("sys.excepthook = lambda *a: wait()\n1/0\n", ""),
    "multiprocessing finalizer": (
        "import multiprocessing.util\nmultiprocessing.util.Finalize(None, wait, exitpriority=1)\n", ""),
}


def test_at_the_end_of_the_program():
    """In atexit callbacks, waiting for threads, in the last __del__: silent, prompt, death by SIGTERM."""
    def check(title):
        code, report = AT_THE_END[title]
        found = ended(code)
        return "" if found == (-TERM, report) else f"{title}: {found}"

    assert "\n".join(filter(None, gather(lambda title: attempt(check, title), AT_THE_END, at_once=6))) == ""


def test_what_cleans_up_at_the_end_is_not_cut_off():
    """An atexit function that does not wait runs to its end: cut in its middle, logging.shutdown() fails, say."""
    for name in ("clean_up", "_shutdown"):  # threading's has this name
        code = f"def {name}():\n    os.kill(os.getpid(), 15)\n    print('whole')\natexit.register({name})\n"
        done = pyentry("-c", "import atexit, os\n" + code)
        assert (done.returncode, done.stdout, done.stderr) == (-TERM, b"whole\n", b""), name


CHAINED_AT_THE_END = """
def handler(*args, old=signal.getsignal(15)):
    say("mine")
    old(*args)


def cut_off():
    try:
        wait()
    finally:
        say("finally")


signal.signal(15, handler)
atexit.register(cut_off)
"""


def test_a_handler_that_calls_pyentrys_at_the_end():
    """A SIGTERM that the program's handler hands on to pyentry's in an atexit function ends the program as well."""
    assert ended(CHAINED_AT_THE_END) == (-TERM, "mine\nfinally\n")
    code = CHAINED_AT_THE_END.replace("wait()", "say('READY'), os.kill(os.getpid(), 15), time.sleep(600)")
    assert ended(code, signals=()) == (-TERM, "mine\nfinally\n")


if VERSION >= (3, 10):  # where it takes a signal
    def test_a_simulated_sigterm_at_the_end():
        """_thread.interrupt_main(SIGTERM) in an atexit function: there is no signal that could come again."""
        code = ("def callback():\n    say('READY')\n    _thread.interrupt_main(15)\n    time.sleep(600)\n"
                "import _thread\natexit.register(callback)\n")
        assert ended(code, signals=()) == (-TERM, "")


def test_at_the_end_of_a_program_that_has_failed():
    """A failure's status may stay, or the end be by SIGTERM; it is never a success, and nothing more is printed."""
    assert ended("atexit.register(wait)\nsys.exit(3)\n")[0] in (3, -TERM)
    status, _, _, err = stop_program("atexit.register(wait)\n1/0\n")
    assert status in (1, -TERM) and err.count(b"Traceback") == 1 and err.endswith(b"division by zero\n")


def test_no_resources_needed():
    """It works with no queued signals left, no descriptors left, and a closed stderr."""
    def starve():
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0))

    assert ended("try: wait()\nfinally: say('f')", preexec_fn=starve) == (-TERM, "f\n")
    code = "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\nos.close(2)\ntry: wait()\nfinally: say('f')"
    status, report, _, _ = stop_program("import resource\n" + code)
    assert (status, report) == (-TERM, "f\n")


def test_any_target(tmp_path):
    """Terminated reaches a program in every form: file, module, directory, -c, stdin."""
    program = ("import os, sys, time\ntry:\n    os.write(int(sys.argv[-1]), b'READY\\n')\n    time.sleep(600)\n"
               "finally:\n    os.write(int(sys.argv[-1]), b'finally\\n')\n")
    (tmp_path / "pkg").mkdir()
    for name in ("prog.py", "pkg/__main__.py"):
        (tmp_path / name).write_text(program)

    def check(args):
        stdin = open(tmp_path / "prog.py")
        with Child(PYENTRY, *args, "REPORT", report=True, cwd=tmp_path, stdin=stdin) as child:
            child.report.wait("READY\n")
            child.send()
            return child.wait(), child.report.all(), child.err.all()

    forms = [["prog.py"], ["-m", "prog"], ["pkg"], ["-m", "pkg"], ["-c", program], ["-"], ["-I", "prog.py"],
             ["-S", "-E", "prog.py"]]
    assert gather(check, forms) == [(-TERM, b"READY\nfinally\n", b"")] * len(forms)


def test_shell_and_parents_see_a_death_by_sigterm():
    """A shell sees 143, subprocess -15; the same as under python."""
    line = '"$0" -c "import os; os.kill(os.getpid(), 15)"; echo $?'
    assert run(["sh", "-c", line, PYENTRY]).stdout.split()[-1:] == [b"143"]
    assert pyentry("-c", "import os; os.kill(os.getpid(), 15)").returncode == -TERM


def test_nothing_stays_behind():
    """What the program's clean-up ends is gone when the program is."""
    with Child(PYENTRY, BLOCKING, "REPORT", "subprocess_that_ignores", report=True) as child:
        child.report.wait("ready\n")
        wait_asleep(child.pid)
        child.send()
        assert child.wait() == -TERM
        assert is_gone(int(bytes(child.report.data).split()[1]))
