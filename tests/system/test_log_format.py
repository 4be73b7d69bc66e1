"""--log-format: pyentry's own lines, uncaught exceptions, the stop report, the verdict and crashes as JSON, one write each,
with the very text that --log-format=text prints; what the program says itself is left alone.
"""

import json
import re
import resource
import signal

import pytest

from harness import (PYENTRY, PYTHON, ROOT, VERSION, clean_env, gather, in_pid_namespace, no_core, outcome, pyentry,
                     records, run, stock, traced_writes, without_names)

JSON, TEXT = "--log-format=json", "--log-format=text"
EVENT = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
CLOUD = {"K_SERVICE": "shop", "K_REVISION": "shop-00007-abc"}
ENTRY_BYTES = 240 * 1024

UNCAUGHT = {
    "plain": "def f(): 1/0\nf()",
    "quotes": "raise ValueError('\"double\" \\'single\\' back\\\\slash {}')",
    "newlines": "raise ValueError('a\\nb\\r\\nc\\u2028d\\n')",
    "control bytes": "raise ValueError(''.join(map(chr, range(160))))",
    "lone surrogates": "raise ValueError('\\udc80 \\ud800 \\udfff')",
    "beyond the BMP": "raise ValueError('\\U0001f40d \\uffff é €')",
    "a chain": "try: 1/0\nexcept ZeroDivisionError as e: raise KeyError('b') from e",
    "no text": "raise Exception",
    "100 KB of text": "raise ValueError('x\"\\n' * 33_000)",
    "100 KB of frames": "def f(n):\n  try: f(n - 1) if n else 1/0\n  except Exception as e: raise KeyError(n) from e\nf(90)",
    "a syntax error": "compile('x = (', 'file \"name\\n', 'exec')",
    "a thread": "import threading\ndef f(): 1/0\nt = threading.Thread(target=f, name='\"t\"\\n'); t.start(); t.join()",
    "a thread without a Thread": "import _thread, time\n_thread.start_new_thread(lambda: 1/0, ())\ntime.sleep(0.3)",
    "unraisable": "class A:\n  def __del__(self): raise ValueError('\\udc80\\n')\na = A(); del a",
    "at the exit": "import atexit\natexit.register(lambda: 1/0)",
    "one inside the other": "class A:\n  def __del__(self): 1/0\nclass E(Exception):\n"
                            "  def __str__(self): A(); return 'e'\nraise E",
    "a text that prints": "import sys\nclass E(Exception):\n  def __str__(self): print('p', file=sys.stderr); return 'e'\nraise E",
    "an interrupt": "raise KeyboardInterrupt",
}
if VERSION < (3, 10):
    del UNCAUGHT["at the exit"]  # 3.9 writes it by itself, and asks no hook


def entry(line):
    """The object in a line, which json.tool reads, too."""
    assert line.endswith(b"\n") and line.count(b"\n") == 1, line[-200:]
    tool = run([PYTHON, "-m", "json.tool"], input=line)
    assert (tool.returncode, tool.stderr) == (0, b""), (tool.stderr, line[:500])
    return json.loads(line)


def one_entry(*args, **options):
    """The JSON object that a program writes to stderr, in one write; its status too."""
    status, seen = records([PYENTRY, *args], which=("stderr",), **options)
    assert len(seen) == 1, seen
    return status, entry(seen[0])


def as_text(code):
    """The same program under --log-format=text: status, and its stderr without the line's end."""
    done = pyentry(TEXT, "-c", code)
    assert done.stderr.endswith(b"\n")
    return done.returncode, done.stderr[:-1].decode()


def same_place(text):
    return without_names(text.encode()).decode()


def wrong_entry(name):
    """What is wrong with the entry of a program of UNCAUGHT, or None."""
    code = UNCAUGHT[name]
    status, found = one_entry(JSON, "-c", code, env=clean_env(**CLOUD))
    expected_status, text = as_text(code)
    expected = {"severity": "ERROR", "@type": EVENT, "message": same_place(text),
                "serviceContext": {"service": "shop", "version": "shop-00007-abc"}}
    found["message"] = same_place(found["message"])
    return None if (status, found) == (expected_status, expected) else (name, status, found, expected)


