// What can be taken along: picture, numbers, the address of this view, the full screen: { node, csv() }.
import { element } from "./controls.js";
import { csvOf, saveAs, saveText } from "./explorer_export.js";

export const actionButton = (text, label, onclick) => element("button", {
  class: "arl-action", type: "button", text, title: label, "aria-label": text.length > 1 ? null : label, onclick,
});

export function buildTools({ root, choices, data, picture, results, address }) {
  const csv = () => csvOf(choices, results(), data);
  const copied = element("span", { class: "arl-note", role: "status" });
  async function copy() {
    const text = address();
    try {
      await navigator.clipboard.writeText(text);
      copied.textContent = "copied";
    } catch {
      copied.textContent = text; // no clipboard here: to be copied by hand
    }
    setTimeout(() => { copied.textContent = ""; }, 6000);
  }
  const full = () => (document.fullscreenElement === root ? document.exitFullscreen() : root.requestFullscreen());
  const node = element("div", { class: "arl-tools", role: "group", "aria-label": "Save and share" },
    actionButton("Save PNG", "the maps as a picture", () => saveAs("attention.png", picture().toDataURL("image/png"))),
    actionButton("Save CSV", "the weights of all maps, token by token", () => saveText("attention.csv", csv())),
    actionButton("Copy link", "the address of this view", copy),
    ...(document.fullscreenEnabled ? [actionButton("Full screen", "Esc ends it", full)] : []), copied);
  return { node, csv };
}
