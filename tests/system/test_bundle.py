"""Bundles: what the builder writes and refuses, and how the command line of a bundle is taken."""

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from bundling import FORMS, STDLIB, build, build_as, files_of, out_of_reach, readable_by_tools, whole
from harness import PYENTRY, PYTHON, clean_env, run, write_tree

SHOW = """\
import json, sys
print(json.dumps({"argv": sys.argv, "name": __name__, "spec": __spec__.name, "package": __package__,
                  "file": __file__, "path": sys.path, "executable": sys.executable, "orig": getattr(sys, "orig_argv", [sys.executable, *sys.argv]),
                  "frozen": getattr(sys, "frozen", "unset")}))
"""


def shared_library():
    """The file of some shared library that this machine's Python has loaded."""
    maps = run([PYTHON, "-c", "print(open('/proc/self/maps').read())"]).stdout.decode()
    return Path(re.search(r"(/\S+\.so[.\d]*)$", maps, re.MULTILINE)[1])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("inputs"), {
        "src/pkg/__init__.py": "",
        "src/pkg/main.py": SHOW,
        "src/pkg/other.py": "def serve():\n    print('served')\n    return 3\n",
        "src/pkg/data/text.txt": "some text\n",
        "src/whole/__init__.py": "",
        "src/whole/__main__.py": SHOW,
        "src/script.py": "import sys\nprint(sys.argv, sys.path[0])\n",
        "vendor/dep.py": "value = 1\n",
        "vendor/dep-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: dep\nVersion: 1.0\n",
        "vendor/dep.pth": "import sys\n",
    })


@pytest.fixture(scope="module", params=FORMS)
def app(request, inputs, tmp_path_factory):
    return build_as(request.param, tmp_path_factory.mktemp("app") / "app", "-m", "pkg.main", inputs / "src",
                    inputs / "vendor")


@pytest.fixture(scope="module", params=FORMS)
def standalone(request, inputs, tmp_path_factory):
    """With the standard library."""
    return build_as(request.param, tmp_path_factory.mktemp("standalone") / "app", "-m", "pkg.main", "--stdlib",
                    inputs / "src")


def shown(done):
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    return json.loads(done.stdout)


### What it runs

def test_the_main_module_runs_as_python_m_runs_it(app):
    seen = shown(run([app, "a", "--b", "-c"]))
    assert seen["argv"] == [str(app), "a", "--b", "-c"]
    assert (seen["name"], seen["spec"], seen["package"]) == ("__main__", "pkg.main", "pkg")
    assert seen["file"] == f"{files_of(app)}/pkg/main.py"
    assert seen["path"][0] == str(files_of(app))
    assert not any("-packages" in entry for entry in seen["path"])
    assert seen["executable"] == str(app)
    assert seen["frozen"] == "unset"


def test_a_traceback_begins_with_the_app(tmp_path):
    """No frame of whatever starts it, none of the import system."""
    write_tree(tmp_path / "in", {"pack/__init__.py": "", "pack/main.py": "from . import bad\n", "pack/bad.py": "1 / 0\n"})
    build(tmp_path / "app", "-m", "pack.main", tmp_path / "in")
    assert [line.strip() for line in run([tmp_path / "app"]).stderr.decode().splitlines() if "^" not in line] == [
        "Traceback (most recent call last):",
        f'File "{tmp_path}/app/pack/main.py", line 1, in <module>', "from . import bad",
        f'File "{tmp_path}/app/pack/bad.py", line 1, in <module>', "1 / 0", "ZeroDivisionError: division by zero"]


def test_an_app_can_use_runpy(tmp_path):
    write_tree(tmp_path / "in", {"app.py": "import runpy\nprint(runpy.run_module('other')['value'])\n", "other.py": "value = 3\n"})
    build(tmp_path / "app", "-m", "app", tmp_path / "in")
    assert run([tmp_path / "app"]).stdout == b"3\n"


