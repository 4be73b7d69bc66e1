"""Prints each signal that it gets: "NUMBER CODE VALUE". usage: init_signals.py [NAME...]

Says "ready" when all of them are blocked, so that none is missed and none is counted twice. Ends with status 7
at a SIGRTMAX that carries the value -1. For each name there is a child of the same kind, which prints with a "+" before
the line: "group" in the same process group, "own" in a session of its own.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


class Info(ctypes.Structure):
    """siginfo_t of a signal that was sent with a value."""

    _fields_ = [("number", ctypes.c_int), ("errno", ctypes.c_int), ("code", ctypes.c_int), ("unused", ctypes.c_int),
                ("pid", ctypes.c_int), ("uid", ctypes.c_uint), ("value", ctypes.c_int), ("rest", ctypes.c_char * 128)]


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    mark = ""
    for name in sys.argv[1:]:
        if os.fork() == 0:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            mark = "+"
            if name == "own":
                os.setsid()
            break
    everything = (ctypes.c_ulong * 16)(*[2 ** 64 - 1] * 16)
    info = Info()
    os.write(1, f"{mark}ready\n".encode())
    while (info.number, info.value) != (signal.SIGRTMAX, -1):
        if libc.sigwaitinfo(ctypes.byref(everything), ctypes.byref(info)) > 0:
            value = info.value if info.code == -1 else 0
            os.write(1, f"{mark}{info.number} {info.code} {value}\n".encode())
    os._exit(7)


if __name__ == "__main__":
    main()
