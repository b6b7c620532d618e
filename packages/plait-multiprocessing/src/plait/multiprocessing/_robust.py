# SPDX-License-Identifier: MIT
# A word of shared memory that no death can leave half written, and the lock that is made of it.
#
# The pieces, all of them descriptors that children inherit:
#
#   file   memory without a name, mapped by every process. Its first bytes are the state of the lock (`_STATE`).
#          On the same file lie POSIX record locks, which the kernel drops when their process ends, however it ends:
#            byte 0        the right to change the state. Held for microseconds, never while anybody sleeps.
#            byte 1 + id   "the process that calls itself id is alive". Held by it from its first use of the lock on.
#   bell   an eventfd (else a pipe), readable when the lock was released and not yet taken. Those who wait sleep on it.
#
# Who owns the lock is written as an id, not as a pid: ids are 62 random bits, so none is ever used again, and whether
# one is alive is one system call on its byte, for zombies, strangers and other pid name spaces alike. The pid stands
# beside it only to sleep on: a waiter polls a pidfd of the owner together with the bell. A pidfd opened too late may
# be a stranger's; so the waiter looks at the owner's byte once more after opening it.
#
# What if a process dies here? All changes are made with the record lock, in this order:
#   release   bell, then word. Killed between the two: the bell rings, whoever comes finds the word owned. By a dead
#             process: he takes it. By a living one (a third party was releasing for it): he silences the bell and
#             sleeps on; that release has not happened.
#   acquire   word, then silence. Killed between the two: the word is owned by a dead id, and the bell still rings.
#   waiting   a waiter is counted in the word, so that a release with nobody waiting needs no bell. Killed while waiting,
#             it stays counted; later releases then ring once for nothing, and the next to acquire silences it.
#
# Record locks keep processes apart, not threads: inside a process `_mutex` does that. And not even a mutex keeps a
# thread apart from itself: a signal handler or finaliser may acquire or release the same lock in the middle of a
# change. Therefore the mutex is an RLock, and a change is a compare-and-swap against ourselves:
#   - it begins with a fresh list in `_todo`, reads the state, decides;
#   - it writes by list(map(write, todo, new)): one C call, in which no handler can run;
#   - whoever got in between has emptied that list: then nothing is written, and the change starts over.
#
# The trap of record locks is that closing *any* descriptor of the file drops all of the process's locks on it. So the
# file has one owner object per process, which is lent to children, never duplicated (see _inherit.py); the duplicate
# that `mmap` makes for itself lives as long as that object.
#
# What is not covered: a process that is *stopped* (SIGSTOP) within the microseconds of a change keeps the others waiting
# until it goes on or dies, whatever their timeouts.

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import select
from struct import Struct
from time import monotonic, sleep

from .._thread import RLock, get_ident, register_after_fork, reset_lock
from . import _inherit, _platform
from ._bell import Bell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["SharedFile", "Word"]

_STATE = Struct(
    "=6Q"
)  # owner's id (0: free), owner's pid, owner's thread, depth, acquisitions so far, waiters
_HERE = slice(0, _STATE.size)
# Without a pidfd the death of an owner is found by looking; this often, and only while waiting.
_LOOK_EVERY = 0.25


