"""Imports for about a second, sleeps, cleans up in finally. Says "start", "finally", "end" on its way."""

import os

try:
    os.write(1, b"start\n")
    import sys
    import time

    for name in ("asyncio", "http.server", "json.decoder", "unittest.mock", "xml.dom.minidom"):
        __import__(name)  # real ones: nested, with C extensions

    class Slow:
        """An importer whose modules take 20 ms each and import one another."""

        @staticmethod
        def find_spec(name, path=None, target=None):
            from importlib.machinery import ModuleSpec
            return ModuleSpec(name, Slow) if name.startswith("slow_") else None

        @staticmethod
        def create_module(spec):
            return None

        @staticmethod
        def exec_module(module):
            time.sleep(0.02)
            number = int(module.__name__[5:])
            if number % 5:
                __import__(f"slow_{number - 1}")
            exec(compile("x = [n * n for n in range(100)]\n" * 20, module.__name__, "exec"), vars(module))

    sys.meta_path.append(Slow)
    for n in range(40):
        __import__(f"slow_{n}")
    os.write(1, b"imported\n")
    time.sleep(0.2)
finally:
    os.write(1, b"finally\n")
os.write(1, b"end\n")
