"""--info: what it says of the process, the platform, limits, streams and options, what it warns of, and that the examples of
docs/info.md are what it prints.
"""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from groups import groups, inside, memory, quota
from harness import (PYENTRY, PYTHON, ROOT, Stream, clean_env, gather, in_pid_namespace, pyentry, run, stock,
                     stock_can, traced_calls)

ELSEWHERE = {"KUBERNETES_SERVICE_HOST": None, "container": None}
CLOUD = {"K_SERVICE": "shop", "K_REVISION": "shop-00007-abc"}
OPTIONS = ["init", "forward", "signal-map", "stop-report", "stop-timeout", "term-status", "cpus", "faulthandler",
           "fast-exit", "log-format", "restore", "restore-or-fail"]
# In a namespace of its own: "$@" below a root directory without the files that a container runtime leaves.
BARE = r"""
root=$1; shift
mount -t tmpfs none "$root"
for path in /* /.[!.]*; do
    if [ -L "$path" ]; then cp -a "$path" "$root"
    elif [ -d "$path" ] && [ "$path" != /run ]; then mkdir "$root$path" && mount --rbind "$path" "$root$path"
    fi
done
mkdir "$root/run"
cd "$root" && eval "$MAKE"
exec chroot "$root" "$@"
"""
HIDE_SYS = "umount -R -l /sys 2>/dev/null || mount -t tmpfs none /sys; "
AND_RUN = 'exec "$@"'


def environment(**changes):
    return clean_env(**{**ELSEWHERE, **changes})


def info(*args, env=None, **options):
    """The object of --info --json."""
    done = pyentry(*args, "--info", "--json", env=env or environment(), **options)
    assert done.returncode == 0 and not done.stderr, done
    assert run([PYTHON, "-m", "json.tool"], input=done.stdout).returncode == 0
    return json.loads(done.stdout)


def text(*args, env=None, **options):
    done = pyentry(*args, "--info", env=env or environment(), **options)
    assert (done.returncode, done.stderr) == (0, b""), done
    return done.stdout.decode()


def in_mount_namespace():
    """The command whose mounts are its own, but not its processes."""
    return [word for word in in_pid_namespace() if word not in ("--pid", "--fork", "--kill-child", "--mount-proc")] + \
        ["--mount"]


def bare(tmp_path, argv, make="", **options):
    """Run below a bare root, in a mount namespace of its own; make is run in that root first."""
    env = options.pop("env", environment())
    return run([*in_mount_namespace(), "sh", "-euc", BARE, "sh", str(tmp_path), *argv], env={**env, "MAKE": make}, **options)


### The examples in the docs

EXAMPLES = re.findall(r"```text\n\$ (.*?)\n(.*?)```", (ROOT / "docs" / "info.md").read_text(), re.DOTALL)


def masked(line):
    """What differs from machine to machine is taken out."""
    line = line.replace(PYENTRY, "/usr/bin/pyentry")
    line = re.sub(r"prefix .*", "prefix P", line)
    line = re.sub(r"(libpython) .*", r"\1 L", line)
    line = re.sub(r"process 1 is .*", "process 1 is P", line)
    line = re.sub(r"/sys/fs/cgroup/.*/(\w+\.\w+)", r"GROUP/\1", line)
    return re.sub(r"\b\d+(\.\d+)*(?=[ ,;)]|$)", "N", line)


@contextlib.contextmanager
def half_a_cpu():
    """What makes a process enter a group with half a CPU and 512 MiB."""
    with groups("cpu", quota(0.5)) as cpu, groups("memory", memory(512)) as store:
        yield inside(cpu, store)


