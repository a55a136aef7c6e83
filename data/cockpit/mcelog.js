// SPDX-License-Identifier: GPL-2.0-only
// The page: what is known and what the user looks at go in, what is shown comes out.

import { changeDimm, showEvent, takeOut } from "./actions.js";
import { Mcelog } from "./bus.js";
import { show } from "./dom.js";
import { eventsOf } from "./history.js";
import { mapOf } from "./layout.js";
import { coresView, eventsView, pagesView, replacedView } from "./lists.js";
import { dimmView, mapView } from "./map.js";
import { asOf } from "./model.js";
import { liveText, noticesView, verdictView } from "./notices.js";
import { Superuser } from "./superuser.js";
import { errorText, nameOf } from "./texts.js";
import { followTheme } from "./theme.js";

const FEW = 15;
const MINUTE = 60;

const view = {
    selected: "",
    span: /** @type {keyof typeof import("./history.js").SPANS} */ ("week"),
    eventLimit: FEW,
    pageLimit: FEW,
    unfolded: /** @type {Set<number>} */ (new Set()),
};

followTheme();
const superuser = new Superuser(() => mcelog.connect());
const mcelog = new Mcelog(render);
mcelog.connect();
// "3 minutes ago" is another thing a minute later.
window.setInterval(() => render(mcelog.state), MINUTE * 1000);

function change(news) {
    Object.assign(view, news);
    render(mcelog.state);
}

/** @param {import("./bus.js").State} state */
function render(state) {
    const now = Math.floor(Date.now() / 1000 / MINUTE + 1) * MINUTE;
    const { machine, refusal, phase, problem, events } = state;
    const dimms = asOf(state.dimms, now);
    const dimm = mapOf(dimms).flatMap(shownDimms).find(one => one.path === view.selected);
    const isKnown = machine !== null && refusal === null;
    const span = { span: view.span, now, knownFrom: state.hasOlder ? events[0]?.time ?? 0 : 0, choose };

    document.body.classList.toggle("stale", phase !== "running" && machine !== null);
    show("live", [phase, machine !== null], () => [liveText(state)]);
    show("notices", [phase, problem, refusal && errorText(refusal), superuser.isPossible, machine?.SourceState],
    () => noticesView(state, {
        start: () => mcelog.start(), retry: () => mcelog.connect(),
        turnOn: superuser.isPossible ? () => superuser.turnOn() : null,
    }));
    show("verdict", [machine, refusal !== null, dimms, now], () => machine
        ? verdictView({ ...state, dimms }, now, selected => change({ selected })) : []);
    show("map", [isKnown, dimms, view.selected], () =>
        isKnown ? mapView(dimms, view.selected, selected => change({ selected, eventLimit: FEW })) : []);
    show("dimm", [dimm, dimm && eventsOf(events, dimm.path).length, view.span, now, span.knownFrom], () =>
        dimm ? dimmView(dimm, eventsOf(events, dimm.path), span,
            action => changeDimm(mcelog, dimm, action), () => change({ selected: "" })) : []);
    renderLists(state, dimm, isKnown, span);
}

function renderLists(state, dimm, isKnown, span) {
    const { dimms, events, pages, pageTotal, machine } = state;
    const names = new Map(dimms.map(one => [one.path, nameOf(one)]));
    const shown = eventsOf(events, dimm?.path ?? "");
    show("events", [isKnown, shown.at(-1), shown.length, view, [...view.unfolded], span.now, [...names]], () => isKnown
        ? eventsView(shown, {
            name: path => names.get(path) ?? "", about: dimm ? nameOf(dimm) : "", limit: view.eventLimit, trend: span,
            unfolded: view.unfolded, unfold: id => change({ unfolded: new Set([...view.unfolded, id]) }),
            open: event => showEvent(mcelog, event),
            showMore: () => change({ eventLimit: view.eventLimit + 50 }),
            showAll: () => change({ selected: "" }),
        })
        : []);
    show("pages", [isKnown, pages, pageTotal, machine?.PageAction, view.pageLimit], () => isKnown
        ? pagesView(pages, pageTotal, {
            action: machine.PageAction, limit: view.pageLimit, takeOut: page => takeOut(mcelog, page),
            showMore: () => change({ pageLimit: view.pageLimit + 50 }),
        })
        : []);
    show("cores", [isKnown, state.sockets], () => isKnown ? coresView(state.sockets) : []);
    show("replaced", [isKnown, state.replaced], () => isKnown ? replacedView(state.replaced) : []);
}

/** @param {import("./layout.js").Socket} socket */
function shownDimms(socket) {
    return socket.channels.flatMap(channel => channel.dimms);
}

function choose(span) {
    change({ span });
}
