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
#   passing   A sleeps and watches the owner B. B releases and rings; C takes the lock and silences the bell before A has
#             come to its senses; C dies. A still watches B. This, an owner in another pid name space, and kernels without
#             pidfd are the reasons why who sleeps looks again every quarter of a second.
#
# Record locks keep processes apart, not threads: inside a process `_mutex` does that. And not even a mutex keeps a
# thread apart from itself: a signal handler or finaliser may acquire or release the same lock in the middle of a
# change. Therefore the mutex is an RLock, and a change is a compare-and-swap against ourselves:
#   - it begins by emptying the list in `_todo`, which tells whoever it interrupted to start over;
#   - it puts a fresh list there, takes the record lock, reads the state, decides;
#   - it writes by [*map(write, todo, new)]: no bytecode of ours between the look at the list and the write, so no
#     handler either; an emptied list writes nothing. (Other threads are kept out by the mutex, not by this.)
# The record lock is the process's: whoever comes in between gives it back under our feet, and has emptied the list.
#
# The trap of record locks is that closing *any* descriptor of the file drops all of the process's locks on it. So the
# file has one owner object per process, which is lent to children, never duplicated (see _inherit.py); the duplicate
# that `mmap` makes for itself lives as long as that object.
#
# What is not covered: a process that is *stopped* (SIGSTOP) within the microseconds of a change keeps the others waiting
# until it goes on or dies, whatever their timeouts.

from __future__ import annotations

import errno
import mmap
import os
import select
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, lockf
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
_pack, _unpack = _STATE.pack, _STATE.unpack_from
# Only while waiting; see above for what it finds.
_LOOK_EVERY = 0.25


