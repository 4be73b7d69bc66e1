"""The servers people run: each starts, answers, and stops under pyentry as under stock Python.

Every scenario runs twice, with $PYTHON and with $PYENTRY, and the two must
agree in the answers, in the exit status, and in what is written after SIGTERM.
The frameworks are Debian's packages: for a Python that does not have them
the scenarios do not apply; for Debian's own they must all be there.
"""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from typing import Callable, NamedTuple, Tuple

import pytest

from harness import PYENTRY, PYTHON, until
from serving import DEADLINE, Service, clean_environment, free_port

APPS = pathlib.Path(__file__).resolve().parent / "served"
DEBIAN_PACKAGES = "/usr/lib/python3/dist-packages"
FRAMEWORKS = ("gunicorn", "uvicorn", "celery", "django", "flask", "numpy")


def get(url):
    with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
        return answer.status, answer.read().decode()


class Background(threading.Thread):
    """A function that runs while the test goes on; value() waits for what it returns."""

    def __init__(self, function, *arguments):
        super().__init__(daemon=True)
        self.call = function, arguments
        self.values = []
        self.start()

    def run(self):
        function, arguments = self.call
        try:
            self.values.append(function(*arguments))
        except Exception as error:
            self.values.append(error)

    def value(self):
        self.join(DEADLINE)
        assert self.values, "no answer came"
        if isinstance(self.values[0], Exception):
            raise self.values[0]
        return self.values[0]


# What a scenario asks of its service.  Each returns what it got so far, and a
# function for what it gets after SIGTERM was sent.


def one_request(service, ready, interpreter):
    return [get(ready.group(1) + "/x")], list


def one_request_when_it_listens(service, ready, interpreter):
    """For django, which says that it listens before it does."""

    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(ready.group(1).rsplit(":", 1)[1]))) == 0

    until(listens, "a listening server", DEADLINE)
    return one_request(service, ready, interpreter)


def request_in_work(service, ready, interpreter):
    answer = Background(get, ready.group(1) + "/slow")
    service.wait_for("^working$")
    return [], lambda: [answer.value()]


