# SPDX-License-Identifier: GPL-2.0-only
"""`python3 -m mcelogd.ctl` is `mcelogctl`."""

from __future__ import annotations

import sys

from mcelogd.ctl.main import main

sys.exit(main())
