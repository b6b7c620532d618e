# SPDX-License-Identifier: MIT
"""Signals that come one upon the other: nothing is lost, and nobody is left waiting for who has gone.

SIGINT and SIGTERM are pending together when a process goes on that was stopped. The second handler then runs where the
exception of the first has just been caught.
"""

from __future__ import annotations

import os
import signal
import sys
import textwrap

import pytest

from plait.threading import Semaphore

pytestmark = pytest.mark.skipif(
    not (hasattr(os, "fork") and hasattr(signal, "setitimer")), reason="no signals to send here"
)

PRELUDE = textwrap.dedent(
    """
    import os, random, signal, sys, time
    from {threading} import *
    from {_thread} import get_ident

    class Struck(Exception):
        pass

    def strike(*_):
        raise Struck

    BOTH = (signal.SIGINT, signal.SIGTERM)
    ALL = (*BOTH, signal.SIGUSR1)
    for number in ALL:
        signal.signal(number, strike)

    def let_it_fall_asleep(pid, at_most):
        "Until the main thread of that process has been found asleep several times running, if that can be seen."
        end, times = time.monotonic() + 30, 0
        try:
            while times < 5 and time.monotonic() < end:
                time.sleep(0.01)
                with open(f"/proc/{pid}/stat") as stat:
                    times = times + 1 if stat.read().rpartition(")")[2].split()[0] == "S" else 0
        except OSError:
            time.sleep(at_most)

    def at_once(numbers, after=0.2):
        "All of the signals, when the process goes on. The process that sends them."
        me = os.getpid()
        sender = os.fork()
        if sender == 0:
            for number in ALL:
                signal.signal(number, signal.SIG_DFL)
            let_it_fall_asleep(me, after)
            for number in (signal.SIGSTOP, *numbers, signal.SIGCONT):
                os.kill(me, number)
                time.sleep(0.02)
            os._exit(0)
        return sender

    def struck(numbers, call):
        "Do it, struck by all of the signals; say that it was."
        sender, hits, calm = at_once(numbers), 0, 0
        try:
            call()
        except Struck:
            hits += 1
        while calm < 3:
            try:
                time.sleep(0.02)
                signal.pthread_sigmask(signal.SIG_BLOCK, ())  # a call that looks for signals
                if not sender or os.waitpid(sender, os.WNOHANG) != (0, 0):
                    sender = 0
                    calm += 1
            except Struck:
                hits += 1
        return hits > 0

    def started(*targets):
        # The kernel may give a signal to any thread that lets it in; it is to interrupt the main one.
        signal.pthread_sigmask(signal.SIG_BLOCK, (*ALL, signal.SIGALRM))
        threads = [Thread(target=target, daemon=True) for target in targets]
        for thread in threads:
            thread.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*ALL, signal.SIGALRM))
        return threads

    def until(condition):
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.001)

    def alarmed(handler, ready=lambda: True):
        "Have it called for SIGALRM, once, as soon as one strikes when it is ready."
        def once(*_):
            if ready() and armed:
                armed.clear()
                signal.setitimer(signal.ITIMER_REAL, 0)
                handler()

        armed = [True]
        signal.signal(signal.SIGALRM, once)
        return once

    def alarm_until(condition):
        "SIGALRM; and again, for in the last instructions before a thread goes to sleep in C it does not wake it."
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, "it did not come about"
            os.kill(os.getpid(), signal.SIGALRM)
            time.sleep(0.02)
    """
)

BURSTS = pytest.mark.parametrize(
    "numbers",
    [
        "BOTH",
        pytest.param(
            "ALL",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 11), reason="3.10 looks for them at every except"
            ),
        ),
    ],
)
STORMS = pytest.mark.skipif(
    sys.implementation.name == "pypy" or sys.version_info < (3, 11),
    reason="PyPy and 3.10 look for signals nearly anywhere: on a slow machine a storm strikes more than twice at a time",
)