def run_example(number, tmp_path):
    options = {"stderr": subprocess.STDOUT, "env": environment()}
    if number == 0:
        return bare(tmp_path, [PYENTRY, "--info"], **options)
    if number == 1:
        return run([*in_pid_namespace(), PYENTRY, "--info"], **options)
    if number == 2:
        with half_a_cpu() as enter:
            return run([PYENTRY, "--info"], preexec_fn=enter, **options)
    given = dict(word.split("=") for word in EXAMPLES[number][0].split() if "=" in word)
    options["env"] = environment(**given)
    hide = HIDE_SYS if number == 4 else ""
    return run([*in_mount_namespace(), "sh", "-c", hide + AND_RUN, "sh", PYENTRY, "--info"], **options)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_in_the_docs(number, tmp_path):
    """Each example's lines are printed, in that order, up to names and numbers; the first one is whole."""
    done = run_example(number, tmp_path)
    seen = [masked(line) for line in done.stdout.decode().splitlines()]
    expected = [masked(line) for line in EXAMPLES[number][1].splitlines()]
    assert done.returncode == 0
    if number == 0:
        assert seen == expected
    rest = iter(seen)
    assert [line for line in expected if line not in rest] == [], seen


def test_half_a_cpu():
    """Under the quota the numbers are right, in both forms."""
    with half_a_cpu() as enter:
        found = info(preexec_fn=enter)
        lines = text(preexec_fn=enter)
    assert (found["cpus"]["limit"], found["memory"]["limit"]) == (1, 512 << 20)
    assert found["cpus"]["source"].endswith("/cpu.cfs_quota_us") and found["cpus"]["group_visible"]
    assert f"cpus        1 ({found['cpus']['source']}; the host has {found['cpus']['host']})\n" in lines
    assert f"memory      512 MiB ({found['memory']['source']})\n" in lines


### The keys

def test_the_keys():
    """The JSON object has the documented keys, no others, in one line and one write."""
    found = info()
    shape = {key: list(value) if isinstance(value, dict) else type(value) for key, value in found.items()}
    stream = ["kind", "path", "nonblocking", "same_as"]
    assert shape == {
        "pyentry": str, "process": ["pid", "init", "because", "process_1"], "log": str, "options": OPTIONS, "warnings": list,
        "python": ["version", "libpython", "library", "executable", "prefix", "built_for", "variables"],
        "platform": ["id", "name", "revision", "generation", "told_by"],
        "cpus": ["limit", "source", "host", "group_visible"], "memory": ["limit", "source", "host"],
        "stdin": stream, "stdout": stream, "stderr": stream}
    assert all(list(option) == ["value", "from", "variable", "valid"] for option in found["options"].values())
    documented = set(re.findall(r"`([a-z_0-9]+)`", (ROOT / "docs" / "info.md").read_text().split("## As JSON")[1]))
    told = {key for value in found.values() if isinstance(value, dict) for key in value} - set(OPTIONS)
    assert told | set(found) <= documented


### Python

def test_python(tmp_path):
    """Executable, prefix and version are what the interpreter says, by path, through PATH, by a link and in a venv."""
    code = "import sys, json; print(json.dumps([sys.executable, sys.prefix, sys.version.split()[0]]))"
    (tmp_path / "bin").mkdir()
    os.symlink(PYENTRY, tmp_path / "bin" / "pyentry")
    assert pyentry("-m", "venv", "--without-pip", str(tmp_path / "venv")).returncode == 0
    path = f"{tmp_path / 'venv' / 'bin'}:{tmp_path / 'bin'}:{os.environ['PATH']}"
    for program in (PYENTRY, "pyentry", "python3", str(tmp_path / "venv" / "bin" / "python"), "./bin/pyentry"):
        options = {"env": environment(PATH=path), "cwd": tmp_path}
        theirs = json.loads(run(["sh", "-c", 'exec "$@"', "sh", program, "-c", code], **options).stdout)
        done = run(["sh", "-c", 'exec "$@"', "sh", program, "--info", "--json"], **options)
        ours = json.loads(done.stdout)["python"]
        assert [ours["executable"], ours["prefix"], ours["version"]] == theirs, program
    linked = b"libpython" in run(["ldd", PYENTRY]).stdout
    assert (ours["libpython"], bool(ours["library"])) == (("shared", True) if linked else ("static", False))


