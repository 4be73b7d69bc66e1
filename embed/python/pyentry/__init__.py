"""What pyentry, the launcher that runs this program, offers it.

Terminated  raised in the main thread when SIGTERM arrives; a SystemExit
limits      the CPUs and the memory that this process may use, and where that stands; looked up at each access
version     pyentry's own version
bundle      the path below which the files are of the bundle that the program runs from, or None

checkpoint, before_snapshot, after_restore  what a program says about its snapshot (pyentry --snapshot)

A program that must also run under plain python need not import this: SystemExit is enough to catch, and
finally blocks and context managers run either way.
"""

from _pyentry import Terminated, bundle, version, limits as _limits
from pyentry._hooks import after_restore, before_snapshot, checkpoint

__all__ = ["Terminated", "after_restore", "before_snapshot", "bundle", "checkpoint", "limits", "version"]


def __getattr__(name):
    if name == "limits":
        return _limits()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), "limits"])

# The interpreter guesses a file name for a frozen module; there is no such file.
globals().pop("__file__", None)
