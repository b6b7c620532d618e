# SPDX-License-Identifier: MIT
"""Locks and barriers between processes (rows ML)."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from .evidence import asleep, brief, is_a, noted, one_process, raised_by
from .scenario import Impl, Wrong, returns, scenario


def hold(lock: Any, note: Path) -> None:
    lock.acquire()
    note.write_text(str(os.getpid()))
    time.sleep(60)


def wait_at(barrier: Any, note: Path) -> None:
    note.write_text(str(os.getpid()))
    barrier.wait()


def killed_owner(impl: Impl, kind: str) -> None:
    lock = getattr(impl.multiprocessing, kind)()
    note = Path("owner.pid").absolute()
    child = impl.multiprocessing.Process(target=hold, args=(lock, note))
    child.start()
    owner = int(noted(note))
    # Whoever never locks is always free.
    early = lock.acquire(False)
    os.kill(owner, signal.SIGKILL)
    child.join()
    child.close()
    if early:
        raise Wrong(f"the {kind} was to be had while its owner was alive")
    begun = time.monotonic()
    try:
        taken = returns(5, lock.acquire, timeout=1)
    except Wrong:
        raise
    except Exception as error:
        if not is_a(error, "OwnerDied"):
            raise Wrong(f"acquire() raised {brief(error)!r}") from error
    else:
        if not taken:
            raise Wrong(
                f"the {kind} was not to be had for {time.monotonic() - begun:.1f} s after its owner died"
            )
        # Nothing else takes place in between, but only the thread that has an RLock may give it back.
        if kind == "Lock":
            lock.release()


@scenario(
    "ML1", "a Lock is free within 1 s of its owner's death", reproduced=True, alone=True, warm=one_process
)
def lock_of_the_dead(impl: Impl) -> None:
    killed_owner(impl, "Lock")


@scenario(
    "ML1", "an RLock is free within 1 s of its owner's death", reproduced=True, alone=True, warm=one_process
)
def rlock_of_the_dead(impl: Impl) -> None:
    killed_owner(impl, "RLock")


@scenario(
    "ML2",
    "Barrier.wait(timeout) ends in time though a waiter was killed",
    reproduced=True,
    needs=("multiprocessing.Barrier",),
    alone=True,
    warm=one_process,
)
def barrier_of_the_dead(impl: Impl) -> None:
    barrier = impl.multiprocessing.Barrier(3)
    note = Path("waiter.pid").absolute()
    child = impl.multiprocessing.Process(target=wait_at, args=(barrier, note))
    child.start()
    pid = int(noted(note))
    asleep(pid)
    os.kill(pid, signal.SIGKILL)
    child.join()
    child.close()
    error = raised_by(1 + 1, barrier.wait, timeout=1)
    if not isinstance(error, impl.threading.BrokenBarrierError):
        raise Wrong(f"wait(timeout=1) raised {brief(error)!r}")
