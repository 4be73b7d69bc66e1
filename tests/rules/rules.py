"""The rules of the house, each a check that returns its evidence: no line, no offence.

A rule may not be bent here for one file: the lists below say who may do what, and why.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sources import FUNCTIONS, Tree, c_code, language, line_of  # noqa: E402

# Headers of the launcher that need nothing else of it: embed/ may use them.
LEAF_HEADERS = ("launcher/clock.h", "launcher/log.h", "launcher/json.h", "launcher/values.h", "launcher/descendants.h",
                "launcher/limits.h", "launcher/conditions.h", "launcher/confirm.h", "launcher/crc32.h", "launcher/image.h",
                "launcher/machine.h", "launcher/maps.h", "launcher/processor.h")
# The only door into embed/.
EMBED_DOOR = "embed/embed.h"

WAITS = "wait wait3 wait4 waitid waitpid pclose"
FORKS = "fork vfork _Fork clone clone3 forkpty daemon posix_spawn posix_spawnp system popen"
KILLS = ("kill killpg raise raise_signal tgkill tkill pthread_kill pthread_sigqueue sigqueue rt_sigqueueinfo"
         " pidfd_send_signal")

# Why each is banned: no bound, or no way to see an error.
BANNED = "atoi atol atoll atof sscanf vsscanf strcpy stpcpy strcat sprintf vsprintf strtok gets"

# Names that others fix: the C library's and Python's.
FIXED_NAMES = ("main", "PyInit__pyentry")

# What code that runs without a C library hands over to: the C library's beginning of a program, and a snapshot.
AFTER_BARE = ("_start", "pye_resume", "_GLOBAL_OFFSET_TABLE_")

FUNCTION_LINES = 100
FILE_LINES = 600
OTHER_LIMITS = {"configure.ac": 150}

# Long options of python itself that our texts may name.
PYTHON_OPTIONS = {"--help", "--version", "--help-env", "--help-xoptions", "--help-all", "--check-hash-based-pycs"}


class House(Tree):
    """The source tree together with what was built from it."""

    def __init__(self, source, build, pyentry):
        super().__init__(source)
        self.build = build
        self.pyentry = pyentry

    def symbols(self, archive, *arguments):
        """(object, symbol) as nm sees them in a built library."""
        nm = os.environ.get("NM", "nm").split()
        path = os.path.join(self.build, archive)
        done = subprocess.run(nm + ["-A", "-P", *arguments, path], stdout=subprocess.PIPE, text=True, check=True)
        for line in done.stdout.splitlines():
            where, _, rest = line.partition(": ")
            yield where[where.index("[") + 1:-1], rest.split()[0]

    def output(self, *command):
        """What a program prints, in an environment that says nothing to Python or pyentry."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYENTRY"))}
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60)
        return done.stdout

    def help_options(self):
        return set(re.findall(r"^  --([a-z][a-z-]*)=", self.output(self.pyentry, "--help"), re.MULTILINE))

    def help_commands(self):
        """The words that stand in an option's place and take no value; --help and --version are python's too."""
        names = re.findall(r"^  (--[a-z][a-z-]*)(?: |$)", self.output(self.pyentry, "--help"), re.MULTILINE)
        return set(names) - PYTHON_OPTIONS


class Skipped(Exception):
    """A check that cannot be made here; a failure where PYENTRY_TEST_STRICT is set."""


CHECKS = []


def check(function):
    CHECKS.append((function.__name__.replace("_", "-"), function))
    return function


### Who includes what

@check
def launcher_never_includes_python(house):
    """Neither directly nor through a header of ours."""
    for start in house.files(("c",), "launcher"):
        todo, seen = [(start, start)], set()
        while todo:
            path, chain = todo.pop()
            if path in seen:
                continue
            seen.add(path)
            for number, name, target in house.includes(path):
                if os.path.basename(name) == "Python.h":
                    yield f"{chain}:{number}: includes {name}"
                if target:
                    todo.append((target, f"{chain}:{number} -> {target}"))


@check
def launcher_uses_one_door(house):
    for path in house.files(("c",), "launcher"):
        for number, _, target in house.includes(path):
            if target and target.startswith("embed/") and target != EMBED_DOOR:
                yield f"{path}:{number}: includes {target}; of embed/ the launcher may use {EMBED_DOOR} only"


@check
def embed_uses_leaf_headers(house):
    for path in house.files(("c",), "embed"):
        for number, _, target in house.includes(path):
            if target and target.startswith("launcher/") and target not in LEAF_HEADERS:
                yield f"{path}:{number}: includes {target}; of launcher/ embed may use {', '.join(LEAF_HEADERS)}"
    for path in filter(house.exists, LEAF_HEADERS):
        for number, _, target in house.includes(path):
            if target and target.startswith("launcher/") and target not in LEAF_HEADERS:
                yield f"{path}:{number}: includes {target}: no leaf any more"


