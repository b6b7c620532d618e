# SPDX-License-Identifier: MIT
"""How fast plait is beside the standard modules: runs the workloads of every package's benchmarks/.

python tools/bench.py [AREA ...] [-k PART] [--same] [--peers] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speed import contestants, stats, watch, workloads

ROOT = Path(__file__).resolve().parent.parent


def options_of(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("areas", nargs="*", metavar="AREA", help=", ".join(workloads.AREAS))
    parser.add_argument("-k", dest="part", default="", help="only workloads whose name contains this")
    parser.add_argument("--same", nargs="?", const="standard", default="", choices=("standard", "plait"))
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--time", type=float, default=3.0, metavar="SECONDS")
    parser.add_argument("--no-pin", dest="pin", action="store_false")
    options = parser.parse_intermixed_args(argv)
    if unknown := set(options.areas) - set(workloads.AREAS):
        parser.error(f"no area {', '.join(sorted(unknown))}; there are {', '.join(workloads.AREAS)}")
    return options


def measure(
    file: workloads.WorkloadFile, workload: workloads.Workload, options: argparse.Namespace, path: list[Path]
) -> dict[str, Any]:
    orders = {
        "file": str(file.path),
        "name": workload.name,
        "same": options.same,
        "peers": options.peers,
        "seconds": options.time,
        "rounds": options.rounds,
        "pin": options.pin,
        "deadline": workload.deadline or 20 + 4 * options.time,
    }
    left_out: dict[str, str] = {}
    needed = {"", contestants.STANDARD, contestants.PLAIT, contestants.SECOND}
    while True:
        answer = watch.run({**orders, "left_out": left_out}, path)
        if answer["status"] in ("measured", "absent") or answer["turn"] in needed:
            return answer
        left_out[answer["turn"]] = f"{answer['status']}: {answer['reason']}"


def main(argv: Sequence[str] | None = None) -> int:
    options = options_of(argv)
    found = []
    with tempfile.TemporaryDirectory(prefix="bench-copy-") as folder:
        path = []
        if options.same == contestants.PLAIT:
            contestants.copy_plait(Path(folder))
            path = [Path(folder)]
        for place in workloads.find(ROOT):
            try:
                file = workloads.load(place)
            except workloads.WorkloadError as error:
                print(error)
                continue
            if options.areas and file.area not in options.areas:
                continue
            for workload in file.workloads:
                if options.part not in workload.name:
                    continue
                answer = measure(file, workload, options, path)
                answer.update(area=file.area, name=workload.name)
                found.append(answer)
                if answer["status"] == "measured":
                    (_, base), *others = answer["seconds"].items()
                    text = "   ".join(
                        f"{label} {r.middle:.2f} [{r.low:.2f} {r.high:.2f}] best {r.best:.2f}"
                        for label, times in others
                        for r in [stats.ratio(base, times)]
                    )
                    print(
                        f"{file.area:10} {workload.name:30} n={len(base):3} {text} {answer['refused'] or ''}",
                        flush=True,
                    )
                else:
                    print(
                        f"{file.area:10} {workload.name:30} {answer['status']}: {answer['reason']}",
                        flush=True,
                    )
    if options.json:
        Path(options.json).write_text(json.dumps(found))
    return int(any(a["status"] not in ("measured", "absent") for a in found))


if __name__ == "__main__":
    sys.exit(main())
