# SPDX-License-Identifier: GPL-2.0-only
"""Host side of the VM tests: builds kernel and root file system, boots them, collects verdicts."""