### Who does what

def calls(house, names, directories, allowed=()):
    """Calls of the named functions in C, also by number through syscall(2)."""
    names = "|".join(names.split())
    pattern = re.compile(rf"(?<![\w.>])(?:(?:{names})(?=\s*\()|(?:SYS|__NR)_(?:{names})\b)")
    for path in house.files(("c",), *directories):
        code = c_code(house.text(path))
        for match in pattern.finditer(code):
            if not path.startswith(allowed):
                yield f"{path}:{line_of(code, match.start())}: {match[0]}"


def embed_calls(house, names, allowed=()):
    """The same in embed/, also in its Python, also where only the object file shows it (a macro, a pointer)."""
    yield from calls(house, names, ["embed"], allowed)
    for path in house.files(("python",), "embed"):
        text = house.text(path)
        for match in re.finditer(rf"\b(?:os|signal)\.(?:{'|'.join(names.split())})\b", text):
            yield f"{path}:{line_of(text, match.start())}: {match[0]}"
    may = tuple(os.path.splitext(os.path.basename(path))[0] for path in allowed)
    for archive in ("libembed.a", "libbundle.a"):
        for where, symbol in house.symbols(archive, "-u"):
            if symbol in names.split() and not os.path.splitext(where)[0].endswith(may):
                yield f"{archive}, {where}: uses {symbol}"


@check
def embed_waits_only_in_system_and_for_snapshots(house):
    """A child that is reaped here is lost to the program. os.system() waits for its own, which nobody else knows; the
    builder of a snapshot for the writer, when its program is over."""
    yield from embed_calls(house, WAITS, ("embed/system.c", "embed/snapshot/take.c"))


@check
def embed_forks_only_in_system_and_for_snapshots(house):
    yield from embed_calls(house, FORKS, ("embed/system.c", "embed/snapshot/take.c"))


@check
def embed_kills_only_in_signals(house):
    yield from embed_calls(house, KILLS, ("embed/signals.c",))


@check
def bare_code_stands_alone(house):
    """A call of libc's would jump to nowhere; so would a canary's alarm, __stack_chk_fail."""
    own = {symbol for _, symbol in house.symbols("libbare.a", "-g", "--defined-only")}
    for where, symbol in house.symbols("libbare.a", "-u"):
        if symbol not in own and symbol not in AFTER_BARE:
            yield f"libbare.a, {where}: uses {symbol}: there is no C library yet (launcher/bare.h)"


@check
def no_banned_functions(house):
    yield from calls(house, BANNED, ["launcher", "embed", "tests"])


### Names and sizes

@check
def global_names_begin_with_pye(house):
    for archive in ("liblauncher.a", "libembed.a", "libbundle.a", "libbare.a"):
        for where, symbol in house.symbols(archive, "-g", "--defined-only"):
            if not symbol.startswith("pye_") and symbol not in FIXED_NAMES:
                yield f"{archive}, {where}: {symbol}: make it static, or name it pye_..."


def all_functions(house):
    for path in house.files(("c", "python", "shell")):
        functions = FUNCTIONS[language(os.path.join(house.root, path))]
        try:
            yield from ((length, f"{path}:{line}: {name}") for name, line, length in functions(house.text(path)))
        except (ValueError, SyntaxError) as error:
            yield FUNCTION_LINES + 1, f"{path}: cannot be read: {error}"


@check
def functions_are_short(house):
    for length, where in all_functions(house):
        if length > FUNCTION_LINES:
            yield f"{where}: {length} lines, at most {FUNCTION_LINES}"


@check
def files_are_short(house):
    limits = {path: FILE_LINES for path in house.files(("c", "python", "shell"))}
    limits.update(filter(lambda item: house.exists(item[0]), OTHER_LIMITS.items()))
    for path, limit in limits.items():
        length = len(house.text(path).splitlines())
        if length > limit:
            yield f"{path}: {length} lines, at most {limit}"


@check
def sources_are_in_the_makefile(house):
    """What is not named there is not built, not run, or missing from the tarball."""
    named = set(re.findall(r"[\w./-]+", house.text("Makefile.am")))
    for path in house.files(("c",), "launcher", "embed", "tests/unit"):
        program = os.path.splitext(path)[0] if path.startswith("tests/unit/test_") else path
        if program not in named:
            yield f"{path}: not in Makefile.am"


### Texts

LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


@check
def links_lead_somewhere(house):
    for path in house.texts():
        for match in LINK.finditer(house.text(path)):
            if not os.path.exists(os.path.join(house.root, os.path.dirname(path), match[1])):
                yield f"{path}:{line_of(house.text(path), match.start())}: there is no {match[1]}"


