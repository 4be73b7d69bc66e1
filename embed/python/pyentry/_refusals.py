"""What cannot be carried in a snapshot, beside descriptors: each is refused by name, with what to do."""

import _thread
import os
import re
import signal
import sys
import threading
import traceback
from time import monotonic, sleep  # as they are before anyone replaces them

from pyentry import _restored
from pyentry._descriptors import Refused

_PATIENCE, _PAUSE = 0.5, 0.01  # seconds
_LATER = "in a function given to pyentry.after_restore"


def look():
    """Raise Refused for the first that is found."""
    _refuse_threads()
    _refuse_children()
    _refuse_imports()
    _refuse_timers()
    _refuse_memory()


def _stacks():
    """{thread: its Python stack} of the others that cannot be started anew."""
    workers = {thread.ident for thread in _restored.idle_workers()}
    mine = sys._getframe()
    found = {}
    for ident, frame in sys._current_frames().items():
        outer = frame
        while outer is not None and outer is not mine:
            outer = outer.f_back
        if outer is None and ident not in workers:
            found[ident] = "".join(traceback.format_stack(frame))
    if not found and _thread._count() > len(workers):
        found[None] = "  in a function that is not Python's"
    return found


def _refuse_threads():
    """Live threads are not copied; an executor that has nothing to do can start its own anew."""
    last, stacks = monotonic() + _PATIENCE, _stacks()
    while stacks and monotonic() < last:  # one may be about to end
        sleep(_PAUSE)
        stacks = _stacks()
    names = {thread.ident: repr(thread.name) for thread in threading.enumerate()}
    for ident, stack in stacks.items():
        raise Refused(f"the thread {names.get(ident, 'of _thread.start_new_thread()')} runs: stop it before the snapshot, "
                      f"or start it {_LATER}\n{stack}".rstrip())


def _refuse_children():
    """What this process started, and orphans of that, which came to its parent."""
    children = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                comm, _, rest = file.read().rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        orphan = int(parent) == os.getppid() and int(name) != os.getpid() and state != "Z"
        if int(parent) == os.getpid() or orphan:
            children.append(f"{name} ({comm.partition('(')[2]})")
    if children:
        raise Refused(f"the child process {', '.join(children)} runs, or was not waited for: end it before the "
                      f"snapshot, or start it {_LATER}")


def _refuse_imports():
    """Who imports it at a start would wait for us to have done so, or get half of it."""
    for name, module in list(sys.modules.items()):
        if not issubclass(type(module), type(sys)):
            continue
        spec = object.__getattribute__(module, "__dict__").get("__spec__")  # a lazy module is not to be loaded by that
        if getattr(spec, "_initializing", False):
            raise Refused(f"pyentry.checkpoint() was called while {name} is imported: call it in the program itself")


def _refuse_timers():
    for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"):
        if signal.getitimer(getattr(signal, name))[0]:
            raise Refused(f"a timer runs (signal.setitimer, {name}, or signal.alarm): set it {_LATER}")


def _refuse_memory():
    """The process that is written down is a forked child."""
    with open("/proc/self/smaps") as file:
        text = file.read()
    found = re.search(r"^([0-9a-f]+-[0-9a-f]+) (?:.*\n(?!VmFlags))*.*\nVmFlags:.* dc\b", text, re.MULTILINE)
    if found:
        raise Refused(f"the memory at {found.group(1)} is kept from children (MADV_DONTFORK): map it {_LATER}")
