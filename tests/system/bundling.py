"""Build bundles for the tests, and run them where nothing else is in reach.

Debian's python3-* packages serve as vendor directories: vendor() copies some of them out of dist-packages, as
`pip install --target` would have put them there. out_of_reach() is the command that hides Python's own directories
from what follows, in a mount namespace.
"""

import os
import shutil
from pathlib import Path

from harness import PYENTRY, PYTHON, VERSION, run, stock

DIST_PACKAGES = Path("/usr/lib/python3/dist-packages")
STDLIB = Path(os.fsdecode(stock("-c", "import os; print(os.path.dirname(os.__file__))").stdout.strip()))


def build(out, *arguments, status=0, program=PYENTRY, **options):
    """`pyentry --bundle -o out ...`: the finished process."""
    options.setdefault("timeout", 120)
    done = run([program, "--bundle", "-o", str(out), *map(str, arguments)], **options)
    assert done.returncode == status, done.stderr.decode()
    return done


FORMS = ("file", "directory")  # what a bundle can be written as


def build_as(form, out, *arguments, **options):
    """The same in that form: the path of the executable."""
    build(out, *(["--dir"] if form == "directory" else []), *arguments, **options)
    return out / out.name if form == "directory" else out


def files_of(program):
    """Where a bundle's files are, as a path."""
    return program.parent / "files" if (program.parent / "files").is_dir() else program


def whole(program):
    """What was written: the file, or the directory."""
    return program if files_of(program) == program else program.parent


def vendor(folder, *names):
    """Copy packages, modules and their metadata by the first part of their names."""
    folder.mkdir(exist_ok=True)
    for name in names:
        found = [path for path in DIST_PACKAGES.iterdir()
                 if path.name == name or path.name.lower().startswith((name.lower() + ".", name.lower() + "-"))]
        assert found, f"{name} is not in {DIST_PACKAGES}"
        for path in found:
            if path.is_dir():
                shutil.copytree(path, folder / path.name, dirs_exist_ok=True,
                                ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, folder / path.name)
    return folder


HIDE = """
for place in "$@"; do shift; [ "$place" = -- ] && break; [ ! -d "$place" ] || mount -t tmpfs -o ro none "$place"; done
exec "$@"
"""


def out_of_reach(*also):
    """The command behind which the stock Python's library, its packages and these directories are empty."""
    places = {str(STDLIB), str(DIST_PACKAGES.parent), "/usr/local/lib", *map(str, also)}
    return ["unshare", "--mount", "/bin/sh", "-c", HIDE, "sh", *sorted(places), "--"]


def readable_by_tools(path):
    """What the standard tools say of the file as a zip archive."""
    return {
        "unzip": run(["unzip", "-tq", str(path)]),
        "zipinfo": run(["zipinfo", "-t", str(path)]),
        "zipfile": run([PYTHON, "-m", "zipfile", "-l", str(path)]),
    }


__all__ = ["DIST_PACKAGES", "FORMS", "PYENTRY", "STDLIB", "VERSION", "build", "build_as", "files_of", "out_of_reach",
           "readable_by_tools", "vendor", "whole"]
