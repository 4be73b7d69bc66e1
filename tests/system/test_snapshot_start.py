"""A process that starts from a snapshot is a new one: in everything that belongs to it, and in pyentry's promises."""

import json
import os
import signal
import subprocess

import pytest

from harness import PYENTRY, clean_env, gather, run, stock
from snapshots import (ALONE, NOBODY, as_process, can_be_run_by_nobody, header, needed, open_path, preloading, said,
                       start, take)

pytestmark = needed

snap = preloading("json,decimal,asyncio,multiprocessing.pool,ssl,sqlite3,tempfile,uuid")


SHOW = """if 1:
    import json, os, sys
    print(json.dumps({
        "argv": sys.argv, "orig": getattr(sys, "orig_argv", [])[1:], "cwd": os.getcwd(),
        "path0": sys.path[0], "name": __name__,
        "env": os.environ.get("WORD"), "getenv": os.popen("echo $WORD").read().strip(), "executable": sys.executable,
        "modules": "decimal" in sys.modules, "file": globals().get("__file__"), "flags": list(sys.flags),
        "streams": [s.name + s.mode + s.encoding + s.errors + str(s.line_buffering) + str(s.isatty())
                    for s in (sys.stdin, sys.stdout, sys.stderr)]}))
"""


def shown(output):
    return json.loads(output)


def test_command_line_environment_and_directory(snap, tmp_path):
    """Those of the new process, as without a snapshot; the modules are there."""
    env = clean_env(WORD="new word")
    fresh = shown(said(snap, "-c", SHOW, "one", "two", env=env, cwd=tmp_path))
    plain = shown(run([PYENTRY, "-c", SHOW, "one", "two"], env=env, cwd=tmp_path).stdout)
    assert fresh.pop("modules") and not plain.pop("modules")
    assert fresh == plain
    assert fresh["env"] == fresh["getenv"] == "new word"


@pytest.mark.parametrize("kind", ["file", "module", "directory", "stdin"])
def test_targets(snap, tmp_path, kind):
    """A script, a module, a directory and standard input are the program, as they are without a snapshot."""
    (tmp_path / "prog").mkdir()
    for name in ("prog.py", "prog/__main__.py"):
        (tmp_path / name).write_text(SHOW)
    words = {"file": ["prog.py", "a"], "module": ["-m", "prog", "a"], "directory": ["prog", "a"], "stdin": ["-", "a"]}
    extra = {"input": SHOW.encode()} if kind == "stdin" else {}
    fresh = shown(said(snap, *words[kind], cwd=tmp_path, **extra))
    plain = shown(run([PYENTRY, *words[kind]], cwd=tmp_path, **extra).stdout)
    assert fresh.pop("modules") and not plain.pop("modules")
    assert fresh == plain


def test_the_program_of_the_snapshot(tmp_path):
    """With nothing on the command line the program runs that was given to --snapshot, arguments and all."""
    take(tmp_path / "a.snap", "--preload", "json", "-c", "import sys; print(sys.argv, __name__)", "x", "y")
    assert said(tmp_path / "a.snap") == "['-c', 'x', 'y'] __main__\n"
    assert said(tmp_path / "a.snap", "-c", "print('other')") == "other\n"


def test_options_of_python_stay(tmp_path):
    """A snapshot taken with -O and -X dev serves starts with them, in whatever spelling."""
    take(tmp_path / "a.snap", "--preload", "json", "-O", "-Xutf8")
    assert said(tmp_path / "a.snap", "-OXutf8", "-c", "import sys; print(sys.flags.optimize)") == "1\n"
    assert said(tmp_path / "a.snap", "-u", "-O", "-X", "utf8", "-c", "print(2)") == "2\n"


def test_the_c_locale(tmp_path):
    """Where no locale is asked for python chooses UTF-8, and tells its children; a module may read that."""
    env = {name: value for name, value in clean_env().items() if name not in ("LANG", "LC_CTYPE", "LC_ALL")}
    (tmp_path / "app.py").write_text("import locale, os\nseen = os.environ.get('LC_CTYPE')\n")
    take(tmp_path / "a.snap", "--preload=app", cwd=tmp_path, env=env)
    code = ("import os, subprocess, sys; print(app.seen, os.environ.get('LC_CTYPE'), sys.stdout.encoding,"
            "subprocess.run('echo $LC_CTYPE', shell=True, capture_output=True).stdout)")
    plain = run([PYENTRY, "-c", f"import app; {code}"], cwd=tmp_path, env=env).stdout.decode()
    assert said(tmp_path / "a.snap", "-c", f"import app; {code}", cwd=tmp_path, env=env) == plain


