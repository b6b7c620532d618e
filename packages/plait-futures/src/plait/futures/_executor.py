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
    ) -> Iterator[T]:
        """Like the built-in map, with the calls running in the executor; return an iterator over their results.

        Results come in the order of the inputs. What a call raised is raised at its place, and ends the iterator.
        The *iterables* are consumed and all calls submitted at once; with *buffersize*, only so many calls are ahead
        of the results taken, and the inputs are consumed as needed (they may be endless).

        A result that is not there *timeout* seconds after the call of `map` raises TimeoutError. When the iterator
        ends early (error, timeout, `close()`, or dropped after its first use) the calls that have not started are
        cancelled. *chunksize* is for pools of processes.
        """
        check_buffersize(buffersize)
        end = None if timeout is None else monotonic() + timeout
        calls = zip(*iterables)  # noqa: B905 - as the built-in map does
        return submit_all(self, type(self)._submit_tuple, fn, calls, end, buffersize)

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
    executor: Executor, submit: Any, fn: Any, calls: Iterator[Any], end: float | None, buffersize: int | None
) -> Iterator[Any]:
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
        return _in_order(ahead, end, None)
    # The iterator alone must not keep a forgotten pool alive.
    pool = ref(executor)

    def refill() -> None:
        executor = pool()
        if executor is not None:
            for call in calls:
                ahead.append(submit(executor, fn, call))
                return

    return _in_order(ahead, end, refill)


def _in_order(
    ahead: deque[Future[Any]], end: float | None, refill: Callable[[], None] | None
) -> Iterator[Any]:
    """The results of the futures in *ahead*, each let go before it is yielded."""
    try:
        while ahead:
            ahead[0].result(None if end is None else max(0.0, end - monotonic()))
            if refill is not None:
                refill()
            yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()
