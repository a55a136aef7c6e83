# SPDX-License-Identifier: GPL-2.0-only
"""The commands of `mcelogctl` that ask mcelog by D-Bus, once, and show the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcelogd.ctl import views
from mcelogd.ctl.exits import CtlError, Exit
from mcelogd.ctl.output import say
from mcelogd.ctl.place import ROOT, dimm_path, labelled, object_of, place_of, words_of
from mcelogd.ctl.service import DIMM, MOST_AT_ONCE, SOCKET, connected
from mcelogd.ctl.summary import status as status_lines
from mcelogd.ctl.units import Unit, members, units
from mcelogd.ctl.verdict import judge

if TYPE_CHECKING:
    import argparse

    from mcelogd.ctl.output import Output
    from mcelogd.ctl.service import Objects, Service


async def run(options: argparse.Namespace, output: Output) -> Exit:
    """Carry out `options.command`; CtlError says why that was not possible."""
    async with connected(options) as service:
        return await _COMMANDS[options.command](service, options, output)


async def _status(service: Service, _: argparse.Namespace, output: Output) -> Exit:
    manager = await service.manager()
    dimms, sockets, denied = None, [], ""
    try:
        objects = await service.objects()
        dimms, sockets = units(objects, DIMM), units(objects, SOCKET)
    except CtlError as error:
        if error.status is not Exit.DENIED:
            raise
        denied = str(error)
    verdict = judge(manager, dimms, sockets)
    if output.json:
        findings = [
            {"status": finding.status.name.lower(), "what": finding.what, "about": finding.about}
            | {"reasons": list(finding.reasons)}
            for finding in verdict.findings
        ]
        output.document({"verdict": verdict.word, "findings": findings, "machine": members(manager)})
    else:
        output.lines(status_lines(verdict, manager, dimms, output.look()))
    if denied:
        say(denied)
    return verdict.status


async def _dimms(service: Service, options: argparse.Namespace, output: Output) -> Exit:
    objects = await service.objects()
    found = units(objects, DIMM)
    if options.place is not None:
        path = dimm_path(_path(options.place, objects))
        found = [unit for unit in found if unit.path == path]
        if not found:
            raise CtlError(f"mcelog knows no {words_of(path)}; mcelogctl dimms shows those it knows")
    if output.json:
        documents = [_document(unit) for unit in found]
        output.document(documents if options.place is None else documents[0])
    elif options.place is None:
        output.lines(views.dimms(found, output.look()))
    else:
        output.lines(views.dimm(found[0], output.look()))
    return Exit.OK


def _document(unit: Unit) -> dict[str, Any]:
    return {"object": unit.path, "place": unit.place, **members(unit.properties)}


async def _sockets(service: Service, _: argparse.Namespace, output: Output) -> Exit:
    found = units(await service.objects(), SOCKET)
    if output.json:
        output.document([_document(unit) | {"cores": _cores(unit)} for unit in found])
    else:
        output.lines(views.sockets(found, output.look()))
    return Exit.OK


def _cores(unit: Unit) -> list[dict[str, Any]]:
    names = ("cpu", "errors", "in_period", "kinds")
    return [dict(zip(names, core, strict=True)) for core in unit.properties.get("Cores", ())]


async def _pages(service: Service, _: argparse.Namespace, output: Output) -> Exit:
    found: dict[int, Any] = {}
    offset, total = 0, 1
    # While they are listed, pages may come and go: what is listed twice counts once.
    while offset < total:
        pages, total = await service.call("ListPages", "uu", offset, MOST_AT_ONCE)
        found.update((page[0], page) for page in pages)
        offset += MOST_AT_ONCE
    if output.json:
        names = ("errors", "in_period", "state", "reason", "since")
        output.document(
            [{"address": hex(page[0])} | dict(zip(names, page[1:], strict=True)) for page in found.values()]
        )
    else:
        output.lines(views.pages(list(found.values()), output.look()))
    return Exit.OK


async def _history(service: Service, _: argparse.Namespace, output: Output) -> Exit:
    (found,) = await service.call("ListReplaced")
    if output.json:
        names = ("label", "part_number", "serial_number", "corrected_errors", "uncorrected_errors")
        output.document(
            [
                {"object": row[0], "place": place_of(row[0])}
                | dict(zip((*names, "until", "why"), row[1:], strict=True))
                for row in found
            ]
        )
    else:
        output.lines(views.history(found, output.look()))
    return Exit.OK


async def _offline_page(service: Service, options: argparse.Namespace, output: Output) -> Exit:
    mode = "hard" if options.hard else "soft"
    ok, reason = await service.call("OfflinePage", "ts", options.page, mode)
    page = f"{options.page & ~0xFFF:#x}"
    if output.json:
        output.document({"page": page, "ok": ok, "reason": reason})
        return Exit.OK if ok else Exit.FAILURE
    if not ok:
        raise CtlError(f"page {page} could not be taken out of use: {reason or 'no reason given'}")
    output.lines([f"Page {page} is out of use now{f': {reason}' if reason else ''}."])
    return Exit.OK


async def _replaced(service: Service, options: argparse.Namespace, output: Output) -> Exit:
    path = dimm_path(await _find(service, options.place))
    await service.call("MarkReplaced", "o", path)
    return _done(output, path, f"{words_of(path)} is another one now; mcelogctl history has the old one.")


async def _acquit(service: Service, options: argparse.Namespace, output: Output) -> Exit:
    path = dimm_path(await _find(service, options.place))
    await service.call("Acquit", "o", path)
    return _done(output, path, f"{words_of(path)} counts as sound now.")


async def _reset(service: Service, options: argparse.Namespace, output: Output) -> Exit:
    path = ROOT if options.all else await _find(service, options.place)
    await service.call("ResetCounters", "o", path)
    what = "All counters are" if options.all else f"The counters of {words_of(path)} are"
    return _done(output, path, f"{what} zero now.")


def _done(output: Output, path: str, sentence: str) -> Exit:
    if output.json:
        output.document({"object": path, "ok": True})
    else:
        output.lines([sentence])
    return Exit.OK


async def _reload(service: Service, _: argparse.Namespace, output: Output) -> Exit:
    (remarks,) = await service.call("Reload")
    if output.json:
        output.document({"remarks": remarks})
    else:
        for remark in remarks:
            say(remark)
        output.lines(["mcelog.conf was read again" + (", see above." if remarks else ".")])
    return Exit.OK


async def _self_test(service: Service, _: argparse.Namespace, output: Output) -> Exit:
    ok, links = await service.call("SelfTest")
    if output.json:
        names = ("name", "ok", "text")
        output.document({"ok": ok, "links": [dict(zip(names, link, strict=True)) for link in links]})
    else:
        output.lines(views.self_test(ok, links, output.look()))
    return Exit.OK if ok else Exit.FAILURE


async def _find(service: Service, place: str) -> str:
    """The object of a place; only a label needs asking for."""
    return object_of(place) or labelled(place, _labels(await service.objects()))


def _path(place: str, objects: Objects) -> str:
    return object_of(place) or labelled(place, _labels(objects))


def _labels(objects: Objects) -> dict[str, str]:
    return {unit.path: unit.text("Label") for unit in units(objects, DIMM)}


_COMMANDS = {
    "status": _status,
    "dimms": _dimms,
    "sockets": _sockets,
    "pages": _pages,
    "history": _history,
    "offline-page": _offline_page,
    "replaced": _replaced,
    "acquit": _acquit,
    "reset": _reset,
    "reload": _reload,
    "self-test": _self_test,
}
