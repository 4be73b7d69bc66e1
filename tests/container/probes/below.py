"""Process 1 with pyentry for aarch64 below it: passes SIGTERM on, and ends as pyentry ended, 128+n after a signal.

qemu-user as process 1 cannot end by a signal: it sends itself the signal that its program ended by, and waits."""

import signal
import subprocess
import sys

child = subprocess.Popen(["qemu-aarch64", "/usr/local/bin/pyentry", *sys.argv[1:]])
signal.signal(signal.SIGTERM, lambda number, frame: child.send_signal(number))
status = child.wait()
sys.exit(128 - status if status < 0 else status)
