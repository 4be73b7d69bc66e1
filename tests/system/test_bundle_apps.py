"""The servers people run, each from one bundle: a real answer, with nothing of Python's in reach, and an end as ever.

The root is read-only, /tmp is noexec, there is no HOME and no TMPDIR. The frameworks are Debian's packages.
"""

import os
import shutil
import signal

import pytest

from bundling import FORMS, build_as, files_of, out_of_reach, vendor, whole
from harness import run, until, write_tree
from serving import DEADLINE, Service, clean_environment, free_port
from test_frameworks import APPS, AT_DJANGO, IS_DEBIAN, LISTENING, RUNNING, get

PACKAGES = (
    "flask", "werkzeug", "jinja2", "markupsafe", "itsdangerous", "click", "django", "asgiref", "sqlparse", "pytz",
    "fastapi", "starlette", "pydantic", "anyio", "sniffio", "idna", "typing_extensions", "uvicorn", "h11", "gunicorn",
    "pkg_resources", "packaging", "celery", "kombu", "vine", "amqp", "billiard", "click_didyoumean", "click_plugins",
    "click_repl", "prompt_toolkit", "wcwidth", "six", "numpy", "cryptography", "_cffi_backend",
)

FILES = {
    # The first argument names the module that is the program: one bundle serves all of these tests.
    "serve.py": "import runpy, sys\ndel sys.argv[0]\nrunpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n",
    "fastapi_app.py": """\
import fastapi
app = fastapi.FastAPI()

@app.get("/{name}")
def page(name: str, times: int = 1):
    return {"hello": name * times}
""",
    "site_app.py": """\
SECRET_KEY = "for a test"
DEBUG = True
ROOT_URLCONF = "site_urls"
ALLOWED_HOSTS = ["*"]
STATIC_URL = "/static/"
INSTALLED_APPS = ["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
                  "django.contrib.messages", "django.contrib.staticfiles", "pages"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware",
              "django.contrib.messages.middleware.MessageMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {
    "context_processors": ["django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
                           "django.contrib.messages.context_processors.messages"]}}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
""",
    "site_urls.py": """\
from django.contrib import admin
from django.contrib.staticfiles import finders
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls), path("page", lambda request: render(request, "pages/page.html", {"who": "you"})),
               path("found", lambda request: HttpResponse(str(finders.find("admin/css/base.css"))))]
""",
    "pages/__init__.py": "",
    "pages/templates/pages/page.html": "<p>hello {{ who }}</p>\n",
    "computing.py": """\
import numpy, numpy.linalg
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import ec
key = Fernet(Fernet.generate_key())
curve = ec.generate_private_key(ec.SECP256R1())
a = numpy.arange(9.0).reshape(3, 3) + numpy.eye(3)
print(key.decrypt(key.encrypt(b"secret")).decode(), curve.key_size, round(float(numpy.linalg.det(a)), 6),
      numpy.__file__.count(".so"), (a @ a).sum())
""",
}

pytestmark = pytest.mark.skipif(not IS_DEBIAN, reason="the frameworks are Debian's, for Debian's Python")

# In a mount namespace: a root that cannot be written to, but for /tmp (noexec) and the current directory.
BARE = """
mount --make-rprivate / && mount -t tmpfs none /run && mkdir /run/bundle /run/work &&
mount --bind "$1" /run/bundle && mount --bind "$2" /run/work && mount -t tmpfs -o noexec none /tmp &&
mount -o remount,ro,bind / && cd /run/work && unset HOME TMPDIR && shift 2 && exec "$@"
"""


