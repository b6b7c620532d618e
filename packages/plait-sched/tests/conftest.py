# SPDX-License-Identifier: MIT
"""What every test here starts from."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long it takes to think of an example says how busy the machine is.
settings.register_profile("plait", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("plait")
