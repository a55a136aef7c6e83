# SPDX-License-Identifier: GPL-2.0-only
"""`mcelogctl`: asks the running mcelog by D-Bus, and the journal, and shows what they say.

main.py starts it; what shows something is pure and does not know where it came from.
"""
