// Colour maps (perceptually uniform or diverging, legible without red-green vision) and nice numbers for bars.

const table = (hex) => hex.match(/.{6}/g).map((c) => [0, 2, 4].map((i) => parseInt(c.slice(i, i + 2), 16)));

const MAGMA = table("0000040a08221d114736106b51127c6a1c818326819c2e7fb73779d0416fe75263f56b5cfc8961fea772fec488fde2a3fcfdbf");
const VIRIDIS = table("44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725");
const RED_BLUE = table("0530612065ab4393c390c4ddd1e5f0f7f6f6fddbc7f3a481d6604db1182b67001f");

const RED_BLACK_BLUE = table("a6d1ff6fb0f53f86cc28598c182f490f151c3a1a1575291cb84630ee7d57ffc9ad");

// Little is pale on a light page and dark on a dark one, so that "much" always stands out from the page.
const PALE = table("fffdf6fdf0d3").concat(MAGMA.slice(1, 15).reverse());
export const PALETTES = { attention: { light: PALE, dark: MAGMA }, plain: VIRIDIS, signed: { light: RED_BLUE, dark: RED_BLACK_BLUE } };

// Colour [r, g, b] at `part` (0 ... 1) of a palette.
export function colourAt(palette, part) {
  const x = Math.min(Math.max(part, 0), 1) * (palette.length - 1);
  const i = Math.min(Math.floor(x), palette.length - 2);
  return palette[i].map((c, j) => Math.round(c + (palette[i + 1][j] - c) * (x - i)));
}

export const css = ([r, g, b], alpha = 1) => `rgba(${r},${g},${b},${alpha})`;

// Black or white, whichever reads better on a colour.
export function inkOn([r, g, b]) {
  const linear = [r, g, b].map((c) => (c / 255) ** 2.2);
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 ? "#000" : "#fff";
}

// Round numbers within [low, high], at most `most` of them.
export function niceTicks(low, high, most) {
  const rough = (high - low) / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) ticks.push(i * step);
  return ticks;
}

export const minus = (text) => text.replace("-", "−");

// A number in as few digits as its neighbours at distance `step` need.
export function plain(value, step = 0) {
  const digits = step > 0 ? Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) : 0;
  return minus((Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value).toFixed(digits));
}

// "2", "10⁻⁵ s⁻¹" -> "2 × 10⁻⁵ s⁻¹"
export const withUnits = (number, units) => `${number}${/^\d/.test(units) ? " × " : units && "\u00a0"}${units}`;

// 0.3123 -> "31 %", 0.0123 -> "1.2 %", 0.000123 -> "0.012 %"
export function percent(part) {
  const p = 100 * part;
  if (p === 0) return "0\u00a0%";
  if (p < 0.0005) return "<\u00a00.001\u00a0%";
  return `${p >= 9.95 ? p.toFixed(0) : p >= 0.95 ? p.toFixed(1) : p >= 0.095 ? p.toFixed(2) : p.toFixed(3)}\u00a0%`;
}
