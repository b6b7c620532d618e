# SPDX-License-Identifier: MIT
"""Queues between processes."""

# Theory of operation
#
# A queue is a pair of connected AF_UNIX packet sockets that all its processes inherit. One item is one packet, and the
# kernel hands a packet over whole or not at all, to exactly one receiver. So there is no reader's lock and no writer's
# lock, and a process that is killed anywhere within put() or get() leaves nothing behind: either the packet is in the
# queue or it is not.
#
# An item that is too long for a packet is written to a file without a name, and the packet carries the descriptor
# (SCM_RIGHTS). Nobody has to take such an item for its sender to be finished with it.
#
# Items are pickled by the caller of put(): an error is raised where it was made, before anything was sent. A packet
# that does not unpickle is gone from the queue when the error comes up in get(); the next get() takes the next one.
#
# put() sends without blocking if it can. If the socket is full it appends to `_backlog`, and a feeder thread, started
# for the occasion, sends from there and ends when nothing is left. The feeder looks at the head, sends, and only then
# removes it: as long as something of ours is unsent, the backlog is not empty, and later items of this process queue
# behind it. Items of one process stay in order.
#
# Counting. There is no shared counter, because whoever is killed with it in hand would leave it wrong. Each process has
# an entry of its own in shared memory, which no other writes as long as it lives:
#
#   reserved   items put, or about to be
#   sent       items that have reached the socket
#   taken      items got
#   taking     threads that are just taking one
#
# The size is the sum of all `reserved` less the sum of all `taken`. To put into a bounded queue is to look at the sum
# and to reserve, under a record lock, which a dead process cannot keep. The entry of a process that has died is settled
# when somebody finds the queue full: what it reserved and did not send will never come; what it was just taking
# counts as taken. Therefore:
#
# Nothing waits for the dead. A process that was given the queue by its parent also watches that parent while it waits.
# When the parent is dead, the wait goes on only as long as there is somebody else from whom an end of it can be expected:
# a living process that has put something into this queue before (or made it), for get(); one that has taken something
# (or made it), for put(). Otherwise the wait ends with an error that names the parent.
#
#   Guarantee: a killed process never makes the others wait for ever. For each process that was killed inside put() or
#   get() the queue may hold one item more than `maxsize` per thread that was in there, and qsize() be that much too low.

from __future__ import annotations

import errno
import os
import select
import sys
from array import array
from collections import deque
from fcntl import LOCK_UN, lockf
from itertools import count
from struct import Struct
from time import monotonic, sleep
from types import GenericAlias

from .._thread import RLock, register_after_fork, report_unraisable, reset_lock
from ..queue import Empty, Full
from . import _inherit, _platform
from ._bell import Bell
from ._robust import SharedFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, TypeVar

    T = TypeVar("T")

    class Items(Generic[T]):
        """What `Queue[int]` is made of."""
else:

    class Items:
        """What `Queue[int]` is made of."""

        __class_getitem__ = classmethod(GenericAlias)


__all__ = ["Empty", "Full", "Queue"]

# Longer items travel in a file. A guess between two costs: a larger packet is copied through one kernel buffer, a file
# costs some six system calls.
_INLINE = 32768
_PLAIN, _FILED = b"\0", b"\1"
_ROOM_FOR_A_DESCRIPTOR = 64

_ENTRY = Struct("=5Q")  # id, reserved, sent, taken, taking
_ID, _RESERVED, _SENT, _TAKEN, _TAKING = range(5)
_WIDTH = 5
_LEDGER_SIZE = 65536
_HEAD = 8  # words before the first entry; word 0 counts the putters that wait for room
# In place of what send() returned: the feeder will send it.
_POSTPONED = "postponed"
# Errors of a send that mean "not now": the kernel's limits on memory and on descriptors under way.
_NOT_NOW = {getattr(errno, name) for name in ("ENOBUFS", "ENOMEM", "ETOOMANYREFS") if hasattr(errno, name)}
# A putter that waits for room looks this often whether somebody with a reservation has died.
_LOOK_EVERY = 0.25


