"""podman run -it, through a pseudo-terminal of ours."""

import os
import pty
import re
import select
import time
import uuid

import pytest

from containers import DEADLINE, podman


class Terminal:
    def __init__(self, *command):
        self.seen = ""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "dumb"
            os.execvp(command[0], command)

    def expect(self, pattern):
        """Read until the pattern is there, and go on behind it."""
        end = time.monotonic() + DEADLINE
        while not (match := re.search(pattern, self.seen)):
            assert time.monotonic() < end, f"waited for {pattern!r}; it showed:\n{self.seen}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 4096).decode(errors="replace")
                except OSError:
                    raise AssertionError(f"it ended before {pattern!r}; it showed:\n{self.seen}") from None
        self.seen = self.seen[match.end():]
        return match

    def type(self, text):
        os.write(self.master, text.encode())

    def wait(self):
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.master)
        return status


@pytest.fixture
def prompt():
    name = f"prompt-{uuid.uuid4().hex}"
    terminal = Terminal("podman", "run", "--rm", "--interactive", "--tty", f"--name={name}", "pyentry")
    terminal.expect(r">>> ")
    yield terminal
    podman("rm", "--force", "--ignore", "--time=0", name)


def test_the_prompt_computes_and_ends(prompt):
    prompt.type("import os, sys; print(6 * 7, os.getppid(), sys.stdin.isatty())\r")
    prompt.expect(r"\n42 1 True\r\n>>> ")
    prompt.type("raise SystemExit(3)\r")
    assert prompt.wait() == 3


def test_ctrl_c_interrupts_what_runs_and_leaves_the_prompt(prompt):
    prompt.type("import time; print('sleep' 'ing'); time.sleep(3600)\r")
    prompt.expect(r"\nsleeping\r\n")
    prompt.type("\x03")
    prompt.expect(r"\nKeyboardInterrupt\r\n>>> ")
    prompt.type("print('still ' 'here')\r")  # without another statement python ends by SIGINT here
    prompt.expect(r"\nstill here\r\n>>> ")
    prompt.type("\x04")
    assert prompt.wait() == 0


def test_a_shell_from_the_prompt_has_job_control(prompt):
    """No "cannot set terminal process group": the terminal is the shell's while it runs."""
    prompt.type("import subprocess; subprocess.call(['bash', '--norc', '-i'])\r")
    prompt.expect(r"bash-[\d.]+[$#] ")
    prompt.type("sh -c 'echo run''ning; exec sleep 3600'\r")
    prompt.expect(r"running\r\n")
    prompt.type("\x1a")
    prompt.expect(r"\[1\]\+ +Stopped ")
    prompt.type("fg\r")
    prompt.expect(r"fg\r\n[^\n]*sh -c ")
    prompt.type("\x03")
    prompt.expect(r"bash-[\d.]+[$#] ")
    prompt.type("exit\r")
    prompt.expect(r">>> ")
    prompt.type("\x04")
    assert prompt.wait() == 0
