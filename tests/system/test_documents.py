"""The examples that README.md, docs/ and the manual page give are run: a wrong one is worse than none.

Examples with output of their own are compared with it beside the tests of what they show: docs/info.md in test_info.py,
docs/logs.md in test_log_format.py.
"""

import json
import os
import re
import shlex
import subprocess

import pytest

from harness import PYENTRY, ROOT, Child, clean_env, pyentry, run, write_tree

PAGE = ROOT / "docs" / "pyentry.1"
DOCUMENTS = [ROOT / "README.md", PAGE, *sorted((ROOT / "docs").glob("*.md"))]
EXEC_FORM = re.compile(r'\["pyentry"[^\]]*\]')
SHELL_FORM = re.compile(r"^(?: {4,}|ENTRYPOINT |CMD )(pyentry [^`|[\n]*)$", re.MULTILINE)


def rendered():
    """The manual page as its reader sees it, which is not as it is written: mdoc has quotes of its own."""
    env = {**os.environ, "MANWIDTH": "200", "LC_ALL": "C.UTF-8"}
    return subprocess.run(["man", "-l", str(PAGE)], env=env, check=True, timeout=60, capture_output=True, text=True).stdout


def text_of(document):
    """What its reader takes the examples from."""
    return rendered().split("\nEXAMPLES\n")[1] if document == PAGE else document.read_text()


def examples():
    """Each command line of pyentry's, once, with the documents that give it."""
    found = {}
    for document in DOCUMENTS:
        text = text_of(document)
        lines = [json.loads(array) for array in EXEC_FORM.findall(text)]
        lines += [shlex.split(line, comments=True) for line in SHELL_FORM.findall(text)]
        for line in lines:
            found.setdefault(tuple(line[1:]), []).append(document.name)
    return found


EXAMPLES = examples()


@pytest.fixture
def app(tmp_path):
    """A package that has every module that the examples name, and says with which arguments it ran."""
    package = tmp_path / "app"
    package.mkdir()
    for name in ("__init__", "__main__", "worker"):
        (package / f"{name}.py").write_text("import sys\nif __name__ == '__main__': print('ran', sys.argv[1:])\n")
    return clean_env(PYTHONPATH=str(tmp_path))


def test_there_are_examples():
    assert {("-m", "app"), ("--healthcheck",)} <= set(EXAMPLES), EXAMPLES
    for args in (("-m", "app"), ("--healthcheck",), ("--signal-map=TERM=QUIT", "--term-status=0", "-m", "app.worker")):
        assert PAGE.name in EXAMPLES[args], EXAMPLES[args]


def test_the_manual_page_is_whole():
    """Its instructions for a Dockerfile are JSON, and its synopsis has every command but --help and --version."""
    page = rendered()
    arrays = re.findall(r"^ +(?:ENTRYPOINT|HEALTHCHECK CMD) (.*)$", page, re.MULTILINE)
    assert len(arrays) >= 3 and all(json.loads(array)[0] == "pyentry" for array in arrays)
    synopsis = page.split("\nSYNOPSIS\n")[1].split("\nDESCRIPTION\n")[0]
    told = re.findall(r"^  --([a-z]+)", pyentry("--help").stdout.decode().split("commands, in the place")[1], re.MULTILINE)
    assert set(told) - set(re.findall(r"pyentry --([a-z]+)", synopsis)) == {"help", "version"}


@pytest.mark.parametrize("args", [args for args in EXAMPLES if "-m" in args and "--bundle" not in args], ids=" ".join)
def test_an_entrypoint(args, app):
    """The options are valid, and the module runs; where it names a snapshot, that is not there, and so one line says."""
    done = pyentry(*args, env=app)
    snapshot = any("--restore" in arg for arg in args)
    assert (done.returncode, done.stdout, bool(done.stderr)) == (0, b"ran []\n", snapshot), (EXAMPLES[args], done)


@pytest.mark.parametrize("args", [args for args in EXAMPLES if "--healthcheck" in args], ids=" ".join)
def test_a_health_check(args, app):
    """It asks somebody, who is not there."""
    done = pyentry(*args, env={**app, "PORT": "9"})
    assert done.returncode == 1 and re.fullmatch(rb"pyentry: unhealthy: [a-z]+:[^\n]+: [^\n]+\n", done.stderr), \
        (EXAMPLES[args], done)


@pytest.mark.parametrize("args", [args for args in EXAMPLES if "--bundle" in args], ids=" ".join)
def test_a_bundle(args, tmp_path):
    """It is built, and runs."""
    write_tree(tmp_path, {"src/pkg/__init__.py": "", "src/pkg/main.py": "import dep\nprint('ran', dep.value)\n",
                          "vendor/dep.py": "value = 1\n"})
    done = pyentry(*args, cwd=tmp_path, timeout=120)
    assert (done.returncode, done.stderr) == (0, b""), EXAMPLES[args]
    made = tmp_path / (args[args.index("--rootfs") + 1] if "--rootfs" in args else "") / args[args.index("-o") + 1]
    assert run([made / made.name if "--dir" in args else made]).stdout == b"ran 1\n"


def test_no_example_is_left_out():
    assert [args for args in EXAMPLES if "-m" not in args and "--healthcheck" not in args] == []


def test_the_program_in_the_readme(tmp_path):
    """The handler drains at SIGTERM, and pyentry.limits has a count."""
    code, = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = "import time\ndef serve(): print('ready'); time.sleep(600)\ndef drain(): print('drained')\n"
    (tmp_path / "program.py").write_text(names + code)
    with Child(PYENTRY, str(tmp_path / "program.py")) as child:
        child.out.wait("ready\n")
        child.send(15)
        assert child.wait() == -15 and child.out.all() == b"ready\ndrained\n" and child.err.all() == b""
    (tmp_path / "program.py").write_text("def serve(): pass\n" + code + "print(workers)\n")
    assert int(pyentry(str(tmp_path / "program.py")).stdout) >= 1