class _Ledger:
    """Who has put and taken how many."""

    __slots__ = ("__weakref__", "_at", "_counters", "file", "room", "words")

    def __init__(self, file: SharedFile | None = None, room: Bell | None = None) -> None:
        self.file = file or SharedFile(_LEDGER_SIZE)
        self.room = room or Bell()
        self.words = memoryview(self.file.memory).cast("Q")
        self._renew()
        register_after_fork(self, _Ledger._renew)

    def _renew(self) -> None:
        self._at = 0
        self._counters: list[Any] = []

    def __reduce__(self) -> tuple[Any, ...]:
        _inherit.assert_spawning(self)
        return _Ledger, (self.file, self.room)

    def bump(self, which: int, done: list[Any] | None = None) -> None:
        """Add one to a field of our own entry, and an item to *done*.

        Both by one call, so that a handler or finaliser that comes in finds it complete, and a caller who is interrupted
        by an exception knows whether it happened.
        """
        if done is None:
            done = []
        with self.file.mutex:
            at = self._at or self._open_entry()
            done.extend(map(self.words.__setitem__, (at + which,), self._counters[which]))

    def enter(self) -> None:
        """Make ourselves known: the first entry is that of the process that made the queue."""
        with self.file.mutex:
            self._open_entry()

    def others(self, which: int) -> bool:
        """Whether a thread or process is left, beside the caller, that has counted in that field or made the queue."""
        file, words = self.file, self.words
        with file.mutex:
            try:
                file.lock()
                for at in range(_HEAD, len(words) - _WIDTH, _WIDTH):
                    owner = words[at]
                    if not owner:
                        return False
                    expected = words[at + which] or at == _HEAD
                    if expected and (_platform.thread_count() if owner == file.me else file.is_alive(owner)):
                        return True
                return False
            finally:
                lockf(file.fd, LOCK_UN, 1)

    def _open_entry(self) -> int:
        """Find our own place: a new one, or that of a process that is dead, whose counts we carry on."""
        file, words = self.file, self.words
        me = file.me
        try:
            file.lock()
            for at in range(_HEAD, len(words) - _WIDTH, _WIDTH):
                owner = words[at]
                if owner == me:
                    break
                if not owner or not file.is_alive(owner):
                    self._settle(at)
                    words[at] = me
                    break
            else:
                raise OSError("more processes than a queue has room for use this one")
        finally:
            lockf(file.fd, LOCK_UN, 1)
        self._counters = [count(words[at + which] + 1) for which in range(_WIDTH)]
        self._at = at
        return at

    def _settle(self, at: int) -> None:
        words = self.words
        words[at + _RESERVED] = words[at + _SENT]
        taking, words[at + _TAKING] = words[at + _TAKING], 0
        words[at + _TAKEN] += taking

    def settle_the_dead(self) -> None:
        """Count out what dead processes had reserved, and count as taken what they were taking."""
        file, words = self.file, self.words
        with file.mutex:
            try:
                file.lock()
                for at in range(_HEAD, len(words) - _WIDTH, _WIDTH):
                    if not words[at]:
                        break
                    unsettled = words[at + _RESERVED] != words[at + _SENT] or words[at + _TAKING]
                    if unsettled and not file.is_alive(words[at]):
                        self._settle(at)
            finally:
                lockf(file.fd, LOCK_UN, 1)

    def size(self) -> int:
        """How many items there are, as far as that can be said while others go on."""
        words = self.words
        total = 0
        for at in range(_HEAD, len(words) - _WIDTH, _WIDTH):
            if not words[at]:
                break
            total += words[at + _RESERVED] - words[at + _TAKEN]
        return max(total, 0)

    def reserve(self, maxsize: int, waiting: int, done: list[Any]) -> bool:
        """Reserve a place if there is one; *waiting* (1, 0, -1) is added to the putters that wait if there is not."""
        file = self.file
        with file.mutex:
            if not self._at:
                self._open_entry()
            try:
                file.lock()
                size = self.size()
                free = size < maxsize
                if free:
                    self.bump(_RESERVED, done)
                else:
                    self.words[0] = max(0, self.words[0] + waiting)
                others = size + 1 < maxsize and self.words[0] > 0
            finally:
                lockf(file.fd, LOCK_UN, 1)
        if free and others:
            self.room.ring()  # the bell rang once for several places
        return free

    def wait_less(self) -> None:
        """One putter no longer waits."""
        with self.file.mutex:
            try:
                self.file.lock()
                self.words[0] = max(0, self.words[0] - 1)
            finally:
                lockf(self.file.fd, LOCK_UN, 1)

    def took(self, done: list[Any] | None = None) -> None:
        """An item was taken: tell those who wait for room."""
        self.bump(_TAKEN, done)
        if self.words[0]:
            self.room.ring()

    def taking(self, change: int) -> None:
        """A thread is about to take an item, or no longer is."""
        with self.file.mutex:
            at = self._at or self._open_entry()
            self.words[at + _TAKING] = max(0, self.words[at + _TAKING] + change)


