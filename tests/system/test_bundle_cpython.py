"""CPython's own tests of the import system and of multiprocessing, run from a bundle: their packages, data and all, are in
the archive."""

import re

import pytest

from bundling import STDLIB, VERSION, build, out_of_reach
from harness import gather, run

# Parts of a test's name, and why it fails here.
PASSED_OVER = (
    "test_importlib.frozen.",            # takes the directory of its own package for that of the standard library
    "test_contents (test.test_importlib.test_resource.ResourceDiskTests)",  # 3.10: wants no .pyc beside a source
    "extension.test_path_hook.",         # hands the bundle's own path to FileFinder, which asks whether it is a directory
    # From 3.12 on. The extension modules made for tests are at the top of this bundle, where subinterpreters look only if the
    # bundle runs its app, and then take it for a zip file: docs/bundles.md.
    "IncompatibleExtensionModuleRestrictionsTests.",
    "SinglephaseInitTests.test_basic_multiple_interpreters",
    "SubinterpImportTests.",
)
SUITES = ("test_importlib", "test_zipimport", "test_pkgutil", "test_import", "test_modulefinder", "test_module")

TESTS = STDLIB / "test"
pytestmark = pytest.mark.skipif(not (TESTS / "test_importlib").is_dir(), reason=f"no tests in {TESTS}")

METHODS = ("fork", "spawn", "forkserver")
# Of multiprocessing's tests, which take minutes, those that start workers in every way. test_parent_process is one of the
# differences that docs/differences.md lists.
WORKERS = ("*WithProcessesTestProcess.test_[!p]*", "*WithProcessesTestQueue.test_[pq]*", "*WithProcessesTestConnection.*",
           "*TestNoForkBomb*", "*TestFlags*", "*PoolWorkerErrors*", "*TestSubclassingProcess*", "*test_resource_tracker_reused")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """With the parts of the test package that these need, and the extension modules made for tests."""
    out = tmp_path_factory.mktemp("cpython") / "app"
    names = {"support", "importlib", "zipimport_data", "encoded_modules", "typinganndata", "test_py_compile.py",
             *SUITES, *(f"{suite}.py" for suite in SUITES),
             *(path.name for path in TESTS.glob("*.py") if not path.name.startswith("test_")),
             *(path.name for path in TESTS.glob("test_multiprocessing_*"))}
    inputs = tmp_path_factory.mktemp("inputs")
    (inputs / "in" / "test").mkdir(parents=True)
    for name in names:
        if (TESTS / name).exists():
            (inputs / "in" / "test" / name).symlink_to(TESTS / name)
    for path in (STDLIB / "lib-dynload").glob("_test*.so"):
        (inputs / "in" / path.name).symlink_to(path)
    build(out, "-m", "unittest", "--stdlib", inputs / "in")
    return out


@pytest.mark.parametrize("suite", [suite for suite in SUITES if (TESTS / suite).is_dir() or (TESTS / f"{suite}.py").is_file()])
def test_suite(bundle, suite, tmp_path):
    done = run([*out_of_reach(), bundle, "-m", "unittest", f"test.{suite}"], cwd=tmp_path, timeout=300)
    failed = re.findall(r"^(?:ERROR|FAIL): (.*)", done.stderr.decode(errors="replace"), re.MULTILINE)
    assert re.search(rb"^Ran [1-9]\d* tests? in", done.stderr, re.MULTILINE), done.stderr[-2000:]
    unexpected = [name for name in failed if not any(part in name for part in PASSED_OVER)]
    assert not unexpected, (unexpected, done.stderr[-6000:].decode(errors="replace"))


@pytest.mark.skipif(not list(TESTS.glob("test_multiprocessing_spawn*")), reason=f"no tests of multiprocessing in {TESTS}")
def test_multiprocessing(bundle, tmp_path):
    """The bundle is what they start their workers with."""
    patterns = [word for pattern in WORKERS for word in ("-k", pattern)]

    def work(method):
        return run([*out_of_reach(), bundle, "-m", "unittest", f"test.test_multiprocessing_{method}", *patterns],
                   cwd=tmp_path, timeout=300)

    for done in gather(work, METHODS):
        assert re.search(rb"^Ran [3-9]\d tests in", done.stderr, re.MULTILINE), done.stderr[-2000:]
        assert done.returncode == 0, done.stderr[-6000:].decode(errors="replace")
