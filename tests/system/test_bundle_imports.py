"""Imports from a bundle: all that the import protocol promises, as from a directory."""

import json
import os
import shutil
import subprocess

import pytest

from bundling import FORMS, build, build_as, files_of, out_of_reach, whole
from harness import PROBES, PYENTRY, PYTHON, VERSION, clean_env, compile_c, run, traced_calls, write_tree

PROBE = PROBES / "bundled_imports.py"

FILES = {
    "single.py": "value = 1\n",
    "later.py": "", "lazy.py": "value = 5\n", "unicodé.py": "",
    "both.py": "", "both/__init__.py": "",
    "broken.py": "def f(:\n",
    "failing/__init__.py": "", "failing/inner.py": "def f():\n    1 / 0\n\n\nf()\n",
    "extended/__init__.py": "import pkgutil\n__path__ = pkgutil.extend_path(__path__, __name__)\n",
    "pkg/__init__.py": "", "pkg/plain.txt": "plain", "pkg/data/text.txt": "text",
    "pkg/sub/__init__.py": "", "pkg/sub/leaf.py": "def function():\n    return 1\n",
    "portion/inside.py": "", "portion/text.txt": "in the namespace",
    "some_dist-1.5.dist-info/METADATA": "Metadata-Version: 2.1\nName: some-dist\nVersion: 1.5\n",
    "some_dist-1.5.dist-info/entry_points.txt": "[some.group]\nentry = pkg.sub.leaf:function\n",
    "some_dist-1.5.dist-info/RECORD": "single.py,,\npkg/plain.txt,,\n",
    "run.py": "",
}


@pytest.fixture(scope="module", params=FORMS)
def place(request, tmp_path_factory):
    """The inputs, and what was built of them."""
    folder = tmp_path_factory.mktemp("imports")
    write_tree(folder / "in", FILES)
    made = {name: build_as(request.param, folder / name, "-m", "run", *options, folder / "in")
            for name, options in (("app", []), ("alone", ["--stdlib"]), ("sourceless", ["--no-source"]))}
    return {"in": folder / "in", "form": request.param, **made}


def reported(bundle):
    return json.loads(run([bundle, "-c", PROBE.read_text(), str(files_of(bundle))]).stdout)


@pytest.mark.parametrize("bundle", ["app", "alone"])
def test_the_protocol_says_what_it_says_of_a_directory(place, bundle, tmp_path):
    shutil.copytree(place["in"], tmp_path / "in")
    env = clean_env(PYTHONPATH=str(tmp_path / "in"))
    theirs = json.loads(run([PYTHON, "-c", PROBE.read_text(), str(tmp_path / "in")], env=env).stdout)
    ours = reported(place[bundle])
    assert len(theirs) > 60
    known = set()
    if place["form"] == "directory":
        known = {"cached"}  # the code is in the executable
    elif VERSION >= (3, 13):
        known = {"files namespace"}  # importlib.resources finds it twice: in the directory, and in the zip file
    assert {name: (value, theirs[name]) for name, value in ours.items() if value != theirs[name] and name not in known} == {}


def test_without_source_it_is_as_from_compiled_files(place):
    with_source, without = reported(place["app"]), reported(place["sourceless"])
    for name, value in without.items():
        if name.startswith("get_source ") and value is not None:
            assert value.startswith("OSError") or value == with_source[name], (name, value)
    assert without["reload"] == 1 and without["walk"] == with_source["walk"]
    assert without["attributes pkg.sub.leaf"][2] == "TOP/pkg/sub/leaf.pyc"
    assert "line 5, in <module>" in without["traceback"]


def test_a_namespace_package_goes_on_outside(place, tmp_path):
    write_tree(tmp_path, {"portion/outside.py": "", "extended/more.py": ""})
    code = "import portion.inside, portion.outside, extended.more; print(len(portion.__path__), len(extended.__path__))"
    done = run([place["app"], "-c", code], env=clean_env(PYTHONPATH=str(tmp_path)))
    assert done.stdout == (b"2 1\n" if b"extended.more" in done.stderr else b"2 2\n"), done.stderr


def test_the_order_of_sys_path_holds(place, tmp_path):
    write_tree(tmp_path, {"single.py": "value = 2\n"})
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import single; print(single.value)"
    assert run([place["app"], "-c", code]).stdout == b"2\n"


def test_a_name_is_no_path(place):
    code = "import importlib.util; print([importlib.util.find_spec(n) for n in ('plain/again', 'json/decoder')])"
    assert run([place["app"], "-c", code]).stdout == b"[None, None]\n"


