"""print() is python's print(): name, signature, arguments, errors, and what reaches whose file object.

The programs are in probes/prints.txt; each behaves the same, to the byte, as under `python -u`.
"""

import os

import pytest

from harness import PYENTRY, PYTHON, clean_env, differences, outcome, pyentry, records, run, sections, show, stock

PROGRAMS = sections("prints.txt")
TYPED = b"Ada\nsecond\nthird\n"


def test_print_is_pythons():
    """Every program in probes/prints.txt has python's output, errors and status."""
    found = differences([(title, ["-c", code], {"input": TYPED}) for title, code in PROGRAMS.items()])
    assert not found, show(found)


@pytest.mark.parametrize("environment", [
    {"LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1:backslashreplace"}, {"PYTHONIOENCODING": "utf-16"},
    {"PYTHONUTF8": "1", "LANG": "C"}, {"PYTHONDEVMODE": "1"}, {"PYTHONMALLOC": "debug"}], ids=str)
def test_print_in_other_settings(environment):
    """The same holds with other encodings, error handlers, allocators and in development mode."""
    env = clean_env(**environment)
    found = differences([(title, ["-c", code], {"env": env, "input": TYPED}) for title, code in PROGRAMS.items()])
    assert not found, show(found)


NESTED = """
import logging, os, sys
class Inner:
    def __str__(self):
        print("inner", "line")
        return "result"
class Outer:
    def __str__(self):
        print("in", Inner(), "between")
        print("plain")
        return "end"
class Other:
    def __str__(self):
        print("error", 1, file=sys.stderr)
        return "other"
"""


def test_nested_prints():
    """A __str__ that prints: the bytes and their order are python's, each inner print is out when it returns."""
    cases = [("print('outer', Inner())", [b"outer inner line\n", b"result\n"]),
             ("print(Inner(), 5)", [b"inner line\n", b"result 5\n"]),
             ("print('a', Outer(), 'b')", [b"a in inner line\n", b"result between\n", b"plain\n", b"end b\n"]),
             ("print('a', Other(), 'b')", [b"a other b\n"])]
    for code, expected in cases:
        assert stock("-u", "-c", NESTED + code).stdout == b"".join(expected)
        assert records([PYENTRY, "-c", NESTED + code])[1] == expected


def test_nested_prints_to_two_streams():
    """What the outer print has gathered for one stream stays whole while an inner one writes to the other."""
    _, seen = records([PYENTRY, "-c", NESTED + "print('a', Other(), 'b')"], which=("stdout", "stderr"))
    assert seen == [b"error 1\n", b"a other b\n"]


def test_a_report_in_the_middle_of_a_print():
    """An exception that a __str__ cannot raise is reported in one write, which does not wait for the line."""
    code = ("import os\nclass Lost:\n    def __del__(self): 1/0\n"
            "class Value:\n    def __str__(self):\n        Lost()\n        END\n        return 'value'\n"
            "print('a', Value())\n")
    _, seen = records([PYENTRY, "-c", code.replace("END", "")], which=("stdout", "stderr"))
    assert len(seen) == 2 and b"ZeroDivisionError" in seen[0] and seen[1] == b"a value\n"
    status, seen = records([PYENTRY, "-c", code.replace("END", "os.kill(os.getpid(), 9)")], which=("stderr",))
    assert status == -9 and len(seen) == 1 and seen[0].endswith(b"ZeroDivisionError: division by zero\n")


def test_a_nested_print_is_out_when_it_returns():
    """A program that dies in a __str__ has said what was printed there."""
    dying = ("class Dying(Exception):\n    def __str__(self):\n"
             "        print(*what, file=where)\n        os.kill(os.getpid(), 9)\n"
             "where = sys.stdout\n")
    for what in ("'step', 1", "'step one'", "Inner()", "'step', end=''"):
        for code in ("print(Dying())", "print('a', Dying())", "where = sys.stderr; print('a', Dying())"):
            program = NESTED + dying.replace("*what", what) + code
            ours, theirs = (run([interpreter, "-u", "-c", program]) for interpreter in (PYENTRY, PYTHON))
            if "stderr" not in code:
                assert ours.stdout == theirs.stdout, program
            assert (ours.returncode, ours.stderr) == (-9, theirs.stderr) and (ours.stdout or ours.stderr), program


def test_print_does_not_leak():
    """A hundred thousand prints of each kind do not make the process grow."""
    code = ("import os, resource, sys\n"
            "class Bad:\n    def __str__(self): raise ValueError\n"
            "def work(n):\n    for i in range(n):\n"
            "        print('a', i, 2.5, sep='-', end='.\\n'); print('x' * 100, file=sys.stderr)\n"
            "        try: print('a', Bad())\n        except ValueError: pass\n"
            "        try: print('a', '\\udcff')\n        except UnicodeEncodeError: pass\n"
            "def size(): return int(open('/proc/self/statm').read().split()[1])\n"
            "work(2000); before = size(); work(50000)\n"
            "os.write(3, b'%d' % (size() - before))\n")
    ours, theirs = os.pipe()
    null = os.open(os.devnull, os.O_WRONLY)

    def place():
        os.dup2(theirs, 3)
        os.set_inheritable(3, True)

    done = run([PYENTRY, "-c", code], stdout=null, stderr=null, preexec_fn=place, close_fds=False)
    os.close(theirs)
    pages = int(os.read(ours, 100))
    assert done.returncode == 0 and pages < 250, f"grew by {pages} pages"


def test_empty_prints():
    """print(end="") says nothing: at most one write, of no bytes."""
    status, seen = records([PYENTRY, "-c", "print(end=''); print('', end=''); print('', '', sep='', end='')"])
    assert status == 0 and b"".join(seen) == b"" and len(seen) <= 3


def test_output_before_the_first_import(tmp_path):
    """print in sitecustomize, before the program begins, is the same print."""
    (tmp_path / "sitecustomize.py").write_text("print('early', 'words')\n")
    env = clean_env(PYTHONPATH=str(tmp_path))
    status, seen = records([PYENTRY, "-c", "print('late', 'words')"], env=env)
    assert (status, seen) == (0, [b"early words\n", b"late words\n"])
    assert outcome(run([PYENTRY, "-c", "import sitecustomize"], env=env))["stdout"] == b"early words\n"
