# SPDX-License-Identifier: MIT
"""What every test here starts from."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A machine that is busy is no failure of ours, and so neither are examples that took long to make.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
