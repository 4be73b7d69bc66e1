"""A bundle beside `python3 -u -m app` and a zipapp: hello, and the import of flask and of django, each from start to end.

Each app is measured in turn with python3, so that whatever else the machine does meets both. python3 finds the packages
through PYTHONPATH where they are installed, with their compiled files beside them; a zipapp has sources alone, as
`python3 -m zipapp` makes it. Instructions are counted by callgrind, which nothing else disturbs. Debian 12 has PEX, 1.5.3,
but not one that starts with its Python: from 3.11 on, open() refuses the mode that it reads .pth files with.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipapp
from pathlib import Path

from spans import spans

PYENTRY = os.environ.get("PYENTRY", "")
PYTHON = os.environ.get("PYTHON", "")
PACKAGES = Path("/usr/lib/python3/dist-packages")
NULL = os.open(os.devnull, os.O_RDWR)

# name: (its code, the packages that it needs, the part of python3's time to be reached)
APPS = {
    "hello": ("print('hello')\n", (), 0.50),
    "flask": ("import flask\nprint('imported')\n", ("flask", "werkzeug", "jinja2", "markupsafe", "itsdangerous", "click"), 0.75),
    "django": ("import django.core.management, django.core.handlers.wsgi, django.db, django.template, django.urls\n"
               "print('imported')\n",
               ("django", "asgiref", "sqlparse", "pytz"), 0.75),
}
CALLS_REACH, ALLOWANCE = 1 / 3, 1.1


def calls(command, environment):
    """System calls, over all threads."""
    with tempfile.NamedTemporaryFile("r") as report:
        subprocess.run(["strace", "-f", "-c", "-U", "calls,name", "-o", report.name, *command], env=environment,
                       stdout=NULL, check=True)
        return int(report.read().split()[-2])


def instructions(command, environment):
    with tempfile.NamedTemporaryFile("r") as report:
        subprocess.run(["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={report.name}", *command],
                       env=dict(environment, PYTHONHASHSEED="0"), stdout=NULL, check=True)
        return int(re.search(r"^totals: (\d+)$", report.read(), re.MULTILINE).group(1))


def lay_out(folder, name):
    """The app's source and its packages in a directory, and the bundle and the zipapp of it."""
    code, packages, _ = APPS[name]
    source = folder / f"{name}-source"
    source.mkdir()
    (source / f"bench_{name}.py").write_text(code)
    for package in packages:
        if not (PACKAGES / package).exists():
            return None
        (source / package).symlink_to(PACKAGES / package)
    bundle, zipped = str(folder / name), str(folder / f"{name}.pyz")
    subprocess.run([PYENTRY, "--bundle", "-o", bundle, "-m", f"bench_{name}", "--stdlib", str(source)], check=True,
                   stdout=NULL, stderr=NULL)
    shutil.copytree(source, folder / "zipped", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "zipped" / "__main__.py").write_text(code)
    zipapp.create_archive(folder / "zipped", zipped)
    shutil.rmtree(folder / "zipped")
    return source, [bundle], [PYTHON, "-u", zipped]


def compare(table, name, source, bundle, zipped, rounds):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYENTRY"))}
    theirs = [PYTHON, "-u", "-m", f"bench_{name}"]
    with_path = dict(environment, PYTHONPATH=str(source))
    for _ in range(2):
        spans(theirs, with_path), spans(bundle, environment)
    rows = [(spans(bundle, environment), spans(theirs, with_path)) for _ in range(rounds)]
    ratio = statistics.median(ours[0] / stock[0] for ours, stock in rows)
    table.line(f"bundle, {name}, to its line", "", "", ratio)
    pairs = [(ours[1], stock[1]) for ours, stock in rows]
    ratio, reach = statistics.median(a / b for a, b in pairs), APPS[name][2]
    ours, stock = (statistics.median(column) * 1e3 for column in zip(*pairs))
    table.line(f"bundle, {name}, median of {rounds}", f"{ours:.2f} ms", f"{stock:.2f} ms", ratio, f"<= {reach:.2f}",
               ratio <= reach, ratio > reach * ALLOWANCE)
    least = [min(column) for column in zip(*pairs)]
    table.line(f"bundle, {name}, least", *(f"{seconds * 1e3:.2f} ms" for seconds in least), least[0] / least[1])
    fast = dict(environment, PYENTRY_FAST_EXIT="on")
    for what, one, other in (("--fast-exit", (bundle, fast), (theirs, with_path)),
                             ("beside a zipapp", (bundle, environment), (zipped, environment))):
        ratio = statistics.median(spans(*one)[1] / spans(*other)[1] for _ in range(max(3, rounds // 4)))
        table.line(f"bundle, {name}, {what}", "", "", ratio)
    ours, stock = instructions(bundle, environment), instructions(theirs, with_path)
    table.line(f"bundle, {name}, instructions", f"{ours / 1e6:.1f} M", f"{stock / 1e6:.1f} M", ours / stock)
    ours, stock = calls(bundle, environment), calls(theirs, with_path)
    reach = {"reach": f"<= {CALLS_REACH:.2f}", "reached": ours / stock <= CALLS_REACH} if name == "hello" else {}
    table.line(f"bundle, {name}, system calls", str(ours), str(stock), ours / stock, **reach)


def bundles(table, rounds):
    with tempfile.TemporaryDirectory() as folder:
        for name in APPS:
            laid = lay_out(Path(folder), name)
            if laid:
                compare(table, name, *laid, rounds)
