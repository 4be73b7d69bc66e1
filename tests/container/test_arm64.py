"""aarch64 under qemu-user: that it runs, stops, is an init and makes bundles there. (Its unit tests ran when the image was
built.)"""

import pytest

from containers import probes, run

IMAGE = "arm64"
CLEAN_UP = "import time\ntry: print('ready'); time.sleep(3600)\nfinally: print('cleaned up')"


def test_it_is_python_for_aarch64():
    code = "import platform, sys, ctypes, ssl; print(platform.machine(), sys.implementation._multiarch)"
    assert run(IMAGE, "-c", code) == (0, "aarch64 aarch64-linux-gnu\n")


@pytest.mark.parametrize("init", ["never", "always"])
def test_sigterm_raises_and_ends_it(start, init):
    command = ["/probes/below.py", f"--init={init}", "-c", CLEAN_UP]
    container = start(IMAGE, *command, options=[*probes(), "--entrypoint=python3"])
    container.wait_for("^ready$")
    container.stop(30)
    assert container.status() == 143
    assert container.lines() == ["ready", "cleaned up"]


def test_a_status_and_an_uncaught_exception():
    assert run(IMAGE, "-c", "raise SystemExit(7)") == (7, "")
    status, log = run(IMAGE, "-c", "1 / 0")
    assert status == 1 and log.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_as_process_1_it_stops_what_python_leaves(start):
    status, log = start(IMAGE, "/probes/family.py", "daemon", "1", options=probes()).wait()
    assert (status, log.splitlines()) == (5, ["daemon: ready", "daemon: cleaned up"])


# Most of the standard library is left out: compiling it under qemu takes its time. So are the modules for the machine's own
# Python, which stand in the same directory.
OMITTED = """*x86_64* asyncio concurrent curses dbm distutils email html http json logging multiprocessing tkinter unittest urllib
    venv wsgiref xml xmlrpc zoneinfo _py*.py [d-f]*.py [im]*.py p[di-rt-z]*.py ta*.py tu*.py z*.py"""
BUNDLE = """
set -ef
cd /tmp && mkdir src
echo 'import _ctypes, _ssl, sys; print(sys.executable, __file__); sys.exit(int(sys.argv[1]))' >src/app.py
qemu-aarch64 /usr/local/bin/pyentry --bundle -o app --rootfs root -m app --args 7 \
    $(printf -- '--exclude %s ' $OMITTED) src >log 2>&1 || cat log
find root -name '*.so*' -type f -exec od -An -j18 -N2 -tx1 {} + | sort -u
exec qemu-aarch64 root/app
"""


def test_a_bundle_is_made_and_runs():
    """All that is in its root is for machine 0xb7."""
    status, log = run(IMAGE, "-c", BUNDLE, env={"OMITTED": OMITTED}, options=["--entrypoint=/bin/sh"])
    assert (status, log) == (7, " b7 00\n/tmp/root/app /tmp/root/app/app.py\n")
