# SPDX-License-Identifier: MIT
"""Raises once at each place where the interpreter may run a signal handler.

That is: after a call, on entry of a function, on the way back to the top of a loop. For CPython from 3.11 on.
"""

from __future__ import annotations

import dis
import importlib
import os
import sys


class Interruption(BaseException):
    """What the handler raises."""


def _places(code):
    before = ""
    for step in dis.get_instructions(code):
        if before.startswith("CALL") or before in ("RESUME", "JUMP_BACKWARD"):
            yield step.offset
        before = step.opname


def sweep(package, act, before, after):
    """Run *act* once for each place in the files of *package*; how many there are.

    *before* is called before each run, and its result given to *act*, and to *after* with the name of the place.
    """
    folder, me, known = os.path.dirname(importlib.import_module(package).__file__), os.getpid(), {}
    # 3.12 and 3.13 tell of opcodes only if some frame wanted that before settrace().
    sys._getframe().f_trace_opcodes = True
    number = 0
    while True:
        count, where = 0, None

        def trace(frame, event, _, number=number):
            nonlocal count, where
            code = frame.f_code
            if os.getpid() != me:
                return None  # a forked child, where signals are held back
            if not code.co_filename.startswith(folder) or code.co_name == "__del__":
                return None
            frame.f_trace = trace  # before it is told of opcodes, or 3.13 forgets about them now and then
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            if code not in known:
                known[code] = set(_places(code))
            if event == "opcode" and frame.f_lasti in known[code]:
                count += 1
                if count == number + 1:
                    where = f"{os.path.basename(code.co_filename)}:{frame.f_lineno}"
                    raise Interruption
            return trace

        given = before()
        sys.settrace(trace)
        try:
            act(given)
        except Interruption:
            pass
        finally:
            sys.settrace(None)
        if where is not None:
            after(given, where)
            number += 1
        else:
            after(given, "nowhere")
            return number
