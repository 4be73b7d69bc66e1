"""What the modules of a program look at while they are imported: which of them a snapshot can hold.

Runs in a bundle, for its builder: imports what the main module would import, and notes for each module whatever may be
another thing at another start. It imports nothing itself that it need not: what is there already is not seen.
"""

import builtins
import marshal
import os
import sys

from pyentry import _watch

# C functions by their modules, and what their callers learn or do.
_CALLS = {
    "time": dict.fromkeys(("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns",
                           "process_time", "process_time_ns", "thread_time", "thread_time_ns", "localtime", "gmtime",
                           "ctime"), "reads the time"),
    "posix": {"urandom": "uses randomness", "getrandom": "uses randomness", "getpid": "looks at the process id",
              "getcwd": "looks at the working directory"},
    "_thread": dict.fromkeys(("start_new_thread", "start_joinable_thread"), "starts a thread"),
    "_socket": {"gethostname": "looks at the name of the host"},
}
_METHODS = {"now": "reads the time", "utcnow": "reads the time", "today": "reads the time",
            "random": "uses randomness", "getrandbits": "uses randomness", "seed": "uses randomness"}
# Audit events, by what is before the dot.
_EVENTS = {"subprocess": {"Popen": "starts a program"}, "socket": {"__new__": "makes a socket"},
           "os": dict.fromkeys(("system", "posix_spawn", "fork", "forkpty"), "starts a program")}
_FILES = ("open", "os.listdir", "os.scandir")


class _Environment(_watch.Watch):
    """Tells the survey of every look at os.environ."""

    def __init__(self, survey):
        super().__init__()
        self.survey = survey

    def saw(self, name):
        self.survey.note(f"reads the variable {name}", sys._getframe(1))

    def saw_all(self):
        self.survey.note("reads the whole environment", sys._getframe(1))


class Survey:
    """From start to the end of the process."""

    def __init__(self, root, renewed):
        self.inside = root + "/"
        self.renewed = renewed  # modules that every start renews: what they look at is no matter
        self.reasons = {}       # module: the first
        self.needs = {}         # module: what it imports
        self.import_ = builtins.__import__

    def start(self):
        import importlib
        builtins.__import__ = self.imports
        importlib.import_module = self.import_module(importlib.import_module)
        _Environment(self).start()
        sys.addaudithook(self.event)
        sys.setprofile(self.call)

    def note(self, reason, frame):
        name = _importing(frame)
        if name is not None and name not in self.renewed:
            self.reasons.setdefault(name, reason)

    def call(self, frame, event, function):
        if event != "c_call" or _is_machinery(frame):
            return
        name, module, owner = function.__name__, getattr(function, "__module__", None), function.__self__
        if module in _CALLS and name in _CALLS[module]:
            self.note(_CALLS[module][name], frame)
        elif name in _METHODS:
            kind = owner if isinstance(owner, type) else type(owner)
            if any(base.__module__ in ("datetime", "_random") for base in kind.__mro__):
                self.note(_METHODS[name], frame)

    def event(self, event, arguments):
        group, _, name = event.partition(".")
        if group in _EVENTS and name in _EVENTS[group]:
            self.note(_EVENTS[group][name], sys._getframe(1))
        elif event in _FILES and isinstance(arguments[0], (str, bytes)):
            path, frame = os.path.abspath(os.fsdecode(arguments[0])), sys._getframe(1)
            if not path.startswith(self.inside) and not _is_machinery(frame):
                self.note(f"reads {path}", frame)

    def imports(self, name, globals=None, locals=None, fromlist=(), level=0):
        try:
            return self.import_(name, globals, locals, fromlist, level)
        finally:
            if level > 0:
                package = (globals or {}).get("__package__") or ""
                name = ".".join(filter(None, (package.rsplit(".", level - 1)[0], name)))
            self.need(name, sys._getframe(1))
            everything = getattr(sys.modules.get(name), "__all__", ()) if "*" in (fromlist or ()) else ()
            for below in (*(fromlist or ()), *everything):
                self.need(f"{name}.{below}", sys._getframe(1))

    def import_module(self, original):
        def import_module(name, package=None):
            module = original(name, package)
            self.need(getattr(module, "__name__", name), sys._getframe(1))
            return module
        return import_module

    def need(self, name, frame):
        importer = _importing(frame)
        if importer is not None and name in sys.modules:
            self.needs.setdefault(importer, set()).add(name)


def _is_machinery(frame):
    return frame.f_code.co_filename.startswith("<frozen importlib")


def _importing(frame):
    """The module whose import runs this code; None: it is none's."""
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            name = frame.f_globals.get("__name__")
            return None if name == "__main__" else name
        frame = frame.f_back
    return None


def _has_file(name):
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec is not None and spec.name == name and name != "__main__"


def main():
    """In: marshal of (package, imports, renewed) as hexadecimal digits. Out: marshal of (order, reasons, needs)."""
    wanted, out = sys.argv[1:]
    package, imports, renewed = marshal.loads(bytes.fromhex(wanted))
    from _pyentry import bundle
    survey = Survey(bundle, renewed)
    survey.start()
    for name, below, level in imports:
        try:
            survey.import_(name, {"__package__": package, "__name__": "main"}, None, below, level)
        except BaseException as error:  # a program may end at its imports
            survey.reasons.setdefault(name, f"fails: {type(error).__name__}: {error}")
    sys.setprofile(None)
    order = [name for name in list(sys.modules) if _has_file(name) and not name.startswith("pyentry")]
    needs = {name: sorted(below) for name, below in survey.needs.items()}
    with open(out, "wb") as file:
        file.write(marshal.dumps((order, survey.reasons, needs)))
