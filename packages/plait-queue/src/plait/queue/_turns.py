# SPDX-License-Identifier: MIT
#
# Giving others a turn before going to sleep.
#
# Two-phase waiting (J. K. Ousterhout, Scheduling Techniques for Concurrent Systems, 1982): who has to wait does not go to
# sleep at once, for what it waits for often comes at once. But where there is a global lock, or only one processor, it
# cannot come before others run. So the first phase is no spinning, but one step aside; and the second begins behind it.
#
# What that saves is switches of threads. Whoever wakes a sleeper holds the interpreter's global lock. The sleeper is
# given the processor (for it has slept long), finds the lock taken, and sleeps again; the other goes on until it has to
# wait in its turn, and so lets go of the lock, which wakes the first one again. That is three switches where one would
# do. Who has only stepped aside is woken by nobody: it goes on when the others have done what they could.
#
# Stepping aside is not free where other processes want the processor: they may have it for milliseconds, while a sleeper
# that is woken has it at once. So who finds that the others have taken long does without it for a while. What is lost in
# this way is about a hundredth of the time.
#
# Nothing rests on any of this but speed: who has stepped aside stands in no line, holds nothing, and then looks again.

from __future__ import annotations

from time import monotonic

from ._platform import sched_yield

__all__ = ["TURNS", "step_aside"]

# Seconds. Others need far less to put an item or to make room for one; a kernel's time slices are longer.
_LONG = 0.001
_PAUSE = 100

_LIMIT = 30

# How often to step aside before going to sleep. Once is often in vain: letting go of the lock wakes another thread, which
# may be given the processor at that moment, do what it can, and step aside in its turn before we have done so.
TURNS = range(2)

_resume_at = 0.0
_doubt = 0


def step_aside() -> None:
    """Let other threads run, unless that took long a short while ago."""
    global _resume_at, _doubt
    before = monotonic()
    if before >= _resume_at:
        sched_yield()
        took = monotonic() - before
        if took < _LONG:
            if _doubt:
                _doubt -= 1
        elif _doubt < _LIMIT:
            _doubt += 3
        else:
            _resume_at = before + took * _PAUSE
