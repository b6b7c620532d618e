# SPDX-License-Identifier: MIT
"""Queue: between threads, between processes, and with processes that are killed in it."""

from __future__ import annotations

import collections
import os
import pickle
import queue as stdlib_queue
import socket
import sys
import threading
import time

import mp_targets as targets
import pytest
from conftest_helpers import SOON, open_descriptors
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plait import multiprocessing as mp
from plait import queue as plait_queue
from plait.multiprocessing import queues


class QueueMachine(RuleBasedStateMachine):
    """One process: a queue of processes is a deque with a limit."""

    def __init__(self):
        super().__init__()
        self.maxsize = 3
        self.queue = mp.Queue(self.maxsize)
        self.model = collections.deque()

    @rule(item=st.one_of(st.integers(), st.binary(max_size=100), st.just(b"L" * 100_000)))
    def put(self, item):
        if len(self.model) < self.maxsize:
            self.queue.put_nowait(item)
            self.model.append(item)
        else:
            with pytest.raises(queues.Full):
                self.queue.put_nowait(item)

    @rule()
    def get(self):
        if self.model:
            assert self.queue.get_nowait() == self.model.popleft()
        else:
            with pytest.raises(queues.Empty):
                self.queue.get_nowait()

    @precondition(lambda self: not self.model)
    @rule()
    def get_times_out(self):
        with pytest.raises(queues.Empty):
            self.queue.get(timeout=0.001)

    @invariant()
    def counts(self):
        assert self.queue.qsize() == len(self.model)
        assert self.queue.empty() == (not self.model)
        assert self.queue.full() == (len(self.model) == self.maxsize)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)


def test_exceptions_are_those_of_the_queue_module():
    assert queues.Empty is plait_queue.Empty
    assert queues.Full is plait_queue.Full
    assert issubclass(queues.Empty, stdlib_queue.Empty) or sys.implementation.name == "pypy"


def test_items_of_many_processes_arrive_once_and_in_their_order(ctx):
    queue = ctx.Queue()
    processes = [ctx.Process(target=targets.put_numbers, args=(queue, who, 300)) for who in range(3)]
    for process in processes:
        process.start()
    seen = collections.defaultdict(list)
    for _ in range(900):
        who, number = queue.get(timeout=20)
        seen[who].append(number)
    assert all(seen[who] == list(range(300)) for who in range(3))
    for process in processes:
        process.join(20)
    assert queue.qsize() == 0


def test_items_go_to_exactly_one_of_many_readers(ctx):
    queue = ctx.Queue()
    pipes = [ctx.Pipe(False) for _ in range(2)]
    processes = [ctx.Process(target=targets.get_and_forward, args=(queue, writer, 50)) for _, writer in pipes]
    for process in processes:
        process.start()
    for i in range(100):
        queue.put(i)
    got = [reader.recv() for reader, _ in pipes for _ in range(50)]
    assert sorted(got) == list(range(100))
    for process in processes:
        process.join(20)


def test_it_is_empty_although_its_feeder_has_not_struck_off_yet_what_was_taken():
    queue = mp.Queue()
    queue._backlog.append((b"sent, and taken", -1))
    assert queue.empty()
    queue._backlog.clear()


def test_more_than_the_kernel_holds_can_be_put_without_a_reader():
    queue = mp.Queue()
    for i in range(20_000):
        queue.put(i)
    assert queue.qsize() == 20_000
    assert [queue.get_nowait() for _ in range(20_000)] == list(range(20_000))
    assert queue.empty()


def test_child_that_put_a_megabyte_can_be_joined_before_it_is_taken(ctx):
    queue = ctx.Queue()
    process = ctx.Process(target=targets.put_large, args=(queue, 1_000_000))
    process.start()
    process.join(20)
    assert process.exitcode == 0
    assert queue.get(timeout=SOON) == b"y" * 1_000_000


def test_child_flushes_what_it_put_before_it_ends(ctx):
    queue = ctx.Queue()
    process = ctx.Process(target=targets.put_items, args=(queue, range(20_000)))
    process.start()
    assert [queue.get(timeout=20) for _ in range(20_000)] == list(range(20_000))
    process.join(20)
    assert process.exitcode == 0


@pytest.mark.parametrize("maxsize", [0, 2])
def test_unpicklable_item_raises_in_put_and_changes_nothing(maxsize):
    queue = mp.Queue(maxsize)
    for _ in range(3):
        with pytest.raises(pickle.PicklingError, match="lambda"):
            queue.put(lambda: 0)
    assert queue.qsize() == 0
    queue.put(1)
    assert queue.get_nowait() == 1


@pytest.mark.parametrize("maxsize", [0, 2])
def test_item_that_does_not_unpickle_is_one_error(maxsize):
    queue = mp.Queue(maxsize)
    queue.put(targets.Unloadable())
    queue.put("next")
    with pytest.raises(RuntimeError, match="refuses"):
        queue.get()
    assert queue.get() == "next"
    assert queue.qsize() == 0


@pytest.mark.parametrize("maxsize", [0, 100])
def test_reader_killed_in_get_leaves_the_queue_to_others(ctx, maxsize):
    queue = ctx.Queue(maxsize)
    here, there = ctx.Pipe()
    process = ctx.Process(target=targets.get_for_ever, args=(queue, there))
    process.start()
    here.recv()
    time.sleep(0.1)
    process.kill()
    process.join()
    queue.put("for us")
    assert queue.get(timeout=SOON) == "for us"


