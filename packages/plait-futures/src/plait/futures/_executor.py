# SPDX-License-Identifier: MIT
"""What all executors have in common."""

from __future__ import annotations

from collections import deque
from time import monotonic
from weakref import ref

from ._future import Future
from ._standard import also_standard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")


def check_buffersize(buffersize: int | None) -> None:
    if buffersize is None:
        return
    if not isinstance(buffersize, int):
        raise TypeError(f"buffersize must be an integer or None, not {buffersize!r}")
    if buffersize < 1:
        raise ValueError(f"buffersize must be None or > 0, not {buffersize}")


def check_workers(max_workers: int, initializer: object) -> None:
    if max_workers <= 0:
        raise ValueError(f"max_workers must be greater than 0, not {max_workers}")
    if initializer is not None and not callable(initializer):
        raise TypeError(f"initializer must be a callable, not {initializer!r}")


class Executor:
    """Runs calls elsewhere and hands out futures. The base of the pools, and of executors of your own.

    A subclass needs `submit`, and `shutdown` if there is something to stop; `map` and `with` are built on those.
    Leaving the `with` block calls `shutdown(wait=True)`.
    """

    _standard_name = "Executor"

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            """The class as `isinstance` may ask for it: also the standard one, once that is loaded."""
            return also_standard(type(self), type(self)._standard_name)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have fn(*args, **kwargs) run; return its future. Raises RuntimeError after `shutdown`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to submit")

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,  # noqa: ARG002 - for pools of processes
        buffersize: int | None = None,
        return_exceptions: bool = False,
    ) -> Iterator[T]:
        """Like the built-in map, with the calls running in the executor; return an iterator over their results.

        Results come in the order of the inputs. What a call raised is raised at its place; the next `next` gives the
        result after it. With *return_exceptions* it is given at its place like a result.

        The *iterables* are consumed and all calls submitted at once; with *buffersize*, only so many calls are ahead of
        the results taken, and the inputs are consumed as needed (they may be endless).

        A result that is not there *timeout* seconds after the call of `map` raises TimeoutError. When the iterator
        ends early (timeout, `close()`, or dropped after its first use, as it is by a `for` statement that an exception
        leaves) the calls that have not started are cancelled. *chunksize* is for pools of processes.

        Differs from `concurrent.futures.Executor.map`: there an exception ends the iterator, and what the other calls
        returned is lost.
        """
        check_buffersize(buffersize)
        end = None if timeout is None else monotonic() + timeout
        calls = zip(*iterables)  # noqa: B905 - as the built-in map does
        return submit_all(self, type(self)._submit_tuple, fn, calls, end, buffersize, return_exceptions)

    def _submit_tuple(self, fn: Callable[..., T], arguments: tuple[Any, ...]) -> Future[T]:
        return self.submit(fn, *arguments)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and free what the executor holds once the accepted ones are done."""

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        self.shutdown(wait=True)
        return None


def submit_all(
    executor: Executor,
    submit: Any,
    fn: Any,
    calls: Iterator[Any],
    end: float | None,
    buffersize: int | None,
    return_exceptions: bool = False,
) -> InOrder:
    """Submit all, or the first *buffersize*, at once; return the iterator over the results, which submits the rest."""
    ahead: deque[Future[Any]] = deque()
    try:
        for call in calls:
            ahead.append(submit(executor, fn, call))
            if len(ahead) == buffersize:
                break
    except BaseException:
        for future in ahead:
            future.cancel()
        raise
    if buffersize is None:
        return InOrder(ahead, end, None, return_exceptions)
    # The iterator alone must not keep a forgotten pool alive.
    pool = ref(executor)

    def refill() -> None:
        executor = pool()
        if executor is not None:
            for call in calls:
                ahead.append(submit(executor, fn, call))
                return

    return InOrder(ahead, end, refill, return_exceptions)


class InOrder:
    """The results of the futures in *ahead*, each let go before it is given. For one thread at a time."""

    def __init__(
        self,
        ahead: deque[Future[Any]],
        end: float | None,
        refill: Callable[[], None] | None,
        return_exceptions: bool,
    ) -> None:
        self._ahead = ahead
        self._end = end
        self._refill = refill
        self._return_exceptions = return_exceptions
        self._used = False

    def __iter__(self) -> InOrder:
        return self

    def __next__(self) -> Any:
        self._used = True
        future = error = None
        try:
            if not self._ahead:
                raise StopIteration
            try:
                error = self._ahead[0].exception(
                    None if self._end is None else max(0.0, self._end - monotonic())
                )
                if self._refill is not None:
                    self._refill()
            except BaseException:
                self.close()
                raise
            future = self._ahead.popleft()
            if error is not None:
                if self._return_exceptions:
                    return error
                if isinstance(error, StopIteration):
                    # It would pass for the regular end. A generator says it like this.
                    raise RuntimeError("a mapped call raised StopIteration") from error
            return future.result()
        finally:
            # The traceback of what is raised refers to this frame.
            del self, future, error

    def close(self) -> None:
        """End the iterator, and cancel the calls that have not started."""
        self._refill = None
        for future in self._ahead:
            future.cancel()
        self._ahead.clear()

    def __del__(self) -> None:
        # As a generator would: dropped in the middle, it cancels the rest; dropped untouched, all calls are made.
        if self._used:
            self.close()
