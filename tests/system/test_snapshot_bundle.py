"""pyentry --bundle --snapshot: the bundle starts from its own image, or as any bundle does, with one line."""

import json
import os
import re
import shutil
import signal
import subprocess
import zipfile

import pytest

from bundling import build, out_of_reach, readable_by_tools
from harness import PYENTRY, clean_env, first_child, gather, run
from snapshots import FIELDS, needed, offsets
from test_snapshot_fallback import OCCUPY

pytestmark = needed

LINE = re.compile(rb"pyentry: this bundle's snapshot is not used, Python starts without it: (.+)\n")

# What a module does while it is imported: whether a snapshot can hold it, and why not.
MODULES = {
    "clean": ("import base64, decimal, runpy\nseen = runpy.run_module.__name__\n", None),
    "package": ("from . import inner\n", None),
    "package.inner": ("import clean\ndef late(): import os, time; return os.environ.get('X'), time.time()\n", None),
    "renewed": ("import logging, random, tempfile, uuid\n", None),
    "inside": ("import os, sys\ntext = open(os.path.dirname(__file__) + '/data.txt').read()\n", None),
    "variable": ("import os\nmine = os.environ.get('MINE', 'unset')\n", "reads the variable MINE"),
    "everything": ("import os\nall = dict(os.environ)\n", "reads the whole environment"),
    "clock": ("import time\nbegan = time.monotonic()\n", "reads the time"),
    "today": ("import datetime\nday = datetime.date.today()\n", "reads the time"),
    "dice": ("import random\nnumber = random.random()\n", "uses randomness"),
    "secret": ("import os\nkey = os.urandom(9)\n", "uses randomness"),
    "outside": ("names = open('/etc/hostname').read()\n", "reads /etc/hostname"),
    "worker": ("import threading\nt = threading.Thread(target=int)\nt.start(); t.join()\n",
               "starts a thread"),
    "child": ("import subprocess\nsubprocess.run(['true'])\n", "starts a program"),
    "broken": ("import no_such_module\n", "fails: ModuleNotFoundError: No module named 'no_such_module'"),
    "package.reader": ("import os\nx = os.environ.get('PACKAGE')\n", "reads the variable PACKAGE"),
    "package.loads": ("import importlib\nimportlib.import_module('.reader', __package__)\n", ""),
    "starred": ("__all__ = ['part']\n", None),
    "starred.part": ("import os\npid = os.getpid()\n", "looks at the process id"),
    "stargazer": ("from starred import *\n", ""),
    "follows": ("import clean, variable\n", ""),
    "follows_it": ("def f(): pass\nimport package.inner\nfrom follows import clean\n", ""),
}

# Left to each start, and the first of those.
BEFORE = "import os, sys\nos.environ.get('BEFORE')\nthere = sorted(name for name in NAMES if name in sys.modules)\n"

MAIN = """if 1:
    import json, os, sys
    from before import there
    import pyentry, package.inner, clean, renewed, inside, variable, everything, clock, today, dice, secret, outside
    import follows_it, package.loads, stargazer
    try:
        import worker, child, broken
    except ImportError as error:
        pass
    if "never" in there:
        import jumped_over
    if sys.argv[1:2] == ["wait"]:
        import time
        print("ready", flush=True)
        time.sleep(60)
        import too_late
    if __name__ == "__main__":
        print(json.dumps({
            "there": there, "argv": sys.argv, "orig": getattr(sys, "orig_argv", []), "executable": sys.executable,
            "path": sys.path, "bundle": pyentry.bundle, "files": [clean.__file__, inside.__file__, __file__],
            "text": inside.text, "mine": variable.mine, "seen": clean.seen, "flags": list(sys.flags),
            "runpy": sys.modules["runpy"].run_path.__name__,
            "data": open(os.path.dirname(inside.__file__) + "/data.txt").read()}))
"""


