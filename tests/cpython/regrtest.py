"""One module of CPython's tests, run in a process of its own, with a result per test."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import uuid
import xml.etree.ElementTree as ElementTree

# What a module did as a whole (it crashed, hung, left threads behind) is kept
# as if it were one more test, under a name that begins with this.
WHOLE = "module "
MARK = "PYE_REGRTEST_MARK"
ORDER = {"skipped": 0, "passed": 1, "failed": 2}
# regrtest ends a module that takes too long itself, and says where it hung.
# This many seconds later we do.
GRACE = 30


def clean_environment():
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYENTRY", "MAKE", "MFLAGS"))
    }


def ask(python, code):
    answer = subprocess.run(
        [python, "-c", code], env=clean_environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    return answer.stdout.strip()


def version_of(python):
    return tuple(map(int, ask(python, "import sys; print(*sys.version_info[:2])").split()))


def has_module(python, module):
    code = f"import importlib.util as u; print(u.find_spec('test.{module}') is not None)"
    return ask(python, code) == "True"


def indent(text):
    return "\n".join("    " + line for line in text.splitlines())


class Run:
    """What one module did under one interpreter: {test id: passed | failed | skipped}."""

    def __init__(self, module, log):
        self.module = module
        self.log = log
        self.results = {}
        self.details = {}
        self.seconds = 0.0

    def add(self, test, outcome, detail=""):
        # Sub-tests and doctests may share a name: the worst of them stands for it.
        if ORDER[outcome] >= ORDER.get(self.results.get(test), -1):
            self.results[test] = outcome
        if detail:
            self.details[test] = self.details.get(test, "") + indent(detail) + "\n"

    def read_xml(self, path):
        for case in ElementTree.parse(path).iter("testcase"):
            if case.get("name") is None:
                continue  # a sub-test that failed: see read_log
            test = test_id(case.get("name"))
            children = {child.tag: child for child in case}
            if "skipped" in children:
                self.add(test, "skipped")
            elif children.keys() & {"error", "failure"} or case.get("result") == "unexpected":
                detail = "\n".join("".join(c.itertext()) for c in case)
                self.add(test, "failed", detail)
            else:
                self.add(test, "passed")

    def read_log(self):
        """The failures of sub-tests, of which the XML file says neither name nor reason."""
        text = self.log.read_text(errors="replace")
        for block in re.split(r"^={70}$", text, flags=re.MULTILINE)[1:]:
            found = re.match(r"\n(?:FAIL|ERROR): (\w+) \((test\.[\w.]+)\)", block)
            if found:
                name, place = found.groups()
                test = place if place.endswith("." + name) else f"{place}.{name}"
                if self.results.get(test) != "failed":
                    self.add(test, "failed", re.split(r"^-{70}\nRan ", block, flags=re.MULTILINE)[0])

    def counts(self):
        counts = dict.fromkeys(ORDER, 0)
        for test, outcome in self.results.items():
            if outcome == "failed" or not test.startswith(WHOLE):
                counts[outcome] += 1
        return counts

    def bad(self, test):
        return self.results.get(test) != "passed"

    def tail(self, lines=25):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return indent("\n".join(text.splitlines()[-lines:]))


def test_id(name):
    """The test's own name, without the parameters of a sub-test."""
    if re.match(r"(setUp|tearDown)(Class|Module) \(", name):
        return name
    return re.split(r" [(\[]", name, maxsplit=1)[0]


def matching(names, left_out):
    """regrtest's options for the tests of a module that are asked for."""
    options = []
    for name in names:
        for pattern in (name, f"*.{name}", f"*.{name}.*"):
            options += ["-m", pattern]
    for name in left_out:
        options += ["-i", name]
    return options


class Runner:
    def __init__(self, executables, base, timeout):
        self.executables = executables
        self.base = base
        self.timeout = timeout
        self.mark = f"{MARK}={uuid.uuid4().hex}"
        self.stopped = False
        (base / "logs").mkdir()

    def run(self, who, module, names, left_out=(), timeout=None):
        """Run a module (or the tests of it with these names) under "stock" or "pyentry"."""
        timeout = timeout or self.timeout
        # Short paths: multiprocessing puts sockets below TMPDIR, and their
        # names may have 107 bytes.
        place = pathlib.Path(self.base, uuid.uuid4().hex[:6])
        place.mkdir()
        run = Run(module, self.base / "logs" / f"{module}.{who}.{place.name}.log")
        xml = place / "r.xml"
        command = [self.executables[who], "-m", "test", "-v", "--fail-env-changed"]
        command += ["--timeout", str(timeout), "--junit-xml", str(xml)]
        command += matching(names, left_out) + [module]
        began = time.monotonic()
        status = self.execute(command, place, run.log, timeout + GRACE)
        run.seconds = time.monotonic() - began
        if xml.exists():
            run.read_xml(xml)
        run.read_log()
        whole = WHOLE + module
        if status == 0 or (status == 2 and "failed" in run.results.values()):
            run.add(whole, "passed")
        else:
            run.add(whole, "failed", f"{status_in_words(status)}; the end of its log:\n{run.tail()}")
        shutil.rmtree(place, ignore_errors=True)
        return run

    def execute(self, command, place, log, limit):
        """The exit status of command; None when it had to be killed."""
        if self.stopped:
            return None
        mark = f"{self.mark}.{place.name}"
        environment = clean_environment()
        # A home of its own: test_site writes into the user's site directory.
        environment.update([("TMPDIR", str(place)), ("HOME", str(place)), mark.split("=")])
        with open(log, "wb") as output:
            process = subprocess.Popen(
                command,
                cwd=place,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            kill_marked(mark)
            process.wait()

    def stop(self):
        """End everything that runs, and start nothing any more."""
        self.stopped = True
        kill_marked(self.mark)


def status_in_words(status):
    if status is None:
        return "took too long"
    if status < 0:
        return f"died by signal {-status}"
    return {3: "changed the environment", 4: "ran no test"}.get(status, f"exit status {status}")


def kill_marked(mark):
    """End what a module left running: whatever has a mark that begins so in its environment."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            environment = pathlib.Path("/proc", name, "environ").read_bytes().split(b"\0")
            if any(variable.startswith(mark.encode()) for variable in environment):
                os.kill(int(name), signal.SIGKILL)
        except OSError:
            continue  # ended by itself, or someone else's


def default_signals():
    """What a shell ignores for a job in the background would make tests fail: take it back."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
