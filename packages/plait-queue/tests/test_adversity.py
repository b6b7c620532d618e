# SPDX-License-Identifier: MIT
"""Signal handlers, finalisers, exceptions out of handlers, fork, and many threads at once: nothing lost, twice, or
stuck.

Whatever could hang or hit the test run itself happens in a child process with a deadline.
"""

from __future__ import annotations

import importlib
import linecache
import os
import random
import subprocess
import sys
import textwrap
import threading
from itertools import repeat, starmap

import pytest

from plait._thread import RLock
from plait.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown

PACKAGE = Queue.__module__
PREAMBLE = """
import gc, os, random, signal, sys, threading, time
sys.path[:] = {path!r}
from importlib import import_module
package = import_module({package!r})
Queue, Empty, Full, ShutDown = package.Queue, package.Empty, package.Full, package.ShutDown
Fallback = import_module({package!r} + "._simple").SimpleQueue

def eventually(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.0005)

def alarm(handler, after):
    "Have it called once, by a signal that is repeated until then: in the last instructions before a sleep, none wakes."
    def once(*_):
        if armed:
            armed.clear()
            signal.setitimer(signal.ITIMER_REAL, 0)
            handler()
    armed = [True]
    signal.signal(signal.SIGALRM, once)
    signal.setitimer(signal.ITIMER_REAL, after, 0.05)
"""
HOOKED = "type('Hooked', (Queue,), {'_put': lambda self, item: self.queue.append(item)})()"
signals = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals and fork")

only_cpython = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="there, an exception of a handler can lose an item"
)


def in_child(code, deadline=120):
    preamble = PREAMBLE.format(path=sys.path, package=PACKAGE)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", preamble + textwrap.dedent(code)],
        capture_output=True, text=True, timeout=deadline, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


@signals
@pytest.mark.parametrize("make", ["Queue()", "Queue(64)", "Fallback()", HOOKED])
def test_a_signal_handler_may_use_the_queue_that_it_interrupts(make):
    in_child(f"""
    q = {make}
    numbers, from_handler, taken, depth = iter(range(10**9)), [], [], []
    def handler(*_):
        # May be interrupted by itself, but not without end where the machine is so busy that the timer is faster.
        if len(depth) > 20:
            return
        depth.append(None)
        use()
        depth.pop()
    def use():
        mine = ("handler", next(numbers))
        try:
            q.put(mine, block=False)
            from_handler.append(mine)
        except Full:
            pass
        try:
            taken.append(q.get(block=False))
        except Empty:
            pass
        q.qsize()
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    n = 0
    while len(from_handler) < 1500:
        q.put(("main", n))
        n += 1
        try:
            taken.append(q.get(block=False))
        except Empty:
            pass  # the handler took it
    signal.setitimer(signal.ITIMER_REAL, 0)
    while not q.empty():
        taken.append(q.get())
    # A nested get() may note its item in `taken` before the interrupted one does: compare as sets.
    assert sorted(taken) == sorted([("main", i) for i in range(n)] + from_handler)
    if hasattr(q, "task_done"):
        assert q.unfinished_tasks == len(taken), (q.unfinished_tasks, len(taken))
        for _ in taken:
            q.task_done()
        q.join()
    """)


@signals
def test_a_finaliser_may_use_the_queue_that_it_interrupts():
    in_child("""
    q = Queue(5)
    class Cycle:
        def __init__(self): self.me = self
        def __del__(self):
            global finalised
            try: q.put("finaliser", block=False)
            except Full: return
            finalised += 1
            q.get(); q.task_done()
    finalised = 0
    getattr(gc, "set_threshold", lambda *_: None)(5, 2, 2)
    n = 0
    while finalised < 500:
        Cycle()
        q.put([n]); q.get(); q.task_done()
        n += 1
    q.join()
    """)


@signals
def test_a_handler_that_waits_inside_an_operation_does_not_shut_others_out():
    # The handler runs while its own thread holds the mutex, and waits for an item that another thread has to put.
    in_child("""
    q = Queue()
    got = []
    def put():
        time.sleep(0.1)
        q.put("x")
    threading.Thread(target=put).start()
    with q.mutex:
        alarm(lambda: got.append(q.get(timeout=60)), 0.01)
        eventually(lambda: got)
    assert got == ["x"]
    """)


@signals
def test_a_handler_may_serve_the_call_that_it_interrupts():
    in_child("""
    q, full = Queue(), Queue(1)
    full.put(1)
    def handler():
        q.put("x")
        full.get()
    alarm(handler, 0.05)
    assert q.get() == "x"
    full.put("again")
    alarm(handler, 0.05)
    full.put(2)
    assert full.get() == 2
    """)