class SharedFile:
    """Memory that a process and its children share, and record locks to use it with."""

    __slots__ = ("__weakref__", "_id", "fd", "memory", "mutex", "size")

    def __init__(self, size: int, fd: int | None = None) -> None:
        if fd is None:
            fd = _platform.anonymous_file("shared")
            os.ftruncate(fd, size)
        self.fd = fd
        self.size = size
        self.memory = mmap.mmap(fd, size)
        self.mutex = RLock()
        self._id = 0
        register_after_fork(self, SharedFile._after_fork)

    def _after_fork(self) -> None:
        reset_lock(self.mutex)
        self._id = 0  # the record lock behind it is our parent's

    @property
    def me(self) -> int:
        """The id by which others can tell whether this process is alive."""
        return self._id or self._announce()

    def _announce(self) -> int:
        new = int.from_bytes(os.urandom(8), "little") >> 2 or 1
        fcntl.lockf(self.fd, fcntl.LOCK_EX, 1, 1 + new)
        self._id = new
        return new

    def lock(self) -> None:
        """Take the record lock: from here to `unlock` no other process is at the memory."""
        while True:
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX, 1)
                return
            except OSError as refused:
                # The kernel looks for deadlocks between processes, not threads, and sees some that are none: record
                # locks are never held here while waiting for another.
                if refused.errno != errno.EDEADLK:
                    raise
                sleep(0.001)

    def unlock(self) -> None:
        """Give the record lock back."""
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 1)

    def is_alive(self, other: int) -> bool:
        """Whether the process that calls itself *other* is alive. With the mutex held."""
        if other == self._id:
            return True
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1 + other)
        except OSError as refused:
            if refused.errno in (errno.EAGAIN, errno.EACCES):
                return True
            raise
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, 1 + other)
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        inheritance = _inherit.assert_spawning(self)
        return SharedFile, (self.size, inheritance.lend(self.fd, self))

    def __del__(self, _close: Any = os.close) -> None:
        try:
            _close(self.fd)
        except AttributeError:
            pass  # __init__ failed


