# SPDX-License-Identifier: MIT
"""Run the scenarios of tests-integration/faults against plait or the standard modules (first, minimal version)."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

INTEGRATION = Path(__file__).resolve().parent.parent / "tests-integration"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--impl", default="plait", choices=("plait", "stdlib"))
    options = parser.parse_args()
    path = os.pathsep.join(filter(None, [str(INTEGRATION), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1"}
    with tempfile.TemporaryDirectory() as folder:
        text = subprocess.run(
            [sys.executable, "-m", "faults", "list", "faults"],
            env=env,
            cwd=folder,
            capture_output=True,
            check=True,
        ).stdout
    for row in json.loads(text):
        if options.names and not {row["row"], row["name"]} & set(options.names):
            continue
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            for name in ("tmp", "cwd"):
                Path(folder, name).mkdir()
            result = Path(folder, "result")
            argv = [
                sys.executable,
                "-m",
                "faults",
                "run",
                row["module"],
                row["name"],
                options.impl,
                str(result),
            ]
            child = subprocess.Popen(
                argv, env={**env, "TMPDIR": f"{folder}/tmp"}, cwd=f"{folder}/cwd", start_new_session=True
            )
            try:
                child.wait(row["deadline"])
                answer = (
                    json.loads(result.read_text())
                    if result.exists()
                    else {"outcome": "error", "note": "died"}
                )
            except subprocess.TimeoutExpired:
                answer = {"outcome": "hang", "note": ""}
                child.send_signal(signal.SIGABRT)
            try:
                os.killpg(child.pid, signal.SIGKILL if answer["outcome"] != "hang" else signal.SIGABRT)
            except ProcessLookupError:
                pass
            child.wait()
            print(
                row["row"], row["name"], answer["outcome"], answer.get("note"), answer.get("left"), flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
