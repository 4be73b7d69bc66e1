"""HEALTHCHECK of the image, asked by podman as Docker asks by itself."""

import json
import signal

import pytest

from containers import eventually, podman, probes


def check(container):
    """podman healthcheck run: 0 is healthy."""
    return podman("healthcheck", "run", container.id, check=False).returncode


def word(container):
    return container.inspect()["State"]["Health"]["Status"]


@pytest.mark.parametrize("image", ["hello", "hello-debian", "flask-gunicorn", "fastapi-uvicorn", "django"])
def test_turns_healthy(start, image):
    container = start(image, options=["--env=PORT=9876"])
    eventually("an answer", lambda: container.answers(port=9876))
    assert check(container) == 0
    assert word(container) == "healthy"


def test_turns_unhealthy_when_the_service_hangs(start):
    # The image's own command, without its period of grace for the start.
    image = json.loads(podman("image", "inspect", "hello").stdout)[0]["Healthcheck"]["Test"]
    assert image[0] == "CMD"
    options = [f"--health-cmd={json.dumps(image[1:])}", "--health-start-period=0s", "--health-retries=3"]
    container = start("hello", options=[*probes(), *options])
    eventually("an answer", container.answers)
    assert check(container) == 0
    python = next(int(pid) for pid, (_, parent, _) in container.processes().items() if parent == 1)
    container.exec("python3", "-c", f"import os; os.kill({python}, {signal.SIGSTOP:d})")
    results = [check(container) for _ in range(3)]
    assert results == [1, 1, 1]
    assert word(container) == "unhealthy"
    said = container.inspect()["State"]["Health"]["Log"][-1]["Output"]
    assert said.startswith("pyentry: ") and len(said.splitlines()) == 1, said