class _Channel:
    """The two sockets. They are closed with the last object that uses them."""

    __slots__ = ("_closed", "inlet", "outlet")

    def __init__(self, fds: tuple[int, int] | None = None) -> None:
        sockets = _platform.socket_module()
        if fds is None:
            self.outlet, self.inlet = sockets.socketpair(sockets.AF_UNIX, _platform.packet_type())
        else:
            self.outlet, self.inlet = (sockets.socket(fileno=fd) for fd in fds)
        self.outlet.setblocking(True)
        self.inlet.setblocking(True)
        if fds is None:
            _platform.enlarge_send_buffer(self.inlet)

    def __reduce__(self) -> tuple[Any, ...]:
        inheritance = _inherit.assert_spawning(self)
        return _Channel, ((inheritance.copy(self.outlet.fileno()), inheritance.copy(self.inlet.fileno())),)

    def close(self) -> None:
        for each in (self.outlet, self.inlet):
            each.close()

    def __del__(self) -> None:
        try:
            self.close()
        except AttributeError:
            pass  # __init__ failed


class Queue(Items["T"]):
    """A queue that any number of processes and threads put into and get from.

    `put` pickles the item at once: what cannot be pickled raises there, and changing it afterwards changes nothing.
    With *maxsize* > 0, `put` waits for room. No process that is killed while it uses the queue can keep the others from
    using it. Share the queue by giving it to a Process; it cannot be pickled otherwise.

    Differs from the standard module: an item put is there for the next `get_nowait` of the same process; long
    items do not keep their sender from ending; items that are still unsent when the last process that could take
    them has ended are dropped instead of blocking the exit.
    """

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:  # noqa: ARG002 - the standard signature
        if not sys.platform.startswith("linux") and maxsize > 0x7FFFFFFF:
            raise ValueError("maxsize is too large")
        self._maxsize = max(0, maxsize)
        self._channel = _Channel()
        self._ledger = _Ledger()
        self._ledger.enter()
        self._given = False  # whether our parent had it before us
        self._renew()

    def _renew(self) -> None:
        self._mutex = RLock()
        self._backlog: deque[tuple[bytes, int]] = deque()
        self._feeder: Any = None
        self._feeding = False
        self._closed = False
        self._wait_at_end = True
        register_after_fork(self, Queue._after_fork)

    def _after_fork(self) -> None:
        reset_lock(self._mutex)
        # What is unsent is our parent's to send; its files are still open here.
        while self._backlog:
            _, fd = self._backlog.popleft()
            if fd >= 0:
                os.close(fd)
        self._feeder = None
        self._feeding = False
        self._given = True

    def __getstate__(self) -> tuple[Any, ...]:
        _inherit.assert_spawning(self)
        return (self._maxsize, self._channel, self._ledger)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._maxsize, self._channel, self._ledger = state
        self._given = True
        self._renew()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"size={self.qsize()}"
        return f"<{type(self).__name__} maxsize={self._maxsize} {state}>"

    # Putting

    def put(self, obj: T, block: bool = True, timeout: float | None = None) -> None:
        """Put an item. Full if there is no room and *block* is false, or none within *timeout* seconds.

        An unbounded queue never blocks. An item that cannot be pickled raises PicklingError (what a `__reduce__` of its
        own raises, unless that is an AttributeError or TypeError), and the queue is as it was.
        ValueError after `close`. In a process that was given the queue by its parent: BrokenPipeError when there is no
        room, the parent has died, and no process is left that took something from the queue before.
        """
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")
        data = _dumps(obj)
        fd = -1 if len(data) < _INLINE else _in_file(data)
        reserved: list[Any] = []
        sent: list[Any] = []
        counted: list[Any] = []
        try:
            if self._maxsize:
                self._make_room(block, timeout, reserved)
            else:
                self._ledger.bump(_RESERVED, reserved)
            self._send(_PLAIN + data if fd < 0 else _FILED, fd, sent, counted)
        except BaseException:
            # The queue refused, or a signal handler raised: no place is kept for what will not come.
            if reserved and not sent:
                self._withdraw()
            elif sent and not counted and _POSTPONED not in sent:
                self._ledger.bump(_SENT)
            raise
        finally:
            if fd >= 0 and _POSTPONED not in sent:
                os.close(fd)

    def put_nowait(self, obj: T) -> None:
        """`put(obj, block=False)`."""
        self.put(obj, False)

    def _make_room(self, block: bool, timeout: float | None, done: list[Any]) -> None:
        ledger = self._ledger
        if ledger.reserve(self._maxsize, 0, done):
            return
        ledger.settle_the_dead()
        if ledger.reserve(self._maxsize, 0, done):
            return
        if not block or (timeout is not None and timeout <= 0):
            raise Full
        deadline = None if timeout is None else monotonic() + timeout
        poller = select.poll()
        poller.register(ledger.room.fileno(), select.POLLIN)
        parent = self._watched_parent(poller)
        enrolled = 1
        try:
            while not ledger.reserve(self._maxsize, enrolled, done):
                enrolled = 0
                pause = _LOOK_EVERY
                if deadline is not None:
                    pause = min(pause, deadline - monotonic())
                    if pause <= 0:
                        raise Full
                ready = poller.poll(pause * 1000)
                if not ready:
                    ledger.settle_the_dead()
                elif parent is not None and any(fd == parent.sentinel for fd, _ in ready):
                    if not ledger.reserve(self._maxsize, 0, done):
                        self._without(parent, _TAKEN, pause)
                    else:
                        return
                else:
                    ledger.room.silence()
        finally:
            if not enrolled:
                ledger.wait_less()

    def _watched_parent(self, poller: select.poll) -> Any:
        """The parent whose end has to end our wait, registered with *poller*; None if there is no such."""
        if not self._given:
            return None
        from .process import parent_process

        parent = parent_process()
        if parent is not None:
            poller.register(parent.sentinel, select.POLLIN)
        return parent

    def _without(self, parent: Any, which: int, longest: float) -> None:
        """Our parent is dead: raise, unless there is somebody else; then pause."""
        if not self._ledger.others(which):
            name = f"the parent process {parent.name!r} (pid {parent.pid})"
            if which == _RESERVED:
                raise EOFError(
                    f"{self!r} is empty, and {name}, which shared it, has ended; nobody else puts into it"
                )
            raise BrokenPipeError(
                errno.EPIPE,
                f"{self!r} is full, and {name}, which shared it, has ended; nobody else takes from it",
            )
        fd = (self._channel.outlet if which == _RESERVED else self._ledger.room).fileno()
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        poller.poll(min(longest, _LOOK_EVERY) * 1000)

    def _send(self, packet: bytes, fd: int, sent: list[Any], counted: list[Any]) -> None:
        """Send, now or later; *sent* is not empty as soon as the item is ours no more."""
        # No lock: another thread that sends at the same time has no place before or behind us.
        if not self._backlog and self._send_now(packet, fd, sent, counted):
            return
        with self._mutex:
            item = (packet, fd)
            self._backlog.append(item)
            sent.append(_POSTPONED)
            if self._feeding:
                return
            self._feeding = True
            try:
                self._start_feeder()
            except BaseException:
                self._feeding = False
                self._backlog.remove(item)
                sent.clear()
                raise

    def _withdraw(self) -> None:
        """What was reserved will not be sent: it counts as sent and taken."""
        self._ledger.bump(_SENT)
        self._ledger.took()

    def _send_now(self, packet: bytes, fd: int, sent: list[Any], counted: list[Any]) -> bool:
        inlet = self._channel.inlet
        try:
            # By one call each, so that an interrupted caller knows whether it happened.
            if fd < 0:
                sent.extend(map(inlet.send, (packet,), (_DONTWAIT,)))
            else:
                sockets = _platform.socket_module()
                rights = (sockets.SOL_SOCKET, sockets.SCM_RIGHTS, array("i", [fd]))
                sent.extend(map(inlet.sendmsg, ([packet],), ([rights],), (_DONTWAIT,)))
        except BlockingIOError:
            return False
        except OSError as problem:
            if problem.errno in _NOT_NOW:
                return False
            raise
        self._ledger.bump(_SENT, counted)
        return True

    def _start_feeder(self) -> None:
        from ..threading import Thread
        from .process import at_end

        at_end(self._flush)
        self._feeder = Thread(target=self._feed, name="QueueFeederThread", daemon=True)
        self._feeder.start()

    def _feed(self) -> None:
        poller = select.poll()
        poller.register(self._channel.inlet.fileno(), select.POLLOUT)
        pause = 0.001
        from .process import not_at_end

        while True:
            while self._backlog:
                packet, fd = self._backlog[0]
                try:
                    if self._send_now(packet, fd, [], []):
                        self._backlog.popleft()
                        if fd >= 0:
                            os.close(fd)
                        pause = 0.001
                    else:
                        poller.poll()
                        if fd >= 0:
                            # The socket has room, and yet not for one more descriptor: nothing tells when.
                            sleep(pause)
                            pause = min(2 * pause, 0.05)
                except Exception as problem:  # noqa: BLE001 - reported; the items behind it have to get on
                    self._backlog.popleft()
                    if fd >= 0:
                        os.close(fd)
                    self._withdraw()
                    report_unraisable(problem, "Item lost by the feeder thread of", self)
            with self._mutex:
                self._feeding = False
                # A finaliser that put in this very moment has relied on us.
                if not self._backlog:
                    not_at_end(self._flush)
                    return
                self._feeding = True

    def _flush(self) -> None:
        """At the end of this process: wait until everything is sent, if anybody can be there to take it."""
        from .process import parent_process

        parent = parent_process()
        while self._wait_at_end and self._feeding and parent is not None and parent.is_alive():
            self._feeder.join(_LOOK_EVERY)

    # Getting

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take an item. Empty if there is none and *block* is false, or none within *timeout* seconds.

        If the item cannot be unpickled that error is raised, once; the item is gone and the next `get` works.
        ValueError after `close`. In a process that was given the queue by its parent: EOFError when there is no item,
        the parent has died, and no process is left that put something into the queue before.
        """
        packet, data = self._receive(block, timeout)
        if packet[:1] == _FILED:
            return _loads(_from_file(data))  # type: ignore[no-any-return]
        return _loads(memoryview(packet)[1:])  # type: ignore[no-any-return]

    def get_nowait(self) -> T:
        """`get(block=False)`."""
        return self.get(False)

    def _receive(self, block: bool, timeout: float | None) -> tuple[bytes, Any]:
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")
        if block and timeout is None and not self._maxsize and not self._given:
            return self._take(0)
        deadline = None if timeout is None or not block else monotonic() + timeout
        poller = parent = None
        while True:
            if self._maxsize:
                self._ledger.taking(1)
            try:
                return self._take(_DONTWAIT)
            except BlockingIOError:
                pass
            finally:
                if self._maxsize:
                    self._ledger.taking(-1)
            left = None
            if not block:
                if self._backlog and not self._await_feeder():
                    continue
                raise Empty
            if deadline is not None:
                left = deadline - monotonic()
                if left <= 0:
                    raise Empty
            if poller is None:
                poller = select.poll()
                poller.register(self._channel.outlet.fileno(), select.POLLIN)
                parent = self._watched_parent(poller)
            # In pieces, because poll() takes milliseconds in a C int.
            ready = poller.poll(None if left is None else min(left, 86400.0) * 1000)
            if parent is not None and [fd for fd, _ in ready] == [parent.sentinel]:
                self._without(parent, _RESERVED, _LOOK_EVERY if left is None else left)

    def _await_feeder(self) -> bool:
        """The socket is empty but our own backlog is not: let the feeder get on. True if that did not help."""
        poller = select.poll()
        poller.register(self._channel.outlet.fileno(), select.POLLIN)
        # A second, but in turns: who was stopped for longer than that, feeder and all, has not seen yet what it does.
        return not any(poller.poll(10) for _ in range(100))

    def _take(self, flags: int) -> tuple[bytes, Any]:
        got: list[tuple[bytes, Any, int, Any]] = []
        counted: list[Any] = []
        try:
            receive = self._channel.outlet.recvmsg
            got.extend(map(receive, (_INLINE,), (_ROOM_FOR_A_DESCRIPTOR,), (flags | _CLOEXEC,)))
            self._ledger.took(counted)
        except BaseException:
            # A signal handler raised, and the item is nobody's.
            if got:
                for fd in _descriptors(got[0][1]):
                    os.close(fd)
                if not counted:
                    self._ledger.took()
            raise
        return got[0][:2]

    # Looking

    def qsize(self) -> int:
        """About how many items there are; others may put and get meanwhile. Works on every platform."""
        return self._ledger.size()

    def empty(self) -> bool:
        """Whether there was nothing to get when asked."""
        poller = select.poll()
        poller.register(self._channel.outlet.fileno(), select.POLLIN)
        if poller.poll(0):
            return False
        # The feeder may not have struck off yet what it has sent, and somebody has taken: the ledger knows.
        return not self._backlog or self._ledger.size() <= 0

    def full(self) -> bool:
        """Whether there was no room when asked. Never, for an unbounded queue."""
        return bool(self._maxsize) and self._ledger.size() >= self._maxsize

    # Ending

    def close(self) -> None:
        """This process is done with the queue: it can put and get no more. What was put will still be sent."""
        self._closed = True

    def join_thread(self) -> None:
        """Wait until everything this process put has been sent. Only after `close`."""
        if not self._closed:
            raise AssertionError(f"Queue {self!r} not closed: call close() before join_thread()")
        feeder = self._feeder
        if feeder is not None:
            feeder.join()

    def cancel_join_thread(self) -> None:
        """Do not wait at exit for what is unsent; it may be lost."""
        self._wait_at_end = False


def _dumps(obj: Any) -> bytes:
    from .reduction import ForkingPickler

    try:
        return ForkingPickler.dumps(obj)
    except (AttributeError, TypeError) as problem:
        # What pickle itself raises depends on the object and on the Python. Who puts should not have to know.
        from pickle import PicklingError

        raise PicklingError(
            f"an item of type {type(obj).__name__} cannot be put into a Queue: {problem}"
        ) from problem


def _loads(data: Any) -> Any:
    import pickle

    return pickle.loads(data)


def _in_file(data: bytes) -> int:
    fd = _platform.anonymous_file("item")
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except BaseException:
        os.close(fd)
        raise
    return fd


def _descriptors(extra: Any) -> array[int]:
    fds = array("i")
    for _, _, data in extra:
        fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return fds


def _from_file(extra: Any) -> bytes:
    fds = _descriptors(extra)
    if not fds:
        raise OSError(
            "an item came without its data: this process has no descriptor left (raise RLIMIT_NOFILE)"
        )
    with open(fds[0], "rb", buffering=0) as file:
        file.seek(0)
        return file.read()


_DONTWAIT: int = getattr(_platform.socket_module(), "MSG_DONTWAIT", 0)
_CLOEXEC: int = getattr(_platform.socket_module(), "MSG_CMSG_CLOEXEC", 0)
