# SPDX-License-Identifier: MIT
"""Eight threads put, eight get, time-outs run out, signals strike: nothing is lost, comes twice or overtakes.

    python tests/stress.py --items 1000000            the full size: a million items through each kind of queue
    python tests/stress.py --items 1000000 Lifo       the kinds whose name has that in it
    python tests/stress.py --help

The suite runs it with few items (test_stress.py). Besides the sixteen threads, the main thread puts and gets, and all
the while a timer's signal interrupts it: the handler puts to and gets from the very queue, and now and then raises out of
what it interrupted. What must come out:

- every item of a producer exactly once, though half of the puts and gets have a time-out of well under a millisecond;
- in a first-in first-out queue, to each consumer, every producer's items in the order in which it put them. (Where gets are
  struck as well, an item that was given back comes late to whoever was given the next ones meanwhile: no order there.)
- an item whose put() was ended by the handler's exception once or not at all; no get() that was so ended loses one;
- a count of unfinished tasks that is 0 when every item was taken and declared done.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import random
import signal
import sys
import threading
import time
from collections import deque
from itertools import count, repeat, starmap

from plait.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue

PRODUCERS = CONSUMERS = 8
MAIN, HANDLER = PRODUCERS, PRODUCERS + 1  # as producers
STRIDE = 16  # item = number * STRIDE + producer: an integer, so that it has a place in a PriorityQueue
END = -1  # where there is no shutdown()

# On PyPy an exception out of a handler can lose what a call has just returned, and leave a lock locked: see the package's
# README.
MAY_RAISE = sys.implementation.name == "cpython"


class Struck(Exception):
    """What the handler raises."""


class Hooked(Queue):
    """As third parties keep items: in a container of its own, from right to left, each step one call."""

    def _get(self):
        return self.shelf.pop()

    def _put(self, item):
        self.shelf.appendleft(item)

    def _init(self, maxsize):
        self.shelf = deque()

    def _qsize(self):
        return len(self.shelf)


def looked_into(q):
    """With the mutex and the Conditions that the standard queue has."""
    q.not_empty, q.not_full, q.all_tasks_done, q.mutex  # noqa: B018
    return q


def fallback():
    """The SimpleQueue for interpreters that have none."""
    return importlib.import_module(Queue.__module__ + "._simple").SimpleQueue()


FIFO = {
    "Queue": Queue,
    "Queue of 100": lambda: Queue(100),
    "Queue of 1": lambda: Queue(1),
    "Queue looked into": lambda: looked_into(Queue()),
    "Queue of 100 looked into": lambda: looked_into(Queue(100)),
    "subclass with hooks": lambda: Hooked(100),
    "SimpleQueue": SimpleQueue,
    "SimpleQueue fallback": fallback,
}
KINDS = FIFO | {
    "Queue, gets struck too": Queue,
    "Queue of 1, gets struck": lambda: Queue(1),
    "Queue of 100, gets struck": lambda: Queue(100),
    "LifoQueue": LifoQueue,
    "LifoQueue of 100": lambda: LifoQueue(100),
    "PriorityQueue": PriorityQueue,
    "PriorityQueue of 100": lambda: PriorityQueue(100),
}


class Run:
    """One queue and all who use it."""

    def __init__(self, q, items, in_order):
        self.q = q
        self.in_order = in_order
        self.each = -(-items // PRODUCERS)
        self.counts = hasattr(q, "task_done")
        self.may_raise = MAY_RAISE and not isinstance(q, Hooked)  # whose own calls can be cut short
        # On PyPy a handler may disturb the PriorityQueue that it interrupts, the README says.
        self.nests = sys.implementation.name == "cpython" or not isinstance(q, PriorityQueue)
        self.has_many = hasattr(q, "put_many")
        self.taken = [[] for _ in range(CONSUMERS + 2)]  # the main thread and the handler take, too
        self.refused = 0
        self.problems = []
        self.begin = threading.Barrier(PRODUCERS + CONSUMERS + 1)
        # Of the main thread and its handler:
        self.armed = self.handling = False
        self.struck = self.handled = 0
        self.certain, self.tried, self.from_handler = set(), set(), set()
        self.numbers = count()
        self.rng = random.Random(0)
        self.busy = True

    # -- the sixteen

    def produce(self, mine):
        rng = random.Random(mine)
        self.begin.wait()
        n = 0
        while n < self.each:
            patience = rng.choice((None, 0.00005, 0.001))
            if self.has_many and rng.random() < 0.05:
                wanted = [k * STRIDE + mine for k in range(n, min(n + 9, self.each))]
                try:
                    self.q.put_many(wanted, timeout=patience)
                    n += len(wanted)
                except Full as refused:
                    self.refused += 1
                    n += len(wanted) - len(refused.remaining)
            else:
                try:
                    self.q.put(n * STRIDE + mine, timeout=patience)
                    n += 1
                except Full:
                    self.refused += 1

    def consume(self, taken, seed):
        rng = random.Random(-seed)
        self.begin.wait()
        while True:
            patience = rng.choice((None, 0.00005, 0.001))
            try:
                if self.has_many and rng.random() < 0.05:
                    items = self.q.get_many(rng.choice((None, 1, 7)), timeout=patience)
                else:
                    items = [self.q.get(timeout=patience)]
            except Empty:
                continue
            except ShutDown:
                return
            if items[0] == END:
                return
            taken += items
            if self.counts:
                for _ in items:
                    self.q.task_done()

    def watched(self, work, *args):
        try:
            work(*args)
        except BaseException as problem:  # it is told at the end
            self.problems.append(problem)
            self.begin.abort()
            raise

    # -- the main thread, and what interrupts it

    def handle(self, *_):
        if self.handling:
            return  # held up for long, it is not to be struck: it does not say what it has tried
        self.handled += 1
        self.handling = True
        if self.nests:
            self.put_and_get_in_between()
        self.handling = False
        raising = self.armed and self.rng.random() < 0.5
        if self.busy:
            self.wind_up(self.rng.uniform(0.0001, 0.002))
        if raising:
            self.armed = False
            self.struck += 1
            raise Struck

    @staticmethod
    def wind_up(seconds):
        # And once more, should it come in the last instructions before the main thread sleeps, where none wakes it.
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.05)

    def put_and_get_in_between(self):
        mine = next(self.numbers) * STRIDE + HANDLER
        try:
            self.q.put(mine, block=False)
            self.from_handler.add(mine)
        except Full:
            pass
        if self.rng.random() < 0.5:
            try:
                self.note(self.q.get(block=False), self.taken[-1])
            except Empty:
                pass

    def note(self, item, taken):
        taken.append(item)
        if self.counts:
            self.q.task_done()

    def put_and_get(self):
        mine = next(self.numbers) * STRIDE + MAIN
        self.tried.add(mine)
        try:
            try:
                self.armed = self.may_raise
                self.q.put(mine, timeout=self.rng.choice((0.00005, 0.001)))
                self.armed = False
                self.certain.add(mine)
            except Full:
                self.armed = False
                self.tried.discard(mine)
        except Struck:
            pass  # put or not
        done = len(self.taken[-2])
        try:
            try:
                self.armed = self.may_raise and not self.in_order
                # A result that a C function has just returned is on nobody's list if the exception strikes now; what a
                # `for` takes from a C iterator is.
                for item in starmap(self.q.get, repeat(self.how_to_get(), 1)):
                    self.taken[-2].append(item)
                self.armed = False
            except Empty:
                self.armed = False
        except Struck:
            pass  # taken and on the list, or not
        if self.counts and len(self.taken[-2]) > done:
            self.q.task_done()

    def how_to_get(self):
        # Up to 3.12 the SimpleQueue in C may wait for ever although it was given a time-out, if the item that woke it is
        # taken by somebody else, and the time is over by then. Other threads are always woken in the end; nobody else
        # would wake the main thread when the producers have ended.
        if sys.version_info < (3, 13) and type(self.q).__module__ == "_queue":
            return (False,)
        return (True, self.rng.choice((0.00005, 0.001)))

    def go(self):
        threads = [
            threading.Thread(target=self.watched, args=(self.produce, p), daemon=True)
            for p in range(PRODUCERS)
        ]
        takers = [
            threading.Thread(target=self.watched, args=(self.consume, self.taken[c], c), daemon=True)
            for c in range(CONSUMERS)
        ]
        for thread in threads + takers:
            thread.start()
        signal.signal(signal.SIGALRM, self.handle)
        self.begin.wait()
        self.wind_up(0.001)
        while any(thread.is_alive() for thread in threads) and not self.problems:
            self.put_and_get()
        self.busy = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self.counts:
            if not self.problems:
                assert self.q.join(timeout=100), f"{self.q.unfinished_tasks} tasks are said to be unfinished"
            self.q.shutdown()
        else:
            for _ in takers:
                self.q.put(END)
        for thread in takers:
            thread.join(100)
            assert not thread.is_alive(), "a consumer was never woken"
        assert not self.problems, self.problems

    def check(self):
        everything = [item for one in self.taken for item in one]
        seen = set(everything)
        assert len(seen) == len(everything), f"{len(everything) - len(seen)} items came twice"
        wanted = {n * STRIDE + p for p in range(PRODUCERS) for n in range(self.each)}
        wanted |= self.certain | self.from_handler
        assert wanted <= seen, f"{len(wanted - seen)} items are lost, such as {sorted(wanted - seen)[:5]}"
        assert seen <= wanted | self.tried, f"items that nobody put: {sorted(seen - wanted - self.tried)[:5]}"
        if self.in_order:
            for taken in self.taken[:CONSUMERS]:
                last = [-1] * STRIDE
                for item in taken:
                    # The handler may interrupt itself, which leaves no order between its items.
                    assert item > last[item % STRIDE] or item % STRIDE == HANDLER, f"{item} came late"
                    last[item % STRIDE] = item
        assert self.q.qsize() == 0
        return len(everything)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", nargs="*", default=[""], help="kinds with this in their name")
    parser.add_argument("--items", type=int, default=10_000, help="through each queue")
    parser.add_argument("--patience", type=float, default=600, help="seconds until stacks are shown")
    wanted = parser.parse_intermixed_args()
    sys.setswitchinterval(1e-4)
    for kind, make in KINDS.items():
        if any(part in kind for part in wanted.part):
            faulthandler.dump_traceback_later(wanted.patience, exit=True)
            begun = time.perf_counter()
            run = Run(make(), wanted.items, kind in FIFO)
            run.go()
            moved = run.check()
            took = time.perf_counter() - begun
            print(
                f"{kind:26} {moved:9} items, {run.refused:7} puts timed out, {run.handled:6} signals, "
                f"{run.struck:5} raised, {took:6.1f} s",
                flush=True,
            )
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
