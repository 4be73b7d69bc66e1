"""pyentry's own options: what they take, what they refuse and how, --version, --help, precedence, and that
nothing of them reaches the program.
"""

import ast
import re

import pytest

from harness import PYENTRY, VERSION, clean_env, gather, outcome, pyentry, records, run, stock

OPTIONS = ["init", "forward", "signal-map", "stop-report", "term-status", "cpus", "faulthandler", "log-format"]
GOOD = {
    "init": ["auto", "never"], "forward": ["auto", "main", "group"], "faulthandler": ["on", "off"],
    "log-format": ["auto", "text", "json"],
    "signal-map": ["TERM=QUIT", "SIGTERM=SIGINT", "USR1=0", "15=2", "USR1=TERM,USR2=INT,HUP=0"],
    "stop-report": ["0", "0s", "500ms", "8s", "2m", "1ms", "90s", "1440m"], "term-status": ["0", "1", "143", "255"],
    "cpus": ["auto", "1", "2", "4321", "2147483647"]}
BAD = {
    "init": ["foo", "AUTO", "Never", "auto ", " auto", "1", "autonever", "auto|never", "aut"],
    "forward": ["all", "none", "Main", "group,main", "0", "maingroup"],
    "log-format": ["JSON", "yes", "json,text", "jsonl", "plain"],
    "faulthandler": ["yes", "1", "ON", "no", "true", "offon", "o"],
    "term-status": ["256", "-1", "abc", "1.5", "0x10", "1 ", " 1", "+1", "99999999999999999999", "4294967296", "1e2",
                    "12a"],
    "cpus": ["0", "-1", "+1", " 1", "1.5", "AUTO", "all", "default", "0x2", "2147483648", "99999999999999999999"],
    "stop-report": ["8", "abc", "8x", "-1s", "s", "ms", "8 s", " 8s", "8s ", "1e3s", "8sm", "8ss", "0x8s", "--",
                    "8,5s", "8h", "+8s", "86401s", "1441m", "99999999999999999999s", "9223372036854775807m", "1s500ms", "inf", "nan"],
    "signal-map": ["TERM", "TERM=", "=TERM", "=", "TERM=FOO", "FOO=TERM", "TERM=INT,", ",TERM=INT",
                   "TERM=INT,,HUP=INT", "TERM:INT", "TERM=INT=HUP", "99=1", "1=99", "-1=1", "0=TERM", "TERM=-1",
                   "TERM = INT", "TERM=INT HUP=INT", "KILL=TERM", "STOP=TERM", "term=15x", "9=15", "SIG=TERM"]}
FINE = {"status": 0, "stdout": b"ok\n", "stderr": b""}


def variable(option):
    return "PYENTRY_" + option.upper().replace("-", "_")


def test_good_values():
    """Every documented value is taken, as --opt=V, as --opt V and from the environment."""
    def accepted(case):
        option, value = case
        ways = ([f"--{option}={value}"], {}), ([f"--{option}", value], {}), ([], {variable(option): value})
        results = [pyentry(*args, "-c", "print('ok')", env=clean_env(**env)) for args, env in ways]
        return [(option, value, outcome(result)) for result in results if outcome(result) != FINE]

    assert sum(gather(accepted, [(o, v) for o, values in GOOD.items() for v in values]), []) == []


def wrong_refusal(option, value, name, result):
    """"" when a bad value was refused as promised: one line naming option, value and what it takes; exit 2."""
    text = result.stderr.decode(errors="replace")
    told = [f"status {result.returncode}"] if result.returncode != 2 else []
    told += ["stdout"] if result.stdout else []
    told += ["not one line"] if text.count("\n") != 1 or not text.endswith("\n") else []
    told += ["no 'pyentry: '"] if not text.startswith("pyentry: ") else []
    told += [f"no {name}"] if name not in text else []
    told += ["no value"] if value not in text else []
    told += ["not what it takes"] if not any(word in text.replace(name, "") for word in TAKES[option]) else []
    return f"{name} {value!r}: {told} in {text!r:.300}" if told else ""


