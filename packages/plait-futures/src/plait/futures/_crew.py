# SPDX-License-Identifier: MIT
"""The workers of a process pool, and the one thread that deals with them.

Rules
  - Every future that was accepted gets an outcome: its call's, cancellation, or BrokenProcessPool.
  - Only the manager thread reads from and writes to workers, and it blocks in one place only, its selector: on the
    answer pipes, the sentinels of the processes, a pipe by which others wake it, and those call pipes that are
    full. So no process can make it wait for itself: all pipe ends of ours are non-blocking, half a message is kept
    as half a message. Nothing is shared between workers, no lock, no queue: one that dies takes nothing down with
    it.
  - A call belongs to at most one worker, and the pool knows which (`held`).
  - When the process of the pool dies, however, each worker finds the end of its calls and goes: no other process
    has the writing end. Our ends are closed in every forked child (`_forked`), those meant for the worker in every
    child but this worker. Where the kernel can (Linux), it also kills a worker that is in the middle of a
    call: see `_worker`.

Theory of operation
  `submit` puts a call into `pending` (a deque) and rings, if the manager said that it sleeps. The manager says so
  before it looks at `pending` for the last time; one of the two sees the other. That it has been rung is noted for
  this one `nap`, after the ring. Shutting down always rings.
  Accepting is the same bargain as in `_threadpool`: look at `refusal`, enter the call, look again.

  Sending ahead. An idle worker costs a round trip, so calls may travel together and wait in the pipe of a busy
  worker, where they can no longer be cancelled. Hence:
    - a call goes ahead only if its function is known to be short: LONGEST_SHORT at most, as measured by the
      workers, where a longer run counts at once and a shorter one little by little. An unmeasured function counts
      as long;
    - it goes ahead only behind calls that are known to be short, with AHEAD seconds of them in all;
    - idle workers come first, a new worker next, and no worker gets more than its share of what is pending.

  Taking back. A call may turn out long against the record of its function, or wait for one that was sent ahead behind
  it. So a call that was sent is not yet a call that will be made: for each there is a ticket, its number, in another
  pipe, and a worker starts only the calls whose ticket it has read. The pool can read from that pipe, too. A read
  takes whole tickets (they are written in one piece, and every reader asks for multiples of their size), so each is
  taken by one side, and nobody has to agree with a busy worker on anything. When a worker that has calls ahead has
  not answered for PATIENCE, the manager takes the tickets that are left, and gives these calls out again under new
  numbers; the worker drops the content of calls it has no ticket for when it comes across it. Nothing more goes
  ahead to that worker before it answers. Should the tickets of all its calls be among them, the worker has
  not got that far yet (it is still starting), and the first is put back.

  Death. The sentinel tells. What the worker wrote before is read to the end and counts. Then its exit code is
  asked, and, unless it was told to go, the pool is broken: the message names pid and exit code or signal; each
  unfinished future gets an exception of its own with it, and so does each later submit; the other workers are
  terminated, and killed if that takes longer than GRACE.

  Going. With `refusal` set and nothing left to do the manager closes all call pipes, waits for the sentinels, and
  ends. The manager is not a daemon thread; at interpreter exit our threading first asks every pool to close, then
  joins it. It does not refer to the executor, so a dropped executor is noticed, as in `_threadpool`.

  Starting. With *fork* all workers are started by the first submit, in its thread, before there is a manager: a
  fork in a process with threads copies locks in whatever state they are. With other methods the manager starts a
  worker when there is a call and nobody idle; the first one is started by the first submit, whose thread gets the
  exception if it cannot be. SIGINT is blocked around a start, and unblocked by the worker once it
  can take it.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
from collections import deque
from time import monotonic

from .._thread import RLock, get_ident, register_after_fork
from ..multiprocessing.connection import Pipe
from ..threading import Thread
from ._errors import BrokenExecutor
from ._future import CANCELLED
from ._open import closed, opened
from ._threadpool import conclude
from ._wire import (
    CHUNK_VALUES,
    FAILURE,
    PACKED_VALUE,
    START_FAILED,
    TICKET,
    WITH_ITS_FUNCTION,
    Frames,
    Functions,
    frame,
    is_unpacking,
    loads,
    rebuild,
)
from ._worker import run_worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Seconds of work that may be with one worker. Long enough to hide a round trip (0.1 ms) and a time slice of the
# interpreter (5 ms), short enough not to be noticed.
AHEAD = 0.008
LONGEST_SHORT = 0.002
# A bound on what one frame costs to make while others wait.
MOST_AHEAD = 500
# Seconds without an answer after which a worker loses the calls that were sent ahead to it.
PATIENCE = 0.016
# A bound on the tickets in a pipe: they must always fit (POSIX: 512 bytes at once; pipes hold 16 KiB and more).
MOST_TICKETS = 1000
_TICKETS_AT_ONCE = 64
# Seconds after which a worker that could not be started is tried again, if there are others.
_SECOND_TRY = 1.0
# Seconds from the closing of descriptors to the end of a process.
_LAST_STEPS = 0.2
# Seconds for a terminated worker to go by itself.
GRACE = 1.0
_READ_SIZE = 1 << 18

# `python script.py` takes __main__.__file__ away when the body of the script has ended. A worker that is started
# after that, for calls that are still pending, needs it to find the functions of the script.
_main_file = getattr(sys.modules.get("__main__"), "__file__", None)


class BrokenProcessPool(BrokenExecutor):
    """A worker process died, or could not start; the message says which and how. The pool runs no more calls."""

    __module__ = f"{__package__}.process"


def ending(exitcode: int | None) -> str:
    """How a process ended, in words."""
    if exitcode is None:
        return "ended in an unknown way (somebody else asked for its exit code)"
    if exitcode >= 0:
        return f"exited with code {exitcode}"
    try:
        return f"was killed by {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"was killed by signal {-exitcode}"


class _Member:
    """One worker process, seen from here."""

    def __init__(self, quota: int | None) -> None:
        self.ends: list[Any] = []
        self.their_calls, self.calls = self._pipe()
        self.answers, self.their_answers = self._pipe()
        # Reading is for both sides, and one open file has one mode: the worker does without blocking, too.
        self.tickets, self.new_tickets = self._pipe()
        # We hold one end, and say nothing.
        self.their_lifeline, self.lifeline = self._pipe()
        for end in (self.calls, self.answers, self.tickets, self.new_tickets):
            os.set_blocking(end.fileno(), False)
        self.process: Any = None
        self.pid: int | None = None
        self.sentinel = -1
        # call number -> (future, key of its function, its cost as expected, packed call)
        self.held: dict[int, tuple[Any, Any, float, Any]] = {}
        self.known: set[int] = set()
        self.unsent: deque[memoryview] = deque()
        self.frames = Frames()
        self.quota = quota
        self.told_to_go = False
        # When it last answered, or got a call while it had none.
        self.since = 0.0
        # It has not answered for PATIENCE: nothing goes ahead to it.
        self.late = False
        # Why it is being killed, if we do that.
        self.crime: str | None = None

    def _pipe(self) -> tuple[Any, Any]:
        ends = Pipe(duplex=False)
        self.ends += ends
        return ends

    def load(self) -> float:
        return sum(held[2] for held in self.held.values())

    def grant(self, calls: list[int]) -> None:
        """Write tickets. There is always room for them."""
        fd = self.new_tickets.fileno()
        try:
            for start in range(0, len(calls), _TICKETS_AT_ONCE):
                os.write(fd, b"".join(map(TICKET.pack, calls[start : start + _TICKETS_AT_ONCE])))
        except BrokenPipeError:
            pass  # its sentinel tells the rest

    def take_back(self) -> list[tuple[Any, Any, Any]]:
        """The calls that it has not started, and will not."""
        taken: list[int] = []
        try:
            while data := os.read(self.tickets.fileno(), TICKET.size * _TICKETS_AT_ONCE):
                taken += [number for (number,) in TICKET.iter_unpack(data)]
        except BlockingIOError:
            pass
        # Only if it has none at all. A long row is taken in several reads, and the worker may have come in between: it
        # then has one from the middle, and has dropped the calls before that.
        if taken and len(taken) == len(self.held):
            self.grant([taken.pop(0)])
        if self.quota is not None:
            self.quota += len(taken)
        calls = []
        for number in taken:
            future, key, _, packed = self.held.pop(number)
            calls.append((future, key, packed))
        return calls

    def start(self, crew: Crew) -> None:
        main = sys.modules.get("__main__")
        if _main_file is not None and main is not None and not hasattr(main, "__file__"):
            main.__file__ = _main_file
        # Kept blocked over the start, and inherited; see _worker.
        mask = getattr(signal, "pthread_sigmask", None)
        before = mask(signal.SIG_BLOCK, {signal.SIGINT}) if mask is not None else {signal.SIGINT}
        try:
            self.process = crew.context.Process(
                target=run_worker,
                name=f"{crew.name}-{next(crew.numbers)}",
                args=(
                    (self.their_calls, self.tickets, self.their_answers, self.their_lifeline),
                    crew.initializer,
                    crew.initargs,
                    signal.SIGINT not in before,
                ),
            )
            self.process.start()
            self.pid = self.process.pid
            self.sentinel = self.process.sentinel
        finally:
            if mask is not None:
                mask(signal.SIG_SETMASK, before)
            for end in (self.their_calls, self.their_answers, self.their_lifeline):
                end.close()

    def tell_to_go(self) -> None:
        self.told_to_go = True
        self.calls.close()
        self.new_tickets.close()

    def put_away(self) -> None:
        for end in self.ends:
            end.close()
        if self.process is not None and self.pid is not None:
            self.process.close()


class Crew:
    """The workers, the calls, and the manager. One per executor; does not refer to it."""

    def __init__(
        self,
        most: int,
        context: Any,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        quota: int | None,
    ) -> None:
        self.most = most
        self.context = context
        self.all_at_once = context.get_start_method() == "fork"
        self.initializer = initializer
        self.initargs = initargs
        self.quota = quota
        self.name = type(self).__name__
        self.numbers = iter(range(1, 1 << 62))
        self.call_numbers = iter(range(1 << 62))
        self.functions = Functions()
        # key of a function -> seconds that a call takes
        self.costs: dict[Any, float] = {}
        # (future, key of its function, packed call)
        self.pending: deque[tuple[Any, Any, Any]] = deque()
        self.refusal: str | None = None
        self.broken = False
        # Set by signal_all: whether workers are to be killed (else terminated).
        self.order: bool | None = None
        self.cause: BaseException | None = None
        self.members: list[_Member] = []
        self.beginning = RLock()
        self.begun = False
        # While the manager sleeps, or is about to: a list, with an entry once it has been rung.
        self.nap: list[None] | None = None
        self.woken, self.bell = Pipe(duplex=False)
        os.set_blocking(self.woken.fileno(), False)
        os.set_blocking(self.bell.fileno(), False)
        self.selector: selectors.BaseSelector | None = None
        self.manager: Thread | None = None
        self.starting_in = 0
        # When a worker may be started again after a failure.
        self.next_try = 0.0
        self.pid = os.getpid()
        self.handle: Any = None
        self.mark = object()
        register_after_fork(self, _forked)

    # -- any thread ------------------------------------------------------------------------------------------------

    def refuse(self) -> BaseException:
        if self.broken:
            return self.mourn()
        return RuntimeError(self.refusal)

    def mourn(self) -> BaseException:
        error = BrokenProcessPool(self.refusal)
        error.__cause__ = self.cause
        return error

    def ring(self) -> None:
        nap = self.nap
        try:
            os.write(self.bell.fileno(), b"!")
        except BlockingIOError:
            pass  # it has not heard the last 65536 yet; it will wake
        # Not before: a signal handler may raise here, and others would rely on a ring that never came. And on this
        # nap only: it may have woken and gone to sleep again.
        if nap is not None:
            nap.append(None)

    def close(self, refusal: str) -> None:
        if self.refusal is None:
            self.refusal = refusal
        self.ring()

    def discard(self) -> None:
        """Cancel what no worker has yet."""
        while True:
            try:
                future = self.pending.popleft()[0]
            except IndexError:
                self.ring()
                return
            future.cancel()

    def begin(self) -> None:
        """Start the manager, at the first submit. A nested one, from a signal handler, leaves it to the outer one."""
        if is_unpacking():
            raise RuntimeError(
                "a module that a worker process imports for its call may not start a pool of processes meanwhile: it "
                "would do so in each worker's workers, without end. Use the pool in a function, or below "
                "`if __name__ == '__main__':`"
            )
        with self.beginning:
            if self.begun:
                return
            try:
                self.begun = True
                for _ in range(self.most if self.all_at_once else 1):
                    self._recruit()
                self.manager = Thread(target=_manage, args=(self,), name=f"{self.name}-manager")
                opened(self)
                self.manager.start()
            except BaseException as error:
                closed(self)
                self.broken = True
                self.cause = error
                self.refusal = f"the workers of the process pool could not be started: {error}"
                self._end_processes()
                raise

    def signal_all(self, kill: bool) -> None:
        """Send SIGKILL or SIGTERM to every worker, and to those that are just being started."""
        # First the order, then a look at who is there; who starts a worker does it the other way round. So a worker
        # whose start is under way gets its signal from one of the two.
        self.order = kill
        for member in list(self.members):
            self._signal(member, kill)

    def _signal(self, member: _Member, kill: bool) -> None:
        if member.process is not None and member.pid is not None:
            try:
                member.process.kill() if kill else member.process.terminate()
            except (ValueError, ProcessLookupError):
                pass  # it was reaped and closed meanwhile

    # -- the manager -----------------------------------------------------------------------------------------------

    def manage(self) -> None:
        selector = self.selector = selectors.DefaultSelector()
        selector.register(self.woken.fileno(), selectors.EVENT_READ, None)
        for member in self.members:
            self._watch(member)
        while not self.broken:
            self._take_back()
            self._give_out()
            left = len(self.pending)
            if self.refusal is not None and not left and not any(member.held for member in self.members):
                break
            self.nap = []
            # Looked at again, after saying so.
            if len(self.pending) != left or (self.refusal is not None and not left):
                timeout: float | None = 0
            else:
                timeout = self._until_too_late()
            events = selector.select(timeout)
            self.nap = None
            self._handle(events)
        if not self.broken:
            for member in self.members:
                if not member.told_to_go:
                    member.tell_to_go()
            while self.members and not self.broken:
                self._handle(selector.select())

    def _handle(self, events: list[Any]) -> None:
        for key, mask in events:
            member = key.data
            if member is None:
                try:
                    os.read(self.woken.fileno(), 4096)
                except BlockingIOError:
                    pass
            elif key.fd == member.sentinel:
                self._bury(member)
            elif mask & selectors.EVENT_WRITE:
                self._write(member)
            elif member.answers.closed:
                pass  # buried by an event before this one
            elif not self._read(member):
                self._stop_listening(member)
            if self.broken:
                return

    # Starting

    def _recruit(self) -> _Member:
        member = _Member(self.quota)
        self.members.append(member)
        self.starting_in = get_ident()
        try:
            member.start(self)
        except BaseException:
            self.members.remove(member)
            member.put_away()
            raise
        finally:
            self.starting_in = 0
        if self.order is not None:
            self._signal(member, self.order)
        if self.selector is not None:
            self._watch(member)
        return member

    def _watch(self, member: _Member) -> None:
        assert self.selector is not None
        self.selector.register(member.answers.fileno(), selectors.EVENT_READ, member)
        self.selector.register(member.sentinel, selectors.EVENT_READ, member)

    # Giving out

    def _give_out(self) -> None:
        while self.pending:
            free = [m for m in self.members if not m.told_to_go and m.quota != 0]
            idle = [m for m in free if not m.held]
            if idle:
                share = -(-len(self.pending) // len(idle))
                self._send(idle[0], AHEAD, share)
            elif self._has_vacancy():
                try:
                    self._recruit()
                except Exception as error:  # noqa: BLE001 - it is the cause of what everyone gets
                    if self.members:  # those who are here will do it
                        self.next_try = monotonic() + _SECOND_TRY
                        continue
                    self._break(f"a worker process could not be started: {error}", error)
                    return
            else:
                # Nobody is idle. Top up those that will be soon.
                sent = False
                for member in free:
                    if member.late:
                        continue
                    room = AHEAD - member.load()
                    if room > AHEAD / 2 and self.pending:
                        sent = self._send(member, room, MOST_AHEAD) or sent
                if not sent:
                    return

    def _has_vacancy(self) -> bool:
        staying = [member for member in self.members if not member.told_to_go]
        return len(staying) < self.most and (not self.next_try or monotonic() >= self.next_try)

    def _take_back(self) -> None:
        now = 0.0
        for member in self.members:
            if len(member.held) > 1 and not member.late:
                now = now or monotonic()
                if now - member.since >= PATIENCE:
                    member.late = True
                    self.pending.extendleft(reversed(member.take_back()))

    def _until_too_late(self) -> float | None:
        """Seconds until something is to be done even if nobody rings or answers."""
        moments = [m.since + PATIENCE for m in self.members if len(m.held) > 1 and not m.late]
        if not moments and not self.next_try:
            return None
        now = monotonic()
        if self.pending and self.next_try > now:
            moments.append(self.next_try)
        return max(0.0, min(moments) - now) if moments else None

    def _send(self, member: _Member, room: float, share: int) -> bool:
        """Send a batch to *member*: to an idle one at least one call, further ones and to others only short ones."""
        definitions = []
        batch: list[Any] = []
        most = min(share, MOST_AHEAD, MOST_TICKETS - len(member.held))
        if member.quota is not None:
            most = min(most, member.quota)
        if not member.held:
            member.since = monotonic()
        pending = self.pending
        while len(batch) < most:
            try:
                cost = self.costs.get(pending[0][1], float("inf"))
                if member.held and (cost > LONGEST_SHORT or cost > room):
                    break
                future, key, packed = pending.popleft()
            except IndexError:
                break
            log = future._log
            log.append(self.mark)
            if log[0] is not self.mark:
                if log[0] is CANCELLED and future._end is None:
                    future.cancel()
                continue
            shape, number, body = packed
            if number != WITH_ITS_FUNCTION and number not in member.known:
                member.known.add(number)
                definitions.append((number, self.functions.pickles[number]))
            call = next(self.call_numbers)
            member.held[call] = (future, key, cost, packed)
            batch.append((call, shape, number, body))
            room -= cost
            del future
            if cost > LONGEST_SHORT:
                break
        if not batch:
            return False
        if member.quota is not None:
            member.quota -= len(batch)
        member.grant([call[0] for call in batch])
        was_empty = not member.unsent
        member.unsent.append(memoryview(frame((definitions, batch))))
        if was_empty:
            self._write(member)
        return True

    def _write(self, member: _Member) -> None:
        """Write what the pipe takes; have the selector say when it takes more."""
        assert self.selector is not None
        unsent = member.unsent
        if member.told_to_go:
            return
        fd = member.calls.fileno()
        try:
            while unsent:
                unsent[0] = unsent[0][os.write(fd, unsent[0]) :]
                if not unsent[0]:
                    unsent.popleft()
        except BlockingIOError:
            if fd not in self.selector.get_map():
                self.selector.register(fd, selectors.EVENT_WRITE, member)
            return
        except BrokenPipeError:
            unsent.clear()  # its sentinel tells the rest
        if fd in self.selector.get_map():
            self.selector.unregister(fd)

    # Answers

    def _read(self, member: _Member) -> bool:
        """Read what is there; False at the end of the pipe."""
        fd = member.answers.fileno()
        while True:
            try:
                data = os.read(fd, _READ_SIZE)
            except BlockingIOError:
                return True
            if not data:
                return False
            try:
                answers = member.frames.feed(data)
                if not all(answer[0] is None or answer[0] in member.held for answer in answers):
                    raise ValueError("it answers a call that it does not have")
            except Exception as error:  # noqa: BLE001 - whatever bytes of anything may lead to
                self._condemn(member, f"wrote what is no answer into the pipe of its answers ({error})")
                return True
            member.since = monotonic()
            member.late = False
            for answer in answers:
                self._finish(member, *answer)
            if self.broken or len(data) < _READ_SIZE:
                return True

    def _finish(self, member: _Member, call: int | None, shape: int, body: Any, seconds: float) -> None:
        if shape == START_FAILED:
            error = rebuild(body)
            self._break(
                f"the initializer of worker process {member.pid} raised {type(error).__name__}", error
            )
            return
        assert call is not None
        future, key, _, _ = member.held.pop(call)
        if shape != CHUNK_VALUES:
            known = self.costs.get(key)
            if known is None or seconds > known:
                if len(self.costs) > 1000:
                    self.costs.clear()
                self.costs[key] = seconds
            else:
                self.costs[key] = known + (seconds - known) * 0.2
        if not member.held and member.quota == 0:
            # Told before the future is done: who then counts processes finds it on its way.
            self._stop_writing(member)
            member.tell_to_go()
        value: Any = body
        problem: BaseException | None = None
        try:
            if shape == PACKED_VALUE:
                value = loads(body)
            elif shape == FAILURE:
                value, problem = None, rebuild(body)
            elif shape == CHUNK_VALUES:
                packed, failures, stopped = body
                value = (loads(packed), [(index, rebuild(each)) for index, each in failures], stopped)
        except BaseException as error:  # noqa: BLE001 - this call's result cannot be had; the others can
            value, problem = None, _unreadable(error)
        conclude(future, value, problem)

    # Ending

    def _stop_writing(self, member: _Member) -> None:
        assert self.selector is not None
        if not member.calls.closed and member.calls.fileno() in self.selector.get_map():
            self.selector.unregister(member.calls.fileno())

    def _stop_listening(self, member: _Member) -> None:
        """It closed its end of the answers: it is going, or somebody in there closes descriptors at random."""
        assert self.selector is not None
        self.selector.unregister(member.answers.fileno())
        member.answers.close()
        # Most likely it is on its way out: the sentinel is next, with the exit code.
        if member.held and not _ends(member.process):
            member.crime = "closed the pipe of its answers, and was killed"
            member.process.kill()

    def _condemn(self, member: _Member, crime: str) -> None:
        """End a worker that cannot be understood any more; its sentinel does the rest."""
        assert self.selector is not None
        if not member.answers.closed:
            if member.answers.fileno() in self.selector.get_map():
                self.selector.unregister(member.answers.fileno())
            member.answers.close()
        member.crime = f"{crime}, and was killed"
        member.process.kill()

    def _bury(self, member: _Member) -> None:
        """Its process has ended."""
        assert self.selector is not None
        self.selector.unregister(member.sentinel)
        self._stop_writing(member)
        if not member.answers.closed:
            self._read(member)
        if not member.answers.closed:
            self.selector.unregister(member.answers.fileno())
            member.answers.close()
        if self.broken:
            return
        if not _ends(member.process):
            # Where the sentinel is a pipe, the worker can close it, or write into it.
            member.crime = "closed its sentinel or wrote into it, and was killed"
            member.process.kill()
            member.process.join()
        if member.told_to_go and not member.held:
            self.members.remove(member)
            member.put_away()
            return
        how = member.crime or ending(member.process.exitcode)
        number = len(member.held)
        calls = "1 call" if number == 1 else f"{number} calls"
        self._break(f"worker process {member.pid} {how} while it had {calls}", None)

    def _break(self, what: str, cause: BaseException | None) -> None:
        if self.broken:
            return
        # What the others have finished is finished.
        self.cause = cause
        self.refusal = f"{what}; the process pool is broken and runs no more calls"
        self.broken = True
        for member in list(self.members):
            if not member.answers.closed and member.process is not None:
                try:
                    self._read(member)
                except (OSError, ValueError):
                    pass  # the one that died
        self.signal_all(kill=False)
        self.fail_all()

    def fail_all(self) -> None:
        lost = []
        for member in self.members:
            lost += [held[0] for held in member.held.values()]
            member.held.clear()
        while True:
            try:
                lost.append(self.pending.popleft()[0])
            except IndexError:
                break
        for future in lost:
            conclude(future, None, self.mourn())

    def _end_processes(self) -> None:
        """After an accident: see that no process is left."""
        self.signal_all(kill=False)
        end = monotonic() + GRACE
        for member in self.members:
            if member.pid is not None:
                member.process.join(max(0.0, end - monotonic()))
        self.signal_all(kill=True)
        for member in self.members:
            if member.pid is not None:
                member.process.join()
            member.put_away()
        self.members.clear()


def _ends(process: Any) -> bool:
    """Whether the process has ended, or does now."""
    process.join(_LAST_STEPS)
    return process.exitcode is not None or not process.is_alive()


def _unreadable(problem: BaseException) -> BaseException:
    import pickle

    error = pickle.UnpicklingError(
        f"the call returned, but its result could not be unpickled here: {type(problem).__name__}: {problem}"
    )
    error.__cause__ = problem
    return error


def _manage(crew: Crew) -> None:
    """The manager thread."""
    try:
        crew.manage()
    except BaseException as error:
        crew.cause = error
        crew.refusal = f"the manager of the process pool failed: {error!r}"
        crew.broken = True
        raise
    finally:
        closed(crew)
        if crew.broken:
            crew.fail_all()
        crew._end_processes()
        if crew.selector is not None:
            crew.selector.close()
        # Between the last look at `pending` and here, somebody may have entered a call. Accepted, it fails.
        crew.fail_all()


def _forked(crew: Crew) -> None:
    """In the child of a fork, a worker or not: our ends of the pipes are the parent's alone, and so is the work."""
    closed(crew)
    crew.beginning = RLock()
    ours = crew.starting_in == get_ident()
    for member in crew.members:
        its_own = {
            id(member.their_calls),
            id(member.tickets),
            id(member.their_answers),
            id(member.their_lifeline),
        }
        for end in member.ends:
            if not (ours and member is crew.members[-1] and id(end) in its_own):
                end.close()
    if crew.selector is not None:
        crew.selector.close()
    if not crew.begun:
        return
    crew.broken = True
    crew.refusal = (
        f"this process pool belongs to process {crew.pid}; process {os.getpid()}, which was forked from "
        "it, has to make an executor of its own"
    )
    lost = [held[0] for member in crew.members for held in member.held.values()]
    lost += [entry[0] for entry in crew.pending]
    for future in lost:
        future._abandon(crew.mourn())
    crew.pending.clear()
    crew.members = []
    crew.manager = None
