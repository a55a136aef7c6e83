# SPDX-License-Identifier: GPL-2.0-only
"""Doing something about failing parts: triggers, off-lining of pages. Slow, and off the record's way."""
