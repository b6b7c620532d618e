# SPDX-License-Identifier: MIT
#
# The lifetime of a thread: whether it has begun, whether it has ended, and how to wait for either.
#
# Two objects. The `Lifetime` is for those who ask. The `Course` is what the new thread calls; nobody but the interpreter
# has it, so that its loss tells that the thread died before it could call it (no memory for its first frame).
#
# Two locks
#
#   the gate   held from the start until the thread has begun, or is known never to. It is opened by `Course.begin()`,
#              and if that is not reached by the destruction of the course. Its starter may keep it.
#   the end    held from the thread's first step until it has ended. The interpreter opens it, after everything that
#              Python code could see has been done: the thread's values in thread-locals are destroyed by then. Nobody
#              ever keeps it.
#
# How the interpreter opens the end
#
#   - Up to CPython 3.12, and in PyPy, it offers a "sentinel" for this very purpose: a lock that it releases as its last
#     act for a thread. But a thread has only one, and if it is the first to import the standard `threading` it gets
#     another: that module takes the thread that imports it for the main thread. (On 3.10 it is enough to start a process
#     through the interpreter's own call.) So the thread looks, as its last step, whether the interpreter still knows the
#     end, and if not opens it itself: `depart()`.
#   - From 3.13 on it offers a handle that waits for the *system's* thread to be gone. That is more than a joiner wants to
#     know, and costs two more thread switches. So there the end is opened by a `_Loss`, a thread-local value whose
#     destruction releases a lock. Values of a thread die in the reverse of the order in which that thread first touched
#     their thread-locals; the first one touched dies last. Hence `Course.arrive()` has to come before all else that the
#     thread does. (Measured on 3.13 to 3.15, and watched by a test of this package. In an interpreter that had another
#     order, a joiner might find a value of the ended thread not yet destroyed, no worse.) What dies after that are the
#     thread's context variables.
#   - From 3.14 on nothing at all is destroyed at the end of a thread with a very small stack: the interpreter puts off
#     destroying containers until there is more room on the stack than such a thread ever has. (With 64 KiB nothing is
#     destroyed, with 96 all is: measured on 3.14 and 3.15.) How big the stack is nobody can be asked: `stack_size()` without
#     an argument sets it. So the thread destroys something, `depart()`, and if that is put off opens the end itself.
#
# Passing through a lock
#   - Who waits for the end acquires it and releases it in one step of C code, `passes()`. No exception of a signal
#     handler can come between (as it could in a `with` statement, on 3.14), so nobody is ever shut out, however many
#     wait, and no list of them is needed.
#   - Without a global lock an end may look held for an instant while somebody passes. Therefore whoever has seen it open
#     notes that, by replacing it, before telling anyone.
#
# Forks
#   - In a child all threads but one do not exist, whatever their locks say. Each lifetime knows the process that it
#     belongs to, written by the starter and, since a fork may come between (in a signal handler), again by the thread.
#     The lifetime of the thread that forked is told that it `came_along()`. That thread is the main thread now, which may
#     be said to have ended (`finish()`) while it still waits for the others at exit. So it gets an end of its own, which
#     the interpreter knows nothing of: it is opened by `finish()` or, as the thread's last step, by `depart()`.
#   - From 3.12 on, the interpreter warns who forks while there are other threads, and it asks the system how many there
#     are. So that "join, then fork" is not warned of, a fork waits a moment for those that were waited for last, if they
#     are still leaving. Nobody would get what a signal handler raises meanwhile. So a Ctrl-C is told again as soon as no
#     Python code of ours can swallow it: `os.fork()` then ends with it, as it would have.
#
# Interruptions
#   - `launch()` notes in one step of C code what it has started: `note` is empty if and only if there is no such thread.
#
# A thread is some hundred microseconds, and a fifth of that is what is written here and in the layer above: every line
# that each thread runs through has been weighed. Bytecodes run cold there, after a switch, at some 20 ns each.

from __future__ import annotations

import os
import sys
from itertools import compress, starmap

from ._platform import (
    allocate_lock,
    count_weak_references,
    daemon_threads_allowed,
    get_ident,
    get_native_id,
    native,
    refusal,
    start_detached,
)

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["Course", "Lifetime", "begin_anew"]

# Seconds that a fork waits for threads that have ended to leave the system. A guess; it takes them some microseconds.
LAST_STEPS = 0.05

# How many such threads are remembered. A guess: more will not be leaving at a time.
DEPARTED_KEPT = 8

_set_sentinel: Callable[[], Any] | None = native("_set_sentinel")
_start_joinable: Any = native("start_joinable_thread")
_native_id: Callable[[], Any] = get_native_id or (lambda: None)

# CPython refers weakly to the sentinel of a thread, and to no other. PyPy's references cannot be counted.
_SENTINELS_ARE_KNOWN = sys.implementation.name == "cpython"

