# SPDX-License-Identifier: MIT
"""Calls made by a thread that ends only with the process."""

# For starts whose child is tied to the thread that makes them (see _limits.py).
#
# What always holds
#   - There is one such thread for each process, made when first needed; a forked copy makes one of its own. Two callers
#     who need it at the same moment may make two; the one that is not chosen never makes a call, and ends.
#   - A caller does not leave before its call has been made, whatever a signal handler raises meanwhile: the call uses
#     descriptors that the caller is going to close. The exception is raised then. A start takes about a millisecond;
#     what may take longer, a child that hangs before exec, ends with its `spawn_timeout`, or with the death of the child.
#   - The thread is a bare one. It sleeps on a Parker, so the end of the interpreter does not wait for it and does not
#     disturb it. Before it forks it makes itself known to the standard `threading`, if somebody has loaded that.
#   - A call has the signal mask of its caller, since the child inherits it; between calls all signals are held back.
#     (What else a child inherits from a thread, its processors and its niceness, is that of the first caller.)
#
# Calls are made one after the other. That does not slow anybody down: forks exclude each other anyway.

from __future__ import annotations

from collections import deque

from .._thread import Parker, allocate_lock, fork_generation, get_ident, start_new_thread
from ._standard import introduce_this_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["call_from_lasting_thread"]


class _Call:
    """One call: what, with which signal mask, and what came of it."""

    __slots__ = ("arguments", "begun", "done", "error", "function", "mask", "over", "result")

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        from signal import SIG_BLOCK, pthread_sigmask

        self.function = function
        self.arguments = arguments
        self.mask = pthread_sigmask(SIG_BLOCK, ())
        self.begun = self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.over = allocate_lock()  # opened when done
        self.over.acquire()

    def make(self) -> None:
        from signal import SIG_SETMASK, pthread_sigmask

        before = pthread_sigmask(SIG_SETMASK, self.mask)
        try:
            introduce_this_thread()
            self.result = self.function(*self.arguments)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, who raises it
            self.error = error
        finally:
            pthread_sigmask(SIG_SETMASK, before)
        self.done = True
        self.over.release()


class _Worker:
    """The thread, and what it has to do."""

    __slots__ = ("_bell", "_calls", "_wanted", "ident")

    def __init__(self) -> None:
        self.ident = 0
        self._bell = Parker()
        self._calls: deque[_Call] = deque()
        self._wanted = True

    def work(self) -> None:
        from signal import SIG_SETMASK, pthread_sigmask, valid_signals

        pthread_sigmask(SIG_SETMASK, valid_signals())
        self.ident = get_ident()
        while self._wanted:
            while self._calls:
                call = self._calls.popleft()
                if not call.begun:  # handed over twice, by who was interrupted
                    call.begun = True
                    call.make()
                del call
            self._bell.park()

    def take(self, call: _Call) -> None:
        self._calls.append(call)
        self._bell.unpark()

    def dismiss(self) -> None:
        self._wanted = False
        self._bell.unpark()


_workers: dict[int, _Worker] = {}  # by generation of this process


def _worker() -> _Worker:
    worker = _workers.get(fork_generation())
    if worker is None:
        fresh = _Worker()
        start_new_thread(fresh.work, ())
        worker = _workers.setdefault(fork_generation(), fresh)
        if worker is not fresh:
            fresh.dismiss()
    return worker


def call_from_lasting_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)` in the lasting thread; blocks until it has returned, and no exception changes that."""
    worker = _worker()
    if worker.ident == get_ident():
        return function(*arguments)  # from a finaliser that happens to run there
    call = _Call(function, arguments)
    struck: BaseException | None = None
    handed_over = False
    while not call.done:
        try:
            if not handed_over:
                worker.take(call)
                handed_over = True
            call.over.acquire()
        except BaseException as error:  # noqa: BLE001 - raised below
            struck = error
    failed, call.error = struck or call.error, None
    if failed is None:
        return call.result
    try:
        raise failed
    finally:
        del failed, struck  # or the exception and this frame would keep each other, and the Popen
