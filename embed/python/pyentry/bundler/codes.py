"""Code objects as the importer reads them (embed/bundle/code.c).

It is what marshal says, in an order that is read quickly, with one table for the words that several modules have. What is
rare is marshalled; so would be code that the interpreter's constructor makes otherwise than its compiler, of which none
is known.
"""

import importlib.util
import itertools
import marshal
import re
import sys
import types
from collections import Counter

from pyentry.bundler.collect import OWN

# As embed/bundle/parts.h has them. "variables" and "kinds" are what Python 3.11 makes of the names of local variables,
# cells and free variables.
LATER, LAID_OUT = sys.version_info >= (3, 11), sys.version_info[:2] == (3, 11)
NUMBERS = ("co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_nlocals", "co_stacksize", "co_flags",
           "co_firstlineno")
OBJECTS = ("co_linetable" if sys.version_info >= (3, 10) else "co_lnotab", *["co_exceptiontable"] * LATER,
           *["kinds"] * LAID_OUT, "co_name", *["co_qualname"] * LATER, "co_consts", "co_names",
           *(["variables"] if LAID_OUT else ["co_varnames", "co_freevars", "co_cellvars"]))
STRINGS = OBJECTS[OBJECTS.index("co_name"):]  # and what has some in it
LOCAL, CELL, FREE = 0x20, 0x40, 0x80
SINGLE = {None: b"N", True: b"T", False: b"F"}
MOST_SMALL = 2**31


def number(value):
    """Seven bits in each byte, the lowest first; the highest bit says that more follow."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def sized(kind, data):
    return kind + number(len(data)) + data


def encoded(text):
    return text.encode("utf-8", "surrogatepass")


def cells_of(code):
    """Those that are no arguments."""
    return tuple(cell for cell in code.co_cellvars if cell not in code.co_varnames)


def part(code, name):
    if name == "variables":
        return code.co_varnames + cells_of(code) + code.co_freevars
    if name == "kinds":
        own = [LOCAL | CELL * (variable in code.co_cellvars) for variable in code.co_varnames]
        return bytes([*own, *[CELL] * len(cells_of(code)), *[FREE] * len(code.co_freevars)])
    return getattr(code, name)


def strings(value):
    """Every string that code has in it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (tuple, frozenset)):
        for one in value:
            yield from strings(one)
    elif isinstance(value, types.CodeType):
        yield value.co_filename
        for name in STRINGS:
            yield from strings(part(value, name))


def every_string(value):
    """Or none of what is nested too deep for this; marshal goes deeper."""
    try:
        return list(strings(value))
    except RecursionError:
        return []


def marshalled(value):
    """The same bytes for the same value.

    marshal marks what somebody else has a reference to, and up to Python 3.10 that is chance for a string: one of the
    interpreter's caches may have it. So somebody has each of them here.
    """
    held = every_string(value)
    data = marshal.dumps(value)
    del held
    return data


def is_name(text):
    """Whether the interpreter would intern it: names of all kinds, and constants that look like one."""
    return re.fullmatch(r"\.?\w+", text) is not None


def has_code(value):
    return any(type(one) is types.CodeType or type(one) is tuple and has_code(one) for one in value)


def ordered(values):
    """The order of strings in a set is chance, and other sets may have some; marshal sorts from Python 3.11 on."""
    if LATER or any(type(one) not in (int, float) for one in values):
        return sorted(values, key=lambda one: marshal.dumps(one, 0))
    return list(values)


def can_be_made(code):
    return marshal.dumps(code.replace(), 0) == marshal.dumps(code, 0)


class Writer:
    """The bytes of one module's code."""

    def __init__(self, words):
        self.words = words  # {text: its number}
        self.kept = {}  # {what it is: its number}: the reader keeps it, as it may be meant again

    def keep(self, key, make):
        if key in self.kept:
            return b"k" + number(self.kept[key])
        data = make()
        self.kept[key] = len(self.kept)
        return data

    def items(self, kind, values):
        return kind + number(len(values)) + b"".join(map(self.write, values))

    def code(self, code):
        if not can_be_made(code):
            return sized(b"m", marshalled(code))
        return (b"c" + b"".join(number(getattr(code, name)) for name in NUMBERS) + sized(b"", code.co_code)
                + b"".join(self.write(part(code, name)) for name in OBJECTS))

    def string(self, text):
        if text in self.words:
            return b"w" + number(self.words[text])
        return self.keep(text, lambda: sized(b"n" if is_name(text) else b"s", encoded(text)))

    def constant(self, value):
        """What is equal in a module is one object, as the compiler has it."""
        key = type(value), marshal.dumps(value, 0)
        if type(value) is tuple:
            return self.keep(key, lambda: self.items(b"[", value))
        if type(value) is frozenset:
            return self.keep(key, lambda: self.items(b"{", ordered(value)))
        if type(value) is int and 0 <= value < MOST_SMALL:
            return self.keep(key, lambda: b"i" + number(value))
        return self.keep(key, lambda: sized(b"m", marshalled(value)))

    def write(self, value):
        if value is None or type(value) is bool:
            return SINGLE[value]
        if type(value) is str:
            return self.string(value)
        if type(value) is bytes:
            return self.keep(value, lambda: sized(b"b", value))
        if type(value) is types.CodeType:
            return self.code(value)
        if type(value) is tuple and has_code(value):
            return self.items(b"(", value)
        return self.constant(value)


def table_of(words):
    """The magic number, how many they are, where each begins and the last ends, their text."""
    texts = [encoded(word) for word in words]
    offsets = itertools.accumulate(map(len, texts), initial=0)
    numbers = b"".join(value.to_bytes(4, "little") for value in (len(texts), *offsets))
    return importlib.util.MAGIC_NUMBER + numbers + b"".join(texts)


def bytes_of(code, numbers):
    try:
        return Writer(numbers).write(code)
    except RecursionError:  # nested too deep
        return sized(b"m", marshalled(code))


def entries(codes):
    """{name: bytes} of the archive, for {name of the source: code}: one of each, and one of their words."""
    counts = Counter()
    for code in codes.values():
        counts.update(set(every_string(code)))
    words = sorted((word for word, count in counts.items() if count > 1), key=lambda word: (-counts[word], word))
    numbers = {word: place for place, word in enumerate(words)}
    made = {f"{OWN}/code/{name}": bytes_of(code, numbers) for name, code in codes.items()}
    return {**made, f"{OWN}/words": table_of(words)} if codes else {}
