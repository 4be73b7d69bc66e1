"""pyentry around other processes: closed descriptors, sys.executable, multiprocessing, venv, re-execution.

What a program finds, and what the processes that it starts find, is what they find under python.
"""

import itertools
import json
import os
import shutil

import pytest

from harness import (PROBES, PYENTRY, PYTHON, VERSION, Child, clean_env, differences, gather, outcome, run, show,
                     write_tree)

CLOSED = [fds for n in (1, 2, 3) for fds in itertools.combinations((0, 1, 2), n)]


def without(fds):
    """Something for preexec_fn: the program starts with these descriptors closed."""
    def close():
        for fd in fds:
            os.close(fd)
    return close


STREAMS = """
import json, os, sys
out = open(sys.argv[1], "w")
streams = [f is None for f in (sys.stdin, sys.stdout, sys.stderr)]
json.dump({"closed": streams, "out": out.fileno(), "fds": sorted(os.listdir("/proc/self/fd"))}, out)
"""


@pytest.mark.parametrize("fds", CLOSED, ids=str)
def test_closed_descriptors(fds, tmp_path):
    """With any of the descriptors 0, 1, 2 closed pyentry starts and finds what python finds."""
    told = []
    for name, program in (("python", PYTHON), ("pyentry", PYENTRY)):
        file = tmp_path / name
        done = run([program, "-c", STREAMS, str(file)], preexec_fn=without(fds))
        told.append((outcome(done), json.loads(file.read_text())))
    assert told[0] == told[1]


WORDS = """
import sys, threading, warnings, logging
out = open(sys.argv[1], "wb", buffering=0)
again = open(sys.argv[1], "ab", buffering=0)
print("printed", 1, 2)
print("to stderr", file=sys.stderr)
warnings.warn("a warning")
logging.warning("a log line")
class Unraisable:
    def __del__(self): 1/0
Unraisable()
thread = threading.Thread(target=lambda: 1/0)
thread.start(); thread.join()
again.write(b"kept")
"""


@pytest.mark.parametrize("fds", CLOSED, ids=str)
def test_nothing_is_written_into_a_file_that_took_the_place_of_a_stream(fds, tmp_path):
    """A file of the program's that got descriptor 0, 1 or 2 receives no prints and no tracebacks.

    The one exception is python's own: the words of sys.exit("words") go to descriptor 2 whatever it is.
    """
    endings = ["1/0", "sys.exit(3)", "sys.exit('x')", "raise KeyboardInterrupt", "def f(:"]

    def end(case):
        number, program = case
        file = tmp_path / f"{number}-{os.path.basename(program)}"
        code = f"{WORDS}exec({endings[number]!r})"
        done = run([program, "-u", "-c", code, str(file)], preexec_fn=without(fds))
        return outcome(done), file.read_bytes()

    results = gather(end, itertools.product(range(len(endings)), (PYTHON, PYENTRY)))
    for theirs, ours in zip(results[::2], results[1::2]):
        assert ours == theirs
        assert b"kept" in ours[1].replace(b"x\npt", b"kept") and len(ours[1]) <= len(b"keptx\n")


def test_a_closed_stream_and_a_bad_command_line():
    """python's answer to errors with a stream closed: same status, nothing hangs."""
    wrong = [["-c", "1/0"], ["/nonexistent.py"], ["-m", "nonexistent"], ["-Z"], ["-c", "x ="], ["-c", "input()"],
             ["-c", "print('x')"], ["-c", "import sys; sys.exit('x')"], ["-"], []]
    cases = [(f"{fds} {args}", args, {"preexec_fn": without(fds)}) for fds in CLOSED for args in wrong]
    found = differences(cases)
    assert not found, show(found)


