"""Set-up for the tests in containers; see containers.py for what they share."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from containers import Container  # noqa: E402

STRICT = os.environ.get("PYENTRY_TEST_STRICT", "0") not in ("", "0")


@pytest.fixture
def start():
    """Container(...), gone again when the test ends."""
    started = []

    def start(*arguments, **options):
        started.append(Container(*arguments, **options))
        return started[-1]

    yield start
    for container in reversed(started):
        container.__exit__()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With PYENTRY_TEST_STRICT=1 a skip is a failure."""
    report = (yield).get_result()
    if STRICT and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, which PYENTRY_TEST_STRICT=1 forbids: {report.longrepr}"