class Word:
    """A lock between processes and threads that is free again when its owner has died."""

    __slots__ = ("__weakref__", "_bell", "_file", "_pid", "_recursive", "_todo")

    def __init__(self, recursive: bool, file: SharedFile | None = None, bell: Bell | None = None) -> None:
        self._recursive = recursive
        self._file = file or SharedFile(mmap.PAGESIZE)
        self._bell = bell or Bell()
        self._renew()
        register_after_fork(self, Word._renew)

    def _renew(self) -> None:
        self._pid = os.getpid()
        self._todo: list[slice] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return Word, (self._recursive, self._file, self._bell)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take the lock, waiting for it if *block*, at most *timeout* seconds. Whether it was taken."""
        claim = [0]
        try:
            if self._attempt(claim, 0, 0) is None:
                return True
            if not block or (timeout is not None and timeout <= 0):
                return False
            return self._wait(claim, None if timeout is None else monotonic() + timeout)
        except BaseException:
            # A signal handler raised: nobody will know that we have it.
            self._give_back(claim[0])
            raise

    def _attempt(self, claim: list[int], was_waiting: int, will_wait: int) -> tuple[int, int] | None:
        """Take the lock if it is free, or owned by the dead; otherwise tell by whom it is owned (id, pid).

        *was_waiting* and *will_wait* (0 or 1): whether this thread is counted as a waiter, and is to be if it fails.
        """
        file = self._file
        memory = file.memory
        thread = get_ident() if self._recursive else 0
        with file.mutex:
            outer = self._todo
            me = file.me
            while True:
                todo = self._todo = [_HERE]
                file.lock()
                try:
                    owner, pid, holder, depth, count, waiters = _STATE.unpack_from(memory)
                    blocker = None
                    if owner == me and self._recursive and holder == thread:
                        new = (me, pid, thread, depth + 1, count, waiters - was_waiting)
                    elif not owner or not file.is_alive(owner):
                        claim[0] = count + 1
                        new = (me, self._pid, thread, 1, count + 1, waiters - was_waiting)
                    else:
                        blocker = (owner, pid)
                        new = (owner, pid, holder, depth, count, waiters - was_waiting + will_wait)
                    done = list(map(memory.__setitem__, todo, (_STATE.pack(*new),)))
                    if waiters:
                        # Taken by us, or still by another: either way there is nothing to come for.
                        self._bell.silence()
                finally:
                    file.unlock()
                if done:
                    break
            self._todo = outer
            outer.clear()
        return blocker

    def _wait(self, claim: list[int], deadline: float | None) -> bool:
        poller = select.poll()
        poller.register(self._bell.fileno(), select.POLLIN)
        waiting = 0
        watched = -1  # a pidfd
        watched_owner = 0
        try:
            while True:
                late = deadline is not None and monotonic() >= deadline
                blocker = self._attempt(claim, waiting, 0 if late else 1)
                waiting = 0 if late or blocker is None else 1
                if blocker is None:
                    return True
                if late:
                    return False
                if blocker[0] != watched_owner:
                    if watched >= 0:
                        poller.unregister(watched)
                        os.close(watched)
                    watched_owner, pid = blocker
                    watched = -1 if pid == self._pid else _open_pidfd(pid)
                    if watched >= 0:
                        poller.register(watched, select.POLLIN)
                        continue  # and see whether it is the owner's still
                left = None if deadline is None else max(0.0, deadline - monotonic())
                if watched < 0 and blocker[1] != self._pid:
                    left = _LOOK_EVERY if left is None else min(left, _LOOK_EVERY)
                poller.poll(None if left is None else left * 1000)
        except BaseException:
            if waiting:
                self._uncount()
            raise
        finally:
            if watched >= 0:
                os.close(watched)

    def _uncount(self) -> None:
        self._change(lambda state: (*state[:5], max(0, state[5] - 1)))

    def _give_back(self, count: int) -> None:
        """Undo the acquisition with that number, if it happened and is ours."""
        me = self._file.me

        def undo(state: tuple[int, ...]) -> tuple[int, ...] | None:
            if state[0] != me or state[4] != count:
                return None
            return (0, 0, 0, 0, count, state[5])

        if count:
            self._change(undo)

    def release(self) -> None:
        """Give the lock back, whoever took it; the recursive one only by the thread that did."""
        me = self._file.me
        thread = get_ident() if self._recursive else 0

        def free(state: tuple[int, ...]) -> tuple[int, ...]:
            owner, pid, holder, depth, count, waiters = state
            if self._recursive:
                if owner != me or holder != thread:
                    raise AssertionError("attempt to release recursive lock not owned by thread")
                if depth > 1:
                    return (owner, pid, holder, depth - 1, count, waiters)
            elif not owner:
                raise ValueError("semaphore or lock released too many times: this Lock is not locked")
            seen.append(count)
            return (0, 0, 0, 0, count, waiters)

        seen: list[int] = []
        try:
            self._change(free)
        except (ValueError, AssertionError):
            raise
        except BaseException:
            # A signal handler raised in the middle. The caller's `with` will not come back: finish for him.
            if seen:
                self._give_back(seen[-1])
            else:
                self._change(free)
            raise

    def _change(self, decide: Any) -> None:
        """One change of the state under the record lock: from what it is to `decide(what it is)`."""
        file = self._file
        memory = file.memory
        with file.mutex:
            outer = self._todo
            while True:
                todo = self._todo = [_HERE]
                file.lock()
                try:
                    state = _STATE.unpack_from(memory)
                    new = decide(state)
                    if new is None:
                        done = todo  # nothing to do, unless somebody came in between
                    else:
                        if state[5] and not new[0]:
                            self._bell.ring()  # before the word: see above
                        done = list(map(memory.__setitem__, todo, (_STATE.pack(*new),)))  # type: ignore[arg-type]
                finally:
                    file.unlock()
                if done:
                    break
            self._todo = outer
            outer.clear()

    def owner(self) -> int:
        """The pid of the owner, if there is one and it is alive; else 0."""
        with self._file.mutex:
            owner, pid, *_ = _STATE.unpack_from(self._file.memory)
            return int(pid) if owner and self._file.is_alive(owner) else 0


def _open_pidfd(pid: int) -> int:
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return -1
    try:
        return int(opener(pid))
    except OSError:
        return -1  # gone, or no such call: the look at the owner's byte tells