def test_pythons_variables():
    """Python's own variables are shown; a PYTHONHOME that holds no library is warned of, and Python is not needed."""
    env = environment(PYTHONPATH="/app", PYTHONHOME="/nowhere")
    found = info(env=env)
    assert found["python"]["variables"] == {"PYTHONPATH": "/app", "PYTHONHOME": "/nowhere"}
    assert any("no standard library in /nowhere/lib" in warning for warning in found["warnings"])
    assert "            PYTHONPATH=/app\n" in text(env=env)
    assert pyentry("-c", "pass", env=env).returncode != 0


def test_no_secrets():
    """A name that python does not know is not shown, whatever it begins with; each that python's help has is."""
    env = environment(PYTHON_DB_PASSWORD="hunter2", PYTHONPATHS="hunter2", PYTHON="hunter2", PYTHONPATH="/app")
    assert info(env=env)["python"]["variables"] == {"PYTHONPATH": "/app"} and "hunter2" not in text(env=env)
    known = re.findall(r"^(PYTHON\w+)", (stock("--help").stdout + stock("--help-env").stdout).decode(), re.MULTILINE)
    assert len(set(known)) > 10
    assert set(known) == set(info(env=environment(**dict.fromkeys(known, "1")))["python"]["variables"])


def test_no_interpreter_is_started():
    """Nothing of Python's library is opened."""
    calls = traced_calls([PYENTRY, "--info"], "openat,execve,clone,fork,vfork")
    assert [call for call in calls if "/python3" in call and "execve" not in call and ".so" not in call] == []
    assert not any(call.startswith(("clone", "fork", "vfork")) for call in calls)


### The process

def test_process():
    """The init's mode and its reason: process 1 or not, and --init."""
    def seen(case):
        first, args = case
        command = in_pid_namespace() if first else []
        done = run([*command, PYENTRY, *args, "--info", "--json"], env=environment())
        process = json.loads(done.stdout)["process"]
        return process["pid"] == 1, process["init"], process["because"]

    cases = {(False, ()): (False, "this is not process 1"), (False, ("--init=always",)): (True, "--init=always"),
             (True, ()): (True, "this is process 1"), (True, ("--init=never",)): (False, "--init=never")}
    assert gather(seen, cases) == [(first, *expected) for (first, _), expected in cases.items()]
    assert info()["process"]["process_1"] == Path("/proc/1/comm").read_text().rstrip("\n")


### The platform

def test_cloud_run():
    """Services, jobs and worker pools; Knative has Kubernetes's variable, too; an empty variable is none."""
    def seen(env):
        return [info(env=environment(**env))["platform"][key] for key in ("id", "name", "revision", "told_by")]

    assert seen(CLOUD) == ["cloud-run-service", "shop", "shop-00007-abc", "K_SERVICE"]
    assert seen({"CLOUD_RUN_JOB": "j", "CLOUD_RUN_EXECUTION": "j-1"}) == ["cloud-run-job", "j", "j-1", "CLOUD_RUN_JOB"]
    assert seen({"CLOUD_RUN_WORKER_POOL": "w"}) == ["cloud-run-worker-pool", "w", None, "CLOUD_RUN_WORKER_POOL"]
    assert seen({**CLOUD, "KUBERNETES_SERVICE_HOST": "10.0.0.1"})[0] == "knative-service"
    assert seen({"K_SERVICE": "", "KUBERNETES_SERVICE_HOST": "10.0.0.1"})[0] == "kubernetes"


