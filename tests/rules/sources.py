"""Reads our sources for the rules: which files there are, C without comments, how long functions are."""

import ast
import os
import re
import sys

DIRECTORIES = ("launcher", "embed", "tests", "docker", "docs", ".ci")
TOP_FILES = ("bootstrap",)
GENERATED = ("embed/frozen.h",)
SHEBANGS = {"sh": "shell", "bash": "shell", "python3": "python"}
SUFFIXES = {".c": "c", ".h": "c", ".py": "python", ".pyi": "python", ".sh": "shell", ".bash": "shell"}

COMMENT = r"//[^\n]*|/\*.*?\*/"
STRING = r'"(?:\\.|[^"\\\n])*"' + r"|'(?:\\.|[^'\\\n])*'"


def language(path):
    """c, python or shell; None for what is no source file."""
    suffix = os.path.splitext(path)[1]
    if suffix:
        return SUFFIXES.get(suffix)
    with open(path, "rb") as file:
        match = re.match(rb"#!.*[/ ](\w+)", file.readline())
    return SHEBANGS.get(match[1].decode()) if match else None


class Tree:
    """The source tree: relative paths and their text."""

    def __init__(self, root):
        self.root = root

    def text(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
            return file.read()

    def exists(self, path):
        return os.path.isfile(os.path.join(self.root, path))

    def files(self, wanted, *directories):
        """The source files in these languages, sorted."""
        found = [name for name in TOP_FILES if not directories and self.exists(name)]
        for directory in directories or DIRECTORIES:
            found += self.below(directory)
        sources = [path for path in found if path not in GENERATED]
        return sorted(path for path in sources if language(os.path.join(self.root, path)) in wanted)

    def below(self, directory, suffix=""):
        found = []
        for where, below, names in os.walk(os.path.join(self.root, directory)):
            below[:] = [name for name in below if name != "__pycache__"]
            found += [os.path.relpath(os.path.join(where, name), self.root) for name in names if name.endswith(suffix)]
        return sorted(found)

    def texts(self):
        top = [name for name in sorted(os.listdir(self.root)) if name.endswith(".md")]
        return top + [path for directory in ("docs", "docker") for path in self.below(directory, ".md")]

    def includes(self, path):
        """(line number, name, resolved path or None) of each #include."""
        for number, line in enumerate(without_comments(self.text(path)).split("\n"), 1):
            match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
            if match:
                beside = os.path.normpath(os.path.join(os.path.dirname(path), match[1]))
                yield number, match[1], next((p for p in (beside, match[1]) if self.exists(p)), None)


def spaces(match):
    return re.sub(r"[^\n]", " ", match[0])


def without_comments(text):
    """The text with each comment blanked out; lines and columns stay."""
    return re.sub(f"({STRING})|{COMMENT}", lambda m: m[0] if m[1] else spaces(m), text, flags=re.DOTALL)


def c_code(text, keep_defines=True):
    """C with comments, strings and preprocessor lines blanked out, but for the bodies of macros."""
    text = re.sub(f"{STRING}|{COMMENT}", spaces, text, flags=re.DOTALL)
    directives = r"^[ \t]*#[ \t]*" + ("(?!define)" if keep_defines else "") + r"(?:\\\n|[^\n])*"
    return re.sub(directives, spaces, text, flags=re.MULTILINE)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def c_functions(text):
    """(name, first line, length) of each function; ValueError where the braces do not match."""
    code = c_code(text, keep_defines=False)
    depth, head, found = 0, 0, None
    for match in re.finditer(r"[{};]", code):
        if match[0] == "{":
            if depth == 0:
                found = c_name(code[head:match.start()])
                first = line_of(code, head + len(code[head:]) - len(code[head:].lstrip()))
            depth += 1
        elif match[0] == "}":
            depth -= 1
            if depth < 0:
                raise ValueError(f"line {line_of(code, match.start())}: a brace too many")
            if depth == 0 and found:
                yield found, first, line_of(code, match.start()) - first + 1
        if depth == 0:
            head = match.end()
    if depth:
        raise ValueError("a brace is not closed")


def c_name(head):
    """The function that this text before a brace declares, or None."""
    head = re.sub(r"__attribute__\s*\(\([^()]*(?:\([^()]*\)[^()]*)*\)\)", "", head)
    match = re.search(r"(\w+)\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\s*$", head)
    return match[1] if match and "=" not in head else None


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def shell_functions(text):
    lines = text.split("\n")
    for index, line in enumerate(lines):
        match = re.match(r"(\s*)([\w-]+)\s*\(\)\s*[{(]", line)
        if match:
            ends = [i for i in range(index, len(lines)) if re.match(match[1] + r"[})]", lines[i])]
            one_line = re.search(r"[})]\s*$", line)
            last = index if one_line else (ends[0] if ends else len(lines) - 1)
            yield match[2], index + 1, last - index + 1


FUNCTIONS = {"c": c_functions, "python": python_functions, "shell": shell_functions}


if __name__ == "__main__":
    # sources.py LANGUAGE [DIRECTORY...]: the source files below the current directory
    print("\n".join(Tree(".").files(sys.argv[1:2], *sys.argv[2:])))
