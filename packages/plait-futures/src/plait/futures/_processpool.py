# SPDX-License-Identifier: MIT
"""ProcessPoolExecutor: the handle that the user holds. How it works is told in `_crew`."""

from __future__ import annotations

from itertools import islice
from time import monotonic

from .. import multiprocessing
from .._thread import get_ident
from ._crew import BrokenProcessPool, Crew
from ._executor import Executor, InOrder, check_buffersize, check_workers, submit_all
from ._future import Future
from ._map import Raised
from ._open import watch
from ._threadpool import processors
from ._wire import Functions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = ["BrokenProcessPool", "ProcessPoolExecutor"]


class ProcessPoolExecutor(Executor):
    """Runs calls in up to *max_workers* worker processes (default: the usable processors).

    Functions, arguments, results and exceptions are pickled. *mp_context* is a context of our multiprocessing, and
    decides how workers start. Each worker calls initializer(*initargs) first. With *max_tasks_per_child* a worker
    is replaced after so many calls; this needs another start method than fork, and then selects spawn by default.

    If a worker dies, the pool is broken: every unfinished future, and every later `submit`, raises
    BrokenProcessPool with the pid and the exit code or signal; all workers are ended. A call that cannot be
    pickled, or whose outcome cannot, fails alone. An exception of a call carries its traceback as text in
    `__cause__`. Any exception counts as an outcome, also SystemExit and KeyboardInterrupt, which `result` then
    raises here.

    Accepted calls are made even if the executor is dropped or the interpreter is about to exit, which waits for
    them. Workers are killed when this process dies (elsewhere than on Linux: end after the call they are at). In a
    forked child the executor refuses with BrokenProcessPool.

    All methods may be called in any thread, in callbacks (which run in the manager thread, so none should take
    long), signal handlers and finalisers.

    Differs from `concurrent.futures.ProcessPoolExecutor`: arguments are pickled in `submit`, not some time later;
    up to 8 ms of calls of functions that are known to be short are sent to a worker ahead, and can no longer be
    cancelled. If it does not come to them within 16 ms, others get them.
    """

    _standard_name = "ProcessPoolExecutor"

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = processors()
        check_workers(max_workers, initializer)
        if mp_context is None:
            mp_context = multiprocessing.get_context(None if max_tasks_per_child is None else "spawn")
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError(f"max_tasks_per_child must be an integer, not {max_tasks_per_child!r}")
            if max_tasks_per_child < 1:
                raise ValueError(f"max_tasks_per_child must be >= 1, not {max_tasks_per_child}")
            if mp_context.get_start_method() == "fork":
                raise ValueError(
                    "max_tasks_per_child does not go with the start method fork: give another mp_context"
                )
        self._max_workers = max_workers
        crew = self._crew = Crew(max_workers, mp_context, initializer, initargs, max_tasks_per_child)
        crew.name = type(self).__name__
        crew.handle = watch(self, crew)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._crew.members)} of {self._max_workers} processes>"

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have fn(*args, **kwargs) run in a worker; return its future at once.

        What cannot be pickled is the exception of the future. Raises RuntimeError after `shutdown` and at
        interpreter exit, BrokenProcessPool if a worker died or in a forked child. With the start method fork, the
        first call starts the workers.
        """
        return self._enter(Functions.pack_call, fn, args, kwargs)

    def _enter(self, pack: Any, fn: Callable[..., Any], *content: Any) -> Future[Any]:
        crew = self._crew
        refusal = crew.refusal
        if refusal is not None:
            raise crew.refuse()
        future: Future[Any] = Future()
        try:
            packed = pack(crew.functions, fn, *content)
        except Exception as error:  # noqa: BLE001 - the outcome of this call
            add_note = getattr(error, "add_note", None)
            if add_note is not None:
                add_note(f"while pickling a call of {fn!r} for a worker process")
            future.set_running_or_notify_cancel()
            future.set_exception(error)
            return future
        number = packed[1]
        crew.pending.append((future, number if number >= 0 else _key(fn), packed))
        if not crew.begun:
            try:
                crew.begin()
            except BaseException:
                future.cancel()
                raise
        nap = crew.nap
        if nap is not None and not nap:
            crew.ring()
        if crew.refusal is not None and future.cancel():
            raise crew.refuse()
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
        """Like the built-in map, with the calls made by the workers; return an iterator over their results.

        See `Executor.map`. With *chunksize* so many calls travel to a worker together, and their results back;
        *buffersize* then counts chunks. A chunk that as a whole cannot be sent, or whose results cannot be sent back,
        ends the iterator with that error; so does what is no Exception (KeyboardInterrupt, SystemExit) in one of its
        calls.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize must be >= 1, not {chunksize}")
        if chunksize == 1:
            return super().map(
                fn, *iterables, timeout=timeout, buffersize=buffersize, return_exceptions=return_exceptions
            )
        check_buffersize(buffersize)
        end = None if timeout is None else monotonic() + timeout
        calls = zip(*iterables)  # noqa: B905 - as map does
        chunks = iter(lambda: list(islice(calls, chunksize)), [])
        return _OneByOne(
            submit_all(self, type(self)._submit_chunk, fn, chunks, end, buffersize), return_exceptions
        )

    def _submit_chunk(self, fn: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> Future[Any]:
        return self._enter(Functions.pack_chunk, fn, chunk)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls; with *wait*, return when all accepted ones are done and the processes have ended.

        With *cancel_futures*, calls that no worker has yet are cancelled; who waits for them is woken. May be
        called any number of times; called by a callback, it does not wait.
        """
        crew = self._crew
        crew.close("cannot schedule new futures after shutdown")
        if cancel_futures:
            crew.discard()
        manager = crew.manager
        if wait and manager is not None and manager.ident != get_ident():
            manager.join()

    def terminate_workers(self) -> None:
        """Send SIGTERM to all workers, and shut down without waiting. Running calls raise BrokenProcessPool."""
        self._end_workers(kill=False)

    def kill_workers(self) -> None:
        """Send SIGKILL to all workers, and shut down without waiting. Running calls raise BrokenProcessPool."""
        self._end_workers(kill=True)

    def _end_workers(self, kill: bool) -> None:
        self.shutdown(wait=False, cancel_futures=True)
        self._crew.signal_all(kill)


def _key(fn: Any) -> Any:
    """What the running times of *fn* are remembered under, if it has no number."""
    return type(fn).__module__, type(fn).__qualname__, getattr(fn, "__qualname__", None)


class _OneByOne:
    """The results of the calls in the chunks. For one thread at a time."""

    def __init__(self, chunks: InOrder, return_exceptions: bool) -> None:
        self._chunks = chunks
        self._return_exceptions = return_exceptions
        # Of the present chunk, the next one last.
        self._values: list[Any] = []
        self._was_stopped = False

    def __iter__(self) -> _OneByOne:
        return self

    def __next__(self) -> Any:
        while not self._values:
            self._turn()
        value = self._values.pop()
        if type(value) is not Raised:
            return value
        try:
            if self._return_exceptions:
                return value.error
            if isinstance(value.error, StopIteration):
                raise RuntimeError("a mapped call raised StopIteration") from value.error  # noqa: TRY004
            raise value.error
        finally:
            # The traceback of what is raised refers to this frame.
            del self, value

    def _turn(self) -> None:
        """Come to the next chunk; StopIteration after the last."""
        if self._was_stopped:
            self.close()
        try:
            values, failures, self._was_stopped = next(self._chunks)
        except BaseException:
            self.close()
            raise
        for index, error in failures:
            values[index] = Raised(error)
        values.reverse()
        self._values = values

    def close(self) -> None:
        """End the iterator, and cancel the calls that have not started."""
        self._values = []
        self._chunks.close()
