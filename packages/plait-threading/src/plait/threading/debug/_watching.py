# SPDX-License-Identifier: MIT
#
# What named locks call while they are watched (see _named.py, where it is plugged in).
#
# Theory of operation
#   Whoever takes, gives back or waits for a lock comes by here, writes that down (_people.py), and before it waits has the
#   order looked at in which it asks for locks (_orders.py). Reports are made of that when they are asked for (_picture.py).
#
#   Nothing is watched from outside: a thread that waits too long finds out itself, by waiting in two parts. So no thread
#   is started, and a fork loses none.
#
# What must always hold
#   - A lock that is watched answers as it does otherwise. An acquire() that an exception of a signal handler ends has not
#     taken it, and a release() that has begun is finished. So what calls into the lock is one step of C code, which also
#     notes the answer; and what undoes or finishes may be begun again, wherever it has come to (see _surely.py). It cannot
#     be done elsewhere: an RLock is its thread's. (An RWLock calls nothing of its own from here to be released: its steps
#     are Python code, in which something may strike. It has its hold struck off, releases itself, and sees to both.)
#   - The last thing that acquire() does is a call, in its `try`: a signal that has come meanwhile strikes there and not at
#     the first instruction of release(), where the lock would stay held.
#   - For a Condition, letting go ends with an exception only if the lock has not been let go of. Taking it back may be
#     struck when it has been taken already, for that of an RLock cannot be interrupted; then the Condition calls again, and
#     finds that noted in what was set aside. To forget what was set aside is therefore the very last thing, and no call.
#   - What a thread waited for before it waits for something else (in a signal handler), it waits for again afterwards.
#
# What remains: an exception that strikes at the first instruction of release(), when nothing of this has begun, leaves the
# lock held, where that of an unwatched one, which is C code, is called all the same. The interpreter looks for signals
# whenever it enters a function that is written in Python. To put the release before that, in C code, one would need a
# callable that takes the three arguments of an `__exit__`, calls two others, and returns nothing, and there is none.

from __future__ import annotations

from itertools import starmap
from time import monotonic

from ..._thread import _local, get_ident, register_after_fork
from .. import _named
from .._platform import partial
from .._surely import surely
from ._orders import Orders
from ._people import Aside, Giving, Hold, Person, Wait
from ._picture import picture
from ._reports import Inversion, Report, tell

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Attempt = Callable[[bool, float], bool]

__all__ = ["Watcher"]

# For starmap: one call without arguments.
_ONCE: Any = ((),)


def _ended_by_stop_iteration() -> StopIteration:
    # A signal handler's, which `+=` takes for the end.
    return StopIteration("raised while a watched lock was taken or let go of")


