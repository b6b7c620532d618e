# SPDX-License-Identifier: MIT
"""The rewriting of test imports that the `vendored` session does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

pytest.importorskip("uv")

import vendored


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from plait.queue import Queue", "from app._vendor.plait.queue import Queue"),
        ("from plait import queue as q", "from app._vendor.plait import queue as q"),
        ("import plait.queue as q, os", "import app._vendor.plait.queue as q, os"),
        (
            "import plait.queue\nplait.queue.Queue()",
            "import app._vendor.plait.queue\napp._vendor.plait.queue.Queue()",
        ),
        ("from plait.queue import (\n    Queue,\n)", "from app._vendor.plait.queue import (\n    Queue,\n)"),
        (
            "def f():\n    from plait._thread import lock",
            "def f():\n    from app._vendor.plait._thread import lock",
        ),
        ("m = import_module('plait.queue')", "m = import_module('app._vendor.plait.queue')"),
        ("x = 'é'; from plait.queue import Queue", "x = 'é'; from app._vendor.plait.queue import Queue"),
    ],
)
def test_an_import_of_ours_is_rewritten(before: str, after: str) -> None:
    assert vendored.rewrite(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "import plaiting",
        "from .plait import x",
        "x = 'plait.queue'",
        "# from plait.queue import Queue",
        "plait = 1",
    ],
)
def test_anything_else_is_left_alone(text: str) -> None:
    assert vendored.rewrite(text) == text


def test_examples_of_a_readme_are_rewritten() -> None:
    assert vendored.rewrite_examples(">>> from plait.queue import Queue\nplait") == (
        ">>> from app._vendor.plait.queue import Queue\nplait"
    )
