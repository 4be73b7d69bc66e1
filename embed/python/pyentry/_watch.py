"""Which environment variables are read while a snapshot is made, and by whom."""

import os
import sys

_SEE_THROUGH = {"os", "posixpath", "collections.abc", "pyentry._watch"}


def _reader():
    """The name of the module that asks, behind the library code that it asks through."""
    frame = sys._getframe(3)
    while frame is not None and frame.f_globals.get("__name__") in _SEE_THROUGH:
        frame = frame.f_back
    return "python" if frame is None else str(frame.f_globals.get("__name__"))


def given():
    """The environment as the process got it: what python puts there by itself, for the C locale, does not count."""
    with open("/proc/self/environ", "rb") as file:
        words = [word.partition(b"=") for word in file.read().split(b"\0") if b"=" in word]
    return {name: value for name, _, value in reversed(words)}


class Watch:
    """From start to stop, os.environ tells us of every look at it."""

    def __init__(self):
        self.read = {}    # name: the module that read it first
        self.written = {}  # name as it was given: the module that wrote it first
        self.copied = []  # modules that took all of it
        self._passing = set()
        self._kept = {}

    def start(self):
        kind = type(os.environ)
        self._before = given()
        self._replace(kind, "__getitem__", self._getitem(kind.__getitem__))
        self._replace(kind, "__iter__", self._iter(kind.__iter__))
        self._replace(kind, "__setitem__", self._write(kind.__setitem__))
        self._replace(kind, "__delitem__", self._write(kind.__delitem__))

    def _replace(self, kind, name, function):
        self._kept[name] = getattr(kind, name)
        setattr(kind, name, function)

    def stop(self):
        for name, function in self._kept.items():
            setattr(type(os.environ), name, function)
        self._kept.clear()

    def _getitem(self, original):
        def getitem(environ, key):
            if key in self._passing:
                self._passing.discard(key)
            elif isinstance(key, (str, bytes)) and key not in self.written:
                self.saw(os.fsdecode(key))
            return original(environ, key)
        return getitem

    def saw(self, name):
        """A variable is read."""
        self.read.setdefault(name, _reader())

    def saw_all(self):
        """All of the environment is read."""
        reader = _reader()
        if reader not in self.copied:
            self.copied.append(reader)

    def _iter(self, original):
        def iterate(environ):
            self.saw_all()
            for key in original(environ):
                self._passing.add(key)
                yield key
            self._passing.clear()
        return iterate

    def _write(self, original):
        def write(environ, key, *value):
            original(environ, key, *value)
            self.wrote(key)
        return write

    def wrote(self, key):
        """A variable is written to, or deleted."""
        self.written.setdefault(key, _reader())

    def _writes(self):
        """(name, value or None now, value or None as it was given, module) of what was written, in bytes."""
        for key, module in self.written.items():
            name = os.fsencode(key)
            yield name, os.environ._data.get(name), self._before.get(name), module

    def rows(self):
        """(name, value or None, module) of what must be as it was, in the order of the names."""
        kept = {os.fsdecode(name): module for name, now, before, module in self._writes() if now == before}
        for name, module in sorted({**kept, **self.read}.items()):
            value = self._before.get(os.fsencode(name))
            yield name, value if value is None else os.fsdecode(value), module

    def changes(self):
        """{name: value or None} of what was written, and is not what the process was given."""
        return {name: now for name, now, before, _ in self._writes() if now != before}

    def words(self):
        """The same for the image: see launcher/image.h."""
        return b"".join(
            b"\0".join((b"U" if value is None else b"S", os.fsencode(name), os.fsencode(value or ""),
                        os.fsencode(module), b""))
            for name, value, module in self.rows() if "\0" not in name)
