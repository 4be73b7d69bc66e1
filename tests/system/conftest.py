"""Set-up for the black-box tests; see harness.py for what they share."""

import os
import shutil
import sys

import pytest

for _name in ("PYENTRY", "PYTHON"):
    if not os.access(os.environ.get(_name, ""), os.X_OK):
        pytest.exit(f"{_name} must name an executable: PYENTRY the program under test, "
                    "PYTHON the stock interpreter of the same version", returncode=2)

STRICT = os.environ.get("PYENTRY_TEST_STRICT") == "1"
sys.path.insert(0, os.path.dirname(__file__))

import harness  # noqa: E402  (reads PYENTRY and PYTHON before the environment is cleaned)


def pytest_report_header(config):
    return [f"pyentry: {harness.PYENTRY}",
            f"python: {harness.PYTHON} {'.'.join(map(str, harness.VERSION))}, strict: {STRICT}"]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """No test sees what the developer's shell has set for either interpreter."""
    for name in list(os.environ):
        if name.startswith(("PYTHON", "PYENTRY", "LC_")) or name == "LANGUAGE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("LANG", "C.UTF-8")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With PYENTRY_TEST_STRICT=1 a skip is a failure. What a test wrote stays only if it failed: bundles and
    snapshots are tens of megabytes each."""
    report = (yield).get_result()
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which PYENTRY_TEST_STRICT=1 forbids: {report.longrepr}"
    item.failed = getattr(item, "failed", False) or report.failed
    if call.when == "teardown" and not item.failed and "tmp_path" in item.funcargs:
        shutil.rmtree(item.funcargs["tmp_path"], ignore_errors=True)


def pytest_sessionfinish(session, exitstatus):
    """With PYENTRY_TEST_STRICT=1 a run that collected nothing is a failure too."""
    if STRICT and session.testscollected == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def pid_one():
    """The command prefix under which a program is PID 1 of its own namespace."""
    command = harness.in_pid_namespace()
    if command is None:
        pytest.skip("no PID namespace can be made here")
    return command


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
