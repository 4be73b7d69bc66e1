"""Says which signals arrive, and how often."""

import signal
import time

for name in ("HUP", "USR1", "USR2", "QUIT", "WINCH", "RTMIN"):
    number = getattr(signal, "SIG" + name)
    signal.signal(number, lambda number, frame: print("got", signal.Signals(number).name))
print("ready")
while True:
    time.sleep(1)
