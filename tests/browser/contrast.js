// SPDX-License-Identifier: GPL-2.0-only
// The text that is hard to read: its contrast with what is behind it, as WCAG 2 computes it, below 4.5.

const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

function rgba(color) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
}

function over(front, back) {
    return front.slice(0, 3).map((value, index) => value * front[3] + back[index] * (1 - front[3]));
}

function behind(element) {
    const layers = [];
    for (let one = element; one; one = one.parentElement)
        layers.unshift(rgba(getComputedStyle(one).backgroundColor));
    return layers.reduce((back, layer) => over(layer, back), [255, 255, 255]);
}

function luminance(color) {
    const [red, green, blue] = color.map(value =>
        value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

const found = [];
let read = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest("noscript, title"))
        continue;
    read += 1;
    const back = behind(element);
    const front = over(rgba(getComputedStyle(element).color), back);
    const [dark, light] = [luminance(front), luminance(back)].sort((a, b) => a - b);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5)
        found.push(`${contrast.toFixed(2)}: ${text}`);
}
return { found, read };
