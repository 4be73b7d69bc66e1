"""What goes wrong in containers, and the one line that says so."""

import pytest

from containers import podman, run

SHELL_FORM = """
FROM pyentry
ENTRYPOINT pyentry -c 'print("ran")'
"""


@pytest.fixture
def built(tmp_path):
    """The image of a Dockerfile's text."""
    name = "test-bad-input"

    def build(text):
        (tmp_path / "Dockerfile").write_text(text)
        podman("build", "--tag", name, str(tmp_path))
        return name

    yield build
    podman("rmi", "--force", name)


def test_a_shell_form_entrypoint(built):
    status, log = run(built(SHELL_FORM))
    assert status == 0
    warning, ran = log.splitlines()
    assert warning.startswith("pyentry: process 1 is a shell, which does not pass SIGTERM on: ")
    assert ran == "ran"


@pytest.mark.parametrize("command, status, line", [
    (["-m", "nowhere"], 1, "/usr/local/bin/pyentry: No module named nowhere"),
    (["nowhere.py"], 2, "pyentry: can't open file '/app/nowhere.py': [Errno 2] No such file or directory"),
    (["--stop-report=soon", "-m", "app"], 2,
     "pyentry: --stop-report='soon' is not valid: it takes a duration like 500ms, 8s or 2m, at most 1440m, "
     "or 0 for never"),
    (["--stop-reprot=9s", "-m", "app"], 2,
     "pyentry: unknown option --stop-reprot: did you mean --stop-report? See pyentry --help"),
])
def test_a_command_that_cannot_work(command, status, line):
    assert run("pyentry", *command) == (status, line + "\n")


def test_a_bad_variable():
    status, log = run("pyentry", "-c", "pass", env={"PYENTRY_STOP_TIMEOUT": "ten"})
    assert status == 2
    assert log.startswith("pyentry: PYENTRY_STOP_TIMEOUT='ten' is not valid: ") and len(log.splitlines()) == 1


def test_a_log_that_takes_nothing():
    """stdout is a full disk: the program's print fails, and that is in the log that is left."""
    status, log = run("pyentry", "-c", "exec pyentry -c \"print('lost')\" >/dev/full",
                      options=["--entrypoint=/bin/sh"])
    assert status == 1
    assert log.splitlines()[-1] == "OSError: [Errno 28] No space left on device"


def test_a_log_whose_reader_is_gone():
    code = "pyentry -c \"import time; time.sleep(0.5); print('lost')\" | true; exit ${PIPESTATUS[0]}"
    status, log = run("pyentry", "-c", code, options=["--entrypoint=/bin/bash"])
    assert status == 1
    assert log.splitlines()[-1] == "BrokenPipeError: [Errno 32] Broken pipe"


def test_no_process_is_left_for_python():
    status, log = run("pyentry", "-c", "pass", options=["--pids-limit=1"])
    assert status == 1
    assert log == ("pyentry: Python could not be started: fork: Resource temporarily unavailable "
                   "(is a limit on processes reached: --pids-limit, ulimit -u?)\n")


def test_no_thread_is_left_for_the_program():
    code = ("import threading, time\n"
            "for _ in range(99): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()")
    status, log = run("pyentry", "-c", code, options=["--pids-limit=9"])
    assert status == 1
    assert "RuntimeError: can't start new thread" in log


