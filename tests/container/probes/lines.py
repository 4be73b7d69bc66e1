"""Prints lines with the time of the call, some with a pause between: lines.py COUNT PAUSE"""

import sys
import time

for number in range(int(sys.argv[1])):
    print(f"{time.time():.6f}", number)
    time.sleep(float(sys.argv[2]))
