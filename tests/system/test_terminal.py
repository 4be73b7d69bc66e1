"""The terminal: job control between a shell above the init and Python below it, and the init as PID 1 on a terminal."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios

import pytest

from harness import (PYENTRY, TIMEOUT, clean_env, end, first_child, is_gone, state_of, status_field, stock_can, until,
                     wait_asleep, write_tree)
from test_interactive import PROMPT, Session, make_controlling

SHELL = b"sh> "

# Says who it is and whether its group has the terminal, counts signals, repeats lines; SIGUSR1 asks for the counts.
# With an argument it reads only after a Ctrl-C, and counts SIGTTIN and SIGTTOU until then.
PROBE = """
import os, signal, sys
counts = dict.fromkeys("SIGINT SIGWINCH SIGCONT SIGTTIN SIGTTOU SIGHUP".split(), 0)
def count(number, frame):
    name = signal.Signals(number).name
    counts[name] += 1
    print("got", name)
def show(number, frame):
    print("counts", *(f"{name}={times}" for name, times in counts.items()), "end")
for name in counts:
    if len(sys.argv) > 1 or not name.startswith("SIGTT"):
        signal.signal(getattr(signal, name), count)
signal.signal(signal.SIGUSR1, show)
ground = "foreground" if os.tcgetpgrp(os.open("/dev/tty", os.O_RDWR)) == os.getpgrp() else "background"
print("probe", os.getpid(), os.getppid(), ground)
while len(sys.argv) > 1 and counts["SIGINT"] == 0:
    signal.pause()
signal.signal(signal.SIGTTIN, signal.SIG_DFL)
signal.signal(signal.SIGTTOU, signal.SIG_DFL)
for line in sys.stdin:
    print("line", line.strip())
print("end", "of", "input")
sys.exit(5)
"""

# In a pipeline the other members outlive a Ctrl-C, so that what Python does can be seen.
CAT = '(trap "" INT; exec cat)'
LAYOUTS = {"alone": ("{}", b"status 5"), "writes to cat": ("{} | " + CAT, b"status 0"),
           "reads from cat": (CAT + " | {}", b"status 5")}


class Shell(Session):
    """An interactive bash with job control that starts pyentry with an init."""

    above = (PYENTRY, "--init=always")

    def __init__(self, home):
        write_tree(home, {"probe.py": PROBE})
        os.chdir(home)
        super().__init__("bash", "--norc", "--noediting", "-i", home=home, PS1=SHELL.decode())
        self.see(SHELL)
        self.init = self.python = None

    def command(self, *args):
        return " ".join([*self.above, *args])

    def start(self, *args, layout="{}", ground=b"foreground"):
        """Start the probe and wait for its first words."""
        self.type(layout.format(self.command("probe.py", *args)).encode() + b"\n")
        self.see(b"probe ")
        self.python, self.init = map(int, self.see(b"ground").split()[:2])
        assert bytes(self.screen.data[:self.at]).endswith(ground)

    def stop(self):
        """Ctrl-Z: the shell is back, the whole job is stopped."""
        self.type(b"\x1a")
        self.see(b"Stopped")
        self.see(SHELL)
        if self.init:
            until(lambda: state_of(self.python) == state_of(self.init) == "T", "both are stopped")
        self.is_here()

    def is_here(self):
        """The shell answers: the terminal is its own."""
        self.type(b"  echo he''re\n")  # a SIGCHLD may cost bash a byte that it was reading
        self.see(b"\nhere")
        self.see(SHELL)

    def counts(self):
        """The signals that Python got; what the init was to pass on before this has arrived."""
        self.settle()
        os.kill(self.init, signal.SIGUSR1)
        self.see(b"counts ")
        return dict(item.split("=") for item in self.see(b" end").decode().split()[:-1])

    def settle(self):
        """Python is in its blocking call: a signal just before that would wait for the next one."""
        wait_asleep(self.python)

    def ctrl_c(self):
        self.settle()
        self.type(b"\x03")

    def resize(self, rows, columns):
        self.settle()
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_job_control(scratch, layout):
    """Ctrl-C, a new window size, Ctrl-Z, fg and Ctrl-D, alone and in a pipeline."""
    command, ended = LAYOUTS[layout]
    with Shell(scratch) as shell:
        shell.start(layout=command)
        shell.ctrl_c()
        shell.see(b"got SIGINT")
        shell.resize(40, 120)
        shell.see(b"got SIGWINCH")
        counts = shell.counts()
        assert (counts["SIGINT"], counts["SIGWINCH"], counts["SIGCONT"]) == ("1", "1", "0")
        for _ in range(2):
            shell.stop()
            shell.type(b"fg\n")
            shell.see(b"got SIGCONT")
            shell.type(b"one\n")
            shell.see(b"line one")
        shell.ctrl_c()
        shell.see(b"got SIGINT")
        counts = shell.counts()
        assert (counts["SIGINT"], counts["SIGWINCH"], counts["SIGCONT"]) == ("2", "1", "2")
        shell.type(b"\x04")
        shell.see(b"end of input")
        shell.see(SHELL)
        shell.type(b"echo sta''tus $?\n")
        shell.see(ended)
        assert is_gone(shell.init) and is_gone(shell.python)


@pytest.mark.parametrize("layout", ["alone", "writes to cat"])
def test_a_sigcont_that_meets_the_stop(scratch, layout):
    """SIGCONT is there when the init learns that Python was stopped: it is not lost by the init's own stop."""
    with Shell(scratch) as shell:
        shell.start(layout=LAYOUTS[layout][0])
        os.kill(shell.init, signal.SIGSTOP)
        until(lambda: state_of(shell.init) == "T", "the init is held")
        os.kill(shell.python, signal.SIGTSTP)
        until(lambda: state_of(shell.python) == "T", "Python is stopped")
        os.kill(shell.init, signal.SIGCONT)
        shell.see(b"got SIGCONT")