def sources(directory):
    for name, (text, _) in MODULES.items():
        path = directory / (name.replace(".", "/") + ("/__init__.py" if name in ("package", "starred") else ".py"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (directory / "data.txt").write_text("data")
    (directory / "main.py").write_text(MAIN)
    (directory / "before.py").write_text(BEFORE.replace("NAMES", repr(sorted(MODULES))))
    (directory / "jumped_over.py").write_text("")
    (directory / "too_late.py").write_text("")
    return directory


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def built(place, tmp_path_factory):
    """The bundle, and what its builder said."""
    out = tmp_path_factory.mktemp("bundle") / "app"
    done = build(out, "--snapshot", "--verbose", "--args", "-c ${WORD:-none}", "-m", "main", place)
    return out, done.stdout.decode()


@pytest.fixture(scope="module")
def app(built):
    return built[0]


def start(app, *words, **options):
    """A start that must be one from the snapshot."""
    env = {**clean_env(), **options.pop("env", {}), "PYENTRY_RESTORE_OR_FAIL": "on"}
    done = run([app, *words], env=env, **options)
    assert (done.returncode, done.stderr) == (0, b""), (done.returncode, done.stderr.decode())
    return json.loads(done.stdout)


def plain(app, *words, **options):
    """One that must not be."""
    done = run([app, *words], env={**clean_env(), **options.pop("env", {}), "PYENTRY_RESTORE": "none"}, **options)
    assert (done.returncode, done.stderr) == (0, b""), (done.returncode, done.stderr.decode())
    return json.loads(done.stdout)


def reason(app, *words, **changes):
    """Why a start went without the snapshot; it must have gone well, and said one line."""
    done = run([app, *words], env=clean_env(**changes))
    found = LINE.fullmatch(done.stderr)
    assert found and done.returncode == 0 and json.loads(done.stdout)["there"] == [], (done.returncode, done.stderr)
    return found[1].decode()


def place_of(name, app):
    with zipfile.ZipFile(app) as archive:
        return archive.getinfo(name).header_offset + 30 + len(name)


def test_modules_that_go_in_and_why_not(built):
    """Those whose imports look at nothing that may differ; the builder names the others, and what each looked at."""
    reasons = dict(re.findall(r"^    (\w[\w.]*): (.*)$", built[1], re.MULTILINE))
    assert {name: why for name, (_, why) in MODULES.items() if why} == {
        name: reasons.get(name) for name, (_, why) in MODULES.items() if why}
    followers = re.search(r"^    (.*): these import one of those$", built[1], re.MULTILINE)[1].split(", ")
    assert sorted(followers) == sorted(name for name, (_, why) in MODULES.items() if why == "")
    inside = sorted(name for name, (_, why) in MODULES.items() if why is None)
    assert start(built[0])["there"] == inside
    assert "in the snapshot: " in built[1] and plain(built[0])["there"] == []
    assert "jumped_over" not in built[1] and "too_late" not in built[1]


def test_a_start_is_one_of_the_bundle(app):
    """Command line, paths and files are what they are without the snapshot."""
    for words in ((), ("one", "two"), ("--", "-c", "x"), ("-", "-h")):
        fresh, cold = start(app, *words, env={"MINE": "new"}), plain(app, *words, env={"MINE": "new"})
        assert fresh.pop("there") and not cold.pop("there")
        assert fresh == cold
    assert fresh["mine"] == "new" and start(app, env={"WORD": "w"})["argv"] == [str(app), "-c", "w"]


def test_its_path_is_where_it_was_built_for(app, place, tmp_path):
    """Modules hold its path: elsewhere it starts without, and says where the snapshot is for; --at says it before."""
    copy = shutil.copy(app, tmp_path / "copy")
    assert reason(copy) == f"it was taken for {app}, and this is {copy}: build with --at"
    (tmp_path / "there").mkdir()
    build(tmp_path / "built", "--snapshot", "--at", tmp_path / "there" / "app", "-m", "main", place)
    assert "it was taken for" in reason(tmp_path / "built")
    os.rename(tmp_path / "built", tmp_path / "there" / "app")
    assert start(tmp_path / "there" / "app")["executable"] == str(tmp_path / "there" / "app")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "app")
    assert start(tmp_path / "link")["bundle"] == str(tmp_path / "there" / "app")


def test_standard_tools_read_it(app):
    for name, done in readable_by_tools(app).items():
        assert done.returncode == 0, (name, done.stdout, done.stderr)
    listed = run(["zipinfo", "-1", app]).stdout.decode().split()
    assert ".pyentry/snapshot" in listed and listed == sorted(listed)


def test_pythons_options_make_it_a_python_as_ever(app):
    """A Python of the bundle's has another beginning than the app: without the snapshot, and without a word."""
    done = run([app, "-c", "import sys; print('clean' in sys.modules, sys.argv)"])
    assert (done.stdout, done.stderr) == (b"False ['-c']\n", b"")


def test_what_a_start_needs(app, tmp_path):
    """Another environment, other options of its start, its own snapshot only."""
    assert "PYTHONHASHSEED is set" in reason(app, PYTHONHASHSEED="1")
    assert "LANG differs" in reason(app, LANG="C")
    (tmp_path / "x.snap").write_bytes(b"x")
    done = run([app], env=clean_env(PYENTRY_RESTORE=str(tmp_path / "x.snap")))
    assert b"x.snap is not used, Python starts without it: a bundle starts from no snapshot but its own" in done.stderr
    done = run([app], env=clean_env(LANG="C", PYENTRY_RESTORE_OR_FAIL="on"))
    assert (done.returncode, done.stdout) == (1, b"") and b"is not used: LANG differs" in done.stderr


def test_the_users_own_variables_are_in_force_at_the_build(place, tmp_path):
    """The builder's Python does not see PYTHON*; the one that is written down does."""
    env = clean_env(PYTHONDONTWRITEBYTECODE="1")
    build(tmp_path / "app", "--snapshot", "-m", "main", place, env=env)
    assert start(tmp_path / "app", env={"PYTHONDONTWRITEBYTECODE": "1"})["there"]
    assert "PYTHONDONTWRITEBYTECODE is not set" in reason(tmp_path / "app")


def test_modules_that_are_named(place, tmp_path):
    """--preload names them itself; with auto among them they are in besides, with what they import."""
    build(tmp_path / "app", "--snapshot", "--preload", "clean,variable", "--warm-up", "package.inner:late", "-m", "main",
          place)
    assert start(tmp_path / "app")["there"] == ["clean", "package", "package.inner", "variable"]
    assert "MINE is set, and was not when variable looked for it" in reason(tmp_path / "app", MINE="x")
    done = build(tmp_path / "auto", "--snapshot", "--preload", "auto,follows", "-m", "main:main", place)
    assert "MINE: not set, by variable" in done.stdout.decode()
    assert "follows: " not in done.stdout.decode()


@pytest.mark.parametrize("words", [[], ["--no-source"]])
def test_with_the_stdlib(place, tmp_path, words):
    """Nothing else of Python is in reach, and files of the bundle are read from it after the start as before."""
    build(tmp_path / "app", "--snapshot", "--stdlib", *words, "-m", "main", place)
    done = run([*out_of_reach(place), tmp_path / "app"], env=clean_env(PYENTRY_RESTORE_OR_FAIL="on"))
    assert json.loads(done.stdout)["data"] == "data" and done.stderr == b""


def test_addresses_that_are_taken(place, tmp_path):
    """It begins anew with the same words, also where these look like python's own."""
    (tmp_path / "occupy.c").write_text(OCCUPY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "occupy.so", tmp_path / "occupy.c"], check=True)
    env = {"LD_PRELOAD": str(tmp_path / "occupy.so"), "OCCUPY": str(tmp_path / "taken")}
    build(tmp_path / "app", "--snapshot", "--args", "-c x", "-m", "main", place, env=clean_env(**env))
    data, image = (tmp_path / "app").read_bytes(), place_of(".pyentry/snapshot", tmp_path / "app")
    at = image + offsets()["arena_start"]
    first = image + sum({"s": 0, "I": 4, "Q": 8}.get(code[-1]) or int(code[:-1]) for _, code in FIELDS)
    arena = int.from_bytes(data[at:at + 8], "little")
    area = next(begin for begin in (int.from_bytes(data[n:n + 8], "little") for n in range(first, len(data), 32))
                if begin >= arena)
    for words in ((), ("--", "-c", "print(2)"), ("a",)):
        (tmp_path / "taken").write_text(f"{area:x} 2\n")
        assert start(tmp_path / "app", *words, env=env)["argv"][1:] == list(words[1:] or words or ("-c", "x"))
        assert (tmp_path / "taken").read_text().split()[1] == "0"
    (tmp_path / "taken").write_text(f"{area:x} 9\n")
    assert reason(tmp_path / "app", **env) == "its addresses are taken"


