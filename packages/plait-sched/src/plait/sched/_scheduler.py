# SPDX-License-Identifier: MIT
# The scheduler: looks at the first pending event, waits for it, takes it, calls it.
#
# Always true
#   - an event is called by whoever took it off the agenda, after taking it; so it is called at most once, is not
#     pending while it runs, and an exception out of it leaves the others as they were.
#   - enter, cancel and stop take no lock, so they may come from any thread, any action, any signal handler or finaliser,
#     also one that interrupted run(), enter() or cancel().
#   - what is ours in a scheduler has a name that ends with an underscore, which no subclass takes by chance.
#
# Waiting (see _naps.py for who sees whom)
#   A run that has to wait announces a nap, then looks at everything once more, then sleeps. A nap is ended by an event
#   that comes before the one it waits for, by the cancellation of that one, by stop(), by at(), whose events need naps of
#   another kind, and by join() of a run_in_thread(); then the run starts over.
#
#   How it sleeps depends on who does the sleeping:
#     - the default `delayfunc`, time.sleep, is replaced by a sleep on a lock of just that length, which can be ended.
#     - another `delayfunc` with a `wakefunc` gets the time to go, and the wakefunc is called to end it.
#     - any other `delayfunc` is a black box, which we cannot end. It may advance a simulated clock: then it has to get
#       exactly the calls that the standard module makes, the time to go, then 0 after each action. Or it really sleeps:
#       then it should not be asked for more than `recheck` at a time. Which of the two it is shows in the `timefunc`:
#       with a clock that moves by itself (one of the `time` module's, or `boottime`), the delays can only be real.
#       Of other clocks we cannot know, so there `recheck` has to be given.
#
#   The 0 after each action is for other threads. When the delayfunc is time.sleep, nobody sees whether we call it. That
#   costs some 60 microseconds on Linux (the slack of its timers), more than everything else together. So it is called
#   if there are other threads, and not more often than every PAUSE seconds: a fifth of the time after which the
#   interpreter would make us give way anyhow.
#
#   A clock that never goes back need not be asked again while its last answer was late enough for the next event. Any
#   other `timefunc` is asked once for each event and each wait, because asking it may be what makes it move.
#
# Looking ahead
#   As long as events are due one after another, the agenda is asked for more and more of them at a time, and the batch
#   is given up as soon as something was entered or a wait was necessary. That an event of the batch was taken by
#   somebody else meanwhile is seen when it is to be taken.
#
# Exceptions of signal handlers
#   They strike after a call of C code, at the start of a function, and at the jump back of a loop. So an event is taken
#   by a `del`, and behind that there is no such place before the action has begun: none is lost on the way. (PyPy looks
#   for signals anywhere, 3.10 at most jumps; there one can be lost in these few bytecodes.) An event that stands and was
#   struck before its action had begun comes up again; see _standing.py. What cancels, stops or enters wakes who sleeps
#   although it was struck, or has done nothing.
#   If one strikes in the `finally` of a run, its entry in `_runs_` or `_naps_` may stay. That is a wake-up that nobody
#   needs; whoever next stops, or wakes, removes it.
#
# Fork
#   In the child the naps of other threads are never slept to the end, and are forgotten. An event that another thread
#   had taken is run by the parent.

from __future__ import annotations

import sys
from itertools import count
from time import monotonic, sleep
from time import time as wall_time
from types import BuiltinFunctionType

from .._thread import _count as other_threads
from .._thread import get_ident, register_after_fork
from ._agenda import Agenda
from ._clocks import boottime, does_not_go_back, is_real, may_jump, tells_a_time
from ._event import INCOMPARABLE, Event, raised_here
from ._naps import Delay, Nap, ParkedSleep, Sleep, sleep_for
from ._repeating import RepeatingEvent
from ._standing import Standing, in_hand, restore
from ._times_of_day import TOLERANCE, WallClockEvent, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ._background import SchedulerThread
    from ._repeating import Misfire

__all__ = ["Run", "scheduler"]

_make = tuple.__new__
_NONE_GIVEN: Any = object()  # as default for kwargs, and like None: each event gets a dict of its own

#: How long a delayfunc that cannot be woken is left alone with a real clock. Twenty looks a second cost nothing to speak
#: of, and people do not notice a twentieth of a second.
RECHECK = 0.05

#: Seconds between two times that a run gives way to other threads; see above.
PAUSE = 0.001

