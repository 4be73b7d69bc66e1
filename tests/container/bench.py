"""The table of docs/images.md: sizes of images, and their cold starts, from `podman create` to the first answer.

    tests/container/run BUILD --bench [ROUNDS]      (make bench-container)

All containers start in one network namespace, which is there before them: in it a thread asks until it is answered. The
images take turns. The table has the shortest of each one's rounds, and the median of the CPU time that the container has used
by then, which a busy machine hardly disturbs. The first row is a static C server: what podman, runc and the kernel take.
"""

import ctypes
import fcntl
import json
import os
import socket
import statistics
import struct
import sys
import threading
import time

from containers import CLONE_NEWNET, DEADLINE, PORT, podman

IMAGES = {
    "answer": "a static C server of a screen, FROM scratch",
    "hello-tini": "Debian, python3, tini: `tini -- python3 -u -m hello`",
    "hello-debian": "Debian, python3, pyentry: `pyentry -m hello`",
    "hello-scratch-debian": "FROM scratch, a bundle with `--stdlib`",
    "hello-scratch-snapshot": "the same with a snapshot in it",
}
ROUNDS = 20
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


class Network(threading.Thread):
    """A namespace with a loopback, and who asks in there."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ready, self.asked, self.answered = threading.Semaphore(0), threading.Semaphore(0), threading.Semaphore(0)
        self.start()
        self.ready.acquire()

    def run(self):
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        with socket.socket() as any_socket:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
        self.path = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
        self.ready.release()
        while True:
            self.asked.acquire()
            self.first = first_answer()
            self.answered.release()


def first_answer():
    """When port 8080 first answers; None if it does not."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", PORT), DEADLINE) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                if connection.recv(12).endswith(b" 200"):
                    return time.monotonic()
        except OSError:
            time.sleep(0.001)
    return None


def cpu_time(name):
    """Milliseconds of CPU that the container's control group has used, of version 1 or 2."""
    path = json.loads(podman("inspect", name).stdout)[0]["State"]["CgroupPath"]
    try:
        with open(f"/sys/fs/cgroup/cpuacct{path}/cpuacct.usage") as file:
            return int(file.read()) / 1e6
    except FileNotFoundError:
        with open(f"/sys/fs/cgroup{path}/cpu.stat") as file:
            return int(file.readline().split()[1]) / 1e3


def cold_start(image, network):
    """(milliseconds from create to the first answer, milliseconds of CPU)"""
    began = time.monotonic()
    network.asked.release()
    name = podman("run", "--detach", f"--network=ns:{network.path}", image).stdout.split()[-1]
    network.answered.acquire()
    used = cpu_time(name)
    podman("rm", "--force", "--time=0", name)
    if network.first is None:
        sys.exit(f"bench: {image} does not answer")
    return (network.first - began) * 1e3, used


def size(image):
    """Megabytes, with its base."""
    return json.loads(podman("image", "inspect", image).stdout)[0]["Size"] / 1e6


def main():
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    network = Network()
    names = [name for name in IMAGES if podman("image", "exists", name, check=False).returncode == 0]
    taken = {name: [] for name in names}
    for number in range(-1, rounds):  # the first warms the caches
        for name in names[number % len(names):] + names[:number % len(names)]:
            one = cold_start(name, network)
            if number >= 0:
                taken[name].append(one)
    print("| image | MB | create → first answer, ms | CPU time, ms |\n| --- | ---: | ---: | ---: |")
    for name in names:
        wall, cpu = zip(*taken[name])
        print(f"| {IMAGES[name]} | {size(name):.1f} | {min(wall):.0f} | {statistics.median(cpu):.0f} |")


if __name__ == "__main__":
    main()
