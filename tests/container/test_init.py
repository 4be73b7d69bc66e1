"""pyentry as a container's first process."""

import pytest

from containers import eventually, probes


def test_python_is_the_child_of_the_init(start):
    code = "import os, time; print('pid', os.getpid(), os.getppid()); time.sleep(3600)"
    container = start("pyentry", "-c", code, options=probes())
    assert container.wait_for(r"^pid (\d+) (\d+)$").group(2) == "1"
    assert container.processes()["1"][2].startswith("pyentry -c")


def test_a_flood_of_orphans_leaves_no_zombie(start):
    container = start("pyentry", "/probes/family.py", "zombies", "2000", options=probes())
    container.wait_for("^orphans made: 2000$")
    container.wait_for("^own child: 7$")
    eventually("an end of the zombies",
               lambda: not [1 for state, _, _ in container.processes().values() if state == "Z"])
    container.stop()
    assert container.status() == 143


def test_an_orphaned_daemon_is_stopped_with_the_container(start):
    container = start("pyentry", "/probes/family.py", "daemon", "3600", options=probes())
    container.wait_for("^daemon: ready$")
    container.stop()
    assert container.status() == 143
    assert container.lines()[-1] == "daemon: cleaned up"


def test_an_orphaned_daemon_does_not_hold_up_the_end(start):
    """Python ends by itself: its status is the container's, and the daemon may clean up."""
    container = start("pyentry", "/probes/family.py", "daemon", "1", options=probes())
    status, log = container.wait()
    assert status == 5
    assert log.splitlines() == ["daemon: ready", "daemon: cleaned up"]


def test_every_signal_arrives_once(start):
    container = start("pyentry", "/probes/signals.py", options=probes())
    container.wait_for("^ready$")
    wanted = ["HUP", "USR1", "QUIT", "WINCH", "USR2", "RTMIN"]
    for number, name in enumerate(wanted, 1):
        container.kill("34" if name == "RTMIN" else name)
        container.wait_for("^got ", times=number)
    assert container.lines() == ["ready", *(f"got SIG{name}" for name in wanted)]
    container.stop()
    assert container.status() == 143


@pytest.mark.parametrize("name, status", [("HUP", 129), ("USR1", 138), ("QUIT", 131)])
def test_a_signal_without_a_handler_ends_it(start, name, status):
    """As everywhere but in process 1, which has no default actions: there python lives on."""
    container = start("pyentry", "-c", "print('ready'); import time; time.sleep(3600)")
    container.wait_for("^ready$")
    container.kill(name)
    assert container.wait()[0] == status


def test_winch_without_a_handler_is_nothing(start):
    container = start("hello")
    container.wait_for("listening")
    container.kill("WINCH")
    assert eventually("an answer", container.answers)
    container.stop()
    assert container.status() == 143


def test_the_stop_time_out_comes_before_podmans(start):
    """A program that swallows everything: the report says where it is, the time-out ends it."""
    code = "import time\nprint('ready')\nwhile 1:\n try: time.sleep(9)\n except BaseException: pass"
    container = start("pyentry", "-c", code, env={"PYENTRY_STOP_REPORT": "500ms", "PYENTRY_STOP_TIMEOUT": "1s"})
    container.wait_for("^ready$")
    assert container.stop(20) < 10.0
    assert container.status() == 137
    assert "still" in container.log() and 'File "<string>", line' in container.log(), container.log()