def test_uncaught_exceptions():
    """Whatever the text, it is one write, one valid JSON line, and its message is the text one would have seen."""
    found = [wrong for wrong in gather(wrong_entry, UNCAUGHT) if wrong]
    assert found == []


def test_the_encoding_of_the_programs_own_stderr():
    """Another wrapper over the same bytes, or an object that hands on to it: the message is the text all the same."""
    wrap = "import io, sys\nsys.stderr = io.TextIOWrapper(sys.stderr.buffer, encoding={!r}, write_through=True)\n"
    tee = "import sys\nclass Tee:\n  def write(self, text): return sys.__stderr__.write(text)\n" \
          "  def flush(self): pass\nsys.stderr = Tee()\n"
    for before, encoding in ((wrap.format("latin-1"), "utf-8"), (wrap.format("utf-8"), "latin-1"), (tee, "latin-1")):
        done = pyentry(JSON, "-c", before + "raise ValueError('caf\xe9')", env=clean_env(PYTHONIOENCODING=encoding))
        assert entry(done.stderr)["message"].endswith("ValueError: caf\xe9"), (before, done.stderr)


def test_one_write_by_strace():
    """The kernel sees one write(2) on descriptor 2, 100 KB of frames included."""
    for name in ("plain", "100 KB of text", "unraisable", "a thread"):
        _, found = traced_writes([PYENTRY, JSON, "-c", UNCAUGHT[name]])
        assert [fd for fd, _ in found] == [2], name


@pytest.mark.parametrize("unit", ["'x'", "'\\n'", "'\\x01'", "'\"'", "'\\u20ac'", "'\\U0001f40d'"])
def test_more_than_an_entry_holds(unit):
    """A traceback of 2 MB: beginning and end are kept, the line says what is missing, and it stays below Cloud Logging's
    256 KiB."""
    done = pyentry(JSON, "-c", f"def f(): raise ValueError({unit} * (2_000_000 // len({unit}.encode())) + 'the end')\nf()",
                   env=clean_env(**CLOUD))
    message = entry(done.stderr)["message"]
    assert ENTRY_BYTES - 100 < len(done.stderr) <= ENTRY_BYTES
    assert message.startswith("Traceback (most recent call last):\n") and message.endswith("the end")
    match = re.search(r"\n\[\.\.\. (\d+) bytes left out \.\.\.\]\n", message)
    assert match and 1_700_000 < int(match[1]) + len(message.encode()) - len(match[0]) < 2_100_000


def test_many_threads():
    """Eight threads that fail, print and log at once: each entry is a line of its own."""
    code = """
import logging, threading
def work(name):
    for n in range(20):
        logging.warning('%s %d', name, n)
        t = threading.Thread(target=lambda: {}[name, n], daemon=True)
        t.start(); t.join()
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for t in threads: t.start()
for t in threads: t.join()
"""
    status, seen = records([PYENTRY, JSON, "-c", code], which=("stderr",))
    entries = [json.loads(line) for line in seen if line.startswith(b"{")]
    assert status == 0 and len(seen) == 2 * 8 * 20 and len(entries) == 8 * 20
    assert {e["message"].splitlines()[-1] for e in entries} == {f"KeyError: ({i}, {n})" for i in range(8) for n in range(20)}


def test_after_half_a_line():
    """An entry begins a line of its own behind a progress bar, also where stdout and stderr are the same file."""
    for text, which in (("sys.stderr", ("stderr",)), ("sys.stdout", ("stdout", "stderr"))):
        _, seen = records([PYENTRY, JSON, "-c", f"import sys\nprint('50%', end='', file={text})\n1/0"], which=which)
        assert seen[0] == b"50%" and len(seen) == 2 and seen[1].startswith(b'\n{"severity"')
        entry(seen[1][1:])