class Watcher:
    """What named locks call while they are watched."""

    def __init__(
        self,
        limit: float | None,
        on_long_wait: Callable[[Report], object] | None,
        on_inversion: Callable[[Inversion], object] | None,
    ) -> None:
        self.limit = limit
        self.on_long_wait = on_long_wait
        self.me: Any = _local()
        self.people: dict[int, Person] = {}
        self.orders = Orders(on_inversion)
        register_after_fork(self, _forget_the_parents_threads)

    def person(self) -> Person:
        try:
            known: Person = self.me.person
        except AttributeError:
            known = Person()
            # First where reports look: if an exception strikes between the two, the next call makes another.
            self.people[id(known)] = known
            self.me.person = known
        return known

    def acquire(
        self,
        lock: Any,
        acquire: Attempt,
        release: Callable[[], object],
        mode: str,
        given: Callable[..., tuple[bool, float]],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> bool:
        blocking, timeout = given(*args, **kwargs)
        person = self.person()
        before = self.times_noted(person, lock)
        answers: list[bool] = []
        undone: list[object] = []
        try:
            try:
                if not blocking or timeout == 0:
                    answers += starmap(acquire, ((blocking, timeout),))
                else:
                    if not before:
                        self.orders.note(person, lock, mode)
                    answers += starmap(acquire, ((False, -1),))
                    if answers and not answers[-1]:
                        self.wait(person, Wait(lock, mode), acquire, timeout, answers)
                for _ in answers:  # not a call, behind which something could strike
                    break
                else:
                    raise _ended_by_stop_iteration()
                if answers[-1]:
                    self.holds_now(person, lock)
                return bool(answers[-1])
            except BaseException:
                surely(self.give_up, person, lock, before, answers, release, undone)
                raise
        except BaseException:
            # Once more: a second signal may strike on the way from the first exception to that call.
            surely(self.give_up, person, lock, before, answers, release, undone)
            raise

    def give_up(
        self,
        person: Person,
        lock: Any,
        before: int,
        answers: list[bool],
        release: Callable[[], object],
        undone: list[object],
    ) -> None:
        """Be as if acquire() had never been called, however far it has come."""
        if not undone and answers and answers[-1] and lock._still_held(before):
            hold = person.holds.get(id(lock))
            if hold is not None and hold.count > before:
                if not before:
                    person.holds.pop(id(lock), None)
                hold.count = before
            undone += starmap(release, _ONCE)

    @staticmethod
    def times_noted(person: Person, lock: Any) -> int:
        hold = person.holds.get(id(lock))
        return 0 if hold is None else hold.count

    def holds_now(self, person: Person, lock: Any) -> None:
        hold = person.holds.get(id(lock))
        if hold is None:
            person.holds[id(lock)] = Hold(lock)
        else:
            hold.count += 1

    def wait(self, person: Person, wait: Wait, acquire: Attempt, timeout: float, answers: list[bool]) -> None:
        limit = self.limit
        outer = person.wait
        try:
            person.wait = wait
            if limit is None or 0 <= timeout <= limit:
                del answers[:]
                answers += starmap(acquire, ((True, timeout),))
                return
            del answers[:]
            answers += starmap(acquire, ((True, limit),))
            if answers and not answers[-1]:
                if self.on_long_wait is not None:
                    tell(self.on_long_wait, self.report(late=person))
                left = -1 if timeout < 0 else max(0, wait.since + timeout - monotonic())
                del answers[:]
                answers += starmap(acquire, ((True, left),))
        finally:
            person.wait = outer

    def release(self, lock: Any, release: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        givings: list[Giving] = []
        answers: list[Any] = []
        refused: list[BaseException] = []
        try:
            try:
                self.give_back(givings, answers, refused, lock, release, args, kwargs)
            except BaseException:
                surely(self.give_back, givings, answers, refused, lock, release, args, kwargs)
                raise
        except BaseException:
            # Once more, as in acquire().
            surely(self.give_back, givings, answers, refused, lock, release, args, kwargs)
            raise
        if refused:
            raise refused.pop()
        return answers[0]

    def give_back(
        self,
        givings: list[Giving],
        answers: list[Any],
        refused: list[BaseException],
        lock: Any,
        release: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Release it, unless that has been done or refused."""
        if not givings:
            givings.append(self.giving(lock, get_ident()))
        giving = givings[0]
        if not answers and not refused:
            call = starmap(partial(release, **kwargs) if kwargs else release, (args,))
            giving.strike_off()
            try:
                answers += call
            except BaseException as error:  # noqa: BLE001 - which is raised later
                refused += (error,)
        if refused:
            giving.put_back()

    def giving(self, lock: Any, ident: int) -> Giving:
        """What the thread *ident* is about to give back."""
        holds = self.person().holds if ident == get_ident() else {}
        if id(lock) not in holds and (ident != get_ident() or isinstance(lock, _named.NamedLock)):
            # A plain lock may be released by another thread than took it. (An RWLock by another than was to do it, if
            # that was struck too often.)
            for other in [*self.people.values()]:
                if id(lock) in other.holds and (isinstance(lock, _named.NamedLock) or other.ident == ident):
                    holds = other.holds
                    break
        return Giving(lock, holds)

    def let_go(
        self, lock: Any, let_go: Callable[..., Any], take_back: Callable[..., object], /, *args: Any
    ) -> Any:
        person = self.person()
        aside = Aside(person.holds.get(id(lock)), person.set_aside.get(id(lock)))
        saved: list[Any] = []
        back: list[object] = []
        try:
            try:
                person.set_aside[id(lock)] = aside
                person.holds.pop(id(lock), None)
                saved += starmap(let_go, (args,))
                for _ in saved:  # not a call, behind which something could strike
                    break
                else:
                    raise _ended_by_stop_iteration()
                return saved[0]
            except BaseException:
                surely(self.hold_on, person, lock, aside, saved, take_back, back)
                raise
        except BaseException:
            # Once more, as in acquire().
            surely(self.hold_on, person, lock, aside, saved, take_back, back)
            raise

    def hold_on(
        self,
        person: Person,
        lock: Any,
        aside: Aside,
        saved: list[Any],
        take_back: Callable[..., object],
        back: list[object],
    ) -> None:
        """Be as if let_go() had never been called, however far it has come."""
        if saved and not back:
            back += starmap(take_back, _ONCE if saved[0] is None else (saved,))
            for _ in back:  # not a call, behind which something could strike
                break
            else:
                raise _ended_by_stop_iteration()
        if aside.hold is not None and lock._still_held(0):
            person.holds[id(lock)] = aside.hold
        if person.set_aside.get(id(lock)) is aside:
            if aside.outer is None:
                del person.set_aside[id(lock)]
            else:
                person.set_aside[id(lock)] = aside.outer

    def take_back(self, lock: Any, take_back: Callable[..., object], mode: str, /, *args: Any) -> None:
        person, key = self.person(), id(lock)
        aside = person.set_aside.get(key)
        if aside is None:
            if isinstance(lock, _named.NamedRLock) and lock._is_owned():
                return  # all has been done
            # Let go before it was watched.
            aside = person.set_aside[key] = Aside(None, None)
        if not aside.taken:
            self.orders.note(person, lock, mode)
            outer = person.wait
            try:
                person.wait = Wait(lock, mode)
                aside.taken += starmap(take_back, (args,))
                for _ in aside.taken:  # not a call, behind which something could strike
                    break
                else:
                    raise _ended_by_stop_iteration()
            finally:
                person.wait = outer
        hold = aside.hold or Hold(lock)
        hold.count = aside.times
        hold.since = monotonic()
        person.holds[key] = hold
        if aside.outer is None:
            del person.set_aside[key]
        else:
            person.set_aside[key] = aside.outer

    def forget(self, lock: Any) -> None:
        for person in [*self.people.values()]:
            person.holds.pop(id(lock), None)

    def report(self, late: Person | None = None) -> Report:
        return picture(self.people, self.orders, late)


def _forget_the_parents_threads(watcher: Watcher) -> None:
    mine = getattr(watcher.me, "person", None)
    watcher.people = {} if mine is None else {id(mine): mine}
    if mine is not None:
        mine.ident = get_ident()