@pytest.fixture
def play(run_script):
    def run(source, **names):
        assignments = "".join(f"{name} = {value}\n" for name, value in names.items())
        done = run_script(PRELUDE + assignments + textwrap.dedent(source), timeout=120)
        assert done.returncode == 0, done.err
        return done.out.split()

    return run


def test_what_is_stored_elsewhere_is_done_by_another_thread():
    from plait.threading import _surely, get_ident

    done, threads = [], Semaphore(0)
    _surely.elsewhere[lambda *args: (done.append((args, get_ident())), threads.release())] = (1, 2)
    assert threads.acquire(timeout=10)
    ((args, ident),) = done
    assert args == (1, 2)
    assert ident != get_ident()


@BURSTS
def test_a_semaphore_wakes_the_next(play, numbers):
    assert play(
        """
        semaphore, got = Semaphore(0), []
        assert struck(numbers, semaphore.acquire)
        (waiter,) = started(lambda: got.append(semaphore.acquire()))
        until(lambda: semaphore._line)
        semaphore.release()
        waiter.join(30)
        print(got, semaphore._value, len(semaphore._line), len(semaphore._front))
        """,
        numbers=numbers,
    ) == ["[True]", "0", "0", "0"]


@BURSTS
def test_a_barrier_whose_action_is_struck_breaks_for_all(play, numbers):
    assert play(
        """
        def wait():
            try:
                barrier.wait(80)
            except BrokenBarrierError:
                broken.append(True)

        broken, taken = [], Lock()
        taken.acquire()
        barrier = Barrier(2, lambda: taken.acquire(timeout=60))
        (waiter,) = started(wait)
        until(lambda: barrier.n_waiting == 1)
        assert struck(numbers, barrier.wait)
        waiter.join(30)
        print(broken, barrier.broken)
        """,
        numbers=numbers,
    ) == ["[True]", "True"]


@BURSTS
def test_a_barrier_keeps_the_seat_of_a_waiter_for_the_next(play, numbers):
    assert play(
        """
        barrier, passed = Barrier(3), []
        assert struck(numbers, barrier.wait)
        assert barrier.n_waiting == 0
        threads = started(*[lambda: passed.append(barrier.wait(30))] * 3)
        for thread in threads:
            thread.join(30)
        print(sorted(passed) == [0, 1, 2])
        """,
        numbers=numbers,
    ) == ["True"]


@BURSTS
@pytest.mark.parametrize("side", ["read", "write"])
def test_an_rwlock_is_not_given_to_who_has_gone(play, numbers, side):
    assert play(
        """
        def write():
            with lock.write:
                up.set()
                done.wait()

        lock, up, done = RWLock(), Event(), Event()
        (writer,) = started(write)
        up.wait()
        assert struck(numbers, getattr(lock, side).acquire)
        print(len(lock._latest().queue))
        done.set()
        writer.join(30)
        print(lock.locked())
        """,
        numbers=numbers,
        side=repr(side),
    ) == ["0", "False"]


STORM = """
    armed, strikes = False, 0

    def again(*_):
        global strikes
        if armed:
            strikes += 1
            # Mostly while the last one is being handled. (3.10 looks for signals at every `except`, also at those here.)
            pause = random.random() * 4e-5 + 1e-6 if sys.version_info >= (3, 11) else random.uniform(5e-5, 3e-4)
            signal.setitimer(signal.ITIMER_REAL, pause)
            raise Struck

    signal.signal(signal.SIGALRM, again)
    random.seed(5)

    def in_a_storm(call):
        "Call it, and go on striking until it has ended."
        global armed
        try:
            armed = True
            signal.setitimer(signal.ITIMER_REAL, random.random() * 3e-4 + 1e-6)
            call()
            armed = False
        except Struck:
            armed = False

    def calmly(call):
        global armed
        while True:
            try:
                in_a_storm(call)
                armed = False
                break
            except Struck:
                armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def for_a_while(seconds=1.5):
        end = time.monotonic() + seconds
        while strikes < 1500 and time.monotonic() < end:
            yield
    """


