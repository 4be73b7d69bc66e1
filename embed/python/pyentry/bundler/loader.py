"""Where the dynamic loader finds a library: ld.so's own rules, followed without running it."""

import os
import re
import struct

import _pyentry
from pyentry.bundler import elf
from pyentry.bundler.errors import Refused

CACHE, CACHE_BYTES = "/etc/ld.so.cache", 16 << 20
MAGIC, COUNT_AT, FIRST_AT, ENTRY = b"glibc-ld.so.cache1.1", 20, 48, struct.Struct("=iIIIQ")


def cached(data):
    """(name, path) of each library in the loader's cache. Those for newer processors only are passed over: the copies
    may run elsewhere. A damaged cache is as good as it goes."""
    start = data.find(MAGIC)
    if start < 0:
        return
    data = data[start:]

    def text(offset):
        return os.fsdecode(data[offset:data.index(b"\0", offset)])

    try:
        count, = struct.unpack_from("=I", data, COUNT_AT)
        for at in range(FIRST_AT, FIRST_AT + ENTRY.size * count, ENTRY.size):
            _, name, path, _, processors = ENTRY.unpack_from(data, at)
            if not processors:
                yield text(name), text(path)
    except (struct.error, ValueError):
        return


def read_cache(path=CACHE):
    found = {}
    try:
        with open(path, "rb") as file:
            data = file.read(CACHE_BYTES)
    except OSError:
        return found
    for name, place in cached(data):
        found.setdefault(name, []).append(place)
    return found


class Part:
    """One that needs libraries: what it says of itself, and where it is on this machine."""

    def __init__(self, name, library, path, asker=None):
        self.name = name
        self.elf = library
        self.path = path
        self.asker = asker  # the Part because of which the loader reads it

    def places(self, run_path):
        """The directories of a run path. Of what stands for something, only $ORIGIN is known here: it is where the loader
        came upon the file, be that a link."""
        origin = os.path.dirname(os.path.abspath(self.path))
        for place in run_path:
            place = re.sub(r"\$(ORIGIN|\{ORIGIN\})", lambda _: origin, place)
            if place.startswith("/") and "$" not in place:
                yield place

    def chain(self):
        """It, and those because of which it is read."""
        part = self
        while part:
            yield part
            part = part.asker


class Loader:
    """The dynamic loader of a program."""

    def __init__(self, program, cache):
        self.path = program.elf.interpreter or _pyentry.loader
        if not self.path:
            raise Refused(f"{program.path} names no dynamic loader")
        self.program = program
        self.cache = cache
        self.known = {}
        # The loader is in the C library's own directory, which is the first that it looks into without being told.
        self.own = os.path.dirname(os.path.realpath(self.path))

    def directories(self, asker):
        """Those before the cache, in ld.so's order."""
        if not asker.elf.runpath:
            for part in (*asker.chain(), self.program):
                if not part.elf.runpath:
                    yield from part.places(part.elf.rpath)
        yield from filter(None, re.split("[:;]", os.environ.get("LD_LIBRARY_PATH", "")))
        yield from asker.places(asker.elf.runpath)

    def candidates(self, name, asker):
        for directory in self.directories(asker):
            yield os.path.join(directory, name)
        yield from self.cache.get(name, ())
        for directory in (self.own, "/lib64", "/usr/lib64", "/lib", "/usr/lib"):
            yield os.path.join(directory, name)

    def find(self, name, asker):
        """The Part that the loader takes for the name, or None. As the loader does, it passes over other machines'."""
        for path in self.candidates(name, asker):
            library = self.read(path)
            if library and library.machine == self.program.elf.machine:
                return Part(name, library, path, asker)
        return None

    def read(self, path):
        if path not in self.known:
            try:
                with open(path, "rb") as file:
                    self.known[path] = elf.read(file.read())
            except OSError:
                self.known[path] = None
        return self.known[path]
