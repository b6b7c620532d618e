# SPDX-License-Identifier: MIT
"""What a child could not do before it became the program, as an exception of its parent."""

# The child writes b"KIND:errno in hex:phase" into a pipe. The phase is b"" for exec itself, b"preexec_fn", b"noexec" for
# any step before exec, and b"noexec:STEP" where the writer knows which. The interpreter's own call names only chdir, and
# older ones not even that. Then the step is deduced from what was asked for and from errno, if only one is possible;
# else the phase is "before exec" and the text names the steps that it may have been.

from __future__ import annotations

import errno
import os

from ._results import SubprocessError, TimeoutExpired

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._start import StartRequest

__all__ = ["not_started_in_time", "raise_report", "with_phase"]

_UNKNOWN = "before exec"
_OF_A_PATH = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG, errno.EIO)
_PRIVILEGED = ("setgroups", "setgid", "setuid")
_ALIASES = {"setregid": "setgid", "setreuid": "setuid"}


def with_phase(error: Any, phase: str) -> Any:
    """*error*, with the step of the start that failed as its attribute `phase`."""
    error.phase = phase
    return error


def _asked_for(request: StartRequest) -> list[str]:
    """The steps that can have failed, of those that were asked for."""
    steps = []
    if request.pgid >= 0:
        steps.append("setpgid")
    for name, wanted in zip(_PRIVILEGED, (request.groups, request.gid, request.uid), strict=True):
        if wanted is not None:
            steps.append(name)
    return steps


def _deduced(number: int, request: StartRequest) -> list[str]:
    if number == errno.EBADF and request.keep:
        return ["pass_fds"]
    if request.cwd is not None and (number in _OF_A_PATH or not _asked_for(request)):
        return ["chdir"]
    return _asked_for(request)


def _doing(step: str, request: StartRequest) -> str:
    return {
        "setgroups": f"setting its further groups to {request.groups}",
        "setgid": f"changing its group to {request.gid}",
        "setuid": f"changing its user to {request.uid}",
        "setpgid": f"moving it to process group {request.pgid}",
        "nice": "changing its niceness",
        "die_with_parent": "tying it to its parent",
        "pass_fds": f"keeping the descriptors {list(request.keep)} open",
        "close": "closing descriptors",
    }.get(step, step)


def raise_report(report: bytes, request: StartRequest) -> None:
    """Raise in the parent what failed in the child."""
    kind, _, rest = report.partition(b":")
    number_text, _, phase_bytes = rest.partition(b":")
    about = f"the child that was to become {request.program!r}"
    try:
        number = int(number_text, 16)
    except ValueError:
        raise with_phase(SubprocessError(f"{about} failed: {report!r}"), _UNKNOWN) from None
    phase = phase_bytes.decode(errors="replace")
    if kind != b"OSError":
        name = kind.decode(errors="replace")
        raise with_phase(SubprocessError(phase or name), "preexec_fn" if "preexec_fn" in phase else _UNKNOWN)
    step, _, detail = phase.removeprefix("noexec").removeprefix(":").partition(" ")
    step = _ALIASES.get(step, step)
    if not number:
        raise with_phase(SubprocessError(f"{about} failed before exec ({phase})"), step or _UNKNOWN)
    text = os.strerror(number)
    if not phase.startswith("noexec"):
        raise with_phase(OSError(number, text, request.program), "exec")
    steps = [step] if step else _deduced(number, request)
    known = steps[0] if len(steps) == 1 else _UNKNOWN
    if known == "chdir":
        raise with_phase(OSError(number, text, request.cwd), known)
    where = " or ".join(_doing(one, request) for one in steps) or _UNKNOWN
    if detail:
        where += " " + detail
    if number == errno.EPERM:
        where += "; this process lacks the right to"
    raise with_phase(OSError(number, f"{text} (in {about}: {where})"), known)


def not_started_in_time(request: StartRequest) -> TimeoutExpired:
    """The error for a child that has not become the program within its `spawn_timeout`."""
    error = TimeoutExpired(request.asked, request.spawn_timeout or 0.0)
    return with_phase(error, _UNKNOWN)  # type: ignore[no-any-return]