@STORMS
def test_a_storm_of_exceptions_leaves_a_semaphore_in_order(play):
    assert play(
        textwrap.dedent(STORM)
        + textwrap.dedent(
            """
            def fight():
                while not stop.is_set():
                    with semaphore:
                        time.sleep(0.0001)

            semaphore, stop, got = Semaphore(1), Event(), []
            fighters = started(fight, fight)
            for _ in for_a_while():
                got.clear()
                calmly(lambda: got.append(semaphore._wait(0.001)))
                if got == [True]:
                    semaphore.release()
            stop.set()
            if sys.version_info < (3, 11):
                semaphore.release(2)  # it looks for signals when _wait() has returned, too: then a permit is gone
            for thread in fighters:
                thread.join(30)
            print(any(thread.is_alive() for thread in fighters), len(semaphore._line), len(semaphore._front))
            """
        )
    ) == ["False", "0", "0"]


@STORMS
def test_a_storm_of_exceptions_leaves_a_barrier_usable(play):
    assert play(
        textwrap.dedent(STORM)
        + textwrap.dedent(
            """
            def other():
                while not stop.is_set():
                    try:
                        barrier.wait(0.5)
                    except BrokenBarrierError:
                        barrier.reset()

            def wait():
                try:
                    barrier.wait()
                except BrokenBarrierError:
                    pass

            barrier, stop = Barrier(2), Event()
            (thread,) = started(other)
            for _ in for_a_while():
                calmly(wait)
            stop.set()
            thread.join(30)
            until(lambda: not barrier._claims)
            print(thread.is_alive())
            """
        )
    ) == ["False"]


@STORMS
def test_a_storm_of_exceptions_leaves_no_ticket_in_an_rwlock(play):
    assert play(
        textwrap.dedent(STORM)
        + textwrap.dedent(
            """
            def other():
                while not stop.is_set():
                    with lock.write:
                        time.sleep(0.0001)
                    time.sleep(0.0001)

            lock, stop, me = RWLock(), Event(), get_ident()
            (thread,) = started(other)
            for _ in for_a_while():
                calmly(lambda: lock.write.acquire(timeout=0.001))
                until(lambda: not any(ticket.ident == me for ticket in [*lock._tickets]))
                assert not any(ticket.ident == me for ticket in lock._latest().queue)
                while me in lock._latest().holders:  # it may have had it, and have been struck after that
                    try:
                        lock.write.release()
                    except RuntimeError:  # another thread was at it
                        continue
            stop.set()
            thread.join(30)
            print(thread.is_alive(), lock.locked(), len(lock._tickets))
            """
        )
    ) == ["False", "False", "0"]


def test_an_rwlock_that_was_not_had_in_time_raises_what_the_handler_did(play):
    # A timed-out acquire() that is struck while it leaves the queue.
    assert play(
        """
        def write():
            with lock.write:
                up.set()
                done.wait()

        lock, up, done, seen, times = RWLock(), Event(), Event(), set(), 0
        (writer,) = started(write)
        up.wait()
        signal.signal(signal.SIGALRM, strike)
        end = time.monotonic() + 1.5
        while times < 1000 and (not seen or time.monotonic() < end):
            times += 1
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005 + random.random() * 0.0002)
                try:
                    lock.write.acquire(timeout=0.0005)
                except Exception as error:
                    seen.add(type(error).__name__)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Struck:
                continue  # late
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        print(*seen, len(lock._latest().queue))
        done.set()
        writer.join(30)
        """
    ) == ["Struck", "0"]


