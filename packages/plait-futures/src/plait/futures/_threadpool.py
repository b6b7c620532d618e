# SPDX-License-Identifier: MIT
"""ThreadPoolExecutor.

Rules
  - Every future that `submit` returned gets an outcome: the call runs, or it is cancelled, or the pool breaks and
    says so. In a forked child, where the threads are gone, what they would have finished fails at once.
  - A call waits in the queue only if every worker is busy and no more may be started.
  - No thread waits for a lock in `submit` once all workers have started; before that, only for a re-entrant one,
    and only to start a thread. A signal handler or finaliser may submit in the middle of a submit.

Theory of operation
  The executor is a thin handle. What the workers share, `_Staff`, does not refer to it, so that dropping the
  last reference to the executor is noticed (a weak reference with a callback) and ends the workers, when they have
  done what was accepted.

  Calls stand in one queue, tuples (future, function, args, kwargs). A None at its end is the order to go home; the
  worker that finds it puts it back for the next one. Whatever stands behind the None is never run, hence:

  Accepting. `submit` looks at `refusal`, puts the call into the queue, looks at `refusal` again. Closing stores
  `refusal`, then puts the None. If the second look is clear, the call stands before the None and runs. If not, it
  may stand behind: `submit` cancels the future it alone knows. If that fails, a worker has started it: accepted
  after all.

  Starting workers. `unfinished` has an entry per call that is queued or running; when it is longer than the list of
  threads, one is missing. A worker takes the entry off before it sets the outcome, so that who submits right after
  a `result()` finds it idle. But callbacks may keep it busy (and may themselves wait for a call in this pool): then
  the entry is put back first, and `submit`'s question is asked again. When all have been started, nothing is
  counted any more. Every start takes a number from `vacancies`; `list.pop` gives each number once.

  Joining. Threads are started, and the pool is closed, under the re-entrant `hiring`: who closes it sees every
  thread there will be.

  Exit of the interpreter. Workers are not daemons. `register_atexit` of our threading tells the pools to close
  before it joins; accepted calls are still made. A thread that still runs then may open new pools; they are closed
  in turn.
"""

from __future__ import annotations

import os
from itertools import count
from time import monotonic

from .._thread import RLock, get_ident, register_after_fork
from ..queue import Empty, SimpleQueue
from ..threading import Thread
from ._errors import BrokenExecutor
from ._executor import Executor, check_buffersize, check_workers
from ._future import CANCELLED, Future
from ._map import Results, Work
from ._open import closed, opened, watch
from ._standard import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")

# Threads mostly wait for something; a few more than there are processors keep those busy. The cap is the standard
# module's: a machine with 64 processors should not get 68 stacks for three downloads.
MOST_BY_DEFAULT = 32
MORE_THAN_PROCESSORS = 4

_pool_numbers = count()


class BrokenThreadPool(BrokenExecutor):
    """The initializer of a worker thread raised (that is the `__cause__`), or the pool's threads stayed in the parent
    of a forked process."""

    __module__ = f"{__package__}.thread"


def processors() -> int:
    """How many processors this process may use."""
    counted = getattr(os, "process_cpu_count", None)
    if counted is not None:
        return counted() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


