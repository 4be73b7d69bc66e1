"""A process that starts from a snapshot: what modules keep of the process that was written down is made new."""

import _signal
import os
import sys
import time

import _pyentry
from pyentry import _descriptors, _hooks, _watch

# Modules that keep something of their process, all of which is made new here.
RENEWED = ("logging", "multiprocessing.process", "numpy.random", "random", "ssl", "tempfile", "uuid")

state = {
    "descriptors": [],
    "warm_up": None,   # a function
    "variables": {},   # of the environment, that were written to: {name: value or None}
    "umask": None,     # where it was changed
    "blocked": set(),  # signals
    "path": None,      # sys.path before the program of the snapshot ran; None: none did
    "randoms": [],     # random.Random objects of the program's own
    "generators": [],  # numpy's
    "twisters": [],    # those of them that are filled in C
    "seeds": [],       # numpy's, of which others are made
    "contexts": [],    # ssl's
    "names": [],       # of temporary files
    "words": [],       # sys.argv and sys.orig_argv, and what is in them
    "starting": False, # whether the next child is a start
    "error": None,     # of _begin_first
    "hook": None,      # the code of threading's hook for children of fork, while it is put aside
}


### Before the snapshot: what there is to be made new


def _find():
    """One look through all objects, at build time: at a start it would touch all of the memory."""
    import gc
    from random import Random, SystemRandom
    import random
    numpy = sys.modules.get("numpy.random")
    ssl = sys.modules.get("_ssl")
    tempfile = sys.modules.get("tempfile")
    for thing in gc.get_objects():
        kind = type(thing)  # isinstance() asks the object, and lazy ones act on it
        if issubclass(kind, Random) and not issubclass(kind, SystemRandom):
            if thing is not random._inst:
                state["randoms"].append(thing)
        elif numpy is not None and issubclass(kind, (numpy.RandomState, numpy.BitGenerator)):
            state["generators"].append(thing)
        elif numpy is not None and issubclass(kind, numpy.SeedSequence):
            state["seeds"].append(thing)
        elif ssl is not None and issubclass(kind, ssl._SSLContext):
            state["contexts"].append(thing)
        elif tempfile is not None and issubclass(kind, tempfile._RandomNameSequence):
            state["names"].append(thing)
    if numpy is not None:
        _leave_to_their_owners(numpy)


def _leave_to_their_owners(numpy):
    """A RandomState renews what it is made of, and nothing can be made of its seed."""
    inner = [thing._bit_generator for thing in state["generators"] if isinstance(thing, numpy.RandomState)]
    inner += [getattr(thing, "_seed_seq", None) for thing in inner]
    for kind in ("generators", "seeds"):
        state[kind] = [thing for thing in state[kind] if not any(thing is one for one in inner)]


def _find_specs():
    """Modules that replaced themselves may have lost their spec, without which `-m` does not find them."""
    from importlib.machinery import PathFinder
    for name, module in list(sys.modules.items()):
        if name == "__main__" or "." in name or not issubclass(type(module), type(sys)) or vars(module).get("__spec__"):
            continue
        spec = PathFinder.find_spec(name)
        if spec is not None:
            module.__spec__ = spec


def idle_workers():
    """The threads of executors that have nothing to do: these are started again when there is."""
    module = sys.modules.get("concurrent.futures.thread")
    if module is None:
        return set()
    return {thread for executor in _executors(module) if executor._work_queue.empty()
            and executor._idle_semaphore._value >= len(executor._threads) for thread in executor._threads}


def _executors(module):
    import gc
    return [thing for thing in gc.get_objects() if issubclass(type(thing), module.ThreadPoolExecutor)]


def has_greenlets():
    """Whether one waits somewhere: it keeps a part of the C stack, to which it goes back."""
    import gc
    module = sys.modules.get("greenlet")
    return module is not None and any(issubclass(type(thing), module.greenlet) and thing and thing.parent is not None
                                      for thing in gc.get_objects())


def _forget_workers():
    module = sys.modules.get("concurrent.futures.thread")
    for executor in _executors(module) if module is not None else ():
        for thread in executor._threads:
            module._threads_queues.pop(thread, None)
        executor._threads.clear()
        while executor._idle_semaphore.acquire(blocking=False):
            pass


def _note_twisters():
    """Most of numpy's are of one kind, and take long to be filled from Python. What else they hold, as the second of a
    pair of numbers, is forgotten here for all starts."""
    numpy, rest = sys.modules.get("numpy"), []
    for thing in state["generators"]:
        generator = _bit_generator(numpy, thing)
        if type(generator) is numpy.random.MT19937:
            _renew_generator(numpy, thing)
            now = generator.state["state"]
            if _pyentry.note_twister(generator.capsule, now["key"].tobytes(), int(now["pos"])):
                state["twisters"].append(thing)
                continue
        rest.append(thing)
    state["generators"] = rest


