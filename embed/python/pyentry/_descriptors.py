"""Open descriptors: which can be made again at a start, how, and what refuses a snapshot."""

import fcntl
import io
import os
import re
import socket
import stat
from select import epoll  # as it is before anyone replaces it

import _pyentry

FIRST = 3  # below it are the standard streams, which are the new process's
_PIPE_BYTES = 65536  # as much as a new one takes


class Refused(Exception):
    """What cannot be carried in a snapshot, and what to do about it."""


def _info(fd):
    with open(f"/proc/self/fdinfo/{fd}") as file:
        return file.read()


def _field(info, name, base):
    found = re.search(rf"^{name}:\s*([0-9a-fx]+)", info, re.MULTILINE)
    return int(found[1], base) if found else 0


def _owner(fd):
    """Who holds the descriptor, for a message."""
    import gc
    for thing in gc.get_objects():
        kind = type(thing)
        try:
            if issubclass(kind, io.IOBase) and thing.fileno() == fd:
                return f" ({kind.__module__}.{kind.__qualname__} {thing.name!r})"
            if issubclass(kind, socket.socket) and thing.fileno() == fd:
                return f" ({thing!r})"
        except (OSError, ValueError, AttributeError):
            continue  # closed, or without a name
    return ""


def _refuse(fd, what, advice):
    raise Refused(f"descriptor {fd} is {what}{_owner(fd)}: {advice}")


def _look_at_file(fd, target, info):
    status = os.fstat(fd)
    if target.startswith("/memfd:"):
        _refuse(fd, "a memfd", "close it before the snapshot")
    if status.st_nlink == 0 or target.endswith(" (deleted)"):
        _refuse(fd, f"a deleted file, {target}", "close it before the snapshot")
    if target.endswith(("-wal", "-shm", "-journal")):
        _refuse(fd, f"a database's journal, {target}", "close the connection in a function given to "
                                                       "pyentry.before_snapshot")
    if re.match(r"/proc/\d+/", target):
        _refuse(fd, f"a file of this process, {target}", "close it before the snapshot")
    if target.startswith("/dev/pts/") or target == "/dev/ptmx":
        _refuse(fd, f"an end of a terminal, {target}", "close it before the snapshot, or open it after the start")
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISCHR(status.st_mode):
        _refuse(fd, f"{target}", "only regular files and devices can be opened again: close it before the snapshot")
    return {"kind": "file", "position": _field(info, "pos", 10)}


def _look_at_socket(fd):
    with socket.socket(fileno=os.dup(fd)) as there:
        try:
            listens = there.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            listens = 0
        if listens:
            _refuse(fd, f"a listening socket, {there.getsockname()}", "listen in the program itself, after the start")
        if there.family != socket.AF_UNIX:
            _refuse(fd, "a socket", "close it before the snapshot, or open it after the start")
        try:
            named = there.getsockname() or there.getpeername()
        except OSError:
            _refuse(fd, "a socket whose other end is not here", "close it before the snapshot")
        if named:
            _refuse(fd, "a Unix socket with a name", "close it before the snapshot, or open it after the start")
        there.setblocking(False)
        try:
            if not there.recv(1, socket.MSG_PEEK):
                _refuse(fd, "a socket whose other end is shut down", "close it before the snapshot")
        except BlockingIOError:
            return {"kind": "pair", "type": there.type}
        except OSError:
            pass  # a message about it
        _refuse(fd, "one end of a pair of sockets with data in it", "empty it before the snapshot")


def _look_at_pipe(fd):
    """What is in it is taken out: this process needs it no more."""
    data = b""
    if _access(fcntl.fcntl(fd, fcntl.F_GETFL)) != os.O_RDONLY:
        return {"kind": "pipe", "data": data}
    os.set_blocking(fd, False)
    try:
        while len(data) <= _PIPE_BYTES:
            piece = os.read(fd, _PIPE_BYTES)
            if not piece:
                _refuse(fd, "an end of a pipe whose other end is closed", "close it before the snapshot")
            data += piece
    except BlockingIOError:
        return {"kind": "pipe", "data": data}
    _refuse(fd, "a pipe with much data in it", "empty or close it before the snapshot")


def _access(flags):
    return flags & os.O_ACCMODE


