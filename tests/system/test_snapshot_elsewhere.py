"""A start from a snapshot in a world that is not its builder's: namespaces, clocks, host names; and what somebody sees who
looks at such a process from outside."""

import json
import os
import re
import shutil
import subprocess

import pytest

from harness import PYENTRY, clean_env, run, stock
from snapshots import needed, said, take

pytestmark = needed

### Namespaces

# What libraries keep of the world, asked for before the snapshot.
NOTED = """
import asyncio, logging, platform, socket, threading, time
node, zone, monotonic = platform.node(), time.tzname[0], time.monotonic()
logging.getLogger("early").warning("early")
"""

WORLD = """if 1:
    import asyncio, json, logging, noted, os, platform, socket, sys, threading, time
    record = logging.LogRecord("a", 20, "a", 1, "a", None, None)
    async def main():
        await asyncio.sleep(0.01)
        return asyncio.get_running_loop().time()
    print(json.dumps({
        "then": [noted.node, noted.zone], "now": [platform.node(), time.tzname[0]],
        "uptime": float(open("/proc/uptime").read().split()[0]), "monotonic": time.monotonic(), "loop": asyncio.run(main()),
        "waited": threading.Event().wait(0.01), "logged": record.relativeCreated, "uid": os.getuid(),
        "name": socket.gethostname()}))
"""

ELSEWHERE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--uts", "--time", "--monotonic=100000",
             "--boottime=100000", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh"]


@pytest.mark.parametrize("there", ["start", "build"])
def test_in_another_world(tmp_path, there):
    """Another user, process, mount, host name and time namespace, and time zone, at the start or at the build: what
    changes with them is the new process's. The clock of one is a day ahead, as after a suspend, or another boot."""
    (tmp_path / "noted.py").write_text(NOTED)
    here = os.uname().nodename
    build, begin = ([], ELSEWHERE) if there == "start" else (ELSEWHERE, [])
    path = tmp_path / "a.snap"
    done = run([*build, PYENTRY, "--snapshot", "-o", path, "--preload=noted"], cwd=tmp_path, env=clean_env(TZ="AAA-1"),
               timeout=60)
    assert done.returncode == 0, done.stderr
    done = run([*begin, PYENTRY, "--restore-or-fail", f"--restore={path}", "-c", WORLD], cwd=tmp_path,
               env=clean_env(TZ="BBB-2"), timeout=60)
    assert (done.returncode, done.stderr) == (0, b""), done
    world = json.loads(done.stdout)
    assert world["then"] == ["elsewhere" if build else here, "AAA"]
    assert world["now"] == ["elsewhere" if begin else here, "BBB"] and world["name"] == world["now"][0]
    for clock in ("monotonic", "loop"):
        assert 0 <= world[clock] - world["uptime"] < 10, world
    assert world["waited"] is False and 0 <= world["logged"] < 10_000 and world["uid"] == os.getuid()


### From outside

@pytest.fixture
def waiting(tmp_path):
    """(from a snapshot, plain): two processes of the same program, that wait."""
    (tmp_path / "app.py").write_text("import json, ssl, threading, sys\ndef wait():\n    print('ready', flush=True)\n"
                                     "    sys.stdin.read()\n")
    take(tmp_path / "a.snap", "--preload=app", cwd=tmp_path)
    both = []
    for options in (["--restore-or-fail", f"--restore={tmp_path / 'a.snap'}"], []):
        both.append(subprocess.Popen([PYENTRY, *options, "-c", "import app; app.wait()", "x y"], cwd=tmp_path,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_env(MARK="here")))
        assert both[-1].stdout.readline() == b"ready\n"
    yield both
    for process in both:
        process.communicate()
        assert process.returncode == 0


FIXED = b"EXEC" in run(["readelf", "-hW", PYENTRY]).stdout  # at the address that its file says


def fields(process, name):
    with open(f"/proc/{process.pid}/{name}") as file:
        return dict(re.findall(r"^(\w+):\s*(.*)$", file.read(), re.MULTILINE))


