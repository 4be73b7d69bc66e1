"""Regular expressions that the modules write down, compiled at the build.

A module that is imported compiles its own in Python, which took an eighth of flask's import. Nothing of the app runs here:
calls like re.compile(TEXT, FLAGS) are found in the source, as far as TEXT and FLAGS can be told from it. What is found is
only kept under its text and flags, so that a wrong guess is never looked up.

The table is what marshal makes of {(flags, text): what marshal makes of _sre.compile's arguments}, so that a start reads
only what it asks for. embed/bundle/patterns.c looks things up.
"""

import _sre
import ast
import contextlib
import marshal
import re
import sys
import warnings

OF_BYTES = 1 << 30  # in a key's flags: the text is bytes, which is not to be compared with a str
MARSHAL_VERSION = 2  # the later ones depend on who else refers to an object
LEFT_OUT = re.DEBUG | re.LOCALE  # what prints, and what depends on more than its text
FLAGS_AT = {"compile": 1, "match": 2, "fullmatch": 2, "search": 2, "findall": 2, "finditer": 2, "split": 3, "sub": 4,
            "subn": 4}

IMPORT = re.compile(rb"^\s*(?:import|from)\s[^\n]*\bre\b", re.MULTILINE)

compiler = sys.modules.get("re._compiler") or sys.modules["sre_compile"]


class Unknown(Exception):
    """A value that cannot be told from the source."""


class Reader(ast.NodeVisitor):
    """Finds what a module compiles."""

    def __init__(self):
        self.modules = set()  # names of the module re
        self.functions = {}  # names of functions in it
        self.values = {}  # names of texts and flags
        self.found = set()  # keys of the table

    def visit_Import(self, node):
        self.modules.update(name.asname or name.name for name in node.names if name.name == "re")

    def visit_ImportFrom(self, node):
        for name in node.names if node.module == "re" else ():
            self.functions[name.asname or name.name] = name.name
            if isinstance(getattr(re, name.name, None), re.RegexFlag):
                self.values[name.asname or name.name] = int(getattr(re, name.name))

    def visit_Assign(self, node):
        self.generic_visit(node)
        if len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                self.values[node.targets[0].id] = self.value(node.value)
            except Unknown:
                self.values.pop(node.targets[0].id, None)

    def visit_Call(self, node):
        self.generic_visit(node)
        place = FLAGS_AT.get(self.function(node.func))
        arguments = {keyword.arg: keyword.value for keyword in node.keywords}
        try:
            if place is not None:
                text = self.value(node.args[0] if node.args else arguments.get("pattern"))
                flags = self.value(node.args[place]) if len(node.args) > place else 0
                flags = self.value(arguments["flags"]) if "flags" in arguments else flags
                self.keep(text, flags)
        except Unknown:
            pass

    def keep(self, text, flags):
        if isinstance(text, (str, bytes)) and isinstance(flags, int) and 0 <= flags < OF_BYTES and not flags & LEFT_OUT:
            self.found.add((flags | (OF_BYTES if isinstance(text, bytes) else 0), text))

    def function(self, node):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self.modules:
            return node.attr
        return self.functions.get(node.id) if isinstance(node, ast.Name) else None

    def value(self, node):
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes, int)):
            return node.value
        if isinstance(node, ast.Name) and node.id in self.values:
            return self.values[node.id]
        if isinstance(node, ast.Attribute) and isinstance(getattr(re, self.function(node) or "", None), re.RegexFlag):
            return int(getattr(re, node.attr))
        if isinstance(node, ast.JoinedStr):
            return "".join(map(self.part, node.values))
        if isinstance(node, ast.BinOp):
            return self.combined(node)
        raise Unknown

    def part(self, node):
        if isinstance(node, ast.FormattedValue):
            if node.conversion != -1 or node.format_spec:
                raise Unknown
            node = node.value
        text = self.value(node)
        if not isinstance(text, str):
            raise Unknown
        return text

    def combined(self, node):
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.BitOr) and isinstance(left, int) and isinstance(right, int):
            return left | right
        if isinstance(node.op, ast.Add) and type(left) is type(right) and not isinstance(left, int):
            return left + right
        raise Unknown


class Recorder:
    """Stands for the module _sre while a pattern is compiled, and takes down what would make the pattern."""

    def __getattr__(self, name):
        return getattr(_sre, name)

    def compile(self, text, flags, code, groups, groupindex, indexgroup):
        self.arguments = text, int(flags), list(map(int, code)), groups, groupindex, indexgroup


def compiled(text, flags):
    """What _sre.compile takes, or None: of a pattern with a mistake or a warning, whoever compiles it is to hear."""
    recorder = compiler._sre = Recorder()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiler.compile(text, flags)
    except (re.error, Warning, ValueError, TypeError, RecursionError, OverflowError):
        return None
    finally:
        compiler._sre = _sre
    return recorder.arguments


def find(source):
    """The keys that a module's source gives."""
    reader = Reader()
    if IMPORT.search(source):
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.visit(ast.parse(source))
    return reader.found


def table(collection):
    """The bytes of the table for all modules whose source is there."""
    sources = (file.read() for name, file in collection.files.items() if name.endswith(".py"))
    keys = set().union(*map(find, sources))
    made = {key: compiled(key[1], key[0] & ~OF_BYTES) for key in sorted(keys)}
    return marshal.dumps({key: marshal.dumps(arguments, MARSHAL_VERSION) for key, arguments in made.items() if arguments},
                         MARSHAL_VERSION)
