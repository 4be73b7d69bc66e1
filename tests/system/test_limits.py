"""The container's limits: what os.cpu_count() says in real control groups, who wins, what libraries are told, what
pyentry.limits holds.
"""

import json
import os

import pytest

from groups import MIB, groups, inside, memory, quota
from harness import PYENTRY, PYTHON, VERSION, clean_env, gather, outcome, pyentry, run, stock, traced_calls

CPUS = len(os.sched_getaffinity(0))
VARIABLES = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS"]
COUNT = "import os; print(os.cpu_count())"
UNSET = dict.fromkeys([*VARIABLES, "NUMEXPR_NUM_THREADS", "GOTO_NUM_THREADS", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])

# Everything that counts CPUs, each as the standard library has it.
EVERYWHERE = """
import asyncio, concurrent.futures, json, multiprocessing, os, sys
counts = {"os": os.cpu_count(), "multiprocessing": multiprocessing.cpu_count(),
          "executor": concurrent.futures.ThreadPoolExecutor()._max_workers - 4}
if sys.version_info >= (3, 13):
    counts["process"] = os.process_cpu_count()
async def main():
    await asyncio.get_running_loop().run_in_executor(None, int)
    counts["asyncio"] = asyncio.get_running_loop()._default_executor._max_workers - 4
asyncio.run(main())
if __name__ == "__main__":
    with multiprocessing.Pool() as pool:
        counts["pool"] = len(pool._pool)
    print(json.dumps(counts))
"""


@pytest.fixture(autouse=True)
def no_limits_from_the_shell(monkeypatch):
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)


def needs(cpus):
    if CPUS < cpus:
        pytest.skip(f"less than {cpus} CPUs")


def on_one_cpu():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def value_of(done):
    assert (done.returncode, done.stderr) == (0, b""), outcome(done)
    return json.loads(done.stdout)


# --- the count

@pytest.mark.parametrize("cpus, count", [(0.5, 1), (1, 1), (1.5, 2), (2, 2), (None, CPUS)])
def test_a_quota(cpus, count):
    """A quota, rounded up, is the count everywhere; without one it is python's."""
    needs(2)
    with groups("cpu", quota(cpus)) as group:
        counts = value_of(pyentry("-c", EVERYWHERE, preexec_fn=inside(group)))
    assert set(counts.values()) == {count}, counts


def test_a_quota_above():
    """The group's own quota is wide, the one above it is tight, and the one above that has none."""
    needs(2)
    with groups("cpu", quota(None), quota(0.9), quota(None), quota(0.9)) as group:
        (group / "cpu.cfs_quota_us").write_text("-1")
        assert value_of(pyentry("-c", COUNT, preexec_fn=inside(group))) == 1


def test_more_than_there_are():
    """A quota of more CPUs than the machine has changes nothing."""
    with groups("cpu", quota(CPUS + 7)) as group:
        assert value_of(pyentry("-c", COUNT, preexec_fn=inside(group))) == CPUS


def test_affinity():
    """An affinity of one CPU is a count of one, wherever Python counts, and follows what the program sets."""
    needs(2)
    assert set(value_of(pyentry("-c", EVERYWHERE, preexec_fn=on_one_cpu)).values()) == {1}
    code = ("import os; cpus = os.sched_getaffinity(0); os.sched_setaffinity(0, {min(cpus)}); few = os.cpu_count();"
            "os.sched_setaffinity(0, cpus); print([few, os.cpu_count()])")
    assert value_of(pyentry("-c", code)) == [1, CPUS]


def test_a_quota_that_changes():
    """Each call looks anew: a quota that was set or lifted in place is seen."""
    needs(2)
    code = ("import os, sys\nquota = sys.argv[1]; counts = [os.cpu_count()]\n"
            "for value in 50000, 2 * 100000, -1:\n"
            "    open(quota, 'w').write(str(value)); counts.append(os.cpu_count())\nprint(counts)")
    with groups("cpu", quota(1)) as group:
        done = pyentry("-c", code, str(group / "cpu.cfs_quota_us"), preexec_fn=inside(group))
    assert value_of(done) == [1, 1, 2, CPUS]


