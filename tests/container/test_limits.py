"""The container's limits, as podman sets them."""

import re

import pytest

from containers import run

CPUS = [("0.5", 1), ("1", 1), ("1.5", 2), ("2", 2)]
LEAK = "kept = []\nwhile True: kept.append(b'x' * (1 << 20))"


def test_out_of_memory_is_named(start):
    container = start("pyentry", "-c", LEAK, options=["--memory=64m", "--memory-swap=64m"])
    status, log = container.wait()
    assert status == 137
    line = log.splitlines()[-1]
    assert re.fullmatch(r"pyentry: Python was ended by signal 9 \(Killed\) after \d+\.\d s: "
                        r"out of memory, by the kernel's OOM killer, limit 64 MiB, peak 6\d MiB", line), log


def test_a_kill_without_memory_is_not_blamed_on_it(start):
    container = start("pyentry", "-c", "import os; os.kill(os.getpid(), 9)", options=["--memory=64m"])
    status, log = container.wait()
    assert status == 137
    assert "signal 9" in log and "memory" not in log


@pytest.mark.parametrize("cpus, count", CPUS)
def test_cpu_count(cpus, count):
    status, log = run("pyentry", "-c", "import os; print(os.cpu_count())", options=[f"--cpus={cpus}"])
    assert (status, log) == (0, f"{count}\n")


@pytest.mark.parametrize("cpus, count", CPUS)
def test_numpy_starts_as_many_threads(cpus, count):
    """OpenBLAS starts its threads when it is loaded; each is a task of the process."""
    code = "import numpy, os; numpy.ones((9, 9)) @ numpy.ones((9, 9)); print(len(os.listdir('/proc/self/task')))"
    assert run("numpy", "-c", code, options=[f"--cpus={cpus}"]) == (0, f"{count}\n")
