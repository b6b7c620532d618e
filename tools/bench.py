# SPDX-License-Identifier: MIT
# How noise is kept out
#
# What was seen. On a shared virtual machine a loop of pure Python takes 1.7 microseconds per turn now and 3.5 a tenth of
# a second later, because somebody else uses the other half of the same physical core; the process's CPU time doubles with
# it. Programs that want the same cores stretch single rounds by ten. Two threads that take turns vary by ten where they
# are on different cores (a turn waits for a core to wake up, or does not), by a quarter where they are on one.
#
# What follows from it.
#   - Each workload has a process of its own: what one leaves in memory is not the next one's luck. String hashes are the
#     same in all of them. Each contestant has a copy of the workload's code, because the interpreter writes into code
#     what types it met there.
#   - The standard module, plait and whoever else takes part run in turn, A B B A A B B A ..., in many short rounds: 5 ms,
#     so that the machine is the same for neighbours; forwards and backwards, so that a drift, and what one does to the
#     caches of the next, cancel. Everyone has the number of operations that fill a round; finding it out is the warm-up.
#   - The garbage collector runs between rounds, never in one. Set-up and tear-down are not timed.
#   - The ratio of two is taken within each block A B B A, and the median of these ratios is reported. That is the ratio
#     of medians after the machine's momentary speed has been taken out of both; the plain ratio of medians stands beside
#     it in the JSON. One disturbed block in three changes nothing.
#   - Other programs are kept out by the clock. A single thread's time on the wall is work, sleep, or standing in the queue
#     for a core, and Linux tells how long it stood there. If work and queue are all of it, no one slept, and CPU time is
#     what the round would have taken alone: it is used. If not (a child or a lock is waited for), the wall's time is; less
#     the queue if the workload says that there is but one thread, which sleeps at times.
#   - Threads that take turns (`hand_over`) run on one core, in rounds of 20 ms, which hold several of the 5 ms that a
#     thread may keep the GIL. There one of them is always running, so CPU time is theirs, too; but their queues overlap,
#     so it is used only if some round of each had the core for itself, or if it agrees with the wall's. Afterwards come
#     some rounds on all cores: the ratio is the first, `all cores` the second. The first can be repeated; the second is
#     nearer to a program's life and differs from run to run by half.
#   - The 95 % interval is that of a median by counting (whether a value is below the true median is the toss of a coin),
#     so it assumes nothing about the noise. Rounds go on until it is plus or minus 1.5 %, or the time is up; if it is
#     wider than 6 % then, for up to three times as long. Wider than 10 %, or of fewer than 6 blocks, is called noisy:
#     such a ratio says no more than its ends do.
#   - `best` compares the fastest rounds, as a cross-check: it should not be far from the ratio.
#
# What is left. The proof is `--same`, which runs an implementation against a second copy of itself: every ratio should
# be within 10 % of 1; where the interval is too wide to tell, the verdict is `unclear`. Workloads that wait for other
# processes must be timed on the wall: on a busy machine they are noisy, and say so. Figures of different runs must not be
# compared, ratios may. The load average before and after, and how many of the cores others had meanwhile, are shown.
"""How fast plait is beside the standard modules of the same interpreter: runs every package's benchmarks/bench_*.py.

    python3 tools/run.py bench                                everything, on 3.11 and on 3.13
    python3 tools/run.py bench -p 3.13 -- queue sched         two areas
    python3 tools/run.py bench -p 3.13 -- queue -k ping --peers the ping-pongs of queues, beside other libraries
    python3 tools/run.py bench -p 3.13 -- --same              the standard modules beside second copies of themselves

The verdict is where the ratio to the standard module stands: at the goal that the workload's file sets, at its floor,
or below; `noisy` when its interval is too wide to settle that. How to write a workload: packages/*/benchmarks/README.md;
how noise is kept out: the top of tools/bench.py.

What the table shows: `ratio`, how many times as fast as the standard module, with the interval in which it lies 19 times
out of 20 (`95 %`); `best`, the same of the fastest rounds; `all cores`, without the one core that hand-overs of threads are
timed on; `bound`, the ratio of what nothing written in Python can pass; a verdict `-` where neither floor nor goal is set,
and a note behind it (`re-export`: it is the interpreter's own object).

Ends with 0 when every workload was measured or is absent from plait, whatever the figures; with 1 when one died or
hung, when a workload file is wrong, or for a wrong call. A page with bars is written to build/bench/.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sitter
from rich.console import Console
from speed import contestants, machine, page, results, table, watch, workloads

ROOT = Path(__file__).resolve().parent.parent
DONE, BROKEN = 0, 1

#: Seconds to measure one workload for; up to three times as many if the answer is still blurred.
SECONDS = 2.0

#: How much is shown of what a workload wrote that failed: the end of its traceback, or of its stacks.
LAST_LINES = 40

#: Whoever has to be there. If it dies or hangs the workload is lost; a bound or a peer is left out instead.
NEEDED = {"", contestants.STANDARD, contestants.PLAIT, contestants.SECOND}


class Job(NamedTuple):
    """A workload to run; without one, a file that could not be used, and why."""

    path: Path
    area: str
    workload: workloads.Workload | None
    reason: str = ""


def positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return number


def rounds(text: str) -> int:
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError("there must be two rounds at least: A B B A")
    return number


def options_of(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; argparse exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python3 tools/run.py bench --",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("areas", nargs="*", metavar="AREA", help=f"of {', '.join(workloads.AREAS)} (all)")
    add("-k", dest="part", metavar="PART", default="", help="only workloads whose name contains this")
    add("--list", action="store_true", help="say what there is, and run nothing")
    # Two options and not one with a value, which would take the first area for it.
    add("--same", action="store_const", const=contestants.STANDARD, default="",
        help="the standard modules beside second copies of themselves")  # fmt: skip
    add("--same-plait", dest="same", action="store_const", const=contestants.PLAIT,
        help="plait beside a second copy of itself")  # fmt: skip
    add("--peers", action="store_true", help="other libraries, too, as far as they are installed")
    add("--quick", action="store_true", help="half the time")
    add("--time", type=positive, default=SECONDS, metavar="SECONDS", help=f"for each workload ({SECONDS})")
    add("--rounds", type=rounds, metavar="N", help="of each contestant, whatever the time")
    add("--deadline", type=positive, metavar="SECONDS", help="after which a workload counts as hung")
    add("--json", metavar="FILE", help="write all figures, too")
    add("--html", metavar="FILE", help="where the page goes (build/bench/PYTHON.html)")
    add("--from", dest="folder", metavar="FOLDER", help="take the workload files of that folder instead")
    options = parser.parse_intermixed_args(argv)
    if unknown := [area for area in options.areas if area not in workloads.AREAS]:
        parser.error(f"no area is named {', '.join(unknown)}; there are {', '.join(workloads.AREAS)}")
    if options.folder and not Path(options.folder).is_dir():
        parser.error(f"{options.folder} is not a folder")
    for name in ("json", "html"):
        file = getattr(options, name)
        if file and not Path(file).absolute().parent.is_dir():
            parser.error(f"{file}: its folder does not exist")
    options.jobs = [
        job
        for job in jobs(Path(options.folder) if options.folder else None)
        if (not options.areas or job.area in options.areas)
        and (job.workload is None or options.part.lower() in job.workload.name.lower())
    ]
    if not options.jobs:
        parser.error("no workload is like that; --list shows what there is")
    if options.quick:
        options.time /= 2
    return options


def jobs(folder: Path | None) -> list[Job]:
    """Everything that could be run, in the order of areas."""
    found: list[Job] = []
    for path in sorted(folder.glob("bench_*.py")) if folder else workloads.find(ROOT):
        try:
            file, _ = workloads.load(path)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one file, the others are run
            # Its area cannot be asked: let it show up in the one that its package is named for.
            area = path.parent.parent.name.removeprefix("plait-")
            found.append(Job(path, area, None, f"{type(error).__name__}: {error}"))
        else:
            found += [Job(path, file.area, workload) for workload in file.workloads]
    order = {area: index for index, area in enumerate(workloads.AREAS)}
    return sorted(found, key=lambda job: order.get(job.area, len(order)))


def run(job: Job, options: argparse.Namespace, path: list[Path]) -> results.Row:
    """Measure one workload, again without those bounds and peers that keep it from ending well."""
    if job.workload is None:
        return results.Row(job.area, job.path.name, "failed", job.reason)
    left_out: dict[str, str] = {}
    while True:
        orders = {
            "file": str(job.path),
            "name": job.workload.name,
            "same": options.same,
            "peers": options.peers,
            "seconds": options.time,
            "rounds": options.rounds,
            "deadline": options.deadline or job.workload.deadline or 30 + 15 * options.time,
            "left_out": left_out,
        }
        answer: dict[str, Any] = watch.run(orders, path)
        if answer["status"] in (results.MEASURED, results.ABSENT) or answer["turn"] in NEEDED:
            return results.row(job.area, job.workload, answer, bool(options.same))
        left_out[answer["turn"]] = f"{answer['status']}, {answer['reason']}"


def measure(options: argparse.Namespace, console: Console, folder: Path) -> Iterator[results.Row]:
    """Run all jobs; each area's table is printed when the area is done. *folder* is for a second copy."""
    path = []
    if options.same == contestants.PLAIT:
        contestants.copy_plait(folder)
        path = [folder]
    done: list[results.Row] = []
    for index, job in enumerate(options.jobs):
        name = job.workload.name if job.workload else job.path.name
        with console.status(f"{index + 1} of {len(options.jobs)}: {job.area}, {name}"):
            done.append(run(job, options, path))
        yield done[-1]
        if index + 1 == len(options.jobs) or options.jobs[index + 1].area != job.area:
            console.print(table.of_area(job.area, done))
            console.print()
            done = []