@pytest.mark.parametrize("mode", ["--init=always", "pid 1"])
def test_below_an_init(mode, pid_one):
    """Python below an init sees the same."""
    command = [*pid_one, PYENTRY] if mode == "pid 1" else [PYENTRY, mode]
    with groups("cpu", quota(1)) as group:
        assert value_of(run([*command, "-c", COUNT], preexec_fn=inside(group))) == 1


@pytest.mark.parametrize("path", ["/sys/fs/cgroup", "/proc"])
def test_nothing_to_read(path):
    """Without control groups, as on Cloud Run's first generation, or without /proc: python's count, and no word."""
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', path]
    with groups("cpu", quota(1)) as group:
        mine = run([*hidden, PYENTRY, "-c", COUNT], preexec_fn=inside(group))
        theirs = run([*hidden, PYTHON, "-c", COUNT], preexec_fn=inside(group))
    assert outcome(mine) == outcome(theirs)


def test_out_of_sight():
    """After a chroot the count stays what it was."""
    with groups("cpu", quota(1)) as group:
        code = "import os, tempfile; os.chroot(tempfile.mkdtemp(dir='.')); print(os.cpu_count())"
        assert value_of(pyentry("-c", code, preexec_fn=inside(group))) == 1


def test_a_small_stack():
    """A thread with the smallest stack that Python allows can ask as well."""
    code = ("import os, pyentry, threading\nthreading.stack_size(32768)\n"
            "def ask(): print([os.cpu_count(), pyentry.limits.cpus])\nthreading.Thread(target=ask).start()")
    with groups("cpu", quota(None), quota(1), quota(None)) as group:
        assert value_of(pyentry("-c", code, preexec_fn=inside(group))) == [1, 1]


def test_as_python_without_limits():
    """Where nothing limits the process, every count is python's, and so is what help() and pydoc show of it."""
    code = ("import os, inspect; print(os.cpu_count(), getattr(os, 'process_cpu_count', int)(), "
            "inspect.signature(os.cpu_count), os.cpu_count.__doc__, os.cpu_count.__module__, os.cpu_count.__name__)")
    assert pyentry("-c", code).stdout == stock("-c", code).stdout


# --- a count that was asked for

ASKED = [
    # options, variables, count
    (["--cpus=3"], {}, 3),
    ([], {"PYENTRY_CPUS": "3"}, 3),
    (["--cpus=4"], {"PYENTRY_CPUS": "3"}, 4),
    ([], {"PYTHON_CPU_COUNT": "5"}, 5),
    (["-X", "cpu_count=6"], {}, 6),
    (["-Xcpu_count=6"], {"PYTHON_CPU_COUNT": "5"}, 6),
    (["--cpus=4", "-X", "cpu_count=6"], {"PYTHON_CPU_COUNT": "5"}, 6),
    (["--cpus=4"], {"PYTHON_CPU_COUNT": "5"}, 4),
    (["--cpus=auto"], {"PYTHON_CPU_COUNT": "5"}, 5),
    (["--cpus=auto"], {"PYENTRY_CPUS": "4"}, 1),
    (["--cpus=4"], {"PYTHON_CPU_COUNT": "default"}, 4),
    (["-X", "cpu_count=default"], {"PYTHON_CPU_COUNT": "5", "PYENTRY_CPUS": "3"}, 1),
    (["-E"], {"PYTHON_CPU_COUNT": "5"}, 1),
    (["-I"], {"PYTHON_CPU_COUNT": "x", "PYENTRY_CPUS": "3"}, 3),
    ([], {"PYTHON_CPU_COUNT": ""}, 1),
    ([], {"PYTHON_CPU_COUNT": "default"}, 1),
]


def test_who_wins():
    """-X cpu_count before --cpus before PYTHON_CPU_COUNT before the container, below a quota of one."""
    def count(case):
        options, variables, _ = case
        code = "import os; print([os.cpu_count(), getattr(os, 'process_cpu_count', os.cpu_count)()])"
        done = pyentry(*options, "-c", code, env=clean_env(**variables), preexec_fn=inside(group))
        return value_of(done)

    with groups("cpu", quota(1)) as group:
        assert gather(count, ASKED) == [[expected] * 2 for _, _, expected in ASKED]