@check
def pictures_are_shown_and_described(house):
    """For who cannot see one, its title and description are all there is."""
    shown = {os.path.normpath(os.path.join(os.path.dirname(path), name))
             for path in house.texts() for name in LINK.findall(house.text(path))}
    for path in house.below("docs", ".svg"):
        picture = ElementTree.fromstring(house.text(path))
        for part in ("title", "desc"):
            if not picture.findtext("{http://www.w3.org/2000/svg}" + part, "").strip():
                yield f"{path}: has no <{part}>"
        if path not in shown:
            yield f"{path}: no text shows it"


### Options and commands: the parser's tables, as --help prints them, against every text that lists them

def difference(house, where, listed):
    told = {"--" + name for name in house.help_options()}
    if not told:
        yield "pyentry --help: names no option (lines that begin with two spaces and --name=)"
    told |= house.help_commands()
    for name in sorted(told - listed):
        yield f"{where}: lacks {name}, which pyentry --help has"
    for name in sorted(listed - told - PYTHON_OPTIONS):
        yield f"{where}: has {name}, which pyentry --help lacks"


@check
def manual_page_names_the_options(house):
    path = "docs/pyentry.1"
    items = re.findall(r"^\.It Fl -([a-z][a-z-]*)", house.text(path), re.MULTILINE)
    yield from difference(house, path, {"--" + name for name in items})


@check
def manual_page_names_the_variables(house):
    path = "docs/pyentry.1"
    told = {name.upper().replace("-", "_") for name in house.help_options()}
    listed = set(re.findall(r"\bPYENTRY_([A-Z_]+)", house.text(path)))
    for name in sorted(told ^ listed):
        yield f"{path}: PYENTRY_{name}: " + ("missing" if name in told else "no such option")


@check
def readme_names_the_options(house):
    path = "README.md"
    rows = re.findall(r"^\|\s*`(--[a-z][a-z-]*)", house.text(path), re.MULTILINE)
    yield from difference(house, path, set(rows))


def completed(house, path, shell, script):
    """What the shell itself offers for `pyentry --`."""
    if not shutil.which(shell[0]):
        raise Skipped(f"{shell[0]} is not installed")
    words = house.output(*shell, "-c", script, shell[0], house.pyentry, os.path.join(house.root, path))
    return set(re.findall(r"^(--[a-z][a-z-]*)", words, re.MULTILINE))


@check
def bash_completes_the_options(house):
    path = "docs/completions/pyentry.bash"
    script = """source "$2"; COMP_WORDS=("$1" --); COMP_CWORD=1; _pyentry; printf '%s\\n' "${COMPREPLY[@]}" """
    yield from difference(house, path, completed(house, path, ["bash", "--norc"], script))


@check
def zsh_completes_the_options(house):
    path = "docs/completions/_pyentry"
    script = """_arguments() { print -rl -- "$@" }; words=("$1" --); source "$2" """
    yield from difference(house, path, completed(house, path, ["zsh", "-f"], script))


### Report

def verdict(function, house):
    """(ok, FAIL or skip; evidence)"""
    strict = os.environ.get("PYENTRY_TEST_STRICT", "0") not in ("", "0")
    try:
        evidence = list(function(house))
    except Skipped as reason:
        return "FAIL" if strict else "skip", [str(reason)]
    except (OSError, ValueError, SyntaxError, subprocess.SubprocessError) as error:
        evidence = [f"the check cannot run: {error}"]
    return "FAIL" if evidence else "ok  ", evidence


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True)
    parser.add_argument("--build", default=".", help="where liblauncher.a and the other libraries are")
    parser.add_argument("--pyentry", default=os.environ.get("PYENTRY"), help="default: $PYENTRY, else the one in BUILD")
    parser.add_argument("names", nargs="*", help="default: all, of " + ", ".join(name for name, _ in CHECKS))
    asked = parser.parse_args(arguments)
    house = House(asked.source, asked.build, asked.pyentry or os.path.join(os.path.abspath(asked.build), "pyentry"))

    results = []
    for name, function in CHECKS:
        if not asked.names or name in asked.names:
            word, evidence = verdict(function, house)
            results.append(word)
            print(word, name)
            for line in evidence:
                print("     ", line)
    print("\nThe ten longest functions:")
    for length, where in sorted(all_functions(house), reverse=True)[:10]:
        print(f"{length:5}  {where}")
    print(f"\n{results.count('ok  ')} passed, {results.count('FAIL')} failed")
    return "FAIL" in results or not results


if __name__ == "__main__":
    sys.exit(main())
