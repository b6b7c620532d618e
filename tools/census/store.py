# SPDX-License-Identifier: MIT
"""The one thread that writes to SQLite, and reading back what it wrote."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence

from plait._thread import get_native_id
from plait.queue import Queue, ShutDown
from plait.threading import Thread

from .measure import Compressed, Digest, Parsed, Record, Source
from .stages import Failed, Finished, Part, Span

__all__ = ["Writer", "read_back"]

SCHEMA = """
create table files (
    number integer primary key, shown text not null,
    size integer, lines integer, sha256 text, read_problem text,
    functions integer, classes integer, nodes integer, parse_problem text,
    compressed integer, gzip_problem text
);
create table spans (stage text, worker integer, started integer, ended integer, number integer, child integer);
"""
# A part that arrives for the second time finds its column filled, changes no row, and is found out.
UPDATES = {
    Parsed: "update files set functions = ?, classes = ?, nodes = ?, parse_problem = ? "
    "where number = ? and parse_problem is null",
    Digest: "update files set size = ?, lines = ?, sha256 = ?, read_problem = ? "
    "where number = ? and read_problem is null",
    Compressed: "update files set compressed = ?, gzip_problem = ? where number = ? and gzip_problem is null",
}
COMMIT_EVERY = 400


class Writer(Thread):
    """Takes parts from the queue until it is shut down and drained, and stores them.

    Ends with one verdict: `Finished` when every part was stored and committed, otherwise `Failed`.
    """

    def __init__(
        self,
        database: str,
        sources: Sequence[Source],
        results: Queue[Part],
        report: Callable[[Finished | Failed], None],
    ) -> None:
        super().__init__(name="writer")
        self._database = database
        self._sources = sources
        self._results = results
        self._report = report
        self.stored = 0

    def run(self) -> None:
        try:
            self._store_all()
        except BaseException as error:  # noqa: BLE001 - reported, never swallowed
            self._report(Failed(self.name, error))
        else:
            self._report(Finished(self.name))

    def _store_all(self) -> None:
        connection = sqlite3.connect(self._database)
        try:
            # A temporary file: nobody reads it after a crash or a power cut.
            connection.execute("pragma synchronous = off")
            connection.execute("pragma journal_mode = memory")
            connection.executescript(SCHEMA)
            connection.executemany(
                "insert into files (number, shown) values (?, ?)",
                [(source.number, source.shown) for source in self._sources],
            )
            while True:
                try:
                    first = self._results.get()
                except ShutDown:
                    return
                self._store(connection, first)
        finally:
            connection.close()

    def _store(self, connection: sqlite3.Connection, part: Part) -> None:
        """Store *part* and what follows it, up to a commit's worth, in one transaction."""
        spans: list[Span] = []
        started = time.monotonic_ns()
        with connection:
            for _ in range(COMMIT_EVERY):
                changed = connection.execute(UPDATES[type(part.result)], (*part.result, part.number)).rowcount
                if changed != 1:
                    raise RuntimeError(
                        f"{part.span.stage} delivered file number {part.number} twice, or none such"
                    )
                spans.append(part.span)
                self.stored += 1
                if not self._results.qsize():
                    break  # we are the only getter, so what qsize counts stays ours to get
                try:
                    part = self._results.get(block=False)
                except ShutDown:
                    break
            spans.append(Span("store", get_native_id(), started, time.monotonic_ns(), -1))
            connection.executemany("insert into spans values (?, ?, ?, ?, ?, ?)", spans)


def read_back(database: str) -> tuple[list[Record], list[Span]]:
    """Every file's figures and every span, after the writer ended. A figure that never arrived is an error."""
    connection = sqlite3.connect(database)
    try:
        missing = connection.execute(
            "select shown from files "
            "where read_problem is null or parse_problem is null or gzip_problem is null limit 1"
        ).fetchone()
        if missing:
            raise RuntimeError(f"{missing[0]}: some of its figures were never stored")
        records = [
            Record(*row[:-3], next((problem for problem in row[-3:] if problem), ""))
            for row in connection.execute(
                "select shown, size, lines, sha256, functions, classes, nodes, compressed, "
                "read_problem, parse_problem, gzip_problem from files order by number"
            )
        ]
        spans = [Span(*row) for row in connection.execute("select * from spans order by started")]
    finally:
        connection.close()
    return records, spans
