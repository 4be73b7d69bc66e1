"""Every example of docker/examples, on a read-only root, without a capability: it serves, and stops as promised."""

import dataclasses
import json
import pathlib
import re

import pytest

from containers import EXAMPLES, HARDENED, Container, eventually, podman, run


@dataclasses.dataclass
class Example:
    name: str
    ready: str  # says that it is up
    working: str  # says that a request is in work
    goodbye: str  # the last line of a stop that went well
    status: int = 143  # 0: the framework has a handler of its own for SIGTERM, and says that all is well
    idle: float = 1.0  # how long a stop may take when there is nothing to finish


# Its workers with threads look once a second whether they are to stop.
GUNICORN = 2.5
SERVING = [
    Example("hello", r"^hello: listening on", r"^hello: working for", r"^hello: worker stopped after round 0$"),
    Example("hello-debian", r"^hello: listening on", r"^hello: working for", r"^hello: worker stopped after round 0$"),
    Example("hello-scratch", r"^hello: listening on", r"^hello: working for", r"^hello: worker stopped after round 0$"),
    Example("hello-scratch-debian", r"^hello: listening on", r"^hello: working for", r"^hello: worker stopped after round 0$"),
    Example("flask-gunicorn", r"Booting worker", r"^flask: working for", r"Shutting down: Master$", 0, GUNICORN),
    Example("fastapi-uvicorn", r"Uvicorn running on", r"^fastapi: working for", r"Finished server process \[\d+\]$", 0),
    Example("django", r"Booting worker", r"^django: working for", r"Shutting down: Master$", 0, GUNICORN),
]
each = pytest.mark.parametrize("example", SERVING, ids=lambda example: example.name)


@pytest.fixture
def serving(start):
    def serving(example, **options):
        container = start(example.name, options=[*HARDENED, *options.pop("options", [])], **options)
        container.wait_for(example.ready)
        eventually("an answer", container.answers)
        return container

    return serving


@each
def test_stops_at_once_when_idle(serving, example):
    container = serving(example)
    took = container.stop()
    assert container.status() == example.status
    assert re.search(example.goodbye, container.lines()[-1]), container.log()
    assert took < example.idle, f"{took:.2f} s:\n{podman('logs', '--timestamps', container.id).stdout}"


@each
def test_finishes_the_request_in_work(serving, example):
    container = serving(example)
    answer = container.get_in_background("/slow?s=2")
    container.wait_for(example.working)
    container.stop()
    assert answer()[0] == 200
    assert container.status() == example.status
    assert re.search(example.goodbye, container.lines()[-1]), container.log()


@each
def test_term_status(serving, example):
    container = serving(example, env={"PYENTRY_TERM_STATUS": "0"})
    container.stop()
    assert container.status() == 0


@each
def test_as_cloud_run_starts_it(serving, example):
    """$PORT is listened to on every address, and the stop stays far below the ten seconds."""
    environment = {"PORT": "9876", "K_SERVICE": "hello", "K_REVISION": "hello-1", "K_CONFIGURATION": "hello"}
    container = Container(example.name, options=HARDENED, env=environment)
    with container:
        container.wait_for(example.ready)
        eventually("an answer on $PORT", lambda: container.answers(port=9876))
        table = pathlib.Path(f"/proc/{container.pid()}/net/tcp").read_text()
        assert f"00000000:{9876:04X}" in table or has_ipv6_listener(container, 9876), table
        assert container.stop() < 10.0
        assert container.status() == example.status


@pytest.mark.parametrize("image", ["pyentry", "pyentry-debian"])
def test_on_cloud_run_a_traceback_is_one_entry(image):
    status, log = run(image, "-c", "1 / 0", env={"K_SERVICE": "hello", "PORT": "8080"})
    assert status == 1
    entry = json.loads(log)
    assert entry["severity"] == "ERROR"
    assert entry["message"].splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_a_job_of_cloud_run_that_is_killed_says_so_in_one_entry():
    status, log = run("pyentry", "-c", "import os; os.kill(os.getpid(), 9)", env={"CLOUD_RUN_JOB": "job"})
    assert status == 137
    assert json.loads(log)["message"].startswith("pyentry: Python was ended by signal 9 (Killed)"), log


def has_ipv6_listener(container, port):
    table = pathlib.Path(f"/proc/{container.pid()}/net/tcp6").read_text()
    return f"{'0' * 32}:{port:04X}" in table


def test_podmans_seccomp_profile_is_on():
    """2 is a filter."""
    assert run("pyentry", "-c", "print(*[line for line in open('/proc/self/status') if 'Seccomp:' in line])")[1] == "Seccomp:\t2\n\n"


def test_nothing_is_written(start):
    """The read-only root is one: without podman's tmpfs there is no /tmp to write to."""
    container = start("hello", "-c", "open('/tmp/x', 'w')", options=HARDENED)
    status, log = container.wait()
    assert status == 1
    assert log.splitlines()[-1].startswith("OSError: [Errno 30] Read-only file system"), log