@signals
@only_cpython
def test_an_interrupted_getter_loses_no_item_and_no_order():
    # An exception strikes the blocked getter around the time at which items are put, some hundred times.
    in_child("""
    class Struck(Exception): pass
    def strike(*_): raise Struck
    signal.signal(signal.SIGUSR1, strike)
    q = Queue()
    rounds, per_round, pid = 300, 3, os.getpid()
    start, results = threading.Semaphore(0), []
    ready = threading.Semaphore(0)
    def feed():
        random.seed(7)
        for r in range(rounds):
            start.acquire()
            eventually(lambda: q._furnished_ and q._getters_)
            first = random.random() < 0.5
            if first: os.kill(pid, signal.SIGUSR1)
            for i in range(per_round):
                q.put(r * per_round + i)
            if not first: os.kill(pid, signal.SIGUSR1)
            ready.release()
    feeder = threading.Thread(target=feed); feeder.start()
    struck = 0
    for r in range(rounds):
        got = []
        hit = False
        try:
            try:
                start.release()
                item = q.get()
                got.append(item)
            finally:
                # The signal may still be on its way: wait for it here, out of the way.
                while not hit and not ready.acquire(timeout=0.001): pass
        except Struck:
            struck += 1
        try:
            time.sleep(0.002)
        except Struck:
            pass
        try:
            while True: got.append(q.get(block=False))
        except Empty: pass
        while len(got) < per_round:
            got.append(q.get(timeout=30))
        assert got == list(range(r * per_round, (r + 1) * per_round)), got
    feeder.join()
    assert struck > rounds // 10, struck
    assert q.unfinished_tasks == rounds * per_round
    """)


@signals
@only_cpython
def test_an_interrupted_putter_puts_its_item_once_or_not_at_all():
    in_child("""
    class Struck(Exception): pass
    def strike(*_): raise Struck
    signal.signal(signal.SIGUSR1, strike)
    q = Queue(1)
    pid, taken, done = os.getpid(), [], []
    def take():
        while not done or q.qsize():
            eventually(lambda: q._putters_ or done)
            if random.random() < 0.5: os.kill(pid, signal.SIGUSR1)
            if random.random() < 0.7:
                try: taken.append(q.get(timeout=0.01))
                except Empty: pass
    thread = threading.Thread(target=take); thread.start()
    certain, struck = [], 0
    for n in range(400):
        try:
            q.put(n)
            certain.append(n)
        except Struck:
            struck += 1
    while True:
        try:
            done.append(True)
            thread.join()
            break
        except Struck: pass
    assert struck > 10, struck
    assert len(set(taken)) == len(taken)
    assert sorted(taken) == taken
    assert set(certain) <= set(taken)
    assert q.unfinished_tasks == len(taken), (q.unfinished_tasks, len(taken))
    """)


@signals
def test_ctrl_c_ends_a_waiting_get():
    in_child("""
    q, interrupted = Queue(), []
    def once(*args):
        if not interrupted:
            interrupted.append(True)
            signal.default_int_handler(*args)
    signal.signal(signal.SIGINT, once)
    def interrupt():
        eventually(lambda: vars(q).get("_getters_"))
        while not interrupted:  # in the last instructions before a sleep, it would not wake
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.02)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        q.get()
    except KeyboardInterrupt:
        pass
    thread.join()
    assert not q._getters_
    q.put(1)
    assert q.get() == 1
    """)


@signals
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_can_use_a_queue_whose_mutex_another_thread_held_at_the_fork():
    in_child("""
    import warnings; warnings.simplefilter("ignore")
    q = Queue(3)
    q.put("before")
    held, release = threading.Event(), threading.Event()
    def hold():
        with q.mutex:
            held.set()
            release.wait()
    threading.Thread(target=hold).start()
    held.wait()
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        assert q.get(timeout=30) == "before"
        q.put("after")
        assert q.get(timeout=30) == "after"
        q.task_done(); q.task_done(); q.join()
        os._exit(7)
    release.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert q.get() == "before"
    """)


@signals
def test_a_child_does_not_serve_the_calls_of_threads_that_it_does_not_have():
    in_child("""
    import warnings; warnings.simplefilter("ignore")
    q, full = Queue(), Queue(1)
    full.put("mine")
    getter = threading.Thread(target=q.get); getter.start()
    putter = threading.Thread(target=full.put, args=("theirs",)); putter.start()
    eventually(lambda: q._furnished_ and q._getters_ and full._putters_)
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        q.put("x")
        assert q.get(timeout=30) == "x"
        assert full.get(timeout=30) == "mine"
        assert full.empty()
        os._exit(7)
    q.put("for the parent's thread")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    getter.join(10)
    assert full.get() == "mine"
    assert full.get(timeout=10) == "theirs"
    """)


@signals
def test_a_fork_in_a_handler_inside_an_operation_leaves_both_sides_sound():
    in_child("""
    import warnings; warnings.simplefilter("ignore")
    q = Queue()
    children = []
    def handler(*_):
        pid = os.fork()
        if not pid:
            signal.alarm(60)
            q.put("child"); assert "child" in [q.get() for _ in range(q.qsize())]
            os._exit(7)
        children.append(pid)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.01)
    while len(children) < 20:
        q.put(1); q.get()
    signal.setitimer(signal.ITIMER_REAL, 0)
    for pid in children:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    """)


