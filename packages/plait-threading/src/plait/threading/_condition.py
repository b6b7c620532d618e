# SPDX-License-Identifier: MIT
#
# Condition: wait, under a lock, until somebody says that something has changed.
#
# Theory of operation
#   Each waiter brings a raw lock of its own (its bell), taken, and appends it to `_bells`; then it lets go of the
#   condition's lock and tries to take its bell a second time. notify() strikes the oldest bell off the list and
#   releases it. So a wake-up is addressed to one waiter, and waiters are woken in the order in which they came.
#
#   Only waiters that give up are looked for in the list (a deque; a dictionary would find them at once, but looking for
#   its oldest key passes all the places where older ones have been).
#
# What must always hold
#   - A bell is struck off exactly once: by the notifier that rings it, or by its waiter that gives up. Both are one
#     operation on the deque, which decides who was first.
#   - Striking off and ringing are one step of an iterator (`_strike`), all in C: no exception of a signal handler can
#     come between the two, and no bell can be struck off and left silent.
#   - No wake-up is lost. A waiter that times out and then finds its bell struck off has been notified after all, and
#     says so. A waiter that is interrupted by an exception (KeyboardInterrupt) and finds its bell struck off cannot use
#     the wake-up; it passes it on to the next.
#   - wait() never ends without the lock, however it ends, since the caller's `with` is going to release it. An
#     exception that strikes while the lock is being taken back is kept until it has been.
#   - What a signal handler may interrupt, it may also re-enter: a handler's (or finaliser's) notify() in the middle of
#     ours finds the list in order, and we find it in order afterwards.
#   - A forked child inherits the bells of threads that it does not have. They are noted (`_strangers`) when the child
#     first uses the condition, and its first notify() rings all of them, which is not counted as waking anybody. (They
#     are rung because the thread that forked may have done so in a signal handler, while waiting, and is still there.)
#
# Between two bytecodes an exception of a signal handler can strike. "Has the lock been released already?" must then have
# an answer, which `lock.release(); released = True` does not give: the exception may come between the two. (Nor does a
# `with` statement: on 3.14 it may come between __enter__ and the body.) There are two ways out:
#
#   - Since 3.11 CPython looks for signals only after calls, at backward jumps and at the start of functions. A step of a
#     C iterator is a call of C code without a call instruction, and what it returns is stored in the very next one: in
#     `for answer in releases: break` there is nowhere to strike between the release and the note of it. `_letting_go`
#     and `_taking_back` are such iterators; they have no state of their own, so that any number of threads may be in
#     the middle of a step.
#     (An RLock can be asked afterwards whether this thread owns it; so only letting go of it has to be noted, because of
#     how often it was held.)
#   - 3.10 and PyPy look more often. There, what has to happen together is put into one call of C code:
#     `happened += starmap(call, ONCE)` calls it and notes the answer in a list. That works everywhere, but makes wait()
#     slower than the standard one.
#
# At the recursion limit nothing can be undone, for that takes calls. So wait() looks whether there is room for them before
# it does anything, and raises RecursionError if not. Should there be none after all (a lock may need more than is
# looked for), it tries some times and then ends, with the RecursionError and perhaps without the lock.
#
# Several signals at once (see _surely.py): a wait must end in its own thread, for the lock is to be that thread's. Three
# may strike it at the same moment, on 3.10 two; one more can get past, and the wait then ends without the lock.
#
# What remains: exceptions that strike between the user's own `with condition:` and its body leave the lock held on 3.14
# and PyPy, as they do for every lock; and nothing can be done for an exception that strikes after wait() has returned.
#
# `with condition:` costs no more than `with lock:`; how is said in _slots.py. notify() asks one question where nobody
# waits, `_idle`: that is the lock's "does this thread own you?" while the line is known to be empty, and otherwise
# `bool`, which when called says no. A waiter stores `bool` after it has entered the line. A notifier that finds the line
# empty stores the lock's question, and looks at the line once more. So whoever is in line when both are done is seen.

from __future__ import annotations