def test_nobody_passes_a_barrier_in_the_place_of_who_left_a_full_round(play):
    assert play(
        """
        def alone():
            try:
                print(barrier.wait(0.2))
            except BrokenBarrierError:
                print("broken")

        def act():
            alarm_until(lambda: hit)
            left.wait(30)

        hit, left = [], Event()
        barrier, passed = Barrier(3, act), []
        def third():
            until(lambda: barrier.n_waiting == 2)
            passed.append(barrier.wait())
        alarmed(lambda: (hit.append(True), strike()))
        threads = started(lambda: passed.append(barrier.wait()), third)
        try:
            barrier.wait()
        except Struck:
            print("struck", bool(hit))
            left.set()
        for thread in threads:
            thread.join(30)
        print(len(passed))
        (stranger,) = started(alone)
        stranger.join(30)
        """
    ) == ["struck", "True", "2", "broken"]


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy looks for signals anywhere")
@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
def test_a_release_that_has_begun_is_finished(play, kind):
    # Struck before it has done anything, or after it has done everything; the waiter is woken in the second case.
    assert play(
        """
        def other():
            while not stop.is_set():
                if semaphore.acquire(timeout=30):
                    time.sleep(0)
                    got.append(None)
                    semaphore.release()

        semaphore, stop, got, strikes = kind(1), Event(), [], 0
        (thread,) = started(other)
        signal.signal(signal.SIGALRM, strike)
        end = time.monotonic() + 1.5
        while strikes < 300 and time.monotonic() < end:
            assert semaphore.acquire(timeout=30)
            before = len(got)
            try:
                signal.setitimer(signal.ITIMER_REAL, random.random() * 1e-4)
                semaphore.release()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Struck:
                strikes += 1
                time.sleep(0.0002)
                if semaphore._value == 0 and not semaphore._kept and len(got) == before:
                    try:
                        semaphore.release()  # it had not begun, or somebody has it
                    except ValueError:
                        pass
            until(lambda: len(got) > before or not thread.is_alive())
        stop.set()
        semaphore.release() if not semaphore._value and kind is Semaphore else None
        thread.join(30)
        print(thread.is_alive())
        """,
        kind=kind,
    ) == ["False"]


def test_who_waits_for_an_rwlock_and_forks_is_not_left_waiting_for_the_dead(play):
    assert play(
        """
        def write():
            with lock.write:
                up.set()
                done.wait(60)

        def fork():
            child.append(os.fork())
            if child != [0]:
                child.append(os.waitpid(child[0], 0)[1])
                done.set()

        lock, up, done, child = RWLock(), Event(), Event(), []
        started(write)
        up.wait()
        alarmed(fork, lambda: lock._latest().queue)
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        try:
            lock.read.acquire()
        except RuntimeError as error:
            os._exit(3 if "parent" in str(error) and child == [0] else 1)
        if child == [0]:
            os._exit(2)
        print(os.waitstatus_to_exitcode(child[1]))
        """
    ) == ["3"]


def test_no_thread_of_a_forked_child_is_taken_for_a_writer_of_the_parent(play):
    assert play(
        """
        def write():
            with lock.write:
                up.set()
                done.wait(60)

        def ask():
            try:
                answers.append(lock.write.acquire(timeout=1))
            except RuntimeError:
                answers.append("refused")

        lock, up, done, answers = RWLock(), Event(), Event(), []
        (writer,) = started(write)
        up.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            ask()
            same = False
            for _ in range(50):  # sooner or later one gets the identifier of the writer
                (thread,) = started(ask)
                same |= thread.ident == writer.ident
                thread.join()
            assert lock.locked() and lock.write.locked() and not lock.read.locked()
            os._exit(set(answers) != {"refused"})
        print(os.waitpid(child, 0)[1])
        done.set()
        """
    ) == ["0"]


def test_in_a_forked_child_nobody_of_the_parent_is_counted_at_a_barrier(play):
    assert play(
        """
        barrier, passed = Barrier(3), []
        started(barrier.wait, barrier.wait)
        until(lambda: barrier.n_waiting == 2)
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            before = barrier.n_waiting
            threads = started(*[lambda: passed.append(barrier.wait(30))] * 3)
            for thread in threads:
                thread.join()
            os._exit((before, sorted(passed)) != (0, [0, 1, 2]))
        print(os.waitpid(child, 0)[1], barrier.n_waiting)
        """
    ) == ["0", "2"]