TAKES = {"init": ["never"], "forward": ["group"], "faulthandler": ["off"], "term-status": ["255"], "cpus": ["or auto"],
         "log-format": ["text"], "stop-report": ["at most 1440m"], "signal-map": ["=", "FROM"]}


def test_bad_values():
    """A bad value is one line that names the option, the value and what it takes, and exit 2; nothing is run."""
    def refused(case):
        option, value = case
        name = f"--{option}"
        return [wrong_refusal(option, value, name, pyentry(f"{name}={value}", "-c", "print('ran')")),
                wrong_refusal(option, value, name, pyentry(name, value, "-c", "print('ran')"))]

    found = gather(refused, [(option, value) for option, values in BAD.items() for value in values])
    assert "\n".join(filter(None, sum(found, []))) == ""


def test_bad_values_in_the_environment():
    """The same for the variables: the line names the variable."""
    def refused(case):
        option, value = case
        name = variable(option)
        return wrong_refusal(option, value, name, pyentry("-c", "print('ran')", env=clean_env(**{name: value})))

    found = gather(refused, [(option, value) for option, values in BAD.items() for value in values[:6]])
    assert "\n".join(filter(None, found)) == ""


def test_empty_and_missing_values():
    """--opt= and a last --opt without a value are refused."""
    for option in [*OPTIONS, "restore"]:
        for args in ([f"--{option}=", "-c", "pass"], [f"--{option}"], [f"--{option}", ""]):
            done = pyentry(*args)
            assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1), args
            assert done.stderr.startswith(b"pyentry: ") and f"--{option}".encode() in done.stderr, args


def test_a_refusal_is_one_write():
    """pyentry's own line is a single write on stderr, nothing else."""
    for args in (["--init=foo"], ["--stop-report=8"], ["--term-status=" + "9" * 3000]):
        status, seen = records([PYENTRY, *args], which=("stdout", "stderr"))
        assert status == 2 and len(seen) == 1 and seen[0].startswith(b"pyentry: ") and seen[0].endswith(b"\n")


@pytest.mark.parametrize("option", ["--bogus", "--bogus=1", "--ini=never", "--initt=never", "--INIT=never", "--i",
                                    "--init_=auto", "---init=auto", "--term_status=1", "--=x", "--help=x"])
def test_unknown_options(option):
    """An unknown option is refused with its name, on stderr, with exit 2; no abbreviation is guessed."""
    done = pyentry(option, "-c", "print('ran')")
    assert (done.returncode, done.stdout) == (2, b"")
    assert option.split("=")[0].encode() in done.stderr


@pytest.mark.parametrize("args", [["-u", "--init=always"], ["-W", "error", "--info"], ["-Xdev", "-OO", "--cpus", "2"],
                                  ["--check-hash-based-pycs", "never", "--stop-report=1s"], ["-uX", "dev", "--bundle"]],
                         ids=" ".join)
def test_options_behind_pythons(args):
    """One line says that pyentry's come first."""
    done = pyentry(*args, "-c", "print('ran')")
    ours = next(word for word in args[1:] if word.startswith("--")).split("=")[0]
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == (f"pyentry: {ours} stands behind python's option {args[0]}: "
                                    "pyentry's options come first. See pyentry --help\n")


def test_the_programs_options_are_its_own():
    """Behind the program, and as a value of python's option, our names are nobody's business."""
    show = "import sys; print(sys.argv[1:])"
    for args in (["-u", "-c", show, "--init=always"], ["-uc", show, "--info"], ["-W", "ignore", "-c", show, "--cpus=2"]):
        done = pyentry(*args)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{args[-1:]}\n".encode(), b"")
    assert pyentry("-u", "-", "--init=always", input=b"print('ran')").stdout == b"ran\n"
    assert pyentry("-u", "--version").stdout == stock("--version").stdout