def _look_at_epoll(fd, info):
    watched = [(int(a), int(b, 16), int(c, 16))
               for a, b, c in re.findall(r"tfd:\s*(\d+) events:\s*([0-9a-f]+) data:\s*([0-9a-f]+)", info)]
    for target, _, data in watched:
        if data & 0xffffffff != target:
            _refuse(fd, "an epoll that another library than Python's fills", "close it before the snapshot")
    return {"kind": "epoll", "watched": watched}


def _gives_one(fd, count):
    """Whether an eventfd is a semaphore, by trying: this process needs its counter no more."""
    os.set_blocking(fd, False)
    if count < 2:
        os.eventfd_write(fd, 2)
    try:
        return os.eventfd_read(fd) == 1
    except BlockingIOError:  # a thread of a C library was quicker
        return False


def _look_at_eventfd(fd, info):
    count = _field(info, "eventfd-count", 16)
    told = "eventfd-semaphore:" in info  # by Linux 6.9 and later
    semaphore = _field(info, "eventfd-semaphore", 10) == 1 if told else _gives_one(fd, count)
    return {"kind": "eventfd", "count": count, "semaphore": semaphore}


def _look_at(fd, target):
    info = _info(fd)
    if target.startswith("/"):
        return _look_at_file(fd, target, info)
    if target.startswith("socket:"):
        return _look_at_socket(fd)
    if target.startswith("pipe:"):
        return _look_at_pipe(fd)
    if target == "anon_inode:[eventpoll]":
        return _look_at_epoll(fd, info)
    if target == "anon_inode:[eventfd]" and hasattr(os, "eventfd"):
        return _look_at_eventfd(fd, info)
    _refuse(fd, target, "it cannot be made again: close it before the snapshot")


def _pairs(found):
    """The ends of each pipe, the reading one first, and of each pair of sockets, whose two are neighbours."""
    pipes = {}
    for one in found:
        if one["kind"] == "pipe":
            pipes.setdefault(one["target"], []).append(one)
    sockets = [one for one in found if one["kind"] == "pair"]
    return [*(sorted(ends, key=lambda end: _access(end["flags"])) for ends in pipes.values()),
            *(sockets[at:at + 2] for at in range(0, len(sockets), 2))]


def _check_pairs(found):
    for ends in _pairs(found):
        if ends[0]["kind"] == "pipe":
            whole = [_access(end["flags"]) for end in ends] == [os.O_RDONLY, os.O_WRONLY]
            what = "an end of a pipe"
        else:
            whole = len(ends) == 2 and _are_connected(ends[0]["fd"], ends[1]["fd"])
            what = "a socket"
        if whole and ends[0].get("data") and ends[1]["flags"] & os.O_DIRECT:
            _refuse(ends[0]["fd"], "a pipe with packets in it", "empty or close it before the snapshot")
        if not whole:
            _refuse(ends[0]["fd"], f"{what} whose other end is not here", "close it before the snapshot")


def _are_connected(one, other):
    with socket.socket(fileno=os.dup(one)) as sender, socket.socket(fileno=os.dup(other)) as receiver:
        try:
            sender.send(b"?", socket.MSG_DONTWAIT)
            return receiver.recv(1, socket.MSG_DONTWAIT) == b"?"
        except OSError:
            return False


def _note_all(without):
    """What is open, in the order of numbers, with what belongs to every kind."""
    found = []
    for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
        if fd < FIRST or fd in without:
            continue
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:  # the directory that was just listed
            continue
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        if flags & os.O_PATH:
            _refuse(fd, f"{target}, opened with O_PATH", "close it before the snapshot")
        found.append({"fd": fd, "target": target, "flags": flags, "inheritable": os.get_inheritable(fd)})
    return found


def _find_duplicates(found):
    """Numbers of one open file share its flags: what is changed by the one is seen by the others. kcmp(2) would tell,
    but containers forbid it."""
    for at, one in enumerate(found):
        if "kind" in one:
            continue
        fcntl.fcntl(one["fd"], fcntl.F_SETFL, one["flags"] ^ os.O_NONBLOCK)
        for other in found[at + 1:]:
            if fcntl.fcntl(other["fd"], fcntl.F_GETFL) != other["flags"]:
                other.update(kind="duplicate", of=one["fd"])
        fcntl.fcntl(one["fd"], fcntl.F_SETFL, one["flags"])


