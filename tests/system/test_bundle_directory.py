"""`--dir`: what is of a directory only. What it has in common with one file is tested with that, in both forms."""

import hashlib
import os
import shutil
import stat
import subprocess

import pytest

from bundling import PYENTRY, STDLIB, build
from harness import clean_env, run, write_tree

APP = "import sys, dep\nprint(dep.value, open(__file__[:-6] + 'pkg/text.txt').read(), sys.argv[1:])\n"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = write_tree(tmp_path_factory.mktemp("inputs") / "in", {
        "app.py": APP, "dep.py": "value = 1\n", "pkg/text.txt": "text", "pkg/tool": "#!/bin/sh\necho \"tool $0\"\n"})
    (folder / "pkg" / "tool").chmod(0o700)
    return folder


@pytest.fixture
def made(inputs, tmp_path):
    build(tmp_path / "made", "--dir", "-m", "app", inputs)
    return tmp_path / "made"


def tree(top):
    """{path: (mode, time, checksum)} of all that is in a directory, and of itself."""
    found = {}
    for path in [top, *top.rglob("*")]:
        status = path.lstat()
        found[str(path.relative_to(top))] = (stat.filemode(status.st_mode), status.st_mtime,
                                             hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
    return found


def test_an_executable_and_beside_it_the_files(made):
    there = sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())
    assert there == ["files/__main__.py", "files/app.py", "files/dep.py", "files/pkg/text.txt", "files/pkg/tool", "made"]
    assert run([made / "made", "x"]).stdout == b"1 text ['x']\n"
    # What the archive cannot be: other programs see these files.
    assert run(["cat", made / "files" / "pkg" / "text.txt"]).stdout == b"text"
    assert run([made / "files" / "pkg" / "tool"]).stdout == f"tool {made}/files/pkg/tool\n".encode()


def test_code_comes_from_the_executable(made):
    (made / "files" / "dep.py").write_text("value = 2\n")
    assert run([made / "made"]).stdout == b"1 text []\n"


def test_without_source_the_compiled_files_are_there(inputs, tmp_path):
    build(tmp_path / "made", "--dir", "--no-source", "-m", "app", inputs)
    assert sorted(path.name for path in (tmp_path / "made" / "files").iterdir()) == [
        "__main__.pyc", "app.pyc", "dep.pyc", "pkg"]
    code = "import pkgutil, pyentry, dep; print([m.name for m in pkgutil.iter_modules([pyentry.bundle])], dep.__file__)"
    done = run([tmp_path / "made" / "made", "-c", code])
    assert done.stdout.decode() == f"['__main__', 'app', 'dep'] {tmp_path}/made/files/dep.pyc\n", done.stderr


