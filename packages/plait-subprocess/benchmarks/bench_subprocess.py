# SPDX-License-Identifier: MIT
"""What plait.subprocess is timed at, and beside what.

    python benchmarks/bench_subprocess.py [part of a name]      the ratio of the medians of nine rounds, taken in turn

Each function is a workload: `impl` is the module to use, `n` the number of operations. What it does between its two
`yield`s is timed. Most of it is the kernel's work, which no module can change: the bounds say how much is left.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import statistics
import sys
import threading
import time
from functools import partial
from importlib import import_module
from types import SimpleNamespace

AREA = "subprocess"
STANDARD = "subprocess"
PLAIT = "plait.subprocess"

CROWD = 8
MB = 1_000_000
TRUE = shutil.which("true") or "/bin/true"
HEAD = shutil.which("head") or "/usr/bin/head"
SLEEP = shutil.which("sleep") or "/bin/sleep"
TWO_STREAMS = f"head -c {20 * MB} /dev/zero & head -c {20 * MB} /dev/zero >&2; wait"


def run_it(impl, n, command, **options):
    yield
    for _ in range(n):
        impl.run(command, **options)
    yield


def run_in_threads(impl, n):
    yield from in_threads(n, partial(impl.run, ["true"]))


def in_threads(n, call):
    """`n` calls by so many threads at a time."""
    gate = threading.Event()

    def work(share):
        gate.wait()
        for _ in range(share):
            call()

    shares = [n // CROWD + (number < n % CROWD) for number in range(CROWD)]
    threads = [threading.Thread(target=work, args=(share,), daemon=True) for share in shares]
    for thread in threads:
        thread.start()
    yield
    gate.set()
    for thread in threads:
        thread.join()
    yield


def check_output(impl, n):
    yield
    for _ in range(n):
        impl.check_output(["echo", "x"])
    yield


def wait_10_ms(impl, n):
    yield
    for _ in range(n):
        impl.Popen([SLEEP, "0.01"]).wait(5)
    yield


def poll_live_child(impl, n):
    child = impl.Popen(["cat"], stdin=impl.PIPE)
    yield
    for _ in range(n):
        child.poll()
    yield
    child.stdin.close()
    child.wait()


def in_and_out(impl, n):
    data = b"x" * (50 * MB)
    yield
    for _ in range(n):
        child = impl.Popen(["cat"], stdin=impl.PIPE, stdout=impl.PIPE)
        child.communicate(data)
    yield
    child.wait()


def out_and_err(impl, n):
    yield
    for _ in range(n):
        child = impl.Popen(["/bin/sh", "-c", TWO_STREAMS], stdout=impl.PIPE, stderr=impl.PIPE)
        child.communicate()
    yield
    child.wait()


def one_stream(impl, n):
    yield
    for _ in range(n):
        child = impl.Popen([HEAD, "-c", str(100 * MB), "/dev/zero"], stdout=impl.PIPE)
        child.communicate()
    yield
    child.wait()


# -- bounds ------------------------------------------------------------------------------------------------------------


def native_start():
    """A function that starts a program by the C library's posix_spawn, which the GIL does not see, and returns its pid."""
    spawn = ctypes.CDLL(None).posix_spawn
    environment = (ctypes.c_char_p * (len(os.environb) + 1))(
        *(name + b"=" + value for name, value in os.environb.items()), None
    )

    def start(*command):
        argv = (ctypes.c_char_p * (len(command) + 1))(*map(os.fsencode, command), None)
        pid = ctypes.c_int()
        problem = spawn(ctypes.byref(pid), argv[0], None, None, argv, environment)
        if problem:
            raise OSError(problem, os.strerror(problem), command[0])
        return pid.value

    return start


def bare_start(_, n, command):
    start = native_start()
    yield
    for _ in range(n):
        os.waitpid(start(*command), 0)
    yield


def bare_start_in_threads(_, n):
    start = native_start()
    yield from in_threads(n, lambda: os.waitpid(start(TRUE), 0))