# Whether what is to be destroyed at a thread's end may be left, for want of stack.
_LEAVES_SOME = sys.version_info >= (3, 14) and sys.implementation.name == "cpython"

_ONCE = ((),)
_OPEN: Any = allocate_lock()  # nobody ever keeps it
_process = object()  # another one in each forked child
_survivor: Any = None  # in a forked child, the Lifetime of the thread that forked, if it was launched

# What the system calls threads that somebody has waited for; of those that would share a place, the latest.
_departed = [0] * DEPARTED_KEPT
_FORKS_ARE_WARNED_OF = (
    sys.version_info >= (3, 12) and sys.platform == "linux" and hasattr(os, "register_at_fork")
)


def passes(lock: Any, timeout: float) -> bool:
    """Wait until *lock* is free, at most *timeout* seconds if that is not negative; say whether it was. Not kept."""
    # What `acquire` returned selects whether `release` is called, with no arguments.
    passed = bool([*starmap(lock.release, compress(_ONCE, starmap(lock.acquire, ((True, timeout),))))])
    if not passed and timeout < 0:  # a signal handler's, which an iterator takes for its end
        raise StopIteration("raised while a thread was waited for")
    return passed


class _Loss:
    """Something whose destruction calls what was put into its slot: C code, so that no Python code runs for it."""

    __slots__ = ("__del__",)
    __del__: Callable[[], object]


class Course(_Loss):
    """What a new thread calls: override `__call__`, and in it call `arrive()` first of all, then `begin()`, and at last
    `depart()`.

    If the thread never calls it, those who wait for the beginning are told.
    """

    __slots__ = ("lifetime",)

    # The thread-local in which the subclass keeps what it has to; the first one that its threads touch. (What it holds
    # may outlast the end by an instant.)
    here: Any

    lifetime: Any

    def __call__(self) -> None:
        """What the thread does."""
        raise NotImplementedError(f"{type(self).__name__} must override __call__()")

    def arrive(self) -> None:
        """In the new thread, as its first step: see to it that its end will be noticed."""
        lifetime = self.lifetime
        if _set_sentinel is None:
            end = allocate_lock()
            end.acquire()
            self.here.at_end = loss = _Loss()
            loss.__del__ = end.release
        else:
            end = _set_sentinel()
            end.acquire()  # it is the thread's own job; PyPy crashes at the end of a thread that did not
        lifetime.ident = get_ident()
        lifetime.native_id = _native_id()
        lifetime._process = _process
        lifetime._end = end

    def begin(self) -> None:
        """In the new thread, when nothing can keep it from doing its work any more: let the starter go on."""
        lifetime = self.lifetime
        lifetime.has_begun = True
        self.__del__ = bool  # which does nothing when it is called
        lifetime.gate.release()

    def depart(self) -> None:
        """In the new thread, as its last step: see to it that its end is noticed though it is not the interpreter's."""
        lifetime = self.lifetime
        if lifetime is _survivor:
            lifetime.finish()
            return
        end = lifetime._end
        if _set_sentinel is None:
            if _LEAVES_SOME and end is not None:
                left = [None]
                probe = _Loss()
                probe.__del__ = left.clear
                del probe
                if left:
                    self.here.at_end.__del__ = bool
                    end.release()
            return
        if end is None or count_weak_references(end):
            return  # nobody has replaced the thread's sentinel
        if _SENTINELS_ARE_KNOWN:
            self.here.at_end = loss = _Loss()
            loss.__del__ = end.release
        else:
            _set_sentinel().acquire()  # whichever it had, it has another now
            end.release()

    def give_up(self) -> None:
        """In the new thread, instead of `begin()`: let the starter see that it has not."""
        self.__del__ = bool
        self.lifetime.gate.release()


