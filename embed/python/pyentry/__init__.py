"""What pyentry, the launcher that runs this program, offers it.

Terminated  raised in the main thread when SIGTERM arrives; a SystemExit
version     pyentry's own version

A program that must also run under plain python need not import this: SystemExit is enough to catch, and
finally blocks and context managers run either way.
"""

from _pyentry import Terminated, version

__all__ = ["Terminated", "version"]

# The interpreter guesses a file name for a frozen module; there is no such file.
globals().pop("__file__", None)
