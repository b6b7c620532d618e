# SPDX-License-Identifier: MIT
"""What a forked child does in Python before it becomes its program."""

# All of it runs between fork and exec, in the one thread that is left, with all signals held back. Whatever is needed
# was made before the fork; nothing is imported, and nothing is raised beyond this module's functions: what goes wrong
# goes into the pipe to the parent, in the words that _failures.py reads.

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ._start import StartRequest

__all__ = [
    "FAILED_BEFORE_EXEC",
    "Preparation",
    "close_all_but",
    "forget_handlers",
    "open_descriptors",
    "steps_of",
    "tell_parent",
    "with_mask",
]

FAILED_BEFORE_EXEC = 255


def forget_handlers(signal: Any, look: Callable[[int], Any] | None) -> None:
    """Give every signal that a Python function handles its default; *look* is a fast signal.getsignal, if there is one."""
    handler_of: Any = look or signal.getsignal
    # A signal that was held back would run the parent's Python handler here as soon as it is let through.
    for number in signal.valid_signals():
        if callable(handler_of(number)):
            signal.signal(number, signal.SIG_DFL)


def steps_of(request: StartRequest) -> list[tuple[bytes, Any, tuple[Any, ...]]]:
    """What the child does when its session and its folder are right: phase, function, arguments."""
    steps = [*request.first_steps]
    if request.groups is not None:
        steps.append((b"setgroups", os.setgroups, (request.groups,)))
    if request.gid is not None:
        steps.append((b"setgid", os.setregid, (request.gid, request.gid)))
    if request.uid is not None:
        steps.append((b"setuid", os.setreuid, (request.uid, request.uid)))
    if request.preexec_fn is not None:
        steps.append((b"preexec_fn", request.preexec_fn, ()))
    return [*steps, *request.last_steps]


def tell_parent(write_end: int, phase: bytes, problem: BaseException) -> None:
    """Tell the parent."""
    if phase == b"preexec_fn":
        os.write(write_end, b"SubprocessError:0:Exception occurred in preexec_fn.")
        return
    number = getattr(problem, "errno", 0) or 0
    if isinstance(problem, ValueError) and phase.startswith(b"noexec:rlimits"):
        number = errno.EPERM  # all else that `resource` says in this way was ruled out in the parent
    os.write(write_end, b"OSError:%x:%b" % (number, phase))


def with_mask(mask: Any, preexec_fn: Any) -> Callable[[], None]:
    """*preexec_fn* with the signal mask *mask*: what fork_exec calls if that is all there is to call."""
    from signal import SIG_SETMASK, pthread_sigmask

    def call() -> None:
        pthread_sigmask(SIG_SETMASK, mask)
        preexec_fn()

    return call


class Preparation:
    """Called by fork_exec in the forked child, where it would call a preexec_fn."""

    __slots__ = ("_look", "_mask", "_request", "_steps", "_write_end")

    def __init__(
        self, request: StartRequest, write_end: int, mask: Any, look: Callable[[int], Any] | None
    ) -> None:
        import signal  # noqa: F401 - loaded before the fork

        self._request, self._steps, self._write_end = request, steps_of(request), write_end
        self._mask, self._look = mask, look

    def __call__(self) -> None:
        import signal  # this is a look into sys.modules

        phase = b"noexec"
        try:
            forget_handlers(signal, self._look)
            # fork_exec closes them later, but not those beyond the limit if no descriptor is left to list them: so they
            # are listed now, and closed when preexec_fn has had the use of them.
            present = open_descriptors() if self._request.close_fds and self._request.first_steps else ()
            for step, act, arguments in self._steps:
                phase = step if step == b"preexec_fn" else b"noexec:" + step
                act(*arguments)
            phase = b"noexec:close"
            close_all_but({self._write_end, *self._request.keep}, present)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        except BaseException as problem:  # noqa: BLE001 - fork_exec would tell the parent nothing about it
            tell_parent(self._write_end, phase, problem)
            os._exit(FAILED_BEFORE_EXEC)


def open_descriptors() -> Sequence[int]:
    """The descriptors that are open, one or two that are not among them; a range if they cannot be listed."""
    for listing in ("/proc/self/fd", "/dev/fd"):
        try:
            return [*map(int, os.listdir(listing))]
        except OSError:
            continue  # not here, or no descriptor is left to read it with
    return range(os.sysconf("SC_OPEN_MAX"))


def close_all_but(kept: set[int], present: Sequence[int]) -> None:
    """Close every descriptor from 3 on that is in *present*, as `open_descriptors` gave it, and not in *kept*."""
    if isinstance(present, range):
        low = 3
        for fd in (*sorted(fd for fd in kept if fd > 2), len(present)):
            os.closerange(low, fd)
            low = fd + 1
        return
    for fd in present:
        if fd > 2 and fd not in kept:
            try:
                os.close(fd)
            except OSError:
                pass  # the listing's own descriptor, or closed since
