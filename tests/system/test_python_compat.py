"""pyentry is python: the same command line and environment give the same interpreter, the same result.

Each case runs under the stock interpreter and under pyentry, and everything that a program can see of
either must be equal. What differs on purpose is taken out by name in facts_of().
"""

import json
import os
import re
import resource
import shutil
import signal
import zipfile

import pytest

from harness import (Child, PROBES, PYENTRY, PYTHON, VERSION, both, clean_env, differences, gather, outcome,
                     run, sections, show, stock, wait_asleep, write_tree)

FACTS = str(PROBES / "facts.py")
NOWHERE = "/nonexistent"


def facts_of(program, args, executable=None, **options):
    """What probes/facts.py reports, less what differs between the two on purpose."""
    unbuffered = ["-u"] if program == PYTHON else []  # unbuffered streams are pyentry's default
    result = run([program, *unbuffered, *args], executable=executable, **options)
    assert result.returncode == 0, outcome(result)
    report = json.loads(result.stdout)
    facts = report["facts"]
    if unbuffered and facts["sys"]["orig_argv"] != "(none)":
        facts["sys"]["orig_argv"].remove("-u")
    for signum in (15, 4, 6, 7, 8, 11):  # SIGTERM is pyentry's, the crashes are faulthandler's by default
        del facts["signals"][str(signum)]
    told = re.sub(r"object at 0x[0-9a-f]+", "object", json.dumps(facts))
    report["facts"] = json.loads(told.replace(PYENTRY, "EXE").replace(PYTHON, "EXE"))
    report["stderr"] = result.stderr
    return report


def compare_facts(name, args, **options):
    """A list of what differs, empty when pyentry is the same interpreter."""
    theirs, ours = (facts_of(program, args, **options) for program in (PYTHON, PYENTRY))
    found = []
    for key in theirs["facts"]:
        if theirs["facts"][key] != ours["facts"][key]:
            found += [(name, key, *pair) for pair in unequal(theirs["facts"][key], ours["facts"][key])]
    extra = set(ours["modules"]) - set(theirs["modules"])
    extra -= set(ours["builtin"])  # _pyentry, faulthandler and the like; they are no files
    found += [(name, "modules", m) for m in sorted(extra - {"pyentry", "warnings"})]
    found += [(name, "no module", m) for m in sorted(set(theirs["modules"]) - set(ours["modules"]))]
    found += [(name, "no builtin", m) for m in sorted(set(theirs["builtin"]) - set(ours["builtin"]))]
    return found


def listed(found):
    return "\n".join(str(line)[:1000] for lines in found for line in lines)


def unequal(theirs, ours):
    if not (isinstance(theirs, dict) and isinstance(ours, dict)):
        return [("python", theirs, "pyentry", ours)]
    names = sorted(theirs.keys() | ours.keys())
    return [(n, theirs.get(n), ours.get(n)) for n in names if theirs.get(n) != ours.get(n)]


FLAGS = ["", "-I", "-E", "-s", "-S", "-O", "-OO", "-B", "-b", "-bb", "-q", "-BEsO", "-ISB", "-d", "-R",
         "-W error", "-W ignore::DeprecationWarning -W default", "-Wonce", "-X dev", "-Xdev", "-X utf8",
         "-X utf8=0", "-X tracemalloc", "-X tracemalloc=5", "-X faulthandler", "-X foo=bar -X baz",
         "-X pycache_prefix=cache", "-X importtime", "-X showrefcount", "-X oldparser",
         "--check-hash-based-pycs always", "--check-hash-based-pycs never", "-u", "-uB"]
FLAGS += ["-X warn_default_encoding"] if VERSION >= (3, 10) else []
FLAGS += ["-P", "-X int_max_str_digits=5000", "-X frozen_modules=off", "-X frozen_modules=on",
          "-X no_debug_ranges", "-PsE"] if VERSION >= (3, 11) else []
FLAGS += ["-X perf"] if VERSION >= (3, 12) else []
FLAGS += ["-X cpu_count=3", "-X gil=1"] if VERSION >= (3, 13) else []


