"""pyentry --healthcheck: real servers, servers that mean no good, addresses, time-outs, and what it leaves untouched.

The exit status is 0 or 1 and never another, and 1 always comes with one line.
"""

import concurrent.futures
import contextlib
import os
import re
import shutil
import socket
import statistics
import struct
import threading
import time

import pytest

from harness import (HERE, PYENTRY, PYTHON, VERSION, Child, clean_env, compile_c, gather, pyentry, run, status_field,
                     traced_calls, until, wait_asleep)
from serving import Service, free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SOON = "300ms"
EVER = 60  # seconds: no server goes on for longer


def check(*args, **options):
    return pyentry("--healthcheck", *args, **options)


def unhealthy(done):
    """The reason, when the check failed as promised: status 1, and one line on stderr."""
    text = done.stderr.decode()
    assert (done.returncode, done.stdout, text.count("\n")) == (1, b"", 1), done
    assert text.startswith("pyentry: unhealthy: ") and text.endswith("\n"), text
    return text[len("pyentry: unhealthy: "):-1]


def healthy(done):
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done
    return True


def listener(address="127.0.0.1", backlog=16):
    """A listening socket: a path, or an address on a port of its own."""
    family = socket.AF_UNIX if "/" in address else socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family)
    server.bind(address if family == socket.AF_UNIX else (address, 0))
    server.listen(backlog)
    return server