def test_a_hook_of_the_programs():
    """A program with a hook of its own is in charge; python's own hooks, which it may call, make entries."""
    for hook in ("import sys\nsys.excepthook = lambda *a: print('mine', a[0].__name__, file=sys.stderr)\n1/0",
                 "import sys, threading\nthreading.excepthook = lambda a: print('mine', a.exc_type.__name__, file=sys.stderr)\n"
                 "t = threading.Thread(target=lambda: 1/0); t.start(); t.join()",
                 "import sys\nsys.unraisablehook = lambda a: print('mine', a.exc_type.__name__, file=sys.stderr)\n"
                 "class A:\n  def __del__(self): 1/0\nA()"):
        assert pyentry(JSON, "-c", hook).stderr == b"mine ZeroDivisionError\n"
    code = "import sys\nsys.excepthook = lambda *a: sys.__excepthook__(*a)\n1/0"
    assert entry(pyentry(JSON, "-c", code).stderr)["message"].endswith("ZeroDivisionError: division by zero")
    code = "import io, sys\nsys.stderr = io.StringIO()\nsys.excepthook(*([ValueError, ValueError('x'), None]))\n" \
           "print(sys.stderr.getvalue(), end='')"
    assert pyentry(JSON, "-c", code).stdout == b"ValueError: x\n"


def test_what_the_program_says():
    """Prints, log records, warnings, printed tracebacks, sys.exit's text, and what children print are left alone."""
    codes = ["import sys; print('a', 'b'); print('c', file=sys.stderr); sys.stderr.write('d')",
             "import logging; logging.error('a\\nb'); logging.exception('c')",
             "import warnings; warnings.warn('w')", "import sys; sys.exit('a text')",
             "import traceback\ntry: 1/0\nexcept ZeroDivisionError: traceback.print_exc()",
             "import os; os.write(2, b'bytes')", "import subprocess; subprocess.run(['sh', '-c', 'echo x >&2'])"]

    def both(code):
        return code, outcome(pyentry(JSON, "-c", code, env=clean_env(**CLOUD))), outcome(stock("-u", "-c", code))

    assert [result for result in gather(both, codes) if result[1] != result[2]] == []


def test_at_the_prompt():
    """What fails at the prompt is text for the person there; what failed before it is an entry."""
    done = pyentry(JSON, "-i", "-c", "{}['program']", input=b"{}['prompt']\n")
    first, rest = done.stderr.split(b"\n", 1)
    assert entry(first + b"\n")["message"].endswith("KeyError: 'program'")
    assert b"\nKeyError: 'prompt'\n" in rest and b"{" not in rest.split(b"Traceback")[0]


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-16", "utf-8:surrogatepass", "cp1252"])
def test_encodings(encoding):
    """An entry is UTF-8, whatever stderr's encoding is."""
    done = pyentry(JSON, "-c", "raise ValueError('é \\u20ac \\udc80')", env=clean_env(PYTHONIOENCODING=encoding))
    line = entry(done.stderr)["message"].splitlines()[-1]
    assert line.startswith("ValueError: ") and ("é" in line) == (encoding != "ascii")


def test_auto():
    """auto is json where K_SERVICE, CLOUD_RUN_JOB or CLOUD_RUN_WORKER_POOL is set, and empty counts as unset."""
    def context(args, env):
        line = pyentry(*args, "--init=bad", env=clean_env(**env)).stderr
        return entry(line).get("serviceContext", {}) if line.startswith(b"{") else None

    job = {"CLOUD_RUN_JOB": "nightly", "CLOUD_RUN_EXECUTION": "nightly-x1"}
    pool = {"CLOUD_RUN_WORKER_POOL": "pool", "CLOUD_RUN_WORKER_POOL_REVISION": "pool-1"}
    cases = [([], {}, None), ([], {"K_SERVICE": ""}, None), ([TEXT], CLOUD, None), ([JSON], {}, {}),
             ([], {"PYENTRY_LOG_FORMAT": "json"}, {}), ([], {"PYENTRY_LOG_FORMAT": "text", **CLOUD}, None),
             ([JSON], {"PYENTRY_LOG_FORMAT": "text"}, {}), ([], {"PYENTRY_LOG_FORMAT": "auto"}, None),
             ([], {"K_SERVICE": "only"}, {"service": "only"}),
             ([], CLOUD, {"service": "shop", "version": "shop-00007-abc"}),
             ([], job, {"service": "nightly", "version": "nightly-x1"}),
             ([], pool, {"service": "pool", "version": "pool-1"})]
    assert [context(args, env) for args, env, _ in cases] == [expected for _, _, expected in cases]