def test_flags(scratch):
    """Every interpreter flag gives python's sys.flags, sys.argv, sys.orig_argv, sys.path, streams..."""
    flags = [f for f in FLAGS if stock(*f.split(), "-c", "pass").returncode == 0]
    found = gather(lambda f: compare_facts(f, [*f.split(), FACTS, "one", "-two"]), flags)
    assert not any(found), listed(found)


def environments(folder):
    """Environment variables that python reads, one set a case."""
    prefix = stock("-c", "import sys; print(sys.prefix)").stdout.decode().strip()
    user = write_tree(folder, {"sitecustomize.py": "import os; os.environ['SITE'] = 'yes'\n",
                               "usercustomize.py": ""})
    cases = ["PYTHONHASHSEED=0", f"PYTHONPATH={user}", f"PYTHONPATH={NOWHERE}:{user}:", "PYTHONOPTIMIZE=2",
             f"PYTHONHOME={prefix}", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "PYTHONUNBUFFERED=",
             "PYTHONWARNINGS=error,ignore::DeprecationWarning", "PYTHONDEVMODE=1", "PYTHONUTF8=1",
             "PYTHONUTF8=0", "PYTHONIOENCODING=latin-1", "PYTHONIOENCODING=latin-1:replace",
             "PYTHONIOENCODING=:backslashreplace", "PYTHONIOENCODING=utf-16", "PYTHONNOUSERSITE=1",
             f"PYTHONUSERBASE={user}", f"PYTHONPYCACHEPREFIX={user}/cache", "PYTHONMALLOC=debug",
             "PYTHONMALLOC=malloc", "PYTHONTRACEMALLOC=3", "PYTHONASYNCIODEBUG=1", "PYTHONFAULTHANDLER=1",
             "PYTHONDEBUG=1", "PYTHONPLATLIBDIR=lib", "PYTHONCOERCECLOCALE=0", "PYTHONCOERCECLOCALE=warn",
             "PYTHONPROFILEIMPORTTIME=1", "PYTHONBREAKPOINT=0", "PYTHONINTMAXSTRDIGITS=6000",
             "PYTHONNODEBUGRANGES=1", "PYTHONSAFEPATH=1", "PYTHONWARNDEFAULTENCODING=1",
             "PYTHONSTARTUP=/nonexistent", "PYTHONEXECUTABLE=/nonexistent", "LANG=C", "LC_ALL=C",
             "LC_ALL=POSIX", "LC_ALL=xx_YY.nothing", "LC_CTYPE=C.UTF-8", "LANG=C PYTHONCOERCECLOCALE=0",
             "LANG=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0", "LANG=C PYTHONCOERCECLOCALE=warn", "LANG=",
             "TZ=UTC", "PYTHON_CPU_COUNT=5", "PYTHON_FROZEN_MODULES=off"]
    return [dict(pair.split("=", 1) for pair in case.split(" ")) for case in cases]


def test_environment(tmp_path):
    """Every PYTHON* variable and every locale means what it means to python."""
    cases = environments(tmp_path)
    cases += [{"LANG": None}, {"PATH": None}, {"HOME": None}, {"HOME": NOWHERE}]
    found = gather(lambda c: compare_facts(str(c), [FACTS], env=clean_env(**c)), cases)
    assert not any(found), listed(found)


def test_an_ignored_environment_is_ignored(tmp_path):
    """-E and -I leave PYTHON* variables unread, as in python."""
    hostile = clean_env(PYTHONPATH=NOWHERE, PYTHONOPTIMIZE="1", PYTHONIOENCODING="latin-1", PYTHONUTF8="1",
                        PYTHONHOME=NOWHERE, PYTHONWARNINGS="error", PYTHONINSPECT="1")
    found = [compare_facts(flag, [flag, FACTS], env=hostile) for flag in ("-E", "-I")]
    assert not any(found), listed(found)


def test_inherited_state():
    """An empty environment, ignored and blocked signals and a umask: as python has them."""
    def odd():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM, signal.SIGALRM})
        os.umask(0o137)

    found = compare_facts("empty", [FACTS], env={})
    found += compare_facts("masks", [FACTS], preexec_fn=odd, restore_signals=False)
    assert not found, listed([found])


