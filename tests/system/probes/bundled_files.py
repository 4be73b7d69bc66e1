"""What Python's file functions and C's say of a tree; run once over a directory and once over a bundle.

bundled_files.py TOP: the report, as JSON. Whatever may differ between the two (inodes, times) is left out.
"""

import ctypes
import glob
import io
import json
import mmap
import os
import pathlib
import shutil
import stat
import sys
import tempfile

top = sys.argv[1]
report = {}


def attempt(name, function, *args):
    try:
        value = function(*args)
    except OSError as error:
        value = f"{type(error).__name__} {error.errno}"
    report[name] = value


def kind(path):
    status = os.stat(path)
    return stat.filemode(status.st_mode)[0], status.st_size if stat.S_ISREG(status.st_mode) else 0


def read(path, mode="rb"):
    with open(path, mode) as file:
        data = file.read()
    return data if isinstance(data, str) else data.decode("latin-1")


def mapped(path):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as bytes_:
        return bytes_[:4].decode()


def copied(function, path):
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "copy")
        function(path, target)
        if os.path.isdir(target):
            return sorted(str(p.relative_to(target)) for p in pathlib.Path(target).rglob("*"))
        return read(target)


libc = ctypes.CDLL(None, use_errno=True)
libc.fopen.restype = libc.opendir.restype = ctypes.c_void_p


def c_fopen(path):
    file = libc.fopen(path.encode(), b"r")
    if not file:
        return ctypes.get_errno()
    buffer = ctypes.create_string_buffer(64)
    got = libc.fread(buffer, 1, 64, ctypes.c_void_p(file))
    libc.fclose(ctypes.c_void_p(file))
    return buffer.raw[:got].decode()


def below(name):
    return os.path.join(top, name)


for name in ("pkg", "pkg/", "pkg/text.txt", "pkg/deep/er/leaf.bin", "pkg/../pkg//./text.txt", "pkg/none", "none/none",
             "pkg/text.txt/x", "pkg/empty"):
    attempt(f"stat {name}", kind, below(name))
    attempt(f"lstat {name}", lambda path: stat.filemode(os.lstat(path).st_mode)[0], below(name))
    attempt(f"read {name}", read, below(name))
    attempt(f"text {name}", read, below(name), "r")
    attempt(f"listdir {name}", lambda path: sorted(os.listdir(path)), below(name))
    attempt(f"fopen {name}", c_fopen, below(name))
    for mode in (os.F_OK, os.R_OK):
        attempt(f"access {name} {mode}", os.access, below(name), mode)
    report[f"is {name}"] = [f(below(name)) for f in (os.path.exists, os.path.isdir, os.path.isfile, os.path.islink)]
attempt("scandir", lambda: sorted((e.name, e.is_dir(), e.is_file(), e.stat().st_size * e.is_file())
                                  for e in os.scandir(below("pkg"))))
attempt("walk", lambda: sorted((os.path.relpath(d, top), sorted(a), sorted(b)) for d, a, b in os.walk(below("pkg"))))
attempt("top", lambda: sorted(n for n in os.listdir(top) if not n.startswith((".py", "__main__"))))
attempt("walk top", lambda: sorted(n for _, _, names in os.walk(top) for n in names if n.endswith((".txt", ".bin"))))
attempt("glob", lambda: sorted(os.path.relpath(p, top) for p in glob.glob(below("pkg/**/*"), recursive=True)))
attempt("rglob", lambda: sorted(str(p.relative_to(top)) for p in pathlib.Path(below("pkg")).rglob("*")))
attempt("pathlib", lambda: pathlib.Path(below("pkg/text.txt")).read_text())
attempt("resolve", lambda: str(pathlib.Path(below("pkg/../pkg/text.txt")).resolve().relative_to(os.path.realpath(top))))
attempt("mmap", mapped, below("pkg/deep/er/leaf.bin"))
attempt("copy", copied, shutil.copy, below("pkg/text.txt"))
attempt("copytree", copied, shutil.copytree, below("pkg"))
attempt("io", lambda: io.FileIO(below("pkg/text.txt")).readall().decode())
attempt("samefile", lambda: os.path.samefile(below("pkg/text.txt"), below("pkg/./text.txt")))
attempt("other file", lambda: os.path.samefile(below("pkg/text.txt"), below("pkg/deep/er/leaf.bin")))
attempt("seek", lambda: [(f.seek(-3, 2), f.read()) for f in [open(below("pkg/text.txt"), "rb")]][0][0])
attempt("beside", lambda: read(below("../beside.txt")))
attempt("beside stat", lambda: kind(below("pkg/../../beside.txt")))
attempt("beside list", lambda: "beside.txt" in os.listdir(below("..")))
attempt("many", lambda: len({open(below("pkg/text.txt")).read() for _ in range(200)}))
attempt("dirs", lambda: len([os.scandir(below("pkg")) for _ in range(100)]))
report["fds"] = len(os.listdir("/proc/self/fd")) < 20
print(json.dumps(report))
