# SPDX-License-Identifier: GPL-2.0-only
"""What mcelog knows, for Prometheus.

rows.py says which metrics there are, families.py fills them with what D-Bus gave; both are pure. text.py
writes them down, textfile.py puts that into a file, endpoint.py answers HTTP. ctl/metrics.py wires them.
"""
