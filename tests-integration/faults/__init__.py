# SPDX-License-Identifier: MIT
"""Black-box scenarios of what goes wrong with concurrent programs, one per row of the list of users' demands.

`faults.scenario` says how to write one; `tools/faults.py` runs them.
"""
