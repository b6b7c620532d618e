# SPDX-License-Identifier: MIT
"""Signals that come one upon the other, and one that strikes whoever has to wake others: nothing is lost, and nobody is
left waiting.

SIGINT and SIGTERM are pending together when a process goes on that was stopped. The second handler then runs where the
exception of the first has just been caught.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from plait.queue import Queue

PACKAGE = Queue.__module__
PRELUDE = """
import os, signal, sys, threading, time
sys.path[:] = {path!r}
from importlib import import_module
package = import_module({package!r})
Queue, LifoQueue, PriorityQueue = package.Queue, package.LifoQueue, package.PriorityQueue
Empty, ShutDown, select = package.Empty, package.ShutDown, package.select
engine, waiting = import_module({package!r} + "._engine"), import_module({package!r} + "._waiting")

class Struck(Exception):
    pass

def strike(*_):
    raise Struck

BOTH = (signal.SIGINT, signal.SIGTERM)
ALL = (*BOTH, signal.SIGUSR1)
for number in ALL:
    signal.signal(number, strike)

def at_once(numbers):
    "All of the signals are pending when this ends; or rather, it ends with the exception of the first."
    signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
    for number in numbers:
        os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL)

def calmly(call):
    "Do it, and let all that is pending strike. Whether it was struck."
    hits = calm = 0
    try:
        call()
    except Struck:
        hits += 1
    while calm < 3:
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, ())  # a call that looks for signals
            calm += 1
        except Struck:
            hits += 1
    return hits > 0

def alarm_when_asleep():
    "SIGALRM for this thread as soon as it has been found asleep several times running; soon, where that cannot be seen."
    me, path = threading.get_ident(), f"/proc/self/task/{{threading.get_native_id()}}/stat"
    def watch():
        times = 0
        try:
            while times < 5:
                time.sleep(0.002)
                with open(path) as stat:
                    times = times + 1 if stat.read().rpartition(")")[2].split()[0] == "S" else 0
        except OSError:
            time.sleep(0.03)
        signal.pthread_kill(me, signal.SIGALRM)
    started(watch)

def struck_asleep(numbers, call):
    signal.signal(signal.SIGALRM, lambda *_: at_once(numbers))
    alarm_when_asleep()
    return calmly(call)

def struck_at(owner, name, numbers, call):
    "Do it, struck by all of the signals at the head of a method that it calls, the first time."
    method = getattr(owner, name)
    me, armed = threading.get_ident(), [True]
    def trap(*args, **kwargs):
        if armed and threading.get_ident() == me:
            armed.clear()
            at_once(numbers)
        return method(*args, **kwargs)
    setattr(owner, name, trap)
    try:
        return calmly(call)
    finally:
        setattr(owner, name, method)

def started(*targets):
    # The kernel may give a signal to any thread that lets it in; it is to interrupt the main one.
    signal.pthread_sigmask(signal.SIG_BLOCK, (*ALL, signal.SIGALRM))
    threads = [threading.Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*ALL, signal.SIGALRM))
    return threads

