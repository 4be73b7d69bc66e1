"""A snapshot that does not fit costs one line, never the start: each reason is forced here."""

import os
import re
import shutil
import struct
import subprocess
import zlib

import pytest

from harness import PYENTRY, clean_env, gather, run
from snapshots import FIELDS, ORDINARY, areas, either, header, needed, offsets, preloading, said, start, take

pytestmark = needed

LINE = re.compile(rb"pyentry: (\S+) is not used, Python starts without it: (.+)\n")

snap = preloading("json")


def reason(done):
    """Why the start went without the snapshot; it must have gone well, and said one line."""
    found = LINE.fullmatch(done.stderr)
    assert found and (done.returncode, done.stdout) == (0, b"1\n"), (done.returncode, done.stdout, done.stderr)
    return found[2].decode()


def refusal(done):
    """The same where nothing but a start from the snapshot would do."""
    assert done.returncode == 1 and done.stdout == b"" and done.stderr.count(b"\n") == 1, (done.returncode, done.stderr)
    return done.stderr.decode()


def changed(snap, tmp_path, name, change):
    """A copy whose bytes change(bytearray) has had."""
    path = tmp_path / name
    data = bytearray(snap.read_bytes())
    change(data)
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def seal(data):
    """The header's checksum made right again."""
    at = offsets()["header_checksum"]
    data[at:at + 4] = struct.pack("<I", zlib.crc32(bytes(data[:at])))


def flip(at):
    def change(data):
        data[at] ^= 0x40
    return change


def test_every_field_of_the_header(snap, tmp_path):
    """One flipped byte anywhere in the header is noticed."""
    def one(field):
        path = changed(snap, tmp_path, field, flip(offsets()[field]))
        told = refusal(start(path, "-c", "print(1)"))
        path.unlink()
        return field, told

    for field, told in gather(one, [name for name, _ in FIELDS]):
        assert "it is damaged" in told or "no snapshot" in told or "another version" in told, (field, told)
    path = changed(snap, tmp_path, "cold", flip(offsets()["runs"]))
    assert "checksum of its header" in reason(either(path, "-c", "print(1)"))