def test_built_in_and_frozen_modules_come_first(tmp_path):
    write_tree(tmp_path / "in", {"time.py": "mine = True\n", "run.py": "import time; print(hasattr(time, 'mine'))\n"})
    build(tmp_path / "app", "-m", "run", tmp_path / "in")
    assert run([tmp_path / "app"]).stdout == b"False\n"


OWN_FINDERS = """
import importlib.machinery, importlib.util, sys
asked = []
class First:
    def find_spec(name, path, target=None):
        asked.append(name)
class Loader(importlib.machinery.SourceFileLoader):
    def create_module(self, spec):
        module = type(sys)(spec.name)
        module.made_by = "Loader"
        return module
class Second:
    def find_spec(name, path, target=None):
        if name == "pkg":
            origin = single.__file__.replace("single.py", "pkg/__init__.py")
            return importlib.util.spec_from_file_location(name, loader=Loader(name, origin))
import single
sys.meta_path[:0] = [First, Second]
import later, pkg.sub
del sys.meta_path[:2]
import pkg.sub.leaf
spec = importlib.util.find_spec("lazy")
spec.cached = None
spec.parent_of = "lazy"
lazy = importlib.util.module_from_spec(spec)
print(asked, pkg.made_by, pkg.__path__ == pkg.__spec__.submodule_search_locations,
      [list(vars(module)) for module in (single, pkg.sub, pkg.sub.leaf, lazy)])
"""


def test_finders_and_loaders_of_the_programs_own_have_their_part(place):
    env = clean_env(PYTHONPATH=str(place["in"]), PYTHONDONTWRITEBYTECODE="1")
    theirs = run([PYTHON, "-c", OWN_FINDERS], env=env).stdout
    assert b"['later', 'pkg', 'pkg.sub'] Loader True" in theirs
    assert run([place["app"], "-c", OWN_FINDERS]).stdout == theirs


def test_a_start_searches_no_file_system(place):
    """With the standard library inside: nothing is looked up but by the loader, the C library, and for the limits."""
    calls = traced_calls([place["alone"]], "openat,open,newfstatat,stat,lstat,access,readlink,getdents64,execve")
    began = next(number for number, call in enumerate(calls) if "/proc/self/exe" in call)  # the loader is done
    known = ["/locale/", "/cgroup/", "/libm.so", *(["pyvenv.cfg"] if VERSION < (3, 11) else [])]
    if place["form"] == "directory":
        began += 1 + next(number for number, call in enumerate(calls[began:]) if '/files"' in call)  # whether it is there
        known.append(".zip")  # of sys.path, which the kernel knows nothing of
    searched = [call for call in calls[began:] if "/usr/lib/python" in call or "getdents" in call
                or "ENOENT" in call and not any(place in call for place in known)]
    assert searched == []
    below = [call for call in calls[began:] if f"{files_of(place['alone'])}/" in call]
    assert [call for call in below if not any(place in call for place in known)] == []


def test_collections_are_rarer_during_an_import_only(tmp_path):
    """Of all generations together the program's pace is restored, also after an import that fails; its own is left alone."""
    write_tree(tmp_path / "in", {
        "inner.py": "import gc\nseen = gc.get_threshold()\n", "outer.py": "import inner\nfrom inner import seen\n",
        "failing.py": "import inner\n1 / 0\n", "own.py": "import gc\ngc.set_threshold(5, 6, 7)\n",
        "off.py": "import gc\nseen = gc.get_threshold()\n",
        "run.py": """
import gc
before = gc.get_threshold()
import outer
print(outer.seen[0] > before[0], outer.seen[1:] == before[1:], gc.get_threshold() == before)
try:
    import failing
except ZeroDivisionError:
    print(gc.get_threshold() == before)
import own
print(gc.get_threshold()[:2])
gc.set_threshold(0)
import off
print(off.seen[0], gc.get_threshold()[0])
"""})
    build(tmp_path / "app", "-m", "run", tmp_path / "in")
    done = run([tmp_path / "app"])
    assert done.stdout.splitlines() == [b"True True True", b"True", b"(5, 6)", b"0 0"], done.stdout + done.stderr