def test_a_signal_map_names_the_pair():
    """Which pair, and why, on the command line and by --info."""
    said = "pairs of signals like TERM=QUIT,HUP=0, and of 'KILL=TERM' the first cannot be caught"
    assert said in pyentry("--signal-map=HUP=0,KILL=TERM", "-c", "pass").stderr.decode()
    assert said in pyentry("--info", env=clean_env(PYENTRY_SIGNAL_MAP="HUP=0,KILL=TERM")).stdout.decode()


def test_a_bad_value_wins_over_everything_else():
    """A good option before or after a bad one, or a variable that is overridden, does not hide it."""
    assert pyentry("--init=never", "--term-status=300", "-c", "pass").returncode == 2
    assert pyentry("--term-status=300", "--init=never", "-c", "pass").returncode == 2
    assert pyentry("--term-status=300", "--term-status=3", "-c", "pass").returncode == 2


def test_options_end_where_python_begins():
    """What comes after python's first option or after the target is not pyentry's."""
    code = "import sys; print(sys.argv)"
    for args in (["--term-status=300"], ["--init", "foo"], ["--bogus"], ["--help"], ["--version"], ["--", "--init=x"]):
        assert pyentry("-c", code, *args).stdout.decode() == f"{['-c', *args]}\n"
    done = pyentry("-B", "--init=never", "-c", "print('ran')")
    assert (done.returncode, done.stdout) == (2, b"")


def test_options_do_not_reach_the_program():
    """sys.argv and sys.orig_argv have none of pyentry's options, in either form."""
    given = ["--init=never", "--forward", "main", "--signal-map=USR1=TERM", "--stop-report", "2m", "--term-status=7",
             "--faulthandler", "on"]
    code = "import sys; print(sys.argv, getattr(sys, 'orig_argv', ['', '-B', '-c'])[1:3])"
    assert pyentry(*given, "-B", "-c", code, "x").stdout == b"['-c', 'x'] ['-B', '-c']\n"


def test_the_last_one_counts():
    """An option that is given twice: the last value counts, as usual on a command line."""
    code = "import os; os.kill(os.getpid(), 15)"
    assert pyentry("--term-status=5", "--term-status=6", "-c", code).returncode == 6


def test_precedence_and_export():
    """The command line wins over the environment, and what it gave is exported to children; nothing else is."""
    code = "import os, sys; print({k: v for k, v in os.environ.items() if k.startswith('PYENTRY')})"
    term = "import os; os.kill(os.getpid(), 15)"
    assert pyentry("--term-status=5", "-c", term, env=clean_env(PYENTRY_TERM_STATUS="6")).returncode == 5
    assert pyentry("-c", term, env=clean_env(PYENTRY_TERM_STATUS="6")).returncode == 6
    assert pyentry("-c", code).stdout == b"{}\n"
    assert pyentry("--term-status=5", "-c", code, env=clean_env(PYENTRY_TERM_STATUS="6")).stdout == \
        b"{'PYENTRY_TERM_STATUS': '5'}\n"
    child = f"import subprocess, sys; print(subprocess.run([sys.executable, '-c', {term!r}]).returncode)"
    assert pyentry("--term-status=5", "-c", child).stdout == b"5\n"
    assert pyentry("-c", child, env=clean_env(PYENTRY_TERM_STATUS="5")).stdout == b"5\n"
    given = ["--init=never", "--forward=main", "--signal-map=USR1=TERM", "--stop-report=2m", "--faulthandler=off"]
    names = [variable(option.split("=")[0][2:]) for option in given]
    values = [option.split("=", 1)[1] for option in given]
    assert ast.literal_eval(pyentry(*given, "-c", code).stdout.decode()) == dict(zip(names, values))


def test_unknown_variables_are_left_alone():
    """PYENTRY_ variables that are no option, and the variables of an empty environment, change nothing."""
    env = clean_env(PYENTRY_BOGUS="1", PYENTRYX="1", PYENTRY_="1")
    assert outcome(pyentry("-c", "print(1)", env=env)) == {"status": 0, "stdout": b"1\n", "stderr": b""}
    assert run([PYENTRY, "-c", "print(1)"], env={}).stdout == b"1\n"