@signals
@pytest.mark.parametrize("bound", [0, 1, 3, 100])
def test_many_threads_with_timeouts_and_a_handler_move_every_item_once(bound):
    in_child(f"""
    q = Queue({bound})
    producers, consumers, each = 4, 4, 1500
    taken = [[] for _ in range(consumers)]
    numbers, from_handler = iter(range(10**9)), []
    def produce(p):
        rng = random.Random(p)
        for n in range(each):
            while True:
                try:
                    q.put((p, n), timeout=rng.choice([None, 0.0001, 0.01]))
                    break
                except Full: pass
    def consume(c):
        rng = random.Random(-c)
        while True:
            try: item = q.get(timeout=rng.choice([None, 0.0001, 0.01]))
            except Empty: continue
            except ShutDown: return
            taken[c].append(item)
            q.task_done()
    def handler(*_):
        mine = ("handler", next(numbers))
        try:
            q.put(mine, block=False)
            from_handler.append(mine)
        except Full: pass
    signal.signal(signal.SIGALRM, handler)
    threads = [threading.Thread(target=produce, args=(p,)) for p in range(producers)]
    others = [threading.Thread(target=consume, args=(c,)) for c in range(consumers)]
    for t in threads + others: t.start()
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    for t in threads: t.join(100)
    signal.setitimer(signal.ITIMER_REAL, 0)
    q.join()
    q.shutdown()
    for t in others: t.join(60)
    everything = [item for one in taken for item in one]
    expected = [(p, n) for p in range(producers) for n in range(each)] + from_handler
    missing, extra = set(expected) - set(everything), len(everything) - len(set(everything))
    assert not missing and not extra and len(everything) == len(expected), (missing, extra)
    for one in taken:
        for p in range(producers):  # a handler may interrupt itself, which leaves no order between its items
            mine = [n for q_, n in one if q_ == p]
            assert mine == sorted(mine), mine
    assert not (q._getters_ or q._putters_ or q._joiners_ or q._returned_)
    """)


def test_given_back_items_come_first_and_in_the_order_in_which_they_were_taken():
    q = Queue()
    q.put("stock")
    with q.mutex:
        q._put_back_(2, ["second"])
        q._put_back_(1, ["first"])
        q._tune_()
    assert q.qsize() == 3
    assert [q.get() for _ in range(3)] == ["first", "second", "stock"]


def test_import_works_where_nothing_can_be_started():
    module = importlib.import_module(PACKAGE)
    before = threading.active_count()
    module.Queue()
    assert threading.active_count() == before


def meddle_when_a_call_has_left(q, line, then):
    """Let something happen at the very moment when a call that has given up sets the mutex free."""

    class Meddling(RLock):
        came = False

        def acquire(self, *how):
            taken = super().acquire(*how)
            if getattr(q, line):
                self.came = True
            return taken

        def release(self):
            super().release()
            if self.came and not getattr(q, line):
                self.came = False
                then()

    q._entering_  # noqa: B018
    q._lock_ = mutex = Meddling()
    q._enters_, q._leaves_ = starmap(mutex.acquire, repeat(())), starmap(mutex.release, repeat(()))


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
@pytest.mark.parametrize("looked_at", [False, True])
def test_an_item_that_was_refused_is_not_admitted_a_moment_later(kind, looked_at):
    q = kind(1)
    q.put("first")
    if looked_at:
        q.mutex  # noqa: B018
    taken = []
    meddle_when_a_call_has_left(q, "_putters_", lambda: taken.append(q.get(block=False)))
    with pytest.raises(Full):
        q.put("second", timeout=0.001)
    assert taken == ["first"]
    assert q.empty()
    assert q.unfinished_tasks == 1


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
@pytest.mark.parametrize("looked_at", [False, True])
def test_a_getter_that_found_nothing_is_not_served_a_moment_later(kind, looked_at):
    q = kind()
    if looked_at:
        q.mutex  # noqa: B018
    meddle_when_a_call_has_left(q, "_getters_", lambda: q.put("late"))
    with pytest.raises(Empty):
        q.get(timeout=0.001)
    assert not q._returned_
    assert q.get(block=False) == "late"


def hold_up_put(q, item, meanwhile):
    """put(), with something happening in its middle: only a tracer can come between its two halves."""
    before = sys.gettrace()
    seen = []

    def trace(frame, event, _argument):
        if frame.f_code is not Queue.put.__code__:
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and "append(item)" in line and not seen:
            seen.append(line)
            sys.settrace(None)
            meanwhile()
        return trace

    sys.settrace(trace)
    try:
        q.put(item)
    finally:
        sys.settrace(before)
        assert seen


