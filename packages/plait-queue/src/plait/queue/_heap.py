# SPDX-License-Identifier: MIT
"""Heap operations that only ever swap items: whatever a comparison does, the list has each of them, once.

The interpreter's own in C are of this kind. Those that PyPy has hold an item in hand while they move others, and lose it if
a comparison fails. So there this module has its own. (Heapsort's: J. W. J. Williams, Algorithm 232, 1964.)
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["heapify", "heappop", "heappush", "swapping_pop", "swapping_push"]


def swapping_push(heap: list[Any], item: Any) -> None:
    """Add an item to a heap."""
    heap.append(item)
    place = len(heap) - 1
    while place:
        parent = (place - 1) // 2
        if not heap[place] < heap[parent]:
            return
        heap[place], heap[parent] = heap[parent], heap[place]
        place = parent


def swapping_pop(heap: list[Any]) -> Any:
    """Take the smallest item out of a heap. If comparing fails, it is what the list misses."""
    smallest = heap[0]
    heap[0] = heap[-1]
    del heap[-1]
    place, end = 0, len(heap)
    while True:
        child = 2 * place + 1
        if child >= end:
            return smallest
        if child + 1 < end and heap[child + 1] < heap[child]:
            child += 1
        if not heap[child] < heap[place]:
            return smallest
        heap[place], heap[child] = heap[child], heap[place]
        place = child


if hasattr(heappush, "__code__"):  # not in C
    heappush, heappop = swapping_push, swapping_pop
