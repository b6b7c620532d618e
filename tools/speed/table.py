# SPDX-License-Identifier: MIT
"""The table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from .results import SAME, Row
from .stats import Ratio

COLOURS = {
    "goal": "green",
    "floor": "cyan",
    "below goal": "cyan",
    "below floor": "red",
    "same": "green",
    "unclear": "yellow",
    "differs": "red",
    "absent": "dim",
}


def ratio(value: float | None) -> str:
    """Three figures are more than a ratio deserves on a shared machine; two decimals only below ten."""
    if value is None:
        return ""
    return f"{value:.2f}" if value < 9.995 else f"{value:,.0f}" if value >= 99.5 else f"{value:.1f}"


def interval(value: Ratio) -> str:
    return f"{ratio(value.low)}-{ratio(value.high)}"


def rate(value: float) -> str:
    """Operations per second."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def aim(row: Row) -> str:
    """Floor and goal."""
    return " / ".join(ratio(each) if each is not None else "-" for each in (row.floor, row.goal)).replace(
        "- / -", ""
    )


def of_area(area: str, rows: Sequence[Row]) -> Table:
    """One table per area: it can be read while the next area is being measured."""
    same = rows[0].rival != "plait"
    peers = any(row.peers for row in rows)
    free = any(row.free for row in rows)
    table = Table(title=area, title_justify="left", title_style="bold", pad_edge=False, expand=False)
    table.add_column("workload", min_width=18)
    for name in ("standard, op/s", "ratio", "95 %", "best"):
        table.add_column(name, justify="right")
    if free:
        table.add_column("all cores", justify="right")
    if not same:
        table.add_column("bound", justify="right")
    if peers:
        table.add_column("best peer", justify="right")
    if not same:
        table.add_column("floor / goal", justify="right")
    table.add_column("verdict")
    for row in rows:
        table.add_row(*map(escape, _cells(row, same, peers, free)), style=COLOURS.get(row.verdict, ""))
    return table


def _cells(row: Row, same: bool, peers: bool, free: bool) -> list[str]:
    cells = [row.name]
    if row.ratio:
        cells += [
            rate(row.per_second),
            ratio(row.ratio.middle),
            interval(row.ratio),
            ratio(row.ratio.best),
        ]
    else:
        cells += [""] * 4
    if free:
        cells.append(ratio(row.free.middle) if row.free else "")
    bound = row.ratios.get(row.bound)
    if not same:
        cells.append(ratio(bound.middle) if bound else "")
    if peers:
        best = next(iter(row.peers.items()), None)
        cells.append(f"{best[0]} {ratio(best[1].middle)}" if best else "")
    if not same:
        cells.append(aim(row))
    return [*cells, "; ".join([row.verdict, *row.remarks])]


def explanation(same: str) -> str:
    """What the columns mean."""
    if same:
        return (
            f"Two copies of {same}: every ratio should be 1. 'same' is within {SAME:.0%} of it, 'differs' is not, 'unclear' "
            "may or may not be."
        )
    return (
        "ratio: how many times as fast as the standard module, the middle of pairs of neighbouring rounds; 95 %: where it "
        "lies 19 times out of 20; best: of the best rounds; all cores: hand-overs of threads are timed on one core, this is "
        "the ratio without that; bound: what nothing in Python can pass."
    )
