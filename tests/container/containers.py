"""Containers as the tests see them: started, spoken to, stopped, and gone at the end.

    with Container("hello", options=HARDENED) as container:
        container.wait_for(r"listening on")
        assert container.get("/") == (200, "Hello ...")
        assert container.stop() < 1.0
        assert container.status() == 143

tests/container/run sets podman up. The containers have no network but their loopback: connect() makes a socket in
there.
"""

import ctypes
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
EXAMPLES = TOP / "docker" / "examples"

# How long a condition may take. Generous, because nothing waits for it in vain unless the test fails.
DEADLINE = 60.0
PORT = 8080
CLONE_NEWNET = 0x40000000

# A read-only root without podman's own tmpfs on /tmp and /run, as `docker run --read-only` has it.
HARDENED = [
    "--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges",
    "--user=65532:65532",
]


def podman(*arguments, check=True, timeout=DEADLINE):
    """Run podman; the finished process, with stdout and stderr in one text."""
    done = subprocess.run(["podman", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="backslashreplace", timeout=timeout)
    assert not check or done.returncode == 0, f"podman {' '.join(arguments)}: {done.returncode}:\n{done.stdout}"
    return done


def eventually(what, condition, deadline=DEADLINE):
    """The first true value of condition(); an AssertionError when there is none in time."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what}: not within {deadline:g} s"
        time.sleep(0.05)


def run(image, *command, options=(), env=None, timeout=DEADLINE):
    """A container in the foreground: (its status, what it wrote)."""
    done = podman("run", "--rm", *variables(env), *options, image, *command, check=False, timeout=timeout)
    return done.returncode, done.stdout


def variables(env):
    return [f"--env={name}={value}" for name, value in (env or {}).items()]


def probes():
    """The options with which a container sees tests/container/probes."""
    return [f"--volume={HERE / 'probes'}:/probes:ro"]


class Container:
    def __init__(self, image, *command, options=(), env=None):
        self.id = podman("run", "--detach", *variables(env), *options, image, *command).stdout.split()[-1]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        podman("rm", "--force", "--ignore", "--time=0", self.id)

    ### What it says

    def log(self):
        return podman("logs", self.id).stdout

    def lines(self):
        return self.log().splitlines()

    def wait_for(self, pattern, times=1, deadline=DEADLINE):
        """The last of the first `times` matches of the pattern in the log."""
        found, ended, end = [], False, time.monotonic() + deadline
        while len(found) < times and not ended and time.monotonic() < end:
            ended = not self.running()  # asked before the log: what came last is in there, too
            found = list(re.finditer(pattern, self.log(), re.MULTILINE))
            time.sleep(0.02)
        assert len(found) >= times, f"waited for {pattern!r}; status {self.status()}; the log:\n{self.log()}"
        return found[times - 1]

    ### What it is

    def inspect(self):
        return json.loads(podman("inspect", self.id).stdout)[0]

    def running(self):
        return self.inspect()["State"]["Running"]

    def status(self):
        return self.inspect()["State"]["ExitCode"]

    def pid(self):
        """PID 1 of the container, as this machine has it."""
        return self.inspect()["State"]["Pid"]

    def processes(self):
        """{PID in the container: (state, parent there, command)}, read from outside."""
        return json.loads(self.exec("python3", "/probes/processes.py"))

    def exec(self, *command):
        return podman("exec", self.id, *command).stdout

    ### Speaking to it

    def connect(self, port=PORT, timeout=DEADLINE):
        """A connection to 127.0.0.1 in there. A network namespace is a thread's own affair; so is setns."""
        made = []

        def enter():
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/proc/{self.pid()}/ns/net", "rb") as namespace:
                if libc.setns(namespace.fileno(), CLONE_NEWNET):
                    made.append(OSError(ctypes.get_errno(), "setns"))
                else:
                    made.append(socket.socket())

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if isinstance(made[0], Exception):
            raise made[0]
        made[0].settimeout(timeout)
        try:
            made[0].connect(("127.0.0.1", port))
        except OSError:
            made[0].close()
            raise
        return made[0]

    def get(self, path, port=PORT):
        """(status, body) of a GET."""
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.sock = self.connect(port)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def get_in_background(self, path):
        """Start a request; what comes back is a function that waits for its answer."""
        answers = []

        def ask():
            try:
                answers.append(self.get(path))
            except Exception as error:  # shown by answer()
                answers.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()

        def answer():
            thread.join(DEADLINE)
            assert answers and not isinstance(answers[0], Exception), f"no answer to {path}: {answers}"
            return answers[0]

        return answer

    def answers(self, path="/", port=PORT):
        """Whether a GET is answered with 200."""
        try:
            return self.get(path, port)[0] == 200
        except OSError:
            return False

    ### Ending it

    def kill(self, signal):
        podman("kill", f"--signal={signal}", self.id)

    def stop(self, seconds=10):
        """podman stop: how long it took. After these seconds podman sends SIGKILL."""
        start = time.monotonic()
        podman("stop", f"--time={seconds}", self.id)
        return time.monotonic() - start

    def wait(self):
        """Wait for its end: (status, log)."""
        return int(podman("wait", self.id).stdout.split()[-1]), self.log()




if os.environ.get("CONTAINERS_CONF", "") == "":
    raise RuntimeError("these tests are started by tests/container/run BUILD (make check-container)")
