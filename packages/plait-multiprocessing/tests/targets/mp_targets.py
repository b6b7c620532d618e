# SPDX-License-Identifier: MIT
"""What the children of the tests do. Imports nothing of the package under test: its objects come as arguments."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time


def nothing(*args):
    pass


def sleep_for_ever(*args):
    time.sleep(600)


def tell_start_method(conn, package):
    conn.send(importlib.import_module(package).get_start_method())


def report(conn, package, *args, **kwargs):
    mp = importlib.import_module(package)
    conn.send(
        {
            "pid": os.getpid(),
            "name": mp.current_process().name,
            "daemon": mp.current_process().daemon,
            "parent": mp.parent_process().pid,
            "parent_alive": mp.parent_process().is_alive(),
            "parent_name": mp.parent_process().name,
            "authkey": bytes(mp.current_process().authkey),
            "argv": sys.argv,
            "args": args,
            "kwargs": kwargs,
            "children": len(mp.active_children()),
            "stdin": sys.stdin.read(),
        }
    )


def exit_with(code):
    sys.exit(code)


def raise_base_exception():
    raise BaseException("out of the ordinary")


def kill_self(signum=signal.SIGKILL):
    os.kill(os.getpid(), signum)
    time.sleep(60)


def say_and_sleep(conn):
    conn.send(os.getpid())
    time.sleep(600)


def close_and_sleep(conn, *others):
    conn.send("here")
    conn.close()
    time.sleep(600)


def echo(conn):
    while True:
        obj = conn.recv()
        if obj == "stop":
            return
        conn.send(obj)


def send_large(conn, size):
    conn.send_bytes(b"x" * size)


def acquire_and_tell(lock, conn):
    lock.acquire()
    conn.send(os.getpid())
    time.sleep(600)


def release_for_parent(lock):
    lock.release()


def hammer_lock_until_killed(lock, conn):
    conn.send(os.getpid())
    while True:
        lock.acquire()
        lock.release()


def count_under_lock(lock, path, times):
    for _ in range(times):
        with lock, open(path, "r+") as file:
            value = int(file.read())
            file.seek(0)
            file.write(str(value + 1))


def add(value, times):
    for _ in range(times):
        with value.get_lock():
            value.value += 1


def add_raw(value, n):
    value.value += n


def set_field(structure):
    structure.x = 7


def put_items(queue, items):
    for item in items:
        queue.put(item)


def put_numbers(queue, who, times):
    for i in range(times):
        queue.put((who, i))


def put_large(queue, size):
    queue.put(b"y" * size)


def get_and_forward(queue, conn, times):
    for _ in range(times):
        conn.send(queue.get())


def get_for_ever(queue, conn):
    conn.send(os.getpid())
    while True:
        queue.get()


def put_for_ever(queue, conn):
    conn.send(os.getpid())
    n = 0
    while True:
        queue.put(n)
        n += 1


def start_grandchild(conn, package, method):
    ctx = importlib.import_module(package).get_context(method)
    child = ctx.Process(target=report, args=(conn, package))
    child.start()
    child.join(20)
    conn.send(child.exitcode)


def non_daemon_thread(path):
    def later():
        time.sleep(0.3)
        with open(path, "w") as file:
            file.write("written")

    threading.Thread(target=later).start()


def start_daemon_child_and_return(conn, package, method):
    ctx = importlib.import_module(package).get_context(method)
    child = ctx.Process(target=sleep_for_ever, daemon=True)
    child.start()
    conn.send(child.pid)


class Unloadable:
    """Pickles, and raises when it is unpickled."""

    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise RuntimeError("this item refuses to be unpickled")


def put_and_lock(lock, queue, conn):
    with lock:
        queue.put(1)
    conn.send("done")
