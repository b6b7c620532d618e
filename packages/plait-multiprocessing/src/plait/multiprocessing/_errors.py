# SPDX-License-Identifier: MIT
from __future__ import annotations

__all__ = ["AuthenticationError", "BufferTooShort", "ProcessError", "TimeoutError"]


class ProcessError(Exception):
    """The base of this package's own exceptions."""


class BufferTooShort(ProcessError):
    """A message did not fit the buffer given to `recv_bytes_into`; `args[0]` is the whole message."""


class TimeoutError(ProcessError):  # noqa: A001 - the standard name
    """A result did not arrive in time."""


class AuthenticationError(ProcessError):
    """The other side does not know the authkey."""
