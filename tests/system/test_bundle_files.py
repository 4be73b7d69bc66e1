"""The archive of a bundle is a read-only directory at the bundle's own path, for Python and for C."""

import json
import shutil

import pytest

from bundling import build
from harness import PROBES, PYENTRY, PYTHON, run, traced_calls, write_tree

PROBE = PROBES / "bundled_files.py"

FILES = {"pkg/__init__.py": "", "pkg/text.txt": "some text\nmore\n", "pkg/deep/er/leaf.bin": "\0\1\2\3four",
         "pkg/empty": "", "pkg/data/a.txt": "a", "pkg/data-x/b.txt": "b", "pkg/data.txt": "c", "run.py": ""}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An input, the bundle of it, and a file beside that bundle."""
    folder = tmp_path_factory.mktemp("files")
    write_tree(folder / "in", FILES)
    (folder / "beside.txt").write_text("beside\n")
    build(folder / "app", "-m", "run", folder / "in")
    return folder


def in_bundle(place, code, **options):
    return run([place / "app", "-c", f"top = {str(place / 'app')!r}\n{code}"], **options)


def test_it_is_the_directory_that_went_in(place, tmp_path):
    """Nothing in it that the inputs do not have."""
    ours = json.loads(run([place / "app", "-c", PROBE.read_text(), str(place / "app")]).stdout)
    shutil.copytree(place / "in", tmp_path / "in")
    shutil.copy(place / "beside.txt", tmp_path)
    theirs = json.loads(run([PYTHON, "-c", PROBE.read_text(), str(tmp_path / "in")]).stdout)
    different = {name for name, value in ours.items() if theirs[name] != value}
    assert different == {
        "fopen pkg", "fopen pkg/",  # a directory: refused at once, the kernel does so at the first read
        *(f"{call} pkg/text.txt/x" for call in ("stat", "lstat", "read", "text", "listdir", "fopen")),  # ENOENT, not ENOTDIR
    }
    assert ours["read pkg/text.txt/x"] == "FileNotFoundError 2"
    assert ours["walk"] and ours["glob"] and ours["beside"] == "beside\n"


WRITES = {
    "open(top + '/pkg/text.txt', 'w')": 30,
    "open(top + '/pkg/text.txt', 'a')": 30,
    "open(top + '/pkg/text.txt', 'r+')": 30,
    "open(top + '/pkg/new', 'w')": 30,
    "open(top + '/pkg/text.txt', 'x')": 17,
    "os.mkdir(top + '/pkg/new')": 30,
    "os.mkdir(top + '/pkg/deep')": 17,
    "os.makedirs(top + '/new/er')": 30,
    "os.unlink(top + '/pkg/text.txt')": 30,
    "os.unlink(top + '/pkg/none')": 2,
    "os.rmdir(top + '/pkg/deep')": 30,
    "os.rename(top + '/pkg/text.txt', top + '/pkg/new')": 30,
    "os.rename(top + '/pkg/text.txt', '/tmp/new')": 30,
    "os.rename(__import__('sys').executable + '.none', top + '/pkg/new')": 30,
    "os.chmod(top + '/pkg/text.txt', 0o600)": 30,
    "os.readlink(top + '/pkg/text.txt')": 22,
    "os.open(top + '/pkg', os.O_RDONLY)": 21,
    "os.listdir(top + '/pkg/text.txt')": 20,
}


def test_writing_fails_as_on_a_read_only_file_system(place):
    code = f"import os, json\nfound = {{}}\nfor text in {list(WRITES)!r}:\n" \
           "    try: found[text] = repr(eval(text))\n" \
           "    except OSError as error: found[text] = error.errno\n" \
           "print(json.dumps(found))"
    assert json.loads(in_bundle(place, code).stdout) == WRITES
    assert in_bundle(place, "import os; print(os.access(top + '/pkg', os.W_OK))").stdout == b"False\n"


def test_an_open_file_cannot_be_changed(place):
    code = """import os
fd = os.open(top + '/pkg/text.txt', os.O_RDONLY)
for call in (lambda: os.write(fd, b'x'), lambda: os.ftruncate(fd, 0), lambda: os.ftruncate(fd, 100)):
    try: call(); print('changed')
    except OSError: pass
print(os.fstat(fd).st_size, oct(os.fstat(fd).st_mode))"""
    assert in_bundle(place, code).stdout == b"15 0o100444\n"


def test_a_child_can_be_given_an_open_file(place):
    code = "import subprocess; subprocess.run(['cat'], stdin=open(top + '/pkg/text.txt'))"
    assert in_bundle(place, code).stdout == b"some text\nmore\n"


def test_without_memfd_files_are_copied_below_tmpdir_and_leave_nothing(place, tmp_path):
    """The fallback, forced: the kernel refuses memfd_create."""
    code = "print(open(top + '/pkg/text.txt').read())"
    argv = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=memfd_create:error=ENOSYS",
            place / "app", "-c", f"top = {str(place / 'app')!r}\n{code}"]
    done = run(argv, env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"})
    assert done.stdout == b"some text\nmore\n\n", done.stderr
    assert not list(tmp_path.iterdir())


def test_paths_outside_are_the_kernels(place):
    """Names that only begin like the bundle's, relative ones, none at all."""
    code = """import os
for path in (top + 'x', 'app/pkg/text.txt', top[1:], '', '/', '.'):
    print(os.path.exists(path), end=' ')
print(os.path.isfile(top), os.path.isdir(top + '/'))"""
    done = in_bundle(place, code, cwd=place)
    assert done.stdout == b"False False False False True True True True\n", done.stderr


def test_a_plain_pyentry_sees_the_bundle_as_the_file_that_it_is(place):
    code = f"import os; print(os.path.exists({str(place / 'app' / 'pkg')!r}))"
    assert run([PYENTRY, "-c", code]).stdout == b"False\n"


def test_reading_costs_no_search_of_the_file_system(place):
    calls = traced_calls([place / "app", "-c", f"open({str(place / 'app' / 'pkg/text.txt')!r}).read()"],
                         "openat,open,newfstatat,stat,memfd_create")
    mine = [call for call in calls if "pkg" in call]
    assert mine == []
    assert sum("memfd_create" in call for call in calls) == 1


def test_files_are_closed_when_a_program_is_started(place):
    code = """import os, subprocess, sys
f = open(top + '/pkg/text.txt')
subprocess.run(['ls', '-l', '/proc/self/fd'], close_fds=False)"""
    assert b"memfd" not in in_bundle(place, code).stdout
