"""Snapshots in images: taken by a RUN of podman build under its seccomp profile, started from on a read-only root, by a
user without a capability, as PID 1. Each serves as it does without one, or does not start at all (restore-or-fail)."""

import re

import pytest

from containers import HARDENED, eventually, podman, run
from test_examples import SERVING, redis, send  # noqa: F401  (redis: a fixture)

# Two is what the kernel calls a filter: a build without one would prove nothing. User and environment are those of a
# start: gunicorn keeps the one; a shell would set PWD, and a build has another HOME and no TERM.
DOCKERFILE = """
FROM {example}
USER root
RUN grep -q '^Seccomp:.*2$' /proc/self/status && mkdir /snapshot && chown 65532:65532 /snapshot
USER 65532:65532
RUN ["env", "HOME=/app", "TERM=xterm", "pyentry", "--snapshot", "-o", "/snapshot/app", "--preload", "{preload}"]
ENV PYENTRY_RESTORE=/snapshot/app PYENTRY_RESTORE_OR_FAIL=on
"""

GUNICORN = "gunicorn.app.wsgiapp,gunicorn.workers.gthread"
PRELOADED = {
    "hello": "http.server,concurrent.futures",
    "flask-gunicorn": f"{GUNICORN},app",
    "fastapi-uvicorn": "fastapi,uvicorn,uvicorn.protocols.http.auto,uvicorn.loops.auto,uvicorn.lifespan.on",
    "django": f"{GUNICORN},mysite.wsgi,mysite.urls",
    "celery-worker": "celery.__main__,celery.bin.celery,celery.bin.worker,celery.concurrency.prefork,kombu.transport.redis",
}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """image(example): one like it, with a snapshot."""
    directory = tmp_path_factory.mktemp("snapshot")

    def image(example):
        path, name = directory / f"{example}.Dockerfile", f"test-snapshot-{example}"
        if not path.exists():
            path.write_text(DOCKERFILE.format(example=example, preload=PRELOADED[example]))
            podman("build", "--tag", name, f"--file={path}", str(directory), timeout=300)
        return name

    yield image
    for path in directory.iterdir():
        podman("rmi", "--force", f"test-snapshot-{path.stem}")


@pytest.mark.parametrize("example", [example for example in SERVING if example.name in PRELOADED], ids=lambda one: one.name)
def test_serves_reloads_and_stops(image, start, example):
    container = start(image(example.name), options=HARDENED)
    container.wait_for(example.ready)
    eventually("an answer", container.answers)
    if "gunicorn" in PRELOADED[example.name]:
        before = len(re.findall(example.ready, container.log()))
        container.kill("HUP")
        container.wait_for(example.ready, times=before + 1)
        eventually("an answer after the reload", container.answers)
    answer = container.get_in_background("/slow?s=1")
    container.wait_for(example.working)
    container.stop()
    assert answer()[0] == 200
    assert container.status() == example.status
    assert re.search(example.goodbye, container.lines()[-1]), container.log()
    assert "pyentry:" not in container.log()


def test_celery(image, start, redis):  # noqa: F811
    options = [*HARDENED, f"--network=container:{redis.id}"]
    worker = start(image("celery-worker"), options=options, env={"REDIS_URL": "redis://127.0.0.1:6379/0"})
    worker.wait_for(r"celery@\S+ ready\.$")
    task = send(worker, 1.0)
    worker.wait_for(r"celery: working for 1 s$")
    worker.stop(20)
    assert worker.status() == 0
    assert re.search(rf"Task tasks\.work\[{task}\] succeeded", worker.log()), worker.log()


def test_terminated(image):
    """SIGTERM is PID 1's Terminated; the status that of a process that it ended."""
    code = "import os, signal; os.kill(os.getppid(), signal.SIGTERM); signal.pause()"
    assert run(image("hello"), "-c", f"try:\n    {code}\nfinally: print('bye')", options=HARDENED) == (143, "bye\n")
