"""Descriptors that are made again at a start: they do what they did, and no more, or the start goes without them."""

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
