"""The servers people run, from a snapshot: each answers and stops as without one, in scenarios of test_frameworks."""

import os
import shutil
import signal

import pytest

from harness import PYENTRY, first_child
from serving import Service, clean_environment
from snapshots import needed, take
from test_frameworks import APPLYING, APPS, AVAILABLE, general, get, gunicorn, play

pytestmark = needed

# What is imported before the snapshot, by the framework that a scenario needs.
PRELOADED = {
    "gunicorn": "gunicorn.app.wsgiapp,gunicorn.workers.sync,gunicorn.workers.gthread,wsgi_app",
    "uvicorn": "gunicorn.app.wsgiapp,uvicorn.workers,uvicorn.__main__,asgi_app",
    "celery": "celery.__main__,celery.bin.celery,celery.concurrency.prefork,celery.concurrency.solo",
    "django": "django.core.management.commands.runserver,django.contrib.staticfiles.handlers",
    "flask": "flask.cli,flask_app",
    "numpy": "numpy,http.server",
}
PLAYED = [scenario for scenario in APPLYING if scenario.name in (
    "gunicorn-sync", "gunicorn-gthread-in-work", "gunicorn-uvicorn", "uvicorn", "celery-solo", "celery-prefork",
    "django", "flask", "numpy")]


@pytest.fixture(scope="module")
def snapshot_of(tmp_path_factory):
    taken = {}

    def path(framework):
        if framework not in taken:
            directory = tmp_path_factory.mktemp(framework)
            shutil.copytree(APPS, directory / "apps")
            take(directory / "a.snap", "--preload", PRELOADED[framework], env=clean_environment(),
                 cwd=directory / "apps")
            taken[framework] = directory / "a.snap"
        return taken[framework]

    return path


if PLAYED:

    @pytest.mark.parametrize("scenario", PLAYED, ids=[scenario.name for scenario in PLAYED])
    def test_serves_and_stops(scenario, snapshot_of, tmp_path):
        fresh = play(scenario, PYENTRY, tmp_path / "fresh", PYENTRY_RESTORE=str(snapshot_of(scenario.needs)),
                     PYENTRY_RESTORE_OR_FAIL="on")
        plain = play(scenario, PYENTRY, tmp_path / "plain")
        assert (fresh.answers, fresh.status, fresh.left) == (plain.answers, plain.status, {})
        assert sorted(map(general, fresh.last_words)) == sorted(map(general, plain.last_words))


    @pytest.mark.skipif("gunicorn" not in AVAILABLE, reason="no gunicorn")
    def test_gunicorn_as_pid_1(snapshot_of, pid_one, tmp_path):
        """Two workers, a reload by SIGHUP, an answer before and after, and a stop that ends with 0."""
        shutil.copytree(APPS, tmp_path / "apps")
        command = [*pid_one, PYENTRY, "--restore-or-fail", f"--restore={snapshot_of('gunicorn')}",
                   *gunicorn("-w", "2", "wsgi_app:app")]
        with Service(command, tmp_path / "apps", clean_environment()) as service:
            address = service.wait_for(r"Listening at: (http://127\.0\.0\.1:\d+)").group(1)
            service.wait_for("Booting worker", 2)
            before = get(address + "/x")
            os.kill(first_child(service.process.pid), signal.SIGHUP)
            service.wait_for("Booting worker", 4)
            assert get(address + "/x") == before
            os.kill(first_child(service.process.pid), signal.SIGTERM)
            assert service.wait() == 0
            assert service.left_behind() == {}