def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.001)
"""

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals"),
    pytest.mark.skipif(
        sys.implementation.name == "pypy",
        reason="PyPy looks for signals anywhere, also where they cannot be borne",
    ),
]
# (3.10 looks for signals at every except.) Of each one it is to be the same.
EACH_BURST = "(BOTH, ALL)" if sys.version_info >= (3, 11) else "(BOTH,)"
BURSTS = pytest.mark.parametrize("numbers", [EACH_BURST])
ONE_OR_TWO = "(BOTH[:1], BOTH)"
KINDS = "(Queue, LifoQueue, PriorityQueue)"


def play(source, **names):
    """What it prints, for each combination of the *names* in one child process; of EACH_BURST once, as all print the
    same."""
    bursts = names.pop("numbers") if names.get("numbers") == EACH_BURST else None
    if bursts:
        names = {"numbers": bursts, **names}
    case = "".join([f"def case({', '.join(names)}):\n", textwrap.indent(textwrap.dedent(source), "    ")])
    for depth, (name, values) in enumerate(names.items()):
        case += f"{'  ' * depth}for {name} in {values}:\n"
        if bursts and not depth:
            case += "  print('BURST')\n"
    case += f"{'  ' * len(names)}case({', '.join(names)})\n"
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PRELUDE.format(path=sys.path, package=PACKAGE) + case],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    if not bursts:
        return done.stdout.split()
    first, *others = (part.split() for part in done.stdout.split("BURST")[1:])
    assert others in ([], [first])
    return first


@BURSTS
@pytest.mark.parametrize(
    "call",
    [
        "get()", "get(timeout=30)", "get_many()", "peek()", "put(1)", "put(1, timeout=30)", "put_many([1, 2])",
        "join()", "join(30)",
    ],
)  # fmt: skip
def test_a_call_that_waits_leaves_nothing_behind(call, numbers):
    full = call.startswith(("put", "join"))
    assert (
        play(
            f"""
        q = kind(1)
        if {full}:
            q.put(0)
        assert struck_asleep(numbers, lambda: q.{call})
        until(lambda: not (q._getters_ or q._putters_ or q._joiners_))
        if not {full}:
            q.put(0)
        print(q.get(timeout=30), q.qsize(), q.unfinished_tasks)
        """,
            kind=KINDS,
            numbers=numbers,
        )
        == ["0", "0", "1"] * 3
    )


@BURSTS
def test_nothing_is_handed_to_who_has_gone(numbers):
    # Not even in the moment before it has left the line.
    assert play(
        """
        q = Queue()
        assert struck_asleep(numbers, q.get)
        q.put("item")
        print(q.get(timeout=0))
        """,
        numbers=numbers,
    ) == ["item"]


@BURSTS
def test_select_leaves_all_the_lines(numbers):
    assert play(
        """
        queues = [Queue(), LifoQueue(), PriorityQueue()]
        assert struck_asleep(numbers, lambda: select(queues))
        until(lambda: not any(q._getters_ for q in queues))
        """,
        numbers=numbers,
    ) == []  # fmt: skip


@BURSTS
def test_who_slept_within_the_mutex_holds_it_again(numbers):
    assert play(
        """
        q = Queue()
        with q.mutex:
            assert struck_asleep(numbers, q.get)
            assert waiting.is_owned(q.mutex)
        until(lambda: not q._getters_)
        print(q.mutex.acquire(blocking=False))
        """,
        numbers=numbers,
    ) == ["True"]


@BURSTS
def test_a_put_that_is_struck_wakes_the_getter(numbers):
    assert (
        play(
            """
        q = kind()
        if look:
            q.mutex
        (getter,) = started(lambda: print(q.get(timeout=60)))
        until(lambda: vars(q).get("_getters_"))
        assert struck_at(engine.Engine, "_serve_first_", numbers, lambda: q.put(7))
        getter.join(30)
        assert not getter.is_alive()
        """,
            kind=KINDS,
            numbers=numbers,
            look="(False, True)",
        )
        == ["7"] * 6
    )


@BURSTS
@pytest.mark.parametrize("call", ["get()", "get_many()"])
def test_a_get_that_is_struck_gives_its_item_back(call, numbers):
    # The putter may have been let in meanwhile, where the item of a LifoQueue comes out first that was put last.
    assert (
        play(
            f"""
        q = kind(1)
        q.put(1)
        (putter,) = started(lambda: q.put(2, timeout=60))
        until(lambda: q._putters_)
        assert struck_at(engine.Engine, "_admit_first_", numbers, lambda: q.{call})
        print(*sorted(q.get(timeout=30) for _ in range(2)))
        putter.join(30)
        assert not putter.is_alive()
        """,
            kind=KINDS,
            numbers=numbers,
        )
        == ["1", "2"] * 3
    )


SETTLE = {
    "shutdown()": ("", "get()", "ShutDown"),
    "shutdown(immediate=True)": ("put(0)", "put(1)", "ShutDown"),
    "clear()": ("put(0)", "put(1)", "None"),
    "task_done()": ("put(0)", "join()", "True"),
    "put(5)": ("", "get()", "5"),
    "__class__.maxsize.__set__(q, 5)": ("put(0)", "put(1)", "None"),
}


@pytest.mark.parametrize("call", SETTLE)
def test_who_is_struck_still_wakes_who_must_be_woken(call):
    before, waits, outcome = SETTLE[call]
    found = play(
        f"""
        def wait():
            try:
                outcome.append(str(q.{waits}))
            except ShutDown:
                outcome.append("ShutDown")

        q, outcome = kind(1), []
        if {before!r}:
            q.{before or "qsize()"}
        if look:
            q.not_empty
        waiters = started(wait)
        until(lambda: vars(q).get("_getters_") or q._putters_ or q._joiners_)
        assert struck_at(waiting.ThreadWaiter, "ring", numbers, lambda: q.{call})
        for waiter in waiters:
            waiter.join(30)
        print(*outcome)
        """,
        kind=KINDS,
        numbers=ONE_OR_TWO,
        look="(False, True)",
    )
    assert found == [outcome] * 12


def test_a_notify_that_is_struck_wakes_the_queues_own_putters():
    assert (
        play(
            """
        q = Queue(1)
        q.put(0)
        waiters = started(lambda: q.put(1))
        until(lambda: q._putters_)
        with q.mutex:
            q.queue.clear()
            assert struck_at(waiting.ThreadWaiter, "ring", numbers, q.not_full.notify_all)
        waiters[0].join(30)
        print(waiters[0].is_alive(), q.qsize())
        """,
            numbers=ONE_OR_TWO,
        )
        == ["False", "1"] * 2
    )


def test_a_shutdown_that_is_struck_notifies_who_waits_in_a_condition():
    assert (
        play(
            """
        def wait():
            with q.not_empty:
                there.append(True)
                q.not_empty.wait(60)
                print(q.is_shutdown)

        q, there = Queue(), []
        q.not_empty
        (waiter,) = started(wait)
        until(lambda: there)
        with q.mutex:  # it waits, and so has let go of it
            pass
        assert struck_at(engine.Engine, "_ring_all_", numbers, q.shutdown)
        waiter.join(30)
        """,
            numbers=ONE_OR_TWO,
        )
        == ["True"] * 2
    )


def test_a_task_that_is_struck_when_it_has_its_item_gives_it_back():
    assert play(
        """
        import asyncio
        tasks = import_module(package.__name__ + "._async")

        async def main():
            q = Queue()
            task = asyncio.ensure_future(q.aget())
            await asyncio.sleep(0)
            leave = q._leave_
            def left(waiter):
                leave(waiter)
                tasks.TaskWaiter.served = strike
            q._leave_ = left
            q.put("item")
            try:
                await task
            except Struck:
                print(q.qsize(), q.get(block=False))

        asyncio.run(main())
        """
    ) == ["1", "item"]


NO_THREAD = """
from itertools import repeat, starmap
surely = import_module(package.__name__ + "._surely")
no_thread = starmap(threading.Lock().release, repeat(()))  # a step raises RuntimeError, as if none could be started
for name in ("_blocking", "_engine", "_fifo", "_priority", "_waiting"):
    import_module(f"{package.__name__}.{name}").elsewhere = no_thread
