// SPDX-License-Identifier: GPL-2.0-only
// What can be done from the page. Each asks first, and says what will happen.

import { ask, say } from "./dialogs.js";
import { h } from "./dom.js";
import { counted, hex, nameOf, when } from "./texts.js";

/** @typedef {import("./bus.js").Mcelog} Mcelog */
/** @typedef {import("./model.js").Dimm} Dimm */

const MODES = [
    ["soft", "Move its content elsewhere", "Nothing notices. It may fail for memory that cannot be moved."],
    ["hard", "Give it up at once", "Processes that need what is in it are killed."],
];

/**
 * Take a page out of use.
 * @param {Mcelog} mcelog
 * @param {import("./model.js").Page} page
 */
export async function takeOut(mcelog, page) {
    const choices = MODES.map(([mode, title, text], index) =>
        h("label", { class: "choice" },
            h("input", { type: "radio", name: "mode", value: mode, checked: index === 0 }),
            h("span", {}, h("strong", {}, title), h("br"), text)));
    const body = h("fieldset", {}, h("legend", {}, `It had ${counted(page.total, "corrected error")}.`), ...choices);
    const isDone = await ask({
        title: `Take page ${hex(page.address)} out of use`,
        body: [body, h("p", { class: "hint" }, "It is in use again only after a restart of the machine.")],
        confirm: "Take out of use",
        danger: true,
        act: async () => {
            const mode = /** @type {HTMLInputElement} */ (body.querySelector("input:checked")).value;
            const [ok, reason] = await mcelog.act("OfflinePage", "ts", page.address, mode);
            if (!ok)
                throw new Error(reason || "The kernel did not take the page out of use.");
        },
    });
    if (isDone)
        say(`Page ${hex(page.address)} is out of use.`);
}

/** What can be said of a DIMM: the method, its button, its question. */
export const DIMM_ACTIONS = [
    {
        member: "MarkReplaced",
        label: "DIMM was replaced",
        text: "Another DIMM is in this slot now. Its counters begin at zero; what the old one had counted is kept in the list of replaced DIMMs.",
        done: name => `${name} counts as a new DIMM.`,
    },
    {
        member: "Acquit",
        label: "DIMM is sound",
        text: "You know why the errors came, and that it was not the DIMM. Thresholds and diagnosis begin anew; totals stay.",
        done: name => `The diagnosis of ${name} begins anew.`,
    },
    {
        member: "ResetCounters",
        label: "Reset counters",
        text: "All its counters are set to zero. Events that were recorded stay.",
        done: name => `The counters of ${name} are zero.`,
    },
];

/**
 * Do one of DIMM_ACTIONS.
 * @param {Mcelog} mcelog
 * @param {Dimm} dimm
 * @param {typeof DIMM_ACTIONS[number]} action
 */
export async function changeDimm(mcelog, dimm, { member, label, text, done }) {
    const isDone = await ask({
        title: `${label}: ${nameOf(dimm)}`,
        body: [h("p", {}, text)],
        confirm: label,
        danger: member === "ResetCounters",
        act: () => mcelog.act(member, "o", dimm.path),
    });
    if (isDone)
        say(done(nameOf(dimm)));
}

/**
 * Show all there is to know about an event.
 * @param {Mcelog} mcelog
 * @param {import("./model.js").Event} event
 */
export async function showEvent(mcelog, event) {
    const details = h("div", {}, "Reading…");
    mcelog.event(event.id).then(
        fields => details.replaceChildren(...fieldsOf(fields)),
        error => details.replaceChildren(`The event could not be read: ${error.message || error.problem}`));
    await ask({
        title: `Event ${event.id}, ${when(event.time)}`,
        body: [h("p", {}, event.summary), details],
        wide: true,
    });
}

function fieldsOf(fields) {
    const { MCE_DECODED: decoded = [], MESSAGE: _, ...rest } = fields;
    const rows = Object.keys(rest).sort().map(name =>
        h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "mono" }, rest[name].join(", "))));
    return [
        decoded.length && h("pre", { tabindex: "0", "aria-label": "Decoded record" }, decoded.join("\n")),
        h("details", {}, h("summary", {}, "All fields"), h("table", {}, h("tbody", {}, ...rows))),
    ].filter(Boolean);
}
