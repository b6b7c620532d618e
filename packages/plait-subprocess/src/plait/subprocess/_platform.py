# SPDX-License-Identifier: MIT
"""The interpreter's private modules, as far as they are there and of a known shape."""

# `_posixsubprocess.fork_exec` is private, and its arguments have changed four times. Which of its known shapes it has is
# found by asking, on the first start, never by looking at a version number. Where that gives no answer, public calls do the
# same work (_start_publicly.py).
#
# (3.10's imports the standard `subprocess` by itself, on the first start. Nothing of it is used here.)

from __future__ import annotations

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = [
    "RLock",
    "fork_exec_of_the_interpreter",
    "getsignal",
    "hold_no_more",
    "holding",
    "is_from_handler",
    "madvise",
    "msvcrt",
    "number_of_signal",
    "of_shape",
    "raise_if_from_handler",
    "reset_lock",
    "send_through_pidfd",
    "winapi",
]

#: The interpreter's own lock, without what `plait-thread` adds to it: nobody but this package has these.
RLock: Any = _thread.RLock
_reset: Callable[[Any], None]
if hasattr(RLock, "_at_fork_reinit"):
    _reset = RLock._at_fork_reinit
else:
    from .._thread import reset_lock as _reset


def reset_lock(lock: Any) -> None:
    """Make a lock free again, whoever held it, in the child of a fork."""
    _reset(lock)


def holding(lock: Any, step: Callable[..., Any], *arguments: Any) -> Any:
    """`step(*arguments)` while this thread holds *lock*, an RLock, and not after that, whatever a signal handler raises.

    On CPython 3.14 an exception can strike between the two halves of `with lock:`, when the lock has been taken and nothing
    sees to its release yet; on PyPy also after the body. Who holds it already, because it has been interrupted in *step*
    by the handler that calls this, still holds it afterwards.
    """
    if lock._is_owned():
        return step(*arguments)
    try:
        with lock:
            return step(*arguments)
    except BaseException:
        try:
            hold_no_more(lock)
        finally:  # once more, should another one strike in there
            hold_no_more(lock)
        raise


def hold_no_more(lock: Any) -> None:
    """Release *lock*, an RLock, as often as this thread holds it."""
    while lock._is_owned():
        lock.release()


def is_from_handler(problem: BaseException) -> bool:
    """Whether a signal handler has raised *problem*, which the caller has caught around calls of C code only.

    For errors that are answers of the kernel as a rule. A handler has a frame of its own.
    """
    trace = problem.__traceback__
    return trace is not None and trace.tb_next is not None


def raise_if_from_handler(problem: BaseException) -> None:
    """Raise *problem* if `is_from_handler`, under the same condition."""
    if is_from_handler(problem):
        raise problem


#: signal.pidfd_send_signal, without the rest of `signal`, which takes long to import. None where there is none; then
#: pidfds are not used.
send_through_pidfd: Any = None
#: signal.getsignal without its names for numbers, which take longer than all else that a child does before exec.
getsignal: Any = None
try:
    import _signal  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    import signal as _signal  # type: ignore[no-redef,unused-ignore]
else:
    send_through_pidfd = getattr(_signal, "pidfd_send_signal", None)
    getsignal = _signal.getsignal


def number_of_signal(name: str) -> int | None:
    """The number of a signal; None if this system does not know it."""
    return getattr(_signal, name, None)


#: The interpreter's own access to Windows, and to descriptors of the C runtime there; None on other systems. Whatever
#: starts, waits or communicates asks here, not for the name of a system: so it can run on a simulated one.
winapi: Any = None
msvcrt: Any = None
# An import that fails looks through the whole path, which takes longer than the rest of this module. Who can fork is spared
# it, unless the module is there already.
if not hasattr(os, "fork") or "_winapi" in sys.modules:
    try:
        import _winapi
        import msvcrt as _msvcrt
    except ImportError:
        pass
    else:
        winapi, msvcrt = _winapi, _msvcrt


# -- fork_exec -----------------------------------------------------------------------------------------------

KNOWN_SHAPES = (22, 23, 21, 17)

_posixsubprocess: Any = None
_known_shape: int | None = None