needs_freedom = pytest.mark.skipif(
    not Queue()._free_, reason="everything happens under the mutex on this Python"
)


@needs_freedom
@pytest.mark.parametrize("kind", [Queue, LifoQueue])
def test_a_put_under_way_when_the_mutex_is_first_looked_at_is_not_lost(kind):
    q = kind()
    q.put("early")
    hold_up_put(q, "late", lambda: q.mutex)
    assert list(q.queue) == ["early", "late"]
    assert q.unfinished_tasks == 2


@needs_freedom
@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("kind", [Queue, LifoQueue])
def test_a_put_under_way_at_the_shutdown_is_refused(kind, immediate):
    q = kind()
    q.put("early")
    with pytest.raises(ShutDown):
        hold_up_put(q, "late", lambda: q.shutdown(immediate))
    assert q.qsize() == q.unfinished_tasks == (0 if immediate else 1)


@pytest.mark.parametrize("meddle", ["q.mutex", "q.queue", "q.not_full", "q.shutdown()"])
def test_many_threads_lose_nothing_while_the_queue_is_first_looked_into(meddle):
    in_child(f"""
    sys.setswitchinterval(1e-5)
    for round in range(60):
        q = Queue()
        each, put, taken = 60, [[] for _ in range(3)], [[] for _ in range(3)]
        ready = threading.Barrier(7)
        def produce(mine):
            ready.wait()
            for n in range(each):
                item = (id(mine), n)
                try: q.put(item)
                except ShutDown: return
                mine.append(item)
        def consume(mine):
            ready.wait()
            while True:
                try: item = q.get()
                except ShutDown: return
                mine.append(item)
                q.task_done()
        makers = [threading.Thread(target=produce, args=(mine,)) for mine in put]
        takers = [threading.Thread(target=consume, args=(mine,)) for mine in taken]
        for t in makers + takers: t.start()
        ready.wait()
        {meddle}
        for t in makers: t.join(60)
        q.join()
        q.shutdown()
        for t in takers: t.join(60)
        assert not any(t.is_alive() for t in makers + takers)
        assert sorted(sum(put, [])) == sorted(sum(taken, []))
    """)


@signals
@pytest.mark.parametrize("bound", [0, 2])
@pytest.mark.parametrize("kind", ["Queue", "Hooked"])
def test_join_in_a_child_does_not_wait_for_puts_that_died_at_the_fork(kind, bound):
    in_child(f"""
    import warnings; warnings.simplefilter("ignore")
    sys.setswitchinterval(1e-6)
    class Hooked(Queue):
        def _put(self, item): time.sleep(0); self.queue.append(item); time.sleep(0)
    q = {kind}({bound})
    stop = []
    def churn():
        while not stop:
            try:
                q.put(1, timeout=0.001)
                q.get(block=False); q.task_done()
            except (Full, Empty): pass
    def hidden(): return q.qsize()
    thread = threading.Thread(target=churn); thread.start()
    for _ in range(40):
        pid = os.fork()
        if not pid:
            signal.alarm(60)
            left, there = q.unfinished_tasks, q.qsize()
            # One may have been taken by the thread that is not here, which will not say that it is done.
            assert there <= left <= there + 1, (left, there)
            for _ in range(left): q.task_done()
            q.join()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    stop.append(True)
    thread.join(30)
    """)


@signals
def test_a_put_that_dies_in_its_hook_at_the_fork_is_not_counted():
    in_child("""
    import warnings; warnings.simplefilter("ignore")
    inside, go_on = threading.Event(), threading.Event()
    class Slow(Queue):
        def _put(self, item):
            inside.set(); go_on.wait(); super()._put(item)
    q = Slow()
    thread = threading.Thread(target=q.put, args=(1,)); thread.start()
    inside.wait()
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        assert q.unfinished_tasks == 0
        q.join()
        os._exit(7)
    go_on.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    thread.join(30)
    assert q.unfinished_tasks == 1
    """)


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_a_task_done_too_often_is_not_counted_for_a_moment(kind, locked):
    q, seen = kind(), set()
    if locked:
        q.mutex  # noqa: B018
    q.put(1)
    q.get()
    q.task_done()

    def look(*_):
        sys.settrace(None)
        seen.add(q.unfinished_tasks)  # as another thread, or a signal handler, could here
        sys.settrace(look)
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        with pytest.raises(ValueError, match="more often"):
            q.task_done()
    finally:
        sys.settrace(before)
    assert seen == {0}


