# SPDX-License-Identifier: GPL-2.0-only
"""What `--dmi` adds to the text of an event: the DIMMs at its address, as SMBIOS has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.dimms import text as dmi_text
from mcelogd.settings import Smbios as SmbiosUse

if TYPE_CHECKING:
    from mcelogd.dimms.smbios import Smbios
    from mcelogd.event import Event
    from mcelogd.settings import Settings


class SmbiosLines:
    """The lines, after a warning that comes once; nothing unless `--dmi` asks for them."""

    def __init__(self, settings: Settings, smbios: Smbios | None, warning: str = dmi_text.WARNING) -> None:
        wanted = settings.dmi is SmbiosUse.YES
        self._smbios = smbios if wanted else None
        self._verbosity = settings.dmi_verbose
        self._preface = warning + (dmi_text.tables_text(smbios, self._verbosity) if smbios and wanted else "")

    def __call__(self, event: Event) -> str:
        address = event.record.addr
        if self._smbios is None or not address:
            return ""
        lines = dmi_text.address_text(self._smbios, address, self._verbosity)
        if lines:
            lines, self._preface = self._preface + lines, ""
        return lines
