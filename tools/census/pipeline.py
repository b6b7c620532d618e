# SPDX-License-Identifier: MIT
# The concurrent run.
#
#     process pool --- parse --.
#     thread pool ---- hash ----+--> bounded queue --> writer --> SQLite
#     thread pool ---- gzip ---'
#       `- one gzip child a file            scheduler --> progress
#
# Everybody who ends says so with one verdict on a `SimpleQueue`, whose `put` may be called from anywhere, a signal
# handler included. The main thread waits there and nowhere else. The first verdict that is not `Finished` decides how
# the run ends; what the others say afterwards is the echo of being stopped.
#
# Stopping, in this order, and why:
#   1. the queue is shut down at once: who is blocked in `put` or `get` is woken, and nobody blocks there again
#   2. gzip children are killed, none is started any more: threads in `communicate` return
#   3. the thread pools take no more work and forget what has not begun
#   4. so does the process pool, whose workers are killed: they hold nothing that outlives the run
#   5. all threads are joined, against one deadline (the pool's own ends when its workers have been reaped); what is
#      still there then is named, not waited for
#
# Ctrl-C and SIGTERM reach the main thread alone: all others are started with both blocked, children inherit the mask, and
# so a signal to the whole process group makes no worker die noisily in the middle of our own orderly end.
"""Runs the stages, the writer and the display together; ends all of them when one fails."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from plait import threading
from plait.futures import ProcessPoolExecutor, ThreadPoolExecutor
from plait.multiprocessing import active_children, get_context
from plait.queue import Queue, SimpleQueue

from .progress import Progress, Snapshot, best_display
from .stages import (
    Failed,
    Finished,
    GzipChildren,
    Part,
    Span,
    Stage,
    batches,
    digest_batch,
    enter_worker,
    parse_batch,
)
from .store import Writer, read_back

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .measure import Record, Source

__all__ = [
    "Ended",
    "Interrupted",
    "Interruptions",
    "Outcome",
    "RunFailed",
    "Settings",
    "measure_concurrently",
]

#: A run that was stopped and has not ended after this many seconds is abandoned, by name.
STOP_WITHIN = 1.5


def living_threads() -> list[threading.Thread]:
    """The threads that have to end before the program can."""
    main = threading.main_thread()
    return [t for t in threading.enumerate() if t is not main and not t.daemon and t.is_alive()]


class Ended(Exception):
    """The run ended early. *stuck* names what would not end with it: nothing, unless something is badly wrong."""

    stuck: Sequence[str] = ()


class Interrupted(Ended):
    """A signal asked the run to end."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class RunFailed(Ended):
    """Some part of the run failed, and took the others with it. The cause is chained."""


class Settings(NamedTuple):
    """How many of each; `method` is a start method of processes, or None for the default one."""

    gzip: str
    processes: int
    hashers: int
    gzips: int
    bound: int
    method: str | None


class Outcome(NamedTuple):
    """A complete concurrent run. `started` is the instant on the clock of the spans, in nanoseconds."""

    records: list[Record]
    spans: list[Span]
    started: int
    seconds: float