def test_who_waits_at_a_barrier_and_forks_waits_in_the_child_too(play):
    assert play(
        """
        barrier, passed, child = Barrier(3), [], []

        def fork():
            child.append(os.fork())
            if child == [0]:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(60)
                assert barrier.n_waiting == 1
                started(*[lambda: passed.append(barrier.wait(30))] * 2)
            else:
                child.append(os.waitpid(child[0], 0)[1])
                barrier.abort()  # nobody comes

        def other():
            try:
                barrier.wait(80)
            except BrokenBarrierError:
                pass

        started(other)
        until(lambda: barrier.n_waiting == 1)
        alarmed(fork, lambda: barrier.n_waiting == 2)
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        try:
            mine = barrier.wait(80)
        except BrokenBarrierError:
            mine = None
        if child == [0]:
            until(lambda: len(passed) == 2)
            os._exit(sorted([*passed, mine]) != [0, 1, 2])
        print(mine, child[1])
        """
    ) == ["None", "0"]


def test_who_is_told_that_it_has_the_lock_has_it(play):
    # 3.10 looks for signals at jumps, too, and so when everything has been settled.
    assert play(
        """
        lock, me, lies, times = RWLock(), get_ident(), 0, 0
        signal.signal(signal.SIGALRM, strike)
        end = time.monotonic() + 1.5
        while times < 4000 and (times < 51 or time.monotonic() < end):
            times += 1
            try:
                signal.setitimer(signal.ITIMER_REAL, random.random() * 2e-4 + 1e-6)
                for _ in range(20):
                    if lock.write.acquire() and me not in lock._latest().holders:
                        lies += 1
                    lock.write.release()
                    lies += lock.locked()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Struck:
                while me in lock._latest().holders:
                    lock.write.release()
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        print(lies)
        """
    ) == ["0"]


# ---------------------------------------------------------------------------------------- handlers that use what they struck


def test_a_handler_may_ask_for_an_rwlock_that_its_own_thread_waits_for(play):
    assert play(
        """
        def hold():
            with lock.write:
                up.set()
                until(lambda: len(lock._latest().queue) == 1)
                alarm_until(lambda: len(lock._latest().queue) == 2)

        def ask():
            with getattr(lock, inner):
                log.append(lock._mine())

        for outer in ("read", "write"):
            for inner in ("read", "write"):
                lock, up, log = RWLock(), Event(), []
                alarmed(ask)
                (holder,) = started(hold)
                up.wait()
                with getattr(lock, outer):
                    log.append(lock._mine())
                assert not lock.locked() and not lock._tickets, lock
                print(outer, inner, *log, sep=":")
        """
    ) == [
        # Both ask, so both hold it, as soon as its turn has come; whoever wants to write has to come before who reads.
        *["read:read:(2,", "0):(1,", "0)"],
        *["read:write:(1,", "1):(1,", "0)"],
        *["write:read:(1,", "1):(0,", "1)"],
        *["write:write:(0,", "2):(0,", "1)"],
    ]


@pytest.mark.parametrize("how", ["release", "downgrade"])
def test_a_handler_may_ask_for_an_rwlock_that_has_been_given_to_who_is_not_rung_yet(play, how):
    assert play(
        """
        def other():
            side = lock.read if how == "downgrade" else lock.write
            with side:
                log.append("other")

        def ring(state):  # a signal comes between the state and the bells
            RWLock._ring = staticmethod(rings)
            os.kill(os.getpid(), signal.SIGALRM)
            rings(state)

        def ask(*_):
            if how == "downgrade":
                lock.read.release()
            with getattr(lock, kind):
                log.append("handler")

        rings = RWLock._ring
        signal.signal(signal.SIGALRM, ask)
        for kind in ("write",) if how == "downgrade" else ("read", "write"):
            lock, log = RWLock(), []
            lock.write.acquire()
            (thread,) = started(other)
            until(lambda: lock._latest().queue)
            RWLock._ring = staticmethod(ring)
            lock.downgrade() if how == "downgrade" else lock.write.release()
            thread.join(30)
            print(*log, lock.locked())
        """,
        how=repr(how),
    ) == ["other", "handler", "False"] * (1 if how == "downgrade" else 2)


