# SPDX-License-Identifier: MIT
"""One HTML page with a bar for every workload; it needs nothing but itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from .results import ABSENT, Row, summary
from .stats import Ratio
from .table import aim, interval, rate, ratio

#: The scale is logarithmic, in doublings: from half as fast to 1024 times as fast, wider ones are cut off at its ends.
LOWEST, HIGHEST = -2.0, 10.0
WIDTH, HEIGHT = 480, 22

LEGEND = (
    "A bar is the ratio to the standard module measured in the same run, on a logarithmic scale: right of the line is "
    "faster, and each grid line is a factor of two. The thin stroke is the 95 % interval, dashed are floor and goal, the "
    "square is the bound, which nothing written in Python can pass, dots are other libraries. Threads that take turns are "
    "timed on one core; 'all cores' is the ratio without that."
)
STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2126; --faint: #69737d; --line: #dde2e6; --goal: #1a7f37;
  --floor: #2f6fb0; --below: #c4314b; --plain: #7a8591; --bound: #b08000; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181c; --ink: #e4e8eb; --faint: #98a2ab; --line: #2c343b;
  --goal: #4ac26b; --floor: #6cb0f2; --below: #ff7b8b; --plain: #8a949e; --bound: #e0b341; } }
body { background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto;
  max-width: 78rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .3rem; }
p, dd, small { color: var(--faint); } dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dd { margin: 0; } div.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } th { font-weight: 600; text-align: left; color: var(--faint); }
td, th { padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
svg { display: block; width: 24rem; max-width: 42vw; }
svg text { fill: var(--faint); font-size: 13px; text-anchor: middle; }
td:last-child { min-width: 14rem; line-height: 1.25; }
.goal, .same { fill: var(--goal); color: var(--goal); } .floor, .below-goal { fill: var(--floor); color: var(--floor); }
.below-floor, .differs, .failed, .died, .hung { fill: var(--below); color: var(--below); } .none { fill: var(--plain); }
.absent { color: var(--faint); } .one { stroke: var(--ink); } .grid { stroke: var(--line); }
.spread { stroke: var(--ink); stroke-width: 1.5; } .mark { stroke: var(--ink); stroke-dasharray: 2 2; }
.bound { fill: none; stroke: var(--bound); stroke-width: 2; } .peer { fill: var(--ink); stroke: var(--paper); }
"""


def place(value: float) -> float:
    """Where on the scale a ratio is, in the units of a bar's drawing."""
    doublings = min(HIGHEST, max(LOWEST, math.log2(max(value, 1e-9))))
    return round((doublings - LOWEST) / (HIGHEST - LOWEST) * WIDTH, 1)


def render(rows: Sequence[Row], facts: Mapping[str, str], circumstances: str, same: str) -> str:
    """The page. It is well-formed XML, too, so that a program can check it."""
    what = f"two copies of {same}" if same else "plait and the standard modules"
    areas = list(dict.fromkeys(row.area for row in rows))
    said = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    sections = "".join(_section(area, [row for row in rows if row.area == area]) for area in areas)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>plait: speed, {escape(facts.get('python', ''))}</title><style>{STYLE}</style></head><body>"
        f"<h1>Speed: {escape(what)}</h1><dl>{said}</dl><p>{escape(circumstances)}</p>"
        f"<p>{LEGEND}</p>"
        f"{sections}<p>{escape(summary(rows))}</p></body></html>\n"
    )


def _section(area: str, rows: Sequence[Row]) -> str:
    heads = ("ratio", "95 %", "best", "all cores", "bound", "floor / goal", "standard", "verdict")
    head = f"<th>workload</th><th>{_scale()}</th>" + "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(_row(row) for row in rows)
    return (
        f"<h2>{escape(area)}</h2><div class='wide'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(row: Row) -> str:
    figures = [""] * 6
    if row.ratio:
        bound = row.ratios.get(row.bound)
        figures = [
            ratio(row.ratio.middle),
            interval(row.ratio),
            ratio(row.ratio.best),
            ratio(row.free.middle) if row.free else "",
            ratio(bound.middle) if bound else "",
        ]
        figures += [aim(row), f"{rate(row.per_second)}/s"]
    else:
        figures = [*[""] * 5, aim(row), ""]
    cells = "".join(f'<td class="n">{escape(text)}</td>' for text in figures)
    peers = ", ".join(f"{name} {ratio(peer.middle)}" for name, peer in row.peers.items())
    remarks = "; ".join([*row.remarks, *([peers] if peers else [])])
    return (
        f"<tr><td>{escape(row.name)}</td><td>{_bar(row)}</td>{cells}"
        f'<td><span class="{_kind(row)}">{escape(row.verdict)}</span> <small>{escape(remarks)}</small></td></tr>'
    )


def _kind(row: Row) -> str:
    return "none" if row.verdict == "-" else row.verdict.replace(" ", "-")


def _bar(row: Row) -> str:
    if row.ratio is None:
        return "" if row.status == ABSENT else "-"
    one, end = place(1.0), place(row.ratio.middle)
    lines = "".join(
        _line(place(2.0**power), "one" if power == 0 else "grid")
        for power in range(int(LOWEST), int(HIGHEST) + 1)
    )
    left, width = min(one, end), max(1.0, round(abs(end - one), 1))
    parts = [
        lines,
        f'<rect class="{_kind(row)}" x="{left}" y="6" width="{width}" height="10"/>',
        *(_line(place(aimed), "mark") for aimed in (row.floor, row.goal) if aimed is not None),
        f'<path class="spread" d="M{place(row.ratio.low)} 11H{place(row.ratio.high)}"/>',
    ]
    for name, other in row.ratios.items():
        if name == row.bound:
            square = f'x="{place(other.middle) - 4:.1f}" y="7" width="8" height="8"'
            parts.append(f'<rect class="bound" {square}>{_title(name, other)}</rect>')
        elif name != row.rival:
            parts.append(
                f'<circle class="peer" cx="{place(other.middle)}" cy="11" r="3.5">{_title(name, other)}</circle>'
            )
    label = f"{row.name}: {ratio(row.ratio.middle)}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _scale() -> str:
    """What the grid lines of the bars below stand for."""
    words = "".join(
        f'<text x="{place(2.0**power)}" y="15">{f"1/{2**-power}" if power < 0 else 2**power}</text>'
        for power in range(int(LOWEST) + 1, int(HIGHEST))
    )
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{words}</svg>'


def _title(name: str, other: Ratio) -> str:
    return f"<title>{escape(name)} {ratio(other.middle)}</title>"


def _line(x: float, kind: str) -> str:
    return f'<path class="{kind}" d="M{x} 1V{HEIGHT - 1}"/>'
