"""`--rootfs DIR`: the bundle, and all that it needs where there is nothing else."""

import os
import posixpath

from pyentry.bundler.collect import HOME, File
from pyentry.bundler.errors import Refused
from pyentry.bundler.libraries import found_by
from pyentry.bundler.loader import Loader, Part, read_cache
from pyentry.bundler.tree import Tree

# What is opened, and no file names: the library, and the last glibc that does.
OPENED = (
    ("libm.so.6", None),  # by pyentry, where it has Python inside
    ("libgcc_s.so.1", None),  # when a thread ends by pthread_exit: Python's daemon threads, at the exit
    ("libnss_files.so.2", (2, 33)), ("libnss_dns.so.2", (2, 33)),
)

ETC = {
    "passwd": "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/nonexistent:/sbin/nologin\n",
    "group": "root:x:0:\nnonroot:x:65532:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    # Without it glibc asks DNS before /etc/hosts.
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
CERTIFICATES_ELSEWHERE = ("/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem")
ZONES = "/usr/share/zoneinfo"
ZONES_NEVER = ("localtime", "posix", "right")  # this machine's own, and all of them once more


def prepare(options):
    """What --rootfs means for the other options; refuses what cannot be written anyway."""
    out = posixpath.normpath(options.out).lstrip("/")
    if out in ("", ".") or ".." in options.out.split("/"):
        raise Refused(f"-o {options.out}: with --rootfs it is the bundle's path in that directory, like -o /app")
    if options.rootfs == "":
        raise Refused("--rootfs takes the name of a directory")
    options.out, options.rootfs, options.stdlib = f"/{out}", os.path.normpath(options.rootfs), True
    try:
        names = os.listdir(options.rootfs)
    except FileNotFoundError:
        names = []
    except OSError as error:
        raise Refused(f"--rootfs {options.rootfs}: {error.strerror}") from None
    if names and not options.force:
        raise Refused(f"--rootfs {options.rootfs} is not empty: --force puts it over what is there")


### Shared libraries

class Missing(Refused):
    """A library that is not on this machine."""

    def __init__(self, name, asker, part):
        indirectly = "" if asker is part else f", which {part.name} needs"
        super().__init__(f"{name} is not on this machine, and {asker.name} needs it{indirectly}: install it, or leave "
                         f"{part.name} out with --exclude")
        self.name = name


class Needs:
    """The shared libraries that the program and the parts of the bundle leave to the machine.

    They will stand side by side in the directory that the loader looks into without being told. So a name is one library,
    as it is in a process, where the first that is loaded serves all that ask for it.
    """

    def __init__(self, program):
        self.loader = Loader(program, read_cache())
        self.taken = {}
        # These are in the process before any other can be asked for.
        self.settled = {posixpath.basename(self.loader.path)}
        self.add(program, program.elf.needed)
        self.settled.update(self.taken)
        if libc := self.taken.get("libc.so.6"):
            version = tuple(map(int, os.confstr("CS_GNU_LIBC_VERSION").split()[1].split(".")))
            self.add(libc, [name for name, last in OPENED if last is None or version < (last[0], last[1] + 1)])

    def add(self, part, names):
        """Take what these names lead to. Where one is missing nothing is taken."""
        found, waiting = {}, [(name, part) for name in names]
        for name, asker in waiting:  # which grows meanwhile
            if name in self.settled:
                continue
            library = self.loader.find(name, asker)
            if library is None:
                raise Missing(name, asker, part)
            other = found.get(name) or self.taken.get(name)
            if other is None:
                found[name] = library
                waiting += [(below, library) for below in library.elf.needed]
            elif other.elf.data != library.elf.data:
                raise Refused(f"{other.asker.name} needs {other.path}, and {asker.name} needs {library.path}, which is another "
                              "one of that name: leave one of them out with --exclude")
        self.taken.update(found)

    def add_parts(self, collection, entries, libraries):
        """A module of the standard library that could not be imported here either is no reason to stop."""
        for name, library in list(libraries.elves.items()):
            if library.machine != self.loader.program.elf.machine:
                continue
            part = Part(name, library, collection.files[name].path)
            outside = [needed for needed in library.needed if not found_by(name, library, needed, libraries.by_base)]
            try:
                self.add(part, outside)
            except Missing as missing:
                if not name.startswith(f"{HOME}/"):
                    raise
                collection.leave_out(name, f"{missing.name} is not on this machine")
                del entries[name], libraries.elves[name]

    def lay_out(self, tree):
        interpreter, first = self.loader.path, {}
        tree.add_file(interpreter, self.loader.read(interpreter).data, 0o755)
        for name, library in sorted(self.taken.items()):
            path, file = posixpath.join(self.loader.own, name), os.path.realpath(library.path)
            if file in first:  # a copy would be another library to the loader
                tree.add_link(path, posixpath.relpath(first[file], posixpath.dirname(path)))
            else:
                first[file] = path
                tree.add_file(path, library.elf.data)


### What --with names

def add_certificates(tree):
    try:
        import ssl
    except ImportError:
        raise Refused("--with ca-certificates: this Python has no ssl") from None
    paths = ssl.get_default_verify_paths()
    places = [paths.cafile, CERTIFICATES, *CERTIFICATES_ELSEWHERE]
    found = next((place for place in places if place and os.path.isfile(place)), None)
    if found is None:
        raise Refused(f"--with ca-certificates: there is no {CERTIFICATES} here: install ca-certificates")
    tree.add_file(CERTIFICATES, File(found, None).read())
    if paths.openssl_cafile != CERTIFICATES:
        tree.add_link(paths.openssl_cafile, CERTIFICATES)


def add_zones(tree):
    import zoneinfo
    found = next((place for place in (*zoneinfo.TZPATH, ZONES) if os.path.isfile(os.path.join(place, "UTC"))), None)
    if found is None:
        raise Refused(f"--with tzdata: there are no time zones in {ZONES} here: install tzdata")
    for directory, below, names in os.walk(found):
        if directory == found:
            below[:] = [name for name in below if name not in ZONES_NEVER]
            names = [name for name in names if name not in ZONES_NEVER]
        for name in names:
            path = os.path.join(directory, name)
            place = posixpath.join(ZONES, os.path.relpath(path, found))
            file = os.path.realpath(path)
            if os.path.islink(path) and file.startswith(os.path.realpath(found) + "/"):
                tree.add_link(place, os.path.relpath(file, os.path.realpath(directory)))
            else:
                tree.add_file(place, File(file, None).read())


EXTRAS = {"ca-certificates": add_certificates, "tzdata": add_zones}


### All of it

def plan(options, program, collection, entries, libraries):
    """The tree, with an empty file where the bundle goes."""
    needs = Needs(Part("pyentry", program, os.path.realpath("/proc/self/exe")))
    needs.add_parts(collection, entries, libraries)
    tree = Tree()
    needs.lay_out(tree)
    tree.add_directory("/tmp", 0o1777)
    for name, text in ETC.items():
        tree.add_file(f"/etc/{name}", text.encode())
    for name in sorted(set(options.extras)):
        EXTRAS[name](tree)
    tree.add_file(options.out, b"", 0o755)
    directory, name = posixpath.split(options.out)
    if name != "pyentry":  # the name by which a bundle takes pyentry's commands, like --healthcheck
        tree.add_link(posixpath.join(directory, "pyentry"), name)
    return tree