def test_odd_standard_streams(tmp_path):
    """A directory, a read-only or a write-only descriptor in the place of a stream: as python."""
    folder = os.open(tmp_path, os.O_RDONLY)
    readable, writable = os.open("/dev/null", os.O_RDONLY), os.open("/dev/null", os.O_WRONLY)
    catch = "try: print(1)\nexcept OSError as e: raise SystemExit(e.errno)"
    cases = [("directory", [], {"stdin": folder}), ("directory -", ["-"], {"stdin": folder}),
             ("directory -c", ["-c", "print(1)"], {"stdin": folder}),
             ("read-only", ["-c", "print(1, 2)"], {"stdout": readable}),
             ("read-only, caught", ["-c", catch], {"stdout": readable}),
             ("read-only stderr", ["-c", "1/0"], {"stderr": readable}),
             ("stdin write-only", ["-c", "input()"], {"stdin": writable})]
    found = differences(cases)
    assert not found, show(found)


def test_executable_names(tmp_path):
    """sys.executable, sys.prefix, sys.path by absolute, relative, linked and searched name: as python's."""
    code = "import sys; print([sys.executable, sys.prefix, sys.base_prefix, sys.path, sys.argv])"
    names = ["bin/py", "./bin/again", "py", "cd bin && ./py", "cd bin && ../bin/py", "{home}/bin/py",
             "unset PATH; {home}/bin/again", "exec -a other {home}/bin/py", "cd / && {home}/bin/../bin/py"]
    told = []
    for program in (PYTHON, PYENTRY):
        home = tmp_path / str(len(told)) / "home"
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "py").symlink_to(program)
        (home / "bin" / "again").symlink_to("py")
        env = clean_env(PATH=f"{home}/bin:/usr/bin:/bin")
        runs = [run(["bash", "-c", f'{name.format(home=home)} -c "{code}"'], env=env, cwd=home) for name in names]
        told.append([(r.returncode, r.stdout.replace(str(home).encode(), b"HOME"), r.stderr) for r in runs])
    assert told[1] == told[0]


@pytest.fixture(params=["file", "-m", "-c"])
def start_children(request, tmp_path):
    """How the main module was named matters to multiprocessing's spawn; here all of them are tried."""
    shutil.copy(PROBES / "children.py", tmp_path / "children.py")
    code = "import runpy; runpy.run_module('children', run_name='__main__', alter_sys=True)"
    return {"file": [str(tmp_path / "children.py")], "-m": ["-m", "children"], "-c": ["-c", code]}[request.param]


@pytest.mark.parametrize("way", ["commands", "fork", "spawn", "forkserver"])
def test_children(start_children, way, tmp_path):
    """sys.executable serves subprocess, and multiprocessing with every start method, as python's does."""
    cases = [(str(flags), [*flags, *start_children, way], {"cwd": tmp_path})
             for flags in ([], ["-E", "-B", "-W", "error::FutureWarning"])]
    found = differences(cases)
    assert not found, show(found)


AGAIN = """
import os, signal, sys
argv = getattr(sys, "orig_argv", None) or [sys.executable, "-B", *sys.argv]  # 3.9 has no orig_argv
if "SECOND" not in os.environ:
    os.environ["SECOND"] = "1"
    print(argv[1:])
    os.execv(sys.executable, argv)
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_reexecution_keeps_the_options(tmp_path):
    """sys.orig_argv, which has none of pyentry's options, starts a process that behaves the same."""
    write_tree(tmp_path, {"prog.py": AGAIN})
    for options in (["--term-status=7"], ["--term-status", "7", "--forward=main", "--init", "never"]):
        done = run([PYENTRY, *options, "-B", "prog.py"], cwd=tmp_path)
        assert outcome(done) == {"status": 7, "stdout": b"['-B', 'prog.py']\n", "stderr": b""}


REPEAT = """
import os, sys
print(sys.argv, sys.orig_argv[1:], sys.flags, __name__, __spec__ and __spec__.name, flush=True)
if "SECOND" not in os.environ:
    os.environ["SECOND"] = "1"
    os.execv(sys.executable, sys.orig_argv)
"""


