"""A bundle: one file in an image without Python, with nothing to write to."""

import pytest

from containers import EXAMPLES, HARDENED, eventually, podman, run

# libexpat1 is what Debian's static libpython links with, and the smallest Debian lacks.
DOCKERFILE = """
FROM pyentry-debian AS build
USER root
COPY hello src/hello
RUN pyentry --bundle -o /hello.bundle -m hello --stdlib src

FROM debian
RUN apt-get update && apt-get install -y --no-install-recommends libexpat1
COPY --from=build /hello.bundle /
USER 65532:65532
ENTRYPOINT ["/hello.bundle"]
"""
NAME = "test-bundle"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "Dockerfile"
    path.write_text(DOCKERFILE)
    podman("build", "--layers", "--tag", NAME, f"--file={path}", str(EXAMPLES / "hello"), timeout=300)
    yield NAME
    podman("rmi", "--force", NAME)


def test_there_is_no_python_beside_it(image):
    assert run(image, "-c", "import shutil, sys; print(shutil.which('python3'), sys.executable)", options=HARDENED) == (
        0, "None /hello.bundle\n")


def test_it_serves_and_stops(image, start):
    container = start(image, options=HARDENED)
    eventually("an answer", container.answers)
    answer = container.get_in_background("/slow?s=1")
    container.wait_for("^hello: working for 1 s$")
    container.stop()
    assert answer()[0] == 200
    assert container.status() == 143
    assert container.lines()[-1] == "hello: worker stopped after round 0"


def test_processes_are_started_anew_from_it(image):
    """sys.executable is the bundle, and a python to whoever starts it."""
    code = ("import subprocess, sys\n"
            "print(subprocess.check_output([sys.executable, '-c', 'print(6 * 7)'], text=True), end='')")
    assert run(image, "-c", code, options=HARDENED) == (0, "42\n")
