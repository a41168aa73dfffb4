// A chart with two axes, linear or logarithmic, as SVG nodes in pixels.
import { niceTicks, plain } from "./colour.js";
import { figures, label, logTicks, shape, stroke } from "./line_chart.js";

const WIDE = 34; // least pixels between the numbers of an axis

// value -> pixel of an axis { low, high, log } between two pixels.
function scaleOf({ low, high, log }, from, to) {
  const end = log ? Math.log(high / low) : high - low;
  return (value) => from + ((log ? Math.log(value / low) : value - low) / end) * (to - from);
}

// An axis of one value alone reaches to both sides of it.
function widened(axis) {
  const { low, high, log } = axis;
  if (high > low) return axis;
  const more = Math.abs(low) / 10 || 1;
  return { ...axis, ...(log ? { low: low / 2, high: low * 2 } : { low: low - more, high: low + more }) };
}

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

// 0.0001 -> "10⁻⁴", 0.5 -> "0.5"
function powerText(value) {
  if (value >= 1e-3 && value < 1e5) return figures(value);
  const power = Math.floor(Math.log10(value) + 1e-9);
  const factor = figures(value / 10 ** power, 2);
  const raised = [...String(power)].map((c) => (c === "-" ? "⁻" : SUPERSCRIPTS[Number(c)])).join("");
  return `${factor === "1" ? "" : `${factor} · `}10${raised}`;
}

function ticksOf({ low, high, log, ticks, tickText }, pixels, gap) {
  if (ticks) return ticks.map((value) => [value, tickText ? tickText(value) : figures(value)]);
  if (!log) {
    const found = niceTicks(low, high, Math.max(2, Math.min(7, pixels / gap)));
    return found.map((value) => [value, plain(value, found.length > 1 ? found[1] - found[0] : 0)]);
  }
  const found = logTicks(low, high);
  const skip = Math.ceil((found.length * gap) / pixels);
  return found.filter((_, i) => i % skip === 0).map((value) => [value, powerText(value)]);
}

// Ticks at the leads themselves where they are few, so that hours are not read at 5, 10, 15.
export const leadTicks = (leads) => (leads.length > 1 && leads.length < 10 ? { ticks: leads, tickText: (lead) => figures(lead) } : {});

export const widthOf = (svg) => Math.max(120, svg.getBoundingClientRect().width);

// Leaves a drawing empty but for its axes. `x` and `y` are { low, high, log, label, ticks, tickText, none };
// `none` draws no numbers. Charts that are drawn one after the other should get their `width`s, read beforehand: to measure
// one after the other was changed makes the browser lay out the page each time. Returns { x, y (value -> pixel), box, value (pixel -> x's value), add (nodes inside the box) }.
export function axes(svg, { height, x: alongX, y: alongY, width = widthOf(svg), left = 46, right = 12, top = 22, bottom = 36 }) {
  const box = { left, right: width - right, top, bottom: height - bottom };
  const [x, y] = [widened(alongX), widened(alongY)];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.replaceChildren();
  const [toX, toY] = [scaleOf(x, box.left, box.right), scaleOf(y, box.bottom, box.top)];
  const inside = (pixel, a, b) => pixel >= Math.min(a, b) - 0.5 && pixel <= Math.max(a, b) + 0.5;
  if (!y.none) {
    for (const [value, text] of ticksOf(y, box.bottom - box.top, WIDE)) {
      if (!inside(toY(value), box.top, box.bottom)) continue;
      svg.append(stroke(box.left, toY(value), box.right, toY(value), "arl-axes-grid"),
        label(box.left - 7, toY(value) + 4, text, { "text-anchor": "end" }));
    }
  }
  if (!x.none) {
    for (const [value, text] of ticksOf(x, box.right - box.left, 1.6 * WIDE)) {
      if (!inside(toX(value), box.left, box.right)) continue;
      svg.append(stroke(toX(value), box.bottom, toX(value), box.bottom + 4, "arl-axes-line"),
        label(toX(value), box.bottom + 17, text, { "text-anchor": "middle" }));
    }
  }
  svg.append(stroke(box.left, box.bottom, box.right, box.bottom, "arl-axes-line"));
  if (x.label) svg.append(label(box.right, box.bottom + 32, x.label, { "text-anchor": "end" }));
  if (y.label) svg.append(label(0, 12, y.label, { class: "arl-axes-name" }));
  const id = `arl-clip-${Math.random().toString(36).slice(2)}`;
  const clip = shape("clipPath", { id });
  clip.append(shape("rect", { x: box.left, y: box.top - 2, width: box.right - box.left, height: box.bottom - box.top + 4 }));
  const group = shape("g", { "clip-path": `url(#${id})` });
  svg.append(clip, group);
  return {
    x: toX, y: toY, box,
    value: (pixel) => {
      const part = Math.min(Math.max((pixel - box.left) / (box.right - box.left), 0), 1);
      return x.log ? x.low * (x.high / x.low) ** part : x.low + part * (x.high - x.low);
    },
    add: (...nodes) => group.append(...nodes),
  };
}
