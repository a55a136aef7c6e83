# SPDX-License-Identifier: GPL-2.0-only
"""mcelog, systemd-native: the user-space backend for x86 machine checks."""

__version__ = "0.1.0"
