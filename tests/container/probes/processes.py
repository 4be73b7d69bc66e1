"""Every process of this container but the asking one, as JSON: {pid: [state, parent, command]}."""

import json
import os

found = {}
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{name}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
        with open(f"/proc/{name}/cmdline", "rb") as file:
            command = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        continue  # gone in between
    if int(name) != os.getpid():
        found[int(name)] = [state.decode(), int(parent), command]
print(json.dumps(found))
