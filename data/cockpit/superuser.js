// SPDX-License-Identifier: GPL-2.0-only
// Administrative access, by Cockpit's own means: its bridge has a second one of root's beside it,
// which "superuser: try" makes use of. The bridge's object cockpit.Superuser turns it on.

import { ask } from "./dialogs.js";
import { h } from "./dom.js";

export class Superuser {
    /** @param {() => void} changed called when access was turned on or off, also from Cockpit's own menu */
    constructor(changed) {
        this._proxy = cockpit.dbus(null, { bus: "internal" }).proxy("cockpit.Superuser", "/superuser");
        this._current = null;
        this._proxy.addEventListener("changed", () => {
            const { Current: current } = this._proxy;
            if (current === "init" || current === this._current)
                return;
            const isFirst = this._current === null;
            this._current = current;
            if (!isFirst)
                changed();
        });
        this._proxy.addEventListener("Prompt", (_, message, prompt, initial, echo, error) =>
            this._answer(message, prompt, initial, echo, error));
    }

    /** Whether there is something to be turned on. */
    get isPossible() {
        return this._proxy.valid && this._current === "none" && this._proxy.Bridges?.length > 0;
    }

    /**
     * Turn it on; the user is asked for a password where one is needed.
     * @throws what Cockpit says if it could not be done
     */
    async turnOn() {
        await this._proxy.Start("any");
    }

    async _answer(message, prompt, initial, echo, error) {
        const input = /** @type {HTMLInputElement} */ (h("input", {
            id: "answer", type: echo ? "text" : "password", value: initial, autocomplete: "current-password",
        }));
        const isAnswered = await ask({
            title: "Turn on administrative access",
            body: [message && h("p", {}, message), h("label", { for: "answer" }, prompt), input],
            error,
            confirm: "Authenticate",
        });
        if (isAnswered)
            this._proxy.Answer(input.value);
        else
            this._proxy.Stop();
    }
}
