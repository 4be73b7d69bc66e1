"""What modules keep of their process, one thing at a time: at a start it is as in a plain process."""

import json
import re

import pytest

from harness import PYENTRY, clean_env, run, stock
from snapshots import ALONE, as_process, needed, said, take

pytestmark = needed

def kept(tmp_path, module, code, **variables):
    """What code prints in a start from a snapshot of this module, and that plain pyentry prints the same."""
    (tmp_path / "app.py").write_text(module)
    env = clean_env(**variables)
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    code = f"import app\n{code}"
    plain = run([PYENTRY, "-c", code], cwd=tmp_path, env=env)
    printed = said(tmp_path / "a.snap", "-c", code, cwd=tmp_path, env=env)
    assert (plain.returncode, plain.stdout.decode()) == (0, printed), plain.stderr
    return printed


def test_at_the_end_all_is_finalized(tmp_path):
    """What lies in a file's buffer, __del__ of a module's object, `finally` of a generator that waits."""
    module = """if 1:
        log = open("log", "w")
        class Noted:
            def __del__(self): print("__del__")
        def wait():
            try: yield
            finally: print("finally")
        noted, waiting = Noted(), wait()
        next(waiting)
        def say(text): log.write(text)
    """
    assert sorted(kept(tmp_path, module, "app.say('hello\\n')").split()) == ["__del__", "finally"]
    assert (tmp_path / "log").read_text() == "hello\n"


def test_what_modules_set(tmp_path):
    """Variables, and the time zone by them; the mask for new files; blocked signals."""
    module = """if 1:
        import os, signal, time
        os.environ.update(TZ="Asia/Tokyo", MINE="1")
        os.environ.pop("THEIRS", None)
        time.tzset()
        os.umask(0o077)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    """
    code = ("import os, signal, time; print(os.environ['MINE'], time.tzname, oct(os.umask(0)), "
            "signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True); os.system('echo $MINE $TZ')")
    assert kept(tmp_path, module, code, MINE="2").endswith("1 Asia/Tokyo\n")


def test_variable_that_a_module_takes_away(tmp_path):
    (tmp_path / "app.py").write_text("import os\nos.environ.pop('THEIRS', None)\n")
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path, env=clean_env(THEIRS="1"))
    code = "import os; print('THEIRS' in os.environ, flush=True); os.system('echo .$THEIRS')"
    assert said(tmp_path / "a.snap", "-c", code, env=clean_env(THEIRS="1")) == "False\n.\n"


def test_variable_that_is_written_as_it_was(tmp_path):
    """It is compared: nobody knows whether it would have been another. What os.environ refuses was not written."""
    (tmp_path / "app.py").write_text("import os\nos.environ['X'] = '1'\ntry: os.environ[1] = ''\nexcept TypeError: pass\n")
    report = take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path, env=clean_env(X="1"))
    assert "    X: set, by app\n" in report
    command = [f"--restore={tmp_path / 'a.snap'}", "-c", "import app, os; print(os.environ['X'])"]
    assert run([PYENTRY, "--restore-or-fail", *command], cwd=tmp_path, env=clean_env(X="1")).stdout == b"1\n"
    done = run([PYENTRY, *command], cwd=tmp_path, env=clean_env(X="2"))
    assert done.stdout == b"1\n" and b"X differs from what app" in done.stderr, done.stderr


def test_functions_for_children_of_fork(tmp_path):
    """They find files open, and the environment of the new process."""
    (tmp_path / "app.py").write_text(
        "import os\nfile = open(__file__)\ndef look(): print(file.readline().strip(), os.environ.get('NEW'))\n"
        "os.register_at_fork(after_in_child=look)\n")
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    assert said(tmp_path / "a.snap", "-c", "print('program')", env=clean_env(NEW="1")) == "import os 1\nprogram\n"


def test_directory_that_comes_later(tmp_path):
    """A volume that is mounted where there was nothing at the build."""
    module = f"import sys\nsys.path.append({str(tmp_path / 'volume')!r})\ntry: import late\nexcept ImportError: pass\n"
    (tmp_path / "app.py").write_text(module)
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "late.py").write_text("print('late')\n")
    assert said(tmp_path / "a.snap", "-c", "import late") == "late\n"


def test_dump_that_is_planned(tmp_path):
    """Its thread is not in the snapshot, and nobody waits for it."""
    kept(tmp_path, "import faulthandler\nfaulthandler.dump_traceback_later(3600)\n", "print(1)")


def test_memory_that_nobody_may_read(tmp_path):
    """It holds what it held."""
    module = """if 1:
        import ctypes
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
        libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        place = libc.mmap(None, 8192, 3, 0x22, -1, 0)
        ctypes.memset(place, 65, 3)
        libc.mprotect(place, 8192, 0)
        alike = libc.mmap(None, 65536, 3, 0x22, -1, 0)  # it begins as a block of the C library's
        ctypes.memmove(alike, bytes(8) + (16384 | 2).to_bytes(8, "little"), 16)
        libc.mprotect(alike, 65536, 1)
    """
    code = "import ctypes; assert app.libc.mprotect(app.place, 8192, 1) == 0; print(ctypes.string_at(app.place), ctypes.string_at(app.alike + 8))"
    assert kept(tmp_path, module, code) == "b'AAA' b'\\x02@'\n"


