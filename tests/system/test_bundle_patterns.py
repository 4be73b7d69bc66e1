"""Regular expressions that a bundle's modules write down are compiled when it is built, and are what they would have been."""

import io
import zipfile

import pytest

from bundling import build
from harness import PYTHON, VERSION, clean_env, run, write_tree

PARSER = "re._parser" if VERSION >= (3, 11) else "sre_parse"
COMPILER = "re._compiler" if VERSION >= (3, 11) else "sre_compile"

# Each line compiles one pattern: those above the mark from the table, the others in Python.
SHAPES = r"""
import re
import re as regular
from re import compile as made, VERBOSE
WORD = r"[a-z]+é"
LOUD = re.VERBOSE | re.IGNORECASE
BOTH = WORD + "|" + r"\d{2,}"
class Kinds:
    NAME = "(?P<first>a)(?P<second>b)?"
    pattern = re.compile(NAME)
found = [Kinds.pattern]
keep = found.append
keep(re.compile("one"))
keep(regular.compile("two" "three", regular.I))
keep(made("fo ur  # comment", VERBOSE))
keep(re.compile(pattern="(five)*", flags=0x10))
keep(re.compile(f"({WORD})six", LOUD))
keep(re.compile(BOTH, flags=LOUD | re.M))
keep(re.compile(b"se\xffven|[\x80-\xff]"))
keep(re.compile("eight[0-9]{3,4294967294}?(?!x)(?<=y)"))
re.search("nine", "")
re.sub("te(n)", "", "", 0, re.S)
### mark
keep(re.compile("".join(["ele", "ven"])))
keep(re.compile("one", re.S))
keep(re.compile("é".encode()))
keep(re.compile(b"twelve", re.L))
"""
TABLE, PYTHONS = SHAPES.split("### mark\n")

# Another copy of re's compiler, which has no table, compiles all that is in the bundle's.
COMPARE = """
import importlib.util, marshal, re, sys, zipfile
compiler = sys.modules["COMPILER"]
spec = importlib.util.spec_from_file_location("PACKAGE.plain", compiler.__file__)
plain = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plain)
table = marshal.loads(zipfile.ZipFile(sys.executable).read(".pyentry/patterns"))
wrong = []
for flags, text in table:
    flags &= ~(1 << 30)
    ours, theirs = compiler.compile(text, flags), plain.compile(text, flags)
    if (ours, ours.groups, ours.groupindex) != (theirs, theirs.groups, theirs.groupindex):
        wrong.append(text)
print(type(compiler.compile).__name__, type(plain.compile).__name__, len(table) > 200, wrong)
""".replace("COMPILER", COMPILER).replace("PACKAGE", COMPILER.rpartition(".")[0] or "no")

REFUSE = f"""
import re, sys
def parse(text, *rest):
    raise LookupError(text)
sys.modules["{PARSER}"].parse = parse
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patterns")
    write_tree(folder / "in", {
        "shapes.py": TABLE,
        "warned.py": "import re\nprint(re.compile('[[a]'))\nre.compile('(')\n",
        "run.py": "import shapes\nprint([(p.pattern, p.flags, p.groups, p.groupindex) for p in shapes.found])\n",
    })
    build(folder / "app", "-m", "run", "--stdlib", folder / "in")
    return folder / "app"


def test_what_is_written_down_is_not_parsed(bundle):
    done = run([bundle, "-c", REFUSE + "import shapes; print(len(shapes.found))"])
    assert (done.stdout, done.stderr) == (b"9\n", b"")


@pytest.mark.parametrize("line", PYTHONS.splitlines())
def test_what_is_not_known_is_compiled_as_ever(bundle, line):
    """The text with other flags is another pattern, and so is one of bytes."""
    program = "import re\nkeep = lambda pattern: print(pattern)\n" + line
    assert run([bundle, "-c", program]).stdout == run([PYTHON, "-c", program]).stdout != b""
    assert b"LookupError" in run([bundle, "-c", REFUSE + program]).stderr


def test_patterns_are_what_they_would_have_been(bundle):
    assert run([bundle, "-c", COMPARE]).stdout == b"builtin_function_or_method function True []\n"
    env = clean_env(PYTHONPATH=str(bundle.parent / "in"), PYTHONDONTWRITEBYTECODE="1")
    assert run([bundle]).stdout == run([PYTHON, "-m", "run"], env=env).stdout


def test_warnings_and_mistakes_are_told_when_it_runs(bundle):
    done = run([bundle, "-m", "warned"])
    assert b"[[a]" in done.stdout
    assert b"FutureWarning: Possible nested set" in done.stderr and b"unterminated subpattern" in done.stderr


def test_a_copy_of_the_compiler_is_left_alone(bundle):
    program = (f"import re; from importlib import util; spec = util.find_spec('{COMPILER}'); copy = util.module_from_spec(spec)\n"
               "spec.loader.exec_module(copy); print(re.compile('made%d' % 7), copy.compile('other'))")
    assert run([bundle, "-c", program]).stdout == b"re.compile('made7') re.compile('other')\n"


def test_a_damaged_table_is_told(bundle, tmp_path):
    data = bytearray(bundle.read_bytes())
    info = zipfile.ZipFile(io.BytesIO(data)).getinfo(".pyentry/patterns")
    data[info.header_offset + 30 + len(info.filename) + info.file_size // 2] ^= 1
    (tmp_path / "app").write_bytes(data)
    (tmp_path / "app").chmod(0o755)
    done = run([tmp_path / "app"])
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"pyentry: this bundle is damaged: .pyentry/patterns is not what it was. Build or copy it again\n"
