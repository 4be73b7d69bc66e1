"""Every rule can fail: a small good tree passes them all, and each bad edit of it fails the rule it is meant for."""

import contextlib
import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rules  # noqa: E402
import tally  # noqa: E402

GOOD = {
    "Makefile.am": "embed/bundle/tree.c launcher/bare.c launcher/log.h launcher/log.c launcher/main.c launcher/options.h launcher/values.h embed/embed.h\n"
                   "embed/signals.h embed/signals.c embed/module.c tests/unit/test_log\n",
    "configure.ac": "AC_INIT\n",
    "launcher/main.c": '#include "embed/embed.h"\n'
                       '#include "launcher/options.h"\nint main(void)\n{\n    return pye_run();\n}\n',
    "launcher/log.h": "void pye_log(void);\n",
    "launcher/values.h": "",
    "launcher/options.h": "",
    "launcher/log.c": '#include "launcher/log.h"\n/* no Python.h, no sprintf() here */\nvoid pye_log(void)\n{\n}\n',
    "embed/embed.h": "int pye_run(void);\n",
    "embed/signals.h": "",
    "embed/signals.c": '#include "embed/embed.h"\n#include <signal.h>\n'
                       'int pye_run(void)\n{\n    return raise(SIGTERM);\n}\n',
    "embed/module.c": '#include "launcher/log.h"\n'
                      'void PyInit__pyentry(void);\nvoid PyInit__pyentry(void)\n{\n    pye_log();\n}\n',
    "embed/bundle/tree.c": "int pye_tree(void);\nint pye_tree(void)\n{\n    return 1;\n}\n",
    "launcher/bare.c": "int pye_bare(void);\nint pye_bare(void)\n{\n    return 1;\n}\n",
    "embed/python/pyentry/__init__.py": "import os\n\n\ndef f():\n    return os.getpid()\n",
    "tests/unit/test_log.c": "int main(void)\n{\n    return 0;\n}\n",
    "docs/pyentry.1": ".It Fl -init Ns = Ns Cm auto | never\nWhat.\n.It Fl -help\n.It Ev PYENTRY_INIT\n",
    "README.md": "| `--init=auto\\|never` | auto | what |\n",
    "docs/init.md": "![a stop](stop.svg)\n",
    "docs/stop.svg": '<svg xmlns="http://www.w3.org/2000/svg"><title>A stop</title><desc>What comes when.</desc></svg>\n',
    "docs/completions/pyentry.bash": "_pyentry() { COMPREPLY=(--init= --help); }\n",
    "docs/completions/_pyentry": "_arguments -S '--init=[what]:what:(auto never)'\n",
    "system/Python.h": "",
    "pyentry": "#!/bin/sh\ncat <<END\nusage: pyentry\n  --init=auto|never  what\nusage of python: [option]\n"
               "--help-all: more\nEND\n",
}
LIBRARIES = {
    "liblauncher.a": ["launcher/log.c"],
    "libembed.a": ["embed/signals.c", "embed/module.c"],
    "libbundle.a": ["embed/bundle/tree.c"],
    "libbare.a": ["launcher/bare.c"],
}


def function(lines, name="pye_long"):
    """A C function of that many lines."""
    return f"void {name}(void);\nvoid {name}(void)\n{{\n" + "    ;\n" * (lines - 3) + "}\n"


