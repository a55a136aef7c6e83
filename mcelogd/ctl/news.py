# SPDX-License-Identifier: GPL-2.0-only
"""Signals of mcelog as lines for people, and as JSON. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from mcelogd.ctl.place import words_of
from mcelogd.ctl.text import paint, printable
from mcelogd.ctl.times import format_time
from mcelogd.ctl.units import members, snake_case

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcelogd.ctl.look import Look

_NAMES: dict[str, tuple[str, ...]] = {
    "EventLogged": ("id", "kind", "severity", "about"),
    "ThresholdExceeded": ("about", "what", "message"),
    "PageOfflined": ("id", "ok"),
}
"""Values of a signal by name; `about` is the object it is about."""


class News(NamedTuple):
    """Something happened: a signal, or properties that have other values now."""

    time: float
    what: str
    """Name of the signal; of NameOwnerChanged, Started or Ended."""
    path: str
    values: Mapping[str, Any]
    before: Mapping[str, Any] = {}
    """Of properties that changed, what they were, where that is known."""


def signal_news(time: float, member: str, path: str, values: list[Any]) -> News | None:
    """A signal that is news by itself; None for others, and for one that is not as it should be."""
    if member == "NameOwnerChanged":
        return News(time, "Started" if values[2] else "Ended", path, {})
    names = _NAMES.get(member, ())
    if not names or len(names) != len(values):
        return None
    named = dict(zip(names, values, strict=True))
    return News(time, member, str(named.pop("about", path)), named)


def json_line(news: News) -> str:
    """One object; `changed` holds properties and their values, null for one that may not be read."""
    document: dict[str, Any] = {"time": round(news.time, 6), "signal": news.what, "object": news.path}
    if news.what in ("PropertiesChanged", "InterfacesAdded"):
        document["properties"] = members(news.values)
    else:
        document |= {snake_case(name): value for name, value in news.values.items()}
    return json.dumps(document, separators=(",", ":"))


def line(news: News, names: Mapping[str, str], look: Look) -> str:
    """`names` are what objects are called, where more is known than their path."""
    about = printable(names.get(news.path, "") or words_of(news.path))
    text, style = _words(news, about)
    stamp = format_time(news.time, look.zone)
    return f"{stamp}  {paint(printable(text), style, colour=look.colour)}"


def _words(news: News, about: str) -> tuple[str, str]:
    """What happened, and how it is to look."""
    values = news.values
    where = f" on {about}" if about else ""
    match news.what:
        case "Started":
            return "mcelog has been started", "grey"
        case "Ended":
            return "mcelog has ended", "bad"
        case "EventLogged":
            severity = str(values["severity"])
            style = {"corrected": "watch", "info": "grey"}.get(severity, "bad")
            return f"event {values['id']}: {severity}, {values['kind']}{where}", style
        case "ThresholdExceeded":
            what = "diagnosis" if values["what"] == "diagnosis" else "threshold"
            return f"{what}: {values['message']}{f' ({about})' if about else ''}", "bad"
        case "PageOfflined" if values["ok"]:
            return "a page of memory was taken out of use", "watch"
        case "PageOfflined":
            return "a page of memory could not be taken out of use", "bad"
        case "InterfacesAdded":
            return f"{about or news.path} is known now", ""
        case "InterfacesRemoved":
            return f"{about or news.path} is known no more", ""
    changes = ", ".join(_change(name, news) for name in values)
    return f"{about or 'machine'}: {changes}", ""


def _change(name: str, news: News) -> str:
    value = news.values[name]
    if value is None:
        return f"{name} changed"
    if isinstance(value, (list, dict)):
        texts = [str(one) for one in value if isinstance(one, str)]
        return f"{name}: {'; '.join(texts)}" if texts or not value else f"{name} changed"
    if name in news.before:
        return f"{name} {_shown(news.before[name])} -> {_shown(value)}"
    return f"{name} {_shown(value)}"


def _shown(value: Any) -> str:
    return "none" if value == "" else str(value)
