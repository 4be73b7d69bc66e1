"""The interactive interpreter on a terminal: prompt, history, Ctrl-C, Ctrl-D, start-up file, -i, SIGTERM."""

import fcntl
import os
import pty
import signal
import subprocess
import termios

import pytest

from harness import (PYENTRY, PYTHON, Stream, clean_env, differences, end, show, state_of, stock_can, until,
                     wait_asleep, write_tree)

PROMPT = b">>> "


class Session:
    """An interpreter on a terminal of its own that is typed to and read from."""

    def __init__(self, program, *args, home, **variables):
        ours, theirs = pty.openpty()
        env = clean_env(HOME=str(home), TERM="dumb", PYTHON_BASIC_REPL="1", PYTHON_COLORS="0", **variables)
        self.process = subprocess.Popen([program, *args], stdin=theirs, stdout=theirs, stderr=theirs, env=env,
                                        start_new_session=True, preexec_fn=lambda: make_controlling(theirs))
        os.close(theirs)
        self.ours = ours
        self.screen = Stream(os.dup(ours))
        self.at = 0

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        end(self.process)
        os.close(self.ours)

    def see(self, words):
        """Wait for the words after everything that was waited for before; returns what was shown up to them."""
        start = self.at
        self.at = self.screen.wait(words, start)
        return bytes(self.screen.data[start:self.at])

    def type(self, keys):
        os.write(self.ours, keys)

    def enter(self, line):
        """Type a line and return what is shown up to the next prompt."""
        self.type(line + b"\n")
        return self.see(PROMPT)

    def wait(self):
        return self.process.wait(30)


def make_controlling(fd):
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


def test_prompt_values_and_errors(scratch):
    """Prompt, values, several lines, errors that do not end the session, Ctrl-D."""
    with Session(PYENTRY, home=scratch) as session:
        banner = session.see(PROMPT)
        assert b"Python " in banner and b'Type "help"' in banner
        assert b"42" in session.enter(b"6 * 7")
        assert b"a b" in session.enter(b"print('a', 'b')")
        assert b"ZeroDivisionError" in session.enter(b"1/0")
        assert b"SyntaxError" in session.enter(b"a b c")
        session.type(b"for n in range(2):\n")
        session.see(b"... ")
        session.type(b"    print('n', n)\n\n")
        assert b"n 0\r\nn 1\r\n" in session.see(PROMPT)
        assert b"pyentry" in session.enter(b"import pyentry; pyentry.Terminated")
        session.type(b"\x04")
        assert session.wait() == 0


def test_the_same_dialogue_as_python(scratch):
    """The screen after a dialogue is python's, to the byte, but for the interpreter's name."""
    screens = []
    for program in ([PYTHON, "-u"], [PYENTRY]):
        with Session(*program, "-q", home=scratch) as session:
            session.see(PROMPT)
            for line in (b"import sys", b"sys.argv, sys.flags.interactive, len(sys.ps1), __name__", b"'x' * 3", b"None",
                         b"print(1, end='')", b"sys.stdout.write('abc')", b"def f(:", b"1/0", b"raise KeyError('k')",
                         b"_", b"_x = 5", b"[n for n in dir() if not n.startswith('__')]", b"__builtins__.len"):
                session.enter(line)
            session.type(b"sys.exit(7)\n")
            assert session.wait() == 7
            screens.append(session.screen.all())
    assert screens[1] == screens[0]


def test_ctrl_c(scratch):
    """Ctrl-C at the prompt and in a sleep, a loop and a read: KeyboardInterrupt, and the prompt again."""
    with Session(PYENTRY, home=scratch) as session:
        session.see(PROMPT)
        wait_asleep(session.process.pid)
        session.type(b"x = 5\x03")
        assert b"KeyboardInterrupt" in session.see(PROMPT)
        session.enter(b"import time, sys")
        for line in (b"time.sleep(60)", b"sys.stdin.read()", b"input()", b"import threading; threading.Event().wait()"):
            session.type(line + b"\n")
            session.see(line.split(b";")[-1].strip())
            wait_asleep(session.process.pid)
            session.type(b"\x03")
            assert b"KeyboardInterrupt" in session.see(PROMPT), line
        session.type(b"while True: pass\n\n")
        session.see(b"... ")
        until_running(session.process.pid)
        session.type(b"\x03")
        assert b"KeyboardInterrupt" in session.see(PROMPT)
        assert b"NameError" in session.enter(b"x")
        session.type(b"\x04")
        assert session.wait() == 0


def until_running(pid):
    seen = []
    until(lambda: seen.append(state_of(pid)) or seen[-5:] == ["R"] * 5, "it runs")


def test_history(scratch):
    """With readline the up arrow recalls lines, and the history file is written at the end."""
    if not stock_can("import readline"):
        return  # nothing to be equal to
    with Session(PYENTRY, home=scratch) as session:
        session.see(PROMPT)
        assert b"1111" in session.enter(b"11 * 101")
        session.enter(b"y = 3")
        for keys in (b"\x1b[A\x1b[A\r", b"\x12101\r"):  # up, up; Ctrl-R and a part of the line
            session.type(keys)
            session.see(b"1111\r\n")
            session.see(PROMPT)
        session.enter(b"import sys")
        session.type(b"sys.version_in\t\n")
        session.see(b"major=")
        session.type(b"exit()\n")
        assert session.wait() == 0
    history = (scratch / ".python_history").read_text()
    assert "11 * 101" in history and "y = 3" in history