"""

COME_BY = {
    "get": 'print(q.get(timeout=30), q.unfinished_tasks)',
    "put": """
        q.put(1)
        try:
            q.put(2, block=False)
            q.put(3, block=False)
        except package.Full:
            pass
        assert q.qsize() == 2
        print(q.get_many()[-1 if kind is LifoQueue else 0], q.unfinished_tasks - 1)
    """,
    "join": 'q.join(0); print(q.get(block=False), q.unfinished_tasks)',
    "peek": 'print(q.peek(timeout=30), q.unfinished_tasks)',
    "fork": """
        pid = os.fork()
        if not pid:
            assert not surely.OVERDUE
            os._exit(q.get(timeout=30) if q.qsize() == 1 else 9)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), q.unfinished_tasks)
        q.get(timeout=30)
    """,
}  # fmt: skip


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 looks for them at every except")
@pytest.mark.parametrize("later", COME_BY)
def test_what_no_thread_can_be_started_for_is_done_by_the_next_who_comes_by(later):
    # The getter sleeps, is handed the item by the handler, and is struck when it wakes, at the head of what would take it
    # out of the line, and of what would give the item back.
    source = (
        textwrap.dedent(NO_THREAD)
        + textwrap.dedent("""
        q, other = kind(2), kind()
        def hand_over_and_strike(*_):
            q.put(0)
            at_once(ALL)
        signal.signal(signal.SIGALRM, hand_over_and_strike)
        alarm_when_asleep()
        assert calmly(q.get)
        assert len(surely.OVERDUE) == 2
        assert q.qsize() == 0
        other.put(1)
        other.clear()
        assert len(surely.OVERDUE) == 2
        """)
        + textwrap.dedent(COME_BY[later])
        + "\nassert not surely.OVERDUE\n"
    )
    assert play(source, kind=KINDS) == ["0", "1"] * 3


def test_a_duty_that_fails_is_reported_and_keeps_nothing_from_the_others():
    assert play(
        """
        from itertools import starmap
        surely = import_module(package.__name__ + "._surely")
        sys.unraisablehook = lambda args: print(type(args.exc_value).__name__)
        q = Queue()
        surely.OVERDUE[:0] = ((q._locked_, (starmap, 1, 2, 3)),)
        surely.OVERDUE[:0] = ((q._locked_, (print, "done")),)
        surely.OVERDUE[:0] = ((q._locked_, (starmap, 1, 2, 3)),)
        if by_thread:
            for _ in surely.elsewhere:
                break
            until(lambda: not surely.OVERDUE)
        else:
            q.clear()
        assert not surely.OVERDUE
        """,
        by_thread="(False, True)",
    ) == ["TypeError", "done", "TypeError"] * 2  # fmt: skip


HOLDERS = {
    "put(5)": ("_settle_", "get()"),
    "get()": ("_settle_", "put(1)"),
    "task_done()": ("_last_task_done_", "join()"),
    "clear()": ("_settle_", "qsize()"),
    "get(timeout=0.01)": ("_settle_", "put(1)"),
    "qsize()": ("_level_", "qsize()"),
    "join(0.01)": ("_settle_", "qsize()"),
    "mutex": ("_close_now_", "qsize()"),
}


@pytest.mark.parametrize("call", HOLDERS)
def test_the_mutex_is_free_however_often_its_holder_is_struck(call):
    # Here it is the interpreter's loop that finds both signals pending, behind a call that does not look for them (os.kill
    # does). It looks again soon: 3.10 does so at the head of a `finally`.
    method, waits = HOLDERS[call]
    play(
        f"""
        from collections import deque
        from ctypes import CDLL
        from itertools import starmap

        def at_once(numbers):
            deque(starmap(kill, [(os.getpid(), number) for number in numbers]), maxlen=0)

        kill, globals()["at_once"] = CDLL(None).kill, at_once
        q = kind(1)
        if {call != "mutex"}:
            q.mutex
        if {not call.startswith("put")}:
            q.put(0)
        waiters = started(lambda: q.{waits}) if {waits != "qsize()"} else ()
        until(lambda: not waiters or q._getters_ or q._putters_ or q._joiners_)
        if {call != "mutex"} or q._free_:
            assert struck_at(type(q), {method!r}, BOTH, lambda: q.{call})
        q._entering_
        assert not waiting.is_owned(q._lock_)
        """,
        kind="(Queue, PriorityQueue)",
    )


# The getter sleeps, is handed the first item by the handler, and struck so that its giving back is left to others, who have
# not come to it yet.
OWED = """
        q = kind()
        if look:
            q.mutex
        def hand_over_and_strike(*_):
            for number in range(3):
                q.put(number)
            at_once(ALL)
        signal.signal(signal.SIGALRM, hand_over_and_strike)
        alarm_when_asleep()
        assert calmly(getattr(q, call))
        assert surely.OVERDUE
