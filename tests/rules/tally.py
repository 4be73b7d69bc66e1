"""Counts what the test suites said: tally.py BUILD STEP=passed|FAILED... The last line is `N passed, N failed`.

A step of `./bootstrap check` is the suites of `make check` (their logs, automake's .log and .trs), those of
the sanitizer builds, or what its own output (BUILD/check-STEP.log) says. A suite's own count is taken where
it gives one (pytest, cmocka, tests/cpython, or a line like our last one); else it is one test.
"""

import os
import re
import sys

# Steps that are one suite, whose count is in their output.
COUNTED = ("lint", "fuzz", "check-container")

OURS = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)
PYTEST = re.compile(r"^=* ?((?:\d+ \w+(?:, )?)+) in [\d.]+s.*$", re.MULTILINE)
CPYTHON = re.compile(r"^(\d+) tests in \d+ modules, \d+ s: (?:(\d+) count as failed|no failure)", re.MULTILINE)
CMOCKA_PASSED = re.compile(r"^\[  PASSED  \] (\d+) test", re.MULTILINE)
CMOCKA_FAILED = re.compile(r"^\[  FAILED  \] (\d+) test", re.MULTILINE)


def counts(text):
    """(passed, failed) as a suite's own log has it, or None."""
    ours = OURS.findall(text)
    if ours:
        return tuple(map(int, ours[-1]))
    pytest = PYTEST.findall(text)
    if pytest:
        words = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", pytest[-1])}
        return words.get("passed", 0), sum(words.get(word, 0) for word in ("failed", "error", "errors"))
    cpython = CPYTHON.findall(text)
    if cpython:
        total, failed = (int(number or 0) for number in cpython[-1])
        return total - failed, failed
    cmocka = CMOCKA_PASSED.findall(text)
    if cmocka:
        return sum(map(int, cmocka)), sum(map(int, CMOCKA_FAILED.findall(text)))
    return None


def tally(good, bad, passed):
    """What failed as a whole has a failure, whatever it counted; what passed has a pass."""
    return (good or int(not bad), bad) if passed else (good, bad or 1)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def suites(build, skip=()):
    """(passed, failed) of each entry of automake's `make check` that was not skipped."""
    for where, below, names in os.walk(build):
        below[:] = [name for name in below if name not in skip and not name.startswith("pyentry-")]
        for path in (os.path.join(where, name[:-4]) for name in sorted(names) if name.endswith(".trs")):
            result = re.search(r":test-result: *(\w+)", read(path + ".trs"))
            if result and result[1] != "SKIP":
                yield tally(*(counts(read(path + ".log")) or (0, 0)), result[1] in ("PASS", "XFAIL"))


def step(build, name, passed):
    if name == "check":
        parts = list(suites(build, skip=("build-asan",)))
    elif name == "check-asan":
        parts = list(suites(os.path.join(build, "build-asan")))
    else:
        parts = [counts(read(os.path.join(build, f"check-{name}.log"))) if name in COUNTED else None]
    parts = [part for part in parts if part]
    return tally(sum(good for good, _ in parts), sum(bad for _, bad in parts), passed)


def main():
    build, *steps = sys.argv[1:]
    total = [0, 0]
    for name, word in (argument.split("=") for argument in steps):
        good, bad = step(build, name, word == "passed")
        total = [total[0] + good, total[1] + bad]
        print(f"   {name:20} {good:5} passed {bad:4} failed")
    print(f"{total[0]} passed, {total[1]} failed")


if __name__ == "__main__":
    main()