def test_background_start(scratch):
    """A start with & leaves the terminal to the shell; fg gives it to Python, though no SIGCONT is sent."""
    with Shell(scratch) as shell:
        shell.start("waits", layout="{} &", ground=b"background")
        shell.is_here()
        shell.type(b"fg\n")
        until(lambda: shell_waits(shell), "the job is in front")
        shell.ctrl_c()
        shell.see(b"got SIGINT")
        shell.type(b"two\n")
        shell.see(b"line two")
        counts = shell.counts()
        assert counts["SIGINT"] == "1" and counts["SIGWINCH"] == "0"
        shell.stop()
        shell.type(b"fg\n")
        shell.see(b"got SIGCONT")
        shell.type(b"three\n")
        shell.see(b"line three")
        shell.type(b"\x04")
        shell.see(b"end of input")
        shell.see(SHELL)


def test_fg_of_a_job_that_reads(scratch):
    """A background job that was never stopped and then reads gets the line after fg, and stays in front."""
    with Shell(scratch) as shell:
        write_tree(scratch, {"later.py": "import os, sys\nopen('up', 'w').close()\nos.read(os.open('go', 0), 1)\n"
                                         "print('got', input('which ' + 'line? '))\n"})
        os.mkfifo("go")
        shell.type(shell.command("later.py").encode() + b" &\n")
        shell.see(SHELL)
        until(lambda: os.path.exists("up"), "the program runs")
        shell.type(b"fg\n")
        shell.see(b"later.py")
        until(lambda: shell_waits(shell), "the shell has put it in front")
        with open("go", "w") as go:
            go.write(".")
        shell.see(b"which line? ")
        shell.type(b"mine\n")
        shell.see(b"got mine")
        shell.see(SHELL)


def shell_waits(shell):
    """Whether somebody else than the shell has the terminal."""
    return os.tcgetpgrp(shell.ours) != os.getpgid(shell.process.pid)


BACKGROUND = {
    "ends": "signal.alarm(0)",
    "is killed": "os.kill(os.getpid(), 9)",
    "reads": "input()",
}