@pytest.mark.parametrize("make, variables, expected", [
    ("", {}, ("plain", None)),
    (": > .dockerenv", {}, ("docker", "/.dockerenv")),
    (": > run/.containerenv", {"container": "podman"}, ("podman", "/run/.containerenv")),
    ("mkdir -p run/secrets/kubernetes.io/serviceaccount; : > .dockerenv", {},
     ("kubernetes", "/var/run/secrets/kubernetes.io/serviceaccount")),
    (": > .dockerenv", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ("kubernetes", "KUBERNETES_SERVICE_HOST")),
    ("", {"container": "lxc"}, ("container", "container"))])
def test_containers(make, variables, expected, tmp_path):
    """The files and variables that a runtime leaves."""
    done = bare(tmp_path, [PYENTRY, "--info", "--json"], make, env=environment(**variables))
    assert done.returncode == 0, done.stderr
    platform = json.loads(done.stdout)["platform"]
    assert (platform["id"], platform["told_by"], platform["generation"]) == (*expected, None)


@pytest.mark.parametrize("hide", [HIDE_SYS, "mount -t tmpfs none /sys; "])
def test_the_first_generation(hide):
    """No /sys/fs/cgroup, not process 1: everything works, with the host's count, and --info says so."""
    def below(*args):
        return run([*in_mount_namespace(), "sh", "-c", hide + AND_RUN, "sh", PYENTRY, *args], env=environment(**CLOUD))

    found = json.loads(below("--info", "--json").stdout)
    assert found["platform"]["generation"] == 1 and not found["process"]["init"] and found["warnings"] == []
    assert (found["cpus"]["group_visible"], found["memory"]["limit"]) == (False, None)
    assert found["cpus"]["limit"] == len(os.sched_getaffinity(0))
    code = "import os, signal\nprint(os.cpu_count())\ntry: os.kill(os.getpid(), signal.SIGTERM)\nfinally: print('bye')"
    done = below("-c", code)
    assert done.stdout.decode() == f"{found['cpus']['limit']}\nbye\n" and done.returncode == -signal.SIGTERM
    assert json.loads(below("-c", "1/0").stderr)["serviceContext"]["service"] == "shop"


### Streams

def stream_kinds(name, **options):
    """The JSON of one stream, read from another one."""
    number = ("stdin", "stdout", "stderr").index(name)
    done = run(["sh", "-c", 'exec "$@"', "sh", PYENTRY, "--info", "--json"], env=environment(), **options)
    output = done.stdout if number != 1 else done.stderr
    return json.loads(output)[name]


def test_streams(tmp_path):
    """Each kind of file that a stream can be."""
    kinds = {}
    ours, theirs = pty.openpty()
    Stream(os.dup(ours))
    a, b = socket.socketpair()
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(tmp_path / "file", "w+b") as file, open("/dev/full", "r+b", 0) as full:
        for name, stdin in {"terminal": theirs, "socket": a, "pipe": reader, "file": file, "device": full,
                            "/dev/null": subprocess.DEVNULL}.items():
            kinds[name] = stream_kinds("stdin", stdin=stdin)
        assert kinds["file"]["path"] == str(tmp_path / "file") and kinds["device"]["path"] == "/dev/full"
    assert {name: found["kind"] for name, found in kinds.items()} == {name: name for name in kinds}
    assert kinds["terminal"]["path"] == os.ttyname(theirs) and kinds["pipe"]["path"] is None
    assert [name for name, found in kinds.items() if found["nonblocking"]] == ["pipe"]
    for fd in (ours, theirs, reader, writer):
        os.close(fd)
    a.close()
    b.close()
    assert info(stderr=subprocess.STDOUT)["stderr"]["same_as"] == "stdout"


@pytest.mark.parametrize("redirection, warning", [
    ("<&-", "stdin is closed: sys.stdin is None"),
    (">&-", "stdout is closed: what the program prints goes nowhere"),
    ("2>&-", "stderr is closed: tracebacks and pyentry's own lines go nowhere"),
    ("2</dev/null", "stderr is open for reading only: tracebacks and pyentry's own lines go nowhere"),
    ("1</dev/null", "stdout is open for reading only: what the program prints goes nowhere"),
    ("0>/dev/null", "stdin is open for writing only: nothing can be read")])
