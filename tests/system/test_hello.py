"""docker/examples/hello, the service that `./bootstrap run` starts."""

import pathlib
import signal
import socket
import threading
import urllib.error
import urllib.request

import pytest

from harness import PYENTRY
from serving import DEADLINE, Service, clean_environment

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "docker" / "examples" / "hello"


class Hello:
    def __init__(self, service):
        self.service = service
        line = service.wait_for(r"^hello: listening on (http://127\.0\.0\.1:\d+/)")
        self.url = line.group(1)

    def get(self, path=""):
        with urllib.request.urlopen(self.url + path, timeout=DEADLINE) as answer:
            return answer.status, answer.read().decode()

    def get_in_background(self, path):
        """Start a request; what comes back is a function that waits for its answer."""
        answers = []

        def ask():
            try:
                answers.append(self.get(path))
            except Exception as error:
                answers.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()

        def answer():
            thread.join(DEADLINE)
            assert answers, "no answer came"
            if isinstance(answers[0], Exception):
                raise answers[0]
            return answers[0]

        return answer


@pytest.fixture
def start():
    services = []

    def start(**environment):
        # Nothing is written into the source tree, which may be read-only.
        environment = {"PORT": "0", "TICK": "3600", "PYTHONDONTWRITEBYTECODE": "1", **environment}
        service = Service([PYENTRY, "-m", "hello"], EXAMPLE, clean_environment(**environment))
        services.append(service)
        return Hello(service)

    yield start
    for service in services:
        service.__exit__(None, None, None)


def test_says_hello(start):
    assert start().get() == (200, "Hello from Python, by way of pyentry.\n")


@pytest.mark.parametrize(
    "path, status", [("nowhere", 404), ("slow?s=x", 400), ("slow?s=-1", 400), ("slow?s=61", 400), ("slow?s=nan", 400)]
)
def test_refuses(start, path, status):
    with pytest.raises(urllib.error.HTTPError) as refusal:
        start().get(path)
    assert refusal.value.code == status


def test_each_line_is_in_the_pipe_while_the_service_runs(start):
    """stdout is a pipe here; a buffered Python would write nothing before its end."""
    hello = start(TICK="0.05")
    hello.get()
    hello.service.wait_for(r'^hello: 127\.0\.0\.1 "GET / HTTP/1\.1" 200 -$')
    hello.service.wait_for(r"^hello: worker: round 3$")
    assert hello.service.process.poll() is None


def test_sigterm_finishes_the_request_in_work_and_stops_the_worker(start):
    hello = start(TICK="0.05")
    answer = hello.get_in_background("slow?s=2")
    hello.service.wait_for(r"^hello: working for 2 s$")
    hello.service.wait_for(r"^hello: worker: round 1$")
    hello.service.terminate()
    assert answer() == (200, "Done after 2 s of work.\n")
    assert hello.service.wait() == -15
    assert [line for line in hello.service.lines if "worker: round" not in line][-3:] == [
        'hello: 127.0.0.1 "GET /slow?s=2 HTTP/1.1" 200 -',
        "hello: every request is answered",
        f"hello: worker stopped after round {len(hello.service.matches('worker: round'))}",
    ]
    assert hello.service.left_behind() == {}


def test_a_silent_connection_does_not_hold_up_the_stop(start):
    hello = start()
    port = int(hello.url.rstrip("/").rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)):
        hello.get()
        hello.service.terminate()
        assert hello.service.wait() == -15


def test_ctrl_c_stops_it_too(start):
    hello = start()
    hello.service.terminate(signal.SIGINT)
    assert hello.service.wait() == 0
    assert hello.service.lines[-3:] == [
        "hello: Ctrl-C",
        "hello: every request is answered",
        "hello: worker stopped after round 0",
    ]


def test_a_taken_port_is_an_error_and_nothing_is_left(start):
    hello = start()
    port = hello.url.rstrip("/").rsplit(":", 1)[1]
    environment = clean_environment(PORT=port, PYTHONDONTWRITEBYTECODE="1")
    with Service([PYENTRY, "-m", "hello"], EXAMPLE, environment) as second:
        assert second.wait() == 1
        expected = f"hello: port {port}: Address already in use. With another one: PORT=18080 ./bootstrap run"
        assert [line.split(",")[0] for line in second.lines] == [expected]
        assert second.left_behind() == {}


def test_every_line_of_the_readme_log_is_printed(start):
    """The log in the README is what the service really says."""
    readme = (EXAMPLE / "README.md").read_text()
    shown = [line.strip() for line in readme.splitlines() if line.startswith("    hello: ")]
    assert len(shown) == 6
    hello = start(TICK="0.05")
    hello.get()
    answer = hello.get_in_background("slow?s=0.5")
    hello.service.wait_for(r"^hello: working for 0\.5 s$")
    hello.service.wait_for(r"^hello: worker: round 1$")
    hello.service.terminate()
    answer()
    hello.service.wait()

    def general(line):
        line = line.replace("s=0.5", "s=5").replace("0.5 s", "5 s")
        line = line.replace(hello.url, "http://127.0.0.1:8080/")
        return "hello: worker stopped after round" if "worker stopped" in line else line

    said = [general(line) for line in hello.service.lines if "worker: round" not in line]
    assert said == [general(line) for line in shown]
