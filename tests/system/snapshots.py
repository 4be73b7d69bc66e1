"""What the tests of snapshots share: taking one, starting from it, and the fields of its header."""

import os
import struct
import tempfile
from pathlib import Path

import pytest

from harness import PYENTRY, clean_env, run

# name, struct code: launcher/image.h
FIELDS = [("magic", "8s"), ("version", "I"), ("header_bytes", "I"), ("file_bytes", "Q"), ("data_offset", "Q"),
          ("areas", "I"), ("runs", "I"), ("words_bytes", "I"), ("touched", "I"), ("program_start", "Q"),
          ("program_end", "Q"), ("arena_start", "Q"), ("arena_end", "Q"), ("thread_pointer", "Q"),
          ("stack_pointer", "Q"), ("entry", "Q"), ("build_id_pyentry", "20s"), ("build_id_loader", "20s"),
          ("build_id_libc", "20s"), ("cpu", "48s"), ("page_bytes", "I"), ("tables_checksum", "I"), ("header_checksum", "I")]


PT_INTERP = 3


def offsets():
    """{field: its place in the header}"""
    at, found = 0, {}
    for name, code in FIELDS:
        found[name] = at
        at += struct.calcsize("<" + code)
    return found


def areas(path):
    """(start, end) of the areas of memory in the image."""
    with open(path, "rb") as file:
        data = file.read()
    fields = header(path)
    return [struct.unpack_from("<QQ", data, fields["header_bytes"] + 32 * n) for n in range(fields["areas"])]


def header(path):
    """{field: value}"""
    layout = "<" + "".join(code for _, code in FIELDS)
    with open(path, "rb") as file:
        values = struct.unpack(layout, file.read(struct.calcsize(layout)))
    return dict(zip([name for name, _ in FIELDS], values))


def preloading(modules):
    """A fixture: the path of a snapshot of these modules, one for all tests of a file."""
    @pytest.fixture(scope="module")
    def snap(tmp_path_factory):
        path = tmp_path_factory.mktemp("snap") / "a.snap"
        take(path, "--preload", modules)
        return path
    return snap


# In the environment: a start goes the ordinary way, with a C library from the beginning.
ORDINARY = {"PYENTRY_RESTORE_TRIES": "0"}


def can_be_quick():
    """Whether pyentry starts from snapshots before it has a C library: the kernel is not asked for the loader."""
    with open(PYENTRY, "rb") as file:
        head = file.read(4096)
    first, = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    return PT_INTERP not in [struct.unpack_from("<I", head, first + n * size)[0] for n in range(count)]


def take(path, *words, env=None, **options):
    """pyentry --snapshot -o path words...; the report."""
    done = try_to_take(path, *words, env=env, **options)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert os.path.exists(path)
    return done.stdout.decode()


def try_to_take(path, *words, env=None, **options):
    options.setdefault("timeout", 60)
    return run([PYENTRY, "--snapshot", "-o", str(path), *words], env=clean_env() if env is None else env, **options)


def start(path, *words, options=(), **more):
    """A start that must be one from the snapshot."""
    return run([PYENTRY, "--restore-or-fail", f"--restore={path}", *options, *words], **more)


def said(path, *words, **more):
    """What a start wrote to stdout, where it went well."""
    done = start(path, *words, **more)
    assert (done.returncode, done.stderr) == (0, b""), (done.returncode, done.stdout, done.stderr)
    return done.stdout.decode()


def either(path, *words, options=(), **more):
    """A start that may do without."""
    return run([PYENTRY, f"--restore={path}", *options, *words], **more)


# In a namespace of its own, where the first process has the first number.
ALONE = ["unshare", "--pid", "--fork", "--mount-proc"]

_BECOME = """
import os, sys
number = None
while number != int(sys.argv[1]):
    number = os.fork()
    if number == 0:
        if os.getpid() == int(sys.argv[1]):
            os.execv(sys.argv[2], sys.argv[2:])
        os._exit(0)
    status = os.waitpid(number, 0)[1]
sys.exit(status != 0)
"""


def as_process(number):
    """The command prefix under which a program has this process id."""
    return [*ALONE, "/usr/bin/python3", "-I", "-S", "-c", _BECOME, str(number)]


# Another user, without capabilities, who gets none by what it starts.
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--inh-caps=-all",
          "--bounding-set=-all"]


@pytest.fixture
def open_path():
    """A directory that NOBODY comes to and writes in. pytest's own are closed to others at each of its runs."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o777)
        yield Path(path)


def can_be_run_by_nobody():
    """With the same library: the loader may find another of its name."""
    command = [PYENTRY, "-c", "import sys; print(sys.version)"]
    return run([*NOBODY, *command]).stdout == run(command).stdout


def why_not():
    """Why this pyentry can take no snapshots, in its own words; None: it can."""
    done = run([PYENTRY, "--snapshot", "-o", "/dev/null/x", "--preload", "json"])
    told = done.stderr.decode()
    return told if "snapshots cannot be taken" in told or "snapshots are for" in told else None


WHY_NOT = why_not()
needed = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
