// The strongest tokens of all maps as a table, made while it is open: { node, refresh(results) }.
import { percent } from "./colour.js";
import { element } from "./controls.js";
import { tokenText } from "./field_values.js";
import { tableRow } from "./explorer_words.js";
import { distanceBetween, distanceText, placeText, slotText } from "./places.js";
import { unravel } from "./softmax.js";

const MOST_STRONGEST = 8; // tokens of each field

function strongest(row) {
  const best = [];
  row.forEach((weight, token) => {
    if (best.length === MOST_STRONGEST && weight <= row[best[MOST_STRONGEST - 1]]) return;
    best.push(token);
    best.sort((a, b) => row[b] - row[a]);
    if (best.length > MOST_STRONGEST) best.pop();
  });
  return best;
}

export function buildTable(choices, data, opened) {
  const head = element("thead");
  const body = element("tbody");
  const node = element("details", { class: "arl-strongest", ontoggle: opened },
    element("summary", { text: "Table of the strongest tokens" }),
    element("div", { class: "arl-scroll", tabindex: "0", role: "region", "aria-label": "Strongest tokens" },
      element("table", { class: "arl-table" }, head, body)));
  function rowsOf(field, { row, against }) {
    if (!row) return [];
    const from = choices.queryField();
    const here = unravel(from, choices.activeQuery());
    return strongest(row).map((token) => {
      const at = unravel(field, token);
      const [lat, lon] = [field.latitude[at.row], field.longitude[at.column]];
      const { text, hidden } = tokenText(data, field, at);
      const away = distanceBetween(field, from.latitude[here.row], from.longitude[here.column], lat, lon);
      return tableRow([field.label, slotText(field, at), placeText(field, lat, lon), distanceText(field, away),
        percent(row[token]), ...(against ? [percent(against[token])] : []), `${text}${hidden ? " (hidden)" : ""}`]);
    });
  }
  return {
    node,
    refresh(results) {
      if (!node.open) return;
      const shown = choices.keyFields().filter((field) => results.get(field.name).row);
      const other = shown.length ? results.get(shown[0].name).other : null;
      head.replaceChildren(tableRow(["field", "level, time", "place", "from the query", "weight", ...(other ? [other] : []), "value"], {}, "th"));
      body.replaceChildren(...shown.flatMap((field) => rowsOf(field, results.get(field.name))));
    },
  };
}
