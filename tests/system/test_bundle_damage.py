"""A damaged bundle says so in one line and ends with 1, or the damage does not matter: never wrong code.

With PYENTRY_TEST_FLIPS=9 every byte of the mark and the archive is flipped in nine ways, each bit and all of them, and the
file is cut at every length that the archive leaves. docs/bundles.md says what came of it.
"""

import io
import os
import re
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from bundling import build
from harness import clean_env, run, write_tree

WORKERS = 2
FLIPS = int(os.environ.get("PYENTRY_TEST_FLIPS", "0"))
STRIDE = 1 if FLIPS else 3
APP = "import dep\nprint('right', dep.value, open(__file__.partition('.py')[0][:-3] + 'data.txt').read())\n"


@pytest.fixture(scope="module", params=[(), ("--no-source",)], ids=["source", "no source"])
def bundle(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    write_tree(folder / "in", {"app.py": APP, "dep.py": "value = 7\n", "data.txt": "data"})
    build(folder / "app", "-m", "app", *request.param, folder / "in")
    return folder / "app"


def first_header(data):
    """The local header of the first file in the archive, whose name sorts before all others."""
    return zipfile.ZipFile(io.BytesIO(data)).infolist()[0].header_offset


def outcome(path):
    done = run([path])
    return done.returncode, done.stdout, done.stderr


def judge(path, what):
    """None where the damage was told or did not matter; else what happened."""
    status, out, err = outcome(path)
    if (status, out, err) == (0, b"right 7 data\n", b""):
        return None
    lines = err.splitlines()
    told = status == 1 and out == b"" and lines and lines[0].startswith(b"pyentry: ") and b"damaged" in lines[0]
    # Python's own line may follow where a file could not be read.
    if told and (len(lines) == 1 or lines[-1].startswith(b"OSError: [Errno 5]")):
        return None
    return f"{what}: {status} {out!r} {err!r}"


def copies(bundle, folder):
    """A copy of the bundle for each worker, handed out while nobody runs it."""
    free = []
    for number in range(WORKERS):
        free.append(folder / f"copy{number}")
        shutil.copy(bundle, free[-1])
    return free


def masks(offset):
    """The ways in which this byte is flipped."""
    return [0xFF, *(1 << bit for bit in range(8))][:FLIPS] if FLIPS else [0xFF if offset % 2 else 0x01]


def flip(path, offset, mask):
    with open(path, "r+b") as file:
        byte = os.pread(file.fileno(), 1, offset)[0]
        os.pwrite(file.fileno(), bytes([byte ^ mask]), offset)


def test_bytes_of_it_flipped(bundle, tmp_path):
    data = bundle.read_bytes()
    start = first_header(data)
    directory = data.index(b"PK\x01\x02", start)
    # What Python starts for is taken by every STRIDE-th byte: tests/unit/test_archive.c flips each.
    mark = next(found.start() for found in re.finditer(b"pyentry bundle 1", data)
                if int.from_bytes(data[found.start() + 16:found.start() + 24], "little") == start)
    offsets = [*range(mark, mark + 40), *range(start, start + 110),
               *range(start + 110, directory, STRIDE), *range(directory, len(data))]
    free = copies(bundle, tmp_path)
    with ThreadPoolExecutor(WORKERS) as pool:
        def damaged(case):
            path = free.pop()
            flip(path, *case)
            try:
                return judge(path, f"byte {case[0] - start}, {case[1]:#x}")
            finally:
                flip(path, *case)
                free.append(path)
        bad = [text for text in pool.map(damaged, [(offset, mask) for offset in offsets for mask in masks(offset)]) if text]
    assert not bad, bad[:10]


def test_truncations(bundle, tmp_path):
    path = tmp_path / "app"
    shutil.copy(bundle, path)
    size = path.stat().st_size
    start = first_header(path.read_bytes())
    for length in [*range(size - 1, size - 60, -1), *range(size - 60, start, -STRIDE), start, start - 1]:
        os.truncate(path, length)
        status, out, err = outcome(path)
        assert (status, out) == (1, b""), length
        assert err.decode() == (f"pyentry: {path}: this bundle is damaged: it has {length} bytes in place of {size} "
                                "(cut short, stripped or appended to?). Build or copy it again\n")


def test_something_appended(bundle, tmp_path):
    path = tmp_path / "app"
    path.write_bytes(bundle.read_bytes() + b"x")
    path.chmod(0o755)
    status, out, err = outcome(path)
    assert (status, out) == (1, b"") and b"this bundle is damaged" in err


def test_a_damaged_module_is_no_missing_module(bundle, tmp_path):
    """A program that goes on without what it cannot import must not go on without what is damaged."""
    write_tree(tmp_path / "in", {"app.py": "try:\n import dep\nexcept ImportError:\n dep = None\nprint('on', dep)\n",
                                 "dep.py": "value = 'unlikely text'\n"})
    build(tmp_path / "app", "-m", "app", "--no-source", tmp_path / "in")
    flip(tmp_path / "app", (tmp_path / "app").read_bytes().index(b"unlikely text"), 1)
    done = run([tmp_path / "app"])
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"pyentry: this bundle is damaged: dep.pyc is not what it was. Build or copy it again\n"


def test_it_runs_where_there_is_no_proc(bundle):
    """The kernel's word for what it started has to do."""
    hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    done = run([*hide, bundle], env=clean_env())
    assert done.stdout == b"right 7 data\n", done.stderr
