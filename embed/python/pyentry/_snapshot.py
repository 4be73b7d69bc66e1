"""Taking a snapshot: the imports, what may not be carried, and what the builder is told."""

import gc
import importlib
import os
import sys
import threading
import warnings

import _pyentry
from pyentry import _descriptors, _hooks, _refusals, _restored, _watch

_watcher = _watch.Watch()
_plan = {"preload": [], "warm_up": ""}


def _path0():
    """What python would put in front of sys.path for the program on the command line."""
    if _pyentry.bundle is not None:
        return _pyentry.bundle
    if getattr(sys.flags, "safe_path", False) or sys.flags.isolated:
        return None
    name = sys.argv[0] if sys.argv else ""
    if name in ("", "-", "-c", "-m"):
        return os.getcwd()
    if os.path.isdir(name) or not name.endswith(".py") and _is_zip(name):
        return name
    return os.path.dirname(os.path.realpath(name))


def _is_zip(name):
    try:
        with open(name, "rb") as file:
            return file.read(2) == b"PK"
    except OSError:
        return False


def _call(where):
    """Call MODULE:FUNCTION."""
    module, _, function = where.partition(":")
    if not module or not function:
        raise SystemExit(f"pyentry: --warm-up={where}: it takes MODULE:FUNCTION")
    target = importlib.import_module(module)
    for part in function.split("."):
        target = getattr(target, part)
    target()


def _flush_files():
    """What is in a buffer now would be written by every process that starts."""
    import io
    for thing in gc.get_objects():
        if issubclass(type(thing), (io.TextIOWrapper, io.BufferedWriter)) and not thing.closed and thing.writable():
            try:
                thing.flush()
            except (OSError, ValueError):
                pass  # nobody reads it any more


def _library():
    """A file of the standard library, for what will be imported after the start; a bundle's own is there."""
    inside = _pyentry.bundle is not None and os.__file__.startswith(_pyentry.bundle + "/")
    return [os.__file__] if not inside and os.path.exists(os.__file__) else []


def _c_threads():
    return len(os.listdir("/proc/self/task")) - len(threading.enumerate())


### The report


def _report(threads):
    names = sorted({name.partition(".")[0] for name, module in sys.modules.items()
                    if getattr(module, "__file__", None)} - set(getattr(sys, "stdlib_module_names", ())))
    print(f"modules: {len(sys.modules)}" + (f" ({', '.join(names)})" if names else ""))
    rows = list(_watcher.rows())
    if rows:
        print("read from the environment, and compared at each start:")
    for name, value, module in rows:
        print(f"    {name}: {'not set' if value is None else 'set'}, by {module}")
    for module in _watcher.copied:
        print(f"    all of it, by {module}: what it saw stays, and is not compared")
    print("renewed at each start: " + ", ".join(_restored.renewals()))
    if _restored.state["descriptors"]:
        kinds = [one["kind"] for one in _restored.state["descriptors"]]
        print("opened again at each start: " + ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))))
    if threads > 0:
        print(f"threads of C libraries, gone as after a fork: {threads}")


### The two ways to the point


def _warm_up():
    if _plan["warm_up"]:
        _call(_plan["warm_up"])


def _checkpoint():
    _warm_up()
    _take()


def _take():
    """Everything up to the fork; does not return."""
    for function in reversed(_hooks.before):
        function()
    _hooks.take = None
    _watcher.stop()
    gc.unfreeze()  # what the program froze is looked at, too
    gc.collect()
    _flush_files()
    try:
        _refusals.look()
        _restored.prepare(_descriptors.capture(_plan["ours"]), _warm_up, _watcher.changes())
    except _descriptors.Refused as refused:
        raise SystemExit(f"pyentry: the snapshot was not taken: {refused}") from None
    _report(_c_threads())
    _flush_files()
    for fd in _plan["ours"]:
        if fd != _plan["file"]:
            os.close(fd)
    words = _watcher.words() + _descriptors.words(_restored.state["descriptors"], _library())
    keeps_frames = _restored.has_greenlets()
    gc.collect()
    gc.freeze()
    _pyentry.take(words, keeps_frames)


def begin(preload, warm_up, file):
    """Import what is to be imported and take the snapshot; with nothing to import, the program is run first."""
    _plan["preload"] = [name for name in preload.split(",") if name]
    _plan["warm_up"] = warm_up
    _plan["file"] = file
    _plan["ours"] = {int(name) for name in os.listdir("/proc/self/fd") if int(name) >= _descriptors.FIRST}
    _plan["ours"] = {fd for fd in _plan["ours"] if os.path.exists(f"/proc/self/fd/{fd}")}
    if _pyentry.bundle is not None:
        del sys.modules["runpy"]  # a stand-in for the moment when the program begins: each start has its own
    if "NPY_DISABLE_CPU_FEATURES" in os.environ:  # --cpu names all that there are; not every version knows them
        warnings.filterwarnings("ignore", ".*NPY_DISABLE_CPU_FEATURES")
    _restored.note_process()
    _watcher.start()
    if not _plan["preload"]:
        _restored.state["path"] = list(sys.path)
        _hooks.take = _checkpoint
        return
    path = list(sys.path)
    first = _path0()
    if first is not None:
        sys.path.insert(0, first)
    for name in _plan["preload"]:
        importlib.import_module(name)
    _warm_up()
    if first is not None and sys.path[:1] == [first]:
        del sys.path[0]
    elif sys.path != path:
        print("sys.path was changed by an import: it stays so")
    _take()
