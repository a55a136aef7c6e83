# SPDX-License-Identifier: GPL-2.0-only
"""What keeps the fast tests fast."""

from __future__ import annotations

import gc
import os

from hypothesis import settings

# Few examples where somebody waits for the tests, more in CI.
settings.register_profile("mcelog", max_examples=int(os.environ.get("MCELOG_EXAMPLES", "20")))
settings.load_profile("mcelog")

# Thousands of collected tests live to the end; going over them again and again took a tenth of the time.
gc.set_threshold(50_000, 20, 100)


def pytest_collection_finish() -> None:
    gc.freeze()
