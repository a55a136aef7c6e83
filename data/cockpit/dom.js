// SPDX-License-Identifier: GPL-2.0-only
// Elements out of data. Strings become text, never markup: labels come from firmware.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {Node | string | number | null | undefined | false} Child nothing is made of the last three
 */

/**
 * Make an element.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] functions are listeners: onclick; true and false as HTML has them
 * @param {...(Child | Child[])} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
}

/**
 * Make an element of a drawing.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
        if (typeof value === "function")
            element.addEventListener(name.slice(2), value);
        else if (value !== false && value !== null && value !== undefined)
            element.setAttribute(name, value === true ? "" : String(value));
    }
    const shown = children.flat().filter(child => child !== null && child !== undefined && child !== false);
    element.append(...shown.map(child => child instanceof Node ? child : String(child)));
    return element;
}

const drawn = new WeakMap();

/**
 * Show something in a container, and leave it alone while `data` says the same as before: whoever
 * reads, selects or has the keyboard there is not disturbed. Where something is made anew, what had
 * the focus is found again by its data-key.
 * @param {string} id of the container
 * @param {any} data all that is shown depends on
 * @param {() => Child[]} make nothing hides the container
 */
export function show(id, data, make) {
    const container = /** @type {HTMLElement} */ (document.getElementById(id));
    const now = JSON.stringify(data) ?? "";
    if (drawn.get(container) === now)
        return;
    drawn.set(container, now);
    const active = document.activeElement;
    const key = active && container.contains(active) ? active.getAttribute("data-key") : null;
    const scrolled = [...container.querySelectorAll("[data-scroll]")].map(one => one.scrollTop);
    container.replaceChildren(...make().filter(Boolean));
    container.hidden = !container.childNodes.length;
    container.querySelectorAll("[data-scroll]").forEach((one, index) => { one.scrollTop = scrolled[index] ?? 0 });
    if (key !== null)
        /** @type {HTMLElement | null} */ (container.querySelector(`[data-key="${CSS.escape(key)}"]`))?.focus({ preventScroll: true });
}

/**
 * A small sign of its own shape, so that nothing hangs on its colour.
 * @param {"ok" | "dot" | "eye" | "warning" | "alert" | "swap"} shape
 */
export function icon(shape) {
    const paths = {
        ok: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm3.6 5.2-4.3 4.6-2.6-2.5 1-1 1.6 1.5 3.2-3.6Z",
        dot: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6Z",
        eye: "M8 3C4.4 3 1.7 5.6.5 8c1.2 2.4 3.9 5 7.5 5s6.3-2.6 7.5-5C14.3 5.6 11.6 3 8 3Zm0 8a3 3 0 1 1 0-6 3 3 0 0 1 0 6Z",
        warning: "M8 1 .5 15h15Zm-.8 5h1.6v4.5H7.2Zm0 5.7h1.6v1.6H7.2Z",
        alert: "M5 .5h6L15.5 5v6L11 15.5H5L.5 11V5Zm2.1 3v6h1.8v-6Zm0 7.2v1.8h1.8v-1.8Z",
        swap: "M4 1 .5 4.5 4 8V5.5h8v-2H4Zm8 7v2.5H4v2h8V15l3.5-3.5Z",
    };
    return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" },
        svg("path", { d: paths[shape], "fill-rule": "evenodd" }));
}
