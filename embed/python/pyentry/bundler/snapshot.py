"""A bundle's own snapshot: which modules go in, how it is taken, and where it lies."""

import dis
import importlib.util
import marshal
import os
import subprocess
import sys
import tempfile

from pyentry import _restored, _watch
from pyentry.bundler import archive
from pyentry.bundler.errors import Refused

AUTO = "auto"
PAGE = 4096
SURVEY = "from pyentry._survey import main; main()"


def environment():
    """The user's own, which the builder's Python is not to see."""
    return {name: value for name, value in _watch.given().items() if not name.startswith(b"PYENTRY_RESTORE")}


### Which modules

def main_code(options, collection, places, entries):
    """(name, code) of what runs as __main__."""
    module = options.main if options.main and ":" not in options.main else "__main__"
    for name in (f"{module}.__main__", module):
        file = collection.module_file(name, places) or ""
        code = None
        if file.endswith(".py"):
            code = archive.compiled(file, collection.files[file].read(), options.optimize)
        elif file.endswith(".pyc") and file in entries:
            code = marshal.loads(entries[file][archive.PYC_HEADER:])
        if code is not None:
            return name, code
    spec = importlib.util.find_spec(module)
    code = spec and spec.loader.get_code(module)
    if code is None:
        raise Refused(f"--snapshot: there is no code of the main module, {module}")
    return module, code


def imports_of(code):
    """(name, names below it, level) of each import that a module begins with: none that it may jump over, and none behind
    a statement that does something, which may matter to what is imported then."""
    constants, found, until = [], [], 0
    for step in dis.get_instructions(code):
        if step.opname.startswith(("STORE_ATTR", "STORE_SUBSCR", "CALL")) and "INTRINSIC" not in step.opname:
            break
        if step.opcode in dis.hasjrel + dis.hasjabs and not step.opname.startswith("SETUP_"):
            until = max(until, step.argval)
        if step.opname == "IMPORT_NAME":
            level, below = constants[-2:]
            if step.offset >= until:
                found.append((step.argval, below, level))
        elif step.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
            constants.append(step.argval)
    return found


def survey(bundle, name, code, scratch):
    """(order, reasons, needs) of the modules that the main module imports, from a run of the bundle."""
    package, out = name.rpartition(".")[0], os.path.join(scratch, "survey")
    imports = [(package, None, 0)] if package else []
    renewed = list(_restored.RENEWED)
    wanted = marshal.dumps((package, imports + imports_of(code), renewed)).hex()
    # -c has python look for modules in the working directory: there are none.
    done = subprocess.run(["python", "-Bc", SURVEY, wanted, out], executable=bundle, env=environment(), cwd=scratch,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0 or not os.path.exists(out):
        raise Refused("--snapshot: the imports of the main module cannot be followed: see above, or name modules with "
                      "--preload")
    with open(out, "rb") as file:
        return marshal.loads(file.read())


def with_all_that(names, needs):
    """The names, and whatever an import of them imports."""
    found, left = set(), list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += needs.get(name, ())
    return found


def choose(order, reasons, needs, named):
    """The modules that a snapshot holds, in the order of their import; why not, by module; and the others that import
    one of those. What is named, and what it imports, is in whatever it looks at."""
    for name in order:
        for dot in (at for at, letter in enumerate(name) if letter == "."):
            needs.setdefault(name, []).append(name[:dot])
    waived = with_all_that(named, needs)
    reasons = {name: why for name, why in reasons.items() if name not in waived}
    followers = [name for name in order if name not in reasons and not reasons.keys().isdisjoint(
        with_all_that([name], needs))]
    return [name for name in order if name not in reasons and name not in followers], reasons, followers


### Taking it

def place_of(out):
    """Where it will be: a link of that name is replaced, not followed."""
    directory, name = os.path.split(os.path.abspath(out))
    return os.path.join(os.path.realpath(directory), name)


def take(bundle, options, preload, scratch):
    """The image, and where in the bundle it belongs."""
    image = os.path.join(scratch, "image")
    base = -(-os.path.getsize(bundle) // PAGE) * PAGE
    at = options.at or (options.out if options.rootfs is not None else place_of(options.out))
    words = ["--at", at, "--preload", ",".join(preload) or "os"]
    for option in ("warm_up", "cpu"):
        if getattr(options, option):
            words += ["--" + option.replace("_", "-"), getattr(options, option)]
    done = subprocess.run(["pyentry", "--snapshot", "-o", image, *words], executable=bundle, env=environment())
    if done.returncode != 0:
        raise Refused("--snapshot: it was not taken: see above")
    with open(image, "rb") as file:
        file.seek(base)
        return file.read(), base


def report(preload, reasons, followers, listed):
    known = getattr(sys, "stdlib_module_names", ())
    tops = sorted({name.partition(".")[0] for name in preload if not name.startswith("_")},
                  key=lambda name: (name in known, name))
    print(f"in the snapshot: {len(preload)} modules, of {listed(tops)}")
    if reasons:
        print("imported at each start, unless --preload=auto,MODULE,... names them:")
    for name, why in reasons.items():
        print(f"    {name}: {why}")
    if followers:
        print(f"    {listed(followers)}: {'these import' if len(followers) > 1 else 'it imports'} one of those")


def add(bundle, program, main, options, seconds, listed):
    """Take the snapshot of a bundle that is finished but for it, and put it in. main is (name, code). Its size then."""
    os.chmod(bundle, os.stat(bundle).st_mode | 0o100)
    preload = (options.preload or AUTO).split(",")
    with tempfile.TemporaryDirectory(prefix="pyentry-") as scratch:
        if AUTO in preload:
            named = [name for name in preload if name != AUTO]
            chosen, reasons, followers = choose(*survey(bundle, *main, scratch), named)
            report(chosen, reasons, followers, listed)
            preload = chosen + named
        image, base = take(bundle, options, preload, scratch)
    return archive.add_snapshot(bundle, program, image, base, seconds)
