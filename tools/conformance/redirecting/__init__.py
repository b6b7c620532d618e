# SPDX-License-Identifier: MIT
"""What runs inside every Python of a redirected environment; `begin()` is called at its start-up, before the program.

The folder is copied into the environment, with a `settings` module beside it, by `redirect.install`.
"""

from __future__ import annotations

_begun = False


def begin() -> None:
    """Take effect in this interpreter; a second call does nothing."""
    global _begun
    if _begun:
        return
    _begun = True
    from . import children, missing_tests, settings

    children.begin()
    missing_tests.begin()
    if settings.IMPLEMENTATION is not None:
        from . import importing

        importing.begin()
