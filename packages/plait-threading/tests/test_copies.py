# SPDX-License-Identifier: MIT
"""There is one of what threads wait for: it is neither copied nor pickled."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import pytest

from plait import threading
from plait.threading import Event

MAKE = {
    "Condition": threading.Condition,
    "Event": Event,
    "Semaphore": threading.Semaphore,
    "BoundedSemaphore": threading.BoundedSemaphore,
    "Barrier": partial(threading.Barrier, 2),
    "RWLock": threading.RWLock,
    "its reading side": lambda: threading.RWLock().read,
    "its writing side": lambda: threading.RWLock().write,
    "NamedLock": partial(threading.NamedLock, "n"),
    "NamedRLock": partial(threading.NamedRLock, "n"),
}
WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {n}": partial(pickle.dumps, protocol=n) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", MAKE)
def test_it_refuses(kind, way):
    made = MAKE[kind]()
    with pytest.raises(TypeError, match="cannot pickle or copy") as refused:
        WAYS[way](made)
    assert repr(made) in str(refused.value)
    assert "make a new one" in str(refused.value)


def test_a_subclass_that_knows_better_may_be_copied():
    class Flag(Event):
        def __getstate__(self):
            return self.is_set()

        def __setstate__(self, up):
            self.__init__()
            if up:
                self.set()

    flag = Flag()
    flag.set()
    other = copy.copy(flag)
    flag.clear()
    assert (flag.is_set(), other.is_set()) == (False, True)
