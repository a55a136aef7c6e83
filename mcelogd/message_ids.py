# SPDX-License-Identifier: GPL-2.0-only
"""MESSAGE_ID of every kind of journal entry; once released, an id never changes and is never used again.

Each has one entry in data/mcelog.catalog and one row in docs/journal.md. A new one:
`systemd-id128 new`.
"""

from __future__ import annotations

from typing import Final

# Events: one entry for one record.
CORRECTED_MEMORY_ERROR: Final = "f29f01451c0d440a89ae8019bbcb83d8"
UNCORRECTED_MEMORY_ERROR: Final = "7f62564744144c30a3aad482b726670f"
CACHE_ERROR: Final = "fb5e1668556d4bd19c37f549a616737c"
TLB_ERROR: Final = "39a0b17875ae4823a66e82c322e48591"
BUS_ERROR: Final = "27fb285eb2bf4c038b81d118f1130556"
IO_ERROR: Final = "054eb74c098848e8b89bfd2fee88c549"
INTERNAL_ERROR: Final = "ebf347a5872f44a1b3497c2d023942b4"
THERMAL_EVENT: Final = "8ae4d95a6a1b4416bd101fed59dbdfc0"
UNKNOWN_ERROR: Final = "a6ec7d3e244c4f75aecf992132b81944"
RECORD_UNDECODED: Final = "8a11a7e5f2a544e89da843b102dbbeb4"

# What was concluded from them, and what was done.
THRESHOLD_EXCEEDED: Final = "66aa4613271f4531a2e21e6287a5c23f"
MEMORY_DIAGNOSED: Final = "049f3de6e3e340b1a94ff5b35369c86d"
PAGE_OFFLINED: Final = "9be69966bca24d8092bb3ad621fc8816"
PAGE_OFFLINE_FAILED: Final = "3163a1ab334c484ca46605d7e8bdca82"
CPU_OFFLINED: Final = "997f3db0658047e787ca53610cc58e27"
CPU_OFFLINE_FAILED: Final = "48796d031f3644469c98bddbb73ec5d9"
TRIGGER_RUN: Final = "5a6a2932f59d4fa286f8ec70e597dc38"
TRIGGER_FAILED: Final = "5911404ecb724aeeb4a4a084c6c69ecf"
TRIGGER_OUTPUT: Final = "05aa3b1593034ce9bd1f419388191b00"
DIMM_REPLACED: Final = "438ca6a174ac4303b8875b15eda5e490"
DIMM_ACQUITTED: Final = "22ce43a9b3ac46168feb4734d34ed93b"

# What could not be recorded, or only in sum.
RECORDS_LOST: Final = "b2cbfc2afd294fa9998a03a1eb6c4de1"
RECORDS_MISSING: Final = "927a788b5f544d10bb01d70a349efc3e"
STORM_BEGUN: Final = "4f15a04b42324e509b2543b834f7c619"
STORM_GOES_ON: Final = "ffcdf51b972e4ffd98cb75720ecb1cb6"
STORM_ENDED: Final = "f853cb5ece3c40af9b8fc9d2829280fb"
JOURNAL_DROPPED: Final = "62eae7b89d7144d09da66c644168332e"
STORE_FAILED: Final = "e0c20132852d4b11bc5d3a6b8c401684"
STORE_RECOVERED: Final = "137df7fd83f7405fa262602f42117d01"

# The service itself.
SERVICE_STARTED: Final = "1b7a590153fa44519ea6e8cde5c8721e"
SERVICE_STOPPED: Final = "d46c9ef248d5417ba6d6d849c19de040"
SOURCE_LOST: Final = "908881c2353242108dac4425f711a04f"
SOURCE_RESTORED: Final = "bb7a8b7c2e4a4f5a9f2e888183913f5f"
BUS_LOST: Final = "981174ac729d456eb2206f09da0a71a7"
BUS_RESTORED: Final = "f324fa9902854d6a8c00ef14ff216e37"
CONFIG_PROBLEM: Final = "d1d5ca4359a54bfbb1b479981164ec49"
CONFIG_RELOADED: Final = "ad14813546fd4c8b963500a5acec64c3"
COUNTERS_RESET: Final = "bc7a8b85be694f2aac09f870a0d945f0"
SELF_TEST: Final = "4924141f609e4e93ba5980c00bf33498"
SELF_TEST_RECORD: Final = "55dc696d763d48efb740144ca255df9d"