def _check_watched(found):
    """A number stays in an epoll where another one of the same open file was left when it was closed."""
    numbers = {one["fd"] for one in found}
    for one in found:
        for target, _, _ in one.get("watched", ()):
            if target not in numbers:
                _refuse(one["fd"], f"an epoll that watches the descriptor {target}, which is not of the snapshot",
                        "unregister that before the snapshot")


def _check_locks(found):
    """They are the process's, or the open file's: nobody at a start has them."""
    for one in found:
        if re.search(r"^lock:", _info(one["fd"]), re.MULTILINE):
            _refuse(one["fd"], f"a file with a lock on it, {one['target']}",
                    "release it in a function given to pyentry.before_snapshot, and take it in one given to "
                    "pyentry.after_restore")


def capture(without):
    """What is open and how it is made again: a list for make_again. Refused where something cannot be."""
    found = _note_all(without)
    _find_duplicates(found)
    for one in found:
        if "kind" not in one:
            one.update(_look_at(one["fd"], one["target"]))
    _check_pairs(found)
    _check_watched(found)
    _check_locks(found)
    return found


def words(found, needed):
    """What must hold at a start, before anything of it is done, needed files with it: see launcher/image.h."""
    told = [(b"F", b"r", os.fsencode(path), b"") for path in needed]
    for one in found:
        told.append((b"N", b"", str(one["fd"]).encode(), b""))
        if one["kind"] == "file":
            modes = {os.O_RDONLY: b"r", os.O_WRONLY: b"w", os.O_RDWR: b"rw"}
            told.append((b"F", modes[_access(one["flags"])], os.fsencode(one["target"]), b""))
    return b"".join(b"\0".join((*word, b"")) for word in told)


### At a start


def _place(fd, one):
    os.dup2(fd, one["fd"], inheritable=one["inheritable"])
    os.close(fd)
    fcntl.fcntl(one["fd"], fcntl.F_SETFL, one["flags"])


def _high(fd, above):
    """The same file under a number that is none of ours."""
    new = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above)
    os.close(fd)
    return new


def _make_file(one, above):
    flags = one["flags"] & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC)
    fd = _high(os.open(one["target"], flags | os.O_CLOEXEC), above)
    if not flags & os.O_APPEND and one["position"]:
        os.lseek(fd, one["position"], os.SEEK_SET)
    _place(fd, one)


def _make_pair(ends, above):
    if ends[0]["kind"] == "pipe":
        new = os.pipe()
        os.set_blocking(new[1], False)
        if os.write(new[1], ends[0]["data"]) < len(ends[0]["data"]):
            raise OSError("a new pipe takes less than what the one of the snapshot held")
    else:
        new = [end.detach() for end in socket.socketpair(type=ends[0]["type"])]
    for fd, one in zip([_high(fd, above) for fd in new], ends):
        _place(fd, one)


def _make_eventfd(one, above):
    fd = os.eventfd(0, os.EFD_CLOEXEC | (os.EFD_SEMAPHORE if one["semaphore"] else 0))
    os.eventfd_write(fd, one["count"])
    _place(_high(fd, above), one)


def _make_epoll(one, above):
    with epoll() as new:
        _place(_high(os.dup(new.fileno()), above), one)


def _watch_again(one):
    for target, events, data in one["watched"]:
        _pyentry.watch(one["fd"], target, events, data)


def make_again(found):
    """Open everything under its number: what is watched, before who watches it."""
    if not found:
        return
    above = max(one["fd"] for one in found) + 1
    for one in found:
        if one["kind"] == "file":
            _make_file(one, above)
        elif one["kind"] == "eventfd":
            _make_eventfd(one, above)
        elif one["kind"] == "epoll":
            _make_epoll(one, above)
    for ends in _pairs(found):
        _make_pair(ends, above)
    for one in found:
        if one["kind"] == "duplicate":
            os.dup2(one["of"], one["fd"], inheritable=one["inheritable"])
    for one in found:
        if one["kind"] == "epoll":
            _watch_again(one)