def test_bad_counts():
    """What python 3.13 refuses is refused on every version, with status 1; python's own word where it has one."""
    bad = ["0", "-1", "1.5", "x", "2147483648", "99999999999999999999", "1 "]
    cases = [(["-X", f"cpu_count={text}"], {}) for text in [*bad, ""]] + [(["-X", "cpu_count"], {})]
    cases += [([], {"PYTHON_CPU_COUNT": text}) for text in bad]
    cases += [(["-X", "cpu_count=3"], {"PYTHON_CPU_COUNT": "x"}), (["--cpus=3"], {"PYTHON_CPU_COUNT": "x"})]

    def refused(case):
        done = pyentry(*case[0], "-c", "print('run')", env=clean_env(**case[1]))
        named = b"PYTHON_CPU_COUNT" if case[1] else b"-X cpu_count"
        told = done.stderr.startswith(b"pyentry: " + named) and done.stderr.count(b"\n") == 1
        if VERSION >= (3, 13):
            told |= b"-X cpu_count=n" in done.stderr
        return None if (done.returncode, done.stdout, told) == (1, b"", True) else (case, outcome(done))

    assert [case for case in gather(refused, cases) if case] == []


@pytest.mark.parametrize("options, variables", [
    (["--cpus=1"], []), ([], ["PYENTRY_CPUS=1"]), (["-X", "cpu_count=1"], []), ([], ["PYTHON_CPU_COUNT=1"])])
def test_no_file_is_opened(options, variables):
    """A count that was asked for is not looked up; one that was not is."""
    needs(2)

    def opened(*command):
        calls = traced_calls([*command, "-c", COUNT], "open,openat,openat2")
        assert len(calls) > 5, calls
        return [call for call in calls if "cgroup" in call or "mountinfo" in call]

    assert opened("env", *variables, PYENTRY, *options) == []
    assert any("/proc/self/mountinfo" in call for call in opened(PYENTRY))


if VERSION >= (3, 13):
    def test_subinterpreters():
        """They have none of our functions, but know of --cpus."""
        code = ("import _interpreters as every; one = every.create()\n"
                "every.exec(one, 'import os; print(os.cpu_count(), os.process_cpu_count())')")
        assert pyentry("--cpus=3", "-c", code).stdout == b"3 3\n"


# --- what libraries are told

SEEN = f"import json, os; print(json.dumps([os.environ.get(name) for name in {VARIABLES}]))"


def seen(*options, group=None, code=SEEN, **variables):
    enter = group and inside(group)
    return value_of(pyentry(*options, "-c", code, env=clean_env(**variables), preexec_fn=enter))


def test_variables():
    """Below a quota the libraries' variables are set, also for children; without one, or with a wide one, they are not.
    """
    needs(2)
    child = f"import os, subprocess, sys; sys.exit(subprocess.call([{PYTHON!r}, '-c', {SEEN!r}]))"
    with groups("cpu", quota(0.5)) as group:
        assert seen(group=group) == ["1"] * 4
        assert seen(group=group, code=child) == ["1"] * 4
        assert seen("-I", "-S", group=group) == ["1"] * 4
        assert seen(f"--cpus={CPUS}", group=group) == [None] * 4
    with groups("cpu", quota(CPUS)) as group:
        assert seen(group=group) == [None] * 4
    assert seen() == [None] * 4
    assert seen("--cpus=1") == seen("-X", "cpu_count=1") == seen(PYTHON_CPU_COUNT="1") == ["1"] * 4


def test_the_users_variables():
    """What the user set is untouched, and so is what a library takes in its place."""
    needs(2)
    with groups("cpu", quota(1)) as group:
        for number, name in enumerate(VARIABLES[1:], 1):
            expected = ["1"] * 4
            expected[number] = "7"
            assert seen(group=group, **{name: "7"}) == expected
        assert seen(group=group, OMP_NUM_THREADS="7") == ["7", None, None, None]
        assert seen(group=group, OMP_NUM_THREADS="") == ["", None, None, None]
        assert seen(group=group, NUMEXPR_NUM_THREADS="7") == ["1", "1", "1", None]
        assert seen(group=group, GOTO_NUM_THREADS="7") == ["1", None, "1", "1"]


