# SPDX-License-Identifier: MIT
"""The same from coroutines."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from descriptors import open_descriptors
from patience import SOON, late

from plait.subprocess import (
    PIPE,
    CalledProcessError,
    OutputTooLarge,
    Popen,
    TimeoutExpired,
    _in_flight,
    _kernel,
    _tree,
    arun,
    run,
)

BIG = bytes(range(256)) * 12_000


@pytest.fixture(params=["pidfd", "looking"], autouse=True)
def how_the_end_is_seen(request, monkeypatch):
    """Every test runs with pidfds and without."""
    if request.param == "looking":
        monkeypatch.setattr(_kernel, "pidfd_works", False)


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


def test_the_loop_runs_meanwhile(tmp_path):
    # None of them ends before all are there.
    code = ": > $0; set -- *; until [ $# -ge 8 ]; do sleep 0.01; set -- *; done"

    async def main():
        commands = (arun(["sh", "-c", code, str(n)], cwd=tmp_path, timeout=40) for n in range(8))
        return [done.returncode for done in await asyncio.gather(*commands)]

    assert asyncio.run(main()) == [0] * 8


def test_a_time_limit_holds_and_tells_what_had_come():
    how = {"shell": True, "stdout": PIPE, "text": True, "kill_tree": True}
    expired = late(
        lambda limit: asyncio.run(arun("echo so far; sleep 60 & wait", **how, timeout=limit)),
        lambda expired: expired.stdout,
    )
    assert expired.stdout == "so far\n"
    late(lambda limit: asyncio.run(arun(["sleep", "60"], timeout=limit)))
    assert asyncio.run(arun(["true"], timeout=float("inf"))).returncode == 0


def test_cancelling_ends_the_child():
    pids = []

    async def main():
        on = asyncio.Event()
        command = arun("echo $$; exec sleep 60", shell=True, on_stdout=lambda line: on.set())
        task = asyncio.ensure_future(command)
        await on.wait()
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


def test_lines_come_while_the_command_runs_and_the_loop_too(tmp_path):
    heard, ticks = [], []

    async def tick():
        while len(ticks) < 10:
            if heard:
                ticks.append(None)
            await asyncio.sleep(0.005)
        (tmp_path / "go on").touch()

    async def main():
        ticking = asyncio.ensure_future(tick())
        # Goes on when its first line was heard and the loop has gone round some times.
        done = await arun(
            "echo one; until [ -e 'go on' ]; do sleep 0.01; done; echo two >&2; seq 20000",
            cwd=tmp_path,
            timeout=40,
            shell=True,
            text=True,
            stdout=PIPE,
            on_stdout=lambda line: heard.append(("out", line)),
            on_stderr=lambda line: heard.append(("err", line)),
        )
        await ticking
        return done

    done = asyncio.run(main())
    assert heard[0] == ("out", "one\n")
    assert ("err", "two\n") in heard
    assert [line for name, line in heard if name == "out"] == done.stdout.splitlines(keepends=True)
    assert len(heard) == 20_002
    assert done.stderr is None


def test_slow_listeners_do_not_stop_the_loop_nor_the_time_limit():
    heard, ticks = [], []

    async def tick():
        while True:
            ticks.append(None)
            await asyncio.sleep(0)

    async def main(limit):
        ticking = asyncio.ensure_future(tick())
        with pytest.raises(TimeoutExpired):
            await arun(["yes"], on_stdout=lambda line: heard.append(time.sleep(0.01)), timeout=limit)
        ticking.cancel()

    for limit in (0.4, 4):  # more than one only if the machine is busy, and hardly anything has had a turn
        begun = time.monotonic()
        asyncio.run(main(limit))
        assert time.monotonic() - begun < limit + SOON
        if len(ticks) >= 10:
            break
        ticks.clear()
    assert len(ticks) >= 10


def test_what_a_callback_raises_ends_the_child():
    def refuse(line):
        raise TimeoutError(line)  # which is not to be taken for the time limit

    with pytest.raises(TimeoutError, match="first"):
        asyncio.run(arun("echo first; exec sleep 60", shell=True, on_stdout=refuse))
    assert not _children()


def test_output_beyond_the_limit_ends_the_command():
    with pytest.raises(OutputTooLarge, match="1000 bytes") as caught:
        asyncio.run(arun("yes & yes >&2", shell=True, capture_output=True, max_output=1000, kill_tree=True))
    full = b"y\n" * 500
    outputs = [caught.value.stdout, caught.value.stderr]
    assert full in outputs  # either stream may be the first beyond it: the other has what came until then
    assert all(full.startswith(output) for output in outputs)


@pytest.mark.parametrize("kill_tree", [False, True])
def test_with_grace_the_command_may_tidy_up_while_the_loop_runs(kill_tree):
    ticks = []

    async def tick():
        while True:
            ticks.append(None)
            await asyncio.sleep(0.005)

    async def main(limit):
        ticking = asyncio.ensure_future(tick())
        code = "trap 'echo tidy; sleep 0.2; exit 5' TERM; echo on; while :; do sleep 0.01; done"
        try:
            await arun(code, shell=True, stdout=PIPE, text=True, timeout=limit, grace=20, kill_tree=kill_tree)
        finally:
            ticking.cancel()

    def run_it(limit):
        ticks.clear()
        asyncio.run(main(limit))

    expired = late(run_it, lambda expired: expired.stdout == "on\ntidy\n" and len(ticks) > 20)
    assert expired.stdout == "on\ntidy\n"
    assert len(ticks) > 20


def test_cancelling_twice_cuts_the_grace_short():
    async def main():
        code = "trap '' TERM; echo on; while :; do sleep 0.01; done"
        on = asyncio.Event()
        task = asyncio.ensure_future(arun(code, shell=True, on_stdout=lambda line: on.set(), grace=60))
        await on.wait()
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    begun = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - begun < SOON
    assert not _children()


@pytest.mark.parametrize(
    "command", ["exec sleep 60", "exec cat", "trap '' TERM; while :; do sleep 0.01; done"]
)
def test_cancelling_at_any_step_leaves_no_child_and_no_descriptor(command, how_the_end_is_seen):
    async def main():
        before, steps, done = open_descriptors(), 0, False
        while not done and steps < 25:
            task = asyncio.ensure_future(
                arun(command, shell=True, input=BIG[:300_000], capture_output=True, grace=0.01)
            )
            for _ in range(steps):
                await asyncio.sleep(0)
            done = task.cancel() is False
            await asyncio.wait([task])
            assert task.cancelled() or done
            assert open_descriptors() == before
            assert not _children()
            steps += 1

    asyncio.run(main())


def test_a_copy_forked_while_the_loop_sleeps_does_not_hold_the_input():
    wait_read, wait_write = os.pipe()
    copies = []

    def fork(_line):
        pid = os.fork()
        if not pid:
            os.close(wait_write)
            os.read(wait_read, 1)
            os._exit(0)
        copies.append(pid)

    async def main():
        # Forked by another task, as multiprocessing would: between two steps of the exchange, when most is still unsent.
        command = arun(
            "read word; echo on >&2; sleep 0.1; cat", shell=True, input=b"x\n" + BIG, stdout=PIPE, stderr=PIPE
        )
        task = asyncio.ensure_future(command)
        before = set(_children())
        while not set(_children()) - before:
            await asyncio.sleep(0.01)
        fork(None)
        return await asyncio.wait_for(task, 20)

    try:
        assert asyncio.run(main()).stdout == BIG
        assert _in_flight.feeding == {}
    finally:
        os.close(wait_write)
        os.close(wait_read)
        for pid in copies:
            os.waitpid(pid, 0)


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
