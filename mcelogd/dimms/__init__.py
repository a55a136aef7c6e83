# SPDX-License-Identifier: GPL-2.0-only
"""What DIMMs are called: SMBIOS, EDAC and the administrator's file, merged. Pure: firmware.py reads them."""