@pytest.mark.parametrize("does", BACKGROUND)
def test_a_job_sent_to_the_background(scratch, does):
    """Ctrl-Z, bg: whatever the job does there, the terminal stays with the shell."""
    with Shell(scratch) as shell:
        program = ("import os, signal\nprint('up', os.getppid(), '.')\nfor name in ('first', 'second'):\n"
                   f"    os.read(os.open(name, 0), 1)\n{BACKGROUND[does]}\n")
        write_tree(scratch, {"later.py": program})
        os.mkfifo("first")
        os.mkfifo("second")
        shell.type(shell.command("later.py").encode() + b"\n")
        shell.see(b"\nup ")
        init = int(shell.see(b" ."). split()[0])
        with open("first", "w") as go:  # it has the terminal, and runs
            go.write(".")
        shell.type(b"\x1a")
        shell.see(b"Stopped")
        shell.see(SHELL)
        shell.type(b"bg\n")
        shell.see(SHELL)
        shell.is_here()
        with open("second", "w") as go:
            go.write(".")
        until(lambda: is_gone(init) or state_of(init) == "T", "the job has ended or stopped")
        shell.is_here()
        shell.is_here()


def test_the_whole_job_goes_on(scratch):
    """Ctrl-Z stops the children of Python, too, and so fg must wake them."""
    with Shell(scratch) as shell:
        write_tree(scratch, {"parent.py": "import subprocess, sys\nprint('child said', subprocess.run([sys.executable,"
                                          " '-c', 'print(\"child up\"); print(input())']).returncode)\n"})
        shell.type(shell.command("parent.py").encode() + b"\n")
        shell.see(b"child up")
        shell.stop()
        shell.type(b"fg\n")
        until(lambda: shell_waits(shell), "the job is in front")
        shell.type(b"text\n")
        shell.see(b"\ntext")
        shell.see(b"child said 0")
        shell.see(SHELL)


@pytest.mark.parametrize("redirection", ["<given", ">taken", "<given >taken"])
def test_redirected(scratch, redirection):
    """With a standard stream redirected the terminal is elsewhere: /dev/tty, Ctrl-C and Ctrl-Z still work."""
    with Shell(scratch) as shell:
        write_tree(scratch, {"given": "", "tty.py": (
            "import signal, sys\ntty = open('/dev/tty', 'r+b', buffering=0)\n"
            "signal.signal(signal.SIGINT, lambda *a: tty.write(b'got ' + b'SIGINT'))\n"
            "tty.write(b'name' + b'? ')\ntty.write(b'hello ' + tty.readline())\n")})
        shell.type(shell.command("tty.py", redirection).encode() + b"\n")
        shell.see(b"name? ")
        shell.type(b"\x03")
        shell.see(b"got SIGINT")
        shell.type(b"\x1a")
        shell.see(b"Stopped")
        shell.see(SHELL)
        shell.type(b"fg\n")
        shell.see(b"tty.py")
        shell.type(b"Ada\n")
        shell.see(b"hello Ada")
        shell.see(SHELL)
        assert shell.screen.data.count(b"got SIGINT") == 1


@pytest.mark.parametrize("closed", ["", "<&-", ">&-", "<&- >&-"])
def test_descriptors(scratch, closed):
    """Python gets the descriptors that pyentry got, and none of the init's; a closed one stays closed."""
    with Shell(scratch) as shell:
        shell.type(shell.command("-c", "'import os; os.write(2, str(sorted(os.listdir(\"/proc/self/fd\"))).encode())'",
                                 closed).encode() + b"\n")
        shell.see(b"\n[")
        listed = shell.see(b"]").decode()
    expected = [fd for fd, sign in ((0, "<&-"), (1, ">&-"), (2, "")) if not sign or sign not in closed]
    lowest_free = min(set(range(4)) - set(expected))  # listdir's own
    assert listed.replace("'", "").rstrip("]").split(", ") == [str(fd) for fd in sorted([*expected, lowest_free])]