class _Staff:
    """What the workers of one executor share."""

    def __init__(
        self, most: int, prefix: str, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
    ):
        self.calls: SimpleQueue[Any] = SimpleQueue()
        self.refusal: str | None = None
        self.broken = False
        self.cause: BaseException | None = None
        self.growing = True
        self.unfinished: list[None] = []
        self.vacancies = list(range(most - 1, -1, -1))
        self.threads: list[Thread] = []
        # Per worker, a list with the future it is at. For a forked child, which has to fail them.
        self.desks: list[list[Any]] = []
        # Maps that still have calls to give out. A dict, for its atomic operations.
        self.mappings: dict[int, Work] = {}
        self.prefix = prefix
        self.initializer = initializer
        self.initargs = initargs
        self.hiring = RLock()
        self.pid = os.getpid()
        # Kept here: the callback must outlive the executor, the threads keep the staff.
        self.handle: Any = None

    def refuse(self) -> BaseException:
        error = BrokenThreadPool if self.broken else RuntimeError
        made = error(self.refusal)
        made.__cause__ = self.cause
        return made

    # -- starting and ending ---------------------------------------------------------------------------------------

    def hire(self, by_worker: bool = False) -> None:
        """Start workers until there is one for every unfinished call, or none may be started any more.

        A closed pool starts none for a caller from outside, who may come too late to have them joined. A worker
        that is about to call back may: it is joined itself, after it has put the new one on the list.
        """
        while self.growing and len(self.unfinished) > len(self.threads):
            with self.hiring:
                if self.refusal is not None and not by_worker:
                    return
                try:
                    number = self.vacancies.pop()
                except IndexError:
                    self.growing = False
                    return
                desk: list[Any] = []
                thread = Thread(target=_work, args=(self, desk), name=f"{self.prefix}_{number}")
                self.desks.append(desk)
                self.threads.append(thread)
                opened(self)
                try:
                    thread.start()
                except BaseException:
                    self.desks.remove(desk)
                    self.threads.remove(thread)
                    self.vacancies.append(number)
                    if self.threads:
                        return  # those who are here will do it
                    raise

    def close(self, refusal: str) -> None:
        with self.hiring:
            if self.refusal is None:
                self.refusal = refusal
            self.calls.put(None)

    def discard(self) -> list[Any]:
        """Take every call out of the queue of a closed pool; return the futures."""
        for work in list(self.mappings.values()):
            work.cancel()
        self.mappings.clear()
        futures = []
        try:
            while True:
                call = self.calls.get_nowait()
                if call is not None:
                    self.finished_one()
                    if call[0] is not None:
                        futures.append(call[0])
        except Empty:
            return futures
        finally:
            self.calls.put(None)

    def finished_one(self) -> None:
        try:
            self.unfinished.pop()
        except IndexError:  # not counted any more when it was submitted
            pass

    def break_down(self, cause: BaseException) -> None:
        """The initializer raised: no call will ever run again."""
        self.broken = True
        self.cause = cause
        self.refusal = "the initializer of a worker thread raised; the thread pool is not usable any more"
        for future in self.discard():
            conclude(future, None, self.refuse())


def conclude(future: Any, result: Any, error: BaseException | None) -> None:
    """Give a future its outcome if it has none, and see to its callbacks."""
    callbacks = future._finish(result, error)
    if callbacks:
        _run_callbacks(future, callbacks)


def _run_callbacks(future: Any, callbacks: list[Any]) -> None:
    try:
        future._call_back(callbacks)
    except BaseException as interruption:  # noqa: BLE001 - a worker has nobody to propagate it to
        report("exception calling callback for", future, interruption)


def _work(staff: _Staff, desk: list[Any]) -> None:
    try:
        if staff.initializer is not None:
            try:
                staff.initializer(*staff.initargs)
            except BaseException as error:  # noqa: BLE001 - reported, and the cause of what the futures raise
                report("exception in initializer", staff.initializer, error)
                staff.break_down(error)
                return
        _answer_calls(staff, desk)
    finally:
        # There is a None in the queue for good, so the exit of the interpreter need not tell the others.
        closed(staff)


def _answer_calls(staff: _Staff, desk: list[Any]) -> None:
    get = staff.calls.get
    mark = object()  # this worker's signature in the log of a future
    while True:
        call = get()
        if call is None:
            staff.calls.put(None)
            return
        future, fn, args, kwargs = call
        if future is None:  # the driver of a map; its calls have places instead of futures
            desk.append(None)
            fn()
            desk.clear()
            call = fn = args = None
            staff.finished_one()
            continue
        log = future._log
        log.append(mark)
        if log[0] is not mark:
            _pass_over(staff, future)
            call = future = fn = args = kwargs = log = None
            continue
        desk.append(future)
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - it is the outcome of the call
            outcome: Any = (None, error)
        else:
            outcome = (result, None)
        # What the call was given must not live on in an idle worker; nor what it gave.
        call = fn = args = kwargs = result = log = None
        if staff.growing:
            staff.finished_one()
        callbacks = future._finish(*outcome)
        outcome = None
        desk.clear()
        if callbacks:
            staff.unfinished.append(None)
            staff.hire(by_worker=True)
            _run_callbacks(future, callbacks)
            staff.finished_one()
            callbacks = None
        future = None


def _pass_over(staff: _Staff, future: Any) -> None:
    """Somebody was first: cancelled, or finished by hand. A cancelled one has had its waiters told."""
    staff.finished_one()
    if future._log[0] is CANCELLED and future._end is None:
        future.cancel()


def _forked(staff: _Staff) -> None:
    """In the child of a fork: the threads stayed behind. Fail what they would have done."""
    closed(staff)
    if not staff.threads:
        staff.hiring = RLock()
        return
    lost = [future for desk in staff.desks for future in desk]
    staff.broken = True
    staff.growing = False
    staff.cause = None
    staff.refusal = (
        f"this thread pool belongs to process {staff.pid}; its threads do not exist in process {os.getpid()}, "
        "which was forked from it: make a new executor after the fork"
    )
    # Only this thread exists, so nothing moves meanwhile. The C queue may be in any state but its deque is whole.
    while True:
        try:
            call = staff.calls.get_nowait()
        except Empty:
            break
        if call is not None:
            lost.append(call[0])
    for work in list(staff.mappings.values()):
        work.abandon()
    for future in lost:
        if future is not None:
            future._abandon(staff.refuse())
    staff.calls.put(None)  # should the thread that forked be one of the workers
    staff.threads = []
    staff.hiring = RLock()