def test_environment_is_not_handed_on(snap):
    """A Python that the program starts is a plain one."""
    code = ("import os; print([n for n in os.environ if 'RESTORE' in n],"
            " os.popen('env | grep -c RESTORE').read().strip())")
    assert said(snap, "-c", code) == "[] 0\n"
    assert said(snap, "-c", code, env=clean_env(PYENTRY_RESTORE=str(snap))) == "[] 0\n"


def test_by_variable(snap):
    done = run([PYENTRY, "-c", "import sys; print('decimal' in sys.modules)"],
               env=clean_env(PYENTRY_RESTORE=str(snap), PYENTRY_RESTORE_OR_FAIL="on"))
    assert (done.stdout, done.stderr) == (b"True\n", b"")


def test_closed_streams(snap):
    """A closed stream is None, as in python."""
    code = "import os, sys; os.write(3, repr([sys.stdin, sys.__stdin__, sys.stdout, sys.stderr]).encode())"
    script = f"exec 3>&1; exec '{PYENTRY}' --restore-or-fail --restore='{snap}' -c \"$1\" <&- >&- 2>&-"
    done = run(["sh", "-c", script, "sh", code])
    assert done.stdout == b"[None, None, None, None]"


def test_descriptors_are_python_s(snap):
    """Nothing of ours stays open."""
    assert said(snap, "-c", "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))") == "[0, 1, 2, 3]\n"


def test_signals_that_were_ignored(snap):
    """stay ignored, and Python's table says so; the others are as in python."""
    code = ("import signal; print([str(signal.getsignal(n)) for n in (1, 2, 3, 13, 25)],"
            " callable(signal.getsignal(15)))")
    for trap in ("", "trap '' HUP INT;", "trap '' TERM QUIT;"):
        ours = run(["sh", "-c", f"{trap} exec '{PYENTRY}' --restore-or-fail --restore='{snap}' -c \"{code}\""])
        plain = run(["sh", "-c", f"{trap} exec '{PYENTRY}' -c \"{code}\""])
        assert (ours.stdout, ours.stderr) == (plain.stdout, b""), trap


READY = "import time\ntry:\n    print('ready'); time.sleep(60)\nfinally:\n    print('bye')\n"


@pytest.mark.parametrize("options,number,expected", [
    ([], signal.SIGTERM, -signal.SIGTERM), (["--term-status=7"], signal.SIGTERM, 7),
    (["--init=always"], signal.SIGTERM, -signal.SIGTERM), ([], signal.SIGINT, -signal.SIGINT),
    (["--signal-map=USR1=TERM"], signal.SIGUSR1, -signal.SIGTERM),
    (["--signal-map=USR1=TERM,TERM=0"], signal.SIGUSR1, None),
    (["--signal-map=INT=TERM"], signal.SIGINT, -signal.SIGTERM)])