def test_ttin_and_ttou(scratch):
    """They are passed on and never stop the init, which may also write from the background under `stty tostop`."""
    with Shell(scratch) as shell:
        shell.start("waits", layout="{} &", ground=b"background")
        for number in (signal.SIGTTIN, signal.SIGTTOU):
            os.kill(shell.init, number)
            shell.see(b"got " + number.name.encode())
        counts = shell.counts()
        assert (counts["SIGTTIN"], counts["SIGTTOU"]) == ("1", "1")
        until(lambda: state_of(shell.init) == "S", "the init waits")
        shell.is_here()
        shell.type(b"stty tostop; echo s''et\n")
        shell.see(b"\nset")
        os.kill(shell.python, signal.SIGKILL)
        shell.see(b"pyentry: Python was ended by signal 9 (Killed)")
        until(lambda: is_gone(shell.init), "the init ends")
        shell.is_here()


def edit(session):
    """Lines, history and completion as far as the stock interpreter has them."""
    assert b"1111" in session.enter(b"11 * 101")
    if stock_can("import readline"):
        session.type(b"\x1b[A\r")
        session.see(b"1111\r\n")
        session.see(PROMPT)


def test_prompt_under_a_shell(scratch):
    """The Python prompt with line editing, Ctrl-C, Ctrl-Z and fg, Ctrl-D."""
    with Shell(scratch) as shell:
        shell.type(shell.command("-q").encode() + b"\n")
        shell.see(PROMPT)
        edit(shell)
        shell.type(b"gone = 1")
        shell.see(b"gone = 1")
        wait_asleep(first_child(first_child(shell.process.pid)))
        shell.type(b"\x03")
        assert b"KeyboardInterrupt" in shell.see(PROMPT)
        shell.type(b"\x1a")
        shell.see(b"Stopped")
        shell.see(SHELL)
        shell.type(b"fg\n")
        shell.see(b"-q")
        assert b"NameError" in shell.enter(b"gone")
        edit(shell)
        shell.type(b"\x04")
        shell.see(SHELL)
        shell.type(b"echo sta''tus $?\n")
        shell.see(b"status 0")


def test_ctrl_c_ends_the_program(scratch):
    """A program that does not catch Ctrl-C ends by SIGINT, and so does the init: the shell knows that."""
    with Shell(scratch) as shell:
        write_tree(scratch, {"wait.py": "import time\nprint('wait' + 'ing')\ntime.sleep(600)\n"})
        shell.type(b"while true; do " + shell.command("wait.py").encode() + b"; done\n")
        shell.see(b"waiting")
        shell.type(b"\x03")
        shell.see(b"KeyboardInterrupt")
        shell.see(SHELL)  # the loop has ended as well


def test_no_shell_above(scratch):
    """As a session leader the init has nobody to resume it: it says so, stays, and SIGCONT goes through it."""
    write_tree(scratch, {"probe.py": PROBE})
    with Session(PYENTRY, "--init=always", "probe.py", home=scratch) as session:
        session.see(b"foreground")
        session.type(b"\x1a")
        session.see(b"pyentry: Python was stopped by signal 20; SIGCONT resumes it")
        until(lambda: state_of(session.process.pid) == "S", "the init waits")
        os.kill(session.process.pid, signal.SIGCONT)
        session.see(b"got SIGCONT")
        session.type(b"\x04")
        session.see(b"end of input")
        assert session.wait() == 5


# --- PID 1 with a controlling terminal, as under `docker run -it` ---