THREADS = "import numpy, os; print(len(os.listdir('/proc/self/task')))"


def test_numpy():
    """numpy's library starts one thread below a quota of one, as many as python without, and what the user says."""
    needs(2)
    plain = stock("-c", THREADS)
    if plain.returncode != 0:
        pytest.skip("no numpy for this Python")
    if int(plain.stdout) < 2:
        pytest.skip("numpy's BLAS starts no threads: libopenblas0-pthread is missing")
    assert seen(code=THREADS) == int(plain.stdout)
    with groups("cpu", quota(1)) as group:
        assert seen(code=THREADS, group=group) == 1
        assert seen(code=THREADS, group=group, OPENBLAS_NUM_THREADS="2") == 2
        assert seen(code=THREADS, group=group, OMP_NUM_THREADS="2") == 2


# Threads that have all taken memory at the same time, then the number of arenas that they have it from.
ARENAS = """
import ctypes, os, re, tempfile, threading
libc = ctypes.CDLL(None)
ready = threading.Barrier(31)
def work():
    libc.malloc(5000)
    ready.wait()
    ready.wait()
for _ in range(30):
    threading.Thread(target=work, daemon=True).start()
ready.wait()
libc.fdopen.restype = ctypes.c_void_p
with tempfile.TemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fdopen(os.dup(file.fileno()), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    file.seek(0)
    print(len(re.findall(b"<heap nr", file.read())))
ready.wait()
"""


def test_arenas():
    """malloc has the arenas of a machine with that many CPUs, unless the user said how many."""
    needs(2)
    if stock("-c", "import ctypes; ctypes.CDLL(None).malloc_info").returncode != 0:
        pytest.skip("this C library has no malloc_info")
    assert seen(code=ARENAS) == value_of(stock("-c", ARENAS)) > 8
    with groups("cpu", quota(1)) as group:
        assert seen(code=ARENAS, group=group) == 8
        assert seen(code=ARENAS, group=group, MALLOC_ARENA_MAX="3") == 3
        assert seen(code=ARENAS, group=group, GLIBC_TUNABLES="glibc.malloc.arena_max=11") == 11


# --- pyentry.limits

LIMITS = "import json, pyentry; print(json.dumps(pyentry.limits))"


def test_limits():
    """The values with the files that they stand in; the memory limit is the least of all above."""
    needs(2)
    with groups("cpu", quota(1)) as cpu, groups("memory", memory(256), memory(300)) as limited:
        found = value_of(pyentry("-c", LIMITS, preexec_fn=inside(cpu, limited)))
    assert found == [1, str(cpu / "cpu.cfs_quota_us"), 256 * MIB, str(limited.parent / "memory.limit_in_bytes")]


def test_limits_without_limits():
    """None where there is none; the words for what is no file; by name and by place."""
    source = "affinity" if CPUS < os.cpu_count() else "host"
    code = ("import json, pyentry; limits = pyentry.limits; print(json.dumps([limits.cpus, limits.cpus_source,"
            "limits.memory, limits.memory_source, list(limits), 'limits' in dir(pyentry)]))")
    with groups("memory", memory(None)) as group:
        found = value_of(pyentry("-c", code, preexec_fn=inside(group)))
    assert found[:2] == [CPUS, source] and found[4] == found[:4] and found[5]
    assert found[2:4] == [None, None]
    for options, variables, word in ((["--cpus=3"], {}, "--cpus"), (["-X", "cpu_count=3"], {}, "-X cpu_count"),
                                     ([], {"PYTHON_CPU_COUNT": "3"}, "PYTHON_CPU_COUNT")):
        assert seen(*options, code=LIMITS, **variables)[:2] == [3, word]
    few = value_of(pyentry("-c", LIMITS, preexec_fn=on_one_cpu))[:2]
    assert few == [1, "affinity" if os.cpu_count() > 1 else "host"]


def test_limits_are_lazy():
    """Nothing is looked up by the import; a wrong name is an AttributeError."""
    code = ("import pyentry; assert 'limits' not in vars(pyentry)\n"
            "try: pyentry.nothing\nexcept AttributeError as error: print(error)")
    assert pyentry("-c", code).stdout == b"module 'pyentry' has no attribute 'nothing'\n"
