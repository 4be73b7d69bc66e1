"""aarch64 under qemu-user: that it runs, stops, and is an init there. (Its unit tests ran when the image was built.)"""

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
