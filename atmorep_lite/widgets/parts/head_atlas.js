// All heads as points in a plane of two of their numbers: hover tells, click opens a head in the maps.
import { niceTicks, plain } from "./colour.js";
import { element, list } from "./controls.js";
import { fieldInk, headLink, headName, isOpen, note, openHead, title } from "./evidence_parts.js";
import { measureHeads, sampleQueries } from "./head_atlas_numbers.js";
import { tokenCount } from "./softmax.js";

const PLOT_MOVES = { ArrowLeft: ["x", -1], ArrowRight: ["x", 1], ArrowDown: ["y", -1], ArrowUp: ["y", 1] };

// Given are words (`keys` tells which keys do what), quantities { value (their name), label, unit, step (of what is written), signed }, and Python's rows
// { query, key, layer, head, and each quantity } or null: then the page measures the heads when the atlas is opened.
export function buildHeadAtlas({ title: named, note: explained, keys, quantities, rows: given }, choices, data) {
  const { meta } = choices;
  const { fields, layers } = meta;
  const text = (row, { value, unit, step, signed }) => (row[value] === null ? "\u2013" : `${signed && row[value] > 0 ? "+" : ""}${plain(row[value], step)} ${unit}`);
  const rows = (given ?? []).filter(({ query, key, layer, head }) => layers.includes(layer)
    && meta.pairs.some((pair) => pair.query === query && pair.key === key && pair.heads.includes(head)));
  const sample = sampleQueries(tokenCount(fields[0]));
  const seen = { x: "distance", y: quantities[Math.min(2, quantities.length - 1)].value, at: -1, points: [], busy: !given };

  const axes = ["x", "y"].map((axis) => {
    const made = list(axis === "x" ? "Across" : "Up", quantities, (name) => { seen[axis] = name; refresh(); });
    made.update(seen[axis]);
    return made.node;
  });
  const tip = element("div", { class: "arl-ev-tip", role: "status" });
  const under = ({ target }) => point(Number(target.dataset.arlRow ?? -1));
  const plot = element("div", { class: "arl-ev-atlas", tabindex: "0", role: "application",
    "aria-label": keys,
    onpointermove: under, onpointerleave: () => point(-1), onblur: () => point(-1), onclick: (event) => { under(event); open(); }, onkeydown: onKey });
  const told = note("");
  const body = element("tbody");
  const table = element("details", { ontoggle: fillTable }, element("summary", { text: "Table of heads" }),
    element("div", { class: "arl-ev-scroll", tabindex: "0", role: "region", "aria-label": "Table of heads" }, element("table", { class: "arl-table" },
      element("thead", {}, element("tr", {}, ...["head", ...quantities.map(({ label }) => label)].map((text) => element("th", { scope: "col", text })))), body)));
  const key = fields.map((field) => element("li", { text: field.label, style: `--arl-ink-of:${fieldInk(meta, field.name)}` }));
  const node = element("details", { class: "arl-ev-heads", ontoggle: () => { refresh(); measure(); }, ...(given && { open: "" }) }, element("summary", {}, title(named)),
    element("div", { class: "arl-ev-axes" }, ...axes), plot, element("ul", { class: "arl-ev-key" }, ...key), told, table);

  // Place along an axis, and its name, lines and ticks.
  function scale(axis, most) {
    const values = rows.map((row) => row[seen[axis]]);
    const [least, greatest] = rows.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
    const edge = 0.06 * (greatest - least) || 0.5;
    const low = seen[axis] === "distance" ? 0 : least - edge;
    const at = (v) => `${((100 * (v - low)) / (greatest + edge - low)).toFixed(2)}%`;
    const ticks = niceTicks(low, greatest + edge, most);
    const span = (kind, v, text) => element("span", { class: `arl-ev-${kind}-${axis}`, style: `--arl-at:${at(v)}`, text });
    return [at, [span("axis", 0, quantities.find(({ value }) => value === seen[axis]).label),
      ...ticks.flatMap((v) => [span("line", v, ""), span("tick", v, plain(v, ticks[1] - ticks[0]))])]];
  }
  function refresh() {
    if (!node.open) return;
    const drawn = [plot.clientWidth, seen.x, seen.y, rows.length, seen.busy].join();
    if (drawn !== seen.drawn) draw();
    seen.drawn = drawn;
    mark();
    fillTable();
  }
  function draw() {
    const [[x, across], [y, up]] = [scale("x", Math.min(8, plot.clientWidth / 80)), scale("y", 6)];
    seen.points = rows.map((row, i) => {
      const depth = (layers.indexOf(row.layer) + 1) / layers.length;
      return element("i", { "data-arl-row": i, class: row.query === row.key ? null : "arl-ev-coupling",
        style: `left:${x(row[seen.x])};bottom:${y(row[seen.y])};--arl-size:${6 + 9 * depth}px;opacity:${0.35 + 0.6 * depth};--arl-ink-of:${fieldInk(meta, row.query)};--arl-rim:${fieldInk(meta, row.key)}` });
    });
    plot.replaceChildren(...across, ...up, ...seen.points, tip);
    told.textContent = `${explained} ${seen.busy ? `${rows.length} heads measured so far.` : given ? "" : `Means over ${sample.length} query tokens.`}`;
  }
  // Open heads get a ring, and so does the one that is pointed at, which is told.
  function mark() {
    const row = rows[seen.at];
    seen.points.forEach((one, i) => Object.assign(one.dataset, { arlOpen: isOpen(choices, rows[i]), arlAt: i === seen.at }));
    tip.hidden = !row;
    if (!row) return;
    const { left, bottom } = seen.points[seen.at].style;
    tip.replaceChildren(element("b", { text: headName(meta, row) }), ...quantities.map((one) => ` \u00b7 ${one.value} ${text(row, one)}`));
    tip.style.left = `clamp(0px, ${left} - 150px, 100% - 300px)`;
    tip.style.bottom = `calc(${bottom} + 14px)`;
  }
  function point(index) {
    if (index === seen.at) return;
    seen.at = index;
    mark();
  }
  const open = () => rows[seen.at] && openHead(choices, rows[seen.at]);
  function onKey(event) {
    const [axis, by] = PLOT_MOVES[event.key] ?? [];
    if (event.key === "Enter") open();
    if (event.key === "Escape") point(-1);
    if (!axis || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const ordered = [...rows.keys()].sort((a, b) => rows[a][seen[axis]] - rows[b][seen[axis]]);
    point(ordered[ordered.indexOf(seen.at) + by] ?? (seen.at < 0 ? ordered[0] : seen.at));
  }
  function fillTable() {
    if (!table.open) return;
    body.replaceChildren(...[...rows].sort((a, b) => a[seen.y] - b[seen.y]).map((row) => element("tr", { "data-arl-open": isOpen(choices, row) },
      element("th", { scope: "row" }, headLink(choices, row)), ...quantities.map((one) => element("td", { text: text(row, one) })))));
  }
  async function measure() {
    if (given || seen.last) return;
    seen.last = 1;
    await measureHeads(meta, data, (row) => {
      rows.push(row);
      if (performance.now() < seen.last + 500) return; // the picture follows twice a second
      seen.last = performance.now();
      refresh();
    }, () => seen.ended);
    seen.busy = false;
    refresh();
  }
  return { node, refresh, rows: () => rows, busy: () => seen.busy, sample, end: () => { seen.ended = true; } };
}