#: How far ahead a run looks at most. Measured: from 16 on there is little to gain.
FAR = 32

#: What a delayfunc that can be woken is asked for when nothing is pending. It may as well return sooner.
IDLE = 3600.0

# Without a global lock, to find the list of naps empty takes no lock, and so orders nothing: who has just announced one
# might not be seen, and not see what has changed. To copy the list takes its lock.
_UNORDERED = not getattr(sys, "_is_gil_enabled", lambda: True)()

# Something that has replaced time.sleep (such as gevent's) does more than sleeping.
_native_sleep: Any = sleep if isinstance(sleep, BuiltinFunctionType) else None


class Run:
    """One run of a scheduler: what others may tell it."""

    __slots__ = ("forever", "stopped", "tasks")

    def __init__(self, forever: bool) -> None:
        self.forever = forever
        self.stopped = False
        self.tasks = 0  # that it has started in an event loop and that have not ended


class scheduler:  # noqa: N801 - the standard module's name
    """Calls events at their times, in the thread that calls `run`, or in one of its own, or in an event loop.

    *timefunc* tells the time in any unit; *delayfunc* waits for so many of these units, and is called with 0 after
    each action, so that other threads may run (`time.sleep` only if there are some).

    Not in the standard class are:

    *wakefunc* ends a *delayfunc* of your own that is under way, or, if it comes before that, the next one. It is called
    without arguments in whatever thread or signal handler has changed what a sleeping `run` waits for.

    *recheck* is for a *delayfunc* without such: the longest delay to ask of it at a time, so that changes are seen in
    between. By default this is 0.05 seconds if *timefunc* is one of the `time` module's clocks or `boottime`, and
    without limit if not, since then it may be that only *delayfunc* moves the clock. `math.inf` is no limit.

    *wallclock* is the clock that `at` goes by.

    *on_error*, also an attribute, is called with the event and the exception if an action raises an `Exception`, and
    then the run goes on, unless it raises something itself. The event is what `enter`, `every` or `at` has returned: its
    `action` is the one that failed, and `cancel` of what `every` has returned ends that. By default the exception ends the
    run, as in the standard class. `report_error` is one that prints. What the clocks raise ends the run in any case, and
    so does a signal handler's exception that has come before an action; nothing is lost by that.

    Events may be entered and cancelled by any thread, by actions, signal handlers and finalisers. Several threads may
    `run` the same scheduler: each event is called once. Usable in the child of an `os.fork()`.

    Differs from the standard `sched.scheduler` further in that `cancel` takes constant time, and a sleeping `run` wakes
    for an earlier event, the cancellation of the one it waits for, and `stop`.
    """

    def __init__(
        self,
        timefunc: Callable[[], Any] = monotonic,
        delayfunc: Callable[[Any], object] = sleep,
        *,
        wakefunc: Callable[[], object] | None = None,
        recheck: Any = None,
        wallclock: Callable[[], float] = wall_time,
        on_error: Callable[[Event | RepeatingEvent | WallClockEvent, Exception], object] | None = None,
    ) -> None:
        calls: dict[str, Any] = {"timefunc": timefunc, "delayfunc": delayfunc, "wallclock": wallclock}
        if wakefunc is not None:
            calls["wakefunc"] = wakefunc
        if on_error is not None:
            calls["on_error"] = on_error
        for name, call in calls.items():
            if not callable(call):
                raise TypeError(f"{name} must be callable, not {call!r}")
        if recheck is not None:
            check_recheck(recheck)
        self.timefunc = timefunc
        self.delayfunc = delayfunc
        self.wakefunc = wakefunc
        self.recheck = recheck
        self.wallclock = wallclock
        self.on_error = on_error
        self._agenda_ = Agenda()
        self._numbers_ = count()
        self._naps_: list[Nap] = []
        self._runs_: dict[Run, None] = {}
        self._repeating_: dict[RepeatingEvent, None] = {}
        self._by_wall_clock_: dict[WallClockEvent, None] = {}
        self._ahead_ = 0.0  # of the wall clock, when the events by it were put in their places
        register_after_fork(self, _mend)

    # ------------------------------------------------------------------------------------------------------ entering

    def enterabs(
        self,
        time: Any,
        priority: Any,
        action: Callable[..., Any],
        argument: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = _NONE_GIVEN,
    ) -> Event:
        """Have *action* called, as `action(*argument, **kwargs)`, when *timefunc* has reached *time*.

        Of events for the same time the one with the lowest *priority* goes first, then the one entered first.
        Returns the event, which is what `cancel` takes. Never waits; a sleeping `run` wakes if this event is before
        the one it waits for.
        """
        number = next(self._numbers_)
        event = _make(
            Event,
            (
                time,
                priority,
                number,
                action,
                argument,
                {} if kwargs is _NONE_GIVEN or kwargs is None else kwargs,
            ),
        )
        agenda = self._agenda_
        try:
            agenda.pending[number] = event
            agenda.arrivals.append(event)
            if self._naps_ or _UNORDERED:
                self._wake_for_(event)
        except BaseException:  # of a signal handler or a wakefunc: who gets no event back has entered none
            agenda.pending.pop(number, None)
            raise
        return event

    def _wake_for_(self, event: Event) -> None:
        for nap in self._naps_.copy():
            try:
                earlier = nap.event is None or event < nap.event
            except INCOMPARABLE:
                earlier = True  # that they cannot be compared is for run() to say
            if earlier:
                self._wake_(nap)

    def enter(
        self,
        delay: Any,
        priority: Any,
        action: Callable[..., Any],
        argument: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = _NONE_GIVEN,
    ) -> Event:
        """Have *action* called *delay* units of time from now. All else is as in `enterabs`."""
        now = self.timefunc()  # not in the `try`: what is wrong with the clock is for itself to say
        try:
            time = now + delay
        except TypeError as problem:
            raise self._no_delay_("delay", delay, now) from problem
        return self.enterabs(time, priority, action, argument, kwargs)

    def _no_delay_(self, name: str, delay: object, now: object) -> TypeError:
        return TypeError(
            f"{name} must be something that can be added to what {self.timefunc!r} returns (now {now!r}), as a number of "
            f"seconds is to those of time.monotonic, not {delay!r}"
        )

    def every(
        self,
        interval: Any,
        action: Callable[..., Any],
        argument: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = _NONE_GIVEN,
        *,
        priority: Any = 0,
        delay: Any = None,
        misfire: Misfire = "coalesce",
        grace: Any = None,
    ) -> RepeatingEvent:
        """Have *action* called again and again, *interval* units of time apart, until that is cancelled.

        The first call is *delay* from now, by default one interval; the others are due at that time plus multiples of
        the interval, however late calls are and however long they take. *misfire* says what becomes of calls whose time
        has passed when they could be made: `"coalesce"` makes one for all of them, `"catch_up"` makes every one, one
        after another, and `"skip"` leaves them out, but for the newest of them if that is not later than *grace*. With
        *grace*, calls that are late by more than this are left out in any case; if not given, it is half an interval for
        `"skip"`, so that none is made when it is nearer to the next, and else unlimited.

        An exception out of the action does not end the repetition. If several threads run the scheduler, or a task in
        an event loop with `concurrent`, a call may begin while the one before goes on. Not in the standard module.
        """
        now = self.timefunc()
        try:
            start, _ = now + (interval if delay is None else delay), now + interval
        except TypeError as problem:
            if delay is None:
                raise self._no_delay_("interval", interval, now) from problem
            raise self._no_delay_("interval and delay", (interval, delay), now) from problem
        if not tells_a_time(now):
            raise ValueError(
                f"{self.timefunc!r} has returned {now!r}, from where no intervals can be counted"
            )
        event = RepeatingEvent(
            self,
            interval,
            priority,
            action,
            argument,
            {} if kwargs is _NONE_GIVEN or kwargs is None else kwargs,
            start,
            misfire,
            grace,
        )
        event._stand(start)
        return event

    def at(
        self,
        when: datetime.datetime | datetime.time,
        action: Callable[..., Any],
        argument: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = _NONE_GIVEN,
        *,
        priority: Any = 0,
    ) -> WallClockEvent:
        """Have *action* called once, when the wall clock shows *when*: a `datetime`, or the next such `time` of day.

        Without a time zone they are in the local one. Whatever *timefunc* is, it must count seconds. If the clock is
        set, or the machine suspended, a sleeping `run` notices: at once on Linux from Python 3.13 on, else within a
        second; with a *delayfunc* of your own, when that returns. The moment itself is fixed by this call. What is past
        already is called at once. Not in the standard module.
        """
        timestamp = moment(when, self.wallclock())
        self._follow_wall_clock_()
        event = WallClockEvent(
            self,
            timestamp,
            priority,
            action,
            argument,
            {} if kwargs is _NONE_GIVEN or kwargs is None else kwargs,
        )
        event._stand(event._next_time())
        return event

    # ---------------------------------------------------------------------------------------------------- cancelling

    def cancel(self, event: Event | RepeatingEvent | WallClockEvent | Standing) -> None:
        """Have *event* not called. It must be pending: else, if it is being run, has been, or was cancelled,
        `ValueError`. What `every` has returned is pending as long as it was not cancelled, also between two calls.

        Never waits, in whatever thread; wakes a `run` that sleeps until this very event. Takes constant time.
        """
        agenda = self._agenda_
        try:
            number = event.sequence  # type: ignore[union-attr]
            pending = agenda.pending
            held = pending[number]
        except (AttributeError, KeyError, TypeError):
            if not (isinstance(event, Standing) and event._scheduler is self and event._end()):
                raise self._not_pending_(event) from None
            agenda.forget()
            return
        if not (held is event or held == event):
            raise self._not_pending_(event)
        try:
            del pending[number]  # no call: see "Exceptions of signal handlers"
        except KeyError:
            raise self._not_pending_(event) from None
        try:
            self._was_cancelled_(held)
        except BaseException:
            try:
                self._was_cancelled_(held)
            except BaseException:  # two signals can be pending at once
                self._was_cancelled_(held)
                raise
            raise
        agenda.forget()

    def _was_cancelled_(self, event: Event) -> None:
        if self._naps_ or _UNORDERED:
            self._wake_from_(event.sequence)
        if isinstance(event.action, Standing):
            event.action._end()

    def _not_pending_(self, event: object) -> ValueError:
        return ValueError(f"cannot cancel {event!r}: it is not pending in {self!r}")

    def cancel_all(self) -> int:
        """Have nothing called any more that was entered before, repeating events included. Return how many these were.

        Each is cancelled here, or was taken by a `run`, or cancelled by another thread. Wakes every sleeping `run`,
        which returns if it does not wait for new events. If an exception out of a signal handler ends this, it has
        happened all the same, or has not begun. Not in the standard module.
        """
        standing = (*self._repeating_, *self._by_wall_clock_)
        events = [*self._agenda_.pending.copy().values()]
        try:
            cancelled = self._cancel_these_(standing, events)
        except BaseException:
            try:
                self._cancel_these_(standing, events)
            except BaseException:  # two signals can be pending at once
                self._cancel_these_(standing, events)
                raise
            raise
        self._agenda_.forget()
        return cancelled

    def _cancel_these_(self, standing: Sequence[Standing], events: Sequence[Event]) -> int:
        cancelled = 0
        for one in standing:
            cancelled += one._end()
        for event in events:
            cancelled += self._agenda_.take(event)
        self._wake_all_()
        return cancelled

    # ------------------------------------------------------------------------------------------------------- looking

    def empty(self) -> bool:
        """Whether no event is pending."""
        return not self._agenda_.pending

    @property
    def queue(self) -> list[Event]:
        """The pending events, in the order in which they would be called: a new list each time."""
        return self._agenda_.in_order()

    def next_due(self) -> Any:
        """The time, as *timefunc* tells it, at which the next event is due, or None if none is pending.

        For other loops: wait until then, or until somebody enters something, then call `run(blocking=False)`. May be
        past. Never waits. Not in the standard module.
        """
        if self._by_wall_clock_:
            self._follow_wall_clock_()
        event = self._agenda_.first()
        return None if event is None else event.time

    # ------------------------------------------------------------------------------------------------------- running

    def run(self, blocking: bool = True, *, forever: bool = False) -> Any:
        """Call the pending events at their times, one after another, until none is pending, or `stop` is called.

        If *blocking* is false, call only those that are due, and return the time still to go until the next one, or
        None. With *forever*, wait for new events when none is pending.

        Actions may enter and cancel events. An exception out of an action (unless there is `on_error`), or of
        *delayfunc*, goes to the caller; the event is not pending any more, respectively still is, and a new `run` goes
        on where this one ended. Events that are late are called, never dropped. What an action returns is dropped: a
        coroutine function that is one never begins; that is what `arun` is for.
        """
        if forever and not blocking:
            raise ValueError(f"{self!r}: run() either waits forever or does not block; pass one of the two")
        run = Run(forever)
        try:
            self._runs_[run] = None
            return self._go_on_(run, blocking)
        finally:
            self._runs_.pop(run, None)

    def stop(self) -> None:
        """Make every `run` that is going on return, after the action that it is in, or at once if it sleeps.

        What is pending stays so, and a later `run` goes on with it. Does nothing if nothing runs. Never waits; may be
        called in an action, any thread and signal handler. Not in the standard module.
        """
        try:
            self._stop_all_()
        except BaseException:  # of a signal handler, when some may have been told and not been woken
            try:
                self._stop_all_()
            except BaseException:  # two signals can be pending at once
                self._stop_all_()
                raise
            raise

    def _stop_all_(self) -> None:
        for run in [*self._runs_]:
            run.stopped = True
            self._runs_.pop(run, None)  # it need not be told twice
        self._wake_all_()

    def run_in_thread(
        self, *, forever: bool = True, daemon: bool | None = None, name: str | None = None
    ) -> SchedulerThread:
        """Start a thread that runs the scheduler, and return it: something to `stop()` and to `join()`.

        Unless *forever* is false it waits for new events when none is pending. It is a *daemon*, which is to say that
        the process may end without it, except where there can be none (in some sub-interpreters). An exception out of
        an action ends it, like any thread, if there is no `on_error`. RuntimeError if no thread can be started. Not in
        the standard module.
        """
        from ._background import SchedulerThread

        thread = SchedulerThread(self, forever, daemon, name)
        thread.start()
        return thread

    async def arun(self, *, forever: bool = False, concurrent: bool = False) -> None:
        """What `run` is, in a task of asyncio or trio (thus of anyio), without blocking its event loop.

        An action that returns an awaitable, such as a coroutine function does, is awaited, and the next event is called
        after that; with *concurrent* it becomes a task, the next event does not wait for it, and this ends when all
        of them have. An exception out of such a task goes where that of an action goes, after the other tasks have
        been cancelled if that is the caller. After each action other tasks get a turn. After `stop` this still waits for
        the action, or the tasks, that have begun.

        Events are entered, cancelled, stopped from anywhere, as always. *timefunc* must count seconds; *delayfunc* is
        not used. Cancelling the task leaves what is pending as it is, and cancels the tasks. RuntimeError in any other
        kind of event loop. Not in the standard module.
        """
        from ._async import arun

        await arun(self, forever, concurrent)

    def _go_on_(self, run: Run, blocking: bool) -> Any:
        agenda, timefunc, delayfunc = self._agenda_, self.timefunc, self.delayfunc
        arrivals, pending, upcoming = agenda.arrivals, agenda.pending, agenda.upcoming
        steady = does_not_go_back(timefunc)
        ours = delayfunc is _native_sleep
        now: Any = None
        pause_at = 0.0
        ahead = 1
        while not run.stopped:
            events, drained = upcoming(ahead)
            if not events:
                if not (blocking and run.forever):
                    return None
                self._wait_(None, None, run)
                continue
            if ahead < FAR:
                ahead *= 2
            for event in events:
                at, _, number, action, argument, kwargs = event
                if now is None or not steady or now < at:
                    if number not in pending:
                        continue
                    now = timefunc()
                    if now < at:
                        ahead = 1
                        to_go = at - now
                        if self._by_wall_clock_ and self._follow_wall_clock_():
                            break
                        if not blocking:
                            return to_go
                        self._wait_(event, to_go, run)
                        break
                try:
                    del pending[number]  # no call: see "Exceptions of signal handlers"
                except KeyError:
                    continue  # somebody else has taken it
                try:
                    if kwargs:
                        action(*argument, **kwargs)
                    else:
                        action(*argument)
                except BaseException as error:
                    try:
                        not_begun = restore(event)
                    except BaseException:  # two signals can be pending at once
                        restore(event)
                        raise
                    hook = self.on_error
                    if hook is None or not_begun or not isinstance(error, Exception):
                        raise
                    hook(in_hand(event), error)
                if not ours:
                    delayfunc(0)
                elif other_threads() and monotonic() >= pause_at:
                    sleep(0)
                    pause_at = monotonic() + PAUSE
                if arrivals or agenda.drained != drained or run.stopped:
                    break
        return None

    # ------------------------------------------------------------------------------------------------------- waiting

    def _wait_(self, event: Event | None, to_go: Any, run: Run) -> None:
        """Wait until *event* is due, *to_go* from now, or, if that is None, something is entered; or less long."""
        timefunc, delayfunc, wakefunc = self.timefunc, self.delayfunc, self.wakefunc
        by_wall_clock = bool(self._by_wall_clock_)
        at_most: float | None = None
        nap: Sleep
        if delayfunc is _native_sleep:
            # Of another wall clock than the system's nobody tells when it is set.
            told = not by_wall_clock or self.wallclock is wall_time
            nap, at_most = sleep_for(
                event, timefunc is boottime, by_wall_clock or timefunc is wall_time, told
            )
        elif wakefunc is not None:
            nap = Delay(event, delayfunc, wakefunc)
            if event is None:
                to_go = IDLE
        else:
            limit = RECHECK if self.recheck is None and is_real(timefunc) else self.recheck
            if event is not None:
                delayfunc(to_go if limit is None or to_go < limit else limit)
                return
            if limit is not None and limit < IDLE:
                delayfunc(limit)
                return
            nap = ParkedSleep(None)
        try:
            self._naps_.append(nap)
            if self._may_sleep_(event, by_wall_clock, run):
                if event is not None and may_jump(timefunc):
                    # It may have jumped before there was a nap to be ended by that.
                    to_go = event.time - timefunc()
                nap.sleep(at_most if to_go is None or (at_most is not None and at_most < to_go) else to_go)
        finally:
            try:
                self._naps_.remove(nap)
            except ValueError as error:  # interrupted before it was in, or removed by who ended it
                if not raised_here(error):
                    raise

    def _may_sleep_(self, event: Event | None, by_wall_clock: bool, run: Run) -> bool:
        """After the nap was announced: is everything still as it was when that was decided?"""
        return (
            self._agenda_.first() is event
            and not run.stopped
            and (event is not None or run.forever or run.tasks > 0)
            and (by_wall_clock or not self._by_wall_clock_)
            and not (by_wall_clock and self._follow_wall_clock_())
        )

    def _follow_wall_clock_(self) -> bool:
        """If the wall clock has jumped, move the events by it on the agenda, and return true."""
        timefunc, wallclock = self.timefunc, self.wallclock
        if timefunc is wallclock:
            ahead = 0.0
        else:
            now, wall = timefunc(), wallclock()
            try:
                ahead = now - wall
            except TypeError as error:
                raise TypeError(
                    f"{self!r}: at() needs a timefunc that counts seconds, not {timefunc!r}"
                ) from error
        if self._by_wall_clock_ and abs(ahead - self._ahead_) <= TOLERANCE:
            return False
        moved = [*self._by_wall_clock_]
        for event in moved:
            event._set_right()
        self._ahead_ = ahead  # last: if a clock fails meanwhile, the others are yet to be moved
        return bool(moved)

    def _wake_(self, nap: Nap) -> None:
        nap.end()
        # It serves once. The sleeper removes it, too, but may be kept from it by a signal handler's exception.
        try:
            self._naps_.remove(nap)
        except ValueError as error:
            if not raised_here(error):
                raise

    def _wake_all_(self) -> None:
        for nap in self._naps_.copy():
            self._wake_(nap)

    def _wake_from_(self, number: int) -> None:
        """End the naps of those who wait for this event."""
        for nap in self._naps_.copy():
            if nap.event is not None and nap.event.sequence == number:
                self._wake_(nap)

    # --------------------------------------------------------------------------------- for standing events (_standing.py)

    def _enter_event_(
        self,
        time: Any,
        priority: Any,
        action: Callable[..., Any],
        argument: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Event:
        return scheduler.enterabs(self, time, priority, action, argument, kwargs)

    def _take_and_wake_(self, event: Event) -> None:
        if self._agenda_.take(event):
            self._wake_from_(event.sequence)


def check_recheck(recheck: Any) -> None:
    """TypeError or ValueError if it is no length of time."""
    try:
        _ = recheck - recheck  # a string can be added and compared, but not that
        fine = recheck + recheck >= recheck
    except ArithmeticError:
        fine = False  # Decimal("NaN")
    except TypeError:
        raise TypeError(
            f"recheck must be the longest delay to ask for, in units of timefunc, or None, not {recheck!r}"
        ) from None
    if not fine:
        raise ValueError(f"recheck must not be negative, not {recheck!r}; math.inf is no limit")


def _mend(scheduler: scheduler) -> None:
    """In the child of a fork."""
    me = get_ident()
    for nap in scheduler._naps_.copy():
        if nap.thread != me:
            scheduler._naps_.remove(nap)
            nap.abandon()
    for standing in (*scheduler._repeating_, *scheduler._by_wall_clock_):
        standing._resume()
