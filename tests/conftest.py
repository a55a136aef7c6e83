# SPDX-License-Identifier: GPL-2.0-only
"""How many examples hypothesis tries: few where somebody waits for the tests, MCELOG_EXAMPLES in CI."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("mcelog", max_examples=int(os.environ.get("MCELOG_EXAMPLES", "30")))
settings.load_profile("mcelog")
