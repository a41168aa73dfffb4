// Which colour a weight or value gets, and the bar that says so.
import { PALETTES, css, niceTicks, plain, withUnits } from "./colour.js";
import { BAR, MARGIN, prepare } from "./map_layout.js";

const ratioText = (doublings) => (doublings < 0 ? `1/${2 ** -doublings}` : String(2 ** doublings));

// Palette and limits of what is shown. View "field" or "error": values in the field's units. Else by `mode`: "weights",
// "minus" (differences of weights) or "ratio" (doublings), up to `most`.
export function colouring({ view, mode, scheme, scale, field, slot, most }) {
  const shape = scale === "root" ? (x) => Math.sign(x) * Math.sqrt(Math.abs(x)) : (x) => x;
  if (view !== "field" && view !== "error") {
    const both = { palette: PALETTES.signed[scheme], low: -most, high: most };
    if (mode === "ratio") return { ...both, part: (w) => 0.5 + 0.5 * (w / most), unit: "×", factor: 1, text: ratioText };
    if (mode === "minus") return { ...both, part: (w) => 0.5 + 0.5 * shape(w / most), unit: "% points", factor: 100 };
    return { palette: PALETTES.attention[scheme], low: 0, high: most, part: (w) => shape(w / most), unit: "%", factor: 100 };
  }
  const signed = view === "error" || field.signed;
  let [low, high] = (view === "error" ? field.error.range : field.range)[slot.level];
  if (signed) [low, high] = [-Math.max(-low, high), Math.max(-low, high)];
  const palette = signed ? PALETTES.signed[scheme] : PALETTES.plain;
  return { palette, low, high, part: (v) => (v - low) / (high - low), unit: field.units, factor: 1 };
}

export function drawBar(ctx, { layout, inks, font, view, mode, row }, { palette, low, high, part, unit, factor, text: written }) {
  const shades = ctx.createLinearGradient(layout.left, 0, layout.left + layout.width, 0);
  palette.forEach((colour, i) => shades.addColorStop(i / (palette.length - 1), css(colour)));
  ctx.fillStyle = shades;
  ctx.fillRect(layout.left, layout.barTop, layout.width, BAR.height);
  ctx.strokeStyle = inks.frame;
  ctx.lineWidth = 1;
  ctx.strokeRect(layout.left - 0.5, layout.barTop - 0.5, layout.width + 1, BAR.height + 1);
  const ticks = niceTicks(low * factor, high * factor, Math.min(6, layout.width / 60))
    .filter((tick) => !written || Number.isInteger(tick));
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : high * factor;
  ctx.font = `${layout.text ?? 11}px ${font}`;
  ctx.fillStyle = inks.muted;
  ctx.strokeStyle = inks.muted;
  ctx.textBaseline = "top";
  let end = -Infinity;
  ticks.forEach((tick, i) => {
    const x = layout.left + part(tick / factor) * layout.width;
    const number = written ? written(tick) : plain(tick, step);
    const text = i === ticks.length - 1 ? withUnits(number, unit) : number;
    const half = ctx.measureText(text).width / 2;
    const centre = Math.min(Math.max(x, layout.left + half - 4), layout.left + layout.width + MARGIN.right - half);
    if (centre - half < end + 5) return;
    end = centre + half;
    ctx.textAlign = "center";
    ctx.fillText(text, centre, layout.barTop + BAR.height + 5);
    ctx.beginPath();
    ctx.moveTo(Math.round(x) + (i === 0 && x <= layout.left ? 0 : -0.5), layout.barTop + BAR.height);
    ctx.lineTo(Math.round(x) + (i === 0 && x <= layout.left ? 0 : -0.5), layout.barTop + BAR.height + 3);
    ctx.stroke();
  });
  if (view !== "field" && view !== "error" && (mode ?? "weights") === "weights" && row) { // uniform attention: a small triangle above the bar
    const x = layout.left + part(1 / row.length) * layout.width;
    ctx.fillStyle = inks.muted;
    ctx.beginPath();
    ctx.moveTo(x, layout.barTop - 1);
    ctx.lineTo(x - 3.5, layout.barTop - 6);
    ctx.lineTo(x + 3.5, layout.barTop - 6);
    ctx.fill();
  }
}

// The colour bar of several maps, on a canvas of its own; `map` as for `drawMap`.
export function drawSharedBar(canvas, map) {
  drawBar(prepare(canvas, map.layout), map, colouring(map));
}
