# SPDX-License-Identifier: GPL-2.0-only
"""What keeps the fast tests fast."""

from __future__ import annotations

import gc
import os

from hypothesis import settings

# Few examples where somebody waits for the tests, more in CI.
settings.register_profile("mcelog", max_examples=int(os.environ.get("MCELOG_EXAMPLES", "20")))
settings.load_profile("mcelog")


def pytest_collection_finish() -> None:
    # Thousands of tests live to the end: the garbage collector need not go over them again and again.
    gc.freeze()
