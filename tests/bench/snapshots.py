#!/usr/bin/env python3
"""Starts from a snapshot beside python3 -u importing the same, an empty C program, and their memory.

    PYENTRY=... PYTHON=... tests/bench/snapshots.py

The time is from the start of the process to the first statement's byte, which the C program writes, too; to the answer
likewise. The first HTTP answer is one of flask's, from a server on loopback in the same process; its snapshot has
answered one before. What many answers cost after that, beside a pyentry that started without a snapshot, is the CPU's
time of flask alone, the least of the rounds.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile

from spans import spans

START_REACH, EMPTY_REACH, ANSWER_REACH, MEMORY_REACH, STEADY_REACH = 1 / 40, 4, 1 / 15, 0.35, 1.02
PROCESSES = 10
STEADY_ROUNDS = 5

PREPARED = {"django": """
import django.conf
django.conf.settings.configure(SECRET_KEY="k", INSTALLED_APPS=[
    "django.contrib." + name for name in ("admin", "auth", "contenttypes", "sessions", "messages")])
django.setup()
"""}
APPS = {"flask": "flask", "fastapi + uvicorn": "fastapi,uvicorn", "django": "django.contrib.admin",
        "numpy": "numpy"}

ANSWER = """
import logging, os, threading, time, urllib.request
import flask
logging.getLogger("werkzeug").setLevel("ERROR")
from werkzeug.serving import make_server
app = flask.Flask("app")
app.route("/")(lambda: "well")
def answer():
    server = make_server("127.0.0.1", 0, app)
    serving = threading.Thread(target=server.handle_request)
    serving.start()
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/") as page:
        assert page.read() == b"well"
    serving.join()
    server.server_close()
def many():
    client = app.test_client()
    for count in (100, 600):
        begin = time.process_time()
        for _ in range(count):
            client.get("/")
    print(time.process_time() - begin)
"""


def environment():
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYENTRY"))}


def medians(rounds, *commands):
    """Of each command, all in turn: whatever else the machine does meets all."""
    columns = [[] for _ in commands]
    for _ in range(rounds):
        for column, command in zip(columns, commands):
            column.append(spans(command, environment())[0])
    return [statistics.median(column) for column in columns]


def take(directory, name, *words):
    path = os.path.join(directory, name + ".snap")
    subprocess.run([os.environ["PYENTRY"], "--snapshot", "-o", path, *words], cwd=directory, env=environment(), check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return [os.environ["PYENTRY"], "--restore-or-fail", f"--restore={path}"]


def pss(commands, directory):
    """KiB of each, while all of them wait."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    running = [subprocess.Popen(command, cwd=directory, env=environment(), **pipes)
               for command in commands]
    sizes = []
    for process in running:
        process.stdout.readline()
    for process in running:
        with open(f"/proc/{process.pid}/smaps_rollup") as file:
            sizes.append(int(re.search(r"^Pss: +(\d+) kB", file.read(), re.MULTILINE)[1]))
    for process in running:
        process.communicate()
    return statistics.mean(sizes)


def empty_program(directory):
    path = os.path.join(directory, "empty")
    with open(path + ".c", "w") as file:
        file.write('#include <unistd.h>\nint main(void) { return write(1, ".", 1) != 1; }\n')
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-static", "-o", path, path + ".c"], check=True)
    return [path]


def milliseconds(seconds):
    return f"{seconds * 1e3:.2f} ms"


def starts(table, directory, rounds):
    python, empty = [os.environ["PYTHON"], "-u"], empty_program(directory)
    for name, modules in APPS.items():
        if subprocess.run([*python, "-c", f"import {modules.split('.')[0]}"], stderr=subprocess.DEVNULL).returncode:
            print(f"{name}: not installed")
            continue
        with open(os.path.join(directory, "prepared.py"), "w") as file:
            file.write(PREPARED.get(name, "") + f"import {modules}\n")
        ours = take(directory, "app", "--preload", "prepared")
        first = "import prepared, os; os.write(1, b'.'); os._exit(0)"
        fresh, plain, least = medians(rounds, [*ours, "-c", first], [*python, "-c", first], empty)
        table.line(f"snapshot: first statement, {name}", milliseconds(fresh), milliseconds(plain), fresh / plain,
                   f"<= 1/{1 / START_REACH:.0f}", fresh / plain <= START_REACH)
        table.line("    beside an empty C program", milliseconds(fresh), milliseconds(least), fresh / least,
                   f"<= {EMPTY_REACH}", fresh / least <= EMPTY_REACH)
        wait = "import prepared, sys; print(flush=True); sys.stdin.read(); import os; os._exit(0)"
        small = pss([[*ours, "-c", wait]] * PROCESSES, directory)
        large = pss([[*python, "-c", wait]] * PROCESSES, directory)
        table.line(f"    memory (PSS) of each of {PROCESSES}", f"{small:.0f} KiB", f"{large:.0f} KiB", small / large,
                   f"<= {MEMORY_REACH}", small / large <= MEMORY_REACH)


def answers(table, directory, rounds):
    with open(os.path.join(directory, "web.py"), "w") as file:
        file.write(ANSWER)
    ours = take(directory, "web", "--preload", "web", "--warm-up", "web:answer")
    code = ["-c", "import web, os; web.answer(); os.write(1, b'.'); os._exit(0)"]
    fresh, plain = medians(rounds, [*ours, *code], [os.environ["PYTHON"], "-u", *code])
    table.line("snapshot: first answer, flask", milliseconds(fresh), milliseconds(plain), fresh / plain,
               f"<= 1/{1 / ANSWER_REACH:.0f}", fresh / plain <= ANSWER_REACH)
    steady = ["-c", "import web; web.many()"]
    fresh, plain = least(directory, [*ours, *steady], [os.environ["PYENTRY"], *steady])
    table.line("    600 answers later, without a snapshot", milliseconds(fresh), milliseconds(plain), fresh / plain,
               f"<= {STEADY_REACH}", fresh / plain <= STEADY_REACH)


def least(directory, *commands):
    """The least of the times that each prints, all in turn."""
    columns = [[] for _ in commands]
    for _ in range(STEADY_ROUNDS):
        for column, command in zip(columns, commands):
            column.append(float(subprocess.check_output(command, cwd=directory, env=environment())))
    return [min(column) for column in columns]


def snapshots(table, rounds):
    """Adds the lines to the table of tests/bench/run."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        starts(table, directory, rounds)
        answers(table, directory, rounds)
        os.chdir(before)


if __name__ == "__main__":
    from init import Table
    snapshots(Table(), 40)
