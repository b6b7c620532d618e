# SPDX-License-Identifier: MIT
"""Heap operations that only ever swap items: whatever a comparison does, the list has each of them, once.

The interpreter's own in C are of this kind. Those that PyPy has hold an item in hand while they move others, and lose it if
a comparison fails. So there this module has its own, which arrange items in the same way: heapsort's (J. W. J. Williams,
Algorithm 232, 1964), with the way down that is R. W. Floyd's (Knuth, The Art of Computer Programming, 5.2.3, exercise 18).
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
    _rise(heap, len(heap) - 1)


def swapping_pop(heap: list[Any]) -> Any:
    """Take the smallest item out of a heap. If comparing fails, it is what the list misses."""
    smallest = heap[0]
    heap[0] = heap[-1]
    del heap[-1]
    place, child, end = 0, 1, len(heap)
    # What was the last mostly belongs near the end: so down with it all the way, which takes one comparison for each level.
    while child < end:
        if child + 1 < end and not heap[child] < heap[child + 1]:
            child += 1
        heap[place], heap[child] = heap[child], heap[place]
        place, child = child, 2 * child + 1
    if heap:
        _rise(heap, place)
    return smallest


def _rise(heap: list[Any], place: int) -> None:
    while place:
        parent = (place - 1) // 2
        if not heap[place] < heap[parent]:
            return
        heap[place], heap[parent] = heap[parent], heap[place]
        place = parent


if hasattr(heappush, "__code__"):  # not in C
    heappush, heappop = swapping_push, swapping_pop
