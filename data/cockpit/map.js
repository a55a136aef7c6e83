// SPDX-License-Identifier: GPL-2.0-only
// The map of the DIMMs, and the one that is looked at.

import { DIMM_ACTIONS } from "./actions.js";
import { h, icon } from "./dom.js";
import { mapOf, neighbour } from "./layout.js";
import { levelOf, share } from "./model.js";
import { LEVEL_SIGNS, ago, faultText, grouped, levelSign, levelWord, nameOf, placeOf, rateText, shortRate, sizeText, when } from "./texts.js";
import { trendChart } from "./trend.js";

/** @typedef {import("./model.js").Dimm} Dimm */

/**
 * @param {Dimm[]} dimms
 * @param {string} selected path of a DIMM, or empty
 * @param {(path: string) => void} select
 */
export function mapView(dimms, selected, select) {
    if (!dimms.length)
        return [title(), h("p", { class: "empty" }, "No DIMM has had an error, and firmware does not list them.")];
    const sockets = mapOf(dimms);
    const entry = selected || sockets[0].channels[0].dimms[0].path;
    const body = h("div", { class: "sockets", onkeydown: event => moveFocus(event, sockets) },
        ...sockets.map(({ socket, channels }) =>
            h("div", { class: "socket", role: "group", "aria-label": socketName(socket) },
                h("h3", {}, socketName(socket)),
                h("div", { class: "channels" }, ...channels.map(({ channel, dimms: inChannel }) =>
                    h("div", { class: "channel", role: "group", "aria-label": channelName(channel) },
                        h("h4", {}, channelName(channel)),
                        ...inChannel.map(dimm => tile(dimm, selected, entry, select))))))));
    return [title(), body, legend(dimms)];
}

function title() {
    return h("h2", { id: "map-title" }, "Memory map");
}

function socketName(socket) {
    return socket < 0 ? "Socket not known" : `Socket ${socket}`;
}

function channelName(channel) {
    return channel < 0 ? "Any channel" : `Channel ${channel}`;
}

function tile(dimm, selected, entry, select) {
    const level = dimm.isSuspect ? "past" : levelOf(dimm);
    const part = share(dimm);
    const slot = dimm.Dimm < 0 ? "any DIMM" : `DIMM ${dimm.Dimm}`;
    const rate = dimm.CorrectedErrors || dimm.UncorrectedErrors
        ? shortRate(dimm.CorrectedInPeriod, dimm.CorrectedThreshold) : "";
    return h("button", {
        class: "tile", type: "button", title: nameOf(dimm), "data-level": level, "data-key": dimm.path,
        "aria-pressed": String(dimm.path === selected), tabindex: dimm.path === entry ? 0 : -1,
        onclick: () => select(dimm.path === selected ? "" : dimm.path),
    },
    h("span", { class: "name" }, dimm.Label || slot),
    h("span", { class: "state" }, icon(levelSign(dimm)), levelWord(dimm)),
    h("span", { class: "rate" }, rate || (dimm.Label ? slot : "")),
    part ? meter(part) : null);
}

function meter(part) {
    const width = `${Math.round(Math.min(part, 1) * 100)}%`;
    const fill = h("span");
    fill.style.width = width;
    return h("span", { class: "meter", "aria-hidden": "true" }, fill);
}

function moveFocus(event, sockets) {
    const from = event.target.closest(".tile")?.getAttribute("data-key");
    const to = from && !event.ctrlKey && !event.altKey && !event.metaKey && neighbour(sockets, from, event.key);
    if (!to)
        return;
    event.preventDefault();
    for (const one of event.currentTarget.querySelectorAll(".tile")) {
        const isIt = one.getAttribute("data-key") === to;
        one.tabIndex = isIt ? 0 : -1;
        if (isIt)
            one.focus();
    }
}

function legend(dimms) {
    const there = new Set(dimms.map(levelOf));
    return h("ul", { class: "legend", "aria-label": "Legend" }, ...Object.entries(LEVEL_SIGNS).map(([level, sign]) =>
        h("li", { "data-level": level, class: there.has(/** @type {any} */ (level)) ? "" : "unused" },
            icon(sign.icon), sign.word)));
}

/**
 * @param {Dimm} dimm
 * @param {import("./model.js").Event[]} events its own
 * @param {import("./trend.js").TrendOptions} options
 * @param {(action: typeof DIMM_ACTIONS[number]) => void} act
 * @param {() => void} close
 */
export function dimmView(dimm, events, options, act, close) {
    const level = levelOf(dimm);
    return [
        h("div", { class: "heading" },
            h("h2", { id: "dimm-title" }, nameOf(dimm)),
            h("span", { class: "badge", "data-level": level }, icon(LEVEL_SIGNS[level].icon), levelWord(dimm)),
            h("button", { class: "plain", type: "button", "data-key": "close", onclick: close }, "Close")),
        dimm.AdviceReasons.length
            ? h("ul", { class: "reasons" }, ...dimm.AdviceReasons.map(reason => h("li", {}, reason))) : null,
        h("div", { class: "columns" },
            h("dl", {}, ...errorFacts(dimm, options.now), ...partFacts(dimm)),
            h("div", {}, trendChart(events, options))),
        h("div", { class: "actions" }, ...DIMM_ACTIONS.map(action =>
            h("button", { type: "button", "data-key": action.member, onclick: () => act(action) }, `${action.label}…`))),
    ];
}

function errorFacts(dimm, now) {
    return [
        ...fact("Corrected errors", errorsText(dimm.CorrectedErrors, dimm.CorrectedInPeriod, dimm.CorrectedThreshold)),
        ...fact("Uncorrected errors",
            errorsText(dimm.UncorrectedErrors, dimm.UncorrectedInPeriod, dimm.UncorrectedThreshold)),
        ...fact("Last error", dimm.LastErrorTime ? `${when(dimm.LastErrorTime)} (${ago(dimm.LastErrorTime, now)})` : ""),
        ...fact("Fault", dimm.FaultMode && faultText(dimm.FaultMode)),
    ];
}

function errorsText(total, inPeriod, threshold) {
    return total && threshold ? `${grouped(total)} in all; ${rateText(inPeriod, threshold)}` : grouped(total);
}

function partFacts(dimm) {
    return [
        ...fact("Where", `Socket ${dimm.Socket < 0 ? "?" : dimm.Socket}, ${placeOf(dimm)}`),
        ...fact("Slot by firmware", dimm.Location),
        ...fact("Size", sizeText(dimm.Size)),
        ...fact("Made by", dimm.Manufacturer),
        ...fact("Part number", dimm.PartNumber),
        ...fact("Serial number", dimm.SerialNumber),
    ];
}

function fact(name, value) {
    return value ? [h("dt", {}, name), h("dd", {}, value)] : [];
}