def test_orig_argv_starts_the_same_program(tmp_path):
    """Re-execution ends where it would under python: -m, file, directory, with options and arguments."""
    if VERSION < (3, 10):  # there is no sys.orig_argv yet
        return
    write_tree(tmp_path, {"prog.py": REPEAT, "pkg/__init__.py": "", "pkg/__main__.py": REPEAT})
    cases = [(str(args), args, {"cwd": tmp_path}) for args in
             (["prog.py", "a"], ["-m", "prog", "-b"], ["-Om", "pkg"], ["-W", "error", "-X", "dev", "pkg", "--", "x"])]
    found = differences(cases, unbuffered=False)
    assert not found, show(found)


# --- virtual environments

VENV = """
import json, site, subprocess, sys, sysconfig
def prefix(program):
    return subprocess.run([program, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True).stdout
names = "executable", "prefix", "exec_prefix", "base_prefix", "base_exec_prefix", "path"
told = {name: getattr(sys, name) for name in names}
told.update(site=site.getsitepackages(), paths=sysconfig.get_paths(), child=prefix(sys.executable))
print(json.dumps(told))
"""


def venv_facts(program, folder):
    done = run([program, "-c", VENV])
    assert (done.returncode, done.stderr) == (0, b""), outcome(done)
    return json.loads(done.stdout.replace(os.fsencode(folder), b"VENV"))


def make_venv(program, folder, *options):
    done = run([program, "-m", "venv", "--without-pip", *options, str(folder)])
    assert (done.returncode, done.stderr) == (0, b""), outcome(done)
    return folder


@pytest.mark.parametrize("options", [[], ["--copies"], ["--system-site-packages"]], ids=str)
def test_venv_made_by_pyentry(tmp_path, options):
    """`pyentry -m venv` makes an environment whose python is pyentry and sees what python's would see."""
    theirs = make_venv(PYTHON, tmp_path / "theirs", *options)
    ours = make_venv(PYENTRY, tmp_path / "ours", *options)
    expected = venv_facts(theirs / "bin" / "python", theirs)
    assert venv_facts(ours / "bin" / "python", ours) == expected
    names = {p.name for p in (ours / "bin").iterdir()}
    assert "python" in names
    for name in names & {"python", "python3", f"python3.{VERSION[1]}", "pyentry"}:
        done = run([ours / "bin" / name, "-c", "import pyentry, sys; print(pyentry.version, sys.prefix)"])
        assert done.returncode == 0 and str(ours).encode() in done.stdout, (name, done)
    if not options:
        assert os.path.realpath(ours / "bin" / "python") == os.path.realpath(PYENTRY)


def test_python_link_in_a_venv_made_by_python(tmp_path):
    """A link named python to pyentry in the bin folder of a stock venv is that venv's python."""
    folder = make_venv(PYTHON, tmp_path / "venv")
    expected = venv_facts(folder / "bin" / "python", folder)
    (folder / "bin" / "python").unlink()
    (folder / "bin" / "python").symlink_to(PYENTRY)
    assert venv_facts(folder / "bin" / "python", folder) == expected
    site = next(folder.glob("lib/python3*/site-packages"))
    write_tree(site, {"installed.py": "print('from', __file__)\n", "hook.pth": "import sys; sys.hooked = True\n"})
    done = run([folder / "bin" / "python", "-m", "installed"])
    assert outcome(done) == {"status": 0, "stdout": f"from {site}/installed.py\n".encode(), "stderr": b""}
    assert run([folder / "bin" / "python", "-c", "import sys; sys.hooked"]).returncode == 0
    assert run([folder / "bin" / "python", "-c", "import pyentry; print(pyentry.version)"]).returncode == 0


SPAWN = """
import multiprocessing, sys


def work():
    print(sys.prefix, sys.executable)


if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=work)
    process.start()
    process.join()
    print(process.exitcode)
"""


def test_venv_inside_a_venv(tmp_path):
    """A venv's pyentry makes another venv, and multiprocessing stays inside of it."""
    first = make_venv(PYENTRY, tmp_path / "first")
    second = make_venv(first / "bin" / "python", tmp_path / "second")
    facts = venv_facts(second / "bin" / "python", second)
    assert facts["prefix"] == "VENV" and facts["child"] == "VENV\n"
    assert run([second / "bin" / "python", "-c", "import pyentry"]).returncode == 0
    script = tmp_path / "program.py"
    script.write_text(SPAWN)
    done = run([second / "bin" / "python", script])
    assert done.stdout.decode().split() == [str(second), f"{second}/bin/python", "0"], outcome(done)


