"""The module warnings, which is loaded when somebody first looks into it: nobody can tell, whoever is the first."""

import pytest

from harness import gather, outcome, pyentry, run, stock

# Where no .pth file imports warnings early.
BARE = (["-S"], ["-I", "-S"])

LOOP = """
import sys
for name, module in sys.modules.items():
    getattr(module, "__file__", None)
module = sys.modules["warnings"]
print(type(module) is type(sys), module.__file__ == module.__spec__.origin)
"""

# A finder that is in the way of warnings: once, unless it is told otherwise.
IN_THE_WAY = """
import sys
class Finder:
    times = 1
    def find_spec(self, name, path=None, target=None):
        if name == "warnings" and self.times > 0:
            self.times -= 1
            raise ImportError("no file")
finder = Finder()
sys.meta_path.insert(0, finder)
warnings = sys.modules.get("warnings")
before = list(sys.modules)
def look():
    try:
        return warnings.warn.__name__
    except Exception as error:
        return repr(error)
"""


@pytest.mark.parametrize("options", BARE)
def test_a_loop_over_sys_modules(options):
    """A look at every module changes no key: python's own modules are all there by then."""
    done = pyentry(*options, "-c", LOOP)
    assert outcome(done) == {"status": 0, "stdout": b"True True\n", "stderr": b""}


def test_a_loop_over_sys_modules_in_a_venv(tmp_path):
    assert pyentry("-m", "venv", "--without-pip", tmp_path / "venv").returncode == 0
    done = run([tmp_path / "venv" / "bin" / "python", "-c", LOOP])
    assert outcome(done) == {"status": 0, "stdout": b"True True\n", "stderr": b""}


def test_what_could_not_be_loaded_is_tried_again():
    """An error is whoever's who looks; sys.modules stays as it is, and the next look has the module."""
    done = pyentry("-S", "-c", IN_THE_WAY + "finder.times = 2\nprint(look(), look(), look())\n"
                   "print(list(sys.modules) == before, type(warnings) is type(sys))\n")
    error = b"ImportError('no file')"
    assert outcome(done) == {"status": 0, "stdout": error + b" " + error + b" warn\nTrue True\n", "stderr": b""}


def test_code_that_failed_is_run_again():
    """What its code left behind is no module for anybody."""
    done = pyentry("-S", "-c", IN_THE_WAY + """
finder.times = 0
import _frozen_importlib_external as external
real = external.SourceFileLoader.exec_module
def fail(self, module):
    external.SourceFileLoader.exec_module = real
    module.warn = print
    raise ValueError("half")
external.SourceFileLoader.exec_module = fail
print(look(), look(), list(sys.modules) == before, warnings.warn is not print)
""")
    assert outcome(done) == {"status": 0, "stdout": b"ValueError('half') warn True True\n", "stderr": b""}


def test_warnings_of_the_interpreter_without_the_module():
    """They come out, or do not, as under python before it has the module: no error of somebody else's."""
    code = IN_THE_WAY + """
finder.times = 1000
for name, text in (("a", "1 is 1"), ("b", "open('/dev/null') and 1"), ("c", "~True")):
    print(eval(compile(text, name, "eval")))
"""
    ours, theirs = pyentry("-S", "-c", code), stock("-u", "-S", "-c", code)
    assert b"SyntaxWarning" in ours.stderr and outcome(ours) == outcome(theirs)


# With _thread: from Python 3.13 on, threading itself imports warnings.
THREADS = """
import _thread, sys, time
def begin(function):
    def run():
        here.append(_thread.get_native_id())
        try:
            function()
        finally:
            over.append(_thread.get_native_id())
    _thread.start_new_thread(run, ())
def state(thread):
    with open(f"/proc/self/task/{thread}/status") as lines:
        return [line for line in lines if line.startswith("State") or "ctxt" in line]
def stuck(thread):  # it sleeps, and has not woken up for the GIL
    seen = []
    for look in range(8):
        seen.append(state(thread))
        time.sleep(0.001)
    return "S (sleeping)" in seen[0][0] and all(lines == seen[0] for lines in seen)
def wait(condition):
    while not condition():
        time.sleep(0.001)
here, over = [], []
"""

# The first thread stays where it looks for the file until the second has come to wait for it, or has ended.
TWO_THREADS = THREADS + """
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "warnings":
            entered.append(name)
            wait(lambda: len(here) == 2 and (over or stuck(here[1])))
            if FAILS and sys.meta_path.remove(self) is None:
                raise OSError("not now")
entered = []
sys.meta_path.insert(0, Finder())
def look():
    try:
        import warnings
        warnings.simplefilter("default")
        print("whole", warnings.__spec__._initializing)
    except OSError as error:
        print(error)
begin(look)
wait(lambda: entered)
begin(look)
wait(lambda: len(over) == 2)
"""