@pytest.fixture(scope="module", params=FORMS)
def bundle(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("apps")
    write_tree(folder / "src", FILES)
    vendor(folder / "vendor", *PACKAGES)
    (folder / "out").mkdir()
    program = build_as(request.param, folder / "out" / "app", "-m", "serve", "--stdlib", "--exclude", "tests",
                       "--exclude", "locale/[a-df-z]*", folder / "src", folder / "vendor", APPS)
    shutil.rmtree(folder / "vendor")
    return program


def inside(bundle, path):
    """Where command() puts what lies in the directory that was written to."""
    return f"/run/bundle/{path.relative_to(whole(bundle).parent)}"


def command(bundle, cwd, *arguments):
    return [*out_of_reach("/usr/lib/python3.11"), "unshare", "--mount", "/bin/sh", "-c", BARE, "sh",
            str(whole(bundle).parent), str(cwd), inside(bundle, bundle), *arguments]


def serve(bundle, tmp_path, *arguments):
    return Service(command(bundle, tmp_path, *arguments), "/", clean_environment())


def stopped(service, status=-signal.SIGTERM):
    service.terminate()
    assert service.wait() == status, service.text()
    assert service.left_behind() == {}


def test_flask(bundle, tmp_path):
    with serve(bundle, tmp_path, "flask", "--app", "flask_app", "run", "-p", "0") as service:
        address = service.wait_for(RUNNING).group(1)
        assert get(address + "/x") == (200, "hello from /x")
        stopped(service)


@pytest.mark.parametrize("worker", ["sync", "gthread", "uvicorn.workers.UvicornWorker"])
def test_gunicorn(bundle, tmp_path, worker):
    app = "asgi_app:app" if "uvicorn" in worker else "flask_app:app"
    with serve(bundle, tmp_path, "gunicorn", "-b", "127.0.0.1:0", "-w", "2", "-k", worker, app) as service:
        service.wait_for("Booting worker", 2)
        address = service.wait_for(LISTENING).group(1)
        assert get(address + "/x") == (200, "hello from /x")
        stopped(service, 0)


def test_gunicorn_starts_itself_again(bundle, tmp_path):
    """SIGUSR2: a new master, by sys.executable and sys.argv."""
    with serve(bundle, tmp_path, "gunicorn", "-b", "127.0.0.1:0", "-p", "pid", "flask_app:app") as service:
        service.wait_for("Booting worker")
        address = service.wait_for(LISTENING).group(1)
        service.terminate(signal.SIGUSR2)
        service.wait_for("Booting worker", 2)
        assert get(address + "/x") == (200, "hello from /x")
        new = int((tmp_path / "pid.2").read_text())
        os.kill(new, signal.SIGTERM)
        stopped(service, 0)


def test_fastapi_with_uvicorn(bundle, tmp_path):
    with serve(bundle, tmp_path, "uvicorn", "fastapi_app:app", "--port", "0") as service:
        address = service.wait_for(RUNNING).group(1)
        assert get(address + "/you?times=2") == (200, '{"hello":"youyou"}')
        assert '"title":"FastAPI"' in get(address + "/openapi.json")[1]
        stopped(service, 0)


def test_django_with_templates_and_admin(bundle, tmp_path):
    with serve(bundle, tmp_path, "django", "runserver", "--noreload", "--settings", "site_app", str(free_port())) as service:
        ready = service.wait_for(AT_DJANGO)
        until(lambda: answers(ready.group(1)), "an answer", DEADLINE)
        address = ready.group(1)
        assert get(address + "/page") == (200, "<p>hello you</p>\n")
        assert get(address + "/found")[1] == inside(bundle, files_of(bundle)) + "/django/contrib/admin/static/admin/css/base.css"
        status, css = get(address + "/static/admin/css/base.css")
        assert status == 200 and "body" in css
        assert "csrfmiddlewaretoken" in get(address + "/admin/login/")[1]
        stopped(service)


def answers(address):
    try:
        return get(address + "/page")
    except OSError:
        return None


def test_celery(bundle, tmp_path):
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    arguments = ("celery", "-A", "celery_app", "worker", "-l", "info", "-c", "2", *alone)
    with serve(bundle, tmp_path, *arguments) as service:
        service.wait_for(r" ready\.$")
        code = f"import celery_app; print(celery_app.add.delay(2, 3).get(timeout={DEADLINE}))"
        done = run(command(bundle, tmp_path, "-c", code), env=clean_environment(), timeout=DEADLINE)
        assert done.stdout == b"5\n", done.stderr
        stopped(service, 0)


def test_numpy_and_cryptography_compute(bundle, tmp_path):
    done = run(command(bundle, tmp_path, "computing"), env=clean_environment())
    assert done.stdout == b"secret 256 -5.0 0 561.0\n", done.stdout + done.stderr


def test_versions_and_plugins_are_found(bundle, tmp_path):
    """importlib.metadata and pkg_resources, over the frameworks' own metadata."""
    code = ("import importlib.metadata as m, pkg_resources as p; print(m.version('flask'), m.version('Django'),"
            " p.get_distribution('celery').version, p.resource_exists('django', 'contrib/admin/static/admin/css/base.css'),"
            " sorted(e.name for e in m.entry_points(group='console_scripts') if e.name in ('flask', 'celery')))")
    done = run(command(bundle, tmp_path, "-W", "ignore", "-c", code), env=clean_environment())
    assert done.stdout == b"2.2.2 3.2.25 5.2.6 True ['celery', 'flask']\n", done.stderr


def test_its_standard_library_serves(bundle, tmp_path):
    with serve(bundle, tmp_path, "http.server", "--bind", "127.0.0.1", "0") as service:
        address = service.wait_for(r"\((http://127\.0\.0\.1:\d+)/\)").group(1)
        assert get(address + "/")[0] == 200
        stopped(service)


