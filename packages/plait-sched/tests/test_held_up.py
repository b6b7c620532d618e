# SPDX-License-Identifier: MIT
"""Whoever is held up while it rearranges the index holds nobody up."""

from __future__ import annotations

import threading
import time

import pytest

from plait.sched import _agenda, scheduler

MANY = 200


def eventually(condition):
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0005)
    return True


@pytest.fixture
def hold_up(monkeypatch):
    """Have *meanwhile* called, as a signal handler might be, in the midst of the next such step of this thread."""

    def arrange(step, meanwhile):
        def held_up(agenda, *args):
            if threading.get_ident() == me and pending:
                pending.pop()()
            return original(agenda, *args)

        me, pending = threading.get_ident(), [meanwhile]
        original = getattr(_agenda.Agenda, step)
        monkeypatch.setattr(_agenda.Agenda, step, held_up)
        return pending

    return arrange


def cancel_many(s):
    for event in [s.enter(3600, 1, print) for _ in range(3 * MANY)]:
        s.cancel(event)


LOOKS = {
    "queue": ("_list", lambda s: s.queue),
    "next_due": ("_look", scheduler.next_due),
    "run": ("_look", lambda s: s.run(blocking=False)),
    "cancel": ("_compact", cancel_many),
}


@pytest.mark.parametrize("call", LOOKS)
def test_a_handler_may_wait_for_the_thread_that_runs_the_scheduler(call, hold_up):
    step, look = LOOKS[call]
    s = scheduler()
    for _ in range(MANY):
        s.enter(3600, 1, print)
    ran, seen = [], []
    ticking = s.every(0.0005, ran.append, (1,))
    thread = s.run_in_thread()
    assert eventually(lambda: ran)

    def handler():
        known = len(ran)
        seen.append(eventually(lambda: len(ran) > known + 3))
        thread.stop()
        thread.join(30)
        seen.append(thread.is_alive())

    waiting = hold_up(step, handler)
    look(s)
    assert not waiting
    assert seen == [True, False]
    ticking.cancel()
    assert len(s.queue) >= MANY
    assert s.queue == sorted(s.queue)
    assert not s._agenda_._given_up


def test_a_run_in_a_handler_leaves_the_runs_of_other_threads_going(hold_up):
    s = scheduler()
    ran, seen = [], []
    ticking = [s.every(0.0005, ran.append, (1,)), s.enter(3600, 1, print)]
    thread = s.run_in_thread()

    def handler():
        def ask():
            known = [1 for name in ran if name == 1]
            seen.append(eventually(lambda: ran.count(1) > len(known) + 3))

        s.enter(0, 0, ask)
        while not seen:
            s.run(blocking=False)

    waiting = hold_up("_look", handler)
    s.next_due()
    assert not waiting
    assert seen == [True]
    for each in ticking:
        s.cancel(each)
    thread.join(10)
    assert not thread.is_alive()


def test_what_is_looked_for_without_the_index_is_found_in_order(hold_up):
    # And what happened to the agenda in the midst of a look counts.
    s = scheduler(lambda: 0, lambda _: None)
    events = [s.enterabs(-n, 1, ran.append, (n,)) for ran in ([],) for n in range(MANY)]
    events.reverse()
    shown = []

    def look():
        shown.append((s.next_due(), s.queue))
        s.cancel(events.pop(0))
        events.append(s.enterabs(1, 1, print))
        shown.append((s.next_due(), s.queue))

    def handler():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(30)

    hold_up("_list", handler)
    before = events[:]
    assert s.queue == events
    assert shown == [(-MANY + 1, before), (-MANY + 2, events)]
    assert s.queue == events
    assert s.next_due() == -MANY + 2


@pytest.mark.parametrize("looks", [scheduler.next_due, scheduler.queue.fget, cancel_many])
def test_cancel_waits_for_nobody_and_what_it_leaves_is_forgotten_by_who_is_in_its_way(
    looks, hold_up, monkeypatch
):
    # Not even for as long as a look would.
    monkeypatch.setattr(_agenda, "PATIENCE", 60)
    s = scheduler()
    keep = s.enter(3600, 1, print)
    events = [s.enter(3600, 1, print) for _ in range(MANY)]
    s.queue  # noqa: B018 - takes them into the index
    s.enter(3600, 1, print)
    ended = []

    def cancel():
        for event in events:
            s.cancel(event)
        ended.append(1)

    def handler():
        thread = threading.Thread(target=cancel, daemon=True)
        thread.start()
        thread.join(30)

    step = {scheduler.next_due: "_look", cancel_many: "_compact"}.get(looks, "_list")
    hold_up(step, handler)
    looks(s)
    assert ended == [1]
    agenda = s._agenda_
    assert len(agenda._ordered) + len(agenda._heap) + len(agenda.arrivals) <= 4 + _agenda.MANY
    assert not agenda._overdue
    assert s.queue[0] is keep


def test_who_gets_the_index_again_is_waited_for_again(monkeypatch):
    monkeypatch.setattr(_agenda, "PATIENCE", 0.3)
    s = scheduler()
    for _ in range(3):
        s.enter(3600, 1, print)
    agenda = s._agenda_
    held, release = threading.Event(), threading.Event()

    def hold():
        with agenda._lock:
            held.set()
            release.wait(100)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    begun = time.monotonic()
    for _ in range(100):
        assert s.next_due() == s.queue[0].time
    # It waited once, not two hundred times.
    assert time.monotonic() - begun < 100 * _agenda.PATIENCE
    assert agenda._given_up
    release.set()
    thread.join(10)
    assert s.next_due() == s.queue[0].time
    assert not agenda._given_up