def test_streams_that_are_wrong(redirection, warning):
    """A closed stream, or one that is open the wrong way, is told; where it is stdout, on stderr."""
    for option in ("--info", "--info --json"):
        done = run(["sh", "-c", f'exec "$1" {option} {redirection}', "sh", PYENTRY], env=environment())
        output = done.stderr if redirection.startswith((">", "1")) else done.stdout
        assert done.returncode == 0 and warning in output.decode(), done


def test_output_that_does_not_work():
    """A full disk: one line, exit 1. Nothing to write to at all: exit 1."""
    with open("/dev/full", "wb") as full:
        for args in (["--info"], ["--info", "--json"]):
            done = pyentry(*args, stdout=full, env=environment())
            assert done.returncode == 1
            assert done.stderr == b"pyentry: --info: stdout cannot be written: No space left on device\n"
    assert run(["sh", "-c", '"$1" --info >&- 2>&-', "sh", PYENTRY], env=environment()).returncode == 1


### Options

def test_options():
    """Each option's value and where it comes from; the command line wins; what is not valid is said."""
    defaults = {name: ("default", True) for name in OPTIONS}
    found = info()["options"]
    assert {name: (option["from"], option["valid"]) for name, option in found.items()} == defaults
    assert found["stop-report"]["value"] == "8s" and found["signal-map"]["value"] is None
    env = environment(PYENTRY_STOP_REPORT="5s", PYENTRY_TERM_STATUS="7", PYENTRY_INIT="", PYENTRY_CPUS="many")
    found = info("--stop-report=2s", "--signal-map", "TERM=QUIT", env=env)
    told = {name: (option["value"], option["from"]) for name, option in found["options"].items()
            if option["from"] != "default"}
    assert told == {"stop-report": ("2s", "command line"), "signal-map": ("TERM=QUIT", "command line"),
                    "term-status": ("7", "variable"), "cpus": ("many", "variable")}
    assert [name for name, option in found["options"].items() if not option["valid"]] == ["cpus"]
    assert len(found["warnings"]) == 1 and found["warnings"][0].startswith("PYENTRY_CPUS='many' is not valid")
    lines = text("--stop-report=2s", env=environment(PYENTRY_TERM_STATUS="7"))
    assert re.search(r"^ {12}stop-report +2s +command line$", lines, re.MULTILINE)
    assert re.search(r"^ {12}term-status +7 +PYENTRY_TERM_STATUS$", lines, re.MULTILINE)


def test_the_count_that_was_asked_for():
    """--cpus and PYTHON_CPU_COUNT are the source of the count."""
    def seen(*args, **env):
        found = info(*args, env=environment(**env))
        return found["cpus"]["limit"], found["cpus"]["source"], found["warnings"]

    assert seen("--cpus=7") == (7, "--cpus", [])
    assert seen(PYENTRY_CPUS="6") == (6, "--cpus", [])
    assert seen(PYTHON_CPU_COUNT="5") == (5, "PYTHON_CPU_COUNT", [])
    assert [w[:24] for w in seen(PYTHON_CPU_COUNT="x")[2]] == ["PYTHON_CPU_COUNT='x' is "]
    one = min(os.sched_getaffinity(0))
    found = info(preexec_fn=lambda: os.sched_setaffinity(0, {one}))
    assert found["cpus"]["limit"] == 1


def test_log():
    """The form of the log, and why."""
    for args, env, expected in (([], {}, "text (this is not Cloud Run)"), ([], CLOUD, "json (K_SERVICE)"),
                                (["--log-format=text"], CLOUD, "text (--log-format)"),
                                (["--log-format=json"], {"PYENTRY_LOG_FORMAT": "text"}, "json (--log-format)"),
                                ([], {"PYENTRY_LOG_FORMAT": "json"}, "json (PYENTRY_LOG_FORMAT)")):
        assert f"\nlog         {expected}\n" in text(*args, env=environment(**env))


