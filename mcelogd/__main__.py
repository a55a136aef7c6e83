# SPDX-License-Identifier: GPL-2.0-only
"""`python3 -m mcelogd`: the same program as `mcelog`."""

import sys

from mcelogd.quick import main

sys.exit(main())
