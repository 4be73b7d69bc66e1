"""Makes orphans: family.py zombies COUNT, or family.py daemon"""

import os
import signal
import sys
import time


def orphans(count):
    """Grandchildren whose parent is gone before they end: PID 1 inherits and has to reap them."""
    for _ in range(count // 50):
        middle = os.fork()
        if middle == 0:
            for _ in range(50):
                if os.fork() == 0:
                    os._exit(0)
            os._exit(0)
        os.waitpid(middle, 0)
    print("orphans made:", count // 50 * 50)
    # Our own children keep the status that they gave: nobody reaps them but us.
    child = os.fork()
    if child == 0:
        os._exit(7)
    time.sleep(0.1)
    print("own child:", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def daemon():
    """In a session of its own, as a daemon has it; says when it is told to stop."""
    def stop(number, frame):
        print("daemon: cleaned up")
        os._exit(0)

    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGTERM, stop)
        print("daemon: ready")
        while True:
            signal.pause()


if sys.argv[1] == "zombies":
    orphans(int(sys.argv[2]))
    time.sleep(3600)
else:
    daemon()
    sys.stdin.read()
    time.sleep(float(sys.argv[2]))
    sys.exit(5)
