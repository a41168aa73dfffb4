// Table, legend and help of the attention explorer.
import { percent } from "./colour.js";
import { element } from "./controls.js";
import { distanceText, lagText, timeText } from "./places.js";

// { node, head, body, bar, note }: the bar is a canvas for a colour bar that several maps share.
export function buildAside({ panels, words }) {
  const head = element("thead");
  const note = element("p", { class: "arl-note", text: words.note });
  const body = element("tbody");
  const bar = element("canvas", { class: "arl-canvas", "aria-hidden": "true" });
  const node = element("div", { class: "arl-aside" },
    ...(panels === "times" ? [element("div", { class: "arl-shared-bar" }, bar)] : []),
    element("table", { class: "arl-table" }, element("caption", { text: "Where this query looks, on average" }), head, body),
    element("div", { class: "arl-legend" },
      element("ul", { class: "arl-key" }, ...words.legend.map(([kind, text]) => element("li", {},
        element("span", { class: `arl-swatch arl-swatch-${kind}`, "aria-hidden": "true" }), element("span", { text })))),
      note, element("p", { class: "arl-note", text: words.accuracy })));
  return { node, head, body, bar, note };
}

// A row of a table: its first cell is its heading.
export function tableRow([first, ...cells], attributes = {}, tag = "td") {
  return element("tr", attributes, element("th", { scope: tag === "td" ? "row" : "col", text: first }),
    ...cells.map((text) => element(tag, tag === "td" ? { text } : { text, scope: "col" })));
}

// One row per field: entropy, mean distance and mean lag of its softmax. Or one per time: share and mean distance.
export function fillTable({ head, body, note }, choices, results) {
  const { byTime, meta } = choices;
  const fill = (columns, rows) => {
    head.replaceChildren(tableRow(["", ...columns], {}, "th"));
    body.replaceChildren(...rows.map(([name, cells, asked]) => (
      tableRow([name, ...(cells ?? columns.map(() => "–"))], { "data-arl-query": Boolean(asked) }))));
  };
  if (!byTime) {
    fill(["entropy", "distance", "lag"], meta.fields.map((field) => {
      const { summary } = results.get(field.name);
      return [field.label, summary && [summary.entropy.toFixed(2), distanceText(field, summary.distance), lagText(field, summary.lag)],
        field === choices.queryField()];
    }));
    return;
  }
  const [field] = choices.keyFields();
  const { summary } = results.get(field.name);
  const [levels, times] = field.shape;
  const cells = (slots) => {
    if (!summary) return null;
    const share = slots.reduce((sum, slot) => sum + summary.shares[slot], 0);
    const distance = slots.reduce((sum, slot) => sum + summary.shares[slot] * summary.distances[slot], 0) / (share || 1);
    return [percent(share), distanceText(field, distance)];
  };
  const all = Array.from({ length: levels * times }, (_, slot) => slot);
  fill(["share", "distance"], [
    ...field.hours.map((hours, time) => [timeText(field, hours), cells(all.filter((slot) => slot % times === time))]),
    ["all times", cells(all)]]);
  note.textContent = !summary ? "" : `${meta.words.note} Entropy: ${summary.entropy.toFixed(2)} of uniform attention's; `
    + `mean lag: ${lagText(field, summary.lag)}.`;
}

// Names of keys stand in braces.
export const buildHelp = ({ help }) => element("p", { class: "arl-help" },
  ...help.split(/[{}]/).map((part, i) => (i % 2 ? element("kbd", { text: part }) : part)));
