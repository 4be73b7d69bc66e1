"""differences.txt: the tests of CPython that assert what pyentry changes on purpose.

One entry a line, in three columns:

    TEST-ID   VERSIONS   REASON

VERSIONS is `any`, or Python versions such as `3.11`, `3.12+`, `-3.10`.
"""

import re


class Entry:
    def __init__(self, test, versions, reason):
        self.test = test
        self.versions = versions
        self.reason = reason

    def applies(self, version):
        if self.versions == "any":
            return True
        number = tuple(map(int, self.versions.strip("+-").split(".")))
        if self.versions.endswith("+"):
            return version >= number
        if self.versions.startswith("-"):
            return version <= number
        return version == number


def read(path):
    entries = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = line.split(None, 2)
        if len(columns) != 3 or not re.fullmatch(r"any|-?3\.\d+|3\.\d+\+", columns[1]):
            raise SystemExit(f"{path}:{number}: takes TEST-ID VERSIONS REASON, not: {line}")
        entries.append(Entry(*columns))
    return entries


def undocumented(entries, page):
    """What the reader of docs/differences.md is not told."""
    text = page.read_text() if page.exists() else ""
    return [
        f"{entry.test}: in differences.txt, but not in {page.name}"
        for entry in entries
        if not re.search(rf"(?<![\w.]){re.escape(entry.test)}(?![\w.])", text)
    ]


def applying(entries, version):
    return {entry.test for entry in entries if entry.applies(version)}