def test_threads_import_at_once(tmp_path):
    names = [f"module{number}" for number in range(60)]
    write_tree(tmp_path / "in", {f"{name}.py": f"value = {name!r}\n" for name in names} | {"run.py": """
import importlib, threading
names = [f"module{n}" for n in range(60)]
found = []
def work():
    for name in names:
        found.append(importlib.import_module(name).value == name)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found), all(found))
"""})
    build(tmp_path / "app", "-m", "run", tmp_path / "in")
    assert run([tmp_path / "app"]).stdout == b"480 True\n"


### Extension modules and their libraries

EXTENSION = """
#include <Python.h>
#include <dlfcn.h>
extern int library_value(void);
static PyObject *value(PyObject *self, PyObject *unused) { return PyLong_FromLong(library_value()); }
static PyObject *origin(PyObject *self, PyObject *unused)
{
    Dl_info info;
    dladdr((void *)value, &info);
    return PyUnicode_FromString(info.dli_fname);
}
static PyMethodDef methods[] = {{"value", value, METH_NOARGS, 0}, {"origin", origin, METH_NOARGS, 0}, {0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "NAME", 0, 0, methods};
PyMODINIT_FUNC PyInit_NAME(void) { return PyModule_Create(&definition); }
"""


@pytest.fixture(scope="module", params=FORMS)
def extensions(request, tmp_path_factory):
    """A package as auditwheel leaves it: two modules that need a library, which needs another, in pkg.libs."""
    folder = tmp_path_factory.mktemp("extensions")
    libs = folder / "in" / "pkg.libs"
    write_tree(folder / "in", {"pkg/__init__.py": "", "run.py": "import pkg.one, pkg.two\nprint(pkg.one.value())\n"})
    libs.mkdir()
    # The names sort against the order in which they must be loaded.
    compile_c("int deep_value(void) { return 42; }", libs / "libz-deep-1234.so", "-Wl,-soname,libz-deep-1234.so")
    compile_c("extern int deep_value(void); int library_value(void) { return deep_value(); }", libs / "liba-1234.so",
              "-Wl,-soname,liba-1234.so", f"-L{libs}", "-l:libz-deep-1234.so", "-Wl,-rpath,$ORIGIN")
    include = run([PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('include'))"]).stdout.decode().strip()
    suffix = run([PYTHON, "-c", "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"]).stdout.decode().strip()
    for name in ("one", "two"):
        compile_c(EXTENSION.replace("NAME", name), folder / "in" / "pkg" / (name + suffix), f"-I{include}", f"-L{libs}",
                  "-l:liba-1234.so", "-Wl,-rpath,$ORIGIN/../pkg.libs", "-Wl,--unresolved-symbols=ignore-all")
    program = build_as(request.param, folder / "app", "-m", "run", "--stdlib", folder / "in")
    shutil.rmtree(folder / "in")
    return program


def test_extension_modules_load_with_their_libraries(extensions):
    """From memory, or from where they are."""
    code = "import pkg.one, pkg.two; print(pkg.one.value(), pkg.two.value(), pkg.one.__file__, pkg.one.origin())"
    done = run([extensions, "-c", code], env=clean_env(TMPDIR="/nowhere", HOME=None))
    assert done.returncode == 0, done.stderr
    words = done.stdout.decode().split()
    assert words[:2] == ["42", "42"]
    assert words[2].startswith(f"{files_of(extensions)}/pkg/one.") and words[2].endswith(".so")
    assert words[3] == words[2] if whole(extensions).is_dir() else words[3].startswith("/proc/self/fd/")
    assert b"memfd" not in run([extensions, "-c", "import pkg.one, os; os.system('ls -l /proc/$PPID/fd')"]).stdout


REFUSED = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=memfd_create:error=EPERM"]


def in_one_file(test):
    return pytest.mark.parametrize("extensions", ["file"], indirect=True)(test)


@in_one_file
def test_where_memory_is_refused_they_load_from_a_directory_that_is_gone(extensions, tmp_path):
    code = "import pkg.one, pkg.two, os; print(pkg.one.value(), pkg.one.origin(), os.listdir(os.environ['TMPDIR']))"
    done = run([*REFUSED, extensions, "-c", code], env=clean_env(TMPDIR=str(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().startswith(f"42 {tmp_path}/pyentry-")
    assert done.stdout.decode().endswith(" []\n")
    assert not list(tmp_path.iterdir())


@in_one_file
def test_where_nothing_works_one_line_says_so(extensions):
    done = run([*REFUSED, extensions], env=clean_env(TMPDIR="/nowhere"))
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    told = [line for line in lines if line.startswith("pyentry: ")]
    assert len(told) == 1 and "libz-deep-1234.so" in told[0] and "set TMPDIR to a directory" in told[0], lines
    assert lines[-1].startswith("ImportError: ")


def test_ctypes_opens_a_library_in_the_bundle(extensions):
    code = f"import ctypes; print(ctypes.CDLL('{files_of(extensions)}/pkg.libs/liba-1234.so').library_value())"
    assert run([extensions, "-c", code]).stdout == b"42\n"


def test_a_plain_program_finds_its_libraries_as_ever(tmp_path):
    """dlopen through the executable still goes by the run path of the library that calls it."""
    (tmp_path / "inner").mkdir()
    compile_c("int inner_value(void) { return 7; }", tmp_path / "inner" / "libinner.so")
    compile_c("#include <dlfcn.h>\nint found(void) { return dlopen(\"libinner.so\", RTLD_NOW) != 0; }",
              tmp_path / "libouter.so", "-Wl,-rpath,$ORIGIN/inner", "-Wl,--disable-new-dtags")
    code = f"import ctypes; print(ctypes.CDLL('{tmp_path}/libouter.so').found())"
    for interpreter in (PYTHON, PYENTRY):
        assert run([interpreter, "-c", code]).stdout == b"1\n", interpreter


def test_libraries_do_not_leak_into_other_programs(extensions):
    code = "import pkg.one, subprocess; print(subprocess.run(['env'], capture_output=True, text=True).stdout)"
    out = run([extensions, "-c", code]).stdout
    assert b"LD_LIBRARY_PATH" not in out and b"LD_PRELOAD" not in out


### Starting others

WORKERS = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import helper

def square(x):
    return x * x

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print(pool.map(square, range(4)), pool.map(helper.double, range(3)))
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        print(list(executor.map(square, range(4))))
    from multiprocessing import shared_memory
    block = shared_memory.SharedMemory(create=True, size=16)
    block.close()
    block.unlink()
"""


@pytest.fixture(scope="module", params=FORMS)
def workers(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    write_tree(folder / "in", {"work/__init__.py": "", "work/main.py": WORKERS.replace("import helper", "from . import helper"),
                               "work/helper.py": "def double(x):\n    return 2 * x\n"})
    return build_as(request.param, folder / "app", "-m", "work.main", "--stdlib", folder / "in")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_starts_its_workers(workers, method):
    done = run([*out_of_reach(), workers, method])
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == (b"[0, 1, 4, 9] [0, 2, 4]\n[0, 1, 4, 9]\n", b"")


def test_subprocess_starts_python(workers):
    code = """import subprocess, sys
print(subprocess.run([sys.executable, "-c", "import work.helper; print(work.helper.double(4))"], capture_output=True).stdout)
print(subprocess.run([sys.executable, "-m", "work.main", "fork"], capture_output=True).stdout[:12])
print(subprocess.run([sys.executable, "-Im", "json.tool"], input=b"[1]", capture_output=True).stdout)"""
    done = run([*out_of_reach(), workers, "-c", code])
    assert done.stdout == b"b'8\\n'\nb'[0, 1, 4, 9]'\nb'[\\n    1\\n]\\n'\n", done.stderr


def leftovers():
    return [name for folder in ("/tmp", "/var/tmp", "/run") for name in os.listdir(folder) if "pyentry-" in name]


def test_nothing_is_written_and_nothing_stays(workers, tmp_path):
    """A read-only root, no HOME, no TMPDIR, and SIGKILL in the middle. It has been moved, too."""
    (tmp_path / "empty").mkdir()
    script = 'mount --make-rprivate / && mount -t tmpfs -o ro none /tmp/ && mount -o remount,ro,bind / && exec "$@"'
    run(["cp", "-a", whole(workers), tmp_path / "moved"])
    before = leftovers()
    code = ("import ctypes, ssl, sqlite3, asyncio, decimal, os, signal; print('all', flush=True);"
            "os.kill(os.getpid(), signal.SIGKILL)")
    inside = ["unshare", "--mount", "sh", "-c", 'mkdir -p /run/t && mount --bind "$0" /run/t && ' + script, str(tmp_path)]
    program = tmp_path / "moved" / "app" if whole(workers).is_dir() else tmp_path / "moved"
    done = run([*inside, f"/run/t/{program.relative_to(tmp_path)}", "-c", code], env={"PATH": "/usr/bin:/bin"})
    assert (done.stdout, done.returncode) == (b"all\n", -9), done.stderr
    assert leftovers() == before
    assert sorted(os.listdir(tmp_path)) == ["empty", "moved"]