def test_start_up_file(scratch):
    """PYTHONSTARTUP runs in an interactive session, and -E keeps it from it."""
    startup = write_tree(scratch, {"startup.py": "print('started', 'up')\nname = 'Ada'\n"}) / "startup.py"
    with Session(PYENTRY, home=scratch, PYTHONSTARTUP=str(startup)) as session:
        assert b"started up" in session.see(PROMPT)
        assert b"'Ada'" in session.enter(b"name")
    with Session(PYENTRY, "-E", home=scratch, PYTHONSTARTUP=str(startup)) as session:
        assert b"started up" not in session.see(PROMPT)


@pytest.mark.parametrize("args, shown", [
    (["-i", "-c", "x = 5; print('ran', x)"], b"ran 5"), (["-i", "prog.py"], b"prog 1"), (["-im", "prog"], b"prog 1"),
    (["-i", "-c", "x = 5; 1/0"], b"ZeroDivisionError"),
    (["-i", "-c", "x = 5; import sys; sys.exit(3)"], b"SystemExit: 3"),
    (["-iq"], b"")])
def test_inspect(scratch, args, shown):
    """-i gives a prompt after the program, in its names, whatever its end was."""
    write_tree(scratch, {"prog.py": "x = 5\nprint('prog', 1)\n"})
    os.chdir(scratch)
    with Session(PYENTRY, *args, home=scratch) as session:
        assert shown in session.see(PROMPT)
        assert b"5" in session.enter(b"x" if args != ["-iq"] else b"2 + 3")
        session.type(b"\x04")
        assert session.wait() == 0


def test_inspect_by_environment(scratch):
    """PYTHONINSPECT asks for the prompt too, also when the program sets it."""
    code = "import os; os.environ['PYTHONINSPECT'] = '1'; x = 'set inside'"
    with Session(PYENTRY, "-c", code, home=scratch) as session:
        session.see(PROMPT)
        assert b"set inside" in session.enter(b"x")


def test_input_and_getpass(scratch):
    """input() uses the terminal, with its prompt; getpass hides what is typed."""
    code = "import getpass; print('got', input('name? '), getpass.getpass('secret? '))"
    with Session(PYENTRY, "-c", code, home=scratch) as session:
        session.see(b"name? ")
        session.type(b"Ada\n")
        session.see(b"secret? ")
        wait_asleep(session.process.pid)
        session.type(b"hidden\n")
        assert session.see(b"got Ada hidden").count(b"hidden") == 1
        assert session.wait() == 0


def test_sigterm_and_sighup(scratch):
    """SIGTERM ends a session by that signal; the terminal that goes away ends it by SIGHUP."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        with Session(PYENTRY, home=scratch) as session:
            session.see(PROMPT)
            wait_asleep(session.process.pid)
            os.kill(session.process.pid, signum)
            assert session.wait() == -signum


def test_job_control(scratch):
    """Under a shell Ctrl-Z stops a program, fg makes it go on, & and a second terminal user work as usual."""
    write_tree(scratch, {"prog.py": "print('rea' + 'dy')\nprint('then', input())\n"})
    with Session("bash", "--norc", "--noediting", "-i", home=scratch, PS1="$ ") as shell:
        shell.see(b"$ ")
        shell.type(os.fsencode(PYENTRY) + b" prog.py\n")
        shell.see(b"ready")
        shell.type(b"\x1a")
        shell.see(b"Stopped")
        shell.type(b"fg\n")
        shell.see(b"prog.py")
        shell.type(b"on\n")
        shell.see(b"then on")
        shell.type(os.fsencode(PYENTRY) + b" -c 'print(\"back\" + \"ground\")' & wait; echo st''atus $?\n")
        shell.see(b"background")
        shell.see(b"status 0")


def test_ctrl_c_ends_a_program(scratch):
    """Ctrl-C on a program's terminal: KeyboardInterrupt, a traceback, death by SIGINT."""
    with Session(PYENTRY, "-c", "import time; print('ready'); time.sleep(60)", home=scratch) as session:
        session.see(b"ready")
        wait_asleep(session.process.pid)
        session.type(b"\x03")
        assert session.wait() == -signal.SIGINT
        assert session.screen.all().rstrip().endswith(b"KeyboardInterrupt")


def test_interactive_on_a_pipe(scratch):
    """-i without a terminal reads commands from stdin and prompts on stderr, as python does."""
    cases = [("pipe", ["-i"], {"input": b"1 + 1\nprint('x')\n1/0\n"}), ("quiet", ["-iq"], {"input": b"'a'\n"}),
             ("-c", ["-i", "-c", "x = 1"], {"input": b"x\nimport sys; sys.exit(4)\n"})]
    found = differences(cases)
    assert not found, show(found)
