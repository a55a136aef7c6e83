# SPDX-License-Identifier: GPL-2.0-only
"""Why is nothing logged? Every link from the CPU to the journal is looked at, and what is off is said.

gather.py collects facts, checks.py judges them, text.py shows what came of it.
"""
