"""SIGTERM to pyentry as PID 1: each program ends as its own documentation says, and leaves nothing.

tests/peers/run prints the times and statuses of the same scenarios.
"""

import os
import re
import shutil
import signal
import time
from typing import Callable, NamedTuple, Tuple

import pytest

from harness import PYENTRY, PYTHON, first_child
from serving import Service, clean_environment
from test_frameworks import (APPS, AVAILABLE, BOOTED, GTHREAD, LISTENING, RUNNING, UVICORN, Background, celery, client,
                             get, gunicorn)

SHELL_BELOW = """
import subprocess, sys
try:
    subprocess.run(["sh", "-c", "sleep 100 & echo started >&2; sleep 100"])
finally:
    print("cleaned up", file=sys.stderr)
"""


def nothing(service):
    return list


def request_in_work(service):
    """A request that is answered while the server stops."""
    answer = Background(get, service.wait_for(LISTENING).group(1) + "/slow")
    service.wait_for("^working$")
    return lambda: [answer.value()]


def task_in_work(service):
    """A task whose result comes while the worker stops."""
    answer = Background(client, PYTHON, service.cwd, "slow_add")
    service.wait_for("^working$")
    return lambda: [answer.value()]


class Scenario(NamedTuple):
    name: str
    arguments: Tuple[str, ...]
    ready: str
    times: int
    use: Callable        # starts work, and returns a function for what came of it
    answers: list
    status: int
    last_words: Tuple[str, ...]  # each is a line's pattern; all must come, in any order
    needs: str = ""


ANSWERED = [(200, "hello from /slow")]
GUNICORN_ENDS = ("Handling signal: term", r"Worker exiting", r"Shutting down: Master")
UVICORN_ENDS = ("Shutting down", "Waiting for (connections to close|background tasks)", "application saw lifespan.shutdown",
                "Application shutdown complete", "Finished server process")
CLEANED = ("^task 0 cleaned up$", "^task 1 cleaned up$")

SCENARIOS = [
    Scenario("celery, prefork", celery("prefork"), r" ready\.$", 1, task_in_work, ["5"], 0,
             (r"Warm shutdown \(MainProcess\)", "succeeded in"), "celery"),
    Scenario("gunicorn, sync", gunicorn("-w", "2", "wsgi_app:app"), BOOTED, 2, request_in_work, ANSWERED, 0,
             GUNICORN_ENDS, "gunicorn"),
    Scenario("gunicorn, gthread", gunicorn(*GTHREAD, "wsgi_app:app"), BOOTED, 1, request_in_work, ANSWERED, 0,
             GUNICORN_ENDS, "gunicorn"),
    Scenario("uvicorn", UVICORN, RUNNING, 1, request_in_work, ANSWERED, 0, UVICORN_ENDS, "uvicorn"),
    *(Scenario(f"{title}, {method}", ("-m", "pool_app", kind, method), r"^task \d began$", 2, nothing, [], 143, CLEANED)
      for kind, title in (("pool", "multiprocessing.Pool"), ("executor", "ProcessPoolExecutor"))
      for method in ("fork", "spawn", "forkserver")),
    Scenario("subprocess.run of a shell with two sleeps", ("-c", SHELL_BELOW), "^started$", 1, nothing, [], 143,
             ("^cleaned up$",)),
]
APPLYING = [scenario for scenario in SCENARIOS if not scenario.needs or scenario.needs in AVAILABLE]


class Stop(NamedTuple):
    seconds: float
    status: int
    answers: list
    said: list
    left: dict


def play(scenario, cwd, command):
    """Start below `command`, which ends in what is to be PID 1; send PID 1 a SIGTERM; look at the end."""
    shutil.copytree(APPS, cwd)
    with Service([*command, *scenario.arguments], cwd, clean_environment()) as service:
        service.cwd = cwd
        service.wait_for(scenario.ready, scenario.times)
        later = scenario.use(service)
        said = len(service.lines)
        began = time.monotonic()
        os.kill(first_child(service.process.pid), signal.SIGTERM)
        status = service.process.wait(60)
        seconds = time.monotonic() - began
        service.wait()
        return Stop(seconds, status, later(), service.lines[said:], service.left_behind())


@pytest.mark.parametrize("scenario", APPLYING, ids=[scenario.name for scenario in APPLYING])
def test_stops_gracefully(scenario, pid_one, tmp_path):
    stop = play(scenario, tmp_path / "apps", [*pid_one, PYENTRY])
    assert (stop.status, stop.answers) == (scenario.status, scenario.answers), stop.said
    for pattern in scenario.last_words:
        assert any(re.search(pattern, line) for line in stop.said), (pattern, stop.said)
    assert not [line for line in stop.said if line.startswith("pyentry:") or "Traceback" in line], stop.said
    assert stop.left == {}
    assert stop.seconds < 10  # celery takes four, with a second of work