### Warnings

def test_warnings():
    """What looks wrong, one line each; nothing else is said."""
    def ignore():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def block():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def seen(*args, env=None, **options):
        return [warning.split(":")[0] for warning in info(*args, env=environment(**(env or {})), **options)["warnings"]]

    assert seen() == []
    assert seen(preexec_fn=ignore) == ["SIGTERM is ignored"]
    assert seen(preexec_fn=block) == ["SIGTERM is blocked"]
    assert seen(env={"PYENTRY_STOP_REPROT": "1s"}) == ["PYENTRY_STOP_REPROT is no variable of pyentry's, and does nothing"]
    assert seen("--stop-report=10s", "--stop-timeout=15s", env=CLOUD) == ["--stop-report comes too late",
                                                                          "--stop-timeout comes too late"]
    assert seen("--stop-report=9s", "--stop-timeout=0", env=CLOUD) == []
    for command, first in (([PYENTRY, "--init=never"], "process 1 without an init"),
                           (["sh", "-c", '"$@"; exit $?', "sh", PYENTRY], "process 1 is a shell, which does not pass SIGTERM on")):
        done = run([*in_pid_namespace(), *command, "--info", "--json"], env=environment())
        assert [warning.split(":")[0] for warning in json.loads(done.stdout)["warnings"]] == [first]


def test_many_variables_that_are_none():
    """A thousand wrong names: the first of them, how many more, and all the other warnings."""
    wrong = {f"PYENTRY_{n}": "x" * 1000 for n in range(1000)}
    warnings = info("--stop-report=10s", env=environment(**CLOUD, **wrong, PYENTRY_CPUS="many"))["warnings"]
    names = [warning for warning in warnings if "is no variable" in warning]
    assert warnings[-1] == f"{1000 - len(names)} more variables begin with PYENTRY_, and are none of pyentry's"
    assert 1 < len(names) < 20 and len(warnings) == len(names) + 3
    assert any("comes too late" in warning for warning in warnings)


### Foreign bytes

def test_values_that_are_not_text():
    """Control characters, quotes and bytes that are no UTF-8 in variables: no second line, no colour, valid JSON."""
    env = {**{os.fsencode(k): os.fsencode(v) for k, v in environment().items()},
           b"K_SERVICE": b"a\n\x1b[31m\"\\\xff", b"PYENTRY_INIT": b"\x1b\xed\xa0\x80", b"PYTHONPATH": b"x\ny\xfe",
           b"PYENTRY_A\x1b": b"1"}
    plain = run([PYENTRY, "--info"], env=env)
    assert plain.returncode == 0 and b"\x1b" not in plain.stdout
    assert b'platform    Cloud Run service a??[31m"\\\xff, second' in plain.stdout
    found = json.loads(run([PYENTRY, "--info", "--json"], env=env).stdout)
    assert found["platform"]["name"] == 'a\n\x1b[31m"\\\ufffd'
    assert found["python"]["variables"] == {"PYTHONPATH": "x\ny\ufffd"}


def test_arguments():
    """--json or nothing; anything else is one line and exit 2."""
    for args in (["x"], ["--jsn"], ["--json", "--json"], ["--json", "x"], ["-c", "pass"]):
        done = pyentry("--info", *args)
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr == f"pyentry: --info takes --json or nothing behind it, not '{args[-1]}'\n".encode()
    assert pyentry("--info=1").returncode == 2 and pyentry("--inof").returncode == 2


def test_python_keeps_running_with_the_word():
    """Behind python's own options the word is the program's."""
    assert pyentry("-c", "import sys; print(sys.argv)", "--info").stdout == stock("-c", "import sys; print(sys.argv)",
                                                                                 "--info").stdout
    assert stock_can("import json")