STRUCK_WITH_THE_LAST_SEAT = """
    def wait():
        try:
            passed.append(barrier.wait())
        except BrokenBarrierError:
            passed.append("broken")

    def sit_down(self, claim):  # a signal comes when the last seat has been taken, and before that is noticed
        Barrier._sit_down = sits_down
        current = sits_down(self, claim)
        os.kill(os.getpid(), signal.SIGALRM)
        return current

    def all_asleep(n):
        return len(barrier._claims) == n and sum(claim.bell is not None for claim in [*barrier._claims]) >= n - 1

    barrier, passed = Barrier(2), []
    threads = started(wait)
    until(lambda: barrier.n_waiting == 1)
    sits_down = Barrier._sit_down
    """


def test_a_last_seat_that_is_left_again_is_for_who_came_meanwhile(play):
    assert play(
        textwrap.dedent(STRUCK_WITH_THE_LAST_SEAT)
        + textwrap.dedent(
            """
            def come(*_):
                threads.extend(started(wait))
                until(lambda: all_asleep(3))
                raise Struck

            signal.signal(signal.SIGALRM, come)
            Barrier._sit_down = sit_down
            try:
                barrier.wait()
            except Struck:
                for thread in threads:
                    thread.join(30)
                print(*sorted(passed), len(barrier._claims))
            """
        )
    ) == ["0", "1", "0"]


def test_a_barrier_passes_without_who_came_before_it_was_decided(play):
    assert play(
        textwrap.dedent(STRUCK_WITH_THE_LAST_SEAT)
        + textwrap.dedent(
            """
            def come(*_):
                threads.extend(started(wait))
                until(lambda: all_asleep(3))

            signal.signal(signal.SIGALRM, come)
            Barrier._sit_down = sit_down
            mine = barrier.wait()
            threads[0].join(30)
            until(lambda: barrier.n_waiting == 1)
            print(*sorted([mine, *passed]))
            (last,) = started(wait)
            for thread in (*threads, last):
                thread.join(30)
            print(*sorted(passed[1:]))
            """
        )
    ) == ["0", "1", "0", "1"]


def test_a_handler_that_waits_at_a_barrier_in_place_of_its_thread_leaves_nobody_there(play):
    # The handler cannot wait for its own thread to decide; so it begins the next round, and the interrupted one is broken.
    assert play(
        textwrap.dedent(STRUCK_WITH_THE_LAST_SEAT)
        + textwrap.dedent(
            """
            signal.signal(signal.SIGALRM, lambda *_: barrier.wait(0.01))
            Barrier._sit_down = sit_down
            try:
                barrier.wait()
            except BrokenBarrierError:
                threads[0].join(30)
                print(*passed, barrier.broken)
            barrier.reset()
            passed.clear()
            for thread in started(wait, wait):
                thread.join(30)
            print(*sorted(passed))
            """
        )
    ) == ["broken", "True", "0", "1"]


# -------------------------------------------------------------------------------------------- several, one upon the other

