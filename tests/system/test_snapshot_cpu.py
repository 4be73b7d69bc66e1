"""--cpu: what libraries choose in a snapshot is within a level of x86-64, and a start needs no more than that."""

import json
import struct

import pytest

from harness import PYENTRY, clean_env, run, stock
from snapshots import either, header, needed, said, take, try_to_take

pytestmark = needed

# The C library's choice of memmove, as its distance from another function of the library; and the two registers each of
# CPUID 1 and 7 as OpenSSL has them, which tells from 3.0 on (OPENSSL_INFO_CPU_SETTINGS).
CHOICES = """
import ctypes, json, ssl, sys
def address(library, name): return ctypes.cast(getattr(library, name), ctypes.c_void_p).value
def openssl():
    info = ctypes.CDLL(getattr(sys.modules["_ssl"], "__file__", None)).OPENSSL_info
    info.restype = ctypes.c_char_p
    words = info(1008).decode().partition("=")[2].split()[0]
    return [int(word, 0) >> shift & 0xffffffff for word in words.split(":")[:2] for shift in (0, 32)]
def choices():
    libc = ctypes.CDLL(None)
    return {"memmove": address(libc, "memmove") - address(libc, "puts"),
            "openssl": openssl() if ssl.OPENSSL_VERSION_INFO >= (3,) else None}
"""
SHOW = "print(json.dumps(choices()))"

MASKS = {"v3": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-RTM",
         "v2": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-RTM,-AVX2,-AVX,-ERMS,-FSRM,-AVX_Fast_Unaligned_Load"}


ECX_1, EBX_7, ECX_7, XCR0 = 0, 2, 3, 9  # words of the header: launcher/machine.c
AVX, AVX2, AVX512 = 1 << 28, 1 << 5, 0xdc230000


def cpu(path):
    return struct.unpack("<12I", header(path)["cpu"])


@pytest.fixture(scope="module")
def levels(tmp_path_factory):
    """{level: a snapshot of it}"""
    directory = tmp_path_factory.mktemp("levels")
    (directory / "app.py").write_text(CHOICES)
    paths = {level: directory / f"{level}.snap" for level in ("native", "v3", "v2")}
    for level, path in paths.items():
        take(path, f"--cpu={level}", "--preload", "app", cwd=directory)
    take(directory / "plain.snap", "--preload", "json")
    assert cpu(directory / "plain.snap") == cpu(paths["native"])
    return paths


def test_what_a_start_needs(levels):
    """Of the builder's features those of the level: AVX2 is the last of v3's, SSE4.2 of v2's."""
    native, v3, v2 = (cpu(levels[level]) for level in ("native", "v3", "v2"))
    assert all(a & b == b and b & c == c for a, b, c in zip(native, v3, v2))
    assert not v2[ECX_1] & AVX and not v2[EBX_7] & AVX2 and not v3[EBX_7] & AVX512
    assert v3[ECX_1] & AVX == native[ECX_1] & AVX and v3[EBX_7] & AVX2 == native[EBX_7] & AVX2
    assert v2[XCR0] == 0 and v3[XCR0] & ~7 == 0


def test_what_the_c_library_and_openssl_choose(levels):
    """What they choose in a plain process that is told the same; and in a start nothing tells them any more."""
    for level, path in levels.items():
        fresh = json.loads(said(path, "-c", "import json; from app import choices\n" + SHOW))
        told = {"GLIBC_TUNABLES": MASKS[level]} if level in MASKS else {}
        plain = json.loads(stock("-c", CHOICES + SHOW, env=clean_env(**told)).stdout)
        assert fresh["memmove"] == plain["memmove"]
        if fresh["openssl"] is not None:
            edx_1, ecx_1, ebx_7, ecx_7 = fresh["openssl"]
            seen = {ECX_1: ecx_1, EBX_7: ebx_7, ECX_7: ecx_7}
            above = {word: bits & cpu(levels["native"])[word] & ~cpu(path)[word] for word, bits in seen.items()}
            assert above == dict.fromkeys(seen, 0) and edx_1
        left = said(path, "-c", "import os; print([n for n in os.environ if n in ('GLIBC_TUNABLES', 'OPENSSL_ia32cap', "
                                "'NPY_DISABLE_CPU_FEATURES', 'OPENBLAS_CORETYPE')])")
        assert left == "[]\n"


def test_what_numpy_chooses(tmp_path):
    if stock("-c", "import numpy").returncode:
        pytest.skip("no numpy")
    code = ("import numpy; from numpy.core._multiarray_umath import __cpu_features__ as f;"
            "print([n for n in ('AVX512F', 'AVX512_SKX', 'AVX2', 'FMA3') if f[n]]);"
            "print((numpy.ones((300, 300)) @ numpy.ones((300, 300))).sum())")
    for level, absent in (("v3", ("AVX512F", "AVX512_SKX")), ("v2", ("AVX512F", "AVX512_SKX", "AVX2", "FMA3"))):
        done = try_to_take(tmp_path / "a.snap", "--cpu", level, "--preload", "numpy")
        assert (done.returncode, done.stderr) == (0, b"")
        features, total = said(tmp_path / "a.snap", "-c", code).splitlines()
        assert not any(repr(name) in features for name in absent) and total == "27000000.0"


@pytest.mark.parametrize("name", ["OPENSSL_ia32cap", "NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE"])
def test_variables_that_are_set_already(tmp_path, name):
    done = try_to_take(tmp_path / "a.snap", "--cpu=v3", "--preload", "json", env=clean_env(**{name: "x"}))
    assert done.returncode == 1 and f"--cpu sets {name}, which is set already" in done.stderr.decode()
    take(tmp_path / "a.snap", "--preload", "json", env=clean_env(**{name: "x"}))


def test_tunables_of_the_user_hold(tmp_path):
    """They are compared, and ours are not."""
    env = clean_env(GLIBC_TUNABLES="glibc.malloc.check=0")
    take(tmp_path / "a.snap", "--cpu=v2", "--preload", "json", env=env)
    assert said(tmp_path / "a.snap", "-c", "import os; print(os.environ['GLIBC_TUNABLES'])", env=env) \
        == "glibc.malloc.check=0\n"
    assert b"GLIBC_TUNABLES is not set" in either(tmp_path / "a.snap", "-c", "print(1)").stderr


def test_level_that_there_is_not(tmp_path):
    done = run([PYENTRY, "--snapshot", "-o", tmp_path / "x", "--cpu=v4", "--preload", "json"])
    assert done.returncode == 2 and done.stderr == b"pyentry: --cpu='v4' is not valid: it takes v2, v3 or native\n"
