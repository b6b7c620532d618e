# SPDX-License-Identifier: MIT
"""One queue, used by four threads and two asyncio loops at once, with tasks cancelled at random and a third loop that dies
over and over: every item exactly once.

    python tests/stress_async.py --items 200000          the full size: so many items through each kind of queue
    python tests/stress_async.py --items 200000 Lifo     the kinds whose name has that in it

The suite runs it with few items (test_stress.py). Two threads put and two get; each loop has three tasks that put and three
that get. One call in five of a task is made in a task of its own, which is cancelled some turns of the loop later, be it
before it is served, at that moment, or after. A seventh thread makes loop after loop with tasks that wait in aget(), and
closes it without a word to them. What must come out:

- every item that was put exactly once, whoever was cancelled or closed on its way;
- an item whose aput() was cancelled once or not at all;
- nobody left waiting, and a count of unfinished tasks that is 0 in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import gc
import random
import sys
import threading
import time
from collections import Counter

from plait.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown

THREADS = 2  # that put, and as many that get
LOOPS, TASKS = 2, 3  # that put, and as many that get
STRIDE = 16
PATIENCE = (None, None, 0.0002, 0.002)

KINDS = {
    "Queue": Queue,
    "Queue of 10": lambda: Queue(10),
    "Queue of 1": lambda: Queue(1),
    "LifoQueue of 10": lambda: LifoQueue(10),
    "PriorityQueue of 10": lambda: PriorityQueue(10),
    "PriorityQueue": PriorityQueue,
}


class Run:
    """One queue and all who use it."""

    def __init__(self, q, items):
        self.q = q
        self.each = -(-items // (THREADS + LOOPS * TASKS))
        self.events = Counter()
        self.taken = []
        self.certain, self.perhaps = [], []
        self.problems = []
        self.busy = True

    def note(self, items):
        self.taken += items
        for _ in items:
            self.q.task_done()

    # -- threads

    def give(self, mine):
        rng = random.Random(mine)
        for n in range(self.each):
            item = n * STRIDE + mine
            while True:
                try:
                    self.q.put(item, timeout=rng.choice(PATIENCE))
                    break
                except Full:
                    self.events["time-outs"] += 1
            self.certain.append(item)

    def take(self, seed):
        rng = random.Random(-seed)
        while True:
            try:
                self.note([self.q.get(timeout=rng.choice(PATIENCE))])
            except Empty:
                self.events["time-outs"] += 1
            except ShutDown:
                return

    # -- tasks

    async def cancelled_soon(self, rng, call):
        """The call in a task of its own, and the fate of that: its result, or None if it was cancelled."""
        task = asyncio.ensure_future(call)
        for _ in range(rng.randrange(5)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            self.events["cancelled"] += 1
            return None
        return [task.result()]

    async def agive(self, mine):
        rng = random.Random(mine)
        n = 0
        while n < self.each:
            item = n * STRIDE + mine
            way = rng.random()
            if way < 0.2:
                done = await self.cancelled_soon(rng, self.q.aput(item))
                (self.certain if done else self.perhaps).append(item)
                n += 1
            elif way < 0.25:
                some = [k * STRIDE + mine for k in range(n, min(n + 5, self.each))]
                await self.q.aput_many(some)
                self.certain += some
                n += len(some)
            else:
                try:
                    await self.q.aput(item, timeout=rng.choice(PATIENCE))
                    self.certain.append(item)
                    n += 1
                except Full:
                    self.events["time-outs"] += 1
            if rng.random() < 0.02:
                await asyncio.sleep(0)

    async def atake(self, seed):
        rng = random.Random(-seed)
        while True:
            way = rng.random()
            try:
                if way < 0.2:
                    self.note(await self.cancelled_soon(rng, self.q.aget()) or [])
                elif way < 0.25:
                    self.note(await self.q.aget_many(rng.choice((None, 1, 4))))
                else:
                    self.note([await self.q.aget(timeout=rng.choice(PATIENCE))])
            except Empty:
                self.events["time-outs"] += 1
            except ShutDown:
                return
            if rng.random() < 0.02:
                await asyncio.sleep(0)

    def loop(self, number):
        async def main():
            first = THREADS + number * TASKS
            takers = [asyncio.ensure_future(self.atake(first + k)) for k in range(TASKS)]
            await asyncio.gather(*(self.agive(first + k) for k in range(TASKS)))
            await asyncio.gather(*takers)

        asyncio.run(main())

    # -- the loop that dies

    def die(self):
        rng = random.Random(99)

        async def turns():
            for _ in range(rng.randrange(1, 6)):
                await asyncio.sleep(0)

        while self.busy:
            loop = asyncio.new_event_loop()
            loop.set_exception_handler(lambda *_: None)  # it complains of tasks that never ended
            tasks = [loop.create_task(self.q.aget()) for _ in range(rng.randrange(1, 4))]
            loop.run_until_complete(turns())
            loop.close()
            for task in tasks:
                if not task.done():
                    self.events["closed on"] += 1
                elif not task.exception():
                    self.note([task.result()])
            del task, tasks
            time.sleep(0.001)

    # --

    def watched(self, work, number):
        try:
            work(number)
        except BaseException as problem:  # it is told at the end
            self.problems.append(problem)
            raise

    def go(self):
        def start(work, numbers):
            threads = [threading.Thread(target=self.watched, args=(work, n), daemon=True) for n in numbers]
            for thread in threads:
                thread.start()
            return threads

        takers = start(self.take, range(THREADS))
        loops = start(self.loop, range(LOOPS))
        dying = start(lambda _: self.die(), [0])
        givers = start(self.give, range(THREADS))
        for thread in givers:
            thread.join()
        goal = self.each * (THREADS + LOOPS * TASKS)
        while len(self.certain) + len(self.perhaps) < goal and not self.problems:
            time.sleep(0.02)
        self.busy = False
        dying[0].join(100)
        # Tasks of closed loops that still hold an item, where there is no reference counting. A loop, a task, its frame and
        # what that holds each have a finaliser, and PyPy runs those of one level of them in each collection.
        for _ in range(10):
            gc.collect()
            if self.q.join(timeout=1):
                break
        assert not self.problems, self.problems
        assert self.q.join(timeout=100), f"{self.q.unfinished_tasks} tasks are said to be unfinished"
        self.q.shutdown()
        for thread in takers + loops + dying:
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
