// Table, legend and help of the attention explorer.
import { percent } from "./colour.js";
import { element } from "./controls.js";
import { distanceText, lagText, timeText } from "./places.js";

const SEPARATE = "Self-attention heads and coupling heads are separate softmaxes: each map is part of one that sums to "
  + "100\u00a0% over all places, levels and times of its field. Shares of different fields do not compete.";
const TOGETHER = "All maps are parts of one softmax that sums to 100\u00a0% over all places and times, in one colour scale.";

// { node, head, body, bar, note }: the bar is a canvas for a colour bar that several maps share.
export function buildAside({ panels, fields, hidden, wind, reference }) {
  const byTime = panels === "times";
  const several = fields.some(({ shape: [levels, times] }) => (byTime ? levels : levels * times) > 1);
  const head = element("tr");
  const note = element("p", { class: "arl-note" });
  const body = element("tbody");
  const bar = element("canvas", { class: "arl-canvas", "aria-hidden": "true" });
  const symbol = (kind, text) => element("li", {},
    element("span", { class: `arl-swatch arl-swatch-${kind}`, "aria-hidden": "true" }), element("span", { text }));
  const node = element("div", { class: "arl-aside" },
    ...(byTime ? [element("div", { class: "arl-shared-bar" }, bar)] : []),
    element("table", { class: "arl-table" }, element("caption", { text: "Where this query looks, on average" }),
      element("thead", {}, head), body),
    element("div", { class: "arl-legend" },
      element("ul", { class: "arl-key" },
        symbol("query", `query token; dashed: its place ${byTime ? "at another time" : "in another field, level or time"}`),
        ...(hidden ? [symbol("hidden", "hidden from the model")] : []),
        symbol("half", "the strongest tokens: together they hold half of the softmax"),
        symbol("uniform", "on the colour bar: uniform attention"),
        ...(reference ? [symbol("difference", `more (red) or less (blue) attention than ${reference.name}, in percentage points`)] : []),
        ...(several ? [symbol("slots", `share of every level${byTime ? "" : " and time"}; click one to show it`)] : []),
        ...(wind ? [symbol("arrow", wind.text)] : [])),
      note));
  note.textContent = byTime ? TOGETHER : SEPARATE;
  return { node, head, body, bar, note };
}

// One row per field: entropy, mean distance and mean lag of its softmax. Or one per time: share and mean distance.
export function fillTable({ head, body, note }, choices, results) {
  const { byTime, meta, state } = choices;
  const columns = ["", ...(byTime ? ["share", "distance"] : ["entropy", "distance", "lag"])];
  const row = (name, asked, cells) => element("tr", { "data-arl-query": String(asked) },
    element("th", { scope: "row", text: name }), ...cells.map((text) => element("td", { text })));
  head.replaceChildren(...columns.map((text) => element("th", { scope: "col", text })));
  if (!byTime) {
    body.replaceChildren(...meta.fields.map((field) => {
      const { summary } = results.get(field.name);
      return row(field.label, field.name === state.query_field, summary
        ? [summary.entropy.toFixed(2), distanceText(field, summary.distance), lagText(field, summary.lag)] : ["–", "–", "–"]);
    }));
    return;
  }
  const [field] = choices.keyFields();
  const { summary } = results.get(field.name);
  const [levels, times] = field.shape;
  const rows = field.hours.map((hours, time) => {
    if (!summary) return row(timeText(field, hours), false, ["–", "–"]);
    const slots = Array.from({ length: levels }, (_, level) => level * times + time);
    const share = slots.reduce((sum, slot) => sum + summary.shares[slot], 0);
    const distance = slots.reduce((sum, slot) => sum + summary.shares[slot] * summary.distances[slot], 0) / (share || 1);
    return row(timeText(field, hours), false, [percent(share), distanceText(field, distance)]);
  });
  body.replaceChildren(...rows, row("all times", false, summary ? [percent(1), distanceText(field, summary.distance)] : ["–", "–"]));
  note.textContent = !summary ? "" : `${TOGETHER} Entropy: ${summary.entropy.toFixed(2)} of uniform attention's; `
    + `mean lag: ${lagText(field, summary.lag)}.`;
}

export function buildHelp({ byTime, meta }, save) {
  const keys = (...names) => names.map((name) => element("kbd", { text: name }));
  const several = meta.fields.length > 1;
  const levels = meta.fields.some((field) => field.level.length > 1);
  return element("p", { class: "arl-help" },
    `Hover over ${byTime ? "a" : "the query's"} map to try tokens${byTime ? " of its time" : ""}; click to lock one (again, or `,
    ...keys("Esc"), ", to release). ", several ? "Click another map to ask from that field. " : "", "Keys on a map: ",
    ...keys("←", "↑", "↓", "→"), " move the query, with ", ...keys("Shift"), ` its time${levels ? " and level" : ""}; `,
    ...keys("[", "]"), " layer; ", ...keys(",", "."), " head; ", ...keys("Enter"),
    byTime ? " ask from this time. " : " ask from this field. ",
    element("button", { class: "arl-save", type: "button", text: "Save maps as PNG", onclick: save }));
}
