// What can be taken along: picture, numbers, the address of this view, the full screen: { node, csv() }.
import { element } from "./controls.js";
import { csvOf, saveAs, saveText } from "./explorer_export.js";

export const actionButton = (text, label, onclick) => element("button", {
  class: "arl-action", type: "button", text, title: label, "aria-label": text.length > 1 ? null : label, onclick,
});

export function buildTools({ root, choices, data, picture, results, address }) {
  const file = (choices.meta.title || "attention").replace(/\W+/g, "-");
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
  // In a shadow root the document names the root's host, so that any full screen counts as this one.
  const full = () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()).catch(() => {});
  const node = element("div", { class: "arl-tools", role: "group", "aria-label": "Save and share" },
    actionButton("Save PNG", "the maps", () => saveAs(`${file}.png`, picture().toDataURL("image/png"))),
    actionButton("Save CSV", "the weights, token by token", () => saveText(`${file}.csv`, csv())),
    actionButton("Copy link", "the address of this view", copy),
    ...(document.fullscreenEnabled ? [actionButton("Full screen", "Esc ends it", full)] : []), copied);
  return { node, csv };
}
