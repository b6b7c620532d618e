# SPDX-License-Identifier: MIT
"""asyncio takes our futures and pools for its own business."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from patience import SOON

from plait.futures import Future, ThreadPoolExecutor


def test_run_in_executor_awaits_a_result_and_an_exception():
    async def main(pool):
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(pool, pow, 2, 5) == 32
        with pytest.raises(ValueError, match="invalid literal"):
            await loop.run_in_executor(pool, int, "x")
        return await asyncio.gather(*(loop.run_in_executor(pool, int, str(n)) for n in range(50)))

    with ThreadPoolExecutor(2) as pool:
        assert asyncio.run(main(pool)) == list(range(50))


def test_cancelling_the_task_cancels_the_waiting_call():
    async def main(pool, release):
        loop = asyncio.get_running_loop()
        first = loop.run_in_executor(pool, release.wait, 40)
        inner = pool.submit(int)
        second = asyncio.ensure_future(asyncio.wrap_future(inner))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await asyncio.sleep(0.01)  # the loop hands the cancellation on in its next round
        assert inner.cancelled()
        release.set()
        assert await first is True

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(main(pool, threading.Event()))


def test_cancelling_our_future_cancels_the_wrapper():
    async def main():
        ours = Future()
        wrapped = asyncio.wrap_future(ours)
        asyncio.get_running_loop().call_later(0.01, ours.cancel)
        with pytest.raises(asyncio.CancelledError):
            await wrapped

    asyncio.run(main())


def test_a_future_finished_by_another_thread_wakes_the_loop():
    async def main():
        ours = Future()
        threading.Timer(0.02, ours.set_result, ["there"]).start()
        start = time.monotonic()
        assert await asyncio.wait_for(asyncio.wrap_future(ours), 2 * SOON) == "there"
        assert time.monotonic() - start < SOON

    asyncio.run(main())


def test_our_pool_can_be_the_default_executor():
    async def main():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1, thread_name_prefix="default"))
        return await asyncio.to_thread(lambda: threading.current_thread().name)

    assert asyncio.run(main()).startswith("default")
