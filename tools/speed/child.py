# SPDX-License-Identifier: MIT
"""What runs in the process of one workload: reads its orders, measures, and writes down what it found.

The orders are a JSON object in the file that argv names; the answer goes to the file that they name. The name of the
contestant whose turn it is is always in a third, so that whoever finds us dead or stuck knows at what.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from . import machine, rounds
from .contestants import AbsentError, take_part
from .workloads import load

#: faulthandler dumps the stacks this many seconds before the deadline.
LAST_WORDS = 1.0

#: Labels are padded to this, so that each writes over the whole of the one before.
LABEL = 60


def work(orders: dict[str, Any]) -> dict[str, Any]:
    """Do what is ordered; the answer."""
    file, _ = load(Path(orders["file"]))
    workload = file.named(orders["name"])
    try:
        contestants, refused = take_part(file, workload, orders["same"], orders["peers"], orders["left_out"])
    except AbsentError as error:
        return {"status": "absent", "reason": str(error)}
    turn = os.open(orders["turn"], os.O_WRONLY | os.O_CREAT, 0o600)
    meter = machine.Meter()
    taken, free = rounds.measure(
        contestants,
        workload,
        orders["seconds"],
        orders["rounds"],
        lambda label: os.pwrite(turn, label.ljust(LABEL).encode(), 0),
    )
    return {
        "status": "measured",
        "reason": "",
        "rounds": taken,
        "free": free,
        "refused": refused,
        "others": meter.read(),
    }


def main() -> None:
    """The whole life of the process."""
    orders = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    faulthandler.dump_traceback_later(max(1.0, orders["deadline"] - LAST_WORDS), file=sys.stderr)
    try:
        answer = work(orders)
    except Exception as error:  # noqa: BLE001 - it is reported
        traceback.print_exc()
        answer = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    Path(orders["answer"]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
