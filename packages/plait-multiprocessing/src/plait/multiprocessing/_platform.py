# SPDX-License-Identifier: MIT
# Every question about what this interpreter and kernel can do is asked here, once, by trying it.
#
# The private modules this package touches are `_socket`, the C half of `socket`, whose pure half costs several
# milliseconds of imports (selectors, enum) that a queue has no use for, and `_thread` for one number. Without
# `_socket` we take `socket` itself.

from __future__ import annotations

import os
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "anonymous_file",
    "can_fork",
    "enlarge_send_buffer",
    "own_pidfd",
    "packet_type",
    "socket_module",
    "thread_count",
]

_sockets: ModuleType | None = None

try:
    # How many threads there are beside the main one. Private, and worth it: as long as there are none, nobody can close
    # a connection that this thread is reading, and it needs no poll() before each read().
    from _thread import _count as thread_count  # type: ignore[attr-defined,unused-ignore]
except ImportError:

    def thread_count() -> int:
        """Unknown: assume that there are others."""
        return 1


def can_fork() -> bool:
    """Whether this platform has `os.fork` (an Emscripten or WASI build may not)."""
    return hasattr(os, "fork")


def own_pidfd() -> int | None:
    """A descriptor that selects readable once the calling process has ended; None where there is no such thing."""
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        return int(opener(os.getpid()))
    except OSError:  # an old kernel, or a sandbox that refuses the call
        return None


def anonymous_file(purpose: str) -> int:
    """A new file without a name, readable by this user alone, that lives as long as a descriptor of it does."""
    maker = getattr(os, "memfd_create", None)
    if maker is not None:
        try:
            return int(maker(purpose))
        except OSError:
            pass  # refused by a sandbox: an unlinked file does as well
    import tempfile

    fd, path = tempfile.mkstemp(prefix=purpose)
    os.unlink(path)
    return fd


def socket_module() -> ModuleType:
    """The module with `socket`, `socketpair` and the constants; imported on first use."""
    global _sockets
    if _sockets is None:
        try:
            import _socket as found

            found.socketpair  # noqa: B018 - the probe
        except (ImportError, AttributeError):
            import socket as found  # type: ignore[no-redef]
        _sockets = found
    return _sockets


def packet_type() -> int:
    """The type of AF_UNIX socket that keeps packets whole, in order and unlost."""
    sockets = socket_module()
    kind = getattr(sockets, "SOCK_SEQPACKET", None)
    if kind is not None:
        try:
            for each in sockets.socketpair(sockets.AF_UNIX, kind):
                each.close()
            return int(kind)
        except OSError:
            pass  # macOS names it and has it not
    return int(sockets.SOCK_DGRAM)


def enlarge_send_buffer(sock: Any) -> None:
    """Let more packets wait in *sock*: as many as the kernel allows without privileges, up to 2 MiB."""
    sockets = socket_module()
    try:
        sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 2 << 20)
    except OSError:
        pass  # the default does; a feeder thread takes what does not fit
