"""Control groups that a test makes: of version 1, nested, gone again at the end."""

import contextlib
import os
from pathlib import Path

import pytest

from harness import until

MIB = 1 << 20
PERIOD = 100_000


def top_of(controller):
    """Where the hierarchy of the controller can be written."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        point = Path(mount.split(" ")[4])
        if kind == "cgroup" and controller in options.split(",") and os.access(point, os.W_OK):
            return point
    return pytest.skip(f"no {controller} controller of version 1 that can be written")


@contextlib.contextmanager
def groups(controller, *settings):
    """Nested groups, each with its {file: value}; gives the innermost directory. The names have a space and a colon."""
    directory, made = top_of(controller), []
    try:
        for number, files in enumerate(settings):
            directory = directory / f"pyentry-test-{os.getpid()}-{number}: a b"
            directory.mkdir()
            made.append(directory)
            for name, value in files.items():
                if (directory / name).exists():  # there is no memsw where swap is not counted
                    (directory / name).write_text(str(value))
        yield directory
    finally:
        for path in reversed(made):
            until(lambda path=path: not (path / "cgroup.procs").read_text(), "the group empty")
            path.rmdir()


def quota(cpus):
    """The settings of a group that may use so many CPUs; none for None."""
    return {} if cpus is None else {"cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": int(cpus * PERIOD)}


def memory(mib):
    """The same for memory."""
    files = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
    return {} if mib is None else dict.fromkeys(files, mib * MIB)


def inside(*directories):
    """What a child does to be in these groups, for preexec_fn."""
    def enter():
        for directory in directories:
            (directory / "cgroup.procs").write_text(str(os.getpid()))
    return enter