# Each class calls `here` before and behind what it does with an item. `weight` is its size, unless it says otherwise.
SIZES = {
    "weighed first": """
        def _put(self, item):
            self.weight += 5; here("late"); super()._put(item); here("soon")
    """,
    "weighed last": """
        def _put(self, item):
            here("late"); super()._put(item); here("soon"); self.weight += 5
    """,
    "weightless": """
        def _put(self, item): here("late"); super()._put(item); here("soon")
    """,
    "kept elsewhere": """
        def _init(self, maxsize): self.kept = []
        def _put(self, item):
            here("late"); self.kept.append(item); self.weight += 5; here("soon")
    """,
    "fails until there is something": """
        def _qsize(self): return self.first + len(self.queue)
        def _put(self, item): here("late"); super()._put(item); self.first = 0; here("soon")
    """,
    "fails": """
        def _qsize(self): raise LookupError
        def _put(self, item): here("late"); super()._put(item); here("soon")
    """,
    "waits": """
        def _init(self, maxsize): self.kept, self.own = [], threading.Lock()
        def _qsize(self):
            asked.append(self)
            if not self.own.acquire(timeout=0.1): raise TimeoutError
            self.own.release()
            return len(self.kept)
        def _put(self, item):
            with self.own: here("late")
            self.kept.append(item); here("soon")
    """,
}


@signals
@pytest.mark.parametrize("size", SIZES)
def test_a_put_that_dies_in_its_hook_is_counted_if_it_is_there_whatever_is_called_the_size(size):
    methods = textwrap.indent(textwrap.dedent(SIZES[size]), " " * 4)
    in_child(f"""
    import warnings; warnings.simplefilter("ignore")
    def here(where):
        if where == stop: inside.set(); go_on.wait()
    class Own(Queue):
        weight = 0
        def _qsize(self): return self.weight
    {textwrap.indent(methods, " " * 4)}
    asked = []
    for before in 0, 2:
        for end in "late", "soon":
            inside, go_on, stop = threading.Event(), threading.Event(), None
            q = Own()
            for item in range(before): q.put(item)
            stop = end
            thread = threading.Thread(target=q.put, args=("x",)); thread.start()
            inside.wait()
            del asked[:]
            pid = os.fork()
            if not pid:
                signal.alarm(60)
                # The class may wait for what only the dead could release: only who uses the queue has to bear that.
                assert not asked
                there = before + (end == "soon")
                assert q.unfinished_tasks == there, (before, end, q.unfinished_tasks)
                for _ in range(there): q.task_done()
                assert q.join()
                os._exit(7)
            go_on.set()
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7, (before, end)
            thread.join(30)
            assert q.unfinished_tasks == before + 1
    """)


@signals
def test_a_parked_put_that_dies_in_its_hook_at_the_fork_is_not_counted():
    in_child("""
    import warnings; warnings.simplefilter("ignore")
    inside, go_on = threading.Event(), threading.Event()
    class Slow(Queue):
        def _put(self, item):
            if item == "outer": self.put("nested")
            else: inside.set(); go_on.wait()
            super()._put(item)
    q = Slow()
    thread = threading.Thread(target=q.put, args=("outer",)); thread.start()
    inside.wait()
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        assert q.get() == "outer"
        q.task_done()
        assert q.join()
        os._exit(7)
    go_on.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    thread.join(30)
    assert q.unfinished_tasks == 2
    """)


@signals
def test_a_put_that_dies_in_a_comparison_at_the_fork_is_not_counted():
    in_child("""
    import warnings; warnings.simplefilter("ignore")
    inside, go_on = threading.Event(), threading.Event()
    class Item:
        def __init__(self, number): self.number = number
        def __lt__(self, other):
            if threading.current_thread() is not threading.main_thread():
                inside.set(); go_on.wait()
            return self.number < other.number
    q = package.PriorityQueue()
    q.put(Item(2))
    thread = threading.Thread(target=q.put, args=(Item(1),)); thread.start()
    inside.wait()
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        assert q.qsize() == q.unfinished_tasks == 1
        q.put(Item(0))
        assert [q.get().number, q.get().number] == [0, 2]
        q.task_done(); q.task_done(); q.join()
        os._exit(7)
    go_on.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    thread.join(30)
    assert q.qsize() == q.unfinished_tasks == 2
    """)


@signals
@pytest.mark.parametrize("ends", ["well", "failing"])
def test_a_put_that_has_to_begin_anew_and_dies_at_the_fork_is_not_counted(ends):
    in_child(f"""
    import warnings; warnings.simplefilter("ignore")
    inside, go_on = threading.Event(), threading.Event()
    class Item:
        def __init__(self, number): self.number = number
        def __lt__(self, other):
            if threading.current_thread() is not threading.main_thread() and not taken:
                taken.append(None)
                taken[0] = q.get(block=False)
                inside.set(); go_on.wait()
                if {ends == "failing"}: raise LookupError
            return self.number < other.number
    taken = []
    q = package.PriorityQueue()
    q.put(Item(2)); q.put(Item(3))
    def put():
        try: q.put(Item(1))
        except LookupError: taken.append("failed")
    thread = threading.Thread(target=put); thread.start()
    inside.wait()
    def child(there, left):
        pid = os.fork()
        if not pid:
            signal.alarm(60)
            assert (q.qsize(), q.unfinished_tasks) == (there, left), (q.qsize(), q.unfinished_tasks)
            q.put(Item(0))
            assert q.get().number == 0
            for _ in range(left + 1): q.task_done()
            q.join()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    child(1, 2)
    go_on.set()
    thread.join(30)
    assert taken[0].number == 2
    more = {int(ends == "well")}
    assert taken[1:] == ([] if more else ["failed"])
    assert q._owed_ == 0
    assert (q.qsize(), q.unfinished_tasks) == (1 + more, 2 + more)
    child(1 + more, 2 + more)  # nothing is taken back twice
    """)