def of_shape(shape: int, longest: Sequence[Any]) -> tuple[Any, ...]:
    """Of the 23 arguments of the longest known shape, those that fork_exec takes if it has that one."""
    if shape == 23:
        return tuple(longest)
    if shape == 22:
        return tuple(longest[:22])
    if shape == 21:
        return (*longest[:16], *longest[17:22])
    return (*longest[:16], longest[21])


def _find_shape(fork_exec: Callable[..., int]) -> int:
    """How many arguments this interpreter's fork_exec takes; 0 if it is none that we know.

    The question is a call that every known version refuses before it forks, because a descriptor to keep and
    the error pipe are out of range: with ValueError, once it has accepted the number and types of the
    arguments, and with TypeError otherwise. Should a version not mind them, it would be asked to run a
    program that does not exist.
    """
    streams, error_pipe, identity = (-1,) * 6, (-1, 0), (None,) * 3
    what = [b""], [b"/dev/null/absent"], True, (-1,), None, None
    question = (*what, *streams, *error_pipe, False, False, -1, *identity, -1, None, True)
    for shape in KNOWN_SHAPES:
        try:
            pid = fork_exec(*of_shape(shape, question))
        except ValueError:
            return shape
        except Exception:  # noqa: BLE001, S112 - whatever it says, it is not this shape
            continue
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # taken: by the kernel, if SIGCHLD is ignored in this program, or by a stranger
        return 0
    return 0


def _shape() -> int:
    global _posixsubprocess, _known_shape
    if _known_shape is None:
        try:
            import _posixsubprocess as found  # type: ignore[import-not-found,unused-ignore]

            fork_exec = found.fork_exec
        except (ImportError, AttributeError):
            _known_shape = 0
        else:
            _posixsubprocess = found
            _known_shape = _find_shape(fork_exec)
    return _known_shape


def fork_exec_of_the_interpreter() -> Any:
    """The private call of the interpreter that the first starter uses; None where it is not known."""
    return _posixsubprocess.fork_exec if _shape() else None


# -- memory --------------------------------------------------------------------------------------------------

_MADV_HUGEPAGE = 14
_PAGE = 4096  # or more: then the kernel may refuse
_BIG_ORDER = 9  # of the power of two that a big page is, in pages
_libc_madvise: Any = None


def _find_madvise() -> Any:
    # `ctypes` is made of this module, and takes ten times as long to load. One that is written in C is loaded in one
    # step, which no signal handler can find half done.
    import _ctypes

    parts: Any = _ctypes
    simple: Any = parts._SimpleCData
    byte, number = (
        type(simple)("byte", (simple,), {"_type_": "c"}),
        type(simple)("number", (simple,), {"_type_": "P"}),
    )
    function = parts.dlsym(parts.dlopen(None, 0), "madvise")

    def call(room: Any) -> None:
        start = parts.addressof(byte.from_buffer(room))
        page = start // _PAGE * _PAGE
        what = number(page), number(start + len(room) - page), _MADV_HUGEPAGE
        parts.call_cdeclfunction(function, what)

    return call


def _free_big_pages() -> int:
    """How many big pages the kernel could give away without making room for them; 0 if it does not tell."""
    try:
        with open("/proc/buddyinfo", "rb", buffering=0) as file:
            zones = file.read(1 << 16).splitlines()
    except OSError as refusal:
        if isinstance(refusal, TimeoutError):
            raise  # a signal handler's
        return 0
    # Node 0, zone   Normal  (free blocks of one page)  (of two)  (of four) ...
    return sum(
        int(count) << order for line in zones for order, count in enumerate(line.split()[4 + _BIG_ORDER :])
    )


def madvise(room: Any) -> None:
    """Ask the kernel to fill *room*, a big block of memory, by big pages. It may have no mind to, or no way.

    It is asked only if there are twice as many as that takes. Else it might move other pages out of the way for each of
    them, which can take longer than all that is saved.
    """
    global _libc_madvise
    try:
        if _libc_madvise is None:
            is_known = sys.platform == "linux" and sys.implementation.name == "cpython"
            _libc_madvise = _find_madvise() if is_known else _no_advice
        wanted = 2 * len(room) // (_PAGE << _BIG_ORDER)
        if _libc_madvise is not _no_advice and _free_big_pages() >= wanted:
            _libc_madvise(room)
    except Exception as refusal:
        _libc_madvise = _no_advice
        if isinstance(refusal, TimeoutError):
            raise  # a signal handler's


def _no_advice(_room: Any) -> None:
    pass