import sys
from itertools import islice, repeat, starmap
from time import monotonic

from .._thread import (
    LockType,
    RLock,
    RLockType,
    allocate_lock,
    fork_generation,
    give_way,
    register_after_fork,
    seconds,
)
from ._copies import Uncopied
from ._named import Named
from ._platform import deque
from ._rwsides import WriteSide
from ._slots import SlotMethods
from ._surely import SEVERAL, raised_here

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any, TypeVar

    T = TypeVar("T")

# For starmap: calls without arguments, endlessly; one such call; one acquire(True).
ALWAYS: Any = repeat(())
ONCE: Any = ((),)
BLOCKING_ONCE: Any = ((True,),)

# What a `for` gets is stored before a signal is looked for; see above.
STORED_AT_ONCE = sys.version_info >= (3, 11) and sys.implementation.name == "cpython"

# So many frames there has to be room for below one more, to end a wait: for calls of C code, which count before 3.12; and
# to take back a lock that is written in Python, at the most.
SHALLOW = 0 if sys.version_info >= (3, 12) else 1
DEEP = 25

_ring: Callable[[Any], None] = LockType.release

# The fork generation, to be read without a call.
_epoch = fork_generation()


def _in_child(_condition: object) -> None:
    global _epoch
    _epoch = fork_generation()


def _ended_by_stop_iteration() -> StopIteration:
    # A signal handler's, out of a lock that is written in Python: to who steps through an iterator it only means the end.
    return StopIteration("raised while a Condition's lock was released or taken back")


def _see_whether_there_is_room(frames: int) -> None:
    if frames:
        _see_whether_there_is_room(frames - 1)


