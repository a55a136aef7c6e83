# SPDX-License-Identifier: GPL-2.0-only
"""Every metric, one row each; docs/metrics.md, the alert rules and the dashboard are held against it. Pure.

None has an address or the number of a CPU among its labels: how many series there are is bounded by the
machine's DIMMs and sockets, whatever breaks.

Source: Prometheus' "Metric and label naming"; OpenMetrics 1.0, "MetricFamily".
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple


class Type(enum.Enum):
    """OpenMetrics' types, as far as we have them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    INFO = "info"


class Metric(NamedTuple):
    """One family. `name` is without the `_total` or `_info` that its samples end with."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    """Also the end of the name."""

    @property
    def sample(self) -> str:
        """What queries call it."""
        return self.name + {Type.COUNTER: "_total", Type.INFO: "_info"}.get(self.type, "")


_DIMM: Final = ("socket", "channel", "dimm", "label")
"""Numbers as errors come with them, `any` where the hardware does not report one; the name on the board."""

UP: Final = Metric("mcelog_up", Type.GAUGE, "Whether mcelog runs and answers; if not, the others are absent.")
INFO: Final = Metric(
    "mcelog",
    Type.INFO,
    "The running mcelog.",
    ("version", "cpu_type", "cpu_vendor", "source", "page_action"),
)
READING: Final = Metric(
    "mcelog_source_reading", Type.GAUGE, "Whether machine checks are being read from the kernel."
)
RECORDS: Final = Metric("mcelog_records", Type.COUNTER, "Records read since the store was made.")
RECORDS_LOST: Final = Metric(
    "mcelog_records_lost", Type.COUNTER, "Records that the kernel had no room for, as far as it says."
)
ERRORS: Final = Metric("mcelog_errors", Type.COUNTER, "Errors of all kinds.", ("severity",))
LAST_EVENT: Final = Metric(
    "mcelog_last_event_timestamp_seconds",
    Type.GAUGE,
    "When the last record was made, since 1970; absent if there was none.",
    unit="seconds",
)
READABLE: Final = Metric(
    "mcelog_memory_readable",
    Type.GAUGE,
    "Whether who collects this has the right org.mcelog.read; if not, all below are absent.",
)
MEMORY_ERRORS: Final = Metric(
    "mcelog_memory_errors", Type.COUNTER, "Memory errors of a DIMM.", ("severity", *_DIMM)
)
MEMORY_THRESHOLD: Final = Metric(
    "mcelog_memory_threshold_errors",
    Type.GAUGE,
    "How many memory errors in a period mcelog.conf calls too many; absent if it sets no threshold.",
    ("severity", *_DIMM),
)
SOCKET_ERRORS: Final = Metric(
    "mcelog_socket_memory_errors",
    Type.COUNTER,
    "Memory errors of a socket, with those the hardware counted but did not record.",
    ("severity", "socket"),
)
CPU_ERRORS: Final = Metric(
    "mcelog_cpu_errors",
    Type.COUNTER,
    "Corrected errors of a socket's CPUs other than memory errors.",
    ("kind", "socket"),
)
DIMM_INFO: Final = Metric(
    "mcelog_dimm",
    Type.INFO,
    "What the firmware says of a DIMM.",
    (*_DIMM, "location", "manufacturer", "part_number", "serial_number"),
)
DIMM_SIZE: Final = Metric(
    "mcelog_dimm_size_bytes", Type.GAUGE, "Size of a DIMM, where it is known.", _DIMM, "bytes"
)
DIMM_LAST_ERROR: Final = Metric(
    "mcelog_dimm_last_error_timestamp_seconds",
    Type.GAUGE,
    "When a DIMM had its last error, since 1970; absent if none since mcelog was started.",
    _DIMM,
    "seconds",
)
DIMM_ADVICE: Final = Metric(
    "mcelog_dimm_advice",
    Type.GAUGE,
    "1 for what mcelog advises about a DIMM, 0 for what it does not.",
    ("advice", *_DIMM),
)
DIMM_FAULT: Final = Metric(
    "mcelog_dimm_fault",
    Type.GAUGE,
    "1 for what the errors of a DIMM have in common; absent without errors.",
    ("mode", *_DIMM),
)
PAGES: Final = Metric("mcelog_pages", Type.GAUGE, "Pages of memory that had errors, by state.", ("state",))

METRICS: Final = tuple(value for value in vars().copy().values() if isinstance(value, Metric))
"""All of them, in the order in which they are shown."""

ADVICE: Final = ("none", "watch", "replace", "channel")
PAGE_STATES: Final = ("online", "offline", "offline-failed")
"""Values that are there from the beginning, so that nobody waits for one that never comes."""
