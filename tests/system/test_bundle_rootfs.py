"""`--bundle --rootfs`: a root that holds the bundle and what it needs, and nothing else. It runs there by chroot."""

import os
import re
import shutil
import signal
import stat
import subprocess
import urllib.request
from pathlib import Path

import pytest

from bundling import PYENTRY, STDLIB, build
from harness import ROOT, VERSION, Child, clean_env, pyentry, run, write_tree
from test_frameworks import IS_DEBIAN

HELLO = ROOT / "docker" / "examples" / "hello"
MOST_BYTES = 35e6  # of the root of the standard library's example
CC = os.environ.get("CC", "cc").split()
OPENED = {"libgcc_s.so.1", "libm.so.6"}
if os.confstr("CS_GNU_LIBC_VERSION") < "glibc 2.34":
    OPENED |= {"libnss_files.so.2", "libnss_dns.so.2"}

STDLIB_NAME = f".python/lib/python{VERSION[0]}.{VERSION[1]}"
# What small apps can do without: it would be compiled for each of them.
MOST = [f"--exclude={name}" for name in (
    "asyncio", "concurrent", "curses", "dbm", "distutils", "email", "html", "http", "json", "logging", "multiprocessing",
    "tkinter", "unittest", "urllib", "venv", "wsgiref", "xml", "xmlrpc", "zoneinfo", "turtle.py", "_py*.py", "pydoc.py",
    "doctest.py", "tarfile.py", "zipfile.py", "pickletools.py", "difflib.py", "mailbox.py", "ipaddress.py", "pdb.py",
    "optparse.py", "imaplib.py", "smtplib.py", "nntplib.py", "statistics.py", "_sysconfigdata*",
    f"{STDLIB_NAME}/encodings/[b-km-tv-z]*")]


def lay_out(root, *arguments, **options):
    return build("app", "--rootfs", root, *arguments, **options)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    top = tmp_path_factory.mktemp("rootfs") / "root"
    lay_out(top, "--with", "ca-certificates", "--with", "tzdata", "-m", "hello", HELLO)
    return top


@pytest.fixture
def app(tmp_path):
    """A small app's sources."""
    return write_tree(tmp_path / "in", {"app.py": "print('app runs')\n"})


def inside(root, *command, unprivileged=False):
    return ["chroot", *(["--userspec=65532:65532"] if unprivileged else []), str(root), *command]


def say(root, code, **options):
    """What code prints in there, as the user that images have."""
    done = run(inside(root, "/app", "-c", code, unprivileged=True), **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def contents(top):
    """{path: all that can be seen of it} of a directory."""
    found = {}
    for path in [top, *sorted(top.rglob("*"))]:
        status = path.lstat()
        body = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(top))] = (status.st_mode, status.st_mtime, body)
    return found


def libraries(root):
    """The shared libraries in a root, by name."""
    return {path.name: path for path in root.rglob("lib*.so*") if "ld-" not in path.name}


### It runs

