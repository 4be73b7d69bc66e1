"""Which files go into a bundle, under which names."""

import fnmatch
import os
import re
import stat
import sys
import sysconfig

from pyentry.bundler.errors import Refused

# Where the bundle keeps what is its own; the C side knows them, too (embed/bundle/bundle.h).
OWN, HOME = ".pyentry", ".python"

NEVER = ("__pycache__", ".git", ".hg", ".svn", ".tox", ".mypy_cache", ".pytest_cache")

# Of the standard library: what is no use at run time, or cannot work from a bundle. nis, which nobody has asked for
# anything in years, would bring Kerberos into every scratch image.
STDLIB_NEVER = (
    "test", "idlelib", "turtledemo", "turtle.py", "ensurepip", "lib2to3", "pydoc_data", "distutils/command",
    "lib-dynload/nis.*", "distutils/tests", "unittest/test", "sqlite3/test", "ctypes/test", "tkinter/test",
    "site-packages", "dist-packages", "config-*", "lib-dynload/_test*", "lib-dynload/xx*", "lib-dynload/_ctypes_test*",
    "sitecustomize.py", "EXTERNALLY-MANAGED",
)


class File:
    """One file for the bundle: where its bytes are, and which input brought it."""

    def __init__(self, path, origin, data=None):
        self.path = path
        self.origin = origin
        self.data = data  # where there is no such file

    def read(self):
        if self.data is not None:
            return self.data
        try:
            with open(self.path, "rb") as file:
                return file.read()
        except OSError as error:
            raise Refused(f"{self.path}: {error.strerror}") from None


def matches(name, patterns):
    """A pattern with a slash is for paths from the top, one without for any part of a path; both take what is below."""
    parts = name.split("/")
    heads = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return any(fnmatch.fnmatchcase(text, pattern)
               for pattern in patterns for text in (heads if "/" in pattern else parts))


class Collection:
    """Names in the bundle, and their files."""

    def __init__(self, excluded, out):
        self.files = {}
        place, name = os.path.split(os.path.abspath(out))
        self.place = os.path.realpath(place)
        # What this build replaces, and what others like it have left behind when they were killed.
        self.outputs = re.compile(rf"{re.escape(name)}|\.(pyentry|{re.escape(name)})\.\w{{8}}")
        self.excluded = excluded
        self.left_out = {}  # why: [names]
        self.unused = set(excluded)

    def leave_out(self, name, why):
        self.left_out.setdefault(why, []).append(name)

    def add(self, name, file):
        """Take a file, unless another input has brought another one of that name."""
        if problem := bad_name(name):
            self.leave_out(name, problem)
            return
        there = self.files.get(name)
        if there is None:
            self.files[name] = file
        elif there.read() != file.read():
            raise Refused(f"{there.path} and {file.path} would both be {name} in the bundle, and differ: "
                          "leave one out with --exclude")

    def is_excluded(self, name):
        hits = [pattern for pattern in self.excluded if matches(name, [pattern])]
        self.unused.difference_update(hits)
        return bool(hits)

    def add_input(self, path):
        path = os.path.normpath(path)
        if not os.path.exists(path):
            raise Refused(f"{path}: no such file or directory")
        if not os.path.isdir(path):
            self.add_tree(path, os.path.basename(path), path)
        elif os.path.isfile(os.path.join(path, "__init__.py")):
            self.add_tree(path, os.path.basename(os.path.abspath(path)), path)
        else:
            self.add_tree(path, "", path)

    def add_tree(self, path, name, origin, never=NEVER, above=()):
        """A file, or a directory and all below it; links are followed, but not in circles."""
        base = os.path.basename(path)
        if name and (base in NEVER or matches(name, never)):
            return
        if above and self.outputs.fullmatch(base) and os.path.realpath(os.path.dirname(path)) == self.place:
            self.leave_out(name, "what this command writes")
            return
        if name and self.is_excluded(name):
            self.leave_out(name, "--exclude")
            return
        try:
            status = os.stat(path)
        except OSError as error:
            self.leave_out(name, f"cannot be read ({error.strerror})")
            return
        if stat.S_ISDIR(status.st_mode):
            place = status.st_dev, status.st_ino
            if place in above:
                self.leave_out(name, "a link in a circle")
                return
            for below in list_directory(path):
                self.add_tree(os.path.join(path, below), f"{name}/{below}" if name else below, origin, never,
                              (*above, place))
        elif not stat.S_ISREG(status.st_mode):
            self.leave_out(name, "no regular file")
        elif name.endswith(".pyc") and os.path.exists(path[:-1]):
            return  # compiled anew
        else:
            self.add(name, File(path, origin))

    def add_stdlib(self):
        """This Python's standard library, as lib/pythonX.Y of the bundle's home."""
        place = f"{HOME}/{sys.platlibdir}/python{sys.version_info[0]}.{sys.version_info[1]}"
        stdlib, shared = sysconfig.get_path("stdlib"), sysconfig.get_config_var("DESTSHARED")
        if not os.path.isfile(os.path.join(stdlib, "os.py")):
            raise Refused(f"--stdlib: the standard library is not in {stdlib}")
        for directory, below in ((stdlib, ""), (shared, "/lib-dynload")):
            if directory and os.path.isdir(directory) and (not below or not directory.startswith(stdlib + "/")):
                self.add_stdlib_tree(directory, place + below, place)
        return place

    def add_stdlib_tree(self, directory, name, place):
        never = [f"{place}/{pattern}" for pattern in STDLIB_NEVER]
        self.add_tree(directory, name, directory, never)

    def check(self):
        """What can only be seen when everything is there."""
        for name in self.files:
            head = name
            while "/" in head:
                head = head.rpartition("/")[0]
                if head in self.files:
                    raise Refused(f"{self.files[head].path} is a file and {self.files[name].path} is below a directory "
                                  f"of that name, {head}: leave one out with --exclude")
            stem = name[:-len("/__init__.py")]
            other = self.files.get(stem + ".py") if name.endswith("/__init__.py") else None
            if other and other.origin != self.files[name].origin:
                raise Refused(f"{other.path} and {self.files[name].path} are both the module {stem.replace('/', '.')}: "
                              "leave one out with --exclude")

    def module_file(self, module, places=("",)):
        """The file of a module, as an import would find it below one of the places, or None."""
        for place in places:
            path = (place + "/" if place else "") + module.replace(".", "/")
            for name in self.files:
                if name in (f"{path}.py", f"{path}.pyc", f"{path}/__init__.py", f"{path}/__init__.pyc"):
                    return name
                if name.endswith(".so") and name.startswith((f"{path}.", f"{path}/__init__.")):
                    return name
        return None


def list_directory(path):
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None


def bad_name(name):
    """Why a name cannot be one in the bundle, or None."""
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if name.split("/", 1)[0] == OWN:
        return f"{OWN} is the bundle's own"
    if any(character in name for character in "\0\n\t\\"):
        return "a line end, a tab or a backslash in its name"
    if len(encoded) > 4000 or any(len(part) > 255 for part in encoded.split(b"/")):
        return "its name is too long"
    return None
