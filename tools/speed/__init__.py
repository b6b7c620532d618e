# SPDX-License-Identifier: MIT
"""The parts of tools/bench.py: workload files, contestants, rounds, statistics, the watch over children, reports."""
