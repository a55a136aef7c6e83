# SPDX-License-Identifier: GPL-2.0-only
"""Counting: events in, what crossed its threshold out. Pure; time comes in as an argument."""
