"""`pyentry --bundle`: an app and what it imports, written behind pyentry into one executable file.

collect  which files go in, under which names; what is left out, and why
elf      what a shared library says of itself
loader   where the dynamic loader finds one
rootfs   the root that an image FROM scratch needs
tree     a directory that is written as a whole
archive  compiles, and writes the file
directory  writes a directory in place of the file
snapshot  which modules the bundle's own snapshot holds; takes it, and has it put in
command  the command line, the refusals, the summary
"""

from pyentry.bundler.command import main

__all__ = ["main"]
