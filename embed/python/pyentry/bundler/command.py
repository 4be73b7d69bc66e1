"""The command line of `pyentry --bundle`."""

import argparse
import contextlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import sysconfig

from pyentry.bundler import archive, directory, patterns, rootfs, snapshot
from pyentry.bundler.collect import HOME, Collection
from pyentry.bundler.elf import read as read_elf
from pyentry.bundler.errors import Refused
from pyentry.bundler.libraries import Libraries, is_library
from pyentry.bundler.tree import replacing

NAMES_SHOWN = 5  # of a long list, unless --verbose

DESCRIPTION = """\
Write one executable file that holds an app, all that it imports, and pyentry. A PATH is a directory whose contents go
in (src, vendor, a venv's site-packages), a package's directory, or a single module.
"""

EPILOG = """\
A bundle's command line is the app's, but for python's options -c -m -I -B -S -u -X -W -E -s in front, which make it a
python with the bundle's modules; behind "--" all is the app's. SOURCE_DATE_EPOCH is the time of the files in the bundle.
"""


def extras(text):
    names = text.split(",")
    if unknown := [name for name in names if name not in rootfs.EXTRAS]:
        raise argparse.ArgumentTypeError(f"there is no {unknown[0]!r}: it takes {', '.join(rootfs.EXTRAS)}")
    return names


def parser():
    made = argparse.ArgumentParser(prog="pyentry --bundle", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False,
                                   usage="%(prog)s -o OUT [-m MODULE[:FUNCTION]] [option]... PATH...")
    made.add_argument("-o", dest="out", metavar="OUT", required=True,
                      help="the file to write; with --dir, the directory; with --rootfs, its path in there")
    made.add_argument("-m", dest="main", metavar="MODULE[:FUNCTION]",
                      help="what the bundle runs; default: the __main__.py of an input")
    made.add_argument("--args", default="", metavar="ARGUMENTS",
                      help="arguments for when it is given none; ${NAME} and ${NAME:-otherwise} are replaced at the start")
    made.add_argument("--option", action="append", default=[], metavar="NAME=VALUE",
                      help="one of pyentry's own options; its variable in the environment wins")
    made.add_argument("--dir", action="store_true",
                      help="write a directory in place of one file: an executable of its name, and beside it the files")
    made.add_argument("--stdlib", action="store_true",
                      help="put in the standard library: no Python installation is needed to run it")
    made.add_argument("--rootfs", metavar="DIR",
                      help="write all that a FROM scratch image needs into DIR; brings --stdlib with it")
    made.add_argument("--with", dest="extras", metavar="NAME,...", type=extras, action="extend", default=[],
                      help=f"for --rootfs: {', '.join(rootfs.EXTRAS)}")
    made.add_argument("--no-source", action="store_true", help="compiled code only: smaller, no lines in tracebacks")
    made.add_argument("--exclude", action="append", default=[], metavar="PATTERN",
                      help="leave out what matches: a name anywhere (tests), or a path from the top (pkg/data/*.csv)")
    made.add_argument("--optimize", type=int, choices=(0, 1, 2), default=0,
                      help="as python's -O: 1 without assertions, 2 without docstrings")
    made.add_argument("--snapshot", action="store_true",
                      help="put in a snapshot of the imported modules, from which the app starts")
    made.add_argument("--at", default="", metavar="PATH",
                      help="where OUT will lie when it runs from its snapshot; default: where it is written")
    made.add_argument("--preload", default="", metavar="MODULE,...",
                      help="what the snapshot imports; default: auto, what the main module does as far as that is safe")
    made.add_argument("--warm-up", default="", metavar="MODULE:FUNCTION", help="what is called before the snapshot")
    made.add_argument("--cpu", default="", choices=("v2", "v3", "native"), help="the processors that the snapshot is for")
    made.add_argument("--force", action="store_true", help="replace what is there, when all went well")
    made.add_argument("--verbose", action="store_true", help="name every file that is left out")
    made.add_argument("paths", nargs="*", metavar="PATH")
    return made


### The main module

