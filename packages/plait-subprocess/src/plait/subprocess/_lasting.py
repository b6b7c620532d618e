# SPDX-License-Identifier: MIT
"""Calls made by a thread that ends only with the process."""

# For starts whose child is tied to the thread that makes them (see _limits.py).
#
# What always holds
#   - There is one such thread for each process and each niceness of callers, made when first needed; a forked copy makes
#     its own. Two callers who need it at the same moment may make two; the one that is not chosen never makes a call,
#     and ends.
#   - A call is handed over in one operation of C code, so that it is either still with its caller, who has nothing to fear,
#     or sure to be made.
#   - A caller does not leave before its call has been made, if a signal handler raises meanwhile: the call uses
#     descriptors that the caller is going to close. The exception is raised then. A start takes about a millisecond;
#     what may take longer, a child that hangs before exec, ends with its `spawn_timeout`, or with the death of the child.
#   - Handlers that raise one upon the other, where the exception of the one before is being caught, can drive a caller out
#     all the same. Then who is the later to be through with the call cleans up after it: `_right` is a list with one thing
#     in it, which the thread takes when it has made the call, and the caller when it leaves; who finds it gone is the
#     later one. No handler runs in this thread, so it gets to the end of that. A caller who does not even get that far
#     has left a note by then, which needs no call, so that no handler can come before it, except on 3.10. (Should both
#     clean up, no harm is done.)
#   - The thread is a bare one. It sleeps on a Parker, so the end of the interpreter does not wait for it and does not
#     disturb it. Before it forks it makes itself known to the standard `threading`, if somebody has loaded that.
#   - What a child inherits from the thread that forks it is what its caller has: the signal mask and the processors, which
#     are changed for each call (between calls all signals are held back), and the niceness, which may not be lowered
#     again once it was raised: hence a thread for each. A thread has it from the one that has made it.
#
# Calls are made one after the other. That does not slow anybody down: forks exclude each other anyway.

from __future__ import annotations

import os
from collections import deque

from .._thread import (
    Parker,
    allocate_lock,
    fork_generation,
    get_ident,
    report_unraisable,
    start_new_thread,
)
from ._standard import introduce_this_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Call", "call_from_lasting_thread"]


_SEVERAL = range(30)


class Call:
    """One call: what, with which signal mask and processors, and what came of it."""

    __slots__ = (
        "_arguments",
        "_done",
        "_driven_out",
        "_error",
        "_function",
        "_if_left",
        "_left",
        "_mask",
        "_over",
        "_processors",
        "_result",
        "_right",
        "_unsent",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        if_left: Callable[..., object] | None = None,
    ) -> None:
        """*if_left* is called instead of the caller's clean-up, with the same arguments: see `leave`."""
        from signal import SIG_BLOCK, pthread_sigmask

        self._function = function
        self._arguments = arguments
        self._if_left = if_left
        self._mask = pthread_sigmask(SIG_BLOCK, ())
        self._processors = _processors_of_this_thread()
        self._done = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._unsent: list[Call] = [self]
        self._right = [None]
        self._left: list[None] = []
        self._driven_out = False
        self._over = allocate_lock()  # opened when done
        self._over.acquire()

    def outcome(self) -> Any:
        """Have it made and return, or raise, what came of it; blocks until then."""
        worker = _worker()
        if worker.ident == get_ident():
            self._unsent.clear()
            self._right.clear()
            return self._function(*self._arguments)  # from a finaliser that happens to run there
        try:
            self._stay(worker)
        finally:
            try:
                if not self._done:
                    self._stay_though_struck(worker)
            finally:  # a second exception may have struck on the way in there
                try:
                    if not self._done:
                        self._stay_though_struck(worker)
                finally:
                    self._driven_out = not self._done
        failed, self._error = self._error, None
        if failed is None:
            return self._result
        try:
            raise failed
        finally:
            del failed  # or the exception and this frame would keep each other, and the Popen

    def leave(self) -> bool:
        """Whether the thread is in the middle of this call, and will do *if_left* when it has been made.

        Only for a caller who has been driven out of `outcome`. May be called again.
        """
        if self._unsent:
            return False
        try:
            self._left.extend(map(self._right.pop, (-1,)))
        except IndexError:
            pass  # it has been made, or we have asked before
        return bool(self._left)

    def _stay(self, worker: _Worker) -> None:
        while not self._done:
            worker.take(self._unsent)
            self._over.acquire()

    def _stay_though_struck(self, worker: _Worker) -> None:
        for _ in _SEVERAL:
            try:
                self._stay(worker)
                return
            except BaseException:  # noqa: BLE001, S112 - a handler's: the first one is on its way
                continue

    def make(self) -> None:
        """Make it, in the lasting thread."""
        function, arguments, if_left = self._function, self._arguments, self._if_left
        self._function = self._if_left = _nothing
        self._arguments = ()  # among which is who keeps this
        from signal import SIG_SETMASK, pthread_sigmask

        before = pthread_sigmask(SIG_SETMASK, self._mask)
        processors = _processors_of_this_thread()
        try:
            _use_processors(self._processors, processors)
            introduce_this_thread()
            self._result = function(*arguments)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, who raises it
            self._error = error
        finally:
            _use_processors(processors, self._processors)
            pthread_sigmask(SIG_SETMASK, before)
        was_left = self._driven_out
        try:
            self._right.pop()
        except IndexError:
            was_left = True
        if was_left and if_left is not None:
            try:
                if_left(*arguments)
            except BaseException as error:  # noqa: BLE001 - there is nobody left to raise it
                report_unraisable(error, "Exception ignored while cleaning up after a start", function)
        self._done = True
        self._over.release()


def _nothing(*_: Any) -> None:
    pass


def _processors_of_this_thread() -> Any:
    ask: Any = getattr(os, "sched_getaffinity", None)
    return ask and ask(0)


def _use_processors(wanted: Any, present: Any) -> None:
    if wanted != present:
        try:
            os.sched_setaffinity(0, wanted)
        except OSError:
            pass  # they have been taken away from this process meanwhile; the kernel has given it others


class _Worker:
    """The thread, and what it has to do."""

    __slots__ = ("_bell", "_calls", "_wanted", "ident")

    def __init__(self) -> None:
        self.ident = 0
        self._bell = Parker()
        self._calls: deque[Call] = deque()
        self._wanted = True

    def work(self) -> None:
        from signal import SIG_SETMASK, pthread_sigmask, valid_signals

        pthread_sigmask(SIG_SETMASK, valid_signals())
        self.ident = get_ident()
        while self._wanted:
            while self._calls:
                self._calls.popleft().make()
            self._bell.park()

    def take(self, unsent: list[Call]) -> None:
        """Make the call that is in *unsent*, which is empty from then on. May be called again."""
        if unsent:
            self._calls.extend(map(unsent.pop, (-1,)))
        self._bell.unpark()

    def dismiss(self) -> None:
        self._wanted = False
        self._bell.unpark()


_workers: dict[tuple[int, int], _Worker] = {}  # by generation of this process, and niceness


def _worker() -> _Worker:
    key = fork_generation(), os.getpriority(os.PRIO_PROCESS, 0)
    worker = _workers.get(key)
    if worker is None:
        fresh = _Worker()
        start_new_thread(fresh.work, ())
        worker = _workers.setdefault(key, fresh)
        if worker is not fresh:
            fresh.dismiss()
    return worker


def call_from_lasting_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)` in the lasting thread; blocks until it has returned."""
    return Call(function, arguments).outcome()
