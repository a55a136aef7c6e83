# SPDX-License-Identifier: GPL-2.0-only
"""Guest side of the VM tests: what scenarios use, and the runner. Standard library only."""