def test_every_byte_of_the_tables(snap, tmp_path):
    """Likewise in the tables behind it: some places in each."""
    fields = header(snap)
    size = fields["header_bytes"]
    end = size + fields["areas"] * 32 + fields["runs"] * 24 + fields["touched"] * 16 + fields["words_bytes"]
    for at in range(size, end, (end - size) // 20):
        path = changed(snap, tmp_path, "tables", flip(at))
        assert "checksum of its tables" in refusal(start(path, "-c", "print(1)"))


def test_truncated_anywhere(snap, tmp_path):
    """A file that is too short is not mapped, wherever it ends."""
    size = snap.stat().st_size
    paths = [changed(snap, tmp_path, str(n), lambda data: None) for n in range(4)]

    def shorten(path, lengths):
        for length in lengths:
            os.truncate(path, length)
            assert "it is" in refusal(start(path, "-c", "print(1)")), length

    every_page = [size - 1, *range(size - 4096, 0, -4096), 1000, 100, 8, 1, 0]
    gather(lambda n: shorten(paths[n], every_page[n::4]), range(4))
    path = paths[0]
    path.write_bytes(snap.read_bytes() + b"x")
    assert "its length is wrong" in reason(either(path, "-c", "print(1)"))


@pytest.mark.parametrize("field,words", [
    ("build_id_pyentry", "another build of pyentry"), ("build_id_loader", "another dynamic loader"),
    ("build_id_libc", "another C library"), ("page_bytes", "pages of another size")])
def test_another_machine(snap, tmp_path, field, words):
    """What upgrades change: pyentry itself, the loader, the C library."""
    def change(data):
        data[offsets()[field]] ^= 1
        seal(data)
    assert words in reason(either(changed(snap, tmp_path, "other", change), "-c", "print(1)"))


@pytest.mark.parametrize("word", range(12))
def test_another_processor(snap, tmp_path, word):
    """A feature that the snapshot was taken with, and this processor lacks: one bit of each word."""
    def change(data):
        at = offsets()["cpu"] + 4 * word
        bits, = struct.unpack_from("<I", data, at)
        struct.pack_into("<I", data, at, bits | ~bits & (bits + 1))  # the lowest that is not set
        seal(data)
    assert "features that this one lacks" in reason(either(changed(snap, tmp_path, "cpu", change), "-c", "print(1)"))


def calls(snap, tmp_path, name):
    """The system calls of that name in a start of the ordinary way."""
    trace = tmp_path / f"trace-{name}"
    run(["strace", "-e", f"trace={name}", "-o", trace, PYENTRY, "--restore-or-fail", f"--restore={snap}", "-c", "print(1)"],
        env=clean_env(**ORDINARY))
    return [line for line in trace.read_text().splitlines() if line.startswith(name)]


def with_fault(snap, tmp_path, fault, **variables):
    """A start where the kernel does not do something."""
    return run(["strace", "-e", f"inject={fault}", "-o", tmp_path / "fault", PYENTRY, f"--restore={snap}", "-c", "print(1)"],
               env=clean_env(**variables))


@pytest.mark.parametrize("kernel,fault,words", [
    ("that takes MAP_FIXED_NOREPLACE for a hint", "retval=0x70000000", "its addresses are taken"),
    ("without memory", "error=ENOMEM", "there is no room"), ("that refuses", "error=EPERM", "Operation not permitted")])
def test_a_kernel(snap, tmp_path, kernel, fault, words):
    """Where the first area of the arena does not come to lie where it should, or not at all, nothing has happened yet."""
    fields = header(snap)
    addresses = [int(line[5:].split(",")[0].replace("NULL", "0"), 16) for line in calls(snap, tmp_path, "mmap")]
    before = next(n for n, address in enumerate(addresses, 1)
                  if fields["arena_start"] <= address < fields["arena_end"])
    assert words in reason(with_fault(snap, tmp_path, f"mmap:{fault}:when={before}", **ORDINARY))


@pytest.mark.parametrize("fault", ["rseq:error=ENOSYS", "set_robust_list:error=ENOSYS", "madvise:error=EINVAL",
                                   "prctl:error=EINVAL", "sigaltstack:error=EPERM"])
def test_a_kernel_that_can_less(snap, tmp_path, fault):
    """What a start can do without."""
    done = with_fault(snap, tmp_path, fault)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1\n", b"")


def test_without_proc(snap):
    """Nobody knows then what is in the way."""
    done = run(["unshare", "--mount", "sh", "-c", f"umount -l /proc; exec '{PYENTRY}' --restore='{snap}' -c 'print(1)'"])
    assert "/proc/self/maps cannot be read" in reason(done)


def test_an_update_of_a_library(tmp_path):
    """Python's modules are in the snapshot: a start does not see the new one, and needs none."""
    (tmp_path / "app.py").write_text("version = 1\n")
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    for change in (lambda: (tmp_path / "app.py").write_text("version = 2\n"), (tmp_path / "app.py").unlink):
        change()
        assert said(tmp_path / "a.snap", "-c", "import app; print(app.version)", cwd=tmp_path) == "1\n"


def test_files_that_are_not_trusted(snap, tmp_path):
    """Somebody else's file, one that others may write to, a link, a directory, nothing."""
    path = changed(snap, tmp_path, "a", lambda data: None)
    path.chmod(0o620)
    assert "others than its owner" in reason(either(path, "-c", "print(1)"))
    path.chmod(0o644)
    assert said(path, "-c", "print(1)") == "1\n"
    (tmp_path / "link").symlink_to(path)
    assert "symbolic link" in reason(either(tmp_path / "link", "-c", "print(1)"))
    assert "no regular file" in reason(either(tmp_path, "-c", "print(1)"))
    assert "No such file" in reason(either(tmp_path / "none", "-c", "print(1)"))
    if os.getuid() == 0:
        os.chown(path, 65534, 65534)
        assert "another user" in reason(either(path, "-c", "print(1)"))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in reason(either(tmp_path / "pipe", "-c", "print(1)", timeout=20))


@pytest.mark.parametrize("words", [["-O"], ["-X", "dev"], ["-I"], ["-W", "error"], ["-Es"]])
def test_options_of_python(snap, words):
    assert "python's options" in reason(either(snap, *words, "-c", "print(1)"))


def test_program_s_path(snap, tmp_path):
    """sys.executable is the snapshot's, so pyentry must be called by the same name."""
    (tmp_path / "python").symlink_to(PYENTRY)
    done = run([tmp_path / "python", f"--restore={snap}", "-c", "print(1)"])
    assert f"it was taken by {PYENTRY}" in reason(done)


@pytest.mark.parametrize("changes,words", [
    ({"PYTHONHASHSEED": "1"}, "PYTHONHASHSEED is set"), ({"LANG": "C"}, "LANG differs"),
    ({"LANG": None}, "LANG is not set"), ({"LC_ALL": "C.UTF-8"}, "LC_ALL is set"), ({"LD_LIBRARY_PATH": "/x"}, "LD_LIBRARY_PATH is set"),
    ({"OMP_NUM_THREADS": "2"}, "OMP_NUM_THREADS is set"), ({"GLIBC_TUNABLES": ""}, "GLIBC_TUNABLES is set")])
def test_variables_that_are_read_unseen(snap, changes, words):
    """What Python itself and C libraries read."""
    assert words in reason(either(snap, "-c", "print(1)", env=clean_env(**changes)))


def test_variables_that_modules_read(tmp_path):
    """Each variable that was read is compared, and told with its reader; others may change."""
    (tmp_path / "app.py").write_text("import os\nA = os.environ.get('APP_A')\nB = os.getenv('APP_B', 'x')\n"
                                     "C = 'APP_C' in os.environ\nos.environ['APP_D'] = '1'\nD = os.environ['APP_D']\n"
                                     "E = dict(os.environ)\n")
    env = clean_env(APP_A="1")
    report = take(tmp_path / "a.snap", "--preload", "app", env=env, cwd=tmp_path)
    assert re.findall(r"^    (APP_\w): (.*)$", report, re.MULTILINE) == [
        ("APP_A", "set, by app"), ("APP_B", "not set, by app"), ("APP_C", "not set, by app")]
    assert "all of it, by app" in report
    assert said(tmp_path / "a.snap", "-c", "print(1)", env={**env, "OTHER": "1", "APP_D": "2"}) == "1\n"
    for changes, words in (({"APP_A": "2"}, "APP_A differs from what app read"), ({"APP_C": ""}, "APP_C is set"),
                           ({"APP_A": None}, "APP_A is not set, and was when app read it")):
        done = either(tmp_path / "a.snap", "-c", "print(1)", env=clean_env(**{"APP_A": "1", **changes}), cwd=tmp_path)
        assert words in reason(done)


OCCUPY = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
__attribute__((constructor)) static void occupy(void)
{
    unsigned long address; int left; char name[] = "OCCUPY";
    FILE *file = fopen(getenv(name), "r+");
    if (!file || fscanf(file, "%lx %d", &address, &left) != 2) return;
    if (left > 0) {
        mmap((void *)address, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        rewind(file); fprintf(file, "%lx %d\n", address, left - 1);
    }
    fclose(file);
}
"""


def test_addresses_that_are_taken(tmp_path):
    """pyentry begins anew up to three times, for other addresses; then it starts without the snapshot."""
    (tmp_path / "occupy.c").write_text(OCCUPY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "occupy.so", tmp_path / "occupy.c"], check=True)
    env = clean_env(LD_PRELOAD=str(tmp_path / "occupy.so"), OCCUPY=str(tmp_path / "place"))
    take(tmp_path / "a.snap", "--preload", "json", env=env)
    code = "import os; print(1, *[n for n in os.environ if 'RESTORE' in n])"
    arena = header(tmp_path / "a.snap")["arena_start"]
    place = next(start for start, _ in areas(tmp_path / "a.snap") if start >= arena)
    for times in range(7):
        (tmp_path / "place").write_text(f"{place:x} {times}\n")
        done = either(tmp_path / "a.snap", "-c", code, env={**env, **ORDINARY})
        if times <= 3:
            assert (done.stdout, done.stderr) == (b"1\n", b""), times
        else:
            assert "its addresses are taken" in reason(done)
        assert (tmp_path / "place").read_text().split()[1] == str(max(0, times - 4))


def test_pages_that_every_start_writes_to(snap, tmp_path):
    """A system call for each range of them, instead of a fault for each page. Where the kernel is older than the call,
    the start is the same."""
    words = [PYENTRY, "--restore-or-fail", f"--restore={snap}", "-c", "print(1)"]
    assert header(snap)["touched"] > 50
    for fault, result in ((), " = 0"), (["-e", "inject=madvise:error=EINVAL"], "EINVAL"):
        done = run(["strace", "-qq", "-o", tmp_path / "calls", "-e", "trace=madvise", *fault, *words])
        calls = (tmp_path / "calls").read_text().splitlines()
        assert (done.stdout, done.stderr) == (b"1\n", b"")
        assert len([c for c in calls if "POPULATE_WRITE" in c and result in c]) == header(snap)["touched"]


@pytest.mark.parametrize("options, variables", [
    (["--restore-or-fail"], {}),
    (["--restore-or-fail", "--restore=none"], {}),
    ([], {"PYENTRY_RESTORE_OR_FAIL": "on"}),
    (["--init=always"], {"PYENTRY_RESTORE_OR_FAIL": "on", "PYENTRY_RESTORE": ""}),
])
def test_nothing_to_start_from(options, variables):
    """Without a snapshot there is no start that would do, either."""
    done = run([PYENTRY, *options, "-c", "print('ran')"], env=clean_env(**variables))
    assert refusal(done) == ("pyentry: --restore-or-fail: there is no snapshot to start from; "
                             "--restore=FILE or PYENTRY_RESTORE names one\n")


def test_a_python_that_is_started_needs_no_snapshot(snap):
    """Neither option is handed on, so what the program starts is not refused."""
    code = "import subprocess, sys; print(subprocess.call([sys.executable, '-c', 'pass']))"
    assert said(snap, "-c", code, env=clean_env(PYENTRY_RESTORE=str(snap), PYENTRY_RESTORE_OR_FAIL="on")) == "0\n"


def test_several_in_a_row(snap):
    """A start is not a matter of luck."""
    done = gather(lambda _: start(snap, "-c", "print(1)"), range(200))
    assert {(one.returncode, one.stdout, one.stderr) for one in done} == {(0, b"1\n", b"")}


def test_descriptor_in_use(tmp_path):
    """A number that the snapshot needs, and the new process has open."""
    (tmp_path / "app.py").write_text("log = open('/dev/null')\nnumber = log.fileno()\n")
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    code = "import app, os; print(os.readlink(f'/proc/self/fd/{app.number}'))"
    assert said(tmp_path / "a.snap", "-c", code) == "/dev/null\n"
    number = int(said(tmp_path / "a.snap", "-c", "import app; print(app.number)"))
    with open(os.devnull) as file:
        os.dup2(file.fileno(), number)
        try:
            done = either(tmp_path / "a.snap", "-c", "print(1)", pass_fds=[number], cwd=tmp_path)
        finally:
            os.close(number)
    assert f"descriptor {number}" in reason(done)


def test_limit_on_open_files(tmp_path):
    """The numbers that the snapshot uses must be below it, with room to put them there."""
    (tmp_path / "app.py").write_text("import asyncio, os\nloop = asyncio.new_event_loop()\npipe = os.pipe()\n")
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    highest = int(said(tmp_path / "a.snap", "-c", "import app; print(max(app.pipe))"))
    code = "import app; app.loop.run_until_complete(app.asyncio.sleep(0)); print(1)"
    for limit in range(highest - 10, highest + 10):
        done = run(["sh", "-c", f"ulimit -n {limit}; exec '{PYENTRY}' --restore='{tmp_path}/a.snap' -c '{code}'"],
                   cwd=tmp_path)
        if limit > highest + 3:
            assert (done.returncode, done.stdout, done.stderr) == (0, b"1\n", b""), limit
        else:
            assert f"has no room below the limit on open files (ulimit -n {limit})" in reason(done)


def test_file_that_is_gone(tmp_path):
    """A file that was open is opened again; where it cannot be, the start goes without the snapshot."""
    (tmp_path / "app.py").write_text("log = open('app.log', 'a', buffering=1)\nprint('early', file=log)\n")
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    for number in range(2):
        assert said(tmp_path / "a.snap", "-c", f"import app; print({number}, file=app.log)") == ""
    assert (tmp_path / "app.log").read_text() == "early\n0\n1\n"
    (tmp_path / "app.log").unlink()
    assert "app.log, which it needs" in reason(either(tmp_path / "a.snap", "-c", "print(1)", cwd=tmp_path))