AT_ONCE = """
    def be_struck(numbers):
        "In a handler: all of them are pending when the first one strikes."
        signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
        for number in numbers:
            os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL)

    def struck_inside(numbers):
        "Be struck here. (Out of a call that looks for signals itself, the second one would not strike at once.)"
        signal.signal(signal.SIGALRM, lambda *_: be_struck(numbers))
        signal.setitimer(signal.ITIMER_REAL, 0.0001)
        while True:
            pass

    def sheltered(call):
        "Call it, and wait until none is left. (No loop jumps back where nothing would catch what strikes.)"
        hits = 0
        try:
            try:
                try:
                    try:
                        call()
                    except Struck:
                        hits += 1
                    let_them_strike()
                except Struck:
                    hits += 1
                let_them_strike()
            except Struck:
                hits += 1
            let_them_strike()
        except Struck:
            hits += 1
        assert hits

    def let_them_strike():
        for _ in range(3):
            time.sleep(0.0002)
            signal.pthread_sigmask(signal.SIG_BLOCK, ())  # a call that looks for signals
    """


@BURSTS
@pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy looks for signals anywhere")
@pytest.mark.parametrize(
    "lock",
    [
        "RLock()",
        "Lock()",
        "RWLock().write",
        "NamedRLock('x')",
        "debug.enable() or NamedRLock('x')",
        "debug.enable() or NamedLock('x')",
    ],
)
def test_a_condition_has_its_lock_and_no_bell_in_line(play, numbers, lock):
    left_in_line = play(
        textwrap.dedent(AT_ONCE)
        + textwrap.dedent(
            """
            from {threading} import debug
            signal.signal(signal.SIGALRM, lambda *_: be_struck(numbers))
            for _ in range(5):
                condition = Condition(make())
                condition.acquire()
                # The timer is set in the shelter: on a busy machine it may strike before the wait has begun.
                sheltered(lambda: (signal.setitimer(signal.ITIMER_REAL, 0.005), condition.wait(10)))
                print(len(condition._bells))
                condition.release()
            """
        ),
        numbers=numbers,
        make=f"lambda: {lock}",
    )
    assert left_in_line == ["0"] * 5


@BURSTS
@pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy looks for signals anywhere")
def test_an_event_that_is_set_has_woken_all(play, numbers):
    assert play(
        textwrap.dedent(AT_ONCE)
        + textwrap.dedent(
            """
            class Bells(dict):
                def pop(self, *bell):
                    if armed:
                        armed.clear()
                        struck_inside(numbers)
                    return dict.pop(self, *bell)

            event, armed = Event(), [True]
            threads = started(event.wait, event.wait, event.wait)
            until(lambda: len(event._bells) == 3)
            event._bells = Bells(event._bells)
            sheltered(event.set)
            for thread in threads:
                thread.join(30)
            print(any(thread.is_alive() for thread in threads))
            """
        ),
        numbers=numbers,
    ) == ["False"]