class Condition(Uncopied, metaclass=SlotMethods):
    """A condition variable: threads wait for a change that others announce, all under one lock.

    *lock* is a `Lock` or an `RLock` of this package or of the standard module, or anything else with `acquire` and
    `release`; by default a new RLock. Use it as a context manager, or through `acquire` and `release`, to hold the
    lock.

    A Condition has a metaclass, an ABCMeta. So a subclass with another one (its own, that of `typing.Protocol`, of a GUI
    toolkit's classes) needs one that descends from both: ``class Meta(type(Condition), type(Other)): pass`` and
    ``class Both(Condition, Other, metaclass=Meta)``. The interpreter's word for that mistake is "metaclass conflict".

    Differs from `threading.Condition`: waiters are woken in order of arrival; a waiter that times out or is
    interrupted at the moment it is notified does not take the wake-up with it; `wait()` has the lock again however
    it ends; in a forked child, notifications do not go to threads that only the parent has; `with condition:` is twice
    as fast.
    """

    # With what is to be said of them.
    __slots__ = {
        **dict.fromkeys(
            (
                "__dict__",
                "__enter__",
                "__exit__",
                "__weakref__",
                "_acquire_restore",
                "_bells",
                "_generation",
                "_idle",
                "_is_ours",
                "_is_owned",
                "_knows_owner",
                "_letting_go",
                "_lock",
                "_noted_in",
                "_release_save",
                "_restores",
                "_room",
                "_spare",
                "_strangers",
                "_strike",
                "_taking_back",
            )
        ),
        "acquire": "Take the lock: this is its own method, acquire(blocking=True, timeout=-1) of a Lock or an RLock.",
        "release": "Let go of the lock: this is its own method.",
    }

    if TYPE_CHECKING:
        # Slots that hold functions are methods to those who call them.
        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
        def release(self) -> None: ...
        def __enter__(self) -> bool: ...
        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None,
            /,
        ) -> None: ...

    def __init__(self, lock: Any = None) -> None:
        if lock is None:
            lock = RLock()
        self._lock = lock
        bells: deque[Any] = deque()
        self._bells = bells
        self._strike: Iterator[None] = map(_ring, starmap(bells.popleft, ALWAYS))
        self._strangers: frozenset[Any] = frozenset()
        self._generation = self._noted_in = _epoch
        self._spare: Any = None
        if isinstance(lock, Named):
            lock.follow(self)
        else:
            self._bind(lock.acquire, lock.release)

    def _bind(
        self,
        acquire: Callable[..., bool],
        release: Callable[[], None],
        let_go: Callable[..., Any] | None = None,
        take_back: Callable[..., Any] | None = None,
    ) -> None:
        """Take what is needed of the lock.

        Called by a named lock, and again when a watcher comes or goes: *let_go* and *take_back* are what to use in a wait
        instead of the other two. They are all or nothing, so to say: see `_named.Watcher`.
        """
        lock: Any = self._lock
        # Through the descriptors: in a subclass with methods of these names, attributes would miss the slots.
        _set_acquire(self, acquire)
        _set_release(self, release)
        if isinstance(lock, RLockType):
            _set_enter(self, lock.__enter__)
            _set_exit(self, lock.__exit__)
            self._is_owned: Callable[[], bool] = lock._is_owned
            # A lock that can be held several times over says how to let go of it altogether, and take it back as often.
            self._release_save: Callable[..., Any] = lock._release_save
            self._acquire_restore: Callable[..., Any] = lock._acquire_restore
            self._restores = self._knows_owner = True
        else:
            self._knows_owner = False
            leave = getattr(lock, "__exit__", None)
            _set_enter(self, getattr(lock, "__enter__", acquire))
            _set_exit(self, (lambda *_exception: release()) if leave is None else leave)
            self._release_save = getattr(lock, "_release_save", release) if let_go is None else let_go
            restore = getattr(lock, "_acquire_restore", None)
            self._restores = restore is not None
            if take_back is not None:
                restore = take_back
            elif restore is None:
                # Others' acquire() may take no arguments.
                restore = lambda _blocking: acquire()  # noqa: E731
            self._acquire_restore = restore
            owned = getattr(lock, "_is_owned", None)
            if isinstance(lock, LockType):
                # A plain lock does not know its owner; that somebody holds it is the most that can be asked.
                owned, self._acquire_restore = lock.locked, acquire
            self._is_owned = self._is_held if owned is None else owned
        self._idle: Callable[[], bool] = bool
        # A lock of somebody else's may be broken, and raise for ever.
        self._is_ours = isinstance(lock, (LockType, RLockType, Named, WriteSide))
        in_python = any(hasattr(self._acquire_restore, name) for name in ("__func__", "__code__", "func"))
        self._room = DEEP if in_python else SHALLOW
        self._letting_go: Iterator[Any] = starmap(self._release_save, ALWAYS)
        self._taking_back: Iterator[Any] | None = (
            None if self._restores else starmap(acquire if take_back is None else take_back, ALWAYS)
        )

    def _is_held(self) -> bool:
        if not self._lock.acquire(False):
            return True
        self._lock.release()
        return False

    def locked(self) -> bool:
        """Whether some thread holds the lock."""
        ask = getattr(self._lock, "locked", None)
        return bool(self._is_owned() or self._is_held() if ask is None else ask())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock!r}, {len(self._bells)} waiting)>"

    def wait(self, timeout: float | None = None) -> bool:
        """Let go of the lock, wait for a notification, take the lock back.

        Returns True when notified and False after *timeout* seconds without a notification; zero or less does not wait.
        The lock is let go of however often an RLock was taken. Taking it back is not subject to the timeout.
        RuntimeError without the lock. An exception from a signal handler ends the wait, with the lock held.
        RecursionError, and nothing has happened, where there is no room on the stack to end the wait.
        """
        if not self._is_owned():
            raise self._not_held("wait")
        _see_whether_there_is_room(self._room)
        if timeout is not None:
            timeout = seconds(timeout)
        if self._generation != _epoch:
            self._note_strangers()
        bell = self._spare
        if bell is None:
            bell = allocate_lock()
            bell.acquire()
        else:
            self._spare = None
        # Not noted yet: no lock gives us ourselves.
        saved: Any = self
        back: Any = self
        try:
            self._bells.append(bell)
            self._idle = bool
            for saved in self._letting_go:  # noqa: B007
                break
            else:
                raise _ended_by_stop_iteration()
            if timeout is None:
                give_way(bell.locked)
                rung = bell.acquire()
            elif timeout <= 0:
                rung = bell.acquire(False)
            else:
                rung = bell.acquire(True, timeout)
            taking_back = self._taking_back
            if taking_back is not None:
                for back in taking_back:  # noqa: B007
                    break
                else:
                    raise _ended_by_stop_iteration()
            elif self._knows_owner:
                self._acquire_restore(saved)
            else:
                for back in map(self._acquire_restore, (saved,)):  # noqa: B007
                    break
                else:
                    raise _ended_by_stop_iteration()
            if rung:
                # Taken again, and in nobody's hands: good for the next wait. (The lock is ours, and so is the place.)
                self._spare = bell
                return True
            try:
                self._bells.remove(bell)
            except ValueError as error:
                if not raised_here(error):
                    raise
                return True  # a notifier was first
            return False
        except BaseException:
            let_go = [] if saved is self else [saved]
            again = [] if back is self else [back]
            done: list[Any] = []
            patience = [*SEVERAL]
            try:
                while True:
                    try:
                        self._withdraw(bell, let_go, again, done)
                        break
                    except (RecursionError, MemoryError):
                        if not self._is_ours or not patience:
                            raise
                        del patience[-1]
                    except BaseException:  # another signal; the first exception does for both
                        if not self._is_ours:
                            raise
            except BaseException:  # a third, where this jumps back
                if not self._is_ours or not patience:
                    raise
                self._end_wait(bell, let_go, again, done)
            raise

    def _wait_carefully(self, timeout: float | None = None) -> bool:
        if not self._is_owned():
            raise self._not_held("wait")
        _see_whether_there_is_room(self._room)
        if timeout is not None:
            timeout = seconds(timeout)
        if self._generation != _epoch:
            self._note_strangers()
        bell = allocate_lock()
        bell.acquire()
        let_go: list[Any] = []
        back: list[Any] = []
        done: list[Any] = []
        try:
            try:
                self._bells.append(bell)
                self._idle = bool
                let_go += starmap(self._release_save, ONCE)
                if not let_go:
                    raise _ended_by_stop_iteration()
                if timeout is None:
                    give_way(bell.locked)
                    rung = bell.acquire()
                elif timeout <= 0:
                    rung = bell.acquire(False)
                else:
                    rung = bell.acquire(True, timeout)
                back += starmap(self._acquire_restore, (let_go,) if self._restores else BLOCKING_ONCE)
                if not back:
                    raise _ended_by_stop_iteration()
                return rung or not self._struck_off(bell)
            except BaseException:
                self._end_wait(bell, let_go, back, done)
                raise
        except BaseException:
            # Once more: here a second signal may strike on the way from the first exception to that call.
            self._end_wait(bell, let_go, back, done)
            raise

    def _end_wait(self, bell: Any, let_go: list[Any], back: list[Any], done: list[Any]) -> None:
        patience = [*SEVERAL]
        while True:
            try:
                self._withdraw(bell, let_go, back, done)
                return
            except (RecursionError, MemoryError):
                if not self._is_ours or not patience:
                    raise
                del patience[-1]
            except BaseException:  # another signal; the first exception does for both
                if not self._is_ours:
                    raise

    def _withdraw(self, bell: Any, let_go: list[Any], back: list[Any], done: list[Any]) -> None:
        """End a wait that an exception has ended: have the lock, and no bell in the line.

        Called again from the start if another exception strikes, until it has come to its end; the lists say how far
        it had come.
        """
        if let_go and not back and not (self._knows_owner and self._is_owned()):
            back += starmap(self._acquire_restore, (let_go,) if self._restores else BLOCKING_ONCE)
            if not back:
                raise _ended_by_stop_iteration()
        if not done:
            try:
                done += starmap(self._bells.remove, ((bell,),))
            except ValueError as error:
                if not raised_here(error):
                    raise
                # A notifier was quicker: its wake-up is for the next.
                if let_go and self._bells:
                    try:
                        done += islice(self._strike, 1)
                    except IndexError:
                        pass  # nobody is left who could use it
                done += (None,)

    def _struck_off(self, bell: Any) -> bool:
        """Strike off a bell for its own waiter; False if a notifier was first."""
        try:
            self._bells.remove(bell)
        except ValueError as error:
            if not raised_here(error):
                raise
            return False
        return True

    def _note_strangers(self) -> None:
        """At the first use in a forked child: nobody waits here so far, unless it is the thread that forked."""
        if self._noted_in != _epoch:
            self._strangers = frozenset(self._bells)
            self._noted_in = _epoch
        if not self._strangers:
            self._generation = _epoch

    def _ring_strangers(self) -> None:
        self._note_strangers()
        for bell in self._strangers:
            if self._struck_off(bell):
                bell.release()
        self._generation = _epoch

    def _not_held(self, method: str) -> RuntimeError:
        return RuntimeError(
            f"{self!r}: cannot {method} on un-acquired lock; {method}() belongs inside `with condition:`"
        )

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until ``predicate()``, called with the lock held, is true; return what it returned last.

        When *timeout* seconds of waiting are over, that may be a false value. They begin when it was false for the first
        time. However few they are, the lock is then let go of once, and the predicate asked again. Otherwise like `wait`.
        """
        deadline: float | None = None
        left = timeout
        while not (answer := predicate()):
            if timeout is not None:
                if deadline is None:
                    timeout = left = seconds(timeout)
                    deadline = monotonic() + timeout
                elif (left := deadline - monotonic()) <= 0:
                    break
            self.wait(left)
        return answer

    def notify(self, n: int = 1) -> None:
        """Wake the *n* threads that have waited longest, or all if there are fewer. Never blocks.

        They go on when they get the lock back. RuntimeError without the lock. A signal handler may call it in the middle of
        another call, if its thread has the lock.
        """
        idle = self._idle  # called in one go with this, a slot is slow to find on 3.11
        if idle():
            return
        owned = self._is_owned
        if not owned():
            raise self._not_held("notify")
        if self._bells:
            if self._generation != _epoch:
                self._ring_strangers()
            if n == 1:
                try:
                    for _ in self._strike:
                        break
                except IndexError as error:
                    if not raised_here(error):
                        raise
                    # Otherwise a re-entrant call was quicker.
            else:
                self._ring(n)
        else:
            self._idle = owned
            if self._bells:
                self._idle = bool

    def notify_all(self) -> None:
        """Wake every waiting thread. Never blocks. RuntimeError without the lock."""
        self.notify(max(1, len(self._bells)))

    def notifyAll(self) -> None:  # noqa: N802
        """Call `notify_all`. Deprecated: call it yourself."""
        import warnings

        warnings.warn("notifyAll() is deprecated, use notify_all() instead", DeprecationWarning, stacklevel=2)
        self.notify_all()

    def _ring(self, n: int) -> None:
        strikes = islice(self._strike, max(0, min(n, len(self._bells))))
        try:
            # Not all in one call of C code: whoever is woken wants the global lock, and those in it already may ask for it.
            for _ in strikes:
                pass
        except BaseException as error:
            # If it is a signal handler's: what has been begun is finished, in one call, after which another one may strike.
            try:
                deque(strikes, maxlen=0)
            except IndexError:
                pass
            if not isinstance(error, IndexError) or not raised_here(error):
                raise
            # Otherwise there were fewer than there seemed to be: a re-entrant call was quicker.


_set_acquire, _set_release, _set_enter, _set_exit = (
    Condition.__dict__[name].__set__ for name in ("acquire", "release", "__enter__", "__exit__")
)
if not STORED_AT_ONCE:
    for _name in ("__doc__", "__name__", "__qualname__"):
        setattr(Condition._wait_carefully, _name, getattr(Condition.wait, _name))
    Condition.wait = Condition._wait_carefully  # type: ignore[method-assign]
del Condition.__abstractmethods__  # there are none; help() would show that
register_after_fork(Condition, _in_child)
