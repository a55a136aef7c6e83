# SPDX-License-Identifier: GPL-2.0-only
"""Everything that strangers write, fed with everything: see `harness`, and `tools/fuzz` to let it run."""
