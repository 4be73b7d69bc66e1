"""How long a program takes to its first byte, and to its end."""

import os
import sys
import time


def spans(command, environment):
    """Seconds from starting a program to the first byte that it writes, and to its end."""
    reader, writer = os.pipe()
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environment, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
    os.close(writer)
    os.read(reader, 1)
    line = time.perf_counter() - began
    status = os.waitpid(pid, 0)[1]
    end = time.perf_counter() - began
    os.close(reader)
    if status:
        sys.exit(f"bench: {' '.join(command)} failed")
    return line, end