@signals
def test_a_comparison_that_fails_at_last_owes_nothing():
    in_child("""
    import warnings; warnings.simplefilter("ignore")
    q = package.PriorityQueue()
    class Item:
        def __lt__(self, other):
            q.put(3, block=False)  # so this put() has to begin anew
            if q.qsize() > 4: raise LookupError
            return True
    q.put(1); q.put(2)
    try: q.put(Item())
    except LookupError: pass
    else: raise AssertionError("it was compared")
    there = q.qsize()
    assert q.unfinished_tasks == there
    held, release = threading.Event(), threading.Event()
    def hold():
        with q.mutex: held.set(); release.wait()
    threading.Thread(target=hold).start()
    held.wait()
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        os._exit(7 if q.unfinished_tasks == there else 8)
    release.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    """)


@signals
@pytest.mark.parametrize("change", ["mutex", "shutdown", "maxsize"])
def test_a_change_that_a_fork_cuts_short_is_whole_in_the_child(change):
    if change == "mutex" and not Queue()._free_:
        pytest.skip("a first look at it changes nothing there")
    in_child(f"""
    import warnings; warnings.simplefilter("ignore")
    change = {change!r}
    inside, go_on = threading.Event(), threading.Event()
    class Slow(Queue):
        def wait(self):
            if threading.current_thread() is not threading.main_thread() and not inside.is_set():
                inside.set(); go_on.wait()
        def _tune_(self):
            self.wait()
            super()._tune_()
    q = Slow(2)
    q.put(1)
    def begin():
        if change == "mutex": q.mutex
        elif change == "shutdown": q.shutdown()
        else: q.maxsize = 1
    thread = threading.Thread(target=begin); thread.start()
    inside.wait()
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        assert q.qsize() == 1
        if change == "mutex":
            with q.mutex:
                other = threading.Thread(target=q.put, args=(2,)); other.start()
                other.join(0.05)
                assert q.qsize() == 1
            other.join(10)
            assert q.qsize() == 2
        else:
            for attempt in (lambda: q.put_many([3, 4], block=False), lambda: q.put(2, block=False)):
                try: attempt()
                except (ShutDown if change == "shutdown" else Full): pass
                else: raise AssertionError(change)
                assert q.qsize() == 1
        os._exit(7)
    go_on.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    thread.join(30)
    """)


def test_a_handler_that_raises_index_error_is_not_taken_for_an_empty_queue():
    q = Queue()
    q.put(1)

    def strike():
        if armed:
            armed.clear()  # what is left to be done, perhaps by another thread at this moment, is not struck
            raise IndexError("struck")
        return next(good)

    q.mutex  # noqa: B018
    good, q._enters_, armed = q._enters_, starmap(strike, repeat(())), []
    for attempt in (lambda: q.get(block=False), lambda: q.put(2)):
        armed.append(True)
        with pytest.raises(IndexError, match="struck"):
            attempt()
    q._enters_ = good
    assert q.get() == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_comparison_may_use_the_priority_queue_and_fail(seed):
    if sys.implementation.name == "pypy":
        pytest.skip("what is one piece on CPython is not there")
    rng = random.Random(seed)
    q, put, taken, nested = PriorityQueue(), [], [], []

    class Item:
        def __init__(self):
            self.number = rng.randrange(1000)

        def __lt__(self, other):
            if len(nested) < 2 and rng.random() < 0.05:
                nested.append(self)
                try:
                    act()
                    if rng.random() < 0.1:
                        raise LookupError("cannot be compared")
                finally:
                    nested.pop()
            return self.number < other.number

    def act():
        try:
            # (A long queue takes long to compare, and shows no more.)
            if rng.random() < (0.55 if len(put) - len(taken) < 60 else 0.4):
                item = Item()
                q.put(item)
                put.append(item)
            else:
                taken.append(q.get(block=False))
        except Empty:
            pass

    for _ in range(4000):
        try:
            act()
        except LookupError:
            pass
    nested[:] = "no", "more"
    rest = [q.get() for _ in range(q.qsize())]
    assert [item.number for item in rest] == sorted(item.number for item in rest)
    assert q.unfinished_tasks == len(put) == len(taken + rest)
    assert set(map(id, put)) == set(map(id, taken + rest))


