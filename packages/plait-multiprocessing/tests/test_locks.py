# SPDX-License-Identifier: MIT
"""Lock and RLock, and what becomes of them when their owner dies."""

from __future__ import annotations

import os
import pickle
import random
import signal
import threading
import time

import mp_targets as targets
import pytest
from conftest_helpers import SOON, open_descriptors

from plait import multiprocessing as mp


def test_one_owner_at_a_time(ctx, tmp_path):
    lock = ctx.Lock()
    path = tmp_path / "count"
    path.write_text("0")
    processes = [ctx.Process(target=targets.count_under_lock, args=(lock, str(path), 200)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert path.read_text() == "600"


def test_acquire_without_blocking_and_with_timeout():
    lock = mp.Lock()
    assert lock.acquire()
    assert not lock.acquire(False)
    assert not lock.acquire(block=False)
    begin = time.monotonic()
    assert not lock.acquire(timeout=0.2)
    assert 0.2 <= time.monotonic() - begin < SOON
    assert not lock.acquire(True, 0)
    lock.release()
    with lock as entered:
        assert entered is True
        assert lock.locked()
    assert not lock.locked()


def test_release_of_a_free_lock_is_an_error():
    with pytest.raises(ValueError, match="released too many times"):
        mp.Lock().release()


def test_any_thread_may_release():
    lock = mp.Lock()
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert lock.acquire(timeout=SOON)


def test_any_process_may_release(ctx):
    lock = ctx.Lock()
    lock.acquire()
    process = ctx.Process(target=targets.release_for_parent, args=(lock,))
    process.start()
    assert lock.acquire(timeout=20)
    process.join()


def test_threads_wait_for_each_other():
    lock = mp.Lock()
    inside = []
    worst = []

    def work():
        for _ in range(50):
            with lock:
                inside.append(1)
                worst.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert worst == [1] * 200


def test_lock_of_a_killed_owner_is_soon_free_for_who_waits(ctx):
    lock = ctx.Lock()
    here, there = ctx.Pipe()
    process = ctx.Process(target=targets.acquire_and_tell, args=(lock, there))
    process.start()
    there.close()
    here.recv()
    assert not lock.acquire(timeout=0.1)
    killed_at = []
    timer = threading.Timer(0.3, lambda: (killed_at.append(time.monotonic()), process.kill()))
    timer.start()
    assert lock.acquire(timeout=2 * SOON)
    assert time.monotonic() - killed_at[0] < SOON
    lock.release()
    process.join()
    timer.join()


def test_lock_of_a_killed_owner_is_free_for_who_comes_later_even_before_it_is_reaped(ctx):
    lock = ctx.Lock()
    here, there = ctx.Pipe()
    process = ctx.Process(target=targets.acquire_and_tell, args=(lock, there))
    process.start()
    os.kill(here.recv(), signal.SIGKILL)
    assert lock.acquire(timeout=SOON)
    process.join()


def test_killing_at_any_point_leaves_the_lock_usable(ctx):
    lock = ctx.Lock()
    for round_ in range(3 if ctx.get_start_method() == "spawn" else 20):
        here, there = ctx.Pipe()
        process = ctx.Process(target=targets.hammer_lock_until_killed, args=(lock, there))
        process.start()
        here.recv()
        end = time.monotonic() + 0.001 * (round_ + random.random())
        while time.monotonic() < end:
            with lock:
                pass
        process.kill()
        assert lock.acquire(timeout=SOON)
        lock.release()
        process.join()


def test_lock_can_be_used_by_a_handler_that_interrupts_it():
    """Hundreds of signals into a loop that does nothing but acquire and release."""
    lock, other = mp.Lock(), mp.RLock()
    calls = []

    def handler(*_):
        if lock.acquire(False):
            lock.release()
        with other:
            calls.append(1)
        signal.setitimer(signal.ITIMER_REAL, 0.0005)  # the next comes when this one is done

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    try:
        end = time.monotonic() + 0.5
        while time.monotonic() < end or len(calls) <= 50:
            with other:
                pass
            if lock.acquire(timeout=SOON):
                lock.release()
    finally:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not lock.locked()
    assert not other.locked()


def test_rlock_counts_and_belongs_to_a_thread():
    lock = mp.RLock()
    with lock, lock:
        outcome = []
        thread = threading.Thread(target=lambda: outcome.append(lock.acquire(False)))
        thread.start()
        thread.join()
        assert outcome == [False]
    assert not lock.locked()
    with pytest.raises(AssertionError, match="not owned"):
        lock.release()


def test_rlock_of_a_killed_owner_is_free(ctx):
    lock = ctx.RLock()
    here, there = ctx.Pipe()
    process = ctx.Process(target=targets.acquire_and_tell, args=(lock, there))
    process.start()
    there.close()
    here.recv()
    process.kill()
    assert lock.acquire(timeout=SOON)
    lock.release()
    process.join()


def test_lock_is_shared_by_inheritance_only():
    for shared in (mp.Lock(), mp.RLock(), mp.Queue(), mp.Value("i")):
        with pytest.raises(RuntimeError, match="inheritance"):
            pickle.dumps(shared)


def test_locks_leave_no_descriptors():
    mp.Lock().acquire()
    before = open_descriptors()
    for _ in range(200):
        with mp.Lock():
            pass
    assert open_descriptors() <= before


def test_repr_names_the_owner():
    lock = mp.Lock()
    assert "unlocked" in repr(lock)
    with lock:
        assert "this process" in repr(lock)
