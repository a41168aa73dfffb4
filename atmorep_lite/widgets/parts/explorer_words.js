// Table, legend and help of the attention explorer.
import { hoursText, plain } from "./colour.js";
import { element } from "./controls.js";

export function buildAside(table) {
  const head = ["", "entropy", "distance", "lag"].map((text) => element("th", { scope: "col", text }));
  const symbol = (kind, text) => element("li", {},
    element("span", { class: `arl-swatch arl-swatch-${kind}`, "aria-hidden": "true" }), element("span", { text }));
  return element("div", { class: "arl-aside" },
    element("table", { class: "arl-table" }, element("caption", { text: "Where this query looks, on average" }),
      element("thead", {}, element("tr", {}, ...head)), table),
    element("ul", { class: "arl-key" },
      symbol("query", "query token; dashed: its place in another field, level or time"),
      symbol("hidden", "hidden from the model"),
      symbol("half", "the strongest tokens: together they hold half of the softmax"),
      symbol("uniform", "on the colour bar: uniform attention"),
      symbol("slots", "share of every level and time; click one to show it")),
    element("p", {
      class: "arl-note",
      text: "Self-attention heads and coupling heads are separate softmaxes: each map is part of one that sums to "
        + "100 % over all places, levels and times of its field. Shares of different fields do not compete.",
    }));
}

// One row per field: entropy, mean distance and mean lag of its softmax.
export function fillTable(table, fields, queryName, results) {
  table.replaceChildren(...fields.map((field) => {
    const { summary } = results.get(field.name);
    const distance = (km) => plain(Math.round(km / 10) * 10).replace(/(\d)(\d{3})$/, "$1\u2009$2");
    const cells = summary
      ? [summary.entropy.toFixed(2), `${distance(summary.distance)} km`, hoursText(summary.lag)] : ["–", "–", "–"];
    return element("tr", { "data-arl-query": String(field.name === queryName) },
      element("th", { scope: "row", text: field.label }), ...cells.map((text) => element("td", { text })));
  }));
}

export function buildHelp() {
  const keys = (...names) => names.map((name) => element("kbd", { text: name }));
  return element("p", { class: "arl-help" },
    "Hover over the query's map to try tokens; click to lock one (again, or ", ...keys("Esc"), ", to release). ",
    "Click another map to ask from that field. Keys on a map: ", ...keys("←", "↑", "↓", "→"), " move the query, with ",
    ...keys("Shift"), " its time and level; ", ...keys("[", "]"), " layer; ", ...keys(",", "."), " head; ",
    ...keys("Enter"), " ask from this field.");
}
