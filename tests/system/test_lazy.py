"""The module warnings, which is loaded when somebody first looks into it: nobody can tell, whoever is the first."""

import pytest

from harness import outcome, pyentry, run, stock

# Where no .pth file imports warnings early.
BARE = (["-S"], ["-I", "-S"])

LOOP = """
import sys
for name, module in sys.modules.items():
    getattr(module, "__file__", None)
print(type(sys.modules["warnings"]) is type(sys), sys.modules["warnings"].__file__ == sys.modules["warnings"].__spec__.origin)
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
