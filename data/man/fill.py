# SPDX-License-Identifier: GPL-2.0-only
"""Makes a manual of a template (mdoc(7)) and of the files that say what is so, and prints it.

    fill.py TEMPLATE SOURCE...

A line `@NAME@` or `@NAME ARGUMENT@` of the template is replaced by what the source of that name has
to say: org.mcelog.xml its interfaces, org.mcelog.policy its actions, journal.md the table under the
heading ARGUMENT. Meson runs it, so the standard library must do.
"""

from __future__ import annotations

import re
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WIDTH = 78
EMITS_CHANGED = "org.freedesktop.DBus.Property.EmitsChangedSignal"
CHANGES = {"const": "constant", "invalidates": "announced by name"}
MAY = {"yes": "allowed", "no": "refused", "auth_admin": "an administrator's password"}
MAY["auth_admin_keep"] = f"{MAY['auth_admin']}, remembered for a while"


def main(template: str, *sources: str) -> None:
    """Print the template, filled. A name without source is a KeyError, for who changes the template."""
    texts = {Path(source).name: Path(source).read_text("utf-8") for source in sources}
    for line in Path(template).read_text("utf-8").splitlines():
        asked = re.fullmatch(r"@(\S+?)(?: (.*))?@", line)
        if asked is None:
            print(line)
        else:
            print("\n".join(MAKERS[asked[1]](texts[asked[1]], asked[2] or "")))


def prose(text: str) -> Iterator[str]:
    """Lines of running text: each sentence begins one, `words` are quoted, links are their words."""
    text = re.sub(r"[,;]? ?see \[[\w.]+\]\([\w.]+\)", "", " ".join(text.split()))
    text = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text).replace("\\", r"\e")
    text = re.sub(r"`([^`]+)`", r"\\(oq\1\\(cq", text.replace("…", "..."))
    text = re.sub(r"[^\x00-\x7f]", lambda found: rf"\[u{ord(found[0]):04X}]", text)
    for piece in re.split(r"(?<=[.?!]) (?=[A-Z])", text):
        for line in textwrap.wrap(piece, WIDTH, break_on_hyphens=False, break_long_words=False):
            yield rf"\&{line}" if line[0] in ".'" else line


def sentence(text: str) -> str:
    """With a capital at its beginning, unless that is a name in quotes, and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + "." * (not text.endswith(("...", ".")))


def interfaces(text: str, _: str) -> Iterator[str]:
    """What org.mcelog.xml says, its comments included: each is about the element behind it."""
    root = ET.fromstring(text, ET.XMLParser(target=ET.TreeBuilder(insert_comments=True)))
    for doc, interface in documented(root):
        yield f".Sh INTERFACE {interface.get('name')}"
        yield from prose(doc)
        for tag, title in (("property", "Properties"), ("method", "Methods"), ("signal", "Signals")):
            members = [(said, member) for said, member in documented(interface) if member.tag == tag]
            if members:
                yield from (f".Ss {title}", ".Bl -tag -width Ds")
                for said, member in members:
                    yield from (property_lines if tag == "property" else call_lines)(said, member)
                yield ".El"


def documented(parent: ET.Element) -> Iterator[tuple[str, ET.Element]]:
    """The children, each with the comment before it."""
    doc = ""
    for child in parent:
        if isinstance(child.tag, str):
            yield doc, child
            doc = ""
        else:
            doc = child.text or ""


def property_lines(doc: str, member: ET.Element) -> Iterator[str]:
    notes = {note.get("name"): note.get("value", "") for note in member.iter("annotation")}
    change = CHANGES.get(notes.get(EMITS_CHANGED, ""))
    yield f".It Va {member.get('name')} No ({member.get('type')}{f', {change}' if change else ''})"
    yield from prose(doc)


def call_lines(doc: str, member: ET.Element) -> Iterator[str]:
    """A method or signal; its arguments one by one."""
    arguments = [(said, one) for said, one in documented(member) if one.tag == "arg"]
    given = [
        f'"{one.get("type")} {one.get("name")}"' for _, one in arguments if one.get("direction") != "out"
    ]
    yield " ".join((".It Fn", str(member.get("name")), *given))
    yield from prose(doc)
    told = [(said, one) for said, one in arguments if said or one.get("direction") == "out"]
    if told:
        yield ".Bl -tag -width Ds -compact"
        for said, one in told:
            result = f" No (returned, {one.get('type')})" if one.get("direction") == "out" else ""
            yield f".It Fa {one.get('name')}{result}"
            yield from prose(said)
        yield ".El"


def actions(text: str, _: str) -> Iterator[str]:
    """The polkit actions, with who may by default."""
    for action in ET.fromstring(text).iter("action"):
        yield f".It {action.get('id')}"
        here, elsewhere = (
            MAY[action.findtext(f"defaults/{name}", "")] for name in ("allow_active", "allow_any")
        )
        who = f"At the machine itself: {here}; from elsewhere: {elsewhere}."
        yield from prose(f"{sentence(action.findtext('description', ''))} {who}")


def table(text: str, heading: str) -> Iterator[str]:
    """The rows of the table under a heading of journal.md, as a list."""
    part = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| (.*) \|$", part[1] if part else "", re.MULTILINE)
    if not rows:
        raise SystemExit(f"journal.md: no table under {heading!r}")
    yield ".Bl -tag -width Ds"
    for row in rows[1:]:
        name, *cells = (cell.strip() for cell in row.split(" | "))
        yield from ROWS[len(cells)](name.strip("`"), *cells)
    yield ".El"


def message_row(name: str, message_id: str, when: str, fields: str = "") -> Iterator[str]:
    yield from (f".It Dv {name}", message_id.strip("`"), ".br")
    yield from prose(sentence(when))
    always = "those of an event" if "…" in fields else ", ".join(re.findall(r"`(\w+)`", fields))
    if always:
        yield from prose(f"Fields: {always}.")


def severity_row(name: str, priority: str, meaning: str) -> Iterator[str]:
    yield f".It {name} No ({priority})"
    yield from prose(sentence(meaning))


def field_row(name: str, meaning: str) -> Iterator[str]:
    yield f".It Dv {name}"
    yield from prose(sentence(meaning))


ROWS: dict[int, Callable[..., Iterator[str]]] = {1: field_row, 2: severity_row, 3: message_row}
"""By the number of cells behind the first."""

MAKERS: dict[str, Callable[[str, str], Iterator[str]]] = {
    "org.mcelog.xml": interfaces,
    "org.mcelog.policy": actions,
    "journal.md": table,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
