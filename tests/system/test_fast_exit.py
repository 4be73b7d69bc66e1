"""`--fast-exit`: the end is python's, but for what is taken apart in it."""

import os
import signal

from harness import PYENTRY, clean_env, differences, pyentry, run, show
from test_python_compat import sections

FAST = clean_env(PYENTRY_FAST_EXIT="on")


def fast(code, *arguments, **options):
    return pyentry("--fast-exit", *arguments, "-c", code, **options)


def test_it_is_an_option_and_a_variable():
    code = "import os\nclass A:\n    def __del__(self): os.write(1, b'taken apart')\na = A()"
    assert pyentry("-c", code).stdout == b"taken apart"
    assert fast(code).stdout == b""
    assert pyentry("-c", code, env=FAST).stdout == b""
    assert pyentry("--fast-exit=off", "-c", code, env=FAST).stdout == b"taken apart"


def test_status_and_last_words_are_pythons():
    """Every ending that the tests know, but for the objects' own last words."""
    cases = [(name, ["-c", code], {"env": FAST}) for name, code in sections("endings.txt").items()]
    found = differences(cases)
    assert len(cases) > 100
    assert set(found) == {"__del__ at exit", "__del__ fails at exit", "__del__ at exit, a line without its end"}, show(found)


KEPT = """
import atexit, logging.handlers, os, sys, tempfile, threading, time, weakref
class Thing: pass
thing = Thing()
def say(*words): os.write(1, " ".join(map(str, words)).encode() + b" ")
weakref.finalize(thing, say, "finalize")
atexit.register(say, "atexit")
def work():
    time.sleep(0.2)
    say("thread")
threading.Thread(target=work).start()
threading.Thread(target=time.sleep, args=[600], daemon=True).start()
folder = tempfile.TemporaryDirectory()
logger = logging.getLogger()
logger.addHandler(logging.handlers.MemoryHandler(100, target=logging.StreamHandler(sys.stdout)))
logger.warning("logged")
sys.stdout.write("printed ")
sys.stdout = open(sys.argv[1], "w")
sys.stdout.write("a stream of the program's own")
atexit.register(lambda: say(folder.name))
"""


def test_what_python_promises_at_the_end_happens(tmp_path):
    said = {}
    for name, switch in (("fast", "on"), ("slow", "off")):
        done = pyentry(f"--fast-exit={switch}", "-c", KEPT, tmp_path / name)
        assert (done.returncode, done.stderr) == (0, b"")
        assert (tmp_path / name).read_text() == "a stream of the program's own"
        said[name] = done.stdout.decode().split()
    folders = [words.pop(2) for words in said.values()]
    assert said["fast"] == said["slow"] == ["printed", "thread", "atexit", "finalize", "logged"]
    assert not any(os.path.exists(folder) for folder in folders)


def test_what_is_lost(tmp_path):
    """As the manual says: what waits in a file that nobody closed, and __del__ of what is still there."""
    code = """
import os, sys, tempfile
class Thing:
    def __init__(self, word): self.word = word
    def __del__(self): os.write(1, self.word.encode() + b" ")
still_there = Thing("module")
circle = [Thing("circle")]
circle.append(circle)
del circle
gone = Thing("gone")
del gone
def f():
    local = Thing("local")
f()
file = open(sys.argv[1], "w")
file.write("waiting")
with open(sys.argv[1] + ".closed", "w") as closed:
    closed.write("written")
temporary = tempfile.NamedTemporaryFile(dir=os.path.dirname(sys.argv[1]), prefix="temporary")
"""
    (tmp_path / "slow").mkdir()
    (tmp_path / "fast").mkdir()
    slow = pyentry("-c", code, tmp_path / "slow" / "file")
    assert sorted(slow.stdout.split()) == [b"circle", b"gone", b"local", b"module"]
    done = run([PYENTRY, "--fast-exit", "-c", code, tmp_path / "fast" / "file"])
    assert (done.stdout, done.returncode) == (b"gone local ", 0)
    for name, waiting, temporary in (("slow", "waiting", 0), ("fast", "", 1)):
        assert (tmp_path / name / "file").read_text() == waiting
        assert (tmp_path / name / "file.closed").read_text() == "written"
        assert len(list((tmp_path / name).glob("temporary*"))) == temporary


def test_functions_of_c_for_the_end_run():
    """Py_AtExit's, and the C library's."""
    for register in ("ctypes.pythonapi.Py_AtExit", "libc.on_exit"):
        code = f"import ctypes; libc = ctypes.CDLL(None); print({register}(libc.abort, None))"
        assert fast(code, "--faulthandler=off").returncode == -signal.SIGABRT


def test_a_forked_child_ends_as_fast():
    code = """
import atexit, os, sys
class Thing:
    def __del__(self): os.write(1, b"taken apart")
thing = Thing()
if os.fork() == 0:
    atexit.register(os.write, 1, b"child ")
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    assert fast(code).stdout == b"child 3\n"


TERM = "import os, signal, atexit\natexit.register(print, 'bye')\nos.kill(os.getpid(), signal.SIGTERM)\nsignal.pause()"


def test_a_stop_is_the_same(pid_one):
    assert (fast(TERM).returncode, fast(TERM).stdout) == (-signal.SIGTERM, b"bye\n")
    assert fast(TERM, "--term-status=7").returncode == 7
    done = run([*pid_one, PYENTRY, "--fast-exit", "-c", TERM])
    assert (done.returncode, done.stdout) == (143, b"bye\n")
    assert done.stderr.startswith(b"pyentry: Python was ended by signal 15")  # nobody else had asked for it


def test_a_failing_stream_is_told():
    with open("/dev/full", "w") as full:
        code = "import sys; sys.stdout = open(1, 'w', closefd=False); print('x')"
        done = fast(code, stdout=full)
    assert done.returncode == 120 and b"No space left on device" in done.stderr