def test_in_proc(waiting):
    """Whoever reads /proc (ps, top, perf, monitoring) finds what a plain process has."""
    def look(process):
        base = f"/proc/{process.pid}"
        status = fields(process, "status")
        with open(f"{base}/cmdline", "rb") as words, open(f"{base}/environ", "rb") as environment, open(f"{base}/comm") as comm:
            return {"cmdline": [word for word in words.read().split(b"\0") if b"--restore" not in word],
                    "environ": environment.read(), "comm": comm.read(), "exe": os.readlink(f"{base}/exe"),
                    "cwd": os.readlink(f"{base}/cwd"), "fds": sorted(os.listdir(f"{base}/fd"))[:3],
                    "tasks": len(os.listdir(f"{base}/task")),
                    **{name: status[name] for name in ("Name", "Threads", "SigIgn", "SigCgt", "SigBlk", "Seccomp")}}

    fresh, plain = waiting
    assert look(fresh) == look(plain)
    with open(f"/proc/{fresh.pid}/maps") as file:
        maps = file.read()
    names = {line.split(maxsplit=5)[5] for line in maps.splitlines() if len(line.split()) > 5}
    assert {"[stack]", "[vdso]", *([PYENTRY] if FIXED else [])} <= names, names
    assert int(fields(fresh, "smaps_rollup")["Pss"].split()[0]) > 0


@pytest.mark.skipif(not FIXED, reason="this pyentry is position-independent: gdb looks for it where the process began")
def test_debugger(waiting):
    """gdb finds the libraries, and a stack that ends where the process began."""
    if shutil.which("gdb") is None:
        pytest.skip("no gdb")
    done = run(["gdb", "-nx", "-q", "-batch", "-p", str(waiting[0].pid), "-ex", "bt", "-ex", "info sharedlibrary"], timeout=120)
    told = done.stdout.decode()
    assert "Py_RunMain" in told and "pye_resume" in told and "write_down" not in told, told
    assert re.search(r"Yes .*libssl", told) and re.search(r"Yes .*libc\.so", told), told


### What libraries do

EXTENSION = r"""
#include <Python.h>
#include <stdexcept>
#include <string>
static PyObject *half(PyObject *, PyObject *number)
{
    try {
        long n = PyLong_AsLong(number);
        if (n % 2) throw std::invalid_argument("odd: " + std::to_string(n));
        return PyLong_FromLong(n / 2);
    } catch (const std::exception &error) {
        PyErr_SetString(PyExc_ValueError, error.what());
        return nullptr;
    }
}
static PyMethodDef methods[] = {{"half", half, METH_O, nullptr}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, NAME, nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};
PyMODINIT_FUNC INIT(void) { return PyModule_Create(&module); }
"""


def test_cxx_exceptions(tmp_path):
    """In a C++ extension, loaded before the snapshot or after the start: the unwinder finds its way."""
    include = stock("-c", "import sysconfig; print(sysconfig.get_paths()['include'])").stdout.decode().strip()
    (tmp_path / "module.cc").write_text(EXTENSION)
    for name in ("early", "late"):
        subprocess.run(["c++", "-shared", "-fPIC", f"-I{include}", f'-DNAME="{name}"', f"-DINIT=PyInit_{name}",
                        "-o", tmp_path / f"{name}.so", tmp_path / "module.cc"], check=True)
    take(tmp_path / "a.snap", "--preload", "early", cwd=tmp_path)
    code = ("import early\ndef halves(module):\n    for n in (4, 5):\n        try: print(module.half(n))\n"
            "        except ValueError as error: print(error)\nhalves(early)\nimport late\nhalves(late)")
    assert said(tmp_path / "a.snap", "-c", code, cwd=tmp_path) == "2\nodd: 5\n" * 2


TLS = """
import socket, ssl, threading
server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile="cert.pem")
server.load_cert_chain("cert.pem", "key.pem")
def speak(server=server, client=client):
    near, far = socket.socketpair()
    def answer():
        with server.wrap_socket(far, server_side=True) as line:
            line.sendall(line.recv(100).upper())
    thread = threading.Thread(target=answer)
    thread.start()
    with client.wrap_socket(near, server_hostname="localhost") as line:
        line.sendall(b"hello")
        told = line.recv(100), line.version(), line.session_reused
    thread.join()
    return told
"""


def test_tls(tmp_path):
    """A handshake by contexts that were made before the snapshot, and were used, and by new ones."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"],
                   cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    (tmp_path / "app.py").write_text(TLS)
    take(tmp_path / "a.snap", "--preload=app", "--warm-up=app:speak", cwd=tmp_path)
    code = "import app; print(app.speak()); exec(app.__spec__.loader.get_source('app')); print(speak(server, client))"
    assert said(tmp_path / "a.snap", "-c", code, cwd=tmp_path) == "(b'HELLO', 'TLSv1.3', False)\n" * 2
