# SPDX-License-Identifier: MIT
# The three measuring stages: parsing in processes, hashing in threads, compressing in gzip children.
#
# A `Stage` is one thread that keeps a pool busy and carries its results to the bounded queue. It holds a window of
# futures open, no more: when the writer falls behind, `put` blocks, nothing new is submitted, and memory stays where it
# is. (A done-callback that puts would block the pool's own threads instead.)
#
# How a stage ends, always with exactly one verdict:
#   - it ran out of files: `Finished`
#   - anything else: `Failed`, with the error. During a stop (the queue was shut down, futures were cancelled, pools
#     refuse work) errors are the expected echo of the first one; whoever stops the run reports only the first verdict.
"""The measuring stages of the concurrent census, and what they put on the queue."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from plait._thread import get_native_id
from plait.futures import FIRST_COMPLETED, Executor, Future, wait
from plait.queue import Queue
from plait.subprocess import DEVNULL, PIPE, Popen
from plait.threading import Lock, Thread

from .measure import GZIP_ARGUMENTS, Compressed, Digest, Parsed, Source, digest, open_source, parse, why

__all__ = [
    "Failed",
    "Finished",
    "GzipChildren",
    "Part",
    "Span",
    "Stage",
    "batches",
    "digest_batch",
    "enter_worker",
]


class Span(NamedTuple):
    """Who worked on what, from when to when. Monotonic nanoseconds mean the same in every process of one machine."""

    stage: str
    worker: int
    started: int
    ended: int
    number: int
    child: int = 0


class Part(NamedTuple):
    """One stage's result for one file, as it travels through the queue."""

    number: int
    result: Parsed | Digest | Compressed
    span: Span


class Finished(NamedTuple):
    """Verdict: *name* has done all it had to do."""

    name: str


class Failed(NamedTuple):
    """Verdict: *name* cannot go on."""

    name: str
    error: BaseException


def batches(sources: Sequence[Source], files: int, size: int) -> Iterator[list[Source]]:
    """Cut *sources* into runs of at most *files* files and about *size* bytes, so that each is a moment's work."""
    batch: list[Source] = []
    weight = 0
    for source in sources:
        batch.append(source)
        weight += source.size
        if len(batch) >= files or weight >= size:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


# --- in a worker process --------------------------------------------------------------------------------------------

_parsed: Any = None


def enter_worker(counter: Any) -> None:
    """Initializer of the process pool: keep the shared counter, and leave Ctrl-C to the parent.

    A forked worker would otherwise keep the parent's handlers, and those belong to the parent. SIGTERM stays blocked,
    as inherited: what is sent to the whole group the parent acts upon, with SIGKILL.
    """
    global _parsed
    _parsed = counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def parse_batch(batch: Sequence[Source]) -> list[Part]:
    """Parse in a worker process, and count each file in the counter that all processes share."""
    parts = []
    for source in batch:
        started = time.monotonic_ns()
        result = parse(source)
        with _parsed.get_lock():
            _parsed.value += 1
        parts.append(
            Part(
                source.number, result, Span("parse", os.getpid(), started, time.monotonic_ns(), source.number)
            )
        )
    return parts


# --- in a thread of the pool ----------------------------------------------------------------------------------------


def digest_batch(batch: Sequence[Source]) -> list[Part]:
    """Read and hash in a thread."""
    parts = []
    for source in batch:
        started = time.monotonic_ns()
        result = digest(source)
        span = Span("hash", get_native_id(), started, time.monotonic_ns(), source.number)
        parts.append(Part(source.number, result, span))
    return parts


class GzipChildren:
    """Starts one gzip a file, and knows all that are running, so that they can be ended together.

    A gzip that ends with an error has met a bad file, and the census goes on; one that was killed is a failure of the
    run, because its figure is missing for no reason that lies in the file.
    """

    def __init__(self, program: str) -> None:
        self.program = program
        self._lock = Lock()
        self._running: set[Popen[bytes]] = set()
        self._closed = False

    def compress_batch(self, batch: Sequence[Source]) -> list[Part]:
        """Compress in one child after another; the calling thread waits for each."""
        parts = []
        for source in batch:
            started = time.monotonic_ns()
            result, child = self._compress(source)
            span = Span("gzip", get_native_id(), started, time.monotonic_ns(), source.number, child)
            parts.append(Part(source.number, result, span))
        return parts

    def _compress(self, source: Source) -> tuple[Compressed, int]:
        try:
            stdin = open_source(source.path)
        except OSError as error:
            return Compressed(problem=why(error)), 0
        try:
            child = self._start(stdin)
        finally:
            os.close(stdin)
        try:
            output, _ = child.communicate()
        finally:
            with self._lock:
                self._running.discard(child)
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode < 0:
            name = signal.Signals(-child.returncode).name
            raise RuntimeError(f"gzip (pid {child.pid}), compressing {source.shown}, was killed by {name}")
        if child.returncode:
            return Compressed(problem=f"gzip ended with code {child.returncode}"), child.pid
        return Compressed(len(output)), child.pid

    def _start(self, stdin: int) -> Popen[bytes]:
        # Started under the lock: `stop` then sees every child there is, or prevents it.
        with self._lock:
            if self._closed:
                raise RuntimeError("the run is being stopped: no gzip is started any more")
            child = Popen([self.program, *GZIP_ARGUMENTS], stdin=stdin, stdout=PIPE, stderr=DEVNULL)
            self._running.add(child)
        return child

    def stop(self) -> None:
        """Kill those that run and refuse to start more. Harmless when none runs."""
        with self._lock:
            self._closed = True
            for child in self._running:
                child.kill()


# --- the thread that keeps a pool busy ------------------------------------------------------------------------------


class Stage(Thread):
    """Feeds *pool* with batches for *function* and puts every part it returns on *results*."""

    def __init__(
        self,
        name: str,
        pool: Executor,
        function: Callable[[list[Source]], list[Part]],
        work: Iterable[list[Source]],
        window: int,
        results: Queue[Part],
        report: Callable[[Finished | Failed], None],
    ) -> None:
        super().__init__(name=name)
        self._pool = pool
        self._function = function
        self._work = work
        self._window = window
        self._results = results
        self._report = report

    def run(self) -> None:
        try:
            self._feed()
        except BaseException as error:  # noqa: BLE001 - reported, never swallowed
            self._report(Failed(self.name, error))
        else:
            self._report(Finished(self.name))

    def _feed(self) -> None:
        pending: set[Future[list[Part]]] = set()
        for batch in self._work:
            pending.add(self._pool.submit(self._function, batch))
            if len(pending) >= self._window:
                pending = self._deliver_some(pending)
        while pending:
            pending = self._deliver_some(pending)

    def _deliver_some(self, pending: set[Future[list[Part]]]) -> set[Future[list[Part]]]:
        """Wait for at least one future, put what the finished ones returned, and return the rest."""
        done, rest = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            for part in future.result():
                self._results.put(part)
        return rest
