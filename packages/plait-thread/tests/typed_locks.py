# SPDX-License-Identifier: MIT
"""What type checkers make of locks and handles: mypy and pyright read this file (`tools/run.py types`), nobody runs it."""

from __future__ import annotations

import _thread as interpreters
from typing import TYPE_CHECKING

from plait import _thread

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import assert_type


def locks_can_be_named_in_annotations(lock: _thread.lock, again: _thread.RLock) -> None:
    with lock as held:
        assert_type(held, bool)
    with again as held:
        assert_type(held, bool)
    assert_type(lock.acquire(timeout=1), bool)
    assert_type(again.acquire(False), bool)
    assert_type(lock.locked(), bool)
    assert_type(again.locked(), bool)
    lock.release()
    again.release()


locks_can_be_named_in_annotations(_thread.lock(), _thread.RLock())
locks_can_be_named_in_annotations(_thread.allocate_lock(), _thread.RLock())


def they_are_the_interpreters_own(lock: interpreters.LockType, again: interpreters.RLock) -> None: ...


they_are_the_interpreters_own(_thread.allocate_lock(), _thread.RLock())


def a_lock_is_known_by_its_type(something: object) -> None:
    if isinstance(something, _thread.LockType):
        something.release()
    if isinstance(something, _thread.lock):
        something.release()


def a_hook_knows_what_it_is_told(args: _thread._ExceptHookArgs) -> None:
    assert_type(args.exc_type, type[BaseException])
    assert_type(args.exc_value, BaseException | None)
    assert_type(args.exc_traceback, TracebackType | None)


def a_handle_can_be_waited_for() -> None:
    handle: _thread._ThreadHandle = _thread.start_joinable_thread(print)
    assert_type(handle.ident, int)
    assert_type(handle.is_done(), bool)
    handle.join(1)
    assert_type(_thread.start_new_thread(print, ("x",), {"end": ""}), int)
