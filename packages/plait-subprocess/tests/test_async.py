# SPDX-License-Identifier: MIT
"""The same from coroutines."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from plait.subprocess import PIPE, CalledProcessError, Popen, TimeoutExpired, _handle, _tree, arun, run

BIG = bytes(range(256)) * 12_000


@pytest.fixture(params=["pidfd", "looking"], autouse=True)
def how_the_end_is_seen(request, monkeypatch):
    """Every test runs with pidfds and without."""
    if request.param == "looking":
        monkeypatch.setattr(_handle, "_pidfd_works", False)


def test_the_result_is_that_of_run():
    for command, options in (
        (["cat"], {"input": BIG, "capture_output": True}),
        (["cat"], {"input": "ż\n", "stdout": PIPE, "text": True}),
        (["sh", "-c", "echo o; echo e >&2; exit 3"], {"capture_output": True}),
        (["true"], {"input": BIG}),
        (["sh", "-c", "exit 5"], {}),
    ):
        assert vars(asyncio.run(arun(command, **options))) == vars(run(command, **options))


def test_a_failure_is_reported():
    with pytest.raises(CalledProcessError, match="exit status 3"):
        asyncio.run(arun("exit 3", shell=True, check=True))


def test_the_loop_runs_meanwhile():
    async def main():
        begun = time.monotonic()
        await asyncio.gather(*(arun(["sleep", "0.5"]) for _ in range(8)))
        return time.monotonic() - begun

    assert asyncio.run(main()) < 3


def test_a_time_limit_holds_and_tells_what_had_come():
    begun = time.monotonic()
    with pytest.raises(TimeoutExpired) as caught:
        asyncio.run(
            arun(
                "echo so far; sleep 60 & wait",
                shell=True,
                stdout=PIPE,
                text=True,
                timeout=0.4,
                kill_tree=True,
            )
        )
    assert caught.value.stdout == "so far\n"
    with pytest.raises(TimeoutExpired):
        asyncio.run(arun(["sleep", "60"], timeout=0.1))
    assert time.monotonic() - begun < 10
    assert asyncio.run(arun(["true"], timeout=float("inf"))).returncode == 0


def test_cancelling_ends_the_child():
    pids = []

    async def main():
        task = asyncio.ensure_future(arun("echo $$; exec sleep 60", shell=True, stdout=PIPE))
        await asyncio.sleep(0.3)
        pids.extend(_children())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    before = set(_children())
    asyncio.run(main())
    assert set(pids) - before
    assert set(_children()) <= before


def _children():
    me = os.getpid()
    return [int(n) for n in os.listdir("/proc") if n.isdigit() and (s := _tree._stat(int(n))) and s[1] == me]


def test_several_tasks_may_await_one_end():
    async def main():
        with Popen(["sleep", "60"]) as process:
            waiting = [asyncio.ensure_future(process.await_exit(timeout=20)) for _ in range(3)]
            await asyncio.sleep(0.05)
            with pytest.raises(TimeoutExpired):
                await process.await_exit(timeout=0.01)
            process.kill()
            return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [-signal.SIGKILL] * 3


def test_without_a_loop_it_says_so():
    with pytest.raises(RuntimeError):
        arun(["true"]).send(None)