def client(interpreter, cwd, task):
    code = f"import celery_app; print(celery_app.{task}.delay(2, 3).get(timeout={DEADLINE}))"
    environment = clean_environment()
    answer = subprocess.run(
        [interpreter, "-c", code], cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    assert answer == "5"
    return answer


def one_task(service, ready, interpreter):
    return [client(interpreter, service.cwd, "add")], list


def task_in_work(service, ready, interpreter):
    answer = Background(client, interpreter, service.cwd, "slow_add")
    service.wait_for("^working$")
    return [], lambda: [answer.value()]


class Scenario(NamedTuple):
    name: str
    needs: str
    arguments: Tuple[str, ...]
    ready: str
    times: int = 1
    use: Callable = one_request


def gunicorn(*options):
    return ("-m", "gunicorn", "-b", "127.0.0.1:0", "--access-logfile", "-", *options)


def celery(pool):
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    return ("-m", "celery", "-A", "celery_app", "worker", "-l", "info", "-c", "2", "-P", pool, *alone)


# The first group of `ready` is the address, where the program says it last;
# LISTENING stands for the line that says it where another line comes last.
GTHREAD = ("-k", "gthread", "--threads", "4")
UVICORN_WORKER = ("-k", "uvicorn.workers.UvicornWorker")
BOOTED = r"Worker is ready"
UVICORN = ("-m", "uvicorn", "asgi_app:app", "--port", "0")
UVICORN_AT_PORT = ("-m", "uvicorn", "asgi_app:app", "--port", "{port}")
RUNNING = r"[Rr]unning on (http://127\.0\.0\.1:\d+)"
FLASK = ("-m", "flask", "--app", "flask_app")
DJANGO = ("-m", "django", "runserver", "--settings", "django_app", "--pythonpath", ".")
AT_DJANGO = r"development server at (http://127\.0\.0\.1:\d+)/"

SCENARIOS = [
    Scenario("gunicorn-sync", "gunicorn", gunicorn("-w", "2", "wsgi_app:app"), BOOTED, 2),
    Scenario("gunicorn-sync-in-work", "gunicorn", gunicorn("wsgi_app:app"), BOOTED, 1, request_in_work),
    Scenario("gunicorn-preload", "gunicorn", gunicorn("--preload", "wsgi_app:app"), BOOTED),
    Scenario("gunicorn-gthread", "gunicorn", gunicorn(*GTHREAD, "wsgi_app:app"), BOOTED),
    Scenario("gunicorn-gthread-in-work", "gunicorn", gunicorn(*GTHREAD, "wsgi_app:app"), BOOTED, 1, request_in_work),
    Scenario("gunicorn-uvicorn", "uvicorn", gunicorn(*UVICORN_WORKER, "asgi_app:app"), "Application startup complete"),
    Scenario("uvicorn", "uvicorn", UVICORN, RUNNING),
    Scenario("uvicorn-in-work", "uvicorn", UVICORN, RUNNING, 1, request_in_work),
    Scenario("uvicorn-workers", "uvicorn", UVICORN_AT_PORT + ("--workers", "2"), "Application startup complete", 2),
    Scenario("celery-solo", "celery", celery("solo"), r" ready\.$", 1, one_task),
    Scenario("celery-prefork", "celery", celery("prefork"), r" ready\.$", 1, one_task),
    Scenario("celery-prefork-in-work", "celery", celery("prefork"), r" ready\.$", 1, task_in_work),
    Scenario("django", "django", DJANGO + ("--noreload", "{port}"), AT_DJANGO, 1, one_request_when_it_listens),
    Scenario("django-reloader", "django", DJANGO + ("{port}",), AT_DJANGO, 1, one_request_when_it_listens),
    Scenario("flask", "flask", FLASK + ("run", "-p", "0"), RUNNING),
    Scenario("flask-reloader", "flask", FLASK + ("run", "--reload", "--debugger", "-p", "0"), r"Debugger PIN"),
    Scenario("numpy", "numpy", ("-m", "numpy_app"), r"listening on (http://127\.0\.0\.1:\d+)"),
]
LISTENING = r"(?:Listening at:|[Rr]unning on) (http://127\.0\.0\.1:\d+)"


class Outcome(NamedTuple):
    answers: list
    status: int
    last_words: list
    left: dict


def general(line):
    """A line without what differs from run to run."""
    for pattern, word in (
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d([.,]\d+)?( [+-]\d{4})?", "TIME"),
        (r"\d\d/\w{3}/\d{4}[ :]\d\d:\d\d:\d\d( [+-]\d{4})?", "TIME"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}", "UUID"),
        (r"127\.0\.0\.1:\d+", "ADDRESS"),
        (r"(\[|pid: )\d+(\]|\))", r"\1PID\2"),
        (r"in \d+\.\d+(e-\d+)?s", "in SECONDS"),
        (r"ForkPoolWorker-\d+", "ForkPoolWorker-N"),
    ):
        line = re.sub(pattern, word, line)
    return line


def prepared(scenario):
    """The scenario's arguments, with a port where the program cannot choose one itself."""
    return [argument.format(port=free_port()) for argument in scenario.arguments]


def play(scenario, interpreter, cwd, **environment):
    """Start, ask, send SIGTERM, and collect."""
    shutil.copytree(APPS, cwd)
    argv = [interpreter] + prepared(scenario)
    with Service(argv, cwd, clean_environment(**environment)) as service:
        service.cwd = cwd
        ready = service.wait_for(scenario.ready, scenario.times)
        if scenario.needs != "celery" and not ready.groups():
            ready = service.wait_for(LISTENING)
        answers, later = scenario.use(service, ready, interpreter)
        if answers:
            # The line about it may come after the answer; it is none of the last words.
            service.wait_for(r'"GET /x |succeeded in')
        said = len(service.lines)
        service.terminate()
        status = service.wait()
        answers = answers + later()
        return Outcome(answers, status, service.lines[said:], service.left_behind())


def available():
    """The frameworks that the Python under test can import, and whether it is Debian's."""
    code = (
        "import importlib.util as u, sys\n"
        f"print({DEBIAN_PACKAGES!r} in sys.path, "
        f"*[name for name in {FRAMEWORKS!r} if u.find_spec(name)])"
    )
    answer = subprocess.run(
        [PYTHON or sys.executable, "-c", code], env=clean_environment(), stdout=subprocess.PIPE, text=True
    ).stdout.split()
    return answer[0] == "True", answer[1:]


IS_DEBIAN, AVAILABLE = available()
APPLYING = [scenario for scenario in SCENARIOS if scenario.needs in AVAILABLE]


@pytest.fixture(scope="module")
def under_stock(tmp_path_factory):
    """How a scenario goes under stock Python; each is played once."""
    played = {}

    def outcome(scenario):
        if scenario.name not in played:
            cwd = tmp_path_factory.mktemp("stock") / "apps"
            # As `python -u`, children included: buffered lines come too late to wait for.
            played[scenario.name] = play(scenario, PYTHON, cwd, PYTHONUNBUFFERED="1")
        return played[scenario.name]

    return outcome


def test_every_framework_is_installed():
    """CI runs Debian's Python with all of them; there a missing one is a failure."""
    missing = sorted(set(FRAMEWORKS) - set(AVAILABLE))
    if IS_DEBIAN and missing:
        assert os.environ.get("PYENTRY_TEST_STRICT") != "1", f"not installed: {missing}"
        pytest.skip(f"not installed: {', '.join(missing)}")


if APPLYING:

    @pytest.mark.parametrize("scenario", APPLYING, ids=[scenario.name for scenario in APPLYING])
    def test_stops_as_under_stock_python(scenario, under_stock, tmp_path):
        stock = under_stock(scenario)
        ours = play(scenario, PYENTRY, tmp_path / "apps")
        assert ours.answers == stock.answers
        assert ours.status == stock.status
        # Lines of several processes come in any order.
        assert sorted(map(general, ours.last_words)) == sorted(map(general, stock.last_words))
        assert ours.left == {}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["executor", "pool"])
