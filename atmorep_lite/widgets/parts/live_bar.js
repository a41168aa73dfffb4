// The colour bar below a map of LiveVortices. A narrow one is labelled at both ends and in the middle of signed values.
import { plain, withUnits } from "./colour.js";
import { drawBar } from "./colour_bar.js";
import { BAR, MARGIN, prepare } from "./map_layout.js";

const NARROW_BAR = 240; // pixels

// `shown` as for `drawBar`.
export function liveBar({ bar: canvas, layout: { left, width }, look }, shown) {
  const layout = { left, width, bar: true, barTop: BAR.gap - 4, total: BAR.gap + BAR.height + BAR.labels - 4 };
  const inks = { frame: look.ink("frame"), muted: look.ink("muted") };
  const ctx = prepare(canvas, layout);
  const narrow = width < NARROW_BAR;
  const bare = { ...shown, unit: "", text: () => "" };
  drawBar(ctx, { layout, inks, font: look.font, view: "field", row: null }, narrow ? bare : shown);
  if (!narrow) return;
  const [low, high] = [shown.low * shown.factor, shown.high * shown.factor];
  const fine = Number.isInteger(high) ? 1 : 10 ** Math.floor(Math.log10((high - low) / 10)); // two digits of the whole bar
  const [from, to, below] = [left - 4, left + width + MARGIN.right, layout.barTop + BAR.height + 5];
  ctx.fillStyle = inks.muted;
  ctx.textAlign = "left";
  ctx.fillText(plain(low, low ? fine : 1), from, below);
  ctx.textAlign = "right";
  ctx.fillText(withUnits(plain(high, fine), shown.unit), to, below);
  ctx.textAlign = "center";
  if (low < 0) ctx.fillText("0", left + width / 2, below);
}
