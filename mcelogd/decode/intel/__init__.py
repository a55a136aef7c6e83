# SPDX-License-Identifier: GPL-2.0-only
"""Decoders of Intel's CPU families: one module each, tables on top."""