@pytest.mark.parametrize("app", ["file"], indirect=True)
def test_a_plain_python_runs_it_as_a_zip_file(app):
    assert json.loads(run([PYTHON, app, "x"]).stdout)["spec"] == "pkg.main"


def test_a_package_runs_by_its_main_module(inputs, tmp_path):
    build(tmp_path / "app", "-m", "whole", inputs / "src")
    assert shown(run([tmp_path / "app"]))["spec"] == "whole.__main__"


def test_a_function_gives_the_exit_status(inputs, tmp_path):
    build(tmp_path / "app", "-m", "pkg.other:serve", inputs / "src")
    done = run([tmp_path / "app"])
    assert (done.stdout, done.returncode) == (b"served\n", 3)


def test_an_input_with_a_main_module_needs_no_name(tmp_path):
    write_tree(tmp_path / "in", {"__main__.py": "print('main')\n"})
    build(tmp_path / "app", tmp_path / "in")
    assert run([tmp_path / "app"]).stdout == b"main\n"


def test_with_the_stdlib_nothing_else_is_needed(standalone):
    seen = shown(run([*out_of_reach(), standalone]))
    assert all(entry.startswith(str(files_of(standalone))) for entry in seen["path"])


def test_without_a_standard_library_one_line_says_so(app):
    done = run([*out_of_reach(), app])
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == (f"pyentry: {app}: there is no standard library in this bundle, and none in {STDLIB}: "
                                    "install that Python, or build with --stdlib\n")


def test_a_standard_library_above_the_bundle_is_found(app, tmp_path):
    """As Python looks for it: the bundle in the bin/ of an installation."""
    tail = STDLIB.relative_to(STDLIB.parent.parent)
    (tmp_path / "lib").mkdir()
    shutil.copytree(STDLIB, tmp_path / tail, symlinks=True, ignore=shutil.ignore_patterns("test", "__pycache__", "config-*"))
    (tmp_path / "bin").mkdir()
    run(["cp", "-a", whole(app), tmp_path / "bin"])
    seen = shown(run([*out_of_reach(), tmp_path / "bin" / app.relative_to(whole(app).parent)]))
    assert str(tmp_path / tail) in seen["path"]


def test_a_module_of_the_stdlib_can_be_the_app(tmp_path):
    build(tmp_path / "app", "-m", "json.tool", "--stdlib")
    assert run([*out_of_reach(), tmp_path / "app", "--compact"], input=b"[1,  2]").stdout == b"[1,2]\n"


def test_a_link_and_a_name_on_the_path_are_the_same_bundle(app, tmp_path):
    (tmp_path / "link").symlink_to(app)
    env = clean_env(PATH=f"{app.parent}:{os.environ['PATH']}")
    for seen in (shown(run([tmp_path / "link"])), shown(run(["app"], env=env))):
        assert seen["executable"] == str(app)
        assert seen["argv"] == [str(app)]


def test_a_link_called_python_is_python(app, tmp_path):
    (tmp_path / "python3").symlink_to(app)
    write_tree(tmp_path, {"script.py": "import sys, pkg.other\nprint(sys.argv[1:], pkg.other.__file__)\n"})
    done = run([tmp_path / "python3", tmp_path / "script.py", "-x"])
    assert done.stdout == f"['-x'] {files_of(app)}/pkg/other.py\n".encode(), done.stderr


def test_a_link_called_pyentry_has_pyentrys_options_and_commands(inputs, tmp_path):
    """A health check from an image that holds nothing but the bundle."""
    build(tmp_path / "app", "-m", "pkg.main", "--option", "term-status=7", inputs / "src")
    (tmp_path / "pyentry").symlink_to("app")
    done = run([tmp_path / "pyentry", "--healthcheck", "http://127.0.0.1:9/"])
    assert done.returncode == 1 and done.stderr.startswith(b"pyentry: unhealthy: http://127.0.0.1:9/")
    code = "import os; print(os.environ['PYENTRY_STOP_REPORT'], os.environ['PYENTRY_TERM_STATUS'])"
    assert run([tmp_path / "pyentry", "--stop-report=4s", "-c", code]).stdout == b"4s 7\n"
    assert run([tmp_path / "pyentry", "--stop-report=soon"]).returncode == 2


