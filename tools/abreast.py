# SPDX-License-Identifier: MIT
"""Runs jobs several at a time: each job's output goes to a file of its own and is shown whole when the job has ended.

- A job is a command, and starts when one of the lanes is free, in the order given: put the long ones first.
- What is on its way is said when it starts, so that a run which is cut off tells what it was busy with.
- Whoever is interrupted starts nothing more and waits for what is running. Ctrl-C at a terminal reaches those too;
  when a signal came to this process only, it is passed on. SIGTERM can be made to count as one.
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path


def be_interrupted_by_sigterm() -> None:
    """Take SIGTERM for Ctrl-C from now on: who is asked to end has children to end first."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@dataclass(frozen=True)
class Job:
    """One command."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]


@dataclass(frozen=True)
class Ended:
    """How a job ended, and where it wrote what it said."""

    job: Job
    code: int
    seconds: float
    log: Path


class Lanes:
    """Runs jobs in `lanes` lanes, and keeps their logs in `folder`."""

    def __init__(self, lanes: int, folder: Path, say: Callable[[str], object]) -> None:
        self._lanes = lanes
        self._folder = folder
        self._say = say
        self._guard = threading.Lock()  # of the two below: who starts is seen by who stops, or does not start
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, jobs: Sequence[Job]) -> Iterator[Ended]:
        """Yield the jobs as they end."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(self._lanes) as pool:
            try:
                futures: list[Future[Ended | None]] = [pool.submit(self._one, job) for job in jobs]
                for future in as_completed(futures):
                    ended = future.result()
                    if ended is not None:
                        yield ended
            finally:
                # Nothing is left of them, unless we were interrupted, or the caller does not want to know the others.
                with self._guard:
                    self._stopped = True
                    for child in self._running:
                        child.send_signal(signal.SIGINT)

    def _one(self, job: Job) -> Ended | None:
        safe = "".join(c if c.isalnum() or c in ".-" else "_" for c in job.name)
        log = self._folder / f"{safe}.log"
        begun = time.monotonic()
        with log.open("wb") as out:
            with self._guard:
                if self._stopped:
                    return None
                child = subprocess.Popen(
                    job.argv,
                    env=dict(job.env),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                )
                self._running.add(child)
            self._say(f"{job.name} begins")
            code = child.wait()
            with self._guard:
                self._running.discard(child)
        return Ended(job, code, time.monotonic() - begun, log)
