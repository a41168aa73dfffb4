// What the maps show: the row of the query for each field, and what it is compared with.
import { attentionRows, halfWeight, summarise } from "./softmax.js";

const MOST_DOUBLINGS = 6; // of the colour scale of ratios

// Returns { compute(), attention }. compute() gives a Map: field name -> { row (weights, or null), against (what it is
// compared with: weights, or null), other (its name), mode ("weights", "minus" or "ratio"), shown (weights,
// differences, or doublings against the other), most (the end of the colour scale), half (weight from which the
// strongest tokens hold half, where values are shown), summary }; where there is no row only mode, most and other.
export function explorerResults(choices, data) {
  const { meta, state } = choices;
  const attention = attentionRows(meta, meta.pairs, data);
  const references = new Map(meta.references.map(({ name, captures }) => (
    [name, captures.map((pairs) => attentionRows(meta, pairs, data))])));

  function rowOf(source, { query_field, query }, field) {
    return source.row(query_field, field.name, query, state.layer, choices.headFor(query_field, field), state.temperature);
  }
  // What stands against the row: the other pin's, uniform weights, or the mean of a reference's rows.
  function comparison(asked, row, field) {
    if (state.show === "A minus B") return { other: "B", against: rowOf(attention, state.pin_b, field) };
    if (state.compare === "nothing") return { other: null, against: null };
    if (state.compare === "uniform") return { other: "uniform", against: new Float64Array(row.length).fill(1 / row.length) };
    const sources = references.get(state.compare);
    const against = new Float64Array(row.length);
    for (const source of sources) rowOf(source, asked, field).forEach((weight, key) => { against[key] += weight / sources.length; });
    return { other: state.compare, against };
  }
  function resultOf(field) {
    const asked = choices.active();
    const row = rowOf(attention, asked, field);
    const nothing = { row: null, mode: "weights", most: 1 };
    if (!row) return nothing;
    const { other, against } = comparison(asked, row, field);
    if (other !== null && !against) return { ...nothing, other };
    const summary = summarise(row, choices.queryField(), asked.query, field);
    const half = choices.showsValues() ? halfWeight(row) : null;
    const seen = { row, against, other, half, summary };
    if (!against) return { ...seen, mode: "weights", shown: row, most: summary.peak };
    if (state.by === "ratio" && state.show !== "A minus B") {
      const shown = row.map((weight, key) => Math.log2(Math.max(weight, 1e-30) / Math.max(against[key], 1e-30)));
      const most = Math.min(MOST_DOUBLINGS, Math.max(1, Math.ceil(shown.reduce((a, b) => Math.max(a, b)))));
      return { ...seen, mode: "ratio", shown, most };
    }
    const shown = row.map((weight, key) => weight - against[key]);
    return { ...seen, mode: "minus", shown, most: shown.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-12) };
  }
  return {
    attention,
    compute: () => new Map(choices.keyFields().map((field) => [field.name, resultOf(field)])),
  };
}
