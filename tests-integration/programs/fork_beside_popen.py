# SPDX-License-Identifier: MIT
"""Workers are forked while other threads start children with pipes: no worker may keep such a pipe open.

A worker that inherited the writing end of somebody's pipe would keep `communicate` waiting for as long as it lives.
"""

from __future__ import annotations

import time

from plait import multiprocessing
from plait.queue import SimpleQueue
from plait.subprocess import PIPE, Popen
from plait.threading import Event, Thread

THREADS, EACH = 3, 60


def stay(connection: object) -> None:
    connection.recv()


def compress(done: SimpleQueue) -> None:
    for _ in range(EACH):
        child = Popen(["echo", "through"], stdout=PIPE)
        output, _ = child.communicate(timeout=20)
        assert output == b"through\n"
        assert child.returncode == 0
    done.put("done")


def main() -> None:
    context = multiprocessing.get_context("fork")
    done: SimpleQueue = SimpleQueue()
    threads = [Thread(target=compress, args=(done,), daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    workers = []
    pause = Event()
    while any(thread.is_alive() for thread in threads) and len(workers) < 40:
        ours, theirs = context.Pipe()
        worker = context.Process(target=stay, args=(theirs,), daemon=True)
        worker.start()
        workers.append((worker, ours))
        pause.wait(0.01)
    limit = time.monotonic() + 40
    for _ in threads:
        assert done.get(timeout=limit - time.monotonic()) == "done"
    for _, ours in workers:
        ours.send(None)
    for worker, _ in workers:
        worker.join(20)
        assert worker.exitcode == 0, worker
    print("right", len(workers))


if __name__ == "__main__":
    main()
