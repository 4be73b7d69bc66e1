"""What an ELF file says of itself: for which machine it is, its soname, the libraries that it needs."""

import struct

EI_CLASS, EI_DATA = 4, 5
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB, DT_SONAME, DT_RPATH, DT_RUNPATH = 1, 5, 14, 15, 29


class Elf:
    """The parts that matter here; ValueError where the bytes are no ELF file, or are cut short."""

    def __init__(self, data):
        if data[:4] != b"\x7fELF" or data[EI_CLASS] not in (1, 2) or data[EI_DATA] not in (1, 2):
            raise ValueError("no ELF file")
        self.data = data
        self.wide = data[EI_CLASS] == 2
        self.order = "<" if data[EI_DATA] == 1 else ">"
        self.machine = (data[EI_CLASS], data[EI_DATA], self.unpack("H", 18)[0])
        self.needed, self.soname, self.interpreter = [], "", ""
        self.rpath, self.runpath = [], []
        try:
            self.read_segments()
        except (struct.error, IndexError):
            raise ValueError("cut short") from None

    def unpack(self, form, offset):
        return struct.unpack_from(self.order + form, self.data, offset)

    def read_segments(self):
        offset, = self.unpack("Q", 32) if self.wide else self.unpack("I", 28)
        size, count = self.unpack("HH", 54 if self.wide else 42)
        segments = []
        for at in range(offset, offset + size * count, size):
            if self.wide:
                kind, _, start, address, _, length = self.unpack("IIQQQQ", at)
            else:
                kind, start, address, _, length = self.unpack("IIIII", at)
            segments.append((kind, start, address, length))
        for kind, start, _, length in segments:
            if kind == PT_INTERP:
                self.interpreter = self.data[start:start + length].rstrip(b"\0").decode()
            if kind == PT_DYNAMIC:
                self.read_dynamic(start, length, segments)

    def read_dynamic(self, start, length, segments):
        form = "QQ" if self.wide else "II"
        step = struct.calcsize(self.order + form)
        entries = [self.unpack(form, at) for at in range(start, start + length, step)]
        address = next((value for tag, value in entries if tag == DT_STRTAB), None)
        if address is None:
            return
        strings = next(file + address - memory for kind, file, memory, size in segments
                       if kind == PT_LOAD and memory <= address < memory + size)

        def text(offset):
            begin = strings + offset
            return self.data[begin:self.data.index(b"\0", begin)].decode(errors="replace")

        for tag, value in entries:
            if tag == 0:
                break
            if tag == DT_NEEDED:
                self.needed.append(text(value))
            elif tag == DT_SONAME:
                self.soname = text(value)
            elif tag == DT_RPATH:
                self.rpath = text(value).split(":")
            elif tag == DT_RUNPATH:
                self.runpath = text(value).split(":")

    @property
    def run_path(self):
        """Where it wants its own needs looked for: of the two, the loader takes the newer."""
        return self.runpath or self.rpath


def read(data):
    """The Elf of these bytes, or None where they are none."""
    try:
        return Elf(data)
    except (ValueError, IndexError, OverflowError, StopIteration, struct.error):
        return None
