"""Compiles what was collected, and writes it behind a copy of this executable."""

import binascii
import contextlib
import importlib.util
import os
import tempfile
import time
import warnings
import zipfile

from _pyentry import bundle_mark

from pyentry.bundler import codes
from pyentry.bundler.collect import OWN, File
from pyentry.bundler.errors import Refused
from pyentry.bundler.libraries import is_library

EARLIEST = 315532800  # 1980-01-01, where zip's time begins
MOST_ENTRIES, MOST_BYTES = 65535 - 1, 2**32 - 1  # zip's own numbers
EMPTY_MARK = bundle_mark(0, 0, 0)
UNCHECKED_HASH, PYC_HEADER = 1, 16


def source_time():
    """What every file's time is: the same inputs give the same bytes."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return EARLIEST
    try:
        seconds = int(text)
        time.gmtime(seconds)
    except (ValueError, OverflowError, OSError):
        raise Refused(f"SOURCE_DATE_EPOCH={text!r} is no number of seconds") from None
    return min(max(seconds, EARLIEST), 4354819198)  # 2107-12-31, where zip's time ends


def pyc(code, source):
    return (importlib.util.MAGIC_NUMBER + UNCHECKED_HASH.to_bytes(4, "little") + importlib.util.source_hash(source)
            + codes.marshalled(code))


def compiled(name, source, optimize):
    """The code, or None where it does not compile. The path of the source is put in at the import."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compile(source, name, "exec", dont_inherit=True, optimize=optimize)
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
        return None


def recompiled(data):
    """A .pyc that came without source, with the header that the importer wants; None if it is another Python's."""
    if len(data) < PYC_HEADER or data[:4] != importlib.util.MAGIC_NUMBER:
        return None
    return data[:4] + UNCHECKED_HASH.to_bytes(4, "little") + bytes(8) + data[PYC_HEADER:]


class Counts:
    """For the summary."""

    def __init__(self):
        self.modules = self.data = 0


def contents(collection, options, counts, progress):
    """{name: bytes} of the archive, but for the bundle's own entries."""
    entries, modules = {}, {}
    for number, (name, file) in enumerate(sorted(collection.files.items()), 1):
        progress(number, len(collection.files))
        data = file.read()
        if name.endswith(".py"):
            code = compiled(name, data, options.optimize)
            if code is None:
                collection.leave_out(name, "does not compile, is in as source only")
            elif options.no_source:
                entries[name + "c"] = pyc(code, data)
            else:
                modules[name] = code
            if code is None or not options.no_source:
                entries[name] = data
            counts.modules += 1
        elif name.endswith(".pyc"):
            code = recompiled(data)
            if code is None:
                collection.leave_out(name, "compiled by another Python")
                continue
            entries[name] = code
            counts.modules += 1
        else:
            entries[name] = data
            counts.data += not is_library(name)
    return {**entries, **codes.entries(modules)}


def order(name):
    return name.encode()


def stored(name, seconds):
    info = zipfile.ZipInfo(name, time.gmtime(seconds)[:6])
    info.external_attr = 0o100644 << 16
    info.create_system = 3
    return info


def write_archive(file, entries, seconds):
    """Append the zip; returns where its directory begins and where it ends."""
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name in sorted(entries, key=order):
            archive.writestr(stored(name, seconds), entries[name])
        begin = archive.start_dir
    file.seek(0, os.SEEK_END)
    return begin, file.tell()


def write_mark(file, program, begin, end):
    """Write the mark of an archive that begins behind the program, with its directory at begin, and ends at end."""
    file.seek(begin)
    checksum = binascii.crc32(file.read(end - begin))
    file.seek(program.index(EMPTY_MARK))
    file.write(bundle_mark(len(program), end - len(program), checksum))


def write_executable(path, program, entries, seconds):
    """The bundle: program, archive, and the mark in the program that says where the archive is."""
    if program.count(EMPTY_MARK) != 1:
        raise Refused(f"this pyentry has {program.count(EMPTY_MARK)} marks for a bundle in it, where it should have one")
    if len(entries) > MOST_ENTRIES:
        raise Refused(f"{len(entries)} files are more than a bundle holds ({MOST_ENTRIES}): --exclude some, "
                      "or --no-source")
    size = len(program) + sum(map(len, entries.values())) + sum(2 * len(name.encode()) + 76 for name in entries) + 22
    if size > MOST_BYTES:
        raise Refused(f"{size} bytes are more than a bundle holds (4 GiB): --exclude some files")
    with open(path, "w+b") as file:
        file.write(program)
        begin, end = write_archive(file, entries, seconds)
        write_mark(file, program, begin, end)
    return end


def add_snapshot(path, program, image, base, seconds):
    """Put the image into the bundle, at base, where it was made to be: all else stays where it is."""
    name = f"{OWN}/snapshot"
    if base + len(image) > MOST_BYTES:
        raise Refused(f"{base + len(image)} bytes are more than a bundle holds (4 GiB)")
    with open(path, "r+b") as file:
        with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED, allowZip64=False) as archive:
            archive.start_dir = base - zipfile.sizeFileHeader - len(name)
            archive.writestr(stored(name, seconds), image)
            archive.filelist.sort(key=lambda info: order(info.filename))
            begin = archive.start_dir
        end = file.seek(0, os.SEEK_END)
        write_mark(file, program, begin, end)
    return end


@contextlib.contextmanager
def replacing(path):
    """A file beside path, which takes its place when everything went well."""
    directory, name = os.path.split(os.path.abspath(path))
    try:
        handle, scratch = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
    except OSError as error:
        raise Refused(f"{path}: cannot be written in {directory}: {error.strerror}") from None
    os.close(handle)
    try:
        yield scratch
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(scratch, 0o777 & ~mask)
        os.replace(scratch, path)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch)


def own_entries(lines, libraries, patterns):
    """What the C side reads: the manifest, which library needs which, and compiled regular expressions."""
    entries = {f"{OWN}/manifest": "".join(f"{key} {value}\n" for key, value in lines).encode()}
    if libraries:
        entries[f"{OWN}/libraries"] = "".join("\t".join(row) + "\n" for row in libraries).encode()
    if patterns:
        entries[f"{OWN}/patterns"] = patterns
    return entries


def generated(text):
    """A module that no input has."""
    return File("(made by pyentry --bundle)", None, text.encode())
