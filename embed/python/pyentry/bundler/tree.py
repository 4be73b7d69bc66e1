"""A directory that is written as a whole: the same bytes, modes and times for the same contents, or nothing at all."""

import contextlib
import os
import posixpath
import shutil
import stat
import tempfile

from pyentry.bundler.errors import Refused


class Tree:
    """What a directory is to hold: {path: (mode, content)}; the content is bytes, the text of a link, or None."""

    def __init__(self):
        self.nodes = {}

    def add(self, path, mode, content):
        path = posixpath.normpath(path).lstrip("/")
        above = posixpath.dirname(path)
        if above and above not in self.nodes:
            self.add_directory(above)
        if path in self.nodes or above and self.nodes[above][1] is not None:
            raise Refused(f"/{path} is in the root already: name another path with -o")
        self.nodes[path] = mode, content

    def add_file(self, path, data, mode=0o644):
        self.add(path, stat.S_IFREG | mode, data)

    def add_link(self, path, text):
        self.add(path, stat.S_IFLNK | 0o777, text)

    def add_directory(self, path, mode=0o755):
        self.add(path, stat.S_IFDIR | mode, None)

    def write(self, top):
        for path, (mode, content) in sorted(self.nodes.items()):
            path = os.path.join(top, path)
            if stat.S_ISLNK(mode):
                os.symlink(content, path)
                continue
            if stat.S_ISDIR(mode):
                os.mkdir(path)
            else:
                with open(path, "wb") as file:
                    file.write(content)
            os.chmod(path, stat.S_IMODE(mode))

    def set_times(self, top, seconds):
        """From below: what is put into a directory changes its time."""
        for path in [*sorted(self.nodes, reverse=True), "."]:
            os.utime(os.path.join(top, path), (seconds, seconds), follow_symlinks=False)

    def check_place(self, top):
        """Whether it can be put over what is there: no link is followed, which may lead anywhere, and nothing deleted."""
        for path, (mode, _) in self.nodes.items():
            try:
                there = os.lstat(os.path.join(top, path)).st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue
            if stat.S_ISDIR(there) != stat.S_ISDIR(mode):
                kind = "a directory" if stat.S_ISDIR(there) else "a link" if stat.S_ISLNK(there) else "a file"
                raise Refused(f"{os.path.join(top, path)} is in the way: it is {kind}")


def put_over(source, target):
    """Move what is in one directory into another."""
    for name in os.listdir(source):
        one, other = os.path.join(source, name), os.path.join(target, name)
        if stat.S_ISDIR(os.lstat(one).st_mode) and os.path.lexists(other):
            put_over(one, other)
            shutil.copymode(one, other)
            os.rmdir(one)
        else:
            os.replace(one, other)


@contextlib.contextmanager
def replacing(tree, top, seconds):
    """The tree in a directory beside, to add to; it takes its place when everything went well. A directory that is there
    stays the one that it is, and keeps what else is in it."""
    directory = os.path.abspath(top)
    is_there = os.path.isdir(directory)
    try:
        if is_there:
            tree.check_place(directory)
        scratch = tempfile.mkdtemp(prefix=".pyentry.", dir=directory if is_there else os.path.dirname(directory))
    except OSError as error:
        raise Refused(f"{top}: cannot be written: {error.strerror}") from None
    try:
        tree.write(scratch)
        yield scratch
        os.chmod(scratch, 0o755)
        if is_there:
            put_over(scratch, directory)
            os.rmdir(scratch)
        else:
            os.rename(scratch, directory)
        tree.set_times(directory, seconds)
    except OSError as error:
        raise Refused(f"{top}: {error.strerror}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