def main_source(text, collection, places):
    """The text of the bundle's __main__.py for -m; that of a module is for a python that runs the bundle as a zip file."""
    match = re.fullmatch(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?::([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*))?", text)
    if not match:
        raise Refused(f"-m {text}: it takes MODULE or MODULE:FUNCTION")
    module, function = match.groups()
    file = find_module(module, collection, places)
    if file is None:
        raise Refused(f"-m {text}: there is no module {module} in the inputs")
    if function:
        head = function.partition(".")[0]
        return f"import sys\nfrom {module} import {head}\nsys.exit({function}())\n"
    if "/__init__." in f"/{file}" and find_module(module + ".__main__", collection, places) is None:
        raise Refused(f"-m {text}: {module} is a package without a __main__ module; name a module in it, or "
                      f"{module}:FUNCTION")
    return f"import runpy\nrunpy._run_module_as_main({module!r}, False)\n"


def find_module(module, collection, places):
    """The file of a module in the bundle, or of one in the standard library, which is all that is on our path."""
    found = collection.module_file(module, places)
    if found is not None:
        return found
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        return None
    return spec and (spec.origin or "")


def add_main(options, collection, places):
    if options.main:
        text = main_source(options.main, collection, places)
        if collection.files.pop("__main__.py", None):
            collection.leave_out("__main__.py", "-m stands in its place")
        collection.files["__main__.py"] = archive.generated(text)
    elif not {"__main__.py", "__main__.pyc"} & set(collection.files):
        raise Refused("there is no main module: give -m MODULE, or an input with a __main__.py")


### The manifest

def check_option(text):
    """pyentry itself says what is wrong with one of its options."""
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[a-z][a-z-]*", name):
        raise Refused(f"--option {text}: it takes NAME=VALUE, like stop-timeout=30s")
    value = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
    if "${" in value:  # known at the start only: it is the name alone that can be checked
        done = subprocess.run([sys.executable, f"--{name}"], capture_output=True, text=True)
        known = "needs a value" in done.stderr
    else:
        done = subprocess.run([sys.executable, f"--{name}={value}", "--version"], capture_output=True, text=True)
        known = done.stdout.startswith("Python ")
    if not known:
        said = done.stderr.strip()
        raise Refused(f"--option {text}: " + (said[9:] if said.startswith("pyentry: ") else "no such option"))


def manifest(options, seconds):
    for option in options.option:
        check_option(option)
    try:
        words = shlex.split(options.args)
    except ValueError as error:
        raise Refused(f"--args: {error}") from None
    lines = [("format", 1), ("python", "%d.%d" % sys.version_info[:2]), ("time", seconds),
             ("stdlib", int(options.stdlib)), ("optimize", options.optimize)]
    if not options.stdlib:
        lines.append(("library", sysconfig.get_path("stdlib")))
    if options.dir:
        lines.append(("files", directory.FILES))
    if options.main and ":" not in options.main:
        lines.append(("main", options.main))
    lines += [("option", option) for option in options.option] + [("arg", word) for word in words]
    for key, value in lines:
        if "\n" in str(value):
            raise Refused(f"--{key}: a line end cannot be in it")
    if sum(len(str(value)) + 16 for _, value in lines) > 65536:
        raise Refused("--args: more than 64 KiB of arguments")
    return lines


### Reports

class Progress:
    """A line that changes, on a terminal; nothing in a pipe."""

    def __init__(self):
        self.shown = sys.stderr.isatty()

    def __call__(self, number, total):
        if self.shown and (number % 50 == 0 or number == total):
            end = "\r" if number < total else "\r\033[K"
            sys.stderr.write(f"compiling {number} of {total}{end}")
            sys.stderr.flush()


def say(text):
    sys.stderr.write(f"pyentry: {text}\n")


def listed(names, options):
    shown = names if options.verbose else names[:NAMES_SHOWN]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def report(options, collection, counts, size):
    for why, names in sorted(collection.left_out.items()):
        say(f"not in the bundle as it is: {listed(names, options)}: {why}")
    for pattern in sorted(collection.unused):
        say(f"--exclude {pattern} matched nothing")
    print(f"{(options.rootfs or '') + options.out}: {counts.modules} modules, {counts.extensions} extension modules and "
          f"libraries, {counts.data} data files, {size / 1e6:.1f} MB", flush=True)


def report_root(options, tree, size):
    files = [content for _, content in tree.nodes.values() if isinstance(content, bytes)]
    print(f"{options.rootfs}: {len(files)} files, {(size + sum(map(len, files))) / 1e6:.1f} MB", flush=True)


def warn(collection, libraries, options, machine):
    found = {}
    for why, name in libraries.warnings(machine):
        found.setdefault(why, []).append(name)
    for why, names in sorted(found.items()):
        say(f"warning: these are {why}, and will not load: {listed(names, options)}")
    paths = [name for name in collection.files if name.endswith(".pth") and "/" not in name]
    if paths:
        say(f"warning: a bundle does not act on .pth files: {listed(sorted(paths), options)}")


### All of it

def check_snapshot(options):
    for name in ("at", "preload", "warm_up", "cpu"):
        if getattr(options, name) and not options.snapshot:
            raise Refused(f"--{name.replace('_', '-')} is for --snapshot, which is not there")
    if options.snapshot and options.dir:
        raise Refused("--snapshot is for a bundle in one file: leave --dir out")
    if options.at and not os.path.isabs(options.at):
        raise Refused(f"--at {options.at}: it takes the whole path, which begins with a slash")
    options.at = options.at and os.path.normpath(options.at)


def check_place(options):
    """Before the work, what would refuse its result."""
    if options.rootfs is not None:
        if options.dir:
            raise Refused("--rootfs holds a bundle in one file: leave --dir out")
        rootfs.prepare(options)
    elif options.extras:
        raise Refused("--with is for --rootfs")
    elif options.dir:
        directory.check_place(options.out, options.force)
    elif os.path.isdir(options.out):
        raise Refused(f"{options.out} is a directory: name the file to write, or --dir")
    elif os.path.lexists(options.out) and not options.force:
        raise Refused(f"{options.out} is already there: --force overwrites it")


def collect(options):
    """What goes in, and where the modules are to be looked for."""
    collection = Collection(options.exclude, options.out if options.rootfs is None else options.rootfs)
    for path in options.paths:
        collection.add_input(path)
    if any(name.split("/", 1)[0] == HOME for name in collection.files):
        raise Refused(f"an input has a directory {HOME}, which is the bundle's own")
    places = ["", *([collection.add_stdlib()] if options.stdlib else [])]
    add_main(options, collection, places)
    collection.check()
    return collection, places


@contextlib.contextmanager
def place(options, tree, seconds):
    """Where to write, so that all of it appears at once."""
    if tree is None:
        with (directory if options.dir else archive).replacing(options.out) as path:
            yield path
    else:
        with replacing(tree, options.rootfs, seconds) as top:
            yield top + options.out


def build(options):
    check_snapshot(options)
    check_place(options)
    seconds = archive.source_time()
    lines = manifest(options, seconds)
    collection, places = collect(options)
    counts = archive.Counts()
    entries = archive.contents(collection, options, counts, Progress())
    libraries = Libraries(entries)
    with open("/proc/self/exe", "rb") as file:
        program = file.read()
    itself = read_elf(program)
    tree = rootfs.plan(options, itself, collection, entries, libraries) if options.rootfs is not None else None
    counts.extensions = sum(map(is_library, entries))
    # Without the standard library, the module re is another's.
    table = patterns.table(collection) if options.stdlib else None
    entries.update(archive.own_entries(lines, libraries.rows(), table))
    warn(collection, libraries, options, itself.machine)
    with place(options, tree, seconds) as path:
        if options.dir:
            size = directory.write_directory(path, directory.name_of(options.out), program, entries, collection, seconds)
        else:
            size = archive.write_executable(path, program, entries, seconds)
        if options.snapshot:
            main = snapshot.main_code(options, collection, places, entries)
            size = snapshot.add(path, program, main, options, seconds, lambda names: listed(names, options))
    report(options, collection, counts, size)
    if tree:
        report_root(options, tree, size)


def main():
    options = parser().parse_args()
    try:
        build(options)
    except Refused as refusal:
        say(f"--bundle: {refusal}")
        sys.exit(1)
