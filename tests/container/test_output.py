"""What a container's log shows, and when."""

import datetime
import re

import pytest

from containers import podman, probes

FOLLOWED = 40
SOON = 0.050


def delays(container):
    """Seconds from each print's call to the moment at which the container's log had the line."""
    found = []
    for line in podman("logs", "--follow", "--timestamps", container.id).stdout.splitlines():
        stamp, called, _ = line.split()
        whole, fraction = re.match(r"(.*)(\.\d{6})", stamp).groups()
        logged = datetime.datetime.fromisoformat(whole + "+00:00").timestamp() + float(fraction)
        found.append(logged - float(called))
    return found


def test_each_print_is_in_the_log_within_50_ms(start):
    """podman itself looks into its log four times a second only, so the log's own times are what counts.

    Of the lines a tenth may be late: on a busy machine whoever writes the log has to wait for its turn, too."""
    container = start("pyentry", "/probes/lines.py", str(FOLLOWED), "0.05", options=probes())
    found = sorted(delays(container))
    assert len(found) == FOLLOWED
    assert found[FOLLOWED * 9 // 10] < SOON, found


def test_a_line_is_followed_while_the_program_runs(start):
    container = start("pyentry", "-c", "print('first'); import time; time.sleep(3600)")
    container.wait_for("^first$")
    assert container.running()


@pytest.mark.parametrize("image", ["pyentry", "pyentry-debian"])
def test_the_lines_of_four_workers_never_tear(start, image):
    lines = 500
    status, log = start(image, "/probes/workers.py", str(lines), options=probes()).wait()
    assert status == 0
    whole = re.compile(r"worker (\d) line (\d+) (\1*) end")
    seen = [whole.fullmatch(line) for line in log.splitlines()[:-1]]
    assert None not in seen, [line for line, match in zip(log.splitlines(), seen) if match is None][:3]
    assert all(len(match[3]) == int(match[2]) * 37 % 4000 for match in seen)
    assert sorted((int(match[1]), int(match[2])) for match in seen) == [(w, n) for w in range(4) for n in range(lines)]
    assert log.splitlines()[-1] == "all done"
