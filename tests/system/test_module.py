"""The module pyentry, frozen into the executable: small, documented, with a .pyi that agrees."""

import ast
import json

from harness import PYENTRY, ROOT, clean_env, outcome, pyentry, run, stock

STUB = ROOT / "embed" / "python" / "pyentry" / "__init__.pyi"
PUBLIC = "[n for n in dir(pyentry) if not n.startswith('_')]"


def ask(expression, *options, **extra):
    code = f"import json, pyentry; print(json.dumps({expression}))"
    done = pyentry(*options, "-c", code, **extra)
    assert done.returncode == 0, outcome(done)
    return json.loads(done.stdout)


def stub_names():
    """{name: node} of what the .pyi declares for users."""
    found = {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign):
            found[node.target.id] = node
    return {name: node for name, node in found.items() if not name.startswith("_")}


def test_the_stub_agrees():
    """The .pyi declares exactly the public names, with the right kinds, bases and methods."""
    names = stub_names()
    assert sorted(names) == sorted(ask(PUBLIC))
    assert {"Terminated", "version"} <= names.keys()
    for name, node in names.items():
        if isinstance(node, ast.ClassDef):
            assert ask(f"isinstance(pyentry.{name}, type)")
            assert [ast.unparse(b) for b in node.bases] == ask(f"[b.__name__ for b in pyentry.{name}.__bases__]")
        elif isinstance(node, ast.FunctionDef):
            assert ask(f"callable(pyentry.{name})")
        else:
            kind = ask(f"type(pyentry.{name}).__name__").replace("NoneType", "None")
            assert kind in ast.unparse(node.annotation)


def test_all_and_documentation():
    """__all__ where it exists is the public names; the module and each of its classes have a docstring."""
    assert sorted(ask("getattr(pyentry, '__all__', None)") or ask(PUBLIC)) == sorted(ask(PUBLIC))
    assert len(ask("pyentry.__doc__")) > 40
    assert len(ask("pyentry.Terminated.__doc__")) > 20
    done = pyentry("-c", "import pyentry; help(pyentry)")
    assert done.returncode == 0 and b"Terminated" in done.stdout


def test_terminated():
    """Terminated is a SystemExit subclass that belongs to pyentry, with code 143, or N with --term-status=N."""
    assert ask("[c.__name__ for c in pyentry.Terminated.__mro__[1:]]") == ["SystemExit", "BaseException", "object"]
    assert ask("[pyentry.Terminated.__module__, pyentry.Terminated.__qualname__]") == ["pyentry", "Terminated"]
    assert ask("pyentry.Terminated().code") == 143


def test_terminated_can_be_copied():
    """pickle and copy, as concurrent.futures and multiprocessing use them, keep type and code."""
    code = ("import copy, pickle, pyentry\ne = pyentry.Terminated()\n"
            "for other in (pickle.loads(pickle.dumps(e)), copy.copy(e), copy.deepcopy(e)):\n"
            "    print(type(other) is pyentry.Terminated, other.code)\n"
            "class Mine(pyentry.Terminated): pass\nprint(Mine().code, isinstance(Mine(), SystemExit))\n")
    assert pyentry("-c", code).stdout == b"True 143\n" * 3 + b"143 True\n"


def test_importable_everywhere(tmp_path):
    """In isolated mode, without site, in a venv's shadow, after sys.path was emptied, twice: the same module."""
    version = ask("pyentry.version")
    for options in (["-I"], ["-S"], ["-E", "-s"], ["-O"], ["-X", "dev", "-W", "error"], ["-X", "utf8"]):
        assert ask("pyentry.version", *options) == version
    code = "import sys; sys.path.clear(); import pyentry; print(__import__('pyentry') is sys.modules['pyentry'])"
    assert pyentry("-c", code).stdout == b"True\n"
    (tmp_path / "pyentry.py").write_text("raise RuntimeError('the wrong one')\n")
    assert ask("pyentry.version", env=clean_env(PYTHONPATH=str(tmp_path))) == version
    assert run([PYENTRY, "-c", "import pyentry"], cwd=tmp_path).returncode == 0


def test_what_the_module_is():
    """Its spec is that of a frozen or built-in module: nothing is read from the disk for it."""
    assert ask("[pyentry.__name__, pyentry.__spec__.name, pyentry.__spec__.origin in ('frozen', 'built-in')]") == \
        ["pyentry", "pyentry", True]


def test_stock_python_has_no_such_module():
    """A program can tell where it runs by trying the import."""
    assert stock("-c", "import pyentry").returncode == 1
    assert stock("-c", "try: import pyentry\nexcept ImportError: print('python')").stdout == b"python\n"


def test_importing_it_costs_no_other_module():
    """import pyentry brings no module of the standard library along."""
    code = "import sys; before = set(sys.modules); import pyentry; print(sorted(set(sys.modules) - before))"
    extra = ast.literal_eval(pyentry("-c", code).stdout.decode())
    assert [name for name in extra if "pyentry" not in name] == []


def test_reload():
    """importlib.reload neither fails nor makes a second Terminated that handlers would miss."""
    code = ("import importlib, os, pyentry\nimportlib.reload(pyentry)\n"
            "try: os.kill(os.getpid(), 15)\nexcept pyentry.Terminated: print('caught')\n")
    assert pyentry("-c", code).stdout == b"caught\n"


def test_warnings_is_there_when_it_is_looked_into():
    """The module that stands in sys.modules becomes the real one: same object, same names, no trace of the other."""
    code = ("import sys\n"
            "early = sys.modules['warnings']\n"
            "import warnings\n"
            "print(warnings is early is sys.modules['warnings'], type(warnings) is type(sys), warnings.__spec__.name)\n"
            "print(sorted(vars(warnings)))\n")
    ours = pyentry("-I", "-c", code)
    theirs = stock("-I", "-c", code.replace("early = sys.modules['warnings']", "import warnings as early"))
    assert (ours.returncode, ours.stderr, ours.stdout) == (0, b"", theirs.stdout)