def test_pythonpath_comes_behind_the_bundle(app, tmp_path):
    write_tree(tmp_path, {"dep.py": "value = 2\n", "outer.py": "value = 3\n"})
    done = run([app, "-c", "import dep, outer; print(dep.value, outer.value)"], env=clean_env(PYTHONPATH=str(tmp_path)))
    assert done.stdout == b"1 3\n", done.stderr


def test_the_program_can_ask_whether_it_is_bundled(app):
    code = "import pyentry; print(pyentry.bundle)"
    assert run([app, "-c", code]).stdout.decode().strip() == str(files_of(app))
    assert run([PYENTRY, "-c", code]).stdout == b"None\n"


### The command line: the app's, or python's

PYTHON_LIKE = [
    (["-c", "print(1)"], b"1\n"),
    (["-I", "-B", "-S", "-c", "print(2)"], b"2\n"),
    (["-u", "-W", "ignore", "-X", "dev", "-E", "-s", "-c", "print(3)"], b"3\n"),
    (["-Bs", "-c", "import sys; print(sys.argv)", "x", "-c"], b"['-c', 'x', '-c']\n"),
    (["-v", "-c", "print(4)"], b"4\n"),
    (["-m", "pkg.other"], b""),
    (["-m", "timeit", "-n1", "-r1", "pass"], None),
]


