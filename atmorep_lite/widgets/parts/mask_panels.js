// Beside the maps of masks: the strategies to choose from, the shares of all fields, the kinds of corruption.
import { PALETTES, percent } from "./colour.js";
import { element } from "./controls.js";
import { whole } from "./line_chart.js";
import { kindFills } from "./mask_canvas.js";
import { drawMaskThumb } from "./mask_maps.js";
import { gridPicture, sizedContext } from "./token_canvas.js";

const KIND_NAMES = { kept: "kept as it is", zero: "set to zero", noise: "noise alone", mixed: "mixed with noise", coarse: "coarser" };
const EXAMPLE_WIDTH = 64;

export const strategyName = (name) => (name === "none" ? "by hand" : name.replace("_", " "));

// The strategies, each with a picture of what it hides. buildStrategies(names, onStrategy): { node, update(name), paint(...) }
export function buildStrategies(names, onStrategy) {
  const group = `arl-mask-${Math.random().toString(36).slice(2)}`;
  const cards = names.map((name) => {
    const canvas = element("canvas", { "aria-hidden": "true" });
    const input = element("input", {
      type: "radio", name: group, value: name, class: "arl-sr", "aria-label": strategyName(name), onchange: () => onStrategy(name),
    });
    const box = element("span", { class: "arl-mask-strategy-box" }, canvas, element("span", { text: strategyName(name) }));
    return { name, canvas, input, node: element("label", { class: "arl-mask-strategy" }, input, box) };
  });
  const node = element("fieldset", { class: "arl-mask-strategies" }, element("legend", { class: "arl-label", text: "Strategy" }),
    element("div", { class: "arl-mask-strategy-row" }, ...cards.map((card) => card.node)));
  return {
    node,
    update: (chosen) => cards.forEach(({ name, input }) => { input.checked = name === chosen; }),
    paint: (maskOf, field, inks) => cards.forEach(({ name, canvas }) => drawMaskThumb(canvas, maskOf(name), field, inks)),
  };
}

// What is hidden of every field: { node, update([{ name, label, hidden, of }], chosen) }
export function buildShares(onField) {
  const body = element("tbody");
  const head = ["field", "hidden", "of", "share"].map((text) => element("th", { scope: "col", text }));
  const node = element("table", { class: "arl-table arl-mask-shares" }, element("caption", { text: "Hidden tokens of every field" }),
    element("thead", {}, element("tr", {}, ...head)), body);
  return {
    node,
    update(rows, chosen) {
      const sum = (key) => rows.reduce((all, row) => all + row[key], 0);
      const every = rows.length > 1 ? [...rows, { name: "", label: "all together", hidden: sum("hidden"), of: sum("of") }] : rows;
      body.replaceChildren(...every.map(({ name, label, hidden, of }) => {
        const button = { type: "button", class: "arl-mask-field", text: label, "aria-pressed": String(name === chosen), onclick: () => onField(name) };
        const title = name && rows.length > 1 ? element("button", button) : element("span", { text: label });
        const bar = element("span", { class: "arl-mask-bar", style: `--arl-share: ${hidden / of}` });
        return element("tr", {}, element("th", { scope: "row" }, title), element("td", { text: whole(hidden) }), element("td", { text: whole(of) }),
          element("td", {}, bar, percent(hidden / of)));
      }));
    },
  };
}

// Kinds of corruption with a token under each, as the library makes them: { node, update(counts, inks, scheme, on) }
export function buildKinds(meta) {
  const { example } = meta;
  const [, rows, columns] = example.size;
  const reach = Math.max(1e-6, ...example.values.kept.map(Math.abs));
  const items = meta.kinds.map((kind) => {
    const [swatch, picture] = [element("canvas", { "aria-hidden": "true" }), element("canvas", { "aria-hidden": "true" })];
    const count = element("dd", { class: "arl-note" });
    return { kind, swatch, picture, count, node: element("div", {}, picture, element("dt", {}, swatch, KIND_NAMES[kind]), count) };
  });
  const note = element("p", { class: "arl-note" });
  const node = element("section", { class: "arl-mask-kinds" }, element("h4", { class: "arl-mask-head", text: "Kinds of corruption" }), note,
    element("dl", { class: "arl-mask-kind-list" }, ...items.map((item) => item.node)));
  function update(counts, inks, scheme) {
    const palette = PALETTES.signed[scheme];
    const selected = counts ? counts.reduce((a, b) => a + b, 0) : 0;
    note.textContent = "As in BERT, a model of the field itself is not told which tokens it must predict: "
      + `of those selected at random most are set to zero, some are noise, a few stay. Pictures: one token of ${example.field} (its last time), by the library.`;
    items.forEach(({ kind, swatch, picture, count }, i) => {
      const values = example.values[kind].slice(-rows * columns);
      const tall = Math.max(8, Math.min(1.5 * EXAMPLE_WIDTH, Math.round((EXAMPLE_WIDTH * rows) / columns)));
      const ctx = sizedContext(picture, EXAMPLE_WIDTH, tall);
      ctx.imageSmoothingEnabled = false;
      ctx.drawImage(gridPicture(values, [rows, columns], { palette, part: (v) => 0.5 + v / (2 * reach) }), 0, 0, EXAMPLE_WIDTH, tall);
      const paint = sizedContext(swatch, 16, 16);
      paint.fillStyle = inks.picture;
      paint.fillRect(0, 0, 16, 16);
      for (const fill of kindFills(paint, kind, inks)) {
        paint.fillStyle = fill;
        paint.fillRect(0, 0, 16, 16);
      }
      paint.strokeStyle = inks[kind] || inks.zero;
      paint.lineWidth = 2;
      paint.strokeRect(1, 1, 14, 14);
      count.textContent = counts ? `${whole(counts[i])} (${percent(selected ? counts[i] / selected : 0)})` : "";
    });
  }
  return { node, update };
}
