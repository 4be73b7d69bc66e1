"""--dir: a directory in place of one file. The executable has the code; all else are files beside it, at their own paths.

    OUT/NAME            the executable: pyentry, the code, and a line for each file
    OUT/files/PATH      sources, data, extension modules, shared libraries
"""

import binascii
import contextlib
import os
import shutil
import tempfile
import zipfile

from pyentry.bundler import archive
from pyentry.bundler.collect import OWN
from pyentry.bundler.errors import Refused
from pyentry.bundler.tree import Tree

FILES = "files"  # in the manifest, for the C side


def parted(entries):
    """What goes into the archive, and what into the directory: {name: bytes} twice."""
    inside, outside = {}, {}
    for name, data in entries.items():
        own, is_code = name.startswith(f"{OWN}/"), name.endswith(".pyc")
        if not own and not (is_code and name[:-1] in entries):
            outside[name] = data
        inside[name] = data if own or is_code else line_of(len(data), binascii.crc32(data))
    return inside, outside


def line_of(size, checksum):
    """What the archive has of a file that lies outside (embed/bundle/files.h)."""
    return b"%d %08x\n" % (size, checksum)


def mode_of(name, collection):
    """A program that a package brings along stays one."""
    file = collection.files.get(name)
    with contextlib.suppress(OSError):
        if file is not None and file.data is None and os.stat(file.path).st_mode & 0o111:
            return 0o755
    return 0o644


def write_directory(path, name, program, entries, collection, seconds):
    """All of it into an empty directory; returns how many bytes."""
    inside, outside = parted(entries)
    tree = Tree()
    tree.add_file(name, b"", 0o755)
    tree.add_directory(FILES)
    for entry, data in outside.items():
        tree.add_file(f"{FILES}/{entry}", data, mode_of(entry, collection))
    tree.write(path)
    size = archive.write_executable(os.path.join(path, name), program, inside, seconds)
    os.chmod(path, 0o755)
    tree.set_times(path, seconds)
    return size + sum(map(len, outside.values()))


### What is in its place already

def name_of(out):
    """The executable's name: the directory's own."""
    name = os.path.basename(os.path.abspath(out))
    if name in ("", FILES):
        raise Refused(f"{out}: the executable in it would have the name {name!r}: choose another")
    return name


def lines_in(executable):
    """{name: line} of the files that a bundle's archive names, or None where it is none of a directory."""
    try:
        with zipfile.ZipFile(executable) as file:
            if f"\nfiles {FILES}\n".encode() not in file.read(f"{OWN}/manifest"):
                return None
            return {info.filename: line_of(info.file_size, info.CRC) if info.filename.endswith(".pyc") else file.read(info)
                    for info in file.infolist()}
    except (OSError, KeyError, zipfile.BadZipFile):
        return None


def is_changed(path, line):
    with contextlib.suppress(OSError), open(path, "rb") as file:
        data = file.read()
        return line_of(len(data), binascii.crc32(data)) != line
    return False


def check_place(out, force):
    """Only a bundle as we left it is replaced: whatever else is in it is somebody's."""
    name = name_of(out)
    if not os.path.lexists(out):
        return
    if os.path.islink(out) or not os.path.isdir(out):
        raise Refused(f"{out} is no directory: --dir makes one")
    if not force:
        raise Refused(f"{out} is already there: --force replaces it")
    paths = [os.path.join(directory, one) for directory, below, names in os.walk(out) for one in below + names]
    there = {os.path.relpath(path, out) for path in paths if os.path.islink(path) or not os.path.isdir(path)}
    written = lines_in(os.path.join(out, name))
    if there and written is None:
        raise Refused(f"{out} is not a bundle: remove it, or choose another")
    others = sorted(there - {name, *(f"{FILES}/{entry}" for entry in written or ())})
    if others:
        raise Refused(f"{out} has files that are not of the bundle, {others[0]} for one: move them away")
    changed = [entry for entry in sorted(written or ()) if is_changed(os.path.join(out, FILES, entry), written[entry])]
    if changed:
        raise Refused(f"{out} has files that are not what they were, {FILES}/{changed[0]} for one: move them away")


@contextlib.contextmanager
def replacing(out):
    """A directory beside out, which takes its place when everything went well."""
    parent, name = os.path.split(os.path.abspath(out))
    try:
        scratch = tempfile.mkdtemp(prefix=f".{name}.", dir=parent)
    except OSError as error:
        raise Refused(f"{out}: cannot be written in {parent}: {error.strerror}") from None
    fresh, old = os.path.join(scratch, "new"), os.path.join(scratch, "old")
    try:
        os.mkdir(fresh)
        yield fresh
        if os.path.isdir(out):
            os.rename(out, old)
        try:
            os.rename(fresh, out)
        except OSError:
            if os.path.isdir(old):
                os.rename(old, out)
            raise
    except OSError as error:
        raise Refused(f"{out}: {error.strerror}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
