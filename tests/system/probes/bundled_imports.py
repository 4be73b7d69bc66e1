"""What the import protocol says of modules in a tree; run over a directory on sys.path and over a bundle.

bundled_imports.py TOP: the report as JSON, with TOP in place of its path.
"""

import importlib
import importlib.metadata
import importlib.resources
import importlib.util
import inspect
import json
import os
import pkgutil
import sys
import traceback

top = sys.argv[1]
report = {}


def plain(value):
    return value.replace(top, "TOP") if isinstance(value, str) else value


def attempt(name, function):
    try:
        report[name] = plain(function())
    except Exception as error:
        report[name] = plain(f"{type(error).__name__}: {error}")


def attributes(name):
    module = importlib.import_module(name)
    spec = module.__spec__
    return [plain(value) for value in (
        module.__name__, module.__package__, getattr(module, "__file__", None), list(map(plain, getattr(module, "__path__", []))),
        spec.name, spec.origin, spec.has_location, spec.parent, spec.loader is module.__loader__,
        spec.submodule_search_locations is not None)]


MODULES = ["single", "pkg", "pkg.sub", "pkg.sub.leaf", "portion", "portion.inside", "unicodé"]
for name in MODULES:
    attempt(f"attributes {name}", lambda: attributes(name))
    spec = importlib.util.find_spec(name)
    loader = spec.loader
    for method in ("is_package", "get_filename", "get_source"):
        if hasattr(loader, method):
            attempt(f"{method} {name}", lambda: getattr(loader, method)(name))
    attempt(f"get_code {name}", lambda: loader.get_code(name).co_filename if hasattr(loader, "get_code") else None)
attempt("get_data", lambda: importlib.util.find_spec("pkg").loader.get_data(f"{top}/pkg/data/text.txt").decode())
attempt("get_data missing", lambda: importlib.util.find_spec("pkg").loader.get_data(f"{top}/pkg/none"))
attempt("another's name", lambda: importlib.util.find_spec("pkg").loader.get_code("single"))
attempt("missing", lambda: importlib.import_module("pkg.none"))
attempt("missing in module", lambda: importlib.import_module("single.none"))
attempt("broken", lambda: importlib.import_module("broken"))
attempt("failing", lambda: importlib.import_module("failing").__name__)
attempt("find_spec missing", lambda: importlib.util.find_spec("none"))
attempt("source wins", lambda: attributes("both"))


def reloaded():
    import single
    single.value = 0
    return importlib.reload(single).value


attempt("reload", reloaded)


def lazily():
    spec = importlib.util.find_spec("lazy")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["lazy"] = module
    spec.loader.exec_module(module)
    return module.value


attempt("lazy", lazily)


def compiled(name):
    return name.endswith(".pyc") or name == "__pycache__"


def frames():
    try:
        import failing.inner  # noqa: F401
    except ZeroDivisionError as error:
        return plain("".join(traceback.format_exception(type(error), error, error.__traceback__)[2:]))
    return None


attempt("traceback", frames)
attempt("pkgutil top", lambda: sorted(m.name for m in pkgutil.iter_modules([top]) if not m.name.startswith("__main")))
attempt("pkgutil pkg", lambda: sorted((m.name, m.ispkg) for m in pkgutil.iter_modules([f"{top}/pkg"], "pkg.")))
attempt("walk", lambda: sorted(m.name for m in pkgutil.walk_packages([f"{top}/pkg"], "pkg.")))
attempt("pkgutil data", lambda: pkgutil.get_data("pkg", "data/text.txt").decode())
attempt("files", lambda: sorted(p.name for p in importlib.resources.files("pkg").iterdir() if not compiled(p.name)))
attempt("files text", lambda: importlib.resources.files("pkg").joinpath("data/text.txt").read_text())
attempt("files namespace", lambda: importlib.resources.files("portion").joinpath("text.txt").read_text())


def as_file():
    with importlib.resources.as_file(importlib.resources.files("pkg") / "data" / "text.txt") as path:
        return str(path)


attempt("as_file", as_file)
attempt("read_text", lambda: importlib.resources.read_text("pkg", "plain.txt"))
attempt("contents", lambda: sorted(n for n in importlib.resources.contents("pkg") if not compiled(n)))
attempt("is_resource", lambda: [importlib.resources.is_resource("pkg", n) for n in ("plain.txt", "data", "none")])
attempt("version", lambda: importlib.metadata.version("some-dist"))
attempt("entry points", lambda: [(e.name, e.value) for e in importlib.metadata.entry_points()["some.group"]]
        if sys.version_info < (3, 10) else [(e.name, e.value) for e in importlib.metadata.entry_points(group="some.group")])
attempt("loaded entry", lambda: importlib.metadata.distribution("some-dist").entry_points[0].load().__name__)
attempt("dist files", lambda: sorted(map(str, importlib.metadata.files("some-dist"))))
attempt("dists", lambda: [d.metadata["Name"] for d in importlib.metadata.distributions(path=[top])])
attempt("inspect", lambda: inspect.getsource(importlib.import_module("pkg.sub.leaf").function))
attempt("inspect file", lambda: inspect.getsourcefile(importlib.import_module("single")))
attempt("extend", lambda: sorted(map(plain, importlib.import_module("extended").__path__)))
attempt("script", lambda: importlib.import_module("runpy").run_module("single")["value"])
attempt("run path", lambda: importlib.import_module("runpy").run_path(f"{top}/single.py")["value"])
attempt("hooks", lambda: type(pkgutil.get_importer(f"{top}/pkg")).__mro__[-2].__name__ != "zipimporter")
attempt("cached", lambda: os.path.exists(importlib.import_module("single").__cached__))
importlib.invalidate_caches()
attempt("after invalidate", lambda: attributes("later"))
print(json.dumps(report))
