# SPDX-License-Identifier: MIT
#
# What has to be done although a signal handler raises an exception, and another one, and another.
#
# Where they strike
#   A handler runs when the interpreter next looks for signals: after a call of C code, at the start of a function, at the
#   jump back of a loop; on 3.10 also at the first instruction of an `except`, on PyPy anywhere. Several can be pending: if
#   a process was stopped, SIGINT and SIGTERM arrive together when it goes on. Then the second strikes at the next place
#   where signals are looked for, which is where the exception of the first has just been caught.
#
# How a duty is done in spite of that
#   - It is written such that to begin it again is right, however far it has come: every step of it is one operation of C
#     code that moves something from one place to another, or finds that it has been moved already.
#   - `surely` begins it again whenever an exception has ended it.
#   - An exception can strike outside of its `try`: when it is entered, and where its loops jump back (which they do when
#     one has just been caught). So who has a duty prepares, while nothing has been done yet, that another thread does it:
#     handlers run in the main thread only.
#
#         later = starmap(start_new_thread, ((self._leave, (claim,)),))
#         settled = False
#         try:
#             ...
#             settled = True
#         finally:
#             try:
#                 if not settled:
#                     surely(self._leave, claim)
#             except BaseException:
#                 if settled:
#                     raise
#                 for _ in later:
#                     break
#
#     `later` is an iterator of C code, which starts the thread. Neither there nor on the way there is a call or a jump
#     back, so that no signal is looked for. (On 3.10 one is, at the first instruction of an `except`, but not of a
#     `finally` that begins with `try`. So two exceptions at the same moment can do nothing there; of more, one may get
#     past. And on 3.10 one can strike in this `try` although all is settled: at the jump of its `if`. It is raised, and
#     what has been had is given back before.)
#
# What nothing can be done about: exceptions at the first instruction of a public method, when nothing has happened yet, and
# after it has returned.

from __future__ import annotations

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Where the stack or the memory is used up, to begin again for ever would be a hang.
SEVERAL = range(30)


def surely(duty: Callable[..., object], *args: Any) -> None:
    """Call it until it returns, whatever exceptions of signal handlers strike."""
    for _ in SEVERAL:
        try:
            for _ in SEVERAL:
                try:
                    duty(*args)
                    return
                except BaseException:  # noqa: BLE001, S112 - a handler's; the first one does for all
                    continue
        except BaseException:  # noqa: BLE001, S112
            continue
    duty(*args)