def test_checkpoint_in_a_loop(tmp_path):
    """The loop that runs then is not that of the program, also with the process id of the builder."""
    (tmp_path / "program.py").write_text("import asyncio, os, pyentry\nasync def main():\n    print('pid', os.getpid(), flush=True)\n"
                                         "    pyentry.checkpoint()\nasyncio.run(main())\n")
    path = tmp_path / "a.snap"
    built = run([*ALONE, PYENTRY, "--snapshot", "-o", path, tmp_path / "program.py"], env=clean_env(), check=True)
    pid = re.match(r"pid (\d+)\n", built.stdout.decode()).group(1)
    done = run([*as_process(pid), PYENTRY, "--init=never", "--restore-or-fail", f"--restore={path}"])
    assert (done.returncode, done.stdout.decode()) == (0, f"pid {pid}\n"), done.stderr


@pytest.mark.skipif(stock("-c", "import greenlet").returncode != 0, reason="no greenlet")
def test_greenlets_go_on(tmp_path):
    """Also in the middle of a C function, to which they go back."""
    module = """if 1:
        import greenlet
        outside = greenlet.getcurrent()
        def work():
            sorted([3, 1, 2], key=lambda value: (outside.switch(value), value)[1])
            return "end"
        inside = greenlet.greenlet(work)
        inside.switch()
    """
    assert kept(tmp_path, module, "while not app.inside.dead: print(app.inside.switch())") == "1\n2\nend\n"


@pytest.mark.skipif(stock("-c", "import gevent").returncode != 0, reason="no gevent")
def test_gevent_goes_on(tmp_path):
    """Its hub, and greenlets that wait in it."""
    module = """if 1:
        from gevent import monkey
        monkey.patch_all()
        import gevent.event, time
        go = gevent.event.Event()
        waiting = [gevent.spawn(lambda n=n: (go.wait(), n)) for n in range(3)]
        time.sleep(0.01)
    """
    code = """if 1:
        import socket, threading, time
        time.sleep(0.01)
        app.go.set()
        print([one.get() for one in app.waiting])
        left, right = socket.socketpair()
        thread = threading.Thread(target=lambda: left.send(b"x"))
        thread.start()
        print(right.recv(9))
        thread.join()
    """
    (tmp_path / "app.py").write_text(module)
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    assert said(tmp_path / "a.snap", "-c", "import app\n" + code) == "[(True, 0), (True, 1), (True, 2)]\nb'x'\n"


def test_process_id_is_not_a_container_s(tmp_path):
    """What seeds anew where the process id is another does so: the first ids are those of containers."""
    (tmp_path / "app.py").write_text("import os\npid = os.getpid()\n")
    run([*ALONE, PYENTRY, "--snapshot", "-o", tmp_path / "a.snap", "--preload", "app"], cwd=tmp_path, check=True)
    assert int(said(tmp_path / "a.snap", "-c", "import app; print(app.pid)")) > 1000


RANDOM = """if 1:
    import ctypes, gc, os, random
    pid = os.getpid()
    crypto = ctypes.CDLL("libcrypto.so.3")
    def openssl(name):
        room = ctypes.create_string_buffer(8)
        assert getattr(crypto, name)(room, 8) == 1
        return room.raw.hex()
    openssl("RAND_bytes"), openssl("RAND_priv_bytes")
    mine = random.Random()
    try:
        from numpy import random as numpys
        things = numpys.PCG64(), numpys.MT19937(), numpys.SeedSequence(), numpys.default_rng()
        things[2].spawn(1)
    except ImportError:
        things = None
    gc.freeze()
    def draw():
        found = {"random": mine.random(), "public": openssl("RAND_bytes"), "private": openssl("RAND_priv_bytes")}
        if things is not None:
            pcg, twister, seed, generator = things
            found["PCG64"], found["MT19937"] = pcg.random_raw(), twister.random_raw()
            found["child"] = int(seed.spawn(1)[0].generate_state(1)[0])
            found["generator"] = generator.random()
            found["generator's child"] = int(generator.bit_generator._seed_seq.spawn(1)[0].generate_state(1)[0])
        return found
"""


def test_randomness_that_nobody_lists(tmp_path):
    """Without the ssl module, frozen by the program, and what generators are made of: with equal process ids."""
    (tmp_path / "app.py").write_text(RANDOM)
    path = tmp_path / "a.snap"
    run([*ALONE, PYENTRY, "--snapshot", "-o", path, "--preload", "app"], cwd=tmp_path, env=clean_env(), check=True)
    pid = said(path, "-c", "import app; print(app.pid)").strip()
    command = [*as_process(pid), PYENTRY, "--init=never", "--restore-or-fail", f"--restore={path}", "-c",
               "import app, json, os; print(json.dumps([os.getpid() == app.pid, app.draw()]))"]
    (same, first), (_, second) = [json.loads(run(command, check=True).stdout) for _ in range(2)]
    assert same and first.keys() == second.keys() and [name for name in first if first[name] == second[name]] == []
