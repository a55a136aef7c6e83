# SPDX-License-Identifier: GPL-2.0-only
"""Kernel log and mcelog text -> machine-check records.

What `mcelog --ascii` reads: a panic, dmesg, the journal or syslog, netconsole,
mcelog's own decoded or `--raw` output, mce-inject files and Xen's console.
`prefix` takes off what loggers put before a line, `fields` reads the
registers a line names, `heads` the lines that begin a record, and `assembler`
puts lines together to records.
"""

from mcelogd.ascii.assembler import assemble
from mcelogd.ascii.pending import Assembled

__all__ = ["Assembled", "assemble"]
