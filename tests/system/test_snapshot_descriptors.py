"""Descriptors that are made again at a start: they do what they did, and no more, or the start goes without them."""

import pytest

from snapshots import needed, said, take

pytestmark = needed


def taken(tmp_path, text):
    """A snapshot of an app of this text."""
    (tmp_path / "app.py").write_text(text)
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    return tmp_path / "a.snap"


def test_whether_they_block(tmp_path):
    """Pairs of sockets and pipes are as they were, whatever the builder did to look at them."""
    snap = taken(tmp_path, """if 1:
        import os, socket
        left, right = socket.socketpair()
        left.setblocking(False)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        numbers = [left.fileno(), right.fileno(), reader, writer]
    """)
    code = "import app, os; print(*[os.get_blocking(number) for number in app.numbers])"
    assert said(snap, "-c", code) == "False True True False\n"


def test_duplicates(tmp_path):
    """Numbers of one open file are so again, and others are not, though they are of the same file."""
    snap = taken(tmp_path, """if 1:
        import os, select, socket
        log = open("log", "w", buffering=1)
        copy, other = os.dup(log.fileno()), open("log", "r")
        os.set_inheritable(copy, True)
        reader, writer = os.pipe()
        again = os.dup(writer)
        left, right = socket.socketpair()
        third = right.dup()
        event = os.eventfd(1) if hasattr(os, "eventfd") else None
        twice = None if event is None else os.dup(event)
        poll = select.epoll()
        poll.register(reader, select.EPOLLIN)
        same = select.epoll.fromfd(os.dup(poll.fileno()))
        outer = select.epoll()
        outer.register(same.fileno(), select.EPOLLIN)
    """)
    code = """if 1:
        import app, os
        print("one", file=app.log); os.write(app.copy, b"two\\n"); print("three", file=app.log)
        assert app.other.read() == "one\\ntwo\\nthree\\n", "they have one position"
        assert os.get_inheritable(app.copy) and not os.get_inheritable(app.twice or app.again)
        assert app.outer.poll(0) == app.same.poll(0) == []
        os.write(app.writer, b"x"); os.write(app.again, b"y")
        assert app.poll.poll(0) == app.same.poll(0) != [] and app.outer.poll(0)
        assert os.read(app.reader, 9) == b"xy"
        app.right.send(b"a"); app.third.send(b"b")
        assert app.left.recv(9) == b"ab"
        assert app.event is None or os.eventfd_read(app.twice) == 1
        os.set_blocking(app.event or app.writer, False)
        assert not os.get_blocking(app.twice or app.again)
    """
    assert said(snap, "-c", code, cwd=tmp_path) == ""


OLDER = """
import pyentry._descriptors
info = pyentry._descriptors._info
pyentry._descriptors._info = lambda fd: info(fd).replace("eventfd-semaphore", "unknown")
"""


@pytest.mark.parametrize("kernel", ["", OLDER], ids=["this kernel", "one that does not tell"])
def test_counters(tmp_path, kernel):
    """An eventfd has its count, and gives all of it or, as a semaphore, one at a time."""
    snap = taken(tmp_path, kernel + """if 1:
        import os
        counts = [0, 1, 2, 3, 1 << 40] if hasattr(os, "eventfd") else []
        plain = [os.eventfd(0, os.EFD_NONBLOCK) for _ in counts]
        slow = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_SEMAPHORE) for _ in counts]
        for number, count in zip(plain + slow, counts * 2):
            os.eventfd_write(number, count)
    """)
    code = """if 1:
        import app, os
        def read(number):
            try:
                return os.eventfd_read(number)
            except BlockingIOError:
                return 0
        assert [read(number) for number in app.plain] == app.counts
        assert [read(number) for number in app.plain] == [0] * len(app.plain)
        for count in app.counts[:4]:
            assert [read(number) for number in app.slow] == [int(had > count) for had in app.counts], count
    """
    assert said(snap, "-c", code) == ""
