# SPDX-License-Identifier: MIT
"""The source census behind `tools/demo.py`: what is measured, concurrently and then plainly, and how it is shown.

- `measure`  what is counted in one file; shared by both passes, knows nothing of concurrency
- `stages`   the three measuring stages and the gzip children
- `store`    the one writer and its SQLite file
- `progress` the display, driven by a scheduler
- `pipeline` the concurrent run: starts all of the above and stops all of them when one fails
- `serial`   the plain pass with neither plait nor concurrency, and the comparison
- `report`, `page`   the tables and the HTML page
"""
