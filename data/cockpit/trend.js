// SPDX-License-Identifier: GPL-2.0-only
// Events over time, as bars.

import { h, svg } from "./dom.js";
import { SPANS, trend } from "./history.js";
import { counted, when } from "./texts.js";

const HEIGHT = 64;
const STEP = 10;

/**
 * @typedef {Object} TrendOptions
 * @property {keyof typeof SPANS} span
 * @property {number} now seconds since 1970
 * @property {number} knownFrom events before that were not read; 0 if there are none
 * @property {(span: keyof typeof SPANS) => void} choose
 */

/**
 * @param {import("./model.js").Event[]} events
 * @param {TrendOptions} options
 */
export function trendChart(events, { span, now, knownFrom, choose }) {
    const bars = trend(events, span, now);
    const most = Math.max(...bars.map(bar => bar.corrected + bar.other), 1);
    const total = bars.reduce((sum, bar) => sum + bar.corrected + bar.other, 0);
    const isCut = knownFrom > bars[0].from;
    const label = `${counted(total, "event")} in the last ${SPANS[span].label}`;
    return h("figure", { class: "trend" },
        h("figcaption", {}, h("span", {}, label, isCut ? ` (only those since ${when(knownFrom)} are shown)` : ""),
            choice(span, choose)),
        svg("svg", {
            viewBox: `0 0 ${bars.length * STEP} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label,
        }, ...bars.map((bar, index) => drawBar(bar, index, most))),
        h("div", { class: "axis", "aria-hidden": "true" },
            h("span", {}, day(bars[0].from, span)), h("span", {}, `most at once: ${most * Math.sign(total)}`),
            h("span", {}, "now")));
}

function drawBar(bar, index, most) {
    const scale = (HEIGHT - 2) / most;
    // An event among thousands is still to be seen.
    const other = bar.other && Math.max(bar.other * scale, 3);
    const corrected = bar.corrected && Math.min(Math.max(bar.corrected * scale, 2), HEIGHT - 2 - other);
    const told = [bar.corrected && counted(bar.corrected, "corrected"), bar.other && `${bar.other} not corrected`];
    const place = { x: index * STEP + 1, width: STEP - 2 };
    return svg("g", {},
        svg("title", {}, `${when(bar.from)}: ${told.filter(Boolean).join(", ") || "none"}`),
        svg("rect", { ...place, y: 0, height: HEIGHT, class: "room" }),
        svg("rect", { ...place, y: HEIGHT - corrected, height: corrected, class: "corrected" }),
        svg("rect", { ...place, y: HEIGHT - corrected - other, height: other, class: "other" }));
}

function day(time, span) {
    const date = new Date(time * 1000);
    return span === "day"
        ? date.toLocaleTimeString(undefined, { timeStyle: "short" })
        : date.toLocaleDateString(undefined, { day: "numeric", month: "short" });
}

function choice(span, choose) {
    return h("span", { class: "segments", role: "group", "aria-label": "Period" },
        ...Object.entries(SPANS).map(([name, { label }]) => h("button", {
            type: "button", "data-key": `span-${name}`, "aria-pressed": String(name === span),
            onclick: () => choose(/** @type {keyof typeof SPANS} */ (name)),
        }, label)));
}