def test_version():
    """--version is `Python X.Y.Z (pyentry A.B.C)`, on stdout, with status 0; the module agrees."""
    done = pyentry("--version")
    assert (done.returncode, done.stderr) == (0, b"")
    python = stock("--version").stdout.decode().strip()
    match = re.fullmatch(re.escape(python) + r" \(pyentry (\d+\.\d+\.\d+\S*)\)\n", done.stdout.decode())
    assert match, done.stdout
    assert pyentry("-c", "import pyentry; print(pyentry.version)").stdout.decode() == match[1] + "\n"
    assert pyentry("--init=never", "--version").stdout == done.stdout
    assert pyentry("--version", "-c", "print('ran')").stdout == done.stdout


def test_help():
    """--help names every option of pyentry's and python's own help, on stdout, with status 0."""
    done = pyentry("--help")
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    for option in OPTIONS:
        assert f"--{option}" in text, option
    for value in ("never", "auto|main|group", "on|off", "FROM=TO"):
        assert value in text, value
    pythons = [line for line in stock("--help").stdout.decode().splitlines() if line.startswith("-")]
    assert [line for line in pythons if line not in text.splitlines()] == []
    assert text.index("--term-status") < text.index(pythons[0])


def test_help_and_version_into_nowhere():
    """--help and --version whose reader is gone or whose disk is full do not crash."""
    with open("/dev/full", "wb") as full:
        for option in ("--help", "--version"):
            done = run([PYENTRY, option], stdout=full)
            assert done.returncode in (0, 1, 120), option


def test_pythons_long_options():
    """The long options that python has work still: --check-hash-based-pycs, --help-env, ..."""
    for args in (["--check-hash-based-pycs", "always"], ["--check-hash-based-pycs", "never", "-B"]):
        assert pyentry(*args, "-c", "import sys; print(sys.argv)").stdout == b"['-c']\n"
        assert pyentry("--init=never", *args, "-c", "print(1)").stdout == b"1\n"
    if VERSION >= (3, 11):
        for option in ("--help-env", "--help-xoptions"):
            assert pyentry(option).stdout == stock(option).stdout
        assert stock("--help-env").stdout in pyentry("--help-all").stdout


def test_options_with_every_target(tmp_path):
    """pyentry's options come before every kind of target."""
    (tmp_path / "prog.py").write_text("import sys; print(sys.argv[1:])\n")
    for args in (["prog.py", "a"], ["-m", "prog", "a"], ["-B", "prog.py", "a"], ["--", "prog.py", "a"]):
        done = pyentry("--term-status=3", *args, cwd=tmp_path)
        assert outcome(done) == {"status": 0, "stdout": b"['a']\n", "stderr": b""}, args
    done = pyentry("--init", "never", "-", "a", input=b"import sys; print(sys.argv)")
    assert done.stdout == b"['-', 'a']\n"
    assert pyentry("--init=never", input=b"print('stdin')").stdout == b"stdin\n"


def test_isolated_mode_knows_the_options():
    """-I and -E are about PYTHON variables; pyentry's own options still hold."""
    code = "import os; os.kill(os.getpid(), 15)"
    for flag in ("-I", "-E"):
        assert pyentry("--term-status=4", flag, "-c", code).returncode == 4


def test_many_and_long_options():
    """A thousand options and a value of 100,000 characters are handled, or refused in one line."""
    assert pyentry(*["--init=never"] * 1000, "-c", "print(1)").stdout == b"1\n"
    done = pyentry("--signal-map=" + ",".join(["USR1=USR2"] * 10000), "-c", "print(1)")
    assert done.returncode in (0, 2) and done.stderr.count(b"\n") <= 1
    done = pyentry("--forward=" + "x" * 100_000)
    assert done.returncode == 2 and done.stderr.startswith(b"pyentry: ") and done.stderr.endswith(b"\n")


def test_values_that_are_not_text():
    """Bytes that are not UTF-8 and control characters in a value: refused in one line."""
    for value in (b"\xff\xfe", b"a\nb", b"\x1b[31m", "é".encode()):
        done = run([PYENTRY, b"--forward=" + value, b"-c", b"print(1)"])
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1), value