"""
NEXT = {
    "get": "print(*(q.get(block=block) for _ in range(3)))",
    "get_many": "print(*q.get_many(2, block=block), *q.get_many())",
    "put": "q.put(3); print(*(q.get(block=block) for _ in range(3)))",
    "aget": """
        import asyncio
        async def main():
            print(*[await q.aget() for _ in range(3)])
        asyncio.run(main())
    """,
}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 looks for them at every except")
@pytest.mark.parametrize("then", NEXT)
def test_nothing_overtakes_what_is_still_to_be_given_back(then):
    source = textwrap.dedent(NO_THREAD) + textwrap.dedent(OWED) + textwrap.dedent(NEXT[then])
    source += "\nq.put(4); q.get(block=False)\nassert not q._behind_ and not (q._free_ and q._takes_ is waiting.NO_MORE)\n"
    assert (
        play(
            source,
            kind="(Queue, PriorityQueue)",
            call="('get', 'get_many')",
            look="(False, True)",
            block="(False, True)",
        )
        == [*"012"] * 16
    )


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 looks for them at every except")
def test_nobody_who_waits_is_given_what_comes_after_what_is_still_to_be_given_back():
    assert (
        play(
            textwrap.dedent(NO_THREAD)
            + textwrap.dedent("""
        q = kind()
        if look:
            q.mutex
        got = []
        def second():
            until(lambda: len(vars(q).get("_getters_", ())) == 1)
            got.append(q.get(timeout=30))
        (waiter,) = started(second)
        def hand_over_and_strike(*_):
            until(lambda: len(q._getters_) == 2)
            q.put(0)
            at_once(ALL)
        signal.signal(signal.SIGALRM, hand_over_and_strike)
        alarm_when_asleep()
        assert calmly(q.get)
        assert surely.OVERDUE
        q.put(1)
        waiter.join(30)
        print(*got, q.get(timeout=30))
            """),
            kind="(Queue, PriorityQueue)",
            look="(False, True)",
        )
        == ["0", "1"] * 4
    )


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 looks for them at every except")
def test_a_get_that_did_not_wait_gives_back_in_its_place_too():
    # Nobody has waited yet: the queue has neither mutex nor lines.
    assert (
        play(
            textwrap.dedent(NO_THREAD)
            + textwrap.dedent("""
        q = Queue(3)
        for number in range(3):
            q.put(number)
        if many:
            putter, = started(lambda: q.put_many([3, 4], timeout=60))
        else:
            putter, = started(lambda: q.put(3, timeout=60))
        until(lambda: q._putters_)
        assert struck_at(engine.Engine, "_look_after_", ALL, lambda: q.get_many(2) if many else q.get())
        print(*(q.get(timeout=30) for _ in range(4)))
            """),
            many="(False, True)",
        )
        == [*"0123"] * 2
    )


def test_each_goes_back_to_the_place_that_it_had():
    # Two tasks wait, get_many() is handed more after them: all are interrupted, in any order.
    assert (
        play(
            """
        import asyncio, itertools

        async def main():
            for order in itertools.permutations(range(3)):
                q = Queue()
                if look:
                    q.mutex
                tasks = [asyncio.ensure_future(q.aget()) for _ in range(3)]
                await asyncio.sleep(0)
                for number in range(5):
                    q.put(number)
                for place in order:
                    tasks[place].cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                assert q.get_many() == [0, 1, 2, 3, 4], order

        asyncio.run(main())
        q = Queue()
        waiter, other = waiting.ThreadWaiter([]), waiting.ThreadWaiter([])
        waiter.nests = other.nests = False  # as if they were not of one thread
        q._ask_(waiter)
        q._ask_(other)
        for number in range(4):
            q.put(number)
        q._locked_(q._take_more_, waiter, None)
        assert (waiter.box, other.box) == ([0, 2, 3], [1])
        for one in (waiter, other) if look else (other, waiter):
            q._abandon_(one)
        print(*q.get_many())
        """,
            look="(False, True)",
        )
        == [*"0123"] * 2
    )


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 looks for them at every except")
def test_in_a_storm_everything_comes_in_order():
    # Three timers strike one getter that mostly waits: now and then two of them strike at once.
    assert play("""
        class Raised(Exception):
            pass

        def raise_if_armed(*_):
            if armed:
                raise Raised

        TIMERS = {
            signal.ITIMER_REAL: signal.SIGALRM,
            signal.ITIMER_VIRTUAL: signal.SIGVTALRM,
            signal.ITIMER_PROF: signal.SIGPROF,
        }
        q, got, armed, many = Queue(), [], [], 10_000

        def produce():
            for number in range(many):
                q.put(number)
                if q.qsize() > 20:
                    time.sleep(0.0001)

        def get_one():
            armed.append(True)
            for item in map(q.get, (True,), (60,)):
                got.append(item)
            armed.clear()

        started(produce)
        for timer, number in TIMERS.items():
            signal.signal(number, raise_if_armed)
            signal.setitimer(timer, 0.0003, 0.0003)
        while len(got) < many:
            try:
                try:
                    get_one()
                except Raised:
                    armed.clear()
            except Raised:
                armed.clear()
        for timer, number in TIMERS.items():
            signal.signal(number, signal.SIG_IGN)
            signal.setitimer(timer, 0)
        print(got == [*range(many)])
    """) == ["True"]
