"""Says much on a stream under difficulties. usage: lossless.py WHAT [OPTION...]; see the functions."""

import os
import signal
import sys
import threading
import warnings

ticks = [0]


def text(size=4 << 20):
    """Numbered lines of 8 bytes, without the last newline: a hole or a swap anywhere shows."""
    return "\n".join(f"{n:07d}" for n in range(size // 8))


class Stop(Exception):
    pass


def count(signum, frame):
    ticks[0] += 1


def speak(signum, frame):
    ticks[0] += 1
    print("<tick", f"{ticks[0]}>")


def stop(signum, frame):
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise Stop


def child(signum, frame):
    signal.setitimer(signal.ITIMER_REAL, 0)
    if os.fork() == 0:
        print("<child>")
        os._exit(0)
    os.wait()


def every(seconds, handler):
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def say(way, words):
    """One text of 4 MiB by one call."""
    if way == "print":
        print(words)
    elif way == "pieces":
        half = words.index("0262144")
        print(words[:half - 1], words[half:], sep="\n", end="\n")
    elif way == "write":
        assert sys.stdout.write(words + "\n") == len(words) + 1
    elif way == "buffer":
        data = (words + "\n").encode()
        assert sys.stdout.buffer.write(data) == len(data)
    elif way == "view":
        assert sys.stdout.buffer.write(memoryview(bytearray((words + "\n").encode()))) == len(words) + 1
    elif way == "lines":
        sys.stdout.writelines(line + "\n" for line in words.split("\n"))
    elif way == "prints":
        for line in words.split("\n"):
            print(line)
    elif way == "stderr":
        print(words, file=sys.stderr)
    elif way == "logging":
        import logging
        logging.basicConfig(format="%(message)s")
        logging.warning(words)


def big(way, *handlers):
    words = text()
    if "count" in handlers:
        every(0.005, count)
    if "speak" in handlers:
        every(0.02, speak)
    if "child" in handlers:
        every(0.1, child)
    say(way, words)
    signal.setitimer(signal.ITIMER_REAL, 0)
    (sys.stdout if way in ("stderr", "logging") else sys.stderr).write(f"{ticks[0]}\n")


def raising(then):
    """A handler raises in the middle of the print."""
    words = text()
    every(0.1, stop)
    try:
        print(words)
    except Stop:
        if then == "print":
            print("stopped")
        elif then == "fork":
            if os.fork() == 0:
                print("child")
                os._exit(0)
            os.wait()
            print("stopped")
        elif then == "exit":
            sys.stderr.write("stopped\n")
        elif then == "raise":
            raise


def ticking():
    """A handler raises once in the middle of the print, and is called on and on while the rest is written."""
    def tick(signum, frame):
        ticks[0] += 1
        if ticks[0] == 20:
            raise KeyboardInterrupt
        if ticks[0] == 60:  # once Python is gone it has no handler
            signal.setitimer(signal.ITIMER_REAL, 0)

    words = text()
    every(0.005, tick)
    print(words)


def terminated():
    """SIGTERM arrives in the middle of the print."""
    words = text()
    signal.signal(signal.SIGALRM, lambda *a: os.kill(os.getpid(), signal.SIGTERM))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        print(words)
    finally:
        print("cleaned")


def line(who, n):
    return f"{who}:{n}:" + chr(97 + n % 26) * (200 + (n * 7919 + who * 31) % 800)


def lines(who, number):
    for n in range(number):
        print(line(who, n))


def threads(number, each):
    started = [threading.Thread(target=lines, args=(who, int(each))) for who in range(int(number))]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def processes(number, each):
    pids = []
    for who in range(int(number)):
        pid = os.fork()
        if pid == 0:
            lines(who, int(each))
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)


def blocks(number, each, size):
    """Threads that each print texts far above PIPE_BUF."""
    def work(who):
        for _ in range(int(each)):
            print(chr(65 + who) * int(size), "end", who)
    started = [threading.Thread(target=work, args=(who,)) for who in range(int(number))]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def forks(number, exits):
    """The main thread forks children that print, while other threads print."""
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of just this
    started = [threading.Thread(target=lines, args=(who, 300)) for who in range(4)]
    for thread in started:
        thread.start()
    for n in range(int(number)):
        pid = os.fork()
        if pid == 0:
            print("child", n)
            if exits == "os":
                os._exit(0)
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    for thread in started:
        thread.join()


def fork_in_str():
    """__str__ forks in the middle of a print; both processes go on."""
    class Fork:
        pid = None

        def __str__(self):
            self.pid = os.fork()
            if self.pid == 0:
                return "child"
            os.wait()  # the child prints in pieces now, as python -u does
            return "parent"

    forked = Fork()
    print("it", "is", forked, "here")
    if forked.pid == 0:
        os._exit(0)


def busy():
    """A thread works while the main thread waits in print: the GIL is free."""
    report = os.open("/dev/fd/2", os.O_WRONLY)
    go = threading.Event()

    def work():
        go.wait()
        os.write(report, b"working\n")
    threading.Thread(target=work).start()
    words = text(1 << 20)
    signal.signal(signal.SIGALRM, lambda *a: go.set())
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    print(words)


def asyncio_pipe():
    """asyncio's write pipe makes stdout non-blocking; prints go on as before."""
    import asyncio

    async def main():
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(os.dup(1), "wb", 0))
        assert not os.get_blocking(1)
        print(text())
        transport.close()
    asyncio.run(main())


def error():
    """A long last word."""
    raise ValueError(text())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
