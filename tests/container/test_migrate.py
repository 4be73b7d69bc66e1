"""docs/migrate.md: what it says to write after the change is built, and runs."""

import re

import pytest

from containers import TOP, podman, run

TEXT = (TOP / "docs" / "migrate.md").read_text()
AFTER = re.findall(r"```dockerfile\n(FROM pyentry\b.*?)```", TEXT, re.DOTALL)
APP = "import sys\nprint('app runs', sys.argv[1:])\n"
WSGI = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'served']\n"


def test_each_part_has_its_after():
    assert len(AFTER) == TEXT.count("\nBefore") == 5


@pytest.mark.parametrize("number", range(len(AFTER)))
def test_what_it_says_runs(tmp_path, number, start):
    """`app` is a package of the reader's; where gunicorn serves it, it is a WSGI application."""
    name = f"test-migrate-{number}"
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text(APP)
    (tmp_path / "app" / "__init__.py").write_text(WSGI)
    (tmp_path / "Dockerfile").write_text(AFTER[number])
    podman("build", "--tag", name, str(tmp_path))
    try:
        if "gunicorn" in AFTER[number]:
            container = start(name, env={"PORT": "9000"})
            container.wait_for(r"Listening at: http://0\.0\.0\.0:9000")
            assert container.get("/", port=9000) == (200, "served")
            container.__exit__()
        else:
            assert run(name) == (0, "app runs []\n")
    finally:
        podman("rmi", "--force", name)


def test_the_variables_that_it_names_are_options():
    helped = run("pyentry", "--help")[1]
    for name in set(re.findall(r"PYENTRY_([A-Z_]+)", TEXT)):
        assert f"--{name.lower().replace('_', '-')}=" in helped, name