### celery

@pytest.fixture
def redis(start):
    server = start("redis", options=["--publish-all=false"])
    server.wait_for("Ready to accept connections")
    return server


@pytest.fixture
def celery(start, redis):
    """A worker in the network of its redis."""
    def worker(**environment):
        environment = {"REDIS_URL": "redis://127.0.0.1:6379/0", **environment}
        container = start("celery-worker", options=[*HARDENED, f"--network=container:{redis.id}"], env=environment)
        container.wait_for(r"celery@\S+ ready\.$")
        return container

    return worker


def send(worker, seconds):
    """Ask for a task in another process of the worker's container; its answer is waited for by result()."""
    code = f"import tasks; print(tasks.work.delay({seconds!r}).id)"
    return worker.exec("python3", "-c", code).split()[-1]


def test_celery_stops_when_idle(celery):
    worker = celery()
    took = worker.stop()
    assert worker.status() == 0
    assert "worker: Warm shutdown (MainProcess)" in worker.log()
    assert took < 5.0, took  # its own: it looks for the end of its pool's threads once a second


def test_celery_finishes_the_task_in_work(celery, redis):
    worker = celery()
    task = send(worker, 2.0)
    worker.wait_for(r"celery: working for 2 s$")
    worker.stop(20)
    assert worker.status() == 0
    assert re.search(rf"Task tasks\.work\[{task}\] succeeded", worker.log()), worker.log()
    assert '"status": "SUCCESS"' in redis.exec("redis-cli", "get", f"celery-task-meta-{task}")


def test_celery_has_a_worker_for_each_cpu_of_the_container(celery, redis):
    worker = celery(PYENTRY_CPUS="3")
    assert re.search(r"concurrency: 3 \(prefork\)", worker.log()), worker.log()


### The job

@pytest.fixture
def checkpoints(tmp_path):
    tmp_path.chmod(0o777)
    return tmp_path


def job(start, checkpoints, **environment):
    environment = {"CHECKPOINT_DIR": "/checkpoints", **environment}
    return start("batch-job", options=[*HARDENED, f"--volume={checkpoints}:/checkpoints"], env=environment)


def test_the_job_runs_to_its_end(start, checkpoints):
    cloud = {"CLOUD_RUN_JOB": "job", "CLOUD_RUN_TASK_INDEX": "1", "CLOUD_RUN_TASK_COUNT": "3"}
    status, log = job(start, checkpoints, ITEMS="10", SECONDS_PER_ITEM="0.01", **cloud).wait()
    assert (status, log.splitlines()) == (0, [
        "job: task 1 of 3 begins at item 1", "job: task 1 of 3: checkpoint at item 10", "job: task 1 of 3 is done",
    ])


def test_the_job_goes_on_where_it_was_stopped(start, checkpoints):
    first = job(start, checkpoints, ITEMS="1000", SECONDS_PER_ITEM="0.05")
    first.wait_for("begins at item 0")
    eventually("some work", lambda: "task-0" in [path.name for path in checkpoints.iterdir()])
    assert first.stop() < 1.0
    assert first.status() == 143
    reached = int(re.fullmatch(r"job: task 0 of 1: checkpoint at item (\d+)", first.lines()[-1])[1])
    assert reached >= 20
    status, log = job(start, checkpoints, ITEMS=str(reached + 1), SECONDS_PER_ITEM="0.01").wait()
    assert status == 0
    assert log.splitlines()[0] == f"job: task 0 of 1 begins at item {reached}"


def test_a_job_that_is_stopped_may_count_as_a_success(start, checkpoints):
    container = job(start, checkpoints, ITEMS="1000", SECONDS_PER_ITEM="0.05", PYENTRY_TERM_STATUS="0")
    container.wait_for("begins at item 0")
    container.stop()
    assert container.status() == 0
    assert "checkpoint at item" in container.lines()[-1]


### Their texts

def test_every_example_is_tested():
    tested = {example.name for example in SERVING} | {"celery-worker", "batch-job"}
    assert {path.name for path in EXAMPLES.iterdir()} == {re.sub("-(scratch|debian)", "", name) for name in tested}


@pytest.mark.parametrize("path", sorted(EXAMPLES.parent.rglob("Dockerfile*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_dockerfiles_keep_the_rules(path):
    """Exec form everywhere, nobody's user at the end, and nothing that pyentry makes superfluous."""
    text = path.read_text()
    for word in ("PYTHONUNBUFFERED", "tini", "dumb-init", "curl", "/bin/sh"):
        assert word not in text
    for line in text.splitlines():
        if line.startswith(("CMD", "ENTRYPOINT", "HEALTHCHECK CMD")):
            assert "[" in line, line
    users = re.findall(r"^USER (.*)", text, re.MULTILINE)
    assert users[-1:] in ([], ["65532:65532"])
