# SPDX-License-Identifier: MIT
"""A source census: counts what is in a folder of Python files, with all seven plait packages at work.

    python tools/demo.py [FOLDER] [--html FILE] [--workers N]

Worker processes parse the files, threads read and hash them, and the machine's own gzip compresses each. The results
flow through a bounded queue to one thread that writes them to SQLite, while a scheduler drives the progress display.
Then every figure is measured once more, plainly and serially, and compared. FOLDER is the running Python's own
standard library unless given.

Ends with 0 when every figure agreed, 1 when one did not, 2 for a wrong call, 3 when a part of the run failed (a worker
was killed, the disk is full), 130 after Ctrl-C and 143 after SIGTERM. However it ends, no process and no temporary
file is left.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence

from census import page, report, serial
from census.measure import Record, Skipped, Source, find_sources
from census.pipeline import Ended, Interrupted, Interruptions, Outcome, Settings, measure_concurrently

from plait.multiprocessing import get_all_start_methods

AGREED, DIFFERENT, WRONG_CALL, FAILED = 0, 1, 2, 3

#: Above this many differing figures the rest is only counted.
SHOWN_DIFFERENCES = 40


def usable_processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is fewer than one")
    return number


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; argparse exits with 2 when it is wrong."""
    workers = usable_processors()
    parser = argparse.ArgumentParser(prog="demo.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "folder", nargs="?", default=os.path.dirname(os.__file__), help="default: the standard library"
    )
    parser.add_argument("--html", metavar="FILE", help="write a page with the timeline of what ran where")
    parser.add_argument(
        "--workers", type=at_least_one, default=workers, help=f"processes that parse ({workers})"
    )
    parser.add_argument("--hashers", type=at_least_one, default=2, help="threads that read and hash (2)")
    parser.add_argument("--gzips", type=at_least_one, default=2, help="gzip children at a time (2)")
    parser.add_argument("--bound", type=at_least_one, default=64, help="results the queue holds at most (64)")
    parser.add_argument(
        "--start-method", choices=get_all_start_methods(), help="of processes (plait's default)"
    )
    options = parser.parse_args(argv)
    options.gzip = shutil.which("gzip")
    if options.gzip is None:
        parser.error("there is no gzip on PATH, and this machine's own gzip is what is measured")
    if not os.path.isdir(options.folder):
        parser.error(f"{os.path.abspath(options.folder)} is not a folder")
    if options.html and not os.path.isdir(os.path.dirname(os.path.abspath(options.html))):
        parser.error(f"{options.html}: its folder does not exist")
    return options


def compare(outcome: Outcome, plain: Sequence[Record]) -> list[str]:
    """One line for every figure on which the two passes disagree."""
    return serial.differences(outcome.records, plain)


def census(options: argparse.Namespace, interruptions: Interruptions) -> int:
    """Measure, check, show; return the exit code."""
    sources, skipped = find_sources(options.folder)
    if not sources and not skipped:
        print(f"{options.folder}: no .py file there or below", file=sys.stderr)
        return WRONG_CALL
    settings = Settings(
        options.gzip, options.workers, options.hashers, options.gzips, options.bound, options.start_method
    )
    print(
        f"census of {len(sources):,} files in {options.folder}, {report.interpreter()}: {settings.processes} processes "
        f"parse, {settings.hashers} threads hash, {settings.gzips} gzips compress",
        flush=True,
    )
    outcome = measure_concurrently(sources, settings, interruptions)
    print(f"measured in {outcome.seconds:.2f} s; now every figure again, serially", flush=True)

    started = time.monotonic()
    plain = serial.measure_serially(sources, settings.gzip, interruptions.check)
    seconds = time.monotonic() - started
    differing = compare(outcome, plain)
    for line in differing[:SHOWN_DIFFERENCES]:
        print(f"DIFFERENT {line}", file=sys.stderr)
    if len(differing) > SHOWN_DIFFERENCES:
        print(f"DIFFERENT ... and {len(differing) - SHOWN_DIFFERENCES} more figures", file=sys.stderr)

    show(outcome, skipped, seconds)
    if differing:
        print(f"error: the two passes disagree on {len(differing)} figures", file=sys.stderr)
        return DIFFERENT
    print("  every figure agrees with the serial pass")
    if options.html:
        publish(options, sources, skipped, outcome, seconds)
    return AGREED


def show(outcome: Outcome, skipped: Sequence[Skipped], seconds: float) -> None:
    """Print the closing table."""
    for line in report.lines_of_report(outcome.records, skipped, seconds, outcome.seconds):
        print(line)


def publish(
    options: argparse.Namespace,
    sources: Sequence[Source],
    skipped: Sequence[Skipped],
    outcome: Outcome,
    seconds: float,
) -> None:
    """Write the page."""
    text = page.render(
        options.folder,
        sources,
        outcome.records,
        skipped,
        outcome.spans,
        outcome.started,
        outcome.seconds,
        seconds,
    )
    page.write_page(options.html, text)
    print(f"  {options.html} shows what ran where")


def leave_without_the_stuck(error: Ended, code: int) -> None:
    """Last resort: name what would not end, and end without joining it."""
    print(
        f"error: abandoned, because it would not end: {', '.join(error.stuck)}", file=sys.stderr, flush=True
    )
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the census; return the exit code."""
    interruptions = Interruptions()
    interruptions.install()
    started = time.monotonic()
    try:
        options = arguments(argv)
        code = census(options, interruptions)
        sys.stdout.flush()
    except Interrupted as error:
        code = 128 + error.signum
        print(
            f"\ninterrupted by {error} after {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True
        )
        if error.stuck:
            leave_without_the_stuck(error, code)
    except Ended as error:
        code = FAILED
        if not isinstance(error.__cause__, BrokenPipeError):
            print(f"error: {error}", file=sys.stderr, flush=True)
        if error.stuck:
            leave_without_the_stuck(error, code)
        if isinstance(error.__cause__, BrokenPipeError):
            discard_output()
    except BrokenPipeError:
        code = FAILED
        discard_output()
    except OSError as error:
        code = FAILED
        print(f"error: {error}", file=sys.stderr)
    return code


def discard_output() -> None:
    """Whoever read our output has gone, and asked for no more: let the interpreter's last flush succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