class Interruptions:
    """Remembers the first SIGINT or SIGTERM, and tells whoever listens.

    A forked worker that has not yet come to its initializer still has this handler: there it does what the signal does
    by default, to the right process.
    """

    def __init__(self) -> None:
        self._owner = os.getpid()
        self.received: int | None = None
        self._verdicts: SimpleQueue[Any] | None = None

    def install(self) -> None:
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, signum: int, _frame: object) -> None:
        if os.getpid() != self._owner:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        elif self.received is None:
            self.received = signum
            # One is enough: a second one must not cut our orderly end short, the interpreter's own part of it included.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if self._verdicts is not None:
                self._verdicts.put(Failed("signal", Interrupted(signum)))

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come."""
        if self.received is not None:
            raise Interrupted(self.received)

    @contextmanager
    def told_to(self, verdicts: SimpleQueue[Any]) -> Iterator[None]:
        """While inside, a signal also puts a verdict on *verdicts*."""
        self._verdicts = verdicts
        try:
            self.check()
            yield
        finally:
            self._verdicts = None


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """What is started inside is started deaf to Ctrl-C and SIGTERM."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Run:
    """Everything that lives during one run, made in one place and stopped in one place."""

    def __init__(self, sources: Sequence[Source], settings: Settings, database: str) -> None:
        context = get_context(settings.method)
        self.started = time.monotonic_ns()
        self.verdicts: SimpleQueue[Finished | Failed] = SimpleQueue()
        self._sources = sources
        self._counter = context.Value("i", 0)
        self._results: Queue[Part] = Queue(settings.bound)
        self._gzip = GzipChildren(settings.gzip)
        self._parsers = ProcessPoolExecutor(
            settings.processes, mp_context=context, initializer=enter_worker, initargs=(self._counter,)
        )
        self._hashers = ThreadPoolExecutor(settings.hashers, thread_name_prefix="hash")
        self._gzips = ThreadPoolExecutor(settings.gzips, thread_name_prefix="gzip")
        # The largest come first: a long file begun last would keep one process busy and the others idle.
        largest_first = sorted(sources, key=lambda source: source.size, reverse=True)
        # Three batches a worker keep it busy while its results travel.
        self._stages = [
            self._stage(
                "parse", self._parsers, parse_batch, batches(largest_first, 16, 100_000), settings.processes
            ),
            self._stage("hash", self._hashers, digest_batch, batches(sources, 32, 500_000), settings.hashers),
            self._stage(
                "gzip", self._gzips, self._gzip.compress_batch, batches(sources, 8, 500_000), settings.gzips
            ),
        ]
        self._writer = Writer(database, sources, self._results, self.verdicts.put)
        self._progress = Progress(best_display(len(sources)), self._snapshot, self.verdicts.put)

    def _stage(
        self, name: str, pool: Any, function: Any, work: Iterator[list[Source]], workers: int
    ) -> Stage:
        return Stage(name, pool, function, work, 3 * workers, self._results, self.verdicts.put)

    def _snapshot(self) -> Snapshot:
        # The counter is read past its lock: a worker that was killed while holding it must not stop the display.
        parsed = self._counter.get_obj().value
        seconds = (time.monotonic_ns() - self.started) / 1e9
        return Snapshot(seconds, len(self._sources), parsed, self._writer.stored, self._results.qsize())

    def _threads(self) -> list[threading.Thread]:
        return [self._writer, self._progress, *self._stages]

    def go(self) -> None:
        """Run to the end, or raise what ended it."""
        with interrupts_blocked():
            for thread in self._threads():
                thread.start()
        for _ in self._stages:
            self._await_verdict()
        self._results.shutdown()  # the writer drains what is left, then ends
        self._await_verdict()
        parsed = self._counter.value
        if parsed != len(self._sources):
            raise RunFailed(f"the shared counter says {parsed} files were parsed, not {len(self._sources)}")
        for pool in (self._parsers, self._hashers, self._gzips):
            pool.shutdown()

    def _await_verdict(self) -> None:
        verdict = self.verdicts.get()
        if isinstance(verdict, Failed):
            if isinstance(verdict.error, Interrupted):
                raise verdict.error
            raise RunFailed(f"{verdict.name}: {verdict.error}") from verdict.error

    def stop(self) -> list[str]:
        """End whatever still runs, in the order of the essay above; return the names of what would not end."""
        deadline = time.monotonic() + STOP_WITHIN
        self._progress.stop()
        self._results.shutdown(immediate=True)
        self._gzip.stop()
        for pool in (self._hashers, self._gzips):
            pool.shutdown(wait=False, cancel_futures=True)
        self._parsers.kill_workers()
        # The pools' own threads too; and a pool that was about to start may still add one.
        while (threads := living_threads()) and time.monotonic() < deadline:
            threads[0].join(max(0.0, deadline - time.monotonic()))
        for worker in active_children():  # none, unless the pool failed so badly that it lost one
            with suppress(ValueError):
                worker.kill()
                worker.join(max(0.1, deadline - time.monotonic()))
        self._progress.close()
        return [f"process {worker.pid}" for worker in active_children()] + [
            f"thread {thread.name!r}" for thread in living_threads()
        ]


def measure_concurrently(
    sources: Sequence[Source], settings: Settings, interruptions: Interruptions
) -> Outcome:
    """Measure every file, on all seven packages at once.

    Raises `Interrupted` after a signal and `RunFailed` when a worker, a gzip, the writer or the display failed; in
    either case everything that was started has ended, or is named in the error's `stuck`.
    """
    with tempfile.TemporaryDirectory(prefix="census-") as folder:
        database = os.path.join(folder, "census.sqlite")
        run = _Run(sources, settings, database)
        try:
            with interruptions.told_to(run.verdicts):
                run.go()
        except BaseException as error:
            stuck = run.stop()
            if isinstance(error, RunFailed) and interruptions.received is not None:
                # A signal to the whole group ended a worker or a gzip too, and that was heard of first.
                error = Interrupted(interruptions.received)
            if isinstance(error, Ended):
                error.stuck = stuck
            raise error from error.__cause__
        seconds = (time.monotonic_ns() - run.started) / 1e9
        stuck = run.stop()
        if stuck:
            raise RunFailed(f"finished, but still running: {', '.join(stuck)}")
        interruptions.check()
        records, spans = read_back(database)
        return Outcome(records, spans, run.started, seconds)