def test_deleted_working_directory(tmp_path):
    """python starts where its working directory no longer exists; so does pyentry."""
    command = 'mkdir d && cd d && rmdir ../d && exec "$0" -c "import sys, os; print(sys.path)"'
    theirs, ours = (outcome(run(["sh", "-c", command, program], cwd=tmp_path)) for program in (PYTHON, PYENTRY))
    assert ours == theirs


@pytest.fixture
def targets(scratch):
    """One program in every form that python can run."""
    shutil.copy(FACTS, scratch / "facts.py")
    main = "from facts import facts\nimport facts as f\nimport json\nf.__dict__['__name__'] = __name__\n" \
           "print(json.dumps(facts()))\n"
    write_tree(scratch, {"pkg/__init__.py": "", "pkg/__main__.py": main, "pkg/sub.py": main,
                         "pkg/deep/__init__.py": "", "pkg/deep/__main__.py": main, "folder/__main__.py": main,
                         "with space é.py": main, "bom.py": "\ufeff" + main,
                         "skip.py": "this line is no python\n" + main})
    shutil.copy(FACTS, scratch / "folder/facts.py")
    with zipfile.ZipFile(scratch / "app.zip", "w") as archive:
        archive.writestr("__main__.py", main)
        archive.write(FACTS, "facts.py")
    (scratch / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n" + main.encode())
    stock("-m", "py_compile", "facts.py")
    shutil.copy(next((scratch / "__pycache__").glob("facts*.pyc")), scratch / "compiled.pyc")
    (scratch / "link.py").symlink_to("facts.py")
    return main


TARGETS = [["facts.py", "x"], ["./facts.py"], ["-m", "facts", "-x", "y"], ["-mfacts", "-c"], ["-m", "pkg", "a"],
           ["-m", "pkg.sub"], ["-m", "pkg.deep"], ["folder", "--opt"], ["folder/", "--", "-v"], ["app.zip", "-q"],
           ["with space é.py", ""], ["bom.py"], ["-x", "skip.py"], ["latin.py"], ["compiled.pyc", "z"],
           ["link.py", "--init=never"], ["-B", "-m", "facts", "--stop-report=0"], ["--", "facts.py", "-h"]]


def test_targets(targets):
    """file, -m, directory, zip, .pyc and links run as __main__ with python's argv, path and names."""
    found = gather(lambda t: compare_facts(str(t), t), TARGETS)
    assert not any(found), listed(found)


def test_code_from_the_command_line_and_stdin(targets):
    """-c, - and a script on stdin."""
    code = targets.encode()
    found = compare_facts("-c", ["-c", targets, "a", "-b", "--term-status=7"])
    found += compare_facts("-c attached", ["-Bc" + targets, "a"])
    for args in (["-", "a", "-b"], [], ["-B"]):
        found += compare_facts(f"stdin {args}", args, input=code)
    assert not found, listed([found])


@pytest.mark.parametrize("locale", ["C.UTF-8", "C", None])
def test_arguments_that_are_not_utf8(locale):
    """Arguments and variables of any bytes reach the program as python decodes them."""
    code = "import os, sys\nfor x in sys.argv, os.environ.get('ODD'), getattr(sys, 'orig_argv', 0): print(ascii(x))"
    odd = [b"\xff\xfe", b"caf\xe9", "é€😀".encode(), b"\xed\xb2\x80", b"", b" ", b"--x=\x80"]
    extra = [{}, {"PYTHONUTF8": "1"}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
    cases = [(str(e), ["-c", code, *odd], {"env": {**clean_env(LANG=locale, **e), b"ODD": b"\xff\xc3"}})
             for e in extra]
    cases.append(("odd -c", [b"-c", b"print(ascii('\xc3\xa9'))"], {"env": clean_env(LANG=locale)}))
    cases.append(("bad -c", [b"-c", b"print(ascii('\xff'))"], {"env": clean_env(LANG=locale)}))
    cases.append(("bad name", [b"/nonexistent/\xff.py"], {"env": clean_env(LANG=locale)}))
    cases.append(("bad module", [b"-m", b"\xff"], {"env": clean_env(LANG=locale)}))
    found = differences(cases, unbuffered=False)
    assert not found, show(found)


def test_huge_command_line_and_environment():
    """An argv and an environment near the kernel's limit arrive whole."""
    code = "import os, sys; print(len(sys.argv), sum(map(len, sys.argv)), len(os.environ), " \
           "sum(map(len, os.environ.values())))"
    many = {f"VARIABLE_{i}": "v" * 1000 for i in range(700)}
    cases = [("argv", ["-c", code, *["a" * 50] * 8000], {}),
             ("one", ["-c", code, "x" * 120_000], {}),
             ("environment", ["-c", code], {"env": clean_env(**many)}),
             ("name", ["-c", code], {"env": clean_env(**{"N" * 50_000: "x"})})]
    found = differences(cases, unbuffered=False)
    assert not found, show(found)


def test_exit_status_and_last_words():
    """Exit status, stdout and stderr at the end of a program are python's, to the byte."""
    cases = [(name, ["-c", code], {}) for name, code in sections("endings.txt").items()]
    found = differences(cases)
    assert not found, show(found)


THREAD = """import threading


def work():
    1/0


thread = threading.Thread(target=work, name="w")
thread.start()
thread.join()
"""


def test_errors_in_files(scratch):
    """Tracebacks with source lines, and every way in which a target can be wrong."""
    write_tree(scratch, {
        "bad.py": "def f():\n    return 1/0\n\n\nf()\n", "syntax.py": "x = (1,\ny = 2\n", "empty.py": "",
        "nothing/readme": "", "pack/__init__.py": "", "raises/__init__.py": "1/0\n", "raises/__main__.py": "",
        "exits.py": "raise SystemExit('bye')\n", "thread.py": THREAD})
    for name, data in {"binary.py": bytes(range(256)) * 4, "null.py": b"x = 1\0\n", "encoding.py": b"x = '\xff'\n",
                       "cookie.py": b"# coding: nonsense\n", "short.pyc": b"\0\1",
                       "broken.zip": b"PK\3\4 this is no archive"}.items():
        (scratch / name).write_bytes(data)
    wrong = [["bad.py"], ["-m", "bad"], ["syntax.py"], ["-m", "syntax"], ["empty.py"], ["nothing"], ["-m", "pack"],
             ["-m", "raises"], ["-m", "raises.x"], ["exits.py"], ["thread.py"], ["binary.py"], ["null.py"],
             ["encoding.py"], ["cookie.py"], ["broken.zip"], ["short.pyc"], ["missing.py"], ["bad.py/x"],
             ["-m", "missing"], ["-m", "missing.sub"], ["-m", "bad.sub"], ["-m", ""], ["-c"], ["-m"], ["-c", ""],
             ["-W"], ["-X"], ["-Z"], ["-W", "nonsense", "-c", "pass"], ["-"], [".."], ["/"], ["-m", "os.path.x"],
             [""], ["-m", "pack.__main__"], ["x" * 5000], ["-m", "sys"], ["--check-hash-based-pycs", "odd"],
             ["-X", "utf8=7", "-c", "pass"], ["-X", "tracemalloc=x", "-c", "pass"], ["-i"], ["-mtimeit", "-n", "x"]]
    wrong += [["-X", "int_max_str_digits=1", "-c", "pass"]] if VERSION >= (3, 11) else []
    found = differences([(str(args)[:60], args, {}) for args in wrong], unbuffered=False)
    assert not found, show(found)


def test_bad_environment():
    """Values that python refuses are refused with python's words and status."""
    bad = [{"PYTHONHASHSEED": "x"}, {"PYTHONUTF8": "7"}, {"PYTHONMALLOC": "odd"}, {"PYTHONTRACEMALLOC": "-3"},
           {"PYTHONIOENCODING": "no-such-codec"}, {"PYTHONHOME": NOWHERE}, {"PYTHONINTMAXSTRDIGITS": "1"},
           {"PYTHONWARNINGS": "nonsense"}, {"PYTHONINSPECT": "1"}, {"PYTHONVERBOSE": ""}]
    found = differences([(str(b), ["-c", "print(1)"], {"env": clean_env(**b)}) for b in bad])
    for name in [n for n in found if "PYTHONHOME" in n]:  # prints its own search: the status is enough
        sides = found[name]
        if sides["python"]["status"] == sides["pyentry"]["status"] and sides["pyentry"]["stderr"]:
            del found[name]
    assert not found, show(found)


def test_own_help_texts_of_python():
    """-V, -VV, -h, -?, --help-env and the like answer as python does."""
    asked = [["-V"], ["-VV"], ["-h"], ["-?"]]
    asked += [["--help-env"], ["--help-xoptions"]] if VERSION >= (3, 11) else []
    for args in asked:
        theirs, ours = (outcome(r) for r in both(*args))
        assert (ours["status"], ours["stderr"]) == (0, b""), args
        if args in (["-V"], ["-h"], ["-?"]):
            assert theirs["stdout"].split(b"\n")[0] in ours["stdout"], args
        else:
            assert ours["stdout"] == theirs["stdout"], args


def test_importtime_and_verbose():
    """-X importtime reports the imports that python makes; no file is imported behind its back."""
    theirs, ours = both("-X", "importtime", "-c", "import json")

    def imported(text):
        return [line.rpartition(b"|")[2].strip() for line in text.splitlines() if line.startswith(b"import time:")]

    assert ours.returncode == theirs.returncode == 0
    known = stock("-c", "import sys; print(*sys.builtin_module_names, 'pyentry', '_pyentry')").stdout.split()
    extra = set(imported(ours.stderr)) - set(imported(theirs.stderr)) - set(known) - {b"warnings"}
    assert extra == set() and b"json" in imported(ours.stderr)


MODULES = """
import importlib, os, sys, sysconfig, warnings
warnings.simplefilter("ignore")
folder = sysconfig.get_config_var("DESTSHARED")
names = {f.split(".")[0] for f in os.listdir(folder) if f.endswith(".so")}
names |= set(sys.builtin_module_names) | {"ssl", "sqlite3", "ctypes", "readline", "lzma", "bz2", "asyncio"}
for name in sorted(names):
    if "pyentry" in name:
        continue
    try:
        importlib.import_module(name)
        print(name, "ok")
    except ImportError as error:
        print(name, error)
"""


def test_modules_of_the_standard_library(tmp_path):
    """Every extension module that python can import, pyentry can import (symbols are exported)."""
    found = differences([("modules", ["-c", MODULES], {"cwd": tmp_path})])
    assert not found, show(found)


SYMBOLS = """
import ctypes
try:
    from test.test_stable_abi_ctypes import SYMBOL_NAMES as names
except Exception:
    names = []
names = [*names, "PyOS_Readline", "PyRun_SimpleString", "PyThread_start_new_thread", "PyUnicode_DecodeUTF7",
         "PyMarshal_ReadObjectFromString", "PyFrozenSet_New", "PyCodec_XMLCharRefReplaceErrors", "PyODict_New",
         "PyRun_InteractiveOneFlags", "PyImport_AppendInittab", "PyEval_SetTrace", "PyUnicode_BuildEncodingMap"]
print([n for n in names if not hasattr(ctypes.pythonapi, n)])
ctypes.pythonapi.Py_GetVersion.restype = ctypes.c_char_p
print(ctypes.pythonapi.Py_GetVersion())
"""


def test_exported_symbols():
    """ctypes.pythonapi finds the C API, as extension modules do: all of the limited API that stock has."""
    found = differences([("symbols", ["-c", SYMBOLS], {})])
    assert not found, show(found)


HOOK = """import sys


def hook(event, args):
    if event.startswith("cpython."):
        print(event, args, file=sys.stderr)


sys.addaudithook(hook)
"""


def test_audit_events(tmp_path):
    """sitecustomize's audit hook sees the run events that python raises."""
    write_tree(tmp_path, {"sitecustomize.py": HOOK, "prog.py": "print(1)\n", "mod.py": "print(2)\n"})
    env = clean_env(PYTHONPATH=str(tmp_path))
    runs = (["prog.py"], ["-m", "mod"], ["-c", "print(3)"], [".."])
    found = differences([(str(args), args, {"env": env, "cwd": tmp_path}) for args in runs])
    assert not found, show(found)


def test_modules_beside_the_program_do_not_shadow_ours(tmp_path):
    """A program whose folder has a signal.py, traceback.py... is not asked for them by pyentry."""
    trap = "raise RuntimeError(__name__ + ' was imported')\n"
    names = ("signal", "traceback", "faulthandler", "atexit", "threading", "types", "enum", "warnings", "errno")
    write_tree(tmp_path, {**{f"{n}.py": trap for n in names}, "prog.py": "print('a', 1)\nundefined\n",
                          "interrupt.py": "print('x')\nraise KeyboardInterrupt\n"})
    found = differences([(n, [str(tmp_path / n)], {}) for n in ("prog.py", "interrupt.py")])
    assert not found, show(found)


def test_tools_of_the_standard_library(scratch):
    """python -m tools that run a program of their own."""
    unit = "import unittest\n\n\nclass T(unittest.TestCase):\n    def test(self):\n        pass\n"
    write_tree(scratch, {"prog.py": "import sys\nprint('prog', __name__, sys.argv)\n", "test_it.py": unit})
    tools = ["trace --count -C cover prog.py x", "zipapp -h", "json.tool --help", "compileall -q .", "runpy prog",
             "this", "dis prog.py", "tokenize prog.py", "site"]
    cases = [(tool, ["-m", *tool.split()], {}) for tool in tools]
    cases.append(("pdb", ["-m", "pdb", "prog.py"], {"input": b"n\nn\np sys.argv\nc\nq\n"}))
    cases.append(("code", ["-m", "code"], {"input": b"print(1)\n1/0\n"}))
    found = differences(cases)
    assert not found, show(found)
    theirs, ours = both("-m", "unittest", "test_it", cwd=scratch)
    assert ours.returncode == theirs.returncode == 0 and b"Ran 1 test" in ours.stderr


def test_limits_of_the_process():
    """Few descriptors, a small stack, no queued signals: pyentry needs no more than python."""
    def with_limits(*limits):
        return lambda: [resource.setrlimit(name, (value, value)) for name, value in limits]

    code = "import threading; print('up')\nt = threading.Thread(target=print, args=('thread',)); t.start(); t.join()"
    cases = [("files", ["-c", code], {"preexec_fn": with_limits((resource.RLIMIT_NOFILE, 12))}),
             ("stack", ["-c", code], {"preexec_fn": with_limits((resource.RLIMIT_STACK, 1 << 20))}),
             ("signals", ["-c", code], {"preexec_fn": with_limits((resource.RLIMIT_SIGPENDING, 0))}),
             ("file size", ["-c", code], {"preexec_fn": with_limits((resource.RLIMIT_FSIZE, 0))})]
    found = differences(cases, at_once=1)
    assert not found, show(found)


HANDLERS = """
import signal
for number in set(signal.valid_signals()) - {signal.SIGTERM}:
    handler = signal.getsignal(number)
    print(int(number), getattr(handler, "__name__", handler))
"""


@pytest.mark.parametrize("hidden", ["", "umount -l /proc; "], ids=["proc", "no proc"])
@pytest.mark.parametrize("ignored", [(), (1, 2, 12, 17, 20, 40, 64), range(1, 65)], ids=["none", "some", "all"])
def test_signals_that_are_ignored_from_the_start(ignored, hidden):
    def ignore():
        for number in set(signal.valid_signals()) & set(ignored) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM}:
            signal.signal(number, signal.SIG_IGN)

    command = ["unshare", "--mount", "sh", "-c", hidden + 'exec "$@"', "sh"]
    arguments = ["-X", "faulthandler", "-c", HANDLERS]
    ours, theirs = (run([*command, program, *arguments], preexec_fn=ignore) for program in (PYENTRY, PYTHON))
    assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr)
    assert len(theirs.stdout.splitlines()) > 60


def test_interrupted():
    """SIGINT: KeyboardInterrupt, its traceback, death by SIGINT; a handler of the app's own; SIG_DFL."""
    codes = list(sections("interrupted.txt").values())

    def interrupted(pair):
        program, code = pair
        with Child(program, "-u", "-c", code) as child:
            child.out.wait("ready")
            wait_asleep(child.pid)
            child.send(2)
            status = child.wait()
            return status, child.out.all(), child.err.all()

    results = gather(interrupted, [(p, c) for c in codes for p in (PYTHON, PYENTRY)])
    assert results[1::2] == results[::2]
    assert results[0][0] == -2