def circumstances(
    rows: Sequence[results.Row], before: float, after: float, seconds: float
) -> tuple[str, bool]:
    """How it was on the machine meanwhile; and whether that was too busy to settle anything close."""
    known = [row.others for row in rows if row.others is not None]
    busy = bool(known) and sum(known) / len(known) > machine.BUSY
    others = (
        f"; others used {sum(known) / len(known):.1f} of {machine.cores()} cores meanwhile" if known else ""
    )
    warning = ": a busy machine, do not settle a close call on it" if busy else ""
    return f"{seconds:.0f} s; load average {before:.1f} before, {after:.1f} after{others}{warning}", busy


def show_list(options: argparse.Namespace, console: Console) -> None:
    for job in options.jobs:
        if job.workload:
            row = results.Row(
                job.area, job.workload.name, "", floor=job.workload.floor, goal=job.workload.goal
            )
            console.print(
                f"{job.area:16}{job.workload.name:44}{table.aim(row)}", highlight=False, markup=False
            )
        else:
            console.print(f"{job.area:16}{job.path.name}: {job.reason}", highlight=False, markup=False)


def stop(_number: int, _frame: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return the exit code."""
    options = options_of(argv)
    # Not on a terminal there is nothing to fit the tables to: wide enough for the longest remark that matters.
    console = Console() if sys.stdout.isatty() else Console(width=150)
    if options.list:
        show_list(options, console)
        return DONE if all(job.workload for job in options.jobs) else BROKEN
    signal.signal(signal.SIGTERM, stop)  # so that what runs is ended with us
    facts, before, started = machine.facts(), machine.load(), time.monotonic()
    console.print(f"{'; '.join(facts.values())}; load average {before:.1f}\n", highlight=False)
    # Workloads have sessions of their own: if we are killed, somebody has to end them, and to tidy up.
    with (
        tempfile.TemporaryDirectory(prefix="bench-copy-") as folder,
        sitter.sitter(f"{watch.MARKER}={watch.RUN}", folder),
    ):
        rows = list(measure(options, console, Path(folder)))
    how, busy = circumstances(rows, before, machine.load(), time.monotonic() - started)

    default = ROOT / "build" / "bench" / f"{machine.python()}{'-same' if options.same else ''}.html"
    if not options.html:
        default.parent.mkdir(parents=True, exist_ok=True)
    target = Path(options.html) if options.html else default
    target.write_text(page.render(rows, facts, how, options.same), encoding="utf-8")
    if options.json:
        whole = {**facts, "same": options.same, "circumstances": how, "rows": [row.as_json() for row in rows]}
        Path(options.json).write_text(json.dumps(whole, indent=1), encoding="utf-8")

    console.print(table.explanation(options.same), style="dim", highlight=False)
    console.print(how, style="yellow" if busy else "", highlight=False)
    console.print(f"page: {target}", highlight=False, soft_wrap=True)
    broken = results.failed(rows)
    for row in broken:
        for line in row.said.rstrip().splitlines()[-LAST_LINES:]:
            console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"{row.status}: {row.area}, {row.name}: {row.reason}", markup=False, highlight=False)
    console.print(results.summary(rows), style="bold", highlight=False)
    return BROKEN if broken else DONE


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted; all that ran was ended", file=sys.stderr)
        sys.exit(130)