# (rule, file, text that is added to it, or a function of its old text)
BAD = [
    ("launcher-never-includes-python", "launcher/log.c", "#include <Python.h>\n"),
    ("launcher-never-includes-python", "embed/embed.h", '#  include "Python.h"\n'),
    ("launcher-uses-one-door", "launcher/log.c", '#include "embed/signals.h"\n'),
    ("embed-uses-leaf-headers", "embed/module.c", '#include "launcher/options.h"\n'),
    ("embed-uses-leaf-headers", "embed/signals.c", '#include "../launcher/options.h"\n'),
    ("embed-uses-leaf-headers", "launcher/log.h", '#include "launcher/options.h"\n'),
    ("embed-waits-only-in-system-and-for-snapshots", "embed/signals.c",
     "int waitpid();\nint pye_w(void)\n{\n    return waitpid(-1, 0, 0);\n}\n"),
    ("embed-waits-only-in-system-and-for-snapshots", "embed/signals.c", "int wait4();\nint (*pye_w)() = wait4;\n"),
    ("embed-waits-only-in-system-and-for-snapshots", "embed/python/pyentry/__init__.py", "os.waitpid(-1, 0)\n"),
    ("embed-forks-only-in-system-and-for-snapshots", "embed/signals.c",
     "int fork();\nint pye_f(void)\n{\n    return fork();\n}\n"),
    ("embed-forks-only-in-system-and-for-snapshots", "embed/signals.c", "int fork();\nint (*pye_f)() = fork;\n"),
    ("embed-forks-only-in-system-and-for-snapshots", "embed/module.c",
     "#include <sys/syscall.h>\nlong syscall();\nlong pye_f(void)\n{\n    return syscall(SYS_clone);\n}\n"),
    ("embed-kills-only-in-signals", "embed/module.c", "int kill();\nint pye_k(void)\n{\n    return kill(1, 15);\n}\n"),
    ("embed-kills-only-in-signals", "embed/python/pyentry/__init__.py", "os.kill(1, 15)\n"),
    ("bare-code-stands-alone", "launcher/bare.c",
     "int pye_count(const char *);\nint pye_count(const char *text)\n{\n    return __builtin_strlen(text);\n}\n"),
    ("bare-code-stands-alone", "launcher/bare.c",
     "void __stack_chk_fail(void);\nint pye_fill(void);\nint pye_fill(void)\n{\n    __stack_chk_fail();\n    return 1;\n}\n"),
    ("no-banned-functions", "launcher/log.c", "int atoi();\nint pye_n(void)\n{\n    return atoi(0);\n}\n"),
    ("global-names-begin-with-pye", "launcher/log.c", "int answer;\n"),
    ("global-names-begin-with-pye", "embed/bundle/tree.c", "int answer;\n"),
    ("global-names-begin-with-pye", "embed/module.c", "void answer(void);\nvoid answer(void)\n{\n}\n"),
    ("functions-are-short", "launcher/log.c", function(101)),
    ("functions-are-short", "tests/unit/test_log.c", "int f(void)\n{\n"),
    ("functions-are-short", "embed/python/pyentry/__init__.py", "def g():\n" + "    f()\n" * 100),
    ("functions-are-short", "bootstrap", "#!/bin/sh\nf() {\n" + "\ttrue\n" * 99 + "}\n"),
    ("files-are-short", "launcher/values.h", "\n" * 601),
    ("files-are-short", "tests/conftest.py", "\n" * 601),
    ("files-are-short", "configure.ac", "\n" * 151),
    ("sources-are-in-the-makefile", "embed/more.c", "\n"),
    ("sources-are-in-the-makefile", "tests/unit/test_more.c", "\n"),
    ("links-lead-somewhere", "README.md", "[more](docs/more.md#there)\n"),
    ("pictures-are-shown-and-described", "docs/init.md", lambda text: text.replace("stop.svg", "pyentry.1")),
    ("pictures-are-shown-and-described", "docs/stop.svg", lambda text: text.replace("What comes when.", "")),
    ("pictures-are-shown-and-described", "docs/stop.svg", "<"),
    ("manual-page-names-the-options", "docs/pyentry.1", ".It Fl -more Ns = Ns Ar N\n"),
    ("manual-page-names-the-options", "docs/pyentry.1", lambda text: text.replace("-init", "-inti")),
    ("manual-page-names-the-variables", "docs/pyentry.1", ".Ev PYENTRY_MORE\n"),
    ("manual-page-names-the-variables", "docs/pyentry.1", lambda text: text.replace("_INIT", "_INTI")),
    ("readme-names-the-options", "README.md", "| `--more=N` | 1 | more |\n"),
    ("readme-names-the-options", "README.md", lambda text: ""),
    ("bash-completes-the-options", "docs/completions/pyentry.bash", lambda text: text.replace("--init", "--inti")),
    ("zsh-completes-the-options", "docs/completions/_pyentry", lambda text: text.replace("'-", "'--more=[more]' '-")),
]
# What no tree can pass: an option that only --help has fails all lists, a command all but that of the variables.
LISTS = [name for name, _ in rules.CHECKS if name.endswith("-the-options")]
EVERYWHERE = [
    ([name for name, _ in rules.CHECKS if name in LISTS or name.endswith("-the-variables")],
     "pyentry", lambda text: text.replace("usage of", "  --more=N  more\nusage of")),
    (LISTS, "pyentry", lambda text: text.replace("usage of", "  --more [URL]\n        more\nusage of")),
    (LISTS, "pyentry", lambda text: text.replace("usage of", "  --more\n        more\nusage of")),
]