def test_it_serves_and_stops_with_nothing_else_present(root):
    assert {path.name for path in root.iterdir()} == {"app", "pyentry", "etc", "tmp", "usr"} | {Path(loader()).parts[1]}
    with Child(*inside(root, "/app", unprivileged=True), env=clean_env(PORT="0"), merge=True) as child:
        child.out.wait("(stop with Ctrl-C or SIGTERM)")
        url = re.search(rb"http://\S+", bytes(child.out.data))[0].decode()
        with urllib.request.urlopen(url) as answer:
            assert (answer.status, answer.read()) == (200, b"Hello from Python, by way of pyentry.\n")
        assert run(inside(root, "/pyentry", "--healthcheck", url)).returncode == 0
        child.send(signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM
        assert child.out.all().splitlines()[-1] == b"hello: worker stopped after round 0"
    unhealthy = run(inside(root, "/pyentry", "--healthcheck", url))
    assert unhealthy.returncode == 1 and unhealthy.stderr.startswith(b"pyentry: ")


def loader():
    """As any program asks for it: pyentry may call it itself."""
    return re.search(r"interpreter: ([^\]]+)", run(["readelf", "-l", os.path.realpath("/bin/sh")]).stdout.decode())[1]


def test_every_extension_module_of_the_standard_library_loads(root):
    code = ("import importlib, os, sys\n"
            "place = next(path for path in sys.path if path.endswith('/lib-dynload'))\n"
            "for name in sorted(os.listdir(place)): importlib.import_module(name.split('.')[0]); print(name)")
    assert len(say(root, code).splitlines()) > 20


def test_certificates_time_zones_users_and_names_are_there(root):
    code = ("import ssl, zoneinfo, pwd, grp, socket, time, os, datetime\n"
            "print(len(ssl.create_default_context().get_ca_certs()) > 100, ssl.get_default_verify_paths().cafile)\n"
            "zone = zoneinfo.ZoneInfo('Pacific/Auckland'); print(datetime.datetime(2024, 1, 1, tzinfo=zone).utcoffset())\n"
            "os.environ['TZ'] = 'Asia/Tokyo'; time.tzset(); print(time.tzname[0])\n"
            "print(pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name, pwd.getpwnam('root').pw_uid)\n"
            "print('127.0.0.1' in {a[4][0] for a in socket.getaddrinfo('localhost', 80)})")
    assert say(root, code, env=clean_env(SSL_CERT_FILE=None)).splitlines() == [
        "True /usr/lib/ssl/cert.pem" if os.path.isdir("/usr/lib/ssl") else "True /etc/ssl/certs/ca-certificates.crt",
        "13:00:00", "JST", "nonroot nonroot 0", "True"]


def test_all_time_zones_of_this_machine_are_there(root):
    code = "import zoneinfo; print(*sorted(zoneinfo.available_timezones() - {'localtime'}))"
    assert say(root, code) == pyentry("-c", code).stdout.decode()


def test_a_daemon_thread_does_not_hinder_the_end(root):
    """glibc opens libgcc_s when a thread ends by pthread_exit, and aborts where there is none."""
    code = ("import threading, time\n"
            "def spin():\n while True: time.sleep(0.0001)\n"
            "for _ in range(4): threading.Thread(target=spin, daemon=True).start()\n"
            "time.sleep(0.05); print('end')")
    assert say(root, code) == "end\n"


def test_a_name_that_nobody_knows_is_an_ordinary_error(root):
    code = ("import socket\ntry: socket.getaddrinfo('nowhere.invalid', 80)\nexcept socket.gaierror: print('unknown')")
    assert say(root, code) == "unknown\n"


READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd / && exec chroot --userspec=65532:65532 "$@"'


def read_only(root, *command):
    return ["unshare", "--mount", "/bin/sh", "-c", READ_ONLY, "sh", str(root), *command]


def test_without_proc_a_read_only_root_loads_no_extension_module(root):
    """The one thing that needs /proc, or a directory that can be written to; each runtime of containers mounts it."""
    done = run(read_only(root, "/app", "-c", "import json; print('runs'); import _ssl"))
    assert (done.returncode, done.stdout) == (1, b"runs\n")
    assert b"cannot be loaded: neither memory nor a directory takes it" in done.stderr.splitlines()[0]


### What is in it

def test_it_is_small_enough(tmp_path):
    """As `make install-strip` installs pyentry. Debian's shared libpython is 2 MB more, others are what they are."""
    program = tmp_path / "pyentry"
    subprocess.run(["strip", "-o", program, PYENTRY], check=True)
    done = lay_out(tmp_path / "root", "-m", "hello", "--stdlib", "--no-source", HELLO, program=program)
    sizes = [path.lstat().st_size for path in (tmp_path / "root").rglob("*") if path.is_file() and not path.is_symlink()]
    assert done.stdout.decode().splitlines()[1] == f"{tmp_path}/root: {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB"
    if IS_DEBIAN and not any(name.startswith("libpython") for name in libraries(tmp_path / "root")):
        assert sum(sizes) <= MOST_BYTES, done.stdout.decode()


def test_the_libraries_are_those_that_the_loader_itself_names(root, tmp_path):
    """ldd asks the loader about each part; nothing is missing, and nothing is there in vain."""
    names = run(["unzip", "-Z1", root / "app"]).stdout.decode().split()
    parts = [name for name in names if name.endswith(".so")]
    run(["unzip", "-q", root / "app", *parts, "-d", tmp_path])
    said = run(["ldd", PYENTRY, *(tmp_path / name for name in parts)]).stdout.decode()
    wanted = dict(re.findall(r"^\s+(lib\S+) => (/\S+)", said, re.MULTILINE))
    found = libraries(root)
    assert found.keys() == wanted.keys() | OPENED
    assert all(found[name].read_bytes() == Path(path).read_bytes() for name, path in wanted.items())


def test_the_modes_are_those_of_a_root(root):
    modes = {path: stat.S_IMODE((root / path).lstat().st_mode) for path in ("tmp", "etc", "etc/passwd", "app", "usr/lib")}
    assert modes == {"tmp": 0o1777, "etc": 0o755, "etc/passwd": 0o644, "app": 0o755, "usr/lib": 0o755}
    assert os.readlink(root / "pyentry") == "app"


def test_the_same_inputs_give_the_same_bytes(app, tmp_path):
    made = []
    for number, mask in enumerate((0o022, 0o077)):
        top = tmp_path / f"elsewhere{number}" / "root"
        top.parent.mkdir()
        lay_out(top, "-m", "app", "--with", ("tzdata", "tzdata,tzdata")[number], *MOST, app, preexec_fn=lambda: os.umask(mask),
                env=clean_env(SOURCE_DATE_EPOCH="1700000000"))
        made.append(contents(top))
    assert made[0] == made[1]
    assert {time for _, time, _ in made[0].values()} == {1700000000.0}


### Where it goes

@pytest.mark.parametrize("out, path", [("app", "app"), ("/app", "app"), ("srv/./bin/app", "srv/bin/app")])
def test_the_bundle_s_path_is_one_in_the_root(app, tmp_path, out, path):
    done = build(out, "--rootfs", tmp_path / "root", "-m", "app", *MOST, app)
    assert done.stdout.decode().startswith(f"{tmp_path}/root/{path}: ")
    assert run(inside(tmp_path / "root", f"/{path}")).stdout == b"app runs\n"
    assert os.readlink((tmp_path / "root" / path).parent / "pyentry") == "app"


@pytest.mark.parametrize("arguments, status, line", [
    (["-o", "../app"], 1, "-o ../app: with --rootfs it is the bundle's path in that directory, like -o /app"),
    (["-o", "/"], 1, "-o /: with --rootfs it is the bundle's path in that directory, like -o /app"),
    (["-o", "etc/passwd"], 1, "/etc/passwd is in the root already: name another path with -o"),
    (["-o", "etc/passwd/app"], 1, "/etc/passwd/app is in the root already: name another path with -o"),
    (["-o", "app", "--rootfs", ""], 1, "--rootfs takes the name of a directory"),
    (["-o", "app", "--rootfs", "nowhere/root"], 1, "nowhere/root: cannot be written: No such file or directory"),
    (["-o", "app", "--rootfs", "in/app.py"], 1, "--rootfs in/app.py: Not a directory"),
    (["-o", "app", "--with", "tzdata,curl"], 2, "argument --with: there is no 'curl': it takes ca-certificates, tzdata"),
])
def test_what_cannot_be_is_one_line(app, tmp_path, arguments, status, line):
    done = pyentry("--bundle", "--rootfs", "root", "-m", "app", *MOST, *arguments, "in", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, b"")
    who = {1: "pyentry: --bundle: ", 2: "pyentry --bundle: error: "}[status]
    assert done.stderr.decode().splitlines()[-1] == who + line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_with_is_for_a_root(app, tmp_path):
    assert build(tmp_path / "app", "--with", "tzdata", "-m", "app", *MOST, app, status=1).stderr == (
        b"pyentry: --bundle: --with is for --rootfs\n")


def test_an_empty_directory_stays_the_one_that_it_is(app, tmp_path):
    (tmp_path / "root").mkdir(mode=0o700)
    before = (tmp_path / "root").stat().st_ino
    lay_out(tmp_path / "root", "-m", "app", *MOST, app)
    after = (tmp_path / "root").stat()
    assert (after.st_ino, stat.S_IMODE(after.st_mode)) == (before, 0o700)
    assert not list((tmp_path / "root").glob(".pyentry*"))


def test_what_is_there_is_overwritten_only_with_force_and_never_deleted(app, tmp_path):
    top = write_tree(tmp_path / "root", {"etc/passwd": "mine", "etc/mine.conf": "kept", "srv/data": "kept"})
    before = contents(top)
    done = lay_out(top, "-m", "app", *MOST, app, status=1)
    assert done.stderr.decode() == f"pyentry: --bundle: --rootfs {top} is not empty: --force puts it over what is there\n"
    assert contents(top) == before
    for _ in range(2):
        lay_out(top, "--force", "-m", "app", *MOST, app)
        assert (top / "etc/passwd").read_text().startswith("root:")
        assert (top / "etc/mine.conf").read_text() == (top / "srv/data").read_text() == "kept"
        assert run(inside(top, "/app")).stdout == b"app runs\n"
        assert not list(top.glob(".pyentry*"))


@pytest.mark.parametrize("kind", ["a link", "a directory", "a file"])
def test_force_follows_no_link_and_replaces_no_directory(app, tmp_path, kind):
    top, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    top.mkdir()
    place = top / ("etc" if kind != "a directory" else "app")
    {"a link": lambda: place.symlink_to(outside), "a directory": place.mkdir, "a file": place.touch}[kind]()
    before = contents(top)
    done = lay_out(top, "--force", "-m", "app", *MOST, app, status=1)
    assert done.stderr.decode() == f"pyentry: --bundle: {place} is in the way: it is {kind}\n"
    assert contents(top) == before and not list(outside.iterdir())


def test_a_full_disk_leaves_nothing(app, tmp_path):
    (tmp_path / "disk").mkdir()
    script = 'mount -t tmpfs -o size=6m none "$1" && "$2" --bundle -o app --rootfs "$1/root" -m app "$3"; echo $?; ls -A "$1"'
    done = run(["unshare", "--mount", "/bin/sh", "-c", script, "sh", tmp_path / "disk", PYENTRY, app])
    assert done.stdout == b"1\n"
    assert done.stderr.decode() == f"pyentry: --bundle: {tmp_path}/disk/root: No space left on device\n"


### Which libraries

def library(path, *options, value=None, calls=()):
    """A shared library with a function of its own name, which calls others' and gives their sum and its value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = re.match(r"lib(\w+)\.", path.name)[1]
    declared = "".join(f"int {other}(void);\n" for other in calls)
    total = " + ".join([str(value or 0), *(f"{other}()" for other in calls)])
    subprocess.run([*CC, "-shared", "-fPIC", "-x", "c", "-", "-x", "none", "-o", path, f"-Wl,-soname,{path.name}", "-Wl,--no-as-needed",
                    "-Wl,--allow-shlib-undefined", *options], input=f"{declared}int {name}(void) {{ return {total}; }}\n",
                   text=True, check=True)
    return path


CALL = "import ctypes, os; print(ctypes.CDLL(os.path.join(os.path.dirname(__file__), 'pkg/libtop.so'))."


def called(tmp_path, *arguments, **options):
    """The value of top(), of pkg/libtop.so in the bundle, as computed in the root."""
    write_tree(tmp_path / "src", {"app.py": CALL + "top())\n"})
    lay_out(tmp_path / "root", "-m", "app", *MOST, tmp_path / "src", *arguments, **options)
    done = run(inside(tmp_path / "root", "/app"))
    return done.stdout.decode() + done.stderr.decode()


def test_a_run_path_out_of_the_inputs_is_followed(tmp_path):
    below = library(tmp_path / "elsewhere" / "libbelow.so", value=5)
    library(tmp_path / "src/pkg/libtop.so", below, "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../../elsewhere", calls=["below"])
    assert called(tmp_path) == "5\n"
    assert "libbelow.so" in libraries(tmp_path / "root")


@pytest.mark.parametrize("kind, found", [("--disable-new-dtags", True), ("--enable-new-dtags", False)])
def test_an_old_run_path_holds_for_what_is_below_a_new_one_does_not(tmp_path, kind, found):
    lowest = library(tmp_path / "elsewhere" / "liblowest.so", value=6)
    below = library(tmp_path / "elsewhere" / "libbelow.so", lowest, calls=["lowest"])
    library(tmp_path / "src/pkg/libtop.so", below, f"-Wl,{kind},-rpath,{tmp_path}/elsewhere", calls=["below"])
    if found:
        assert called(tmp_path) == "6\n"
    else:
        write_tree(tmp_path / "src", {"app.py": ""})
        done = lay_out(tmp_path / "root", "-m", "app", *MOST, tmp_path / "src", status=1)
        assert done.stderr.decode() == (
            "pyentry: --bundle: liblowest.so is not on this machine, and libbelow.so needs it, which pkg/libtop.so needs: "
            "install it, or leave pkg/libtop.so out with --exclude\n")
        assert not (tmp_path / "root").exists()


def test_origin_is_where_a_link_is_not_what_it_leads_to(tmp_path):
    lowest = library(tmp_path / "links" / "liblowest.so", value=6)
    below = library(tmp_path / "files" / "libbelow.so", lowest, "-Wl,-rpath,$ORIGIN", calls=["lowest"])
    (tmp_path / "links" / "libbelow.so").symlink_to(below)
    top = library(tmp_path / "src/pkg/libtop.so", below, f"-Wl,-rpath,{tmp_path}/links", calls=["below"])
    assert f"liblowest.so => {tmp_path}/links/liblowest.so".encode() in run(["ldd", top]).stdout
    assert called(tmp_path) == "6\n"


def test_the_loader_s_variable_is_heeded(tmp_path):
    below = library(tmp_path / "elsewhere" / "libbelow.so", value=7)
    library(tmp_path / "src/pkg/libtop.so", below, calls=["below"])
    assert called(tmp_path, env=clean_env(LD_LIBRARY_PATH=str(tmp_path / "elsewhere"))) == "7\n"


def test_what_the_bundle_carries_is_not_copied_again(tmp_path):
    below = library(tmp_path / "src/top.libs/libbelow.so", value=8)
    library(tmp_path / "src/pkg/libtop.so", below, "-Wl,-rpath,$ORIGIN/../top.libs", calls=["below"])
    assert called(tmp_path) == "8\n"
    assert "libbelow.so" not in libraries(tmp_path / "root")


def test_two_names_of_one_library_stay_one(tmp_path):
    """A copy would be a library of its own to the loader, with variables of its own."""
    real = library(tmp_path / "elsewhere" / "libreal.so", value=9)
    other = library(tmp_path / "libother.so", value=9)
    (real.parent / "libother.so").symlink_to("libreal.so")
    library(tmp_path / "src/pkg/libtop.so", real, other, f"-Wl,-rpath,{real.parent}", calls=["real"])
    assert called(tmp_path) == "9\n"
    found = libraries(tmp_path / "root")
    assert found["libreal.so"].is_symlink() and os.readlink(found["libreal.so"]) == "libother.so"


def test_two_libraries_of_one_name_are_refused(tmp_path):
    for number in (1, 2):
        below = library(tmp_path / f"place{number}" / "libbelow.so", value=number)
        library(tmp_path / f"src/pkg/libtop{number}.so", below, f"-Wl,-rpath,{below.parent}", calls=["below"])
    write_tree(tmp_path / "src", {"app.py": ""})
    done = lay_out(tmp_path / "root", "-m", "app", *MOST, tmp_path / "src", status=1)
    assert done.stderr.decode() == (
        f"pyentry: --bundle: pkg/libtop1.so needs {tmp_path}/place1/libbelow.so, and pkg/libtop2.so needs "
        f"{tmp_path}/place2/libbelow.so, which is another one of that name: leave one of them out with --exclude\n")


def test_a_missing_library_is_named_with_who_needs_it(tmp_path):
    below = library(tmp_path / "gone" / "libbelow.so", value=1)
    library(tmp_path / "src/pkg/libtop.so", below, calls=["below"])
    below.unlink()
    write_tree(tmp_path / "src", {"app.py": ""})
    done = lay_out(tmp_path / "root", "-m", "app", *MOST, tmp_path / "src", status=1)
    assert done.stderr.decode() == (
        "pyentry: --bundle: libbelow.so is not on this machine, and pkg/libtop.so needs it: install it, or leave "
        "pkg/libtop.so out with --exclude\n")
    assert not (tmp_path / "root").exists() and not list(tmp_path.glob(".pyentry*"))
    lay_out(tmp_path / "root", "-m", "app", *MOST, "--exclude", "pkg/libtop.so", tmp_path / "src")


def test_a_module_of_the_standard_library_that_has_none_is_left_out(app, tmp_path):
    """As _tkinter in the slim images, which nobody could import there either."""
    said = run(["ldd", *(STDLIB / "lib-dynload").glob("_sqlite3.*.so")]).stdout.decode()
    library_path = re.search(r"=> (/\S+libsqlite3\S+)", said)[1]
    script = 'mount --bind /dev/null "$1" && shift && exec "$@"'
    done = run(["unshare", "--mount", "/bin/sh", "-c", script, "sh", library_path, PYENTRY, "--bundle", "-o", "app", "--rootfs",
                tmp_path / "root", "-m", "app", *MOST, app])
    assert done.returncode == 0, done.stderr.decode()
    assert re.search(r"not in the bundle as it is: \S+/_sqlite3\.\S+\.so: libsqlite3\.so\.0 is not on this machine\n",
                     done.stderr.decode())
    assert run(inside(tmp_path / "root", "/app", "-c", "import sqlite3")).stderr.splitlines()[-1] == (
        b"ModuleNotFoundError: No module named '_sqlite3'")


### The readers

def test_no_library_and_no_cache_makes_the_readers_fail(tmp_path):
    """Every byte of the parts that say something, changed; every length. The ceiling is the file's own length."""
    small = library(tmp_path / "libsmall.so", "-Wl,-soname,libsmall.so", "-Wl,-rpath,/nowhere", "-Wl,-z,noseparate-code")
    code = f"""
import random
from pyentry.bundler import elf, loader
seed = random.Random(1)
whole = open({str(small)!r}, "rb").read()
assert elf.read(whole).soname == "libsmall.so" and elf.read(whole).run_path == ["/nowhere"]
cache = open(loader.CACHE, "rb").read()
cache = cache[cache.index(loader.MAGIC):]
known = dict(loader.cached(cache))
assert known["libc.so.6"].endswith("/libc.so.6")

def changed(data, at):
    for value in (0, 1, 0x7f, 0x80, 0xff, seed.randrange(256)):
        yield data[:at] + bytes([value]) + data[at + 1:]
    yield data[:at] + b"\\xff" * 8 + data[at + 8:]
    yield data[:at]

for at in [*range(64 + 56 * 8), *(seed.randrange(len(whole)) for _ in range(500))]:
    for data in changed(whole, at):
        library = elf.read(data)
        assert library is None or library.needed is not None
for at in [*range(48 + 24), *(seed.randrange(len(cache)) for _ in range(50))]:
    for data in changed(cache, at):
        assert sum(1 for _ in loader.cached(data)) <= len(cache) // 24
"""
    done = pyentry("-c", code, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_libraries_for_newer_processors_only_are_not_taken():
    """A cache of two entries of one name, made by hand: the first is for processors with what the builder's has."""
    code = """
import struct
from pyentry.bundler import loader
names = b"libx.so\\0/new/libx.so\\0/old/libx.so\\0"
start = 48 + 2 * 24
entries = struct.pack("=iIIIQ", 0x303, start, start + 8, 0, 1 << 62) + struct.pack("=iIIIQ", 0x303, start, start + 21, 0, 0)
head = loader.MAGIC + struct.pack("=II", 2, len(names)) + bytes(20)
print(*loader.cached(b"ld.so-1.7.0\\0" + bytes(4) + head + entries + names))
"""
    assert pyentry("-c", code).stdout == b"('libx.so', '/old/libx.so')\n"