def test_own_lines():
    """A refusal is one entry, with the text of the line, whatever bytes the value has."""
    for value in (b"foo", b"\xff\xfe", b'"quoted"\\', b"a\nb\x1b", "é".encode(), b"\xed\xa0\x80", b"x" * 9000, b'"' * 9000):
        status, seen = records([PYENTRY, JSON, b"--init=" + value], which=("stdout", "stderr"))
        assert status == 2 and len(seen) == 1 and len(seen[0]) <= 4096
        found = entry(seen[0])
        text = pyentry(TEXT, b"--init=" + value).stderr[:-1].decode(errors="replace")
        assert found["severity"] == "ERROR" and found["message"].startswith("pyentry: --init='")
        if len(value) < 100:
            assert found["message"] == text


def test_children_inherit_it():
    """The option holds for the Pythons that this one starts, and for forked workers."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', '1/0'])"
    assert entry(pyentry(JSON, "-c", code).stderr)["severity"] == "ERROR"
    code = "import os\nif os.fork() == 0: 1/0\nos.wait()"
    assert entry(pyentry(JSON, "-c", code).stderr)["severity"] == "ERROR"


STUCK = """
import os, signal, sys, time
def stuck():
    time.sleep(1)
try:
    os.kill(os.getppid() if sys.argv[1] == "init" else os.getpid(), signal.SIGTERM)
    time.sleep(20)
finally:
    print("half a line", end="", file=sys.stderr)
    stuck()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("init", ["always", "never"])
def test_stop_report_and_verdict(init):
    """The report is one entry in one write, made in a signal handler; so is the line about Python's end."""
    status, seen = records([PYENTRY, JSON, f"--init={init}", "--stop-report=300ms", "-c", STUCK,
                            "init" if init == "always" else "self"], which=("stderr",), env=clean_env(**CLOUD))
    assert seen[0] == b"half a line" and len(seen) == (3 if init == "always" else 2)
    report = entry(seen[1][1:])
    assert seen[1].startswith(b"\n{") and report["severity"] == "WARNING" and report["serviceContext"]["service"] == "shop"
    lines = report["message"].splitlines()
    assert re.fullmatch(r"pyentry: still running 0\.[3-9] s after SIGTERM; where each thread is:", lines[0])
    assert re.match(r"(Current t|T)hread 0x", lines[1]) and any(line.endswith("in stuck") for line in lines)
    if init == "always":
        assert status == 128 + signal.SIGKILL
        verdict = entry(seen[2])
        assert verdict["severity"] == "CRITICAL" and "@type" not in verdict
        assert verdict["message"].startswith("pyentry: Python was ended by signal 9 (Killed) after ")


def test_killed_at_the_time_out():
    """What the init says on its own is an entry each, as process 1 too."""
    code = "import os, signal, time\nsignal.signal(signal.SIGTERM, lambda *a: 0)\nos.kill({}, 15)\n" \
           "while True: time.sleep(60)"
    for command, parent in (([], "os.getppid()"), (in_pid_namespace(), "1")):
        done = run([*command, PYENTRY, JSON, "--init=always", "--stop-timeout=200ms", "-c", code.format(parent)])
        found = entry(done.stderr)
        assert done.returncode == 128 + signal.SIGKILL and found["severity"] == "ERROR"
        assert re.fullmatch(r"pyentry: still running \d\.\d s after SIGTERM: killed, as --stop-timeout says", found["message"])


