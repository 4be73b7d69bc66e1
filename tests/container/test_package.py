"""The Debian package, installed where there is no Python."""

from containers import EXAMPLES, HARDENED, eventually, run


def test_it_brings_its_python_and_no_python3():
    code = "import shutil, ssl, sqlite3, sys; print(sys.prefix, sys.executable, shutil.which('python3'))"
    assert run("package", "-c", code) == (0, "/usr /usr/bin/pyentry None\n")


def test_libpython_is_the_distributions():
    code = "print(*sorted({line.split()[-1] for line in open('/proc/self/maps') if 'libpython' in line}))"
    status, log = run("package", "-c", code)
    assert status == 0
    assert log.startswith("/usr/lib/") and log.count("libpython") == 1


def test_it_is_the_same_version_as_the_image():
    assert run("package", "--version") == run("pyentry-debian", "--version")


def test_it_serves_and_stops(start):
    volume = [f"--volume={EXAMPLES / 'hello'}:/app:ro", "--workdir=/app"]
    container = start("package", "-m", "hello", options=[*HARDENED, *volume])
    eventually("an answer", container.answers)
    assert container.stop() < 1.0
    assert container.status() == 143