class SharedFile:
    """Memory that a process and its children share, and record locks to use it with."""

    __slots__ = ("__weakref__", "_ids", "fd", "memory", "mutex", "size")

    def __init__(self, size: int, fd: int | None = None) -> None:
        if fd is None:
            fd = _platform.anonymous_file("shared")
            os.ftruncate(fd, size)
        self.fd = fd
        self.size = size
        self.memory = mmap.mmap(fd, size)
        self.mutex = RLock()
        self._ids: list[int] = []
        register_after_fork(self, SharedFile._after_fork)

    def _after_fork(self) -> None:
        reset_lock(self.mutex)
        self._ids.clear()  # the record lock behind it is our parent's

    @property
    def me(self) -> int:
        """The id by which others can tell whether this process is alive."""
        ids = self._ids
        return ids[0] if ids else self._announce()

    def _announce(self) -> int:
        # Another thread or a handler may be doing the same: the first to append has named us, for good.
        new = int.from_bytes(os.urandom(8), "little") >> 2 or 1
        lockf(self.fd, LOCK_EX, 1, 1 + new)
        self._ids.append(new)
        return self._ids[0]

    def lock(self) -> None:
        """Take the record lock: from here to `lockf(fd, LOCK_UN, 1)` no other process is at the memory.

        Both belong into one try-finally, and the second is no method: with a signal handler that raises there would be
        a moment in which nobody gives it back. Giving back what was not taken does no harm.
        """
        while True:
            try:
                lockf(self.fd, LOCK_EX, 1)
                return
            except OSError as refused:
                # The kernel looks for deadlocks between processes, not threads, and sees some that are none: record
                # locks are never held here while waiting for another.
                if refused.errno != errno.EDEADLK:
                    raise
                sleep(0.001)

    def is_alive(self, other: int) -> bool:
        """Whether the process that calls itself *other* is alive. With the mutex and the record lock held.

        (Two who ask at the same time would see each other's question, and take it for life.)
        """
        if other in self._ids:
            return True
        try:
            lockf(self.fd, LOCK_EX | LOCK_NB, 1, 1 + other)
        except OSError as refused:
            if refused.errno in (errno.EAGAIN, errno.EACCES):
                return True
            raise
        lockf(self.fd, LOCK_UN, 1, 1 + other)
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
        claim: list[Any] = []
        try:
            if self._attempt(claim, 0, 0) is None:
                return True
            if not block or (timeout is not None and timeout <= 0):
                return False
            return self._wait(claim, None if timeout is None else monotonic() + timeout)
        except BaseException:
            # A signal handler raised: nobody will know that we have it.
            if claim:
                self._give_back(claim)
            raise

    def _attempt(self, claim: list[Any], was_waiting: int, will_wait: int) -> tuple[int, int] | None:
        """Take the lock if it is free, or owned by the dead; otherwise tell by whom it is owned (id, pid).

        *claim* then holds the owner's part of the state as we have written it, or are about to. *was_waiting* and
        *will_wait* (0 or 1): whether this thread is counted as a waiter, and is to be if it fails.
        """
        file = self._file
        thread = get_ident()
        with file.mutex:
            me = file.me
            while True:
                self._todo.clear()
                todo = self._todo = [_HERE]
                try:
                    file.lock()
                    owner, pid, holder, depth, count, waiters = _unpack(file.memory)
                    if not owner or (owner != me and not file.is_alive(owner)):
                        mine = (me, self._pid, thread, 1, count + 1)
                    elif self._recursive and owner == me and holder == thread:
                        mine = (me, pid, thread, depth + 1, count)
                    else:
                        mine = None
                    if mine is not None:
                        claim[:] = [mine]
                        new = _pack(*mine, waiters - was_waiting)
                    else:
                        claim.clear()
                        new = _pack(owner, pid, holder, depth, count, waiters - was_waiting + will_wait)
                    done = [*map(file.memory.__setitem__, todo, (new,))]
                    if waiters:
                        # Taken by us, or still by another: either way there is nothing to come for.
                        self._bell.silence()
                finally:
                    lockf(file.fd, LOCK_UN, 1)
                if done:
                    return None if mine is not None else (owner, pid)

    def _wait(self, claim: list[Any], deadline: float | None) -> bool:
        poller = select.poll()
        poller.register(self._bell.fileno(), select.POLLIN)
        waiting = 0
        watched = -1  # a pidfd
        watched_owner = 0
        try:
            while True:
                pause = _LOOK_EVERY
                if deadline is not None:
                    pause = min(pause, deadline - monotonic())
                late = pause <= 0
                blocker = self._attempt(claim, waiting, 0 if late else 1)
                waiting = 0 if late or blocker is None else 1
                if blocker is None:
                    return True
                if late:
                    return False
                if blocker[0] != watched_owner:
                    if watched >= 0:
                        poller.unregister(watched)
                        fd, watched = watched, -1
                        os.close(fd)
                    watched_owner, pid = blocker
                    watched = -1 if pid == self._pid else _open_pidfd(pid)
                    if watched >= 0:
                        poller.register(watched, select.POLLIN)
                        continue  # and see whether it is the owner's still
                poller.poll(pause * 1000)
        except BaseException:
            if waiting:
                self._uncount()
            raise
        finally:
            if watched >= 0:
                os.close(watched)

    def _uncount(self) -> None:
        """This thread no longer waits."""
        self._change(lambda state: (*state[:5], max(0, state[5] - 1)))

    def _give_back(self, claim: list[Any]) -> None:
        """Undo an acquisition, if it happened and is ours still."""
        mine = claim[0]
        self._change(lambda state: _one_less(state) if state[:5] == mine else None)

    def release(self) -> None:
        """Give the lock back, whoever took it; the recursive one only by the thread that did."""
        seen: list[Any] = []
        try:
            refusal = self._free(seen)
        except BaseException:
            # A signal handler raised in the middle. The caller's `with` will not come back: finish for him.
            if seen:
                self._give_back(seen)
            else:
                self._free(seen)
            raise
        if refusal:
            raise (AssertionError if self._recursive else ValueError)(refusal)

    def _free(self, seen: list[Any]) -> str:
        """Give it back once; why not, if not. *seen*: the owner's part of the state before."""
        # `_change`, written out, because every release comes through here.
        file = self._file
        fd, memory = file.fd, file.memory
        with file.mutex:
            me = file.me
            while True:
                self._todo.clear()
                todo = self._todo = [_HERE]
                try:
                    file.lock()
                    state = _unpack(memory)
                    if self._recursive:
                        if state[0] != me or state[2] != get_ident():
                            return "attempt to release recursive lock not owned by thread"
                    elif not state[0]:
                        return "semaphore or lock released too many times: this Lock is not locked"
                    seen[:] = (state[:5],)
                    new = _one_less(state)
                    if state[5] and not new[0]:
                        self._bell.ring()  # before the word: see above
                    done = [*map(memory.__setitem__, todo, (_pack(*new),))]
                finally:
                    lockf(fd, LOCK_UN, 1)
                if done:
                    return ""

    def _change(self, decide: Any) -> None:
        """One change of the state under the record lock: from what it is to `decide(what it is)`; None: none."""
        file = self._file
        with file.mutex:
            while True:
                self._todo.clear()
                todo = self._todo = [_HERE]
                try:
                    file.lock()
                    state = _unpack(file.memory)
                    new = decide(state)
                    if new is None:
                        return
                    if new[5] and not new[0]:
                        self._bell.ring()  # before the word: see above
                    done = [*map(file.memory.__setitem__, todo, (_pack(*new),))]
                finally:
                    lockf(file.fd, LOCK_UN, 1)
                if done:
                    return

    def owner(self) -> int:
        """The pid of the owner, if there is one and it is alive; else 0."""
        file = self._file
        with file.mutex:
            try:
                file.lock()
                owner, pid, *_ = _unpack(file.memory)
                return int(pid) if owner and file.is_alive(owner) else 0
            finally:
                lockf(file.fd, LOCK_UN, 1)


def _one_less(state: tuple[int, ...]) -> tuple[int, ...]:
    owner, pid, holder, depth, count, waiters = state
    if depth > 1:
        return owner, pid, holder, depth - 1, count, waiters
    return 0, 0, 0, 0, count, waiters


def _open_pidfd(pid: int) -> int:
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return -1
    try:
        return int(opener(pid))
    except OSError:
        return -1  # gone, or no such call: the look at the owner's byte tells
