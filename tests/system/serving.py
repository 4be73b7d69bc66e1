"""Start a program that serves, wait for its words, stop it, see what it left.

Used by test_frameworks.py and test_hello.py:

    with Service([PYENTRY, "-m", "app"], cwd=...) as service:
        port = service.wait_for(r"listening on port (\\d+)").group(1)
        service.terminate()
        status = service.wait()
        assert service.left_behind() == []
"""

import os
import re
import signal
import socket
import subprocess
import threading
import uuid

from harness import until

# How long a condition may take.  Generous, because nothing waits for it in
# vain unless the test fails.
DEADLINE = 60.0
MARK = "SERVING_MARK"


def clean_environment(**more):
    """The caller's environment without what would steer a Python or a pyentry."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYENTRY", "FLASK_", "DJANGO_", "GUNICORN_", "CELERY_"))
    }
    kept["no_proxy"] = "*"
    kept.update(more)
    return kept


def free_port():
    """A port nobody listens on, for programs that cannot tell which one they took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes_with(assignment):
    """The live processes whose environment at exec held this NAME=VALUE, as {pid: command}."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                environment = file.read().split(b"\0")
            if assignment.encode() in environment:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    found[int(name)] = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # gone in between, or someone else's
    return found


def default_signals():
    """A shell ignores SIGINT for a job in the background, and a service would inherit that."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


class Service:
    """A program with stdout and stderr in one pipe, read line by line as they come."""

    def __init__(self, argv, cwd, env=None):
        self.mark = f"{MARK}={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        environment = dict(env if env is not None else clean_environment())
        environment[name] = value
        self.lines = []
        self.news = threading.Condition()
        self.ended = False
        default_signals()
        self.process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        until(self._kill_all, "an end of what the test started", DEADLINE)
        self.process.wait(DEADLINE)
        self.reader.join(DEADLINE)
        self.process.stdout.close()

    def _kill_all(self):
        left = self.left_behind()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not left

    def text(self):
        return "\n".join(self.lines)

    def matches(self, pattern):
        return [match for match in (re.search(pattern, line) for line in list(self.lines)) if match]

    def wait_for(self, pattern, times=1, deadline=DEADLINE):
        """The last of the first `times` lines in which pattern occurs."""
        with self.news:
            self.news.wait_for(
                lambda: len(self.matches(pattern)) >= times or self.ended,
                deadline,
            )
        found = self.matches(pattern)
        assert len(found) >= times, (
            f"waited for {pattern!r}; status {self.process.poll()}; it wrote:\n{self.text()}"
        )
        return found[times - 1]

    def terminate(self, number=signal.SIGTERM):
        """Send the signal to the one process that was started, as a supervisor does."""
        os.kill(self.process.pid, number)

    def wait(self, deadline=DEADLINE):
        """The status, once the program ended and every holder of its output closed it."""
        try:
            status = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"still alive {deadline:g} s after the signal; it wrote:\n{self.text()}"
            ) from None
        # Whoever still holds the pipe after this is found by left_behind().
        self.reader.join(5)
        return status

    def left_behind(self):
        """{pid: command} of every process that came from this program and lives."""
        return processes_with(self.mark)
