// SPDX-License-Identifier: GPL-2.0-only
// Dialogs: the browser's own, so the keyboard stays within, and Escape leaves.

import { h } from "./dom.js";
import { errorText } from "./texts.js";

/** @typedef {import("./dom.js").Child} Child */

/**
 * Ask something.
 * @param {Object} question
 * @param {string} question.title
 * @param {(Child | Child[])[]} question.body
 * @param {string} [question.confirm] on the button that does it; without it there is nothing to do but close
 * @param {boolean} [question.danger] whether it cannot be undone
 * @param {string} [question.error] what went wrong before
 * @param {boolean} [question.wide]
 * @param {() => Promise<any>} [question.act] done before the dialog closes; if it fails it stays open and says why
 * @returns {Promise<boolean>} whether it was confirmed (and done)
 */
export function ask({ title, body, confirm, danger, error, wide, act }) {
    return new Promise(resolve => {
        const problem = h("p", { class: "problem", role: "alert" }, error);
        const button = confirm
            ? h("button", { class: danger ? "danger" : "primary", type: "submit" }, confirm)
            : null;
        const form = h("form", { method: "dialog" },
            h("h2", { id: "dialog-title" }, title), ...body.flat(), problem,
            h("footer", {}, button,
                h("button", { type: "button", class: "plain", onclick: () => dialog.close() },
                    confirm ? "Cancel" : "Close")));
        const dialog = /** @type {HTMLDialogElement} */ (
            h("dialog", { "aria-labelledby": "dialog-title", class: wide ? "wide" : "" }, form));
        let isDone = false;
        const opener = document.activeElement?.getAttribute("data-key");
        form.addEventListener("submit", async event => {
            event.preventDefault();
            if (button?.hasAttribute("disabled"))
                return;
            button?.setAttribute("disabled", "");
            problem.textContent = "";
            try {
                await act?.();
                isDone = true;
                dialog.close();
            } catch (reason) {
                problem.textContent = errorText(reason);
                button?.removeAttribute("disabled");
            }
        });
        dialog.addEventListener("close", () => {
            dialog.remove();
            returnTo(opener);
            resolve(isDone);
        });
        document.body.append(dialog);
        dialog.showModal();
    });
}

/** The browser gives the keyboard back to what had it, but not if that was made anew meanwhile. */
function returnTo(key) {
    if (key && document.activeElement === document.body)
        /** @type {HTMLElement | null} */ (document.querySelector(`[data-key="${CSS.escape(key)}"]`))?.focus();
}

let fading = 0;

/**
 * Say that something was done; it goes away by itself.
 * @param {string} text
 */
export function say(text) {
    const toast = /** @type {HTMLElement} */ (document.getElementById("toast"));
    toast.textContent = text;
    window.clearTimeout(fading);
    fading = window.setTimeout(() => { toast.textContent = "" }, 8000);
}
