"""The shared libraries in a bundle: which need which, and which cannot work."""

import posixpath
import re
import sysconfig

from pyentry.bundler import elf


def is_library(name):
    return name.endswith(".so") or ".so." in name.rpartition("/")[2]


def found_by(name, library, needed, by_base):
    """The name of the library in the bundle that `needed` means for this one, or None."""
    for directory in library.run_path:
        if directory.startswith(("$ORIGIN", "${ORIGIN}")):
            below = re.sub(r"^\$(ORIGIN|\{ORIGIN\})", posixpath.dirname(name) or ".", directory)
            path = posixpath.normpath(posixpath.join(below, needed))
            if path in by_base.get(needed, ()):
                return path
    # Without a run path that says where: auditwheel's names are unlike any other.
    candidates = [path for path in by_base.get(needed, ()) if posixpath.dirname(path).endswith(".libs")]
    return candidates[0] if len(candidates) == 1 else None


class Libraries:
    """All of them, by their names in the bundle."""

    def __init__(self, entries):
        self.elves, self.by_base = {}, {}
        for name in sorted(filter(is_library, entries)):
            library = elf.read(entries[name])
            if library is None:
                continue
            self.elves[name] = library
            for base in {name.rpartition("/")[2], library.soname} - {""}:
                self.by_base.setdefault(base, []).append(name)

    def needs(self, name, seen=None):
        """The bundle's libraries that this one needs, in the order of loading, without itself."""
        seen = {name} if seen is None else seen
        order = []
        for needed in self.elves[name].needed:
            found = found_by(name, self.elves[name], needed, self.by_base)
            if found and found not in seen:
                seen.add(found)
                order += [*self.needs(found, seen), found]
        return order

    def rows(self):
        """(name, needed, needed...) of each that needs another."""
        return [(name, *order) for name in self.elves if (order := self.needs(name))]

    def warnings(self, machine):
        """(why, name) of those that this Python, on this machine, cannot load."""
        tag = re.compile(r"\.(cpython-\d+|pypy\d+)[^.]*\.so$")
        own = sysconfig.get_config_var("SOABI").split("-")[:2]
        for name, library in self.elves.items():
            match = tag.search(name)
            if library.machine != machine:
                yield "for another machine", name
            elif match and match[1] != "-".join(own):
                yield "for another Python", name