def test_venv_by_shebang_and_path(tmp_path):
    """A script with the venv's python in its first line, and `python` found through PATH."""
    folder = make_venv(PYENTRY, tmp_path / "venv")
    script = tmp_path / "script"
    script.write_text(f"#!{folder}/bin/python -O\nimport sys\nprint(sys.prefix, sys.argv[1:], __debug__)\n")
    script.chmod(0o755)
    done = run([script, "--init=never"])
    assert outcome(done) == {"status": 0, "stdout": f"{folder} ['--init=never'] False\n".encode(), "stderr": b""}
    env = clean_env(PATH=f"{folder}/bin:{os.environ['PATH']}")
    done = run(["python", "-c", "import sys; print(sys.prefix)"], env=env)
    assert done.stdout == f"{folder}\n".encode()


def test_in_place_of_python_under_any_name(tmp_path):
    """Copied or linked to another name, pyentry is the same program: its name decides nothing."""
    code = "import sys, pyentry; print(sys.prefix, type(sys.stdout.buffer).__mro__[-4:], pyentry.version)"
    expected = outcome(run([PYENTRY, "-c", code]))
    assert expected["status"] == 0
    for name in ("python", "python3", f"python3.{VERSION[1]}", "sh"):
        (tmp_path / name).symlink_to(PYENTRY)
        assert outcome(run([tmp_path / name, "-c", code])) == expected


def test_subprocess_sees_the_same_environment(tmp_path):
    """Without pyentry options nothing is added to the environment of children; with them, PYENTRY_*."""
    code = "import os, subprocess; print(subprocess.run(['env'], capture_output=True, text=True).stdout)"
    plain = [set(run([p, "-c", code]).stdout.split(b"\n")) for p in (PYTHON, PYENTRY)]
    assert plain[1] == plain[0]
    given = set(run([PYENTRY, "--term-status=7", "--stop-report", "3s", "-c", code]).stdout.split(b"\n"))
    assert given - plain[0] == {b"PYENTRY_TERM_STATUS=7", b"PYENTRY_STOP_REPORT=3s"}


def test_stdin_is_left_alone(tmp_path):
    """pyentry reads no more of stdin than python: what follows in a shared pipe is for others."""
    code = "import os; print(os.read(0, 5))"
    for program in (PYTHON, PYENTRY):
        done = run(["sh", "-c", f'printf "12345rest" | {{ "$0" -c "{code}"; cat; }}', program])
        assert done.stdout == b"b'12345'\nrest"
    with Child(PYENTRY, "-c", "print('up'); print(input('name? '))") as child:
        child.out.wait("up\nname? ")
        child.type("x\n")
        assert child.wait() == 0 and child.out.all().endswith(b"x\n")


def test_many_at_once():
    """Twenty at once: no shared name, lock or file makes one disturb another."""
    done = gather(lambda n: run([PYENTRY, "-c", f"print({n})"]), range(20), at_once=10)
    assert [d.stdout for d in done] == [b"%d\n" % n for n in range(20)]


def test_process_name_and_arguments_of_the_kernel():
    """/proc/self/cmdline is the command line as given; nothing was re-executed."""
    code = "import os; print(os.getpid()); print(open('/proc/self/cmdline').read().split('\\0'))"
    command = [PYENTRY, "--init=never", "-c", code, "x"]
    with Child(*command) as child:
        assert child.wait() == 0
        assert child.out.all().decode().splitlines() == [str(child.pid), str([*command, ""])]


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_below_valgrind():
    """valgrind, which counts instructions and finds leaks, keeps the last signal for itself."""
    done = run(["valgrind", "-q", "--tool=none", PYENTRY, "-c", "print('told')"])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"told\n", b"")