def _is_alone(threading):
    """Whether it knows of no thread but one, nor of an object for one that has ended."""
    main = threading.main_thread()
    return list(threading._active.values()) == [main] and not threading._limbo and set(threading._dangling) == {main}


def _stand_in():
    _sys.modules["pyentry._restored"].bring_back()  # noqa: F821  (the names are threading's)


def _put_aside():
    """What threading does in a child of fork is done already where there was no other thread, and would touch more memory
    than all the rest of a start. Who is called then is decided: what it does can be another thing, once."""
    threading = sys.modules.get("threading")
    try:
        if threading is not None and _is_alone(threading) and threading._after_fork.__globals__ is vars(threading):
            code = threading._after_fork.__code__
            threading._after_fork.__code__ = _stand_in.__code__
            state["hook"] = code
    except Exception:
        pass  # somebody else's, or watched


def bring_back():
    sys.modules["threading"]._after_fork.__code__ = state["hook"]
    state["hook"] = None


def _rehearse():
    """Caches that these fill now need not be filled, and their pages not be copied, at each start."""
    _renew_environment(dict(os.environ._data))
    if sys.__stdin__ is not None and _is_open(0):
        _renew_stdin(sys.__stdin__)
    _renew_signals([])
    _renew_randomness()
    _renew_rest()


def _signal_mask():
    return set(_signal.pthread_sigmask(_signal.SIG_BLOCK, ()))


def _umask():
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def note_process():
    """Before the first import: what modules may change of the process itself. And ours is the first of the functions for
    children of fork."""
    state["umask"], state["blocked"] = _umask(), _signal_mask()
    os.register_at_fork(after_in_child=_begin_first)


def _note_changes(variables):
    state["variables"] = variables
    state["umask"] = None if _umask() == state["umask"] else _umask()
    state["blocked"] = _signal_mask() - state["blocked"]
    if b"LC_CTYPE" not in _watch.given() and b"LC_CTYPE" in os.environ._data:
        # python chose it, for want of another
        state["variables"].setdefault(b"LC_CTYPE", os.environ._data[b"LC_CTYPE"])


def _forget_what_runs():
    """What is bound to the thread, which begins anew at each start."""
    loaded = sys.modules.get
    if loaded("asyncio.events"):
        loaded("asyncio.events")._set_running_loop(None)
    if loaded("faulthandler"):
        loaded("faulthandler").cancel_dump_traceback_later()
    for name, finder in list(sys.path_importer_cache.items()):
        if finder is None:  # a directory that was not there
            del sys.path_importer_cache[name]


def prepare(descriptors, warm_up, variables):
    """In the process that is written down."""
    _note_changes(variables)
    _forget_what_runs()
    _find()
    _note_twisters()
    _find_specs()
    _forget_workers()
    _pyentry.find_libraries()
    state["descriptors"] = descriptors
    state["warm_up"] = warm_up
    state["words"] = [(words, list(words)) for words in (sys.argv, getattr(sys, "orig_argv", []))]
    _rehearse()
    _put_aside()
    if state["path"] is not None and sys.path[1:] == state["path"]:
        del sys.path[0]  # the program's own directory: it comes again
    state["starting"] = True


def renewals():
    """What is made new, for the report."""
    names = ["the C library's random numbers"]
    loaded = {"random": "random", "ssl": "ssl", "numpy.random": "numpy.random", "sqlite3": "sqlite3",
              "tempfile": "tempfile", "multiprocessing.process": "multiprocessing's key", "uuid": "uuid"}
    names += [text for name, text in loaded.items() if name in sys.modules]
    for count, text in ((len(state["randoms"]), "Random objects"), (len(state["contexts"]), "TLS contexts"),
                        (len(state["generators"] + state["twisters"]), "numpy generators")):
        if count:
            names.append(f"{count} {text}")
    return names


### At a start


def _renew_environment(variables):
    data = os.environ._data
    data.clear()
    data.update(variables)
    for name, value in state["variables"].items():
        if value is not None:
            os.environ[os.fsdecode(name)] = os.fsdecode(value)
        else:
            os.environ.pop(os.fsdecode(name), None)


def _renew_settings():
    """What modules have set for their process."""
    if state["umask"] is not None:
        os.umask(state["umask"])
    if state["blocked"]:
        _signal.pthread_sigmask(_signal.SIG_BLOCK, state["blocked"])


def _is_open(fd):
    try:
        os.get_inheritable(fd)
    except OSError:
        return False
    return True


