// SPDX-License-Identifier: GPL-2.0-only
// Light or dark, as the user chose in Cockpit's menu; "auto" follows the desktop.

const CHOICE = "shell:style";
const dark = window.matchMedia("(prefers-color-scheme: dark)");

/** @param {string} [choice] auto, light or dark */
function apply(choice = localStorage.getItem(CHOICE) ?? "auto") {
    const isDark = choice === "dark" || (choice === "auto" && dark.matches);
    document.documentElement.classList.toggle("dark", isDark);
}

/** Apply the theme now, and again whenever it is another. */
export function followTheme() {
    dark.addEventListener("change", () => apply());
    window.addEventListener("storage", event => event.key === CHOICE && apply());
    // Cockpit's shell tells the pages that are open.
    window.addEventListener("cockpit-style", event => apply(/** @type {CustomEvent} */ (event).detail?.style));
    apply();
}