@pytest.mark.parametrize("arguments, said", PYTHON_LIKE, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_pythons_options_in_front_make_it_a_python(app, arguments, said):
    done = run([app, *arguments])
    assert done.returncode == 0, done.stderr
    assert b"pkg.main" not in done.stdout
    assert said is None or done.stdout == said


@pytest.mark.parametrize("arguments", [["serve"], ["-v"], ["-i", "x"], ["--version"], ["--help"], ["--init=always"],
                                       ["-h"], ["-p", "80"], ["-"], [""]])
def test_all_else_is_the_apps(app, arguments):
    assert shown(run([app, *arguments]))["argv"][1:] == arguments


def test_behind_two_dashes_all_is_the_apps(app):
    assert shown(run([app, "--", "-c", "x"]))["argv"][1:] == ["-c", "x"]


def test_sys_executable_and_argv_start_the_same_again(app):
    first = shown(run([app, "x", "y"]))
    again = shown(run([first["executable"], *first["argv"]]))
    assert again["argv"] == first["argv"]
    assert shown(run(first["orig"]))["argv"] == first["argv"]


def test_a_file_of_the_bundle_is_run_by_python(app):
    """`subprocess.run([sys.executable, __file__])`."""
    code = "import pyentry, subprocess, sys; subprocess.run([sys.executable, pyentry.bundle + '/script.py', 'x'])"
    done = run([app, "-c", code])
    assert done.stdout == f"['{files_of(app)}/script.py', 'x'] {files_of(app)}\n".encode(), done.stderr


def test_default_arguments_are_for_an_empty_command_line(inputs, tmp_path):
    build(tmp_path / "app", "-m", "pkg.main", "--args", "serve --bind '0.0.0.0:${PORT:-8080}' $$HOME ${WHO}", inputs / "src")
    env = clean_env(WHO="me and you", PORT=None)
    assert shown(run([tmp_path / "app"], env=env))["argv"][1:] == ["serve", "--bind", "0.0.0.0:8080", "$HOME", "me and you"]
    assert shown(run([tmp_path / "app"], env={**env, "PORT": "9"}))["argv"][3] == "0.0.0.0:9"
    assert shown(run([tmp_path / "app"], env={**env, "PORT": ""}))["argv"][3] == "0.0.0.0:8080"
    assert shown(run([tmp_path / "app", "other"], env=env))["argv"][1:] == ["other"]
    assert shown(run([tmp_path / "app", "--"], env=env))["argv"][1:] == []
    done = run([tmp_path / "app"], env=clean_env(WHO=None))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"pyentry: this bundle's '${WHO}' needs the variable WHO, which is not set\n"


def test_its_options_count_where_the_environment_is_silent(inputs, tmp_path):
    build(tmp_path / "app", "-m", "pkg.main", "--option", "stop-report=3s", "--option", "term-status=${CODE:-7}", inputs / "src")
    code = ("import os, signal; print(os.environ['PYENTRY_STOP_REPORT'], flush=True);"
            "os.kill(os.getpid(), signal.SIGTERM); signal.pause()")
    done = run([tmp_path / "app", "-c", code])
    assert (done.stdout, done.returncode) == (b"3s\n", 7)
    done = run([tmp_path / "app", "-c", code], env=clean_env(PYENTRY_STOP_REPORT="9s", PYENTRY_TERM_STATUS="8"))
    assert (done.stdout, done.returncode) == (b"9s\n", 8)
    done = run([tmp_path / "app"], env=clean_env(PYENTRY_STOP_REPORT="soon"))
    assert done.returncode == 2 and b"PYENTRY_STOP_REPORT='soon' is not valid" in done.stderr


def test_optimize_is_in_force_in_the_bundle_and_what_it_starts(tmp_path):
    write_tree(tmp_path / "in", {"app.py": "'doc'\nassert False\nimport sys\nprint(sys.flags.optimize, __doc__)\n"})
    build(tmp_path / "app", "-m", "app", "--optimize", "2", tmp_path / "in")
    assert run([tmp_path / "app"]).stdout == b"2 None\n"
    assert run([tmp_path / "app", "-c", "import app"]).stdout == b"2 None\n"


def test_exit_and_quit_are_there(app):
    assert run([app, "-c", "exit(4)"]).returncode == 4
    assert run([app, "-c", "quit(5)"]).returncode == 5


def test_a_sigterm_ends_it_as_it_ends_pyentry(standalone):
    code = "import os, signal\ntry:\n os.kill(os.getpid(), signal.SIGTERM); signal.pause()\nfinally: print('cleaned')"
    done = run([standalone, "-c", code])
    assert (done.returncode, done.stdout) == (-15, b"cleaned\n")


### What the builder writes

def test_standard_tools_read_it(app):
    for tool, done in readable_by_tools(app).items():
        assert done.returncode == 0, (tool, done.stdout, done.stderr)
        assert not done.stderr, (tool, done.stderr)


def test_the_same_inputs_give_the_same_bytes(inputs, tmp_path):
    write_tree(tmp_path / "elsewhere", {path.relative_to(inputs).as_posix(): path.read_text()
                                        for path in sorted(inputs.rglob("*"), reverse=True) if path.is_file()})
    made = []
    for number, top in enumerate((inputs, tmp_path / "elsewhere", inputs)):
        out = tmp_path / str(number) / "app"
        out.parent.mkdir()
        env = clean_env(PYTHONHASHSEED=str(number), TZ=("UTC", "Asia/Tokyo", "UTC")[number])
        build(out, "-m", "pkg.main", "--stdlib", top / "src", top / "vendor", env=env)
        made.append(out.read_bytes())
    assert made[0] == made[1] == made[2]


def test_the_same_code_gives_the_same_bytes():
    """Whoever else has one of its strings: marshal looks at that, up to Python 3.10."""
    code = ("import sys\nfrom pyentry.bundler.codes import marshalled\n"
            "def made(name): return marshalled(compile(f'import {name}', 'module.py', 'exec'))\n"
            "name = '_'.join(['of', 'nobody'])\n"
            "alone, held = made(name), sys.intern(name)\n"
            "sys.exit(made(held) != alone)")
    assert run([PYENTRY, "-c", code]).returncode == 0


def test_source_date_epoch_is_the_time_of_the_files(inputs, tmp_path):
    build(tmp_path / "app", "-m", "pkg.main", inputs / "src", env=clean_env(SOURCE_DATE_EPOCH="1700000000"))
    done = run(["zipinfo", tmp_path / "app", "pkg/main.py"])
    assert b"23-Nov-14 22:13" in done.stdout
    code = f"import os; print(os.stat({str(tmp_path / 'app' / 'pkg/main.py')!r}).st_mtime)"
    assert run([tmp_path / "app", "-c", code]).stdout == b"1700000000.0\n"
    assert b"'soon' is no number" in build(tmp_path / "b", "-m", "pkg.main", inputs / "src", status=1,
                                           env=clean_env(SOURCE_DATE_EPOCH="soon")).stderr


def test_the_summary_counts_and_names(inputs, tmp_path):
    done = build(tmp_path / "app", "-m", "pkg.main", "--exclude", "whole", "--exclude", "nothing*", inputs / "src",
                 inputs / "vendor")
    assert re.fullmatch(rf"{tmp_path}/app: 6 modules, 0 extension modules and libraries, 3 data files, [\d.]+ MB\n",
                        done.stdout.decode())
    assert done.stderr.decode().splitlines() == [
        "pyentry: warning: a bundle does not act on .pth files: dep.pth",
        "pyentry: not in the bundle as it is: whole: --exclude",
        "pyentry: --exclude nothing* matched nothing"]


def test_without_source_tracebacks_lack_their_lines_only(inputs, tmp_path):
    write_tree(tmp_path / "in", {"app.py": "def f():\n    1 / 0\nf()\n"})
    for name, options, line in (("with", [], True), ("without", ["--no-source"], False)):
        build(tmp_path / name, "-m", "app", *options, tmp_path / "in")
        done = run([tmp_path / name])
        assert done.returncode == 1
        assert b"ZeroDivisionError: division by zero\n" in done.stderr
        assert f'File "{tmp_path / name}/app.py"'.encode() in done.stderr
        assert (b"    1 / 0" in done.stderr) == line
    assert (tmp_path / "without").stat().st_size < (tmp_path / "with").stat().st_size


def test_exclude_knows_names_and_paths(tmp_path):
    write_tree(tmp_path / "in", {"a/__init__.py": "", "a/tests/x.py": "", "b/tests/x.py": "", "b/data/one.csv": "",
                                 "b/data/one.txt": "", "m.py": ""})
    build(tmp_path / "app", "-m", "m", "--exclude", "a/tests", "--exclude", "*.csv", tmp_path / "in")
    names = run(["unzip", "-Z1", tmp_path / "app"]).stdout.decode().split()
    assert "b/tests/x.py" in names and "b/data/one.txt" in names
    assert not {"a/tests/x.py", "b/data/one.csv"} & set(names)


def test_a_package_and_a_module_go_in_under_their_own_names(tmp_path):
    write_tree(tmp_path, {"pack/__init__.py": "x = 1\n", "mod.py": "import pack; print(pack.x)\n"})
    build(tmp_path / "app", "-m", "mod", tmp_path / "pack", tmp_path / "mod.py")
    assert run([tmp_path / "app"]).stdout == b"1\n"


REFUSALS = {
    "no main module": (["IN"], "there is no main module: give -m MODULE, or an input with a __main__.py"),
    "an unknown main module": (["-m", "nope", "IN"], "there is no module nope in the inputs"),
    "a package without main": (["-m", "pack", "IN"], "pack is a package without a __main__ module"),
    "no module name": (["-m", "a-b", "IN"], "it takes MODULE or MODULE:FUNCTION"),
    "no such input": (["-m", "m", "IN/none"], "no such file or directory"),
    "an unknown option": (["-m", "m", "--option", "stop-repart=3s", "IN"], "did you mean --stop-report?"),
    "a bad value": (["-m", "m", "--option", "stop-report=soon", "IN"], "--stop-report='soon' is not valid"),
    "an option without value": (["-m", "m", "--option", "stop-report", "IN"], "it takes NAME=VALUE"),
    "an open quote": (["-m", "m", "--args", "'x", "IN"], "--args: No closing quotation"),
    "two of a name": (["-m", "m", "IN", "OTHER"], "would both be m.py in the bundle, and differ"),
    "module and package": (["-m", "m", "IN", "THIRD"], "are both the module pack"),
    "two forms": (["-m", "m", "--dir", "--rootfs", "IN/root", "IN"], "--rootfs holds a bundle in one file: leave --dir out"),
    "no directory": (["-m", "m", "-o", "IN/none/app", "IN"], "cannot be written in"),
}


@pytest.mark.parametrize("arguments, words", REFUSALS.values(), ids=REFUSALS.keys())
def test_it_refuses_by_name(arguments, words, tmp_path):
    write_tree(tmp_path, {"in/m.py": "", "in/pack/__init__.py": "", "other/m.py": "x = 1\n", "third/pack.py": ""})
    places = {"IN": "in", "OTHER": "other", "THIRD": "third"}
    arguments = [re.sub(r"^(IN|OTHER|THIRD)", lambda match: f"{tmp_path}/{places[match[0]]}", word) for word in arguments]
    done = build(tmp_path / "app", *arguments, status=1)
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1 and lines[0].startswith("pyentry: --bundle: ") and words in lines[0], lines
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "other", "third"]