def test_clear_ends_although_an_item_that_goes_puts_another(finalise):
    queue = Queue()

    class Connection:
        def __del__(self):
            if remade:
                remade.pop()
                queue.put(Connection())

    remade = [None] * 50
    for _ in range(3):
        queue.put(Connection())
    assert queue.clear() == 3
    finalise()
    assert queue.qsize() == 3
    remade.clear()
    queue.clear()


FIRST_CALLS = {
    "task_done": lambda q: q.task_done(),
    "unfinished_tasks": lambda q: q.unfinished_tasks,
    "join": lambda q: q.join(0),
    "mutex": lambda q: q.mutex,
    "put": lambda q: q.put(3),
    "get": lambda q: q.get(),
}


@pytest.mark.parametrize("make", [Queue, LifoQueue, PriorityQueue, lambda: Queue(3)])
@pytest.mark.parametrize("call", FIRST_CALLS)
def test_what_is_made_for_the_first_who_needs_it_is_made_once_though_he_is_interrupted(make, call):
    """By a nested task_done(), behind each call of C code on his way, and at the head of each function."""
    for moment in range(200):
        q = make()
        for item in (0, 1):
            q.put(item)
        seen = 0

        def interrupt(frame, event, _, q=q, moment=moment):
            nonlocal seen
            if event in ("call", "c_return"):
                if seen == moment:
                    sys.setprofile(None)
                    q.task_done()
                seen += 1

        sys.setprofile(interrupt)
        try:
            FIRST_CALLS[call](q)
        finally:
            sys.setprofile(None)
        done = int(seen > moment) + (call == "task_done")
        put = 2 + (call == "put")
        assert q.unfinished_tasks == put - done, moment
        if seen <= moment:
            break
    else:
        raise AssertionError("the call has no end")


SERVED = """
    waiting, engine = (import_module(f"{package.__name__}.{name}") for name in ("_waiting", "_engine"))
    def struck(owner, name, behind, handle, call):
        "Do it; a signal strikes at the head of a method that it calls, the first time, or behind its end."
        method = getattr(owner, name)
        def trap(*args):
            setattr(owner, name, method)
            if not behind: signal.raise_signal(signal.SIGUSR1)
            result = method(*args)
            if behind: signal.raise_signal(signal.SIGUSR1)
            return result
        signal.signal(signal.SIGUSR1, lambda *_: handle())
        setattr(owner, name, trap)
        call()
        assert getattr(owner, name) is method, "it was not struck"
    def started(body):
        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        return thread
"""


@signals
@pytest.mark.parametrize("kind", ["Queue", "package.LifoQueue", "package.PriorityQueue"])
def test_a_handler_may_wait_for_whom_the_interrupted_call_has_served_and_not_rung(kind):
    in_child(f"""{SERVED}
    for looked_into in False, True:
        for owner, name, behind in (waiting.ThreadWaiter, "ring", False), (engine.Engine, "_hand_over_", True):
            if name == "ring" or looked_into:  # else it is not called
                q, got = {kind}(), []
                if looked_into: q.not_full
                def echo(): q.put(q.get() + 1)
                thread = started(echo)
                eventually(lambda: q._furnished_ and q._getters_)
                struck(owner, name, behind, lambda: got.append(q.get(timeout=30)), lambda: q.put(1))
                thread.join(30)
                assert got == [2] and not thread.is_alive()
    """)


@signals
@pytest.mark.parametrize("kind", ["Queue", "package.LifoQueue", "package.PriorityQueue"])
def test_a_handler_may_wait_for_room_made_by_whom_the_interrupted_call_has_served(kind):
    in_child(f"""{SERVED}
    for looked_into in False, True:
        q, got = {kind}(1), []
        if looked_into: q.not_full
        q.put(0)
        def put_and_get():
            q.put(1)
            got.extend((q.get(timeout=30), q.get(timeout=30)))
        thread = started(put_and_get)
        eventually(lambda: q._furnished_ and q._putters_)
        struck(waiting.ThreadWaiter, "ring", False, lambda: q.put(2, timeout=30), q.get)
        thread.join(30)
        assert got == [1, 2], got
    """)


@signals
def test_a_handler_may_wait_for_whom_the_interrupted_task_done_is_about_to_wake():
    in_child(f"""{SERVED}
    for looked_into in False, True:
        q, got = Queue(), []
        if looked_into: q.mutex
        def join_and_put():
            q.join()
            q.put(2)
        q.put(1); q.get()
        thread = started(join_and_put)
        eventually(lambda: q._furnished_ and q._joiners_)
        struck(Queue, "_last_task_done_", False, lambda: got.append(q.get(timeout=30)), q.task_done)
        thread.join(30)
        assert got == [2] and not thread.is_alive()
    """)