# Allowed, and easily taken for an offence.
FINE = [
    ("embed/module.c", 'static const char *pye_text(void)\n{\n    return "fork(), then kill()"; /* waitpid() */\n}\n'
                       "const char *pye_use(void);\nconst char *pye_use(void)\n{\n    return pye_text();\n}\n"),
    ("launcher/log.c", function(100)),
    ("launcher/log.c", "struct pye_s {\n    int (*wait)(int);\n};\nint pye_c(struct pye_s *s);\n"
                       "int pye_c(struct pye_s *s)\n{\n    return s->wait(1);\n}\n"),
    ("bootstrap", "#!/bin/sh\nf() { true; }\n" + "true\n" * 200),
]


# What the suites' logs say, as tests/rules/tally.py must read it.
LOGS = [
    ("a\n12 passed, 3 failed\n", (12, 3)),
    ("1 passed, 0 failed\nx\n2 passed, 0 failed\n", (2, 0)),
    ("FAILED test_x\n2 failed, 47 passed, 1 error in 684.12s (0:11:24)\n", (47, 3)),
    ("===== 5 passed, 1 skipped in 0.12s =====\n", (5, 0)),
    ("[  PASSED  ] 7 test(s).\n[  FAILED  ] 2 test(s), listed below:\n", (7, 2)),
    ("1131 tests in 20 modules, 74 s: 11 count as failed\n", (1120, 11)),
    ("1131 tests in 20 modules, 74 s: no failure that stock Python does not have\n", (1131, 0)),
    ("Segmentation fault\n", None),
]


def write(root, path, text):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)


def edited(path, edit):
    text = GOOD.get(path, "")
    return edit(text) if callable(edit) else text + edit


def build(root):
    compiler = shlex.split(os.environ.get("CC", "cc"))
    for library, sources in LIBRARIES.items():
        objects = [os.path.join(root, os.path.basename(source)[:-2] + ".o") for source in sources]
        for source, made in zip(sources, objects):
            command = compiler + ["-w", "-c", "-I", root, "-I", os.path.join(root, "system"), "-o", made]
            subprocess.run(command + [os.path.join(root, source)], check=True)
        subprocess.run(["ar", "cr", os.path.join(root, library), *objects], check=True)


def failing(path=None, edit=None):
    """Which rules fail for the good tree with this edit, and all that was printed."""
    root = tempfile.mkdtemp()
    try:
        for name, text in GOOD.items():
            write(root, name, text)
        if path:
            write(root, path, edited(path, edit))
        build(root)
        output = io.StringIO()
        arguments = ["rules", "--source", root, "--build", root, "--pyentry", os.path.join(root, "pyentry")]
        with contextlib.redirect_stdout(output):
            status = rules.main(arguments[1:])
        failed = [line.split()[1] for line in output.getvalue().splitlines() if line.startswith("FAIL")]
        if bool(failed) != bool(status):
            failed.append(f"status {status}")
        return failed, output.getvalue()
    finally:
        shutil.rmtree(root)


def main():
    cases = [([], None, None)] + [([], path, edit) for path, edit in FINE]
    cases += [([rule], path, edit) for rule, path, edit in BAD] + EVERYWHERE
    failures = 0
    for expected, path, edit in cases:
        failed, output = failing(path, edit)
        good = failed == expected
        failures += not good
        print("ok  " if good else "FAIL", ", ".join(expected) or "no rule", "fails for", path or "the good tree")
        if not good:
            print(f"      failed: {failed}\n{output}")
    for text, expected in LOGS:
        good = tally.counts(text) == expected
        failures += not good
        print("ok  " if good else "FAIL", "tally:", text.splitlines()[-1])
    untested = {name for name, _ in rules.CHECKS} - {rule for rule, _, _ in BAD}
    failures += len(untested)
    for name in sorted(untested):
        print("FAIL", name, "was not shown to fail")
    print(f"{len(cases) + len(LOGS) + len(untested) - failures} passed, {failures} failed")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
