"""The completion of bash, as bash calls it; that it has every option and no other is a rule of the house."""

from harness import PYENTRY, ROOT, run

SCRIPT = """
compopt() { [ "$*" = "-o default" ] && echo "a file"; }
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pyentry; printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered(*words):
    """What is offered for the last of the words, which are split at equals signs, as bash splits them."""
    done = run(["bash", "--norc", "-c", SCRIPT, "bash", ROOT / "docs" / "completions" / "pyentry.bash", PYENTRY, *words])
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().split("\n")[:-1]


def test_options():
    assert "--forward=" in offered("--") and "--info" in offered("--")
    assert "--forward=" in offered("--init", "=", "never", "--")


def test_values():
    assert offered("--forward", "=") == ["auto", "main", "group"]
    assert offered("--forward", "=", "m") == ["main"]
    assert offered("--cpus", "=") == ["auto"]
    assert offered("--restore", "=") == ["a file", "none"]
    assert offered("--stop-report", "=") == offered("--restore", "=", "/a", "=") == [""]


def test_the_program_s_own_words():
    """Behind the program's name the options are its own: files are all that is known of them."""
    for program in (["x.py"], ["-m", "app"], ["-cpass"], ["--init", "=", "never", "x.py"], ["-W", "error", "x.py", "y"]):
        assert offered(*program, "--") == ["a file", ""], program