def test_pid_one_prompt(scratch, pid_one):
    """The prompt with line editing, Ctrl-C, a shell with job control below, Ctrl-D."""
    with Session(*pid_one, "setsid", "-c", PYENTRY, "-q", home=scratch, PS1=SHELL.decode()) as session:
        session.see(PROMPT)
        edit(session)
        session.enter(b"import os, time, subprocess")
        assert b"2 1" in session.enter(b"print(os.getpid(), os.getppid())")
        for line in (b"lost = 1", b"time.sleep(600)\n"):
            session.type(line)
            session.see(line.strip())
            wait_asleep(first_child(first_child(session.process.pid)))
            session.type(b"\x03")
            assert b"KeyboardInterrupt" in session.see(PROMPT)
        assert b"NameError" in session.enter(b"lost")
        session.type(b"subprocess.call(['bash', '--norc', '--noediting', '-i'])\n")
        assert b"job control" not in session.see(SHELL)
        session.type(b"sleep 600\n")
        session.see(b"sleep 600")
        until(lambda: status_field(os.tcgetpgrp(session.ours), "Name") == "sleep", "the job is in front")
        session.type(b"\x1a")
        session.see(b"Stopped")
        session.see(SHELL)
        session.type(b"fg\n")
        until(lambda: status_field(os.tcgetpgrp(session.ours), "Name") == "sleep", "the job is in front again")
        session.type(b"\x03")
        session.see(SHELL)
        session.type(b"exit 3\n")
        assert b"3\r\n" in session.see(PROMPT)
        session.type(b"\x04")
        assert session.wait() == 0


def test_pid_one_job(scratch, pid_one):
    """Ctrl-C and the window size reach Python once; Ctrl-Z stops it with a line, SIGCONT resumes it."""
    write_tree(scratch, {"probe.py": PROBE})
    with Session(*pid_one, "setsid", "-c", PYENTRY, "probe.py", home=scratch) as session:
        assert b"probe 2 1 foreground" in session.see(b"foreground")
        init = first_child(session.process.pid)
        python = first_child(init)
        wait_asleep(python)
        session.type(b"\x03")
        session.see(b"got SIGINT")
        wait_asleep(python)
        fcntl.ioctl(session.ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        session.see(b"got SIGWINCH")
        session.type(b"\x1a")
        session.see(b"pyentry: Python was stopped by signal 20; SIGCONT resumes it")
        until(lambda: state_of(init) == "S", "the init waits")
        os.kill(init, signal.SIGCONT)
        session.see(b"got SIGCONT")
        wait_asleep(python)
        os.kill(init, signal.SIGUSR1)
        session.see(b"counts SIGINT=1 SIGWINCH=1 SIGCONT=1 ")
        session.type(b"\x04")
        session.see(b"end of input")
        assert session.wait() == 5


class Vanishing:
    """PID 1 on a terminal whose other side only this object holds."""

    def __init__(self, *argv, home):
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=clean_env(HOME=str(home)),
                                        start_new_session=True, preexec_fn=lambda: make_controlling(theirs))
        os.close(theirs)
        shown = b""
        while b"up" not in shown:
            shown += os.read(self.ours, 1000)
        self.init = first_child(self.process.pid)
        self.python = first_child(self.init)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        end(self.process)


@pytest.mark.parametrize("program, status", [
    ("print('up'); signal.pause()", 128 + signal.SIGHUP),
    ("signal.signal(signal.SIGHUP, lambda *a: sys.exit(6)); print('up'); signal.pause()", 6)])
def test_pid_one_terminal_vanishes(scratch, pid_one, program, status):
    """SIGHUP is passed on, and nothing is left."""
    command = [*pid_one, "setsid", "-c", PYENTRY, "-c", f"import signal, sys; {program}"]
    with Vanishing(*command, home=scratch) as started:
        os.close(started.ours)
        assert started.process.wait(TIMEOUT) == status
        assert is_gone(started.init) and is_gone(started.python)


def test_pid_one_goes_on_without_its_terminal(scratch, pid_one):
    """A Python that ignores the hangup stays, and the init waits for it asleep."""
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); print('up')\nwhile True: signal.pause()"
    with Vanishing(*pid_one, "setsid", "-c", PYENTRY, "-c", code, home=scratch) as started:
        os.close(started.ours)
        wait_asleep(started.init, times=40)
        assert status_field(started.python, "State")[0] == "S"
        os.kill(started.init, signal.SIGTERM)
        assert started.process.wait(TIMEOUT) == 143