class Server:
    """Hands each connection to a function, in a thread of its own, and keeps the requests that came."""

    def __init__(self, behave, address="127.0.0.1"):
        self.behave = behave
        self.socket = listener(address)
        self.requests = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.port = self.socket.getsockname()[1] if self.socket.family != socket.AF_UNIX else None
        self.url = f"http://127.0.0.1:{self.port}/" if self.port else f"unix:{address}"

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self.threads.append(thread)
                thread.start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            self.behave(self, connection)

    def request(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return
            data += piece
        self.requests.append(data.decode("latin-1"))

    def __enter__(self):
        self.threads[0].start()
        return self

    def __exit__(self, *error):
        self.over.set()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for thread in self.threads:
            thread.join(EVER)


def says(*pieces, pause=0.0):
    """Reads the request, sends the pieces, waits between them, and closes."""
    def behave(server, connection):
        server.request(connection)
        for piece in pieces:
            connection.sendall(piece)
            if server.over.wait(pause) if pause else False:
                return
    return behave


def says_forever(begin, again):
    """Goes on for as long as somebody listens."""
    def behave(server, connection):
        server.request(connection)
        connection.sendall(begin)
        end = time.monotonic() + EVER
        while time.monotonic() < end and not server.over.is_set():
            connection.sendall(again)
    return behave


def silent(server, connection):
    server.over.wait(EVER)


def silent_after_a_status(server, connection):
    server.request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    server.over.wait(EVER)


def closes_at_once(server, connection):
    pass


def resets(server, connection):
    server.request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def answers_before_the_request(server, connection):
    connection.sendall(OK)
    connection.shutdown(socket.SHUT_WR)
    server.request(connection)


DRIP = [b"%c" % byte for byte in OK]

# behaviour, what the one line says
ILL = {
    "accepts, never answers": (silent, rf"no answer within {SOON}$"),
    "a byte now and then": (says(*DRIP, pause=0.05), rf"the header of the answer did not end within {SOON}$"),
    "a status, and nothing more": (silent_after_a_status, rf"the header of the answer did not end within {SOON}$"),
    "closes": (closes_at_once, "closed the connection before it answered$|reset by peer before it answered$"),
    "closes after the request": (says(), "closed the connection before it answered$"),
    "closes in the header": (says(b"HTTP/1.1 200 OK\r\nA: b\r\n"), "closed the connection within the header"),
    "resets": (resets, "Connection reset by peer before it answered$"),
    "an endless header": (says_forever(b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n" * 100), "longer than 64 KB$"),
    "an endless header line": (says_forever(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 5000), "longer than 64 KB$"),
    "an endless status line": (says_forever(b"HTTP/1.1 200 ", b"x" * 5000), "longer than 64 KB$"),
    "endless interim answers": (says_forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "longer than 64 KB$"),
    "HTTP/0.9": (says(b"<html>hello</html>\n"), r"is not HTTP/1, it begins with '<html>hello</html>'$"),
    "endless HTTP/0.9": (says_forever(b"hello ", b"x" * 5000), "is not HTTP/1, it begins with 'hello x*'$"),
    "HTTP/2": (says(b"\0\0\x12\4\0\0\0\0\0"), "is not HTTP/1"),
    "another protocol": (says(b"220 mail ESMTP\r\n"), "is not HTTP/1, it begins with '220 mail ESMTP"),
    "terminal escapes": (says(b"\x1b[2Jgone\r\n"), r"begins with '\?\[2Jgone"),
    "no status": (says(b"HTTP/1.1 \r\n\r\n"), "is not HTTP/1"),
    "a status of letters": (says(b"HTTP/1.1 abc OK\r\n\r\n"), "is not HTTP/1"),
    "404": (says(b"HTTP/1.1 404 Not Found\r\n\r\n"), "it answered 404 Not Found$"),
    "503 without a reason": (says(b"HTTP/1.1 503\r\n\r\n"), "it answered 503$"),
    "400": (says(b"HTTP/1.1 400 Bad\r\n\r\n"), "it answered 400 Bad$"),
    "a switch of protocols": (says(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), "it answered 101"),
    "interim, then ill": (says(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 Oh\r\n\r\n"), "it answered 500 Oh$"),
}
WELL = {
    "200": says(OK),
    "204, no reason, no carriage return": says(b"HTTP/1.0 204\n\n"),
    "399": says(b"HTTP/1.1 399 \r\n\r\n"),
    "a redirect": says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"),
    "byte by byte": says(*DRIP),
    "interim answers first": says(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 \r\nA: b\r\n\r\n", OK, pause=0.01),
    "an endless body": says_forever(OK, b"x" * 65536),
    "a body that never comes": lambda server, connection: (connection.sendall(OK[:-2]), server.over.wait(EVER)),
    "an answer before the request": answers_before_the_request,
}


def test_servers_that_are_ill():
    """Whatever a server does: one line that says what, exit 1, no hang."""
    def tried(item):
        name, (behave, expected) = item
        with Server(behave) as server:
            why = unhealthy(check("--timeout", SOON if SOON in expected else "20s", server.url))
        return None if why.startswith(server.url + ": ") and re.search(expected, why) else f"{name}: {why}"

    assert list(filter(None, gather(tried, ILL.items()))) == []


def test_servers_that_are_well():
    """200 to 399 is healthy, silently; no redirect is followed, and no body has to end."""
    def tried(item):
        with Server(item[1]) as server:
            return item[0], healthy(check("--timeout", "20s", server.url)) and len(server.requests) <= 1

    assert [name for name, fine in gather(tried, WELL.items()) if not fine] == []


def test_the_request():
    """One GET with the host, the path and the query of the URL, and nothing of a fragment."""
    with Server(says(OK)) as server:
        address = f"127.0.0.1:{server.port}"
        healthy(check(f"http://{address}/a/b?c=d&e=%20#f"))
        healthy(check(f"http://LocalHost:{server.port}"))
        lines = server.requests[0].split("\r\n")
        assert lines[0] == "GET /a/b?c=d&e=%20 HTTP/1.1" and lines[-2:] == ["", ""]
        assert {f"Host: {address}", "Connection: close"} < set(lines)
        assert re.search(r"^User-Agent: pyentry-healthcheck/\d+\.\d+\.\d+\S*\r$", server.requests[0], re.MULTILINE)
        assert server.requests[1].startswith(f"GET / HTTP/1.1\r\nHost: LocalHost:{server.port}\r\n")


def test_the_default_is_the_port_of_the_platform():
    """No URL, or a path alone: 127.0.0.1, $PORT or 8080. A PORT that is none is named."""
    with Server(says(OK)) as server:
        env = clean_env(PORT=str(server.port))
        healthy(check(env=env))
        healthy(check("/live?now", env=env))
        assert [text.split()[1] for text in server.requests] == ["/", "/live?now"]
    for port in ("", None):
        done = check("/x", "--timeout=5s", env=clean_env(PORT=port))
        assert "http://127.0.0.1:8080/x" in done.stderr.decode() or done.returncode == 0
    for port in ("0", "65536", "http", "80 ", "-1", "8080/x", "tcp://10.0.0.1:80"):
        assert unhealthy(check(env=clean_env(PORT=port))).startswith(f"PORT='{port}' is not valid")


def test_unix_sockets(tmp_path):
    """unix:/socket, unix:///socket, and :/path behind it."""
    path = str(tmp_path / "app.sock")
    with Server(says(OK), path) as server:
        for url in (f"unix:{path}", f"unix://{path}", f"unix:{path}:/live?x"):
            healthy(check(url))
        healthy(check("unix:app.sock", cwd=tmp_path))
        assert [text.split()[1] for text in server.requests] == ["/", "/", "/live?x", "/"]
        assert all("\r\nHost: localhost\r\n" in text for text in server.requests)
    assert "No such file or directory" in unhealthy(check(f"unix:{tmp_path}/none"))
    assert "Connection refused" in unhealthy(check(f"unix:{path}"))
    with Server(silent, str(tmp_path / "silent")) as server:
        assert "no answer within" in unhealthy(check("--timeout", SOON, server.url))


def has_v6():
    with contextlib.suppress(OSError), listener("::1"):
        return True
    return False


def test_localhost_is_both_families():
    """localhost finds a server that listens on one of 127.0.0.1 and ::1 only; [::1] is the second."""
    addresses = ["127.0.0.1", "::1"] if has_v6() else ["127.0.0.1"]
    for address in addresses:
        with Server(says(OK), address) as server:
            healthy(check(f"http://localhost:{server.port}"))
            healthy(check(f"tcp://localhost:{server.port}"))
            shown = f"[{address}]" if ":" in address else address
            healthy(check(f"http://{shown}:{server.port}"))
            assert f"Host: {shown}:{server.port}\r\n" in server.requests[-1]
    assert "Connection refused" in unhealthy(check(f"http://localhost:{free_port()}"))


def test_tcp():
    """tcp:// asks for a connection and no more."""
    with Server(silent) as server:
        healthy(check(f"tcp://127.0.0.1:{server.port}"))
    assert "Connection refused" in unhealthy(check(f"tcp://127.0.0.1:{free_port()}"))


@pytest.mark.parametrize("where", ["127.0.0.1", "unix"])
def test_a_server_that_does_not_accept(where, tmp_path):
    """A full queue: the connection has the same time-out."""
    server = listener(str(tmp_path / "full") if where == "unix" else where, backlog=0)
    with server, contextlib.ExitStack() as waiting:
        for _ in range(8):
            client = waiting.enter_context(socket.socket(server.family))
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        url = f"unix:{tmp_path}/full" if where == "unix" else f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert unhealthy(check("--timeout", SOON, url)).endswith(f"no connection within {SOON}")


def test_the_time_out():
    """--timeout covers all of it, in either form, and is 3 s by itself."""
    def took(args):
        with Server(silent) as server:
            begin = time.monotonic()
            why = unhealthy(check(*args, server.url))
            return why.rsplit(" ", 1)[1], time.monotonic() - begin

    given = [["--timeout", "200ms"], ["--timeout=1s"], []]
    for (text, seconds), (told, least) in zip(gather(took, given), [("200ms", 0.2), ("1s", 1), ("3s", 3)]):
        assert text == told and seconds >= least


WRONG = [["--timeout", "0"], ["--timeout", "0s"], ["--timeout=3"], ["--timeout="], ["--timeout", ""], ["--timeout"],
         ["--timeout", "-1s"], ["--timeuot", "1s"], ["-t", "1s"], ["--help"], ["-"], ["--"], ["http://a/", "http://b/"],
         [""], ["app:8080"], ["localhost"], ["ftp://app/"], ["http://"], ["http://a:0/"], ["http://a b/"],
         ["http://a/\r\nX: y"], ["http://[::1/"], ["tcp://a"], ["unix:"], ["unix:" + "x" * 108],
         ["http://" + "x" * 300], ["http://a/" + "x" * 100000]]


def test_wrong_usage():
    """Docker keeps 2 for itself: a wrong command line is 1 as well, and one line."""
    for args, done in zip(WRONG, gather(lambda args: check(*args), WRONG)):
        why = unhealthy(done)
        assert len(why) > 20 and len(done.stderr) <= 4096, (args, why)


def test_nobody_reads_the_line():
    """The status stands."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as gone:
        assert check("unix:/nowhere", stderr=gone).returncode == 1
    assert run(["sh", "-c", '"$0" --healthcheck unix:/nowhere 2>&-', PYENTRY]).returncode == 1


def test_tls_is_refused():
    """https:// is explained."""
    why = unhealthy(check("https://127.0.0.1:8443/"))
    assert "TLS" in why and "http://" in why and "unix:" in why and "tcp://" in why


def test_no_password_is_told():
    """Docker keeps the line, for everyone to see."""
    why = unhealthy(check("http://me:secret@127.0.0.1/"))
    assert "secret" not in why and "password" in why


@pytest.mark.parametrize("url, meant", [
    ("localhost:8080", "http://localhost:8080/"), ("8080", "http://localhost:8080/"), ("db:80/live", "http://db:80/live"),
    ("8080/live", "http://localhost:8080/live"), ("live", None), ("ftp://app/", None), ("9" * 3000, None)])
def test_urls_without_a_scheme(url, meant):
    """The line says what was probably meant."""
    why = unhealthy(check(url))
    assert why == f"{url}: did you mean {meant}?" if meant else "it begins with none of" in why


def test_what_is_shown_of_a_url():
    """An @ in the path hides nothing, a password is never shown, and the reason stands behind a URL of any length."""
    where = f"http://127.0.0.1:{free_port()}"
    assert unhealthy(check(f"{where}/@me")) == f"{where}/@me: no connection: Connection refused"
    for url in ("http://me:sec/ret@app/", "me:secret@app:80", "http://a:b@app:80/@x"):
        assert unhealthy(check(url)).startswith("the URL: ")
    for url in (f"{where}/" + "x" * 1900, f"{where}/" + "x" * 9000, "x" * 9000):
        assert re.search(r"x\.\.\.: (no connection|its path is too long|it begins with none)", unhealthy(check(url)))


def test_an_abstract_socket():
    """unix:@name."""
    name = f"pyentry-test-{os.getpid()}"
    assert "Connection refused" in unhealthy(check(f"unix:@{name}:/live"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            done = pool.submit(check, f"unix:@{name}:/live")
            peer, _ = server.accept()
            with peer:
                assert peer.recv(4096).startswith(b"GET /live ")
                peer.sendall(b"HTTP/1.1 204 N\r\n\r\n")
            assert done.result().returncode == 0


def test_other_variables_change_nothing():
    """Neither proxies, nor python's variables, nor pyentry's own, also when they make no sense."""
    env = clean_env(http_proxy="http://127.0.0.1:1", HTTP_PROXY="http://127.0.0.1:1", ALL_PROXY="http://127.0.0.1:1",
                    PYTHONHOME="/nowhere", PYTHONPATH="/nowhere", PYTHONSTARTUP="/nowhere", PYTHONUTF8="nonsense",
                    PYENTRY_STOP_REPORT="nonsense", PYENTRY_LOG_FORMAT="nonsense", PYENTRY_INIT="always",
                    RES_OPTIONS="nonsense")
    with Server(says(OK)) as server:
        healthy(check(server.url, env=env))
        assert len(server.requests) == 1


# The last is looked at before main, by the allocator of Python 3.13 and later.
LOADED = r"/etc/ld\.so\.cache|[^\"]*/(lib|ld-)[^\"/]*\.so[^\"]*|/proc/sys/vm/overcommit_memory"


def test_no_interpreter_is_started():
    """Not a file but the shared libraries is opened, and no process is made."""
    with Server(says(OK)) as server:
        for url in (server.url, f"http://localhost:{server.port}/", f"tcp://localhost:{server.port}"):
            calls = traced_calls([PYENTRY, "--healthcheck", url], "?open,openat,clone,?fork,?vfork,execve")
            opened = [line for line in calls if "execve(" not in line and " = -1 " not in line]
            odd = [line for line in opened if not re.search(rf'"({LOADED})"', line)]
            assert len([line for line in calls if "execve(" in line]) == 1 and odd == []


def anonymous(begin):
    """The memory in KB that a check has of its own, once it waits for what comes after these bytes."""
    def behave(server, connection):
        server.request(connection)
        connection.sendall(begin)
        server.over.wait(EVER)

    with Server(behave) as server, Child(PYENTRY, "--healthcheck", "--timeout=60s", server.url) as child:
        until(lambda: server.requests, "a request")
        wait_asleep(child.pid)
        return int(status_field(child.pid, "RssAnon").split()[0])


def test_memory_is_bounded():
    """What a server sends is not kept: 60 KB of a header cost no memory."""
    short = anonymous(b"HTTP/1.1 200 OK\r\n")
    assert anonymous(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10000) < short + 48


# A small program, since what a process has in memory when it executes another counts for that one, too.
MOST_RESIDENT = """
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    int status;
    struct rusage usage;
    pid_t pid = vfork();
    if (pid == 0) {
        execv(argv[1], argv + 1);
        _exit(127);
    }
    if (wait4(pid, &status, 0, &usage) == pid)
        printf("%d %ld\\n", status, usage.ru_maxrss);
}
"""


@pytest.mark.skipif(b"libpython" in run(["ldd", PYENTRY]).stdout, reason="libpython is shared: its pages count")
def test_resident_memory(tmp_path):
    """At most twice what `true` has, shared pages counted; a little more from 3.13 on: its allocator begins before main.

    The kernel adds up by CPU, and where libraries lie differs from start to start: hence the median.
    """
    compile_c(MOST_RESIDENT, tmp_path / "measure", kind=["-static"])

    def measured(*command):
        told = [run([str(tmp_path / "measure"), *command]).stdout.split() for _ in range(9)]
        assert {status for status, _ in told} == {b"0"}
        return statistics.median(int(kib) for _, kib in told)

    with Server(says(OK)) as server:
        kib = [measured(PYENTRY, "--healthcheck", url) for url in (server.url, f"tcp://127.0.0.1:{server.port}")]
    assert max(kib) <= (2 if VERSION < (3, 13) else 2.2) * measured(find("true"))


def test_a_body_is_not_read_for_long():
    """Of an endless body a megabyte is taken, and what fits into the kernel's buffers."""
    sent = []

    def behave(server, connection):
        server.request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.sendall(OK)
        end = time.monotonic() + EVER
        while time.monotonic() < end:
            sent.append(connection.send(b"x" * 65536))

    with Server(behave) as server:
        healthy(check("--timeout=20s", server.url))
    assert 0 < sum(sent) < 16 * 1024 * 1024


def test_as_pid_one(pid_one):
    """As a container's only process it is no init: the check itself is done."""
    with Server(says(OK)) as server:
        healthy(run([*pid_one, PYENTRY, "--healthcheck", server.url]))
    assert "no connection" in unhealthy(run([*pid_one, PYENTRY, "--healthcheck", server.url]))


# --- names ---

DEAF = "127.83.83.83"  # a name server that never answers
UNSHARED = """mount --bind "$0/resolv.conf" /etc/resolv.conf && mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf &&
mount --bind "$0/hosts" /etc/hosts && exec "$@" """


@pytest.fixture
def names(tmp_path):
    """Runs a command where names come from a hosts file of ours and a name server that never answers."""
    for file, text in {"resolv.conf": f"nameserver {DEAF}\n", "nsswitch.conf": "hosts: files dns\n",
                       "hosts": "127.0.0.1 app\n::1 app\n127.0.0.1 other\n"}.items():
        (tmp_path / file).write_text(text)
    if run(["unshare", "--mount", "sh", "-c", UNSHARED, tmp_path, "true"]).returncode != 0:
        pytest.skip("no mount namespace can be made here")
    with socket.socket(type=socket.SOCK_DGRAM) as deaf:
        deaf.bind((DEAF, 53))
        yield lambda *argv: run(["unshare", "--mount", "sh", "-c", UNSHARED, tmp_path, *argv])


def test_names(names):
    """Names are looked up, all their addresses are tried, and a look-up without an answer has the same time-out."""
    with Server(says(OK)) as server:
        for name in ("app", "other", "localhost"):
            healthy(names(PYENTRY, "--healthcheck", f"http://{name}:{server.port}/"))
            assert f"Host: {name}:{server.port}\r\n" in server.requests[-1]
    why = unhealthy(names(PYENTRY, "--healthcheck", "--timeout", SOON, "http://nobody.example/"))
    assert why.endswith(f"the look-up of the name has no answer within {SOON}")
    assert "no address" in unhealthy(check("http://..../"))
    no_thread = ["strace", "-qq", "-o", os.devnull, "-e", "inject=?clone3,clone:error=EAGAIN"]
    done = run([*no_thread, PYENTRY, "--healthcheck", "http://nobody.example/"])
    assert unhealthy(done).endswith("the name cannot be looked up: Resource temporarily unavailable")


# --- real servers ---

def served(*argv):
    return Service(argv, cwd=HERE / "served")


def find(program):
    path = shutil.which(program, path="/usr/bin:" + os.environ.get("PATH", ""))
    return path or pytest.skip(f"{program} is not installed")


def test_the_http_server_of_python(tmp_path):
    (tmp_path / "index.html").write_text("hello\n")
    with Service([PYTHON, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"], cwd=tmp_path) as service:
        url = service.wait_for(r"\((http://\S+:\d+/)\)").group(1)
        for _ in range(20):
            healthy(check(url))
        assert "it answered 404" in unhealthy(check(url + "nothing"))
        service.wait_for('"GET /nothing HTTP/1.1" 404')
        assert service.matches("Traceback|Error|reset") == []


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_gunicorn(worker, tmp_path):
    """On a port and on a socket."""
    path = str(tmp_path / "g.sock")
    argv = [find("gunicorn"), "-k", worker, "-b", "127.0.0.1:0", "-b", f"unix:{path}", "--access-logfile", "-",
            "--no-control-socket", "wsgi_app:app"]
    if "--no-control-socket" not in run([argv[0], "--help"]).stdout.decode():
        argv.remove("--no-control-socket")
    with served(*argv) as service:
        url = service.wait_for(r"Listening at: (http://\S+:\d+)").group(1)
        service.wait_for("Booting worker")
        for target in (url, f"unix:{path}", f"unix://{path}:/live"):
            healthy(check("--timeout=20s", target))
        service.wait_for(r"GET /live .* 200")
        assert service.matches("pyentry-healthcheck/") != []
        assert service.matches("Traceback|Error|reset") == []


def test_uvicorn(tmp_path):
    """On a port, then on a socket."""
    path = str(tmp_path / "u.sock")
    for where in (["--port", "0"], ["--uds", path]):
        with served(find("uvicorn"), *where, "asgi_app:app") as service:
            found = service.wait_for(r"Uvicorn running on (http://\S+:\d+|unix socket)")
            url = found.group(1) if found.group(1).startswith("http") else f"unix:{path}"
            healthy(check("--timeout=20s", url))
            service.wait_for(r'"GET / HTTP/1.1" 200')
            assert service.matches("Traceback|Error|reset") == []