def test_damage(app, place, tmp_path):
    """A damaged image is not used; a damaged file of the bundle is found when it is read, after the start too."""
    data = app.read_bytes()
    copy = tmp_path / "app"

    def damaged(at):
        copy.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
        copy.chmod(0o755)
        return run(["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1"; exec "$1"', copy, app])

    image = place_of(".pyentry/snapshot", app)
    assert image % 4096 == 0
    done = damaged(image + 100)
    assert done.returncode == 0 and b"is damaged: the checksum of its header" in done.stderr
    done = damaged(place_of("data.txt", app))
    assert done.returncode != 0 and b"data.txt is not what it was" in done.stderr


@pytest.mark.parametrize("namespace", [[], ["unshare", "--pid", "--fork", "--mount-proc"]], ids=["alone", "as PID 1"])
def test_it_stops(app, namespace):
    with subprocess.Popen([*namespace, app, "wait"], env=clean_env(PYENTRY_RESTORE_OR_FAIL="on"),
                          stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        os.kill(first_child(child.pid) if namespace else child.pid, signal.SIGTERM)
        assert child.wait(30) == (128 + signal.SIGTERM if namespace else -signal.SIGTERM)


def test_several_at_once(app):
    done = gather(lambda _: start(app)["there"], range(40))
    assert len(done) == 40 and len(set(map(str, done))) == 1


@pytest.mark.parametrize("words,line", [
    (["--at", "/x"], "--at is for --snapshot"), (["--preload", "json"], "--preload is for --snapshot"),
    (["--snapshot", "--at", "x"], "--at x: it takes the whole path"),
    (["--snapshot", "--preload", "nothing_of_that_name"], "it was not taken: see above")])
def test_refusals(place, tmp_path, words, line):
    done = build(tmp_path / "app", *words, "-m", "main", place, status=1)
    assert line in done.stderr.decode() and os.listdir(tmp_path) == []


def test_nobody_else_takes_one(app, tmp_path):
    """A bundle's snapshot is taken by the builder alone, which knows where all of it is."""
    (tmp_path / "pyentry").symlink_to(app)
    done = run([tmp_path / "pyentry", "--snapshot", "-o", tmp_path / "x", "--preload", "json"])
    assert done.returncode == 2 and b"a bundle gets its snapshot when it is built" in done.stderr
    done = run([PYENTRY, "--snapshot", "-o", tmp_path / "x", "--preload", "json", "--at", "/x"])
    assert done.returncode == 2 and b"--at is for bundles" in done.stderr
