# SPDX-License-Identifier: MIT
"""`python -m faults list` and `python -m faults run MODULE NAME IMPL RESULT`: one scenario, in this very process.

tools/faults.py calls this; it alone judges what the process leaves behind after its end.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from .scenario import Absent, Impl, Scenario, Wrong, _stat, descendants, descriptors


def modules(package: str) -> list[Any]:
    """Every module of *package* that may hold scenarios."""
    found = importlib.import_module(package)
    names = sorted(info.name for info in pkgutil.iter_modules(found.__path__))
    return [
        importlib.import_module(f"{package}.{name}") for name in names if name not in ("scenario", "__main__")
    ]


def scenarios(module: Any) -> list[Scenario]:
    """Those declared in the module, not those it imported."""
    return [
        value.scenario
        for value in vars(module).values()
        if hasattr(value, "scenario") and value.__module__ == module.__name__
    ]


def listing(package: str) -> list[dict[str, Any]]:
    return [
        {
            "module": module.__name__,
            "name": declared.name,
            "row": declared.row,
            "title": declared.title,
            "deadline": declared.deadline,
            "reproduced": declared.reproduced,
            "claimed": declared.claimed(),
            "needs": declared.needs,
            "alone": declared.alone,
            "hopeless": declared.is_hopeless(),
        }
        for module in modules(package)
        for declared in scenarios(module)
    ]


def judge(declared: Scenario, impl: Impl) -> tuple[str, str]:
    """Outcome and note of the scenario's function."""
    missing = [wanted for wanted in declared.needs if not impl.has(wanted)]
    if missing and impl.name == "plait":
        return "absent", f"has no {', '.join(missing)}"
    try:
        declared.function(impl)
    except Wrong as error:
        traceback.print_exc()
        return "wrong", str(error)
    except Absent as error:
        return "absent", str(error)
    except BaseException as error:  # whatever it is, it is the scenario's outcome
        traceback.print_exc()
        # Its message has to speak of what is missing: it may be another defect that comes first.
        words = re.findall(r"\w+", str(error))
        named = any(re.findall(r"\w+", wanted)[-1] in words for wanted in missing)
        if named and isinstance(error, (AttributeError, TypeError)):
            return "wrong", f"has no {', '.join(missing)}"
        return "error", "".join(traceback.format_exception_only(type(error), error)).strip()
    return "ok", ""


def still_open(before: dict[int, str]) -> list[str]:
    """What is open that was not, if that makes it more than before: one that replaces another is no loss."""
    after = descriptors()
    if len(after) <= len(before):
        return []
    return [f"descriptor {fd} ({what})" for fd, what in sorted(after.items()) if before.get(fd) != what]


def zombies() -> list[str]:
    return [f"zombie {pid}" for pid in descendants(zombies=True) if (found := _stat(pid)) and found[0] == "Z"]


def run(module: str, name: str, impl: Impl, result: Path) -> None:
    declared = next(d for d in scenarios(importlib.import_module(module)) if d.name == name)
    if declared.warm and all(impl.has(wanted) for wanted in declared.needs):
        declared.warm(impl)
    before = descriptors()
    begun = time.monotonic()
    outcome, note = judge(declared, impl)
    took = time.monotonic() - begun
    left = [] if outcome == "absent" else [*still_open(before), *zombies()]
    answer = {"outcome": outcome, "note": note, "seconds": took, "left": left}
    fresh = result.with_suffix(".part")
    fresh.write_text(json.dumps(answer), encoding="utf-8")
    os.replace(fresh, result)


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "list":
        print(json.dumps(listing(*rest)))
    else:
        module, name, impl, result = rest
        run(module, name, Impl(impl), Path(result))


if __name__ == "__main__":
    main()
