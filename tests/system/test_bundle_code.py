"""The code of a module comes out of a bundle as it went in, whatever it has in it; and what is no code is refused."""

import pytest

from bundling import build
from harness import VERSION, clean_env, run, write_tree

# What compilers make of it, one way or another.
ODD = r'''
from __future__ import annotations
import os.path as path, sys
constants = (1, True, 1.0, 0, False, 0.0, -0.0, 1j, -1j, None, ..., -1, 2**31 - 1, 2**31, 2**64, -2**64, 1e309, "", b"", "a", b"a",
             "\udc80 no text", "\0", "\U0001f40d" * 70000, b"\xff" * 70000, "ümläut", ("a", ("b", ()), (1, (True, (1.0,)))))
ünïcode = {1: (0, 0.0), 2: (False, -0.0)}
member = [x for x in constants if x in {1, "a", (2, b"b"), None}]

class Outer(dict, metaclass=type):
    """Its text."""
    squares = [y * y for y in range(3)]
    names = sorted(name for name in vars() if name[0] != "_")
    def method(self, a, /, b: int = 2, *args: "text", c, d=4, **keywords) -> None:
        cell, plain = a, b
        def inner(e=cell):
            nonlocal cell
            cell = lambda: (a, cell, plain, __class__, super().__init__)
            return cell
        yield inner
    async def asynchronous(self):
        async with self as a, self: return [b async for b in a if await b]
    def handled(self):
        try: 1 / 0
        except (ZeroDivisionError, ValueError) as error: raise error from None
        finally: del self

same = [123456.5, (1, 2, (3, 4.5)), 987654321, frozenset({1000, 2000})]
def identical(größe=1):
    """Constants that are equal are one object, and names are interned."""
    these = [123456.5, (1, 2, (3, 4.5)), 987654321]
    code = identical.__code__
    names = [sys.intern("".join(list(name))) is name for name in code.co_names + code.co_varnames]
    return *(one is other for one, other in zip(same, these)), all(names), größe

def many(''' + ", ".join(f"argument{number}" for number in range(300)) + r'''):
    """Three hundred."""
    global made
    made = locals()

long = lambda: [''' + ", ".join(f"name_{number}.attribute_{number} + {number * 1000003}" for number in range(3000)) + r''']
'''

CHECK = r'''
import importlib.util, marshal, os, pkgutil, sys
def flat(code):
    """All that a code object has, constants with their types and the signs of zeros."""
    if isinstance(code, type(flat.__code__)):
        parts = {name: getattr(code, name) for name in dir(code) if name.startswith("co_") and name != "co_lnotab"}
        return {name: list(part()) if callable(part) else flat(part) for name, part in parts.items()}
    if isinstance(code, (tuple, frozenset)):
        items = [flat(item) for item in code]
        return type(code).__name__, items if isinstance(code, tuple) else sorted(items, key=repr)
    return type(code).__name__, repr(code)
count = 0
for name in sys.argv[1:] or [module.name for module in pkgutil.iter_modules([os.path.dirname(os.__file__)])]:
    spec = importlib.util.find_spec(name)
    if type(spec.loader).__name__ != "BundleLoader":  # frozen
        continue
    code = spec.loader.get_code(name)
    source = compile(spec.loader.get_source(name), spec.origin, "exec", dont_inherit=True)
    whole = sys.version_info < (3, 11) or marshal.dumps(code, 0) == marshal.dumps(source, 0)  # sets have no order before
    if not whole or flat(code) != flat(source) or code != source:
        print(name, "is different")
    assert spec.loader.get_code(name) is code
    count += 1
print(count > 150 or count)
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code")
    write_tree(folder / "in", {"app.py": "import odd\nprint(odd.member, odd.Outer.squares, odd.Outer.names)\n", "odd.py": ODD,
                              "deep.py": "deep = " + "lambda: " * 140 + "0\n"})
    build(folder / "app", "-m", "app", "--stdlib", folder / "in")
    return folder


def test_all_that_python_compiles(place):
    """Each module of the standard library, and one of all oddities."""
    done = run([place / "app", "-c", CHECK], timeout=120)
    assert (done.stdout, done.stderr) == (b"True\n", b"")
    done = run([place / "app", "-c", CHECK, "odd", "app"])
    assert (done.stdout, done.stderr) == (b"2\n", b"")


def test_it_runs(place):
    done = run([place / "app"])
    assert done.stdout == b"[1, True, 1.0, None, 'a'] [0, 1, 4] ['squares']\n", done.stderr
    assert run([place / "app", "-c", "import odd; print(*odd.identical())"]).stdout == b"True True True True 1\n"
    done = run([place / "app", "-c", "import deep; print(deep.deep.__code__.co_filename)"])
    assert done.stdout.endswith(b"/deep.py\n")
    done = run([place / "app", "-c", "import odd; odd.many(*range(300)); print(sum(odd.made.values())); odd.long()"])
    assert done.stdout == b"44850\n" and done.stderr.endswith(b"name 'name_0' is not defined\n"), done.stderr


NESTED = """
import gc
for name in {names!r}.split():
    __import__(name)
    fill = [str(i) for i in range(300000)]
    del fill
    with open("/proc/self/status") as file:
        print(*[line.split()[1] for line in file if line.startswith("VmRSS")])
"""


def test_large_constants_cost_their_size(tmp_path):
    """The interpreter's memory for small objects is given back beside them as ever."""
    names = [f"large{number}" for number in range(8)]
    write_tree(tmp_path / "in", {f"{name}.py": f"data = b'{name[-1] * 300001}'\n" for name in names})
    (tmp_path / "in" / "main.py").write_text("")
    build(tmp_path / "app", "-m", "main", "--stdlib", tmp_path / "in")
    sizes = list(map(int, run([tmp_path / "app", "-c", NESTED.format(names=" ".join(names))]).stdout.split()))
    assert len(sizes) == 8 and sizes[-1] - sizes[1] < 6 * 3 * 300, sizes


def test_columns_are_left_out_where_the_process_wants_none(tmp_path):
    write_tree(tmp_path / "in", {"app.py": "def f(): return (1 + (2 / 0))\nf()\n"})
    build(tmp_path / "app", "-m", "app", "--stdlib", tmp_path / "in")
    for words, variables, shown in (((), {}, VERSION >= (3, 11)), (("-X", "no_debug_ranges", "-m", "app"), {}, False),
                                    ((), {"PYTHONNODEBUGRANGES": "1"}, False)):
        assert (b"~~^~~" in run([tmp_path / "app", *words], env=clean_env(**variables)).stderr) == shown