def test_stops(snap, options, number, expected):
    """SIGTERM and its relations do what they do in every pyentry; a status is as without a snapshot."""
    results = []
    for way in (["--restore-or-fail", f"--restore={snap}"], []):
        with subprocess.Popen([PYENTRY, *options, *way, "-c", READY], env=clean_env(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as child:
            assert child.stdout.readline() == b"ready\n"
            child.send_signal(number)
            out, _ = child.communicate(timeout=30)
            results.append((out, child.returncode))
    assert results[0] == results[1]
    assert expected is None or results[0] == (b"bye\n", expected)


def test_stop_report(snap):
    code = ("import signal, time\nsignal.signal(15, lambda *a: None)\nprint('ready')\n"
            "for _ in range(100): time.sleep(.1)")
    with subprocess.Popen([PYENTRY, "--stop-report=100ms", f"--restore={snap}", "-c", code], env=clean_env(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        child.terminate()
        assert b"still running 0.1 s after SIGTERM" in child.stderr.readline()
        child.kill()


@pytest.mark.parametrize("options", [[], ["--faulthandler=off"], ["--log-format=json"]])
def test_crashes_and_tracebacks(snap, options):
    """as without a snapshot: to stderr, as text or as JSON."""
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGABRT)"
    for code in (crash, "1/0"):
        fresh = start(snap, "-c", code, options=options)
        plain = run([PYENTRY, *options, "-c", code])
        assert fresh.returncode == plain.returncode
        lines = [[line for line in done.stderr.splitlines() if line and b"Extension" not in line
                  and b"thread 0x" not in line] for done in (fresh, plain)]
        if "json" in str(options):
            lines = [[json.loads(line)["severity"] for line in side] for side in lines]
        assert lines[0] == lines[1]


def test_cpus(snap):
    assert said(snap, "-c", "import os; print(os.cpu_count())", options=["--cpus=7"]) == "7\n"
    plain = run([PYENTRY, "-c", "import os; print(os.cpu_count())"]).stdout.decode()
    assert said(snap, "-c", "import os; print(os.cpu_count())") == plain


def test_as_pid_1(snap):
    """In a PID namespace the init supervises it."""
    script = f"exec '{PYENTRY}' --restore-or-fail --restore='{snap}' -c 'import os; print(os.getpid(), os.getppid())'"
    done = run(["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", script])
    assert (done.stdout, done.stderr) == (b"2 1\n", b"")


def test_print_is_one_write(snap, tmp_path):
    """pyentry's print, not python's."""
    trace = tmp_path / "trace"
    done = run(["strace", "-e", "trace=write", "-o", trace, PYENTRY, "--restore-or-fail", f"--restore={snap}", "-c",
                "print('a', 'b', 3)"])
    assert done.stdout == b"a b 3\n"
    writes = [line for line in trace.read_text().splitlines() if line.startswith("write(1")]
    assert len(writes) == 1 and writes[0].startswith('write(1, "a b 3\\n", 6)'), writes


PLAIN = """if 1:
    import asyncio, ctypes, gc, json, os, signal, sqlite3, subprocess, sys, threading, time, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and later: a thread that was joined may not be gone at the fork
    seen = []
    threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(20)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert len(seen) == 20 and threading.main_thread().native_id == os.getpid() == threading.get_native_id()
    child = os.fork()
    if child == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert subprocess.run([sys.executable, "-c", "print(5)"], capture_output=True).stdout == b"5\\n"
    assert sqlite3.connect(":memory:").execute("select 1 + 1").fetchone() == (2,)
    import _elementtree, array, lzma, readline, zoneinfo
    big = [bytearray(50_000_000) for _ in range(10)]; small = [bytes(100) for _ in range(300_000)]
    del big, small
    if sys.version_info < (3, 12):  # since then a limit of its own holds in C
        sys.setrecursionlimit(50_000)
        json.loads("[" * 20_000 + "]" * 20_000)
        sys.setrecursionlimit(1000)
    got = []
    signal.signal(signal.SIGALRM, lambda *a: got.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.01)
    deadline = time.monotonic() + 20
    while not got and time.monotonic() < deadline:
        time.sleep(0.01)
    assert got
    assert not threading.Event().wait(0.01) and threading.Lock().acquire(timeout=1)
    async def main():
        assert await asyncio.get_running_loop().run_in_executor(None, lambda: 5) == 5
        process = await asyncio.create_subprocess_exec("echo", "hi", stdout=-1)
        assert (await process.communicate())[0] == b"hi\\n"
    asyncio.run(main())
    assert gc.collect() >= 0
    ctypes.CDLL(None).puts(b"from C")
    print("all well")
"""


def test_everything_as_in_a_plain_process(snap):
    """Threads, forks, children, new extension modules, memory, recursion, signals, timers, asyncio, C's own output."""
    assert sorted(said(snap, "-c", PLAIN, timeout=90).split("\n")) == ["", "all well", "from C"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(snap, tmp_path, method):
    program = tmp_path / "pool.py"
    program.write_text("import multiprocessing as mp, sys\ndef square(x): return x * x\nif __name__ == '__main__':\n"
                       "    with mp.get_context(sys.argv[1]).Pool(2) as pool: print(pool.map(square, range(4)))\n")
    assert said(snap, program, method, timeout=60) == "[0, 1, 4, 9]\n"


def test_clocks_need_no_system_call(snap, tmp_path):
    """The kernel's clocks are found again at their new address."""
    trace = tmp_path / "trace"
    run(["strace", "-e", "trace=clock_gettime", "-o", trace, PYENTRY, "--restore-or-fail", f"--restore={snap}", "-c",
         "import time; [time.monotonic() for _ in range(100)]"])
    assert len(trace.read_text().splitlines()) < 10


def test_time_zone(snap):
    code = "import time; print(time.tzname[0], time.timezone)"
    assert said(snap, "-c", code, env=clean_env(TZ="XYZ-3")) == "XYZ -10800\n"
    assert said(snap, "-c", code, env=clean_env(TZ="UTC0")) == "UTC 0\n"


SECRETS = """if 1:
    import ctypes, json, multiprocessing, os, random, secrets, sqlite3, ssl, tempfile, uuid
    libc = ctypes.CDLL(None)
    print(json.dumps({
        "pid": os.getpid(), "random": random.random(), "ssl": ssl.RAND_bytes(8).hex(),
        "secrets": secrets.token_hex(8), "uuid4": str(uuid.uuid4()), "uuid1": str(uuid.uuid1()),
        "key": multiprocessing.current_process().authkey.hex(), "own": __import__("owned").mine.random(),
        "sqlite": sqlite3.connect(":memory:").execute("select random()").fetchone()[0],
        "name": next(tempfile._get_candidate_names()), "libc": libc.random(), "lrand48": libc.lrand48(),
        "tickets": __import__("owned").tickets(), "ssl's private": __import__("owned").private(), "canary": canary(),
        **__import__("owned").numpys()}))
"""

OWNED = """
import ctypes, multiprocessing, os, random, sqlite3, ssl, tempfile, uuid
pid = os.getpid()
mine = random.Random(1)
random.seed(1)
ssl.RAND_bytes(1)
next(tempfile._get_candidate_names())
ctypes.CDLL(None).srandom(1)
ctypes.CDLL(None).srand48(1)
sqlite3.connect(":memory:").execute("select random()")
uuid.uuid1()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
libssl, libcrypto = ctypes.CDLL("libssl.so.3"), ctypes.CDLL("libcrypto.so.3")
def private():
    out = ctypes.create_string_buffer(8)
    assert libcrypto.RAND_priv_bytes(out, 8) == 1
    return out.raw.hex()
private()
def tickets():  # the keys of session tickets: SSL_CTRL_GET_TLSEXT_TICKET_KEYS
    keys = ctypes.create_string_buffer(80)
    inside = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    assert libssl.SSL_CTX_ctrl(inside, 58, 80, keys) == 1
    return keys.raw.hex()
tickets()
try:
    import numpy
    numpy.random.seed(1)
    numpy.random.standard_normal()  # they come in pairs: the other one is kept
    generators = {"RandomState": numpy.random.RandomState(1), "default_rng": numpy.random.default_rng(1),
                  "Philox": numpy.random.Generator(numpy.random.Philox(1)),
                  "RandomState of PCG64": numpy.random.RandomState(numpy.random.PCG64(1))}
    for one in generators.values():
        one.standard_normal()
    generators["numpy"] = numpy.random
except ImportError:
    generators = {}
def numpys():
    return {**{f"{name}: normal": one.standard_normal() for name, one in generators.items()},
            **{f"{name}: bytes": one.bytes(8).hex() for name, one in generators.items()}}
"""

CANARY = """if 1:
    def canary():
        import ctypes, mmap
        code = mmap.mmap(-1, 4096, prot=7)
        code.write(bytes.fromhex("64488b042528000000c3"))
        return ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"""


def test_randomness_is_new_with_equal_pids(tmp_path):
    """Two starts that have the same process id, and that of the builder, share no random number, whatever was seeded
    before the snapshot. OpenSSL seeds anew by itself where the id is another."""
    (tmp_path / "owned.py").write_text(OWNED)
    path = tmp_path / "a.snap"
    built = run([*ALONE, PYENTRY, "--snapshot", "-o", path, "--preload", "owned"], cwd=tmp_path, env=clean_env())
    assert built.returncode == 0, built.stderr
    assert "numpy generators" in built.stdout.decode() or stock("-c", "import numpy").returncode
    pid = int(said(path, "-c", "import owned; print(owned.pid)", cwd=tmp_path))
    command = [*as_process(pid), PYENTRY, "--init=never", "--restore-or-fail", f"--restore={path}", "-c", CANARY + SECRETS]
    seen = []
    for _ in range(2):
        done = run(command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        seen.append(json.loads(done.stdout))
    assert seen[0].pop("pid") == seen[1].pop("pid") == pid
    assert {name for name in seen[0] if seen[0][name] == seen[1][name]} == set()


def test_numpy_after_a_start(tmp_path):
    if stock("-c", "import numpy").returncode:
        pytest.skip("no numpy")
    take(tmp_path / "a.snap", "--preload", "numpy")
    code = "import numpy; print((numpy.ones((300, 300)) @ numpy.ones((300, 300))).sum())"
    assert said(tmp_path / "a.snap", "-c", code) == "27000000.0\n"


def test_hash_secret_is_of_the_snapshot(tmp_path):
    """Strings hash alike in all starts of one snapshot, and differently in another one."""
    hashes = []
    for name in ("a", "b"):
        take(tmp_path / name, "--preload", "json")
        hashes += [said(tmp_path / name, "-c", "print(hash('abc'))") for _ in range(2)]
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]


def test_unprivileged(open_path):
    """Another user, without capabilities and with no_new_privs, takes one and starts from it."""
    if os.getuid() != 0:
        pytest.skip("needs root to become somebody else")
    path = open_path / "a.snap"
    if not can_be_run_by_nobody():
        pytest.skip("this libpython lies where nobody else can read it")
    done = run([*NOBODY, PYENTRY, "--snapshot", "-o", path, "--preload", "json"])
    assert done.returncode == 0, done.stderr
    done = run([*NOBODY, PYENTRY, "--restore-or-fail", f"--restore={path}", "-c", "print(1)"])
    assert (done.stdout, done.stderr) == (b"1\n", b"")


def test_with_an_unlimited_stack(snap):
    """The kernel then lays memory out the other way round."""
    script = f"ulimit -s unlimited; exec '{PYENTRY}' --restore-or-fail --restore='{snap}' -c 'print(1)'"
    done = run(["sh", "-c", script])
    assert (done.stdout, done.stderr) == (b"1\n", b"")


DEEP = """if 1:
    import ctypes, sys, threading
    class A:
        def __init__(self, n): self.n = n
        def __repr__(self): return repr(A(self.n - 1)) if self.n else "bottom"
    def size():
        room, bytes = ctypes.create_string_buffer(64), ctypes.c_size_t()
        libc = ctypes.CDLL(None)
        libc.pthread_getattr_default_np(room)
        libc.pthread_attr_getstacksize(room, ctypes.byref(bytes))
        return bytes.value
    def deep():
        sys.setrecursionlimit(10**6)
        try:
            print(repr(A(60000)))
        except RecursionError:
            print("refused")  # of newer versions: by another limit
    print(size())
    if sys.argv[1:]:
        deep()
        thread = threading.Thread(target=deep)
        thread.start()
        thread.join()
"""


@pytest.mark.parametrize("limit,words", [(1 << 28, ["deep"]), (1 << 40, []), (1 << 62, []), (1 << 20, []), (100_000, [])])
def test_with_another_limit_on_the_stack(snap, limit, words):
    """The main thread has the room that a larger one allows, and new threads have what they would have anyway."""
    under = ["prlimit", f"--stack={limit}", PYENTRY]
    plain, ours = (run([*under, *options, "-c", DEEP, *words], timeout=60)
                   for options in ([], ["--restore-or-fail", f"--restore={snap}"]))
    assert (ours.returncode, ours.stdout, ours.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert ours.returncode == 0 or limit < 1 << 20


def test_a_longer_stack_lies_alone(snap):
    """However long it is, there is a gap below it."""
    code = ("maps = [[int(n, 16) for n in line.split()[0].split('-')] for line in open('/proc/self/maps')]\nhere = "
            f"{header(snap)['arena_end']:#x}\nat = next(n for n, (start, end) in enumerate(maps) if end == here)\n"
            "while maps[at - 1][1] == maps[at][0]: at -= 1\nprint(here - maps[at][0], maps[at][0] - maps[at - 1][1])")
    for limit in 1 << 23, 1 << 28, 1 << 62:
        done = run(["prlimit", f"--stack={limit}", PYENTRY, "--restore-or-fail", f"--restore={snap}", "-c", code])
        length, gap = map(int, done.stdout.split())
        assert length == limit if limit < 1 << 30 else length > 1 << 35
        assert gap >= 1 << 20


def test_under_a_limit_on_address_space(snap):
    """A start works where there is room; where there is none, it goes on without the snapshot. It never breaks."""
    script = f"ulimit -v $1; exec '{PYENTRY}' --restore='{snap}' -c 'print(1)'"

    def outcome_under(kilobytes):
        done = run(["sh", "-c", script, "sh", str(kilobytes)])
        assert (done.returncode, done.stdout) == (0, b"1\n"), (kilobytes, done)
        return done.stderr

    assert outcome_under(4_000_000) == b""
    said_so = gather(outcome_under, range(20_000, 140_000, 4_000))
    assert said_so[-1] == b"" and b"there is no room for its memory" in said_so[0]
    assert all(line == b"" or b"no room" in line for line in said_so)