def _renew_stdin(text):
    """The same object on what is open now."""
    import io
    raw = io.FileIO(0, "rb", closefd=False)
    raw.name = "<stdin>"
    text.__init__(io.BufferedReader(raw), text.encoding, text.errors, "\n", raw.isatty())
    text.mode = "r"


def _renew_streams():
    """stdout and stderr are on their new files already."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, f"__{name}__")
        if not _is_open(fd):
            if getattr(sys, name) is stream:
                setattr(sys, name, None)
            setattr(sys, f"__{name}__", None)
        elif fd == 0 and stream is not None:
            _renew_stdin(stream)


def _renew_signals(ignored):
    """What the process inherited as ignored stays so, unless the program has a handler for it."""
    ours = (_signal.SIG_DFL, _signal.default_int_handler)
    for number in ignored:
        try:
            handler = _signal.getsignal(number)
            if handler in ours or getattr(handler, "__module__", None) == "pyentry":
                _signal.signal(number, _signal.SIG_IGN)
        except (OSError, ValueError):
            pass  # the C library's own


def _bit_generator(numpy, thing):
    return thing._bit_generator if isinstance(thing, numpy.random.RandomState) else thing


def _renew_generator(numpy, thing):
    """One of numpy's; what is behind numpy.random's own functions is a RandomState like others."""
    kind = type(_bit_generator(numpy, thing))
    if kind is numpy.random.MT19937:  # which takes long to be seeded
        new = {"bit_generator": "MT19937", "state": {"key": numpy.frombuffer(os.urandom(4 * 624), "u4"), "pos": 624}}
    else:
        new = kind().state
    if isinstance(thing, numpy.random.RandomState):
        thing.set_state(new)  # with nothing left over from a pair of numbers
    else:
        thing.state = new


def _renew_randomness():
    """All but random's own functions: that module does it in every forked child."""
    _pyentry.renew_libraries(state["contexts"])
    loaded = sys.modules.get
    for thing in state["randoms"]:
        thing.seed()
    for thing in state["seeds"]:
        thing.__init__(spawn_key=thing.spawn_key, pool_size=thing.pool_size)
    for thing in state["generators"]:
        _renew_generator(loaded("numpy"), thing)
    if loaded("tempfile"):
        loaded("tempfile")._name_sequence = None
    for thing in state["names"]:
        thing._rng_pid = None
    if loaded("multiprocessing.process"):
        loaded("multiprocessing.process").current_process().authkey = os.urandom(32)
    if loaded("uuid"):
        loaded("uuid")._last_timestamp = loaded("uuid")._node = None


def _renew_rest():
    loaded = sys.modules.get
    time.tzset()
    if loaded("threading"):
        loaded("threading").main_thread()._set_native_id()
    if loaded("platform"):
        loaded("platform")._uname_cache = None
    if loaded("logging"):
        logging = loaded("logging")
        logging._startTime = type(logging._startTime)(time.time_ns() if isinstance(logging._startTime, int)
                                                      else time.time())


def _renew_main():
    """The program's own module; the one of the snapshot stays with whoever holds it."""
    import builtins
    from importlib.machinery import BuiltinImporter
    main = type(sys)("__main__")
    main.__builtins__ = builtins
    main.__loader__ = BuiltinImporter
    main.__annotations__ = {}
    state["main"] = sys.modules["__main__"]
    sys.modules["__main__"] = main


def _begin_first():
    """What the modules' own functions for children of fork may use."""
    if not state["starting"]:
        return
    state["starting"] = False
    try:
        _renew_environment(_pyentry.environment())
        _descriptors.make_again(state["descriptors"])
    except BaseException as error:  # which would be printed and forgotten here
        state["error"] = error


def _renew(ignored):
    if state["error"] is not None:
        raise state["error"]
    if state["hook"] is not None:  # nobody called it
        bring_back()
    _renew_settings()
    _renew_streams()
    _renew_signals(ignored)
    _renew_main()
    _renew_randomness()
    _renew_rest()


def begin(ignored):
    """Everything is made new, and then come the program's own functions."""
    _renew(ignored)
    for function in _hooks.after:
        function()


def show(ignored, watcher):
    """The first start, at build time: with the warm-up once more in the place of functions and program."""
    _renew(ignored)
    for words, own in state["words"]:
        words[:] = own
    exec("import os", vars(sys.modules["__main__"]))
    os.write(watcher, b"b")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):  # nobody hears the warm-up twice
        os.dup2(nowhere, number)
    try:
        state["warm_up"]()
    except BaseException:
        pass  # without the program's functions; what it came to see counts
    os.write(watcher, b"w")
    while True:
        _signal.pause()