class Lifetime:
    """From start to end of one thread, which is started by `launch()`, or elsewhere: `observe()`."""

    # Slots, and no defaults in the class: what is in both places is slow to get and to set. `launch()` and `observe()`
    # fill them; before that there is nothing to ask.
    __slots__ = ("_end", "_opens_end", "_process", "gate", "has_begun", "ident", "native_id", "note")

    ident: int | None  # as the thread itself says; None until `Course.arrive()`
    native_id: int | None  # None also where systems have no such thing
    has_begun: bool
    _end: Any  # the lock; None until `Course.arrive()`, and _OPEN when somebody has seen it open
    gate: Any
    note: list[Any]  # of what was started, at most one: its identifier, or the interpreter's handle
    _opens_end: Iterator[
        object
    ]  # does so once; of a thread that was started elsewhere, or came along in a fork
    _process: object

    def launch(self, course: Course, *, joinable: bool = False) -> None:
        """Start a thread that calls *course*, of which the caller keeps no reference.

        It is *joinable*, for `farewell()`, if the interpreter has such threads. RuntimeError if no thread can be
        started, chained to the OSError that it stands for. Whatever else is raised is a signal handler's:
        `started_as()` then tells whether the thread exists.
        """
        self.ident = self.native_id = self._end = None
        self.has_begun = False
        self._process = _process
        note: list[Any] = []
        self.note = note
        self.gate = gate = allocate_lock()
        gate.acquire()
        course.lifetime = self
        course.__del__ = gate.release
        try:
            # In one step: what exists is noted.
            if joinable and _start_joinable is not None:
                note += starmap(_start_joinable, ((course, None, daemon_threads_allowed()),))
            else:
                note += starmap(start_detached, ((course, ()),))
            return
        except RuntimeError as error:
            failure = error
        finally:
            del course  # a traceback may come to hold this frame
        if (answer := refusal(failure)) is failure:
            raise failure
        raise answer

    def started_as(self) -> int | None:
        """The identifier of the thread, also before it has arrived; None if none was started."""
        for started in self.note:
            ident: int = getattr(started, "ident", started)
            return ident
        return None

    def observe(self, ident: int) -> None:
        """Be the lifetime of a thread that was started elsewhere, until somebody says `finish()`."""
        self.ident = ident
        self.native_id = None
        self.has_begun = True
        self._process = _process
        self.note = []
        self.gate = _OPEN
        self._have_an_end_of_its_own()

    def _have_an_end_of_its_own(self) -> None:
        end = allocate_lock()
        end.acquire()
        self._opens_end = starmap(end.release, _ONCE)
        self._end = end

    def finish(self) -> None:
        """The thread that was started elsewhere, or came along in a fork, has ended. To say so again has no effect."""
        try:
            for _ in self._opens_end:  # one step of C code; if it has been struck, it has been done
                break
        except RuntimeError:  # without a global lock, somebody else may have taken the same step
            pass
        self._end = _OPEN

    def is_over(self) -> bool:
        """Whether the thread, which was started, has ended. Never blocks."""
        end = self._end
        if end is _OPEN:
            return True
        # Without an end, and with the gate open, it died before its first step.
        if (self.gate if end is None else end).locked() and self._process is _process:
            return False
        if end is None and self._end is not None:
            return self.is_over()  # it has arrived meanwhile
        self._end = _OPEN
        return True

    def wait(self, timeout: float = -1) -> bool:
        """Wait until the thread, which was started, has ended, at most *timeout* seconds if that is not negative.

        Returns whether it has ended. Any number of threads may wait, but for a thread that has not begun only when
        its starter does not keep the gate.
        """
        end = self._end
        if end is _OPEN:
            return True
        if self._process is _process:
            if end is None:
                return self._wait_from_the_beginning(timeout)
            if end.locked() and not passes(end, timeout):
                return False
            if _FORKS_ARE_WARNED_OF and self.note:
                native_id = self.native_id
                _departed[native_id % DEPARTED_KEPT] = native_id  # type: ignore[operator, assignment]
        self._end = _OPEN
        return True

    def _wait_from_the_beginning(self, timeout: float) -> bool:
        from time import monotonic  # such early joiners are rare

        since = monotonic()
        if not passes(self.gate, timeout):
            return False
        if self._end is None:  # it died before its first step
            self._end = _OPEN
            return True
        return self.wait(timeout if timeout < 0 else max(0, timeout - monotonic() + since))

    def farewell(self) -> Callable[[], object]:
        """A function that waits until nothing is left of the thread; it does not refer to the lifetime."""
        for started in self.note:
            join: Callable[[], object] | None = getattr(started, "join", None)
            if join is not None:
                return join
        end = self._end
        return lambda: passes(end, -1)

    def came_along(self) -> None:
        """In a forked child: this is the lifetime of the thread that forked. `finish()` may say that it has ended."""
        global _survivor
        self._process = _process
        if not hasattr(self, "_opens_end"):
            _survivor = self
            self._have_an_end_of_its_own()


def begin_anew() -> None:
    """In a forked child: no thread came along, except as `Lifetime.came_along()` says."""
    global _process
    _process = object()
    _departed[:] = [0] * DEPARTED_KEPT


_interrupts: list[_Loss] = []  # whose destruction interrupts the main thread


def _see_off() -> None:
    try:
        from time import monotonic, sleep

        end = monotonic() + LAST_STEPS
        for native_id in {*_departed} - {0}:
            while os.path.exists(f"/proc/self/task/{native_id}") and monotonic() < end:
                sleep(0.00005)  # there is no other way to wait for a thread that was not to be joined
        _departed[:] = [0] * DEPARTED_KEPT
    except KeyboardInterrupt:
        again = _Loss()
        again.__del__ = native("interrupt_main") or bool
        _interrupts.append(again)


if _FORKS_ARE_WARNED_OF:
    # The last one that is registered comes first.
    os.register_at_fork(before=_interrupts.clear)
    os.register_at_fork(before=_see_off)
