"""docker/Dockerfile.scratch: a bundle, what it needs, and nothing else. That it serves and stops is in test_examples.py."""

import json

import pytest

from containers import HARDENED, eventually, podman, run

IMAGES = ["hello-scratch", "hello-scratch-debian"]  # of a shared libpython in /usr/local, and of Debian's static one
MOST_BYTES = 35e6
each = pytest.mark.parametrize("image", IMAGES)


def say(image, code):
    """What code prints in a hardened container."""
    status, log = run(image, "-c", code, options=HARDENED)
    assert status == 0, log
    return log


@each
def test_nothing_else_is_there(image):
    code = ("import os, shutil\n"
            "print([name for name in ('sh', 'python3', 'ldconfig', 'ls') if shutil.which(name, path='/bin:/sbin:/usr/bin:/app')])\n"
            "print(sorted(set(os.listdir('/')) - {'dev', 'proc', 'run', 'sys'}), oct(os.stat('/tmp').st_mode))")
    names, tmp = ["app", "etc", "lib64", "pyentry", "tmp", "usr"], "0o41777"
    assert say(image, code) == f"[]\n{names} {tmp}\n"


@each
def test_every_extension_module_loads_from_memory(image):
    """The root is read-only and there is no TMPDIR."""
    code = ("import importlib, os, sys\n"
            "place = next(path for path in sys.path if path.endswith('/lib-dynload'))\n"
            "names = [name.split('.')[0] for name in os.listdir(place)]\n"
            "print({'_ssl', '_sqlite3', '_ctypes'} <= set(names), [importlib.import_module(name) for name in names] != [])")
    assert say(image, code) == "True True\n"


@each
def test_processes_are_started_anew_from_it(image):
    """sys.executable is the bundle, and a python to whoever starts it."""
    code = ("import subprocess, sys\n"
            "print(sys.executable, subprocess.check_output([sys.executable, '-c', 'print(6 * 7)'], text=True), end='')")
    assert say(image, code) == "/app 42\n"


@each
def test_workers_of_multiprocessing_start(image):
    code = ("import concurrent.futures, multiprocessing, os\n"
            "pool = concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context('spawn'))\n"
            "print(list(pool.map(abs, [-1, -2]))); pool.shutdown()")
    assert say(image, code) == "[1, 2]\n"


@each
def test_the_health_check_is_the_bundle_itself(image, start):
    container = start(image, options=[*HARDENED, "--env=PORT=9876"])
    eventually("an answer", lambda: container.answers(port=9876))
    assert podman("healthcheck", "run", container.id, check=False).returncode == 0
    assert container.inspect()["State"]["Health"]["Status"] == "healthy"


def test_it_is_small_enough():
    assert json.loads(podman("image", "inspect", "hello-scratch-debian").stdout)[0]["Size"] <= MOST_BYTES