@pytest.mark.parametrize("fails", [False, True])
def test_two_threads_at_once(fails):
    """The second waits for the first, and tries itself where the first failed."""
    done = pyentry("-S", "-c", f"FAILS = {fails}" + TWO_THREADS)
    assert (done.returncode, done.stderr) == (0, b""), outcome(done)
    assert done.stdout.splitlines().count(b"whole False") == 2, outcome(done)  # the import statement hides the error


# The first thread fails to find the file; then one of the two executes the module while the other asks for it.
SECOND_EXECUTES = THREADS + """
class Slow:
    def __init__(self, loader):
        self.loader = loader
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        other, = set(here) - {_thread.get_native_id()}
        wait(lambda: over or stuck(other))
        self.loader.exec_module(module)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "warnings":
            return None
        entered.append(name)
        if len(entered) == 1:
            wait(lambda: len(here) == 2 and (over or stuck(here[1])))
            raise OSError("not now")
        spec = sys.meta_path[-1].find_spec(name, path)
        spec.loader = Slow(spec.loader)
        return spec
entered = []
sys.meta_path.insert(0, Finder())
def look():
    import warnings
    warnings.simplefilter("default")
    print("whole", warnings.__spec__._initializing)
begin(look)
wait(lambda: entered)
begin(look)
wait(lambda: len(over) == 2)
"""


def test_second_thread_executes():
    """Who failed and asks again waits for who has found it."""
    done = pyentry("-S", "-c", SECOND_EXECUTES)
    assert (done.returncode, done.stderr) == (0, b""), outcome(done)
    assert done.stdout.splitlines().count(b"whole False") == 2, outcome(done)


def test_many_threads_at_once():
    """None of them sees half a module."""
    code = THREADS + """
def look():
    wait(lambda: len(here) == 4)
    import warnings
    warnings.simplefilter("default")
for number in range(4): begin(look)
wait(lambda: len(over) == 4)
"""
    for done in gather(lambda number: pyentry("-S", "-c", code), range(12)):
        assert outcome(done) == {"status": 0, "stdout": b"", "stderr": b""}


def test_a_finder_that_looks_itself():
    """What finds the module, or warns while it does, has to do without, and does not wait for itself."""
    code = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        print(name, hasattr(sys.modules["warnings"], "warn"), eval(compile("1 is 1", "here", "eval")))
sys.meta_path.insert(0, Finder())
import warnings
print(warnings.warn.__name__)
"""
    done = pyentry("-S", "-c", code)
    assert (done.returncode, done.stdout) == (0, b"warnings False True\nwarn\n"), outcome(done)
    assert b"SyntaxWarning" in done.stderr


def test_a_finder_that_another_thread_waits_for():
    """A search for another module may look into it, too, while a thread that wants it waits for the search to end."""
    code = THREADS + """
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "none":
            begin(look)
            wait(lambda: here and stuck(here[0]))
            print(eval(compile("1 is 1", "here", "eval")))
def look():
    import warnings
    print(warnings.warn.__name__)
sys.meta_path.insert(0, Finder())
try:
    import none
except ImportError:
    wait(lambda: over)
"""
    done = pyentry("-S", "-c", code)
    assert (done.returncode, done.stdout) == (0, b"True\nwarn\n"), outcome(done)
    assert b"SyntaxWarning" in done.stderr


def test_places_to_look_from():
    """A forked child, a signal handler, a forked child of a thread, and the interpreter's end."""
    code = """
import os, signal, sys, threading
lazy = sys.modules["warnings"]
def child():
    pid = os.fork()
    if pid == 0:
        os._exit(len(lazy.warn.__name__))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), end=" ")
child()
thread = threading.Thread(target=child)
thread.start()
thread.join()
class Late:
    def __del__(self, lazy=lazy):
        print(hasattr(lazy, "no such name"))
late = Late()
HERE
"""
    handler = ("signal.signal(signal.SIGUSR1, lambda *_: print(lazy.warn.__name__, end=' '))\n"
               "signal.raise_signal(signal.SIGUSR1)")
    for here, words in (("", b"4 4 False\n"), (handler, b"4 4 warn False\n")):
        done = pyentry("-S", "-c", code.replace("HERE", here))
        assert (done.returncode, done.stdout) == (0, words), outcome(done)
