"""Start after start from a snapshot, as nobody, under a limit: each is right, and few have to begin anew.

    PYENTRY_STARTS=5000 ... pytest -s tests/system/test_snapshot_many.py

is the long form, for a change in how memory is put in place; its last result stands in docs/snapshots.md."""

import collections
import os

import pytest

from harness import PYENTRY, clean_env, run, stock_can
from snapshots import NOBODY, can_be_run_by_nobody, needed, open_path, take

pytestmark = [needed, pytest.mark.skipif(os.getuid() != 0, reason="needs root to become nobody")]

LONG = "PYENTRY_STARTS" in os.environ
STARTS = int(os.environ.get("PYENTRY_STARTS", "20"))

# name: what must be installed, the module that is preloaded, and an expression in it
APPS = {
    "hello": ("json", "import json", "json.loads('[1, 2]')"),
    "flask": ("flask", "import flask\napp = flask.Flask('app')\napp.route('/')(lambda: 'well')",
              "app.url_map.bind('here').match('/')"),
    "fastapi": ("fastapi, uvicorn", "import fastapi, uvicorn\napp = fastapi.FastAPI()\n"
                "@app.get('/')\nasync def hello(): return 'well'",
                "uvicorn.__name__ + app.url_path_for('hello')"),
    "django": ("django", "import django.conf\ndjango.conf.settings.configure(SECRET_KEY='k', INSTALLED_APPS=["
               "'django.contrib.auth', 'django.contrib.contenttypes'])\ndjango.setup()\n"
               "import django.http, django.contrib.auth.models",
               "django.http.HttpResponse('well').content"),
    "numpy": ("numpy", "import numpy", "int((numpy.ones((9, 9)) @ numpy.ones((9, 9))).sum())"),
}

# The kernel notes by which name a program was begun: /proc/self/exe is what pyentry begins anew by.
REPORT = """
import prepared, struct
with open("/proc/self/auxv", "rb") as file:
    name = dict(struct.iter_unpack("QQ", file.read()))[31]
with open("/proc/self/mem", "rb") as file:
    file.seek(name)
    again = file.read(14) == b"/proc/self/exe"
print(eval({!r}, vars(prepared)), "again" if again else "")
"""

LOOP = """ulimit -v 4000000
i=0
while [ $i -lt "$1" ]; do "$2" --restore-or-fail --restore="$3" -c "$4" || echo "status $?"; i=$((i + 1)); done"""


@pytest.mark.parametrize("name", APPS)
def test_one_after_the_other(name, open_path, capsys):
    needs, text, expression = APPS[name]
    if not stock_can(f"import {needs}"):
        pytest.skip(f"no {needs}")
    if not can_be_run_by_nobody():
        pytest.skip("this libpython lies where nobody else can read it")
    (open_path / "prepared.py").write_text(text)
    take(open_path / "a.snap", "--mode=0644", "--preload=prepared,struct", cwd=open_path, env=clean_env())
    done = run([*NOBODY, "sh", "-c", LOOP, "sh", str(STARTS), PYENTRY, open_path / "a.snap", REPORT.format(expression)],
               cwd=open_path, timeout=60 + STARTS)
    lines = collections.Counter(done.stdout.decode().splitlines())
    again = sum(count for line, count in lines.items() if line.endswith(" again"))
    assert done.stderr == b"" and sum(lines.values()) == STARTS
    assert len({line.removesuffix("again") for line in lines}) == 1, lines
    if LONG:
        with capsys.disabled():
            print(f"\n{name}: {STARTS} starts, {again} of them began anew")
    assert again <= 1 + STARTS // 500
