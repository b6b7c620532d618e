# SPDX-License-Identifier: MIT
"""The census as one HTML page: no script, no font, no picture from anywhere else; light and dark.

The timeline has a row for every worker. A row's bars are what it worked on; bars less than a pixel apart are drawn as
one, so the page stays small however many files there were. The share at the right is exact: it is summed before.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from .measure import Record, Skipped, Source
from .report import interpreter, largest, not_measured, total
from .stages import Span

__all__ = ["render", "write_page"]

#: stage: heading of its workers, what one piece of its work is called
STAGES = {
    "parse": ("process", "files parsed"),
    "hash": ("thread", "files hashed"),
    "gzip": ("thread", "gzip children"),
    "store": ("writer", "transactions"),
}
ROW, BAR, LEFT, WIDTH, RIGHT = 30, 18, 132, 780, 168

STYLE = """
:root { color-scheme: light dark; --page: #f7f7f5; --card: #ffffff; --ink: #1d1f23; --soft: #5d636e; --line: #dfe1e5;
  --parse: #2f6fd0; --hash: #16897a; --gzip: #c26a12; --store: #8250c4; }
@media (prefers-color-scheme: dark) { :root { --page: #15171a; --card: #1e2125; --ink: #e8eaed; --soft: #a0a7b2;
  --line: #343941; --parse: #6ea3f5; --hash: #45c2ae; --gzip: #eda14f; --store: #b690ee; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 12px; }
p { margin: 0 0 12px; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin-top: 18px; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 18px; margin: 0; }
dt { color: var(--soft); font-size: 13px; }
dd { margin: 0; font-size: 23px; font-weight: 600; font-variant-numeric: tabular-nums; }
dd small { display: block; font-size: 13px; font-weight: 400; color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; font-size: 13px; color: var(--soft); }
th, td { padding: 6px 10px 6px 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
tr:last-child td { border-bottom: 0; }
.number { text-align: right; white-space: nowrap; }
td:first-child { overflow-wrap: anywhere; }
td.bar { width: 28%; min-width: 130px; padding-right: 0; }
svg { display: block; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg text.name { fill: var(--ink); }
.grid { stroke: var(--line); }
.parse { fill: var(--parse); } .hash { fill: var(--hash); } .gzip { fill: var(--gzip); } .store { fill: var(--store); }
.track { fill: var(--line); }
.key { display: flex; flex-wrap: wrap; gap: 6px 20px; margin: 0 0 12px; padding: 0; list-style: none; font-size: 13px;
  color: var(--soft); }
.key svg { display: inline-block; vertical-align: -1px; margin-right: 6px; }
footer { margin-top: 18px; font-size: 13px; color: var(--soft); }
"""


class Row(NamedTuple):
    """One worker and what it did."""

    stage: str
    worker: int
    spans: list[Span]


def _rows(spans: Sequence[Span]) -> list[Row]:
    rows: dict[tuple[str, int], list[Span]] = {}
    for span in spans:
        rows.setdefault((span.stage, span.worker), []).append(span)
    order = list(STAGES)
    keys = sorted(rows, key=lambda key: (order.index(key[0]), rows[key][0].started))
    return [Row(*key, sorted(rows[key], key=lambda span: span.started)) for key in keys]


def _bars(row: Row, started: int, scale: float, sources: Sequence[Source], y: int) -> Iterator[str]:
    """The rectangles of one row; *scale* is pixels a nanosecond."""
    group: list[Span] = []
    for span in [*row.spans, None]:
        if group and (span is None or (span.started - group[-1].ended) * scale >= 0.8):
            x = LEFT + (group[0].started - started) * scale
            width = max((group[-1].ended - group[0].started) * scale, 0.6)
            longest = max(group, key=lambda each: each.ended - each.started)
            label = f"{(group[0].started - started) / 1e9:.3f} to {(group[-1].ended - started) / 1e9:.3f} s: "
            if longest.number < 0:
                label += f"{len(group)} {STAGES[row.stage][1]}"
            else:
                name = sources[longest.number].shown
                label += name if len(group) == 1 else f"{len(group)} {STAGES[row.stage][1]}, longest {name}"
            if len(group) == 1 and group[0].child:
                label += f" (gzip pid {group[0].child})"
            yield (
                f'<rect class="{row.stage}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}">'
                f"<title>{escape(label)}</title></rect>"
            )
            group = []
        if span is not None:
            group.append(span)


def _tick(seconds: float) -> float:
    """A round distance between marks that gives about six of them."""
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500):
        if seconds / step <= 8:
            return step
    return seconds


def _timeline(
    spans: Sequence[Span], sources: Sequence[Source], started: int, seconds: float
) -> Iterator[str]:
    rows = _rows(spans)
    scale = WIDTH / (seconds * 1e9)
    height = ROW * len(rows) + 26
    yield (
        f'<svg role="img" aria-label="Timeline: what each worker did, second by second" '
        f'width="{LEFT + WIDTH + RIGHT}" height="{height}" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}">'
    )
    step = _tick(seconds)
    for index in range(int(seconds / step) + 1):
        x = LEFT + index * step * 1e9 * scale
        yield f'<line class="grid" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height - 22}"/>'
        yield f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{index * step:g} s</text>'
    for number, row in enumerate(rows):
        y = number * ROW + (ROW - BAR) // 2
        kind, work = STAGES[row.stage]
        busy = sum(span.ended - span.started for span in row.spans) / (seconds * 1e9)
        yield f'<text class="name" x="0" y="{y + 13}">{row.stage} {kind} {row.worker}</text>'.replace(
            "store writer", "writer thread"
        )
        yield from _bars(row, started, scale, sources, y)
        yield f'<text x="{LEFT + WIDTH + 12}" y="{y + 13}">{busy:.0%}, {len(row.spans):,} {work}</text>'
    yield "</svg>"


def _cards(records: Sequence[Record]) -> Iterator[str]:
    totals = total(records)
    share = f"{totals.compressed / totals.size:.1%} of the bytes" if totals.size else ""
    for name, value, note in (
        ("files", totals.files, ""),
        ("lines", totals.lines, ""),
        (
            "definitions",
            totals.functions + totals.classes,
            f"{totals.functions:,} functions, {totals.classes:,} classes",
        ),
        ("syntax nodes", totals.nodes, ""),
        ("bytes", totals.size, ""),
        ("compressed bytes", totals.compressed, share),
    ):
        yield f"<div><dt>{name}</dt><dd>{value:,}<small>{note}</small></dd></div>"


def _comparison(serial: float, concurrent: float) -> Iterator[str]:
    longest = max(serial, concurrent)
    for name, seconds, color in (("concurrent", concurrent, "parse"), ("serial", serial, "track")):
        yield (
            f"<tr><td>{name}</td><td class='number'>{seconds:.2f} s</td><td style='width: 75%'>"
            f"<svg width='100%' height='16' aria-hidden='true'>"
            f"<rect class='{color}' width='{100 * seconds / longest:.1f}%' height='16' rx='3'/></svg></td></tr>"
        )


def _largest(records: Sequence[Record]) -> Iterator[str]:
    top = largest(records)
    longest = max([1, *(record.size for record in top)])
    for record in top:
        yield (
            f"<tr><td>{escape(record.shown)}</td><td class='number'>{record.size:,}</td>"
            f"<td class='number'>{record.compressed:,}</td><td class='number'>{record.lines:,}</td>"
            f"<td class='number'>{record.functions + record.classes:,}</td><td class='bar'>"
            f"<svg width='100%' height='12' aria-hidden='true'>"
            f"<rect class='track' width='{100 * record.size / longest:.1f}%' height='12' rx='3'/>"
            f"<rect class='gzip' width='{100 * record.compressed / longest:.1f}%' height='12' rx='3'/></svg></td></tr>"
        )


def render(
    folder: str,
    sources: Sequence[Source],
    records: Sequence[Record],
    skipped: Sequence[Skipped],
    spans: Sequence[Span],
    started: int,
    seconds: float,
    serial: float,
) -> str:
    """The whole page. It is well-formed XML too, so that a test can read it strictly."""
    problems = not_measured(records, skipped)
    title = escape(f"Source census of {folder}")
    colors = "".join(
        f'<li><svg width="12" height="12" aria-hidden="true">'
        f'<rect class="{stage}" width="12" height="12" rx="3"/></svg>{text}</li>'
        for stage, text in (
            ("parse", "parsing, in processes"),
            ("hash", "reading and hashing, in threads"),
            ("gzip", "compressing, one gzip child a file, waited for by threads"),
            ("store", "storing, in one thread"),
        )
    )
    rows = "".join(
        f"<tr><td>{escape(each.shown)}</td><td>{escape(each.problem)}</td></tr>" for each in problems
    )
    refused = (
        f"<section><h2>Without all figures: {len(problems)}</h2><div class='wide'><table><thead><tr><th>file</th>"
        f"<th>reason</th></tr></thead><tbody>{rows}</tbody></table></div></section>"
        if problems
        else ""
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{title}</title><style>{STYLE}</style></head><body><main>
<h1>{title}</h1>
<p>Measured on all seven plait packages at once, then again plainly, one file after another: every figure agreed.</p>
<section><dl>{"".join(_cards(records))}</dl></section>
<section><h2>{serial / seconds:.2f} times as fast as serially</h2>
<table><tbody>{"".join(_comparison(serial, seconds))}</tbody></table></section>
<section><h2>What ran where</h2><ul class="key">{colors}</ul>
<div class="wide">{"".join(_timeline(spans, sources, started, seconds))}</div></section>
<section><h2>The ten largest</h2><div class="wide"><table><thead><tr><th>file</th><th class="number">bytes</th>
<th class="number">compressed</th><th class="number">lines</th><th class="number">definitions</th>
<th>bytes, and compressed bytes</th></tr></thead><tbody>{"".join(_largest(records))}</tbody></table></div></section>
{refused}
<footer>{escape(interpreter())}, {os.cpu_count()} processors. Process and thread numbers are the system's own.</footer>
</main></body></html>
"""


def write_page(path: str, text: str) -> None:
    """Write *text* to *path*, completely or not at all: under another name in the same folder, then renamed."""
    folder = os.path.dirname(os.path.abspath(path))
    descriptor, unfinished = tempfile.mkstemp(prefix=".census-", suffix=".html", dir=folder)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        mask = os.umask(0)  # mkstemp made it for our eyes only; a report is an ordinary file
        os.umask(mask)
        os.chmod(unfinished, 0o666 & ~mask)
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