def test_it_overwrites_only_by_force(inputs, tmp_path):
    (tmp_path / "app").write_text("mine")
    done = build(tmp_path / "app", "-m", "pkg.main", inputs / "src", status=1)
    assert b"is already there: --force overwrites it" in done.stderr
    assert (tmp_path / "app").read_text() == "mine"
    build(tmp_path / "app", "-m", "pkg.main", "--force", inputs / "src")
    assert run([tmp_path / "app"]).returncode == 0
    assert b"is a directory" in build(tmp_path, "-m", "pkg.main", "--force", inputs / "src", status=1).stderr


def test_what_it_writes_is_no_input(tmp_path):
    write_tree(tmp_path, {"main.py": "print(1)\n", ".app.a1b2c3d4": "left by a build that was killed", "pkg/app": "data"})
    build(tmp_path / "app", "-m", "main", tmp_path)
    size = (tmp_path / "app").stat().st_size
    build(tmp_path / "app", "-m", "main", "--force", tmp_path)
    assert (tmp_path / "app").stat().st_size == size
    assert zipfile.ZipFile(tmp_path / "app").namelist().count("pkg/app") == 1


def test_a_running_bundle_can_be_replaced(inputs, tmp_path):
    build(tmp_path / "app", "-m", "pkg.main", inputs / "src")
    code = "import sys; print('ready', flush=True); sys.stdin.readline(); import pkg.other; print(pkg.other.serve())"
    with subprocess.Popen([tmp_path / "app", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=clean_env()) as old:
        assert old.stdout.readline() == b"ready\n"
        build(tmp_path / "app", "-m", "pkg.main", "--force", inputs / "src")
        assert old.communicate(b"\n", timeout=30)[0] == b"served\n3\n"


def test_what_cannot_be_imported_is_named(tmp_path):
    other = "ext.cpython-27-x86_64-linux-gnu.so"
    write_tree(tmp_path / "in", {"m.py": "", "bad.py": "print 'python 2'\n"})
    data = shared_library().read_bytes()
    (tmp_path / "in" / other).write_bytes(data)
    foreign = bytearray(data)
    foreign[18] = 0xF3  # RISC-V
    (tmp_path / "in" / "ext2.so").write_bytes(foreign)
    said = build(tmp_path / "app", "-m", "m", tmp_path / "in").stderr.decode()
    assert "bad.py: does not compile, is in as source only" in said
    assert f"these are for another Python, and will not load: {other}" in said
    assert "these are for another machine, and will not load: ext2.so" in said
    assert b"SyntaxError" in run([tmp_path / "app", "-c", "import bad"]).stderr
