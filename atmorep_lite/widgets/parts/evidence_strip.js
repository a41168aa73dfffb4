// What one query's forecast rests on, by several measures: a strip of small maps each, with shares and rank correlations.
import { readFloats } from "./buffers.js";
import { minus, percent } from "./colour.js";
import { element } from "./controls.js";
import { note, section } from "./evidence_parts.js";
import { coastPath, commonFrame, projection } from "./geography.js";
import { drawMap } from "./map_canvas.js";
import { mapLayout } from "./map_layout.js";
import { levelText, placeText, slotText, timeText } from "./places.js";
import { tokenCount, unravel } from "./softmax.js";

// Ranks from 0, ties sharing their mean, minus their mean.
function centredRanks(values) {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
  const out = [];
  for (let i = 0, j = 0; i < order.length; i = j) {
    while (j < order.length && values[order[j]] === values[order[i]]) j += 1;
    for (let n = i; n < j; n += 1) out[order[n]] = (i + j - order.length) / 2;
  }
  return out;
}

// Spearman's rank correlation over the keys where both are known; NaN where there is none.
function rankCorrelation(one, other) {
  const both = Array.from(one.keys()).filter((i) => Number.isFinite(one[i] + other[i]));
  const [a, b] = [one, other].map((values) => centredRanks(both.map((i) => values[i])));
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

// Weights of the keys of some fields -> shares: a map for each field, and sums over it, each level and time; NaN: none known.
function sharesOf(rows, fields) {
  const add = (a, b) => (b >= 0 ? (a || 0) + b : a);
  const total = rows.reduce((sum, row) => row.reduce(add, sum), NaN) || 1;
  const [levels, times] = [{}, {}];
  const parts = rows.map((row, f) => {
    const { shape: [, slots, tall, wide], level, hours } = fields[f];
    const map = Array(tall * wide).fill(0);
    row.forEach((weight, key) => {
      const share = weight / total;
      const slot = Math.floor(key / map.length);
      map[key % map.length] += share || 0;
      for (const [sums, of] of [[levels, level[Math.floor(slot / slots)]], [times, hours[slot % slots]]]) sums[of] = add(sums[of], share);
    });
    return { map, share: row.reduce(add, NaN) / total };
  });
  return { parts, levels, times };
}

const told = (v) => (v >= 0 ? percent(v) : "hidden");

function bars(title, shares, text) {
  const values = Object.keys(shares).map(Number).sort((a, b) => a - b);
  return values.length < 2 ? [] : [element("div", {}, title, ...values.map((value) => element("div", {},
    element("span", { text: text(value) }), element("i", { style: `width:${56 * (shares[value] || 0)}%` }), told(shares[value]))))];
}

// `given` has queries [[field, token], ...], measures [{ name, title, what, at }, ...], of which the attention of the maps
// has no rows `at` a place of the data, and words.
export function buildStrip(given, choices, data, attention) {
  const { meta, state } = choices;
  const { fields } = meta;
  const frame = commonFrame(fields);
  const sizes = fields.map(tokenCount);
  const keys = sizes.reduce((a, b) => a + b);
  const seen = {};
  const subject = note("", "arl-ev-told");
  const lines = given.measures.map((measure) => {
    const cells = fields.map((field) => ({ field, canvas: element("canvas", { class: "arl-canvas", role: "img" }), share: element("b"), rank: element("span") }));
    const summary = element("div", { class: "arl-ev-bars" });
    const node = element("div", {}, element("p", {}, element("strong", { text: measure.title }), ` ${measure.what}`),
      element("div", { class: "arl-ev-maps", style: `--arl-fields:${fields.length}` }, ...cells.map(({ field, canvas, share, rank }) => element("figure", {},
        canvas, element("figcaption", {}, field.label, share, rank))), summary));
    return { ...measure, node, cells, summary };
  });
  const node = section("rests", given.title, note(given.claim, "arl-ev-claim"), subject, ...lines.map((line) => line.node), note(given.note));

  // The query whose rows are shown: the chosen one or, where they are not known, another, of its field if there is one.
  function shownQuery() {
    const asked = choices.queryField().name;
    const exact = ([name, token]) => name === asked && token === choices.activeQuery();
    const own = given.queries.some(exact);
    const index = Math.max(0, given.queries.findIndex(own ? exact : ([name]) => name === asked));
    const [name, token] = given.queries[index];
    return { index, token, from: fields.find((field) => field.name === name), own };
  }
  function rowsOf({ at }, { index, token, from }) {
    const head = (name) => (name === from.name ? state.head : state.coupling_head);
    if (!at) return fields.map(({ name }) => attention.row(from.name, name, token, state.layer, head(name), state.temperature));
    let end = 0;
    const all = readFloats(data, "float16", at + 2 * index * keys, keys);
    return sizes.map((size) => all.subarray(end, end += size));
  }
  function paint({ canvas, field }, row, most, { from, token }, look) {
    const { width, height, project } = seen;
    const at = unravel(from, token);
    drawMap(canvas, {
      ...look, frame, project, row, most, layout: { left: 0, top: 0, width, height, total: height }, field: { ...field, shape: [1, 1, ...field.shape.slice(2)] },
      slot: { level: 0, time: 0 }, coast: seen.coast, mask: [], half: null, view: "attention", mode: "weights", scale: "root",
      query: { lat: from.latitude[at.row], lon: from.longitude[at.column], size: from.token, solid: true },
    });
  }

  // `rest` says what else than the query is new; only the maps of attention depend on the layer and heads.
  function refresh(look, rest) {
    const found = shownQuery();
    const { from, token, own } = found;
    const width = lines[0].cells[0].canvas.clientWidth - 10; // a map leaves that much on its right
    const place = [look.scheme, width, found.index].join();
    const moved = place !== seen.place;
    if (!moved && seen.rest === rest + own) return;
    if (moved) {
      const { height } = mapLayout(frame, width + 48, false);
      const project = projection(frame, 0, 0, width, height);
      Object.assign(seen, { place, width, height, project, coast: frame.plane ? null : coastPath(meta, data, frame, project) });
    }
    seen.rest = rest + own;
    const at = unravel(from, token);
    const where = `${from.label}, ${placeText(from, from.latitude[at.row], from.longitude[at.column])}, ${slotText(from, at)}.`;
    subject.replaceChildren(own ? `Query: ${where}` : `Not known for this query; shown: ${where}`, ...(own ? [] : [element("button", {
      class: "arl-action", type: "button", text: "Ask from there", onclick: () => choices.choose({ query_field: from.name, query: token }, { lock: true }),
    })]));
    const influence = lines.find((line) => line.name === "influence");
    const against = influence && rowsOf(influence, found);
    for (const line of lines.filter(({ at: rowsAt }) => moved || !rowsAt)) {
      const { title, cells, summary } = line;
      const rows = rowsOf(line, found);
      const together = line.at && sharesOf(line === influence ? rows.map((row) => row.map((v) => v * v)) : rows, fields); // squares add
      const parts = together ? together.parts : rows.map((row, f) => row && sharesOf([row], [fields[f]]).parts[0]);
      const mosts = parts.map((part) => Math.max(1e-12, ...(part?.map ?? [])));
      cells.forEach((cell, f) => {
        const rho = rows[f] && against && line !== influence ? rankCorrelation(rows[f], against[f]) : NaN;
        paint(cell, parts[f]?.map, together ? Math.max(...mosts) : mosts[f], found, look);
        cell.share.textContent = together ? told(parts[f].share) : "";
        cell.rank.textContent = !parts[f] ? "not coupled" : Number.isNaN(rho) ? "" : `\u03c1\u00a0${minus(rho.toFixed(2))}`;
        cell.canvas.setAttribute("aria-label", `${title}, ${cell.field.label}: ${cell.share.textContent} ${cell.rank.textContent}`);
      });
      if (together) summary.replaceChildren(...bars("by time", together.times, (v) => timeText(from, v)), ...bars("by level", together.levels, (v) => levelText(from, v)));
    }
  }
  return { node, refresh };
}
