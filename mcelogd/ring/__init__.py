# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's trace ring buffer, taken apart: pages -> entries -> machine-check records. Pure.

`format` reads the layouts that the kernel publishes, `page` finds the entries
of a page by one, `events` makes records of entries by the other. Nothing here
raises for whatever a page holds.
"""