def test_worker_processes_clean_up_and_end(kind, method, tmp_path):
    """The standard library's own pools: a worker must not report the exception and take the next task."""
    shutil.copytree(APPS, tmp_path / "apps")
    with Service([PYENTRY, "-m", "pool_app", kind, method], tmp_path / "apps") as service:
        service.wait_for(r"^task \d began$", 2)
        service.terminate()
        assert service.wait() == -15
        assert sorted(service.lines) == [
            "task 0 began",
            "task 0 cleaned up",
            "task 1 began",
            "task 1 cleaned up",
        ]
        assert service.left_behind() == {}


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_new_worker_process_can_be_stopped_at_any_moment(method, tmp_path):
    """SIGTERM right after the fork: the exit code is python's, and the parent's clean-up stays the parent's."""
    shutil.copytree(APPS, tmp_path / "apps")
    with Service([PYENTRY, "-m", "young_workers", method, "300"], tmp_path / "apps") as service:
        assert service.wait() == 0
        assert service.lines == ["{-15: 300}"]


def test_general_hides_nothing_but_what_differs():
    """The comparison above would be worth little if it matched any two lines."""
    assert general("[2026-11-20 10:51:41 +0000] [9007] [INFO] Handling signal: term") == (
        "[TIME] [PID] [INFO] Handling signal: term"
    )
    assert general("worker: Warm shutdown (MainProcess)") == "worker: Warm shutdown (MainProcess)"
    assert general("Task a.b[cbe8f6fb-a7f3-4ea0-93e9-47916ce9d111] succeeded in 0.0012s: 5") == (
        "Task a.b[UUID] succeeded in SECONDS: 5"
    )
    assert general('127.0.0.1 - - [20/Nov/2026:11:24:36 +0000] "GET /slow HTTP/1.1" 200 16') == (
        '127.0.0.1 - - [TIME] "GET /slow HTTP/1.1" 200 16'
    )
