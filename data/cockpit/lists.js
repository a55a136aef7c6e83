// SPDX-License-Identifier: GPL-2.0-only
// The lists of the page: events, pages of memory, processor cores, replaced DIMMs.

import { h, icon } from "./dom.js";
import { folded } from "./history.js";
import { sortPages } from "./model.js";
import { SEVERITY_SIGNS, counted, grouped, hex, objectText, pageStateText, when } from "./texts.js";
import { trendChart } from "./trend.js";

/**
 * A table whose rows become cards on a narrow screen: each cell knows its column's name.
 * @param {string} label
 * @param {string[]} columns
 * @param {import("./dom.js").Child[][]} rows
 */
function table(label, columns, rows) {
    return h("table", { class: "list", "aria-label": label },
        h("thead", {}, h("tr", {}, ...columns.map(name => h("th", { scope: "col" }, name)))),
        h("tbody", {}, ...rows.map(row => h("tr", {}, ...row.map((cell, index) =>
            h("td", { "data-label": columns[index] }, cell))))));
}

function more(key, shown, total, showMore) {
    return total > shown
        ? h("p", { class: "more" }, `${grouped(shown)} of ${grouped(total)} are shown. `,
            h("button", { type: "button", class: "link", "data-key": key, onclick: showMore }, "Show more"))
        : null;
}

/**
 * @param {import("./model.js").Event[]} events those to show, oldest first
 * @param {Object} view
 * @param {(path: string) => string} view.name of a DIMM
 * @param {string} view.about whose events they are; empty for all
 * @param {number} view.limit
 * @param {Set<number>} view.unfolded see folded()
 * @param {(id: number) => void} view.unfold
 * @param {import("./trend.js").TrendOptions} view.trend
 * @param {(event: import("./model.js").Event) => void} view.open
 * @param {() => void} view.showMore
 * @param {() => void} view.showAll
 */
export function eventsView(events, { name, about, limit, unfolded, unfold, trend, open, showMore, showAll }) {
    const heading = h("div", { class: "heading" },
        h("h2", { id: "events-title" }, about ? `Events of ${about}` : "Events"),
        about ? h("button", { type: "button", class: "link", "data-key": "all-events", onclick: showAll }, "Show all events") : null);
    if (!events.length)
        return [heading, h("p", { class: "empty" }, "No event is recorded.")];
    const lines = folded(events, unfolded);
    const rows = lines.slice(0, limit).map(({ event, first, count }) => [
        h("time", { datetime: new Date(event.time * 1000).toISOString() }, when(event.time)),
        severity(event.severity),
        h("div", {},
            h("button", { type: "button", class: "link", "data-key": `event-${event.id}`, onclick: () => open(event) },
                event.summary),
            count > 1 ? h("button", { type: "button", class: "link fold", "data-key": `fold-${first.id}`,
                onclick: () => unfold(first.id) }, `${counted(count, "event")} since ${when(first.time)} – show each`) : null),
        name(event.object) || objectText(event.object),
    ]);
    return [
        heading,
        about ? null : trendChart(events, trend),
        table("Events, newest first", ["Time", "Severity", "What happened", "Where"], rows),
        more("more-events", rows.length, lines.length, showMore),
    ];
}

function severity(name) {
    const sign = SEVERITY_SIGNS[name] ?? SEVERITY_SIGNS.uncorrected;
    return h("span", { class: "badge", "data-level": sign.level }, icon(sign.icon), name);
}

/**
 * @param {import("./model.js").Page[]} pages
 * @param {number} total how many there are
 * @param {Object} view
 * @param {string} view.action what mcelog does by itself
 * @param {number} view.limit
 * @param {(page: import("./model.js").Page) => void} view.takeOut
 * @param {() => void} view.showMore
 */
export function pagesView(pages, total, { action, limit, takeOut, showMore }) {
    const out = pages.filter(page => page.state === "offline").length;
    const shown = sortPages(pages).slice(0, limit);
    const rows = shown.map(page => [
        h("span", { class: "mono" }, hex(page.address)),
        grouped(page.total),
        [pageStateText(page.state), page.reason && `: ${page.reason}`, page.since ? `, ${when(page.since)}` : ""].join(""),
        page.state === "offline" ? null : h("button", {
            type: "button", class: "small", "data-key": `page-${page.address}`, onclick: () => takeOut(page),
            "aria-label": `Take page ${hex(page.address)} out of use`,
        }, "Take out of use…"),
    ]);
    return [
        h("h2", { id: "pages-title" }, "Pages of memory with errors"),
        h("p", { class: "hint" }, PAGE_ACTIONS[action] ?? ""),
        pages.length
            ? h("p", {}, `${counted(total, "page")}, ${grouped(out)} out of use.`)
            : h("p", { class: "empty" }, "No page has had an error."),
        pages.length ? table("Pages of memory", ["Address", "Corrected errors", "State", "Action"], rows) : null,
        more("more-pages", shown.length, total, showMore),
    ];
}

const PAGE_ACTIONS = {
    off: "Pages are not counted (memory-ce-action = off in mcelog.conf).",
    account: "Pages are counted; none is taken out of use unless you do it (memory-ce-action = account in mcelog.conf).",
    soft: "A page with too many errors is taken out of use by itself: its content is moved elsewhere.",
    hard: "A page with too many errors is taken out of use by itself: processes that need it are killed.",
    "soft-then-hard": "A page with too many errors is taken out of use by itself: its content is moved, or if that fails given up.",
};

/** @param {{Socket: number, Cores: [number, number, number, Record<string, {v?: number} | number>][]}[]} sockets */
export function coresView(sockets) {
    const rows = sockets.flatMap(socket => socket.Cores.map(([cpu, total, inPeriod, kinds]) => [
        `CPU ${cpu} (socket ${socket.Socket})`, grouped(total), grouped(inPeriod),
        Object.entries(kinds).map(([kind, count]) => `${kind}: ${count}`).join(", "),
    ]));
    return rows.length
        ? [h("h2", { id: "cores-title" }, "Corrected errors of processors"),
            table("Processors", ["Processor", "In all", "In this period", "Kinds"], rows)]
        : [];
}

/** @param {any[]} dimms rows of ListReplaced */
export function replacedView(dimms) {
    const rows = dimms.map(([path, label, part, serial, corrected, uncorrected, until, why]) => [
        label || objectText(path), [part, serial].filter(Boolean).join(", serial "),
        `${grouped(corrected)} corrected, ${grouped(uncorrected)} uncorrected`, `${when(until)}: ${why}`,
    ]);
    return rows.length
        ? [h("h2", { id: "replaced-title" }, "DIMMs that were replaced"),
            table("Replaced DIMMs", ["Slot", "Part", "Errors", "Until"], rows)]
        : [];
}