def test_writers_killed_anywhere_never_block_a_bounded_queue():
    ctx = mp.get_context("fork")
    queue = ctx.Queue(4)
    for round_ in range(15):
        here, there = ctx.Pipe()
        process = ctx.Process(target=targets.put_for_ever, args=(queue, there))
        process.start()
        here.recv()
        for _ in range(round_):
            queue.get(timeout=SOON)
        process.kill()
        process.join()
        while True:
            try:
                queue.get(timeout=0.02)
            except queues.Empty:
                break
    for i in range(4):
        queue.put(i, timeout=SOON)
    assert [queue.get(timeout=SOON) for _ in range(4)] == [0, 1, 2, 3]


def test_readers_killed_anywhere_never_block_a_bounded_queue():
    ctx = mp.get_context("fork")
    queue = ctx.Queue(4)
    for _ in range(15):
        here, there = ctx.Pipe()
        process = ctx.Process(target=targets.get_for_ever, args=(queue, there))
        process.start()
        here.recv()
        for i in range(50):
            queue.put(i, timeout=SOON)
        process.kill()
        process.join()
        try:
            while True:
                queue.get_nowait()
        except queues.Empty:
            pass
    for i in range(4):
        queue.put(i, timeout=SOON)


def test_full_queue_makes_put_wait_until_there_is_room(ctx):
    queue = ctx.Queue(2)
    here, there = ctx.Pipe()
    queue.put(1)
    queue.put(2)
    assert queue.full()
    with pytest.raises(queues.Full):
        queue.put_nowait(3)
    begin = time.monotonic()
    with pytest.raises(queues.Full):
        queue.put(3, timeout=0.2)
    assert 0.2 <= time.monotonic() - begin < SOON
    process = ctx.Process(target=targets.get_and_forward, args=(queue, there, 3))
    process.start()
    queue.put(3, timeout=20)
    assert [here.recv() for _ in range(3)] == [1, 2, 3]
    process.join(20)


def test_bounded_queue_between_threads():
    queue = mp.Queue(1)
    got = []
    thread = threading.Thread(target=lambda: got.extend(queue.get() for _ in range(200)))
    thread.start()
    for i in range(200):
        queue.put(i, timeout=SOON)
    thread.join(SOON)
    assert got == list(range(200))


def test_get_waits_as_long_as_asked():
    queue = mp.Queue()
    begin = time.monotonic()
    with pytest.raises(queues.Empty):
        queue.get(timeout=0.2)
    assert 0.2 <= time.monotonic() - begin < SOON
    with pytest.raises(queues.Empty):
        queue.get(True, 0)


def test_closed_queue_refuses():
    queue = mp.Queue()
    with pytest.raises(AssertionError):
        queue.join_thread()
    queue.put(1)
    queue.close()
    queue.join_thread()
    with pytest.raises(ValueError, match="closed"):
        queue.put(2)
    with pytest.raises(ValueError, match="closed"):
        queue.get()


def test_exit_with_unsent_items_that_nobody_can_take_does_not_hang(script):
    result = script(
        """
import {mp} as mp
if __name__ == '__main__':
    q = mp.Queue()
    for i in range(20_000):
        q.put(i)
    print('end')
""",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "end\n"


def test_queues_leave_no_descriptors():
    def once():
        queue = mp.Queue(3)
        queue.put(b"x" * 100_000)
        queue.get()

    once()
    before = open_descriptors()
    for _ in range(15):
        once()
    assert open_descriptors() <= before


def test_lost_descriptor_is_an_error_not_a_hang():
    queue = mp.Queue()
    queue.put(b"x" * 100_000)
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fds = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 10, hard))
        try:
            while True:
                fds.append(os.dup(0))
        except OSError:
            pass
        with pytest.raises(OSError, match="descriptor"):
            queue.get()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fds:
            os.close(fd)
    queue.put(2)
    assert queue.get() == 2


def test_feeder_that_cannot_send_says_so_and_makes_room(monkeypatch):
    queue = mp.Queue(1_000)
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reported.append(report.exc_value))
    for _ in range(1_000):
        queue.put(b"i" * 30_000)  # more than the socket takes: the feeder has the rest
    assert queue.full()
    queue._channel.outlet.shutdown(socket.SHUT_RDWR)
    queue.put("there is room again", timeout=SOON)
    queue.close()
    queue.join_thread()
    assert reported
    assert all(isinstance(error, BrokenPipeError) for error in reported)


def test_put_interrupted_at_any_point_keeps_no_place(script):
    result = script(
        """
import random, signal, time
import {mp} as mp
from {mp}.queues import Empty, Full

armed = []

def handler(*_):
    if armed:
        armed.clear()
        raise ZeroDivisionError

def fill():
    armed.append(1)
    while armed:
        try:
            queue.put(0, timeout=0.0001)
        except Full:
            armed.clear()

queue = mp.Queue(3)
queue.put(queue.qsize())
queue.get()
signal.signal(signal.SIGALRM, handler)
interrupted = rounds = 0
end = time.monotonic() + 0.7
while time.monotonic() < end or interrupted < 20:
    rounds += 1  # if it strikes too early, time after time, it has to strike later
    signal.setitimer(signal.ITIMER_REAL, 0.00001 + (0.0001 + 1e-7 * rounds) * random.random())
    try:
        fill()
    except ZeroDivisionError:
        interrupted += 1
    armed.clear()
    try:
        while True:
            queue.get_nowait()
    except Empty:
        pass
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0)
print(queue.qsize())
"""
    )
    assert result.stdout == "0\n", result.stderr