CRASHES = {
    "a null pointer": "import ctypes\ndef crash(): ctypes.string_at(0)\ncrash()",
    "abort": "import os\ndef crash(): os.abort()\ncrash()",
    "in a thread": "import ctypes, threading\ndef crash(): ctypes.string_at(0)\n"
                   "t = threading.Thread(target=crash); t.start(); t.join()",
    "in a child": "import ctypes, os\ndef crash(): ctypes.string_at(0)\nif os.fork() == 0: crash()\n"
                  "os._exit(os.wait()[1] and 0)",
    **{f"signal {n}": f"import os\ndef crash(): os.kill(os.getpid(), {n})\ncrash()" for n in (4, 6, 7, 8, 11)}}


def test_crashes():
    """faulthandler's report is one entry in one write; the process ends by the signal all the same."""
    def crash(name):
        status, seen = records([PYENTRY, JSON, "-c", CRASHES[name]], which=("stderr",), preexec_fn=no_core)
        assert len(seen) == 1, seen
        text = pyentry(TEXT, "-c", CRASHES[name], preexec_fn=no_core)
        found = entry(seen[0])
        assert found["severity"] == "CRITICAL"
        assert (status, hidden(found["message"])) == (text.returncode, hidden(text.stderr[:-1].decode())), name

    def hidden(text):
        """Up to the end of the thread that crashed: where the others are is chance."""
        return re.sub(r"0x[0-9a-f]+", "ADDR", re.split(r"\n\n(?:Extension modules|Thread|Current thread's C)", text)[0])

    gather(crash, CRASHES)


def test_crash_by_stack_overflow():
    """A stack that overflowed leaves room for the entry."""
    code = ("import sys, ctypes\nf = ctypes.CFUNCTYPE(None)(lambda: g())\ndef g(): f()\n"
            "sys.setrecursionlimit(10**6)\ng()\n")
    done = pyentry(JSON, "-c", code, preexec_fn=no_core)
    assert done.returncode == pyentry(TEXT, "-c", code, preexec_fn=no_core).returncode
    if done.returncode == -signal.SIGSEGV:
        assert "Fatal Python error" in entry(done.stderr)["message"]


def test_the_program_is_in_charge_of_faulthandler():
    """Switched off it is silent; where the program enables it with stderr it is an entry, with another file it is text."""
    crash = "\nctypes.string_at(0)"
    off = pyentry(JSON, "-c", "import ctypes, faulthandler; faulthandler.disable()" + crash, preexec_fn=no_core)
    assert (off.returncode, off.stderr) == (-signal.SIGSEGV, b"")
    off = pyentry(JSON, "--faulthandler=off", "-c", "import ctypes" + crash, preexec_fn=no_core)
    assert (off.returncode, off.stderr) == (-signal.SIGSEGV, b"")
    own = pyentry(JSON, "-c", "import ctypes, faulthandler, sys; faulthandler.enable(file=sys.stdout)" + crash,
                  preexec_fn=no_core)
    assert own.stdout.startswith(b"Fatal Python error") and (own.returncode, own.stderr) == (-signal.SIGSEGV, b"")
    for calls in ("enable()", "enable(); faulthandler.enable()", "disable(); faulthandler.enable()",
                  "enable(file=sys.stdout); faulthandler.enable(file=sys.stderr)", "enable(sys.stderr, False)"):
        again = pyentry(JSON, "-c", f"import ctypes, faulthandler, sys; faulthandler.{calls}" + crash, preexec_fn=no_core)
        assert again.returncode == -signal.SIGSEGV
        assert entry(again.stderr)["message"].startswith("Fatal Python error: Segmentation fault"), calls
    code = "import faulthandler\nprint(faulthandler.is_enabled())\ntry: faulthandler.enable(1, 2, 3, 4, 5)\n" \
           "except TypeError: print('TypeError')\nfaulthandler.enable(all_threads=False); print(faulthandler.enable.__name__)"
    done = pyentry(JSON, "-c", code)
    assert (done.stdout, done.stderr) == (b"True\nTypeError\nenable\n", b"")