def test_the_same_inputs_give_the_same_tree(inputs, made, tmp_path):
    shutil.copytree(inputs, tmp_path / "elsewhere")
    build(tmp_path / "below" / "made", "--dir", "-m", "app", tmp_path / "elsewhere", status=1)  # there is no such directory
    (tmp_path / "below").mkdir()
    build(tmp_path / "below" / "made", "--dir", "-m", "app", tmp_path / "elsewhere", umask=0o077)
    assert tree(made) == tree(tmp_path / "below" / "made")
    assert {mode for mode, _, _ in tree(made).values()} == {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x"}
    build(tmp_path / "later", "--dir", "-m", "app", inputs, env=clean_env(SOURCE_DATE_EPOCH="1700000000"))
    assert {time for _, time, _ in tree(tmp_path / "later").values()} == {1700000000.0}


### In the place of another

def refused(out, *arguments, **options):
    done = build(out, *arguments, status=1, **options)
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1 and lines[0].startswith("pyentry: --bundle: "), lines
    return lines[0]


def test_force_replaces_a_bundle_as_a_whole(inputs, made, tmp_path):
    before = tree(made)
    assert "--force replaces it" in refused(made, "--dir", "-m", "app", inputs)
    assert tree(made) == before
    write_tree(tmp_path / "other", {"app.py": "print('other')\n"})
    build(made, "--dir", "--force", "-m", "app", tmp_path / "other")
    assert sorted(path.name for path in (made / "files").iterdir()) == ["__main__.py", "app.py"]
    assert run([made / "made"]).stdout == b"other\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "other"]


def test_a_running_one_goes_on(inputs, made):
    code = "import sys; print('ready', flush=True); sys.stdin.readline(); import dep; print(dep.value)"
    with subprocess.Popen([made / "made", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_env()) as old:
        assert old.stdout.readline() == b"ready\n"
        build(made, "--dir", "--force", "-m", "app", inputs)
        assert old.communicate(b"\n", timeout=30)[0] == b"1\n"


def test_what_is_not_ours_stays(inputs, made, tmp_path):
    (made / "files" / "pkg" / "db.sqlite3").write_text("mine")
    said = refused(made, "--dir", "--force", "-m", "app", inputs)
    assert said.endswith("has files that are not of the bundle, files/pkg/db.sqlite3 for one: move them away")
    (made / "files" / "pkg" / "db.sqlite3").rename(made / "files" / "pkg" / "text.txt")
    said = refused(made, "--dir", "--force", "-m", "app", inputs)
    assert said.endswith("has files that are not what they were, files/pkg/text.txt for one: move them away")
    (made / "files" / "pkg" / "text.txt").unlink()
    (made / "files" / "media").symlink_to(tmp_path)
    assert "files/media for one" in refused(made, "--dir", "--force", "-m", "app", inputs)
    (tmp_path / "home").mkdir()
    assert build(tmp_path / "home", "--dir", "--force", "-m", "app", inputs).returncode == 0  # it was empty
    shutil.rmtree(tmp_path / "home")
    write_tree(tmp_path / "home", {"home": "no bundle"})
    assert "is not a bundle" in refused(tmp_path / "home", "--dir", "--force", "-m", "app", inputs)
    build(tmp_path / "file", "-m", "app", inputs)
    assert "is no directory" in refused(tmp_path / "file", "--dir", "--force", "-m", "app", inputs)
    (tmp_path / "link").symlink_to("home")
    assert "is no directory" in refused(tmp_path / "link", "--dir", "--force", "-m", "app", inputs)
    assert "is a directory: name the file to write, or --dir" in refused(made, "--force", "-m", "app", inputs)
    assert "the executable in it would have the name 'files'" in refused(tmp_path / "files", "--dir", "-m", "app", inputs)


@pytest.mark.parametrize("form, program", [([], "./app"), (["--dir"], "app/app")], ids=["file", "directory"])
def test_a_full_disk_leaves_what_was_there(inputs, tmp_path, form, program):
    """The file system has room for one of them."""
    script = ('mount -t tmpfs -o size=$1 none "$2" && cd "$2" && program=$3 && shift 3 && "$@" >/dev/null &&'
              '"$@" --force; echo $? $(ls -A) $($program)')
    done = run(["unshare", "--mount", "sh", "-c", script, "sh", str(os.path.getsize(PYENTRY) * 3 // 2), tmp_path, program,
                PYENTRY, "--bundle", *form, "-o", "app", "-m", "app", inputs])
    assert done.stdout == b"1 app 1 text []\n", done.stderr
    assert done.stderr.decode().startswith("pyentry: --bundle: app: No space left on device"), done.stderr


### Damage

@pytest.fixture(scope="module")
def with_extension(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extension")
    (folder / "in").mkdir()
    found = sorted(STDLIB.glob("lib-dynload/_json.*.so")) or sorted(STDLIB.glob("lib-dynload/_*.so"))
    shutil.copy(found[0], folder / "in" / ("renamed" + found[0].name))
    write_tree(folder / "in", {"app.py": f"import {('renamed' + found[0].name).partition('.')[0]}\n"})
    build(folder / "app", "--dir", "-m", "app", folder / "in")
    return folder / "app"


def truncate(path):
    os.truncate(path, path.stat().st_size - 1)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage, why", [(os.unlink, "No such file or directory"), (truncate, "not what it was"),
                                         (flip, "not what it was")], ids=["missing", "truncated", "flipped"])
def test_a_damaged_extension_module_is_told(with_extension, tmp_path, damage, why):
    shutil.copytree(with_extension, tmp_path / "app")
    library = next((tmp_path / "app" / "files").glob("*.so"))
    damage(library)
    done = run([tmp_path / "app" / "app"])
    lines = done.stderr.decode().splitlines()
    assert lines[0] == f"pyentry: this bundle is damaged: {library}: {why}. Build or copy it again"
    assert (done.returncode, lines[-1].partition(":")[0]) == (1, "ImportError")


def test_the_executable_alone_says_what_is_missing(made, tmp_path):
    """The mistake that everyone makes once with such a directory."""
    shutil.copy(made / "made", tmp_path / "alone")
    done = run([tmp_path / "alone"])
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == (f"pyentry: {tmp_path}/alone: this bundle is damaged: it needs its directory, and there is no "
                                    f"{tmp_path}/files. Build or copy it again\n")


def test_its_damaged_code_is_told(made):
    executable = made / "made"
    executable.write_bytes(executable.read_bytes()[:-1])
    done = run([executable])
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"this bundle is damaged: it has" in done.stderr
