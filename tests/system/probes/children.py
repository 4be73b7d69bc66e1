"""Starts processes in every way that Python has and prints what they were: run as file, -m or -c."""

import concurrent.futures
import multiprocessing
import os
import subprocess
import sys


def about():
    return {"flags": str(sys.flags), "prefix": sys.prefix, "executable": sys.executable, "xoptions": sys._xoptions,
            "warnoptions": sys.warnoptions, "path": sys.path[1:]}


def worker(queue, text):
    print("worker", text, flush=True)  # before what is reported about it, also where stdout is buffered
    queue.put((text, about()))
    sys.exit(len(text))


def fail(text):
    raise ValueError(text)


def square(n):
    return n * n


def run_method(method):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=worker, args=(queue, "abc"))
    process.start()
    print(method, queue.get())
    process.join()
    print(method, "exitcode", process.exitcode)
    failing = context.Process(target=fail, args=("on purpose",))
    failing.start()
    failing.join()
    print(method, "exitcode", failing.exitcode)
    with context.Pool(2) as pool:
        print(method, pool.map(square, range(10)))
    with context.Manager() as manager:
        shared = manager.dict(a=1)
        print(method, shared["a"])
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        print(method, list(executor.map(square, range(5))))


def run_commands():
    code = "import sys; print(sys.executable, sys.argv, sys.flags, sys.path[1:], sys.stdout.encoding)"
    print(subprocess.run([sys.executable, "-c", code, "x"], capture_output=True, text=True))
    print(subprocess.run([sys.executable, "-I", "-"], input=code, capture_output=True, text=True))
    print(subprocess.run([sys.executable, "-m", "no.such"], capture_output=True, text=True).returncode)
    look = ["sh", "-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd"]
    print(subprocess.run(look, capture_output=True, text=True).stdout)
    print(subprocess.run(look, capture_output=True, text=True, restore_signals=False, close_fds=False).stdout)
    os.system("echo from system; exit 3")
    print(os.popen("grep SigIgn /proc/self/status").read())
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "raise SystemExit(5)"], os.environ)
    print(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        if name == "commands":
            run_commands()
        else:
            run_method(name)