EVERYWHERE = """
    monitoring, me = sys.monitoring, get_ident()
    monitoring.use_tool_id(4, "struck")
    place = last = 0

    def strikes(code, *_):
        global place
        if place < last and get_ident() == me and "/threading/" in code.co_filename.replace("\\\\", "/"):
            place += 1
            if place == last:
                raise Struck

    for kind in (monitoring.events.PY_START, monitoring.events.C_RETURN):
        monitoring.register_callback(4, kind, strikes)

    def wherever_it_strikes(make, call, has_been_done):
        "Again and again, struck at the second place, the third, ...; the first is the first instruction of the call."
        global place, last
        undone, n = [], 1
        while True:
            n += 1
            thing = make()
            monitoring.set_events(4, monitoring.events.PY_START | monitoring.events.CALL)
            place, last = 0, n
            try:
                call(thing)
                struck = False
            except Struck:
                struck = True
            place = last = 0
            monitoring.set_events(4, 0)
            end = time.monotonic() + 30
            while not has_been_done(thing) and time.monotonic() < end:
                time.sleep(0.001)
            if not has_been_done(thing):
                undone.append(n)
            if not struck:
                break
        print(n > 5, *undone)

    def at_barrier():
        def wait():
            try:
                barrier.wait()
            except BrokenBarrierError:
                left.append(None)

        barrier, left = Barrier(2), []
        started(wait)
        until(lambda: barrier.n_waiting == 1)
        return barrier, left

    def held(kind):
        lock = RWLock()
        getattr(lock, kind).acquire()
        return lock
    """


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no sys.monitoring")
@pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy looks for signals anywhere")
@pytest.mark.parametrize(
    "case",
    [
        "lambda: held('read'), lambda lock: lock.read.release(), lambda lock: not lock.locked()",
        "lambda: held('write'), lambda lock: lock.write.release(), lambda lock: not lock.locked()",
        "lambda: held('write'), lambda lock: lock.write.__exit__(None, None, None), lambda lock: not lock.locked()",
        "lambda: Semaphore(0), lambda semaphore: semaphore.release(2), lambda semaphore: semaphore._value == 2",
        "lambda: Semaphore(0), lambda semaphore: semaphore.release(2000), lambda semaphore: semaphore._value == 2000",
        "at_barrier, lambda at: at[0].abort(), lambda at: at[0].broken and at[1]",
        "at_barrier, lambda at: at[0].reset(), lambda at: not at[0].broken and at[1]",
    ],
    ids=["read.release", "write.release", "write.exit", "release 2", "release 2000", "abort", "reset"],
)
def test_what_has_begun_is_finished_wherever_it_is_struck(play, case):
    assert play(textwrap.dedent(EVERYWHERE) + f"wherever_it_strikes({case})\n") == ["True"]


RUNNING = """
    from {threading} import _surely, debug

    monitoring, me = sys.monitoring, get_ident()
    monitoring.use_tool_id(4, "struck")
    place, places, later = 0, (), []
    # What is left to another thread is done when it is too late for the wait.
    type(_surely.elsewhere).__setitem__ = staticmethod(lambda duty, args: later.append((duty, args)))

    def strikes(code, *_):
        global place
        if places and get_ident() == me and "/threading/" in code.co_filename.replace("\\\\", "/"):
            place += 1
            if place in places:
                raise Struck

    for kind in (monitoring.events.PY_START, monitoring.events.C_RETURN):
        monitoring.register_callback(4, kind, strikes)

    def rival():
        with lock:
            until(lambda: over or inner._latest().queue)

    for running in (1, 2, 3):
        n, wrong, hit = 1, [], True
        while hit:
            n += 1
            lock = make()
            inner, over = getattr(lock, "_lock", None), []
            condition = Condition(lock)
            lock.acquire()
            rivals = started(rival) if contended else []
            until(lambda: not contended or inner._latest().queue)
            monitoring.set_events(4, monitoring.events.PY_START | monitoring.events.CALL)
            place, places = 0, range(n, n + running)
            try:
                condition.wait(0)
                hit = False
            except Struck:
                pass
            places = ()
            monitoring.set_events(4, 0)
            while later:
                duty, args = later.pop(0)
                (thread,) = started(lambda: duty(*args))
                thread.join()
            if not condition._is_owned() or condition._bells:
                wrong.append((n, condition))
            else:
                over.append(True)
                lock.release()
                for thread in rivals:
                    thread.join(30)
                if lock.locked():
                    wrong.append((n, condition))
        print(n > 5, *wrong)
    """


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no sys.monitoring")
@pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy looks for signals anywhere")
@pytest.mark.parametrize(
    "lock",
    [
        "RLock()",
        "Lock()",
        "RWLock().write",
        "RWLock().write, contended",
        "NamedRLock('x')",
        "debug.enable() or NamedRLock('x')",
        "debug.enable() or NamedLock('x')",
        "debug.enable() or RWLock('x').write",
    ],
)
def test_a_wait_that_is_struck_at_any_place_and_the_next_ones_ends_with_the_lock(play, lock):
    make, _, contended = lock.partition(", ")
    script = textwrap.dedent(RUNNING)
    assert play(script, make=f"lambda: {make}", contended=bool(contended)) == ["True"] * 3
