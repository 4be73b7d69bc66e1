"""Prints as JSON what a program can see of the interpreter and the process that run it."""

import json
import os
import signal
import sys


def stream(file):
    if file is None:
        return None
    return {"repr": repr(file), "type": str(type(file)), "encoding": file.encoding,
            "errors": file.errors, "name": file.name, "mode": getattr(file, "mode", None),
            "newlines": file.newlines, "isatty": file.isatty(), "fileno": file.fileno(),
            "line_buffering": file.line_buffering, "write_through": file.write_through,
            "readable": file.readable(), "writable": file.writable(), "seekable": file.seekable(),
            "buffer": buffer(file)}


def buffer(file):
    if file is sys.stdin:
        return str(type(file.buffer))
    raw = file.buffer
    return {"name": raw.name, "mode": raw.mode, "closefd": raw.closefd, "fileno": raw.fileno(),
            "raw": hasattr(raw, "raw"), "mro": [str(t) for t in type(raw).__mro__[-4:]],
            "readable": raw.readable(), "writable": raw.writable()}


def flags():
    names = [n for n in dir(sys.flags) if not n.startswith(("_", "n_")) and n not in ("count", "index")]
    return {name: getattr(sys.flags, name) for name in names}


def main_module():
    names = vars(sys.modules["__main__"])
    spec = names.get("__spec__")
    return {"name": __name__, "file": names.get("__file__"), "package": names.get("__package__"),
            "cached": names.get("__cached__"), "loader": str(type(names.get("__loader__"))),
            "spec": spec and [spec.name, spec.origin, spec.parent],
            "builtins": str(names.get("__builtins__"))}


def signals():
    told = {}
    for number in sorted(signal.valid_signals()):
        handler = signal.getsignal(number)
        told[int(number)] = handler if handler is None else str(getattr(handler, "__name__", handler))
    return told


def masks():
    with open("/proc/self/status") as status:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    return {"blocked": lines["SigBlk"], "ignored": lines["SigIgn"], "threads": lines["Threads"],
            "umask": lines["Umask"]}


def locales():
    import locale
    return {"preferred": locale.getpreferredencoding(False), "ctype": locale.setlocale(locale.LC_CTYPE),
            "all": locale.setlocale(locale.LC_ALL)}


def folders():
    import site
    import sysconfig
    return {"paths": sysconfig.get_paths(), "usersite": site.ENABLE_USER_SITE,
            "site": site.getsitepackages(), "user": site.getusersitepackages(),
            "libdir": sysconfig.get_config_var("LIBDIR"), "suffix": sysconfig.get_config_var("EXT_SUFFIX"),
            "makefile": sysconfig.get_makefile_filename(), "platform": sysconfig.get_platform()}


def limits():
    names = ("getrecursionlimit", "getswitchinterval", "getdlopenflags", "getfilesystemencoding",
             "getfilesystemencodeerrors", "getdefaultencoding", "get_int_max_str_digits",
             "get_asyncgen_hooks", "gettrace", "getprofile", "getallocatedblocks")
    return {name: str(getattr(sys, name)()) for name in names[:-1] if hasattr(sys, name)}


def system():
    names = ("argv", "orig_argv", "path", "prefix", "exec_prefix", "base_prefix", "base_exec_prefix",
             "executable", "_base_executable", "platlibdir", "version", "abiflags", "platform",
             "byteorder", "warnoptions", "_xoptions", "dont_write_bytecode", "pycache_prefix",
             "hexversion", "maxsize", "api_version", "copyright", "float_repr_style", "maxunicode",
             "_framework", "_git", "_home", "_stdlib_dir", "tracebacklimit", "ps1")
    told = {name: getattr(sys, name, "(none)") for name in names}
    told["implementation"] = str(sys.implementation)
    told["meta_path"] = [str(f) for f in sys.meta_path]
    told["path_hooks"] = [getattr(f, "__qualname__", str(type(f))) for f in sys.path_hooks]
    told["hooks"] = [sys.displayhook is sys.__displayhook__, sys.excepthook is sys.__excepthook__,
                     sys.unraisablehook is sys.__unraisablehook__, sys.breakpointhook is sys.__breakpointhook__]
    told["stdlib"] = sorted(getattr(sys, "stdlib_module_names", ()))
    return told


def facts():
    fds = sorted(os.listdir("/proc/self/fd"), key=int)
    modules, builtin = sorted(sys.modules), sorted(sys.builtin_module_names)
    told = {"fds": fds, "main": main_module(), "flags": flags(), "sys": system(), "masks": masks(),
            "signals": signals(), "limits": limits(), "cwd": os.getcwd(),
            "environ": {ascii(n): ascii(v) for n, v in os.environ.items()}}
    told["streams"] = {n: stream(getattr(sys, n)) for n in ("stdin", "stdout", "stderr")}
    told["originals"] = [sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__,
                         sys.stderr is sys.__stderr__]
    told["locales"], told["folders"] = locales(), folders()
    import gc
    import threading
    import tracemalloc
    told["gc"] = [gc.isenabled(), gc.get_threshold(), gc.get_debug(), len(gc.garbage)]
    told["tracemalloc"] = [tracemalloc.is_tracing(), tracemalloc.get_traceback_limit()]
    told["thread"] = [threading.current_thread() is threading.main_thread(), threading.active_count()]
    return {"facts": told, "modules": modules, "builtin": builtin}


if __name__ == "__main__":
    print(json.dumps(facts(), ensure_ascii=True, sort_keys=True))
