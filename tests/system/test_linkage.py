"""What libpython is linked with: libm, which is loaded when it is wanted, and zlib and expat, which are inside.

All of it only where libpython itself is inside; the answers are python's own in any case.
"""

import os
import re

import pytest

from harness import PYENTRY, clean_env, compile_c, differences, pyentry, run, show

LINKED = run(["ldd", PYENTRY]).stdout.decode()
without_libm = pytest.mark.skipif("libm.so" in LINKED, reason="libm is linked: libpython is shared, or no lean start")

NUMBERS = """
import cmath, math
VALUES = [0.0, -0.0, 0.3, -0.3, 0.5, -0.5, 1.0, -1.0, 1.5, -2.5, 3.7, 1e-310, 2.0**31, 2.0**52 - 0.5, 0.5 - 2.0**52,
          2.0**52, -2.0**53, 1e300, math.inf, -math.inf, math.nan]

def told(function, *arguments):
    try:
        return repr(function(*arguments))
    except Exception as error:
        return repr(error)

for module in math, cmath:
    for name, function in sorted(vars(module).items()):
        if callable(function) and name not in ("factorial", "perm"):  # of floats, Python 3.9 tries
            print(name, [told(function, x) for x in VALUES])
            print(name, [told(function, x, y) for x in VALUES for y in VALUES])
for name in "__pow__", "__mod__", "__floordiv__", "__divmod__", "__round__", "__floor__", "__ceil__":
    function = getattr(float, name, None)
    print(name, [told(function, x) for x in VALUES], [told(function, x, y) for x in VALUES for y in VALUES])
print([told(pow, complex(x, y), 0.7 + y) for x in VALUES for y in VALUES])
"""

COMPRESSED = """
import gzip, io, xml.etree.ElementTree as tree, zipfile, zlib
print(zlib.ZLIB_RUNTIME_VERSION, zlib.crc32(b"x"), zlib.decompress(gzip.compress(b"word " * 1000, mtime=0), 31)[:9])
file = io.BytesIO()
with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("name", "text " * 1000)
print(zipfile.ZipFile(file).read("name")[:9], len(file.getvalue()), tree.fromstring("<a b='1'>&#228;</a>").text)
"""


def test_the_answers_are_pythons():
    """Each function of math over the values where such functions break, compression and XML."""
    found = differences([("numbers", ["-c", NUMBERS], {}), ("compressed", ["-c", COMPRESSED], {})])
    assert not found, show(found)


HAS_LIBM = "any('/libm.so' in line for line in open('/proc/%%d/maps' %% %s))"


@without_libm
def test_libm_comes_with_python():
    """Before the program, which may close every way to it; an init has none."""
    done = pyentry("--init=always", "-c", f"import os; print({HAS_LIBM % 'os.getpid()'}, {HAS_LIBM % 'os.getppid()'})")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"True False\n", b"")


UNDERLINKED = "double cos(double); double of(double x) { return cos(x); }"


def test_a_library_that_does_not_name_libm(tmp_path):
    """It finds libm in the process, as in any python."""
    compile_c(UNDERLINKED, tmp_path / "underlinked.so", "-fno-builtin")
    assert b"libm" not in run(["ldd", str(tmp_path / "underlinked.so")]).stdout
    code = ("import ctypes, sys; of = ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL).of; of.restype = ctypes.c_double\n"
            "print(of(ctypes.c_double(0)), ctypes.CDLL(None).sqrt is not None)")
    done = pyentry("-c", code, str(tmp_path / "underlinked.so"))
    assert (done.returncode, done.stdout) == (0, b"1.0 True\n"), done.stderr


# The names are zlib's own: nothing of the executable's may stand before it.
USES_ZLIB = """
#define _GNU_SOURCE
#include <dlfcn.h>
unsigned long crc32(unsigned long, const char *, unsigned);
unsigned long sum(void) { return crc32(0, "x", 1); }
const char *origin(void) { Dl_info info; return dladdr((void *)crc32, &info) ? info.dli_fname : "?"; }
"""


def test_a_library_that_brings_zlib(tmp_path):
    """It has its own functions, beside those inside."""
    compile_c(USES_ZLIB, tmp_path / "uses_zlib.so", "-fno-builtin", "-l:libz.so.1", "-ldl")
    code = ("import ctypes, gzip, sys, zlib; library = ctypes.CDLL(sys.argv[1])\n"
            "library.sum.restype, library.origin.restype = ctypes.c_ulong, ctypes.c_char_p\n"
            "print(library.sum() == zlib.crc32(b'x'), gzip.decompress(gzip.compress(b'word')), library.origin())")
    done = pyentry("-c", code, str(tmp_path / "uses_zlib.so"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert re.fullmatch(rb"True b'word' b'/\S*/libz\.so\.1'\n", done.stdout), done.stdout


@without_libm
@pytest.mark.skipif(os.getuid() != 0, reason="not root: no file can be hidden")
def test_libm_is_missing():
    """What needs no libm runs; what does says so, and ends."""
    found = re.search(r"libc\.so\.6 => (/\S*/)libc\.so\.6", LINKED)[1] + "libm.so.6"
    hidden = ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null "$1" && shift && exec "$@"', "sh", found]
    assert run([*hidden, PYENTRY, "-S", "-c", "print('told')"], env=clean_env()).stdout == b"told\n"
    done = run([*hidden, PYENTRY, "-S", "-c", "print(2.0 ** 0.5)"])
    assert (done.returncode, done.stdout, done.stderr) == (
        1, b"", b"pyentry: libm.so.6 cannot be loaded, and Python needs its pow: put it where libc.so.6 is\n")