NO_DESCRIPTORS = {
    "lowered": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))\n",
    "used up": "import os\nfile = open('file', 'wb')\ntry:\n  while True: os.dup(file.fileno())\n"
               "except OSError: pass\n",
}


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    no_core()


@pytest.mark.parametrize("why", NO_DESCRIPTORS)
def test_without_descriptors(why, tmp_path):
    """The entry of a crash says so, the tracebacks follow as text, and the process ends as ever; so a stop report. What the
    program has open in the place of ours is left alone."""
    given = {"preexec_fn": few_descriptors, "cwd": tmp_path}
    (tmp_path / "file").touch()
    begin = "import ctypes, signal, time\n" + NO_DESCRIPTORS[why]
    done = pyentry(JSON, "-c", begin + "def crash(): ctypes.string_at(0)\ncrash()", **given)
    first, rest = done.stderr.split(b"\n", 1)
    assert done.returncode == -signal.SIGSEGV and b"in crash\n" in rest
    assert "signal 11, and no descriptor left" in entry(first + b"\n")["message"]
    stop = begin + """
def clean_up(): time.sleep(1.5)
try: signal.raise_signal(signal.SIGTERM)
finally: clean_up()
"""
    for form in (JSON, TEXT):
        done = pyentry(form, "--stop-report=300ms", "-c", stop, **given)
        first, rest = done.stderr.split(b"\n", 1)
        assert b"still running 0.3 s after SIGTERM" in first and b"in clean_up\n" in rest
        assert done.returncode == -signal.SIGTERM and first.startswith(b"{" if form == JSON else b"pyentry: ")
    assert (tmp_path / "file").read_bytes() == b""


def test_without_memfd():
    """On a kernel without memfd_create a crash and a stop report are text, and the process ends as ever."""
    refuse = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=memfd_create", "-e", "inject=memfd_create:error=ENOSYS"]
    done = run([*refuse, PYENTRY, JSON, "-c", CRASHES["a null pointer"]], preexec_fn=no_core)
    assert done.stderr.startswith(b"Fatal Python error: Segmentation fault\n") and b"in crash\n" in done.stderr
    done = run([*refuse, PYENTRY, JSON, "--stop-report=300ms", "-c", STUCK, "self"])
    assert b"where each thread is:\n" in done.stderr and b"in stuck\n" in done.stderr


def test_text_is_as_ever():
    """--log-format=text, and auto outside of Cloud Run: python's bytes, in one write, with K_SERVICE or without."""
    def seen(case):
        args, env, code = case
        return records([PYENTRY, *args, "-c", code], which=("stderr",), env=clean_env(**env))

    codes = [UNCAUGHT[name] for name in ("plain", "quotes", "a thread", "unraisable", "100 KB of text")]
    cases = [(args, env, code) for code in codes for args, env in (([], {}), ([TEXT], CLOUD))]
    for (_, _, code), (status, found) in zip(cases, gather(seen, cases)):
        expected = stock("-u", "-c", code)
        assert (status, len(found)) == (expected.returncode, 1)
        assert without_names(found[0]) == without_names(expected.stderr)


def test_without_stderr():
    """With stderr closed, a full disk or a reader that is gone, the program ends as ever."""
    assert pyentry(JSON, "-c", "1/0", preexec_fn=lambda: __import__("os").close(2)).returncode == 1
    with open("/dev/full", "wb") as full:
        assert run([PYENTRY, JSON, "-c", "1/0"], stderr=full).returncode == 1


def test_the_example_in_the_docs():
    """docs/logs.md: the command gives the line below it."""
    text = (ROOT / "docs" / "logs.md").read_text()
    command, line = re.search(r"```sh\n(.*?)```\n\n```json\n(.*?)```", text, re.DOTALL).groups()
    done = run(["sh", "-c", command.replace("pyentry", PYENTRY)])
    assert done.stderr.decode().replace(r"\n    1/0\n    ~^~", "") == line  # 3.13 has the source of -c