@signals
def test_a_handler_may_wait_for_room_made_by_whom_the_interrupted_call_is_serving():
    in_child(f"""{SERVED}
    class Stock(type(Queue().queue)):
        def append(self, item):
            super().append(item)
            if item == 1: signal.raise_signal(signal.SIGUSR1)
    class Striking(Queue):
        def _init(self, maxsize): self._stock_ = Stock()
    q, got = Striking(1), []
    q.put(0)
    signal.signal(signal.SIGUSR1, lambda *_: q.put(2, timeout=30))
    def put_and_get():
        q.put(1)
        got.extend((q.get(timeout=30), q.get(timeout=30)))
    thread = started(put_and_get)
    eventually(lambda: q._furnished_ and q._putters_)
    q.get()
    thread.join(30)
    assert got == [1, 2], got
    """)


def test_in_any_thread_a_call_of_a_finaliser_goes_before_the_one_that_it_interrupts():
    in_child(f"""{SERVED}
    sleep = waiting.ThreadWaiter.sleep
    def trial(call, other, full):
        q, ended = Queue(1), []
        if full: q.put("before")
        def trap(*args):  # as if the garbage collector came here
            waiting.ThreadWaiter.sleep = sleep
            call(q, "inner"); ended.append("inner")
            return sleep(*args)
        waiting.ThreadWaiter.sleep = trap
        def body(): call(q, "outer"); ended.append("outer")
        thread = started(body)
        eventually(lambda: q._furnished_ and len(q._putters_ if full else q._getters_) == 2)
        other(q)
        eventually(lambda: ended == ["inner"])
        other(q)
        thread.join(30)
        assert ended == ["inner", "outer"]
    trial(lambda q, item: q.get(timeout=30), lambda q: q.put(1), False)
    trial(lambda q, item: q.put(item, timeout=30), lambda q: q.get(), True)
    """)


@signals
@pytest.mark.parametrize("part", ["RLock", "count"])
def test_a_handler_may_fork_while_its_thread_makes_the_parts_of_a_queue(part):
    in_child(f"""
    import warnings; warnings.simplefilter("ignore")
    ways = import_module(package.__name__ + "._ways")
    children = []
    signal.signal(signal.SIGUSR1, lambda *_: children.append(os.fork()))
    make = ways.{part}
    def trap(*args):
        ways.{part} = make
        signal.raise_signal(signal.SIGUSR1)
        return make(*args)
    def use(q):
        q.put(1); q.put(2)
        assert q.get(timeout=30) == 1
        q.task_done()
        assert q.clear() == 1 and q.join(5)
        try: q.get(timeout=0.001)
        except Empty: pass
        else: raise AssertionError("there is nothing")
    for first in use, lambda q: q.get(timeout=0.001), Queue.task_done, Queue.clear, lambda q: q.shutdown(True):
        children.clear()
        ways.{part} = trap
        q = Queue()
        try: first(q)
        except (Empty, ValueError): pass
        if ways.{part} is trap:
            continue  # this one does not make it
        if not children[0]:
            signal.alarm(60)
            use(Queue())
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 7, first
    assert children

    # Nor is it left held by a thread that is not in the child.
    inside, go_on = threading.Event(), threading.Event()
    def slow(*args):
        ways.{part} = make
        inside.set(); go_on.wait()
        return make(*args)
    ways.{part} = slow
    thread = threading.Thread(target=lambda: use(Queue()))
    thread.start(); inside.wait()
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        use(Queue())
        os._exit(7)
    go_on.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    thread.join(30)
    """)


@signals
@pytest.mark.parametrize("kind", ["Queue", "package.LifoQueue", "package.PriorityQueue"])
def test_a_change_of_maxsize_that_is_struck_has_happened_or_not(kind):
    raising = "False, True" if sys.implementation.name == "cpython" else "False,"
    in_child(f"""{SERVED}
    class Struck(Exception): pass
    happened = set()
    for looked_into in False, True:
        for before, after in (2, 5), (5, 2), (0, 2), (2, 0), (2, 4.5):
            for raises in {raising}:
                for name in "_locked_", "_ways_", "_way_in_", "_tune_", "_settle_":
                    for behind in False, True:
                        q, said = {kind}(before), []
                        q.put(1); q.put(2)
                        if looked_into: q.mutex
                        thread = started(lambda: q.put(3)) if before == 2 else None
                        if thread: eventually(lambda: q._furnished_ and q._putters_)
                        def fits():
                            bound, size = q.maxsize, q.qsize()
                            try: q.put(4, block=False)
                            except Full: said.append(bound == 2 <= size)
                            else: said.append(bound != 2 or size < 2); q.get()
                        def handle():
                            if raises: raise Struck
                            fits()
                        def change(): q.maxsize = after
                        try: struck(type(q), name, behind, handle, change)
                        except Struck: pass
                        else: assert q.maxsize == after
                        happened.add((raises, q.maxsize == after))
                        fits()
                        assert all(said), (before, after, raises, name, behind, said)
                        if thread:
                            if q.maxsize != 2: thread.join(30)
                            else: q.get()
                            thread.join(30)
                            assert not thread.is_alive()
    assert len(happened) == (3 if True in ({raising}) else 1), happened
    """)