class ThreadPoolExecutor(Executor):
    """Runs calls in up to *max_workers* threads, each started when it is first needed and then used again.

    *max_workers* defaults to the usable processors plus 4, at most 32. Each worker calls initializer(*initargs)
    first; if that raises, the pool is broken: pending and later calls raise BrokenThreadPool with the exception as
    cause. Threads are named *thread_name_prefix* plus a number.

    Accepted calls are made even if the executor is dropped or the interpreter is about to exit, which waits for
    them. In a forked child the executor refuses with BrokenThreadPool, and unfinished futures raise it.

    Once the standard module is loaded, asyncio's `set_default_executor` takes this executor, too.

    All methods may be called in any thread, including workers of this pool, in callbacks, signal handlers and
    finalisers. A call that waits for another call of the same pool needs a free worker for that.
    """

    _standard_name = "ThreadPoolExecutor"

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        if max_workers is None:
            max_workers = min(MOST_BY_DEFAULT, processors() + MORE_THAN_PROCESSORS)
        check_workers(max_workers, initializer)
        self._max_workers = max_workers
        prefix = thread_name_prefix or f"{type(self).__name__}-{next(_pool_numbers)}"
        staff = self._staff = _Staff(max_workers, prefix, initializer, initargs)
        staff.handle = watch(self, staff)
        register_after_fork(staff, _forked)

    def __repr__(self) -> str:
        staff = self._staff
        return (
            f"<{type(self).__name__} {staff.prefix!r}: {len(staff.threads)} of {self._max_workers} threads>"
        )

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue fn(*args, **kwargs) and return its future at once.

        Raises RuntimeError after `shutdown` and at interpreter exit, BrokenThreadPool if an initializer failed or
        in a forked child, and RuntimeError if not a single thread can be started.
        """
        staff = self._staff
        refusal = staff.refusal
        if refusal is not None:
            raise staff.refuse()
        future: Future[T] = Future()
        growing = staff.growing
        if growing:
            staff.unfinished.append(None)
        staff.calls.put((future, fn, args, kwargs))
        if growing:
            try:
                staff.hire()
            except BaseException:
                if future.cancel():
                    raise
        if staff.refusal is not None and future.cancel():
            raise staff.refuse()
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        return_exceptions: bool = False,
    ) -> Iterator[T]:
        """Like the built-in map, with the calls made by the threads; return an iterator over their results.

        See `Executor.map`. Without *buffersize* the calls are given out to the workers one by one, without a future
        for each: about twenty times faster for short calls. A subclass that overrides `submit` has it called for each.
        """
        check_buffersize(buffersize)
        if buffersize is not None or type(self).submit is not ThreadPoolExecutor.submit:
            return super().map(
                fn,
                *iterables,
                timeout=timeout,
                chunksize=chunksize,
                buffersize=buffersize,
                return_exceptions=return_exceptions,
            )
        end = None if timeout is None else monotonic() + timeout
        staff = self._staff
        refusal = staff.refusal
        if refusal is not None:
            raise staff.refuse()
        work = Work(fn, iterables)
        drivers = min(len(work.places), self._max_workers)
        if drivers:
            staff.mappings[id(work)] = work

        def drive() -> None:
            work.drive()
            staff.mappings.pop(id(work), None)

        try:
            for _ in range(drivers):
                staff.unfinished.append(None)
                staff.calls.put((None, drive, (), {}))
                staff.hire()
        except BaseException:
            work.cancel()
            raise
        if staff.refusal is not None:
            # Closed in between: some drivers may stand behind the end of the queue.
            work.cancel()
        return Results(work, end, timeout, return_exceptions)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls; with *wait*, return when all accepted ones are done and the threads have ended.

        With *cancel_futures*, calls that have not started are cancelled; who waits for them is woken. Running calls
        are never interrupted. May be called any number of times. Called by a worker of this pool, it does not wait
        for that worker.
        """
        staff = self._staff
        staff.close("cannot schedule new futures after shutdown")
        if cancel_futures:
            for future in staff.discard():
                future.cancel()
        if wait:
            me = get_ident()
            for thread in staff.threads:  # may grow while we are at it
                if thread.ident != me:
                    thread.join()
