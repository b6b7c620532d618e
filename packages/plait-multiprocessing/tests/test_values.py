# SPDX-License-Identifier: MIT
"""Value and RawValue."""

from __future__ import annotations

import ctypes

import mp_targets as targets
import pytest

from plait import multiprocessing as mp


def test_counter_loses_no_update(ctx):
    counter = ctx.Value("i", 5)
    children = [ctx.Process(target=targets.add, args=(counter, 200)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    assert counter.value == 605


def test_raw_value_is_shared_too(ctx):
    raw = ctx.RawValue("d", 1.5)
    child = ctx.Process(target=targets.add_raw, args=(raw, 2))
    child.start()
    child.join(20)
    assert raw.value == 3.5


def test_lock_argument():
    lock = mp.Lock()
    assert mp.Value("i", 1, lock=lock).get_lock() is lock
    assert isinstance(mp.Value("i", 1, lock=False), ctypes.c_int)
    with pytest.raises(AttributeError, match="acquire"):
        mp.Value("i", 1, lock="no lock")
    with pytest.raises(TypeError, match="typecode"):
        mp.Value("z", 1)
    with mp.Value(ctypes.c_double, 2.5) as entered:
        assert entered is True