def throw_away(_, n):
    """100 MB of one stream, read into the same megabyte again and again."""
    buffer = bytearray(1 << 20)
    yield
    for _ in range(n):
        source, target = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, target, 1)]
        child = os.posix_spawn(
            HEAD, [HEAD, "-c", str(100 * MB), "/dev/zero"], os.environ, file_actions=actions
        )
        os.close(target)
        while os.readv(source, [buffer]):
            pass
        os.close(source)
        os.waitpid(child, 0)
    yield


# -- peers -------------------------------------------------------------------------------------------------------------


def psutil():
    """It has a Popen that is one of the standard module with other waits; the rest as one would write it."""
    kind, standard = import_module("psutil").Popen, import_module("subprocess")

    def run(command, timeout=None, capture_output=False, **options):
        if capture_output:
            options.update(stdout=standard.PIPE, stderr=standard.PIPE)
        with kind(command, **options) as child:
            if capture_output:
                child.communicate(timeout=timeout)
            else:
                child.wait(timeout)

    def check_output(command):
        with kind(command, stdout=standard.PIPE) as child:
            return child.communicate()[0]

    return SimpleNamespace(Popen=kind, PIPE=standard.PIPE, run=run, check_output=check_output)


def gevent():
    return import_module("gevent.subprocess")


PEERS = {"psutil": psutil, "gevent": gevent}

BARE = ("posix_spawn by C", partial(bare_start, command=[TRUE]))

#: Floor and goal: the ratio to the standard module that must, and that should, be reached.
WORKLOADS = [
    {
        "name": "run true",
        "run": partial(run_it, command=["true"]),
        "floor": 1.05,
        "goal": 1.2,
        "bound": BARE,
    },
    {
        "name": "run true, close_fds=False",
        "run": partial(run_it, command=[TRUE], close_fds=False),
        "floor": 1.05,
        "goal": 1.2,
        "bound": BARE,
    },
    {
        "name": "8 threads run true",
        "run": run_in_threads,
        "n": 3 * CROWD,
        "floor": 1.1,
        "goal": 1.4,
        "bound": ("posix_spawn by C", bare_start_in_threads),
        "peers": "psutil",
    },
    {"name": "check_output", "run": check_output, "floor": 1.05, "goal": 1.2},
    {
        "name": "run with 2 pipes",
        "run": partial(run_it, command=["echo", "x"], capture_output=True),
        "floor": 1.05,
        "goal": 1.2,
    },
    {
        "name": "wait(timeout), child ends at 10 ms",
        "run": wait_10_ms,
        "goal": 1.4,
        "bound": ("posix_spawn and waitpid by C", partial(bare_start, command=[SLEEP, "0.01"])),
        "note": "floor: no polling, 1 ms past the bound at most",
    },
    {"name": "run(timeout=5) of true", "run": partial(run_it, command=["true"], timeout=5), "goal": 1.4},
    {"name": "poll() of a live child", "run": poll_live_child},
    {"name": "communicate 50 MB in and out (cat)", "run": in_and_out, "n": 1, "floor": 2, "goal": 3.5},
    {"name": "communicate out+err, 20 MB each", "run": out_and_err, "n": 1},
    {
        "name": "communicate 100 MB of one stream",
        "run": one_stream,
        "n": 1,
        "floor": 1.0,
        "goal": 1.1,
        "bound": ("a reader that throws the data away", throw_away),
    },
]


def seconds(run, impl, n):
    """One round of a workload."""
    steps = run(impl, n)
    next(steps)
    started = time.perf_counter()
    measured = next(steps)
    ended = time.perf_counter()
    for _ in steps:
        pass
    return measured or ended - started


def main(part=""):
    standard, ours = import_module(STANDARD), import_module(PLAIT)
    for workload in WORKLOADS:
        if part in workload["name"]:
            run, n = workload["run"], workload.get("n", 10)
            pairs = [(seconds(run, standard, n), seconds(run, ours, n)) for _ in range(9)]
            theirs, mine = map(statistics.median, zip(*pairs, strict=True))
            print(f"{workload['name']:40} {theirs / mine:6.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
