# SPDX-License-Identifier: MIT
"""One queue, used by two runs of trio, a run of anyio over asyncio, a loop of asyncio and two threads at once, with scopes
cancelled and timed out at random: every item exactly once. Needs trio and anyio.

    python tests/stress_runs.py --items 100000          the full size: so many items through each kind of queue
    python tests/stress_runs.py --items 100000 Lifo     the kinds whose name has that in it

The suite runs it with few items, where trio and anyio are installed (test_stress.py). Each run has two tasks that put and
two that get. One call in three of a task is cut short: by `move_on_after`, or by the cancellation of the nursery that it is
made in, some turns later, be it before it is served, at that moment, or after. What must come out is what stress_async.py
tells.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import random
import sys
import threading
import time
from collections import Counter

import anyio
import trio

from plait.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown

STRIDE, TASKS = 16, 2
PATIENCE = (None, None, 0.0003, 0.002)
RUNS = {
    "trio": lambda main: trio.run(main, trio, 0),
    "another trio": lambda main: trio.run(main, trio, 2),
    "anyio": lambda main: anyio.run(main, anyio, 4),
}
FROM_ASYNCIO, FROM_A_THREAD = 6, 7  # the first numbers of who else puts
GIVERS = 8

KINDS = {
    "Queue": Queue,
    "Queue of 10": lambda: Queue(10),
    "Queue of 1": lambda: Queue(1),
    "LifoQueue of 3": lambda: LifoQueue(3),
    "PriorityQueue of 10": lambda: PriorityQueue(10),
}


def nursery(library):
    return library.open_nursery() if library is trio else library.create_task_group()


class Run:
    """One queue and all who use it."""

    def __init__(self, q, items):
        self.q = q
        self.each = -(-items // GIVERS)
        self.events = Counter()
        self.taken = []
        self.certain, self.perhaps = [], []
        self.problems = []

    def note(self, items):
        self.taken += items
        for _ in items:
            self.q.task_done()

    async def cut_short(self, library, rng, call, *args):
        """Whether the call came to its end, as a list of what it returned."""
        done = []

        async def make():
            done.append(await call(*args))

        if rng.random() < 0.5:
            with library.move_on_after(rng.choice((0, 0.0001, 0.001))):
                await make()
        else:
            async with nursery(library) as group:
                group.start_soon(make)
                for _ in range(rng.randrange(4)):
                    await library.sleep(0)
                group.cancel_scope.cancel()
        self.events["calls done" if done else "calls cut short"] += 1
        return done

    async def agive(self, library, mine):
        rng = random.Random(mine)
        for n in range(self.each):
            item = n * STRIDE + mine
            if rng.random() < 0.3:
                done = await self.cut_short(library, rng, self.q.aput, item)
                (self.certain if done else self.perhaps).append(item)
            else:
                while True:
                    try:
                        await self.q.aput(item, timeout=rng.choice(PATIENCE))
                        break
                    except Full:
                        self.events["time-outs"] += 1
                self.certain.append(item)
            if rng.random() < 0.05:
                await library.sleep(0)

    async def atake(self, library, seed):
        rng = random.Random(-seed)
        while not self.q.is_shutdown:
            try:
                if rng.random() < 0.35:
                    for items in await self.cut_short(library, rng, self.take_unless_shut_down):
                        self.note(items)
                    await library.sleep(0)
                else:
                    self.note([await self.q.aget(timeout=rng.choice(PATIENCE))])
            except Empty:
                self.events["time-outs"] += 1
            except ShutDown:
                return

    async def take_unless_shut_down(self):
        try:
            return [await self.q.aget()]
        except ShutDown:  # which a nursery would wrap in a group
            return []

    async def all_of(self, library, first):
        async with nursery(library) as group:
            for k in range(first, first + TASKS):
                group.start_soon(self.agive, library, k)
                group.start_soon(self.atake, library, k)

    def in_asyncio(self):
        async def main():
            for n in range(self.each):
                item = n * STRIDE + FROM_ASYNCIO
                task = asyncio.ensure_future(self.q.aput(item))
                for _ in range(n % 4):
                    await asyncio.sleep(0)
                if n % 3 == 0:
                    task.cancel()
                await asyncio.wait([task])
                (self.perhaps if task.cancelled() else self.certain).append(item)

        asyncio.run(main())

    def in_a_thread(self):
        for n in range(self.each):
            self.q.put(n * STRIDE + FROM_A_THREAD)
            self.certain.append(n * STRIDE + FROM_A_THREAD)
        for item in self.q:
            self.note([item])

    def watched(self, work, *args):
        try:
            work(*args)
        except BaseException as problem:  # it is told at the end
            self.problems.append(problem)
            raise

    def go(self):
        works = [(run, self.all_of) for run in RUNS.values()] + [(self.in_asyncio,), (self.in_a_thread,)]
        threads = [threading.Thread(target=self.watched, args=work, daemon=True) for work in works]
        for thread in threads:
            thread.start()
        while len(self.certain) + len(self.perhaps) < self.each * GIVERS and not self.problems:
            time.sleep(0.005)
        assert not self.problems, self.problems
        assert self.q.join(timeout=100), f"{self.q.unfinished_tasks} tasks are said to be unfinished"
        self.q.shutdown()
        for thread in threads:
            thread.join(100)
            assert not thread.is_alive(), "somebody was never woken"
        assert not self.problems, self.problems

    def check(self):
        seen = set(self.taken)
        assert len(seen) == len(self.taken), f"{len(self.taken) - len(seen)} items came twice"
        lost, strange = set(self.certain) - seen, seen - set(self.certain) - set(self.perhaps)
        assert not lost, f"{len(lost)} items are lost, such as {sorted(lost)[:5]}"
        assert not strange, f"items that nobody put: {sorted(strange)[:5]}"
        assert self.q.qsize() == self.q.unfinished_tasks == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", nargs="*", default=[""], help="kinds with this in their name")
    parser.add_argument("--items", type=int, default=10_000, help="through each queue")
    parser.add_argument("--patience", type=float, default=900, help="seconds until stacks are shown")
    wanted = parser.parse_intermixed_args()
    sys.setswitchinterval(1e-3)
    for kind, make in KINDS.items():
        if any(part in kind for part in wanted.part):
            faulthandler.dump_traceback_later(wanted.patience, exit=True)
            begun = time.perf_counter()
            run = Run(make(), wanted.items)
            run.go()
            run.check()
            told = ", ".join(f"{number} {what}" for what, number in sorted(run.events.items()))
            print(
                f"{kind:20} {len(run.taken):8} items, {told}, {time.perf_counter() - begun:.1f} s", flush=True
            )
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
