"""Freezes Python packages into a C header: freeze.py --output FILE PACKAGE_DIRECTORY...

The header holds the code of every module, marshalled by the Python that will run it, and the table
pye_frozen for PyImport_FrozenModules. Run with the Python that is embedded.
"""

import argparse
import marshal
import pathlib

HEADER = """\
/* Made by embed/freeze.py: do not edit. */
#include <Python.h>
"""

# A package has a negative size before 3.11, and a flag of its own since.
TABLE = """
#if PY_VERSION_HEX >= 0x030B0000
#define PYE_FROZEN(module, bytes, package) \\
    {.name = (module), .code = (bytes), .size = sizeof(bytes), .is_package = (package)}
#else
#define PYE_FROZEN(module, bytes, package) \\
    {.name = (module), .code = (bytes), .size = (package) ? -(int)sizeof(bytes) : (int)sizeof(bytes)}
#endif

static const struct _frozen pye_frozen[] = {
"""


def modules(package):
    """Yield (name, is_package, path) of the package's modules, in a fixed order."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        yield ".".join(parts[:-1] if is_package else parts), is_package, path


def freeze(path, name):
    source = path.read_text(encoding="utf-8")
    # The file name is no path: where it was built is nobody's business.
    return marshal.dumps(compile(source, f"<frozen {name}>", "exec", dont_inherit=True))


def c_array(identifier, data):
    lines = [f"\nstatic const unsigned char {identifier}[] = {{"]
    for start in range(0, len(data), 16):
        lines.append("    " + "".join(f"{byte}," for byte in data[start:start + 16]))
    return "\n".join(lines) + "\n};\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("packages", nargs="+", type=pathlib.Path)
    options = parser.parse_args()
    text, rows = HEADER, ""
    for package in options.packages:
        for name, is_package, path in modules(package):
            identifier = "frozen_" + name.replace(".", "_")
            text += c_array(identifier, freeze(path, name))
            rows += f'    PYE_FROZEN("{name}", {identifier}, {int(is_package)}),\n'
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text + TABLE + rows + "};\n", encoding="utf-8")


if __name__ == "__main__":
    main()
