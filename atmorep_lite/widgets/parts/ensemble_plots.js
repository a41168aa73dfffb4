// Drawings of the ensemble on its line: truths, members and their tracks, ranks, and the curves of the losses.
import { axes, widthOf } from "./axes.js";
import { plain } from "./colour.js";
import { moments } from "./ensemble_losses.js";
import { figures, label, line, shape, stroke } from "./line_chart.js";

// Half the width of the line that shows truths of this spread.
export const viewOf = (error) => [0.25, 0.5, 1, 2, 3, 4].find((reach) => reach >= 3.1 * error) || 4;

// Density of sorted truths [value, density] from the gaps between neighbours, none beyond the outermost.
function densityOf(truths) {
  const last = truths.length - 1;
  const points = truths.slice(1, -1).map((_, k) => {
    const reach = Math.min(k + 1, last - k - 1, Math.round(truths.length / 64));
    const [low, high] = [truths[k + 1 - reach], truths[k + 1 + reach]];
    return [(low + high) / 2, (2 * reach) / truths.length / (high - low)];
  });
  const ends = [0, last].map((i) => [truths[i] + Math.sign(i - 1) * 0.5 * Math.abs(truths[i] - truths[i ? last - 1 : 1]), 0]);
  return [ends[0], ...points, ends[1]];
}

const bell = (x, mean, sigma) => Math.exp(-0.5 * ((x - mean) / sigma) ** 2) / (sigma * Math.sqrt(2 * Math.PI));

// The line: truths above it, members on it, their tracks below. Returns x (value -> pixel) and the pixel of the line.
export function drawLine(svg, { width, members, truths, view, tracks, active, name }) {
  const height = 330;
  const chart = axes(svg, {
    width, height, left: 8, right: 8, top: 8, bottom: 38, y: { low: 0, high: 1, none: true },
    x: { low: -view, high: view, label: "value (standard deviations of the field)" },
  });
  const at = chart.box.top + 0.52 * (chart.box.bottom - chart.box.top);
  const tall = at - chart.box.top - 22;
  const { mean, sigma } = moments(members);
  if (truths.length > 1) {
    const density = densityOf(truths);
    const most = Math.max(...density.map((p) => p[1]));
    const up = (d) => at - Math.min(1.12, d / most) * tall;
    chart.add(line(density.map(([x, d]) => [chart.x(x), up(d)]), { class: "arl-ens-truths" }));
    if (sigma > 1e-4 * view) {
      const points = Array.from({ length: 161 }, (_, i) => mean + (i / 20 - 4) * sigma);
      chart.add(line(points.map((x) => [chart.x(x), up(bell(x, mean, sigma))]), { class: "arl-ens-bell" }));
    }
  } else {
    chart.add(stroke(chart.x(truths[0]), chart.box.top, chart.x(truths[0]), chart.box.bottom, "arl-ens-value"));
  }
  const step = Math.min(6, (chart.box.bottom - at - 26) / Math.max(tracks.length, 1));
  if (tracks.length < 2) {
    chart.add(label(chart.box.left + 4, chart.box.bottom - 6, "Descend, and the members leave their tracks here.", { class: "arl-ens-words" }));
  } else {
    members.forEach((_, i) => chart.add(line(
      tracks.map((then, n) => [chart.x(then[i]), at + 6 + (tracks.length - 1 - n) * step]), { class: "arl-ens-track" })));
    chart.add(label(chart.box.left + 4, chart.box.bottom - 6, `↓ where they came from, ${tracks.length - 1} steps`, { class: "arl-ens-words" }));
  }
  svg.append(stroke(chart.box.left, at, chart.box.right, at, "arl-axes-line"));
  chart.add(shape("path", { class: "arl-ens-mean", d: `M${chart.x(mean)} ${at + 9}l-5 8h10z` }));
  svg.append(label(chart.box.left + 4, chart.box.top + 10, truths.length > 1 ? "how the truths are distributed" : "the truth", { class: "arl-ens-words" }));
  const dots = members.map((x, i) => {
    const dot = shape("g", {
      class: "arl-ens-member", transform: `translate(${chart.x(Math.min(Math.max(x, -view), view))} ${at})`, role: "slider",
      tabindex: i === active ? 0 : -1, "aria-label": `${name} ${i + 1} of ${members.length}`, "aria-valuemin": -view, "aria-valuemax": view,
      "aria-valuenow": x, "aria-valuetext": plain(x, 0.01), "data-arl-member": i,
    });
    dot.append(shape("circle", { r: 15, class: "arl-ens-reach" }), shape("circle", { r: 6.5, class: "arl-ens-dot" }));
    return dot;
  });
  svg.append(...dots);
  return { ...chart, at };
}

export function drawRanks(svg, shares, width = widthOf(svg)) {
  const even = 1 / shares.length;
  const high = Math.max(2.4 * even, 1.08 * Math.max(...shares));
  const chart = axes(svg, {
    width, height: 158, left: 40, bottom: 26, x: { low: 0.5, high: shares.length + 0.5, none: true },
    y: { low: 0, high: 100 * high, label: "share of the truths (%)" },
  });
  const wide = (chart.box.right - chart.box.left) / shares.length;
  const gap = Math.min(3, 0.2 * wide);
  shares.forEach((part, i) => chart.add(shape("rect", {
    class: "arl-ens-rank", x: chart.box.left + i * wide + gap / 2, width: wide - gap, rx: 1.5,
    y: chart.y(100 * part), height: Math.max(0, chart.box.bottom - chart.y(100 * part)),
  })));
  const y = chart.y(100 * even);
  chart.add(stroke(chart.box.left, y, chart.box.right, y, "arl-ens-even"));
  svg.append(label(chart.box.left, chart.box.bottom + 17, "below all members"),
    label(chart.box.right, chart.box.bottom + 17, "above all", { "text-anchor": "end" }));
}

// Least and greatest of a loss's axis: all near its least value, not a pole at no spread.
function heights({ value, parts }, withParts) {
  const least = Math.min(...value);
  const last = value[value.length - 1] - least;
  const first = value[0] - least;
  const most = Math.max(last, Math.min(first, Math.max(3 * last, 0.3 * (Math.abs(least) + 0.1))), 1e-3 + 0.05 * Math.abs(least));
  const inside = (withParts ? parts.slice(Math.round(0.08 * parts.length)).flat() : []).filter((p) => Math.abs(p - least) < 2.5 * most);
  const low = Math.min(least, ...inside);
  const high = Math.max(least + most, ...inside);
  return { low: low - 0.06 * (high - low), high: high + 0.08 * (high - low) };
}

// The curve of one loss with its parts; `now` is where the ensemble is, `right` where the truths are.
export function drawLoss(svg, { width, curve, axis, range, now, value, right, partInks }) {
  const chart = axes(svg, {
    width, height: 270, left: 50, top: 26, y: { ...heights(curve, true), label: "loss, mean over the truths" },
    x: { low: range[0], high: range[1], label: axis === "spread" ? "spread of the members (standard deviation)" : "mean of the members (0 is right)" },
  });
  if (right !== null) {
    chart.add(stroke(chart.x(right), chart.box.top, chart.x(right), chart.box.bottom, "arl-ens-right"));
  }
  const points = (values) => curve.at.map((x, i) => [chart.x(x), Math.min(Math.max(chart.y(values[i]), -2000), 4000)]);
  if (curve.parts[0].length > 1) {
    curve.parts[0].forEach((_, p) => chart.add(line(points(curve.parts.map((all) => all[p])), { class: "arl-curve arl-ens-part", stroke: partInks[p] })));
  }
  chart.add(line(points(curve.value), { class: "arl-curve arl-ens-loss" }));
  const inside = Math.min(Math.max(chart.x(now), chart.box.left), chart.box.right);
  const y = Math.min(Math.max(chart.y(value), chart.box.top - 2), chart.box.bottom);
  if (curve.best !== null) {
    const least = Math.min(...curve.value);
    const x = chart.x(curve.best);
    svg.append(shape("path", { class: "arl-ens-least", d: `M${x} ${chart.y(least) + 3}l-6 11h12z` }));
  }
  svg.append(stroke(inside, y, inside, chart.box.bottom, "arl-cursor"), shape("circle", { class: "arl-ens-now", cx: inside, cy: y, r: 6 }));
  return chart;
}

// The spread that a loss asks for against the spread of the truths: points [truths, asked]; `now` is the present one.
export function drawAsked(svg, { width, points, now }) {
  const high = 1.2;
  const chart = axes(svg, {
    width, height: 196, left: 50, x: { low: 0, high, label: "spread of the truths" }, y: { low: 0, high: 1.3 * high, label: "spread that the loss asks for" },
  });
  chart.add(stroke(chart.x(0), chart.y(0), chart.x(high), chart.y(high), "arl-ens-even"));
  const placed = points.flatMap((p, i) => { // a jump to no spread breaks the line
    const point = p && [chart.x(p[0]), chart.y(p[1])];
    return p && points[i - 1] && p[1] < 1e-3 !== points[i - 1][1] < 1e-3 ? [null, point] : [point];
  });
  chart.add(line(placed, { class: "arl-curve arl-ens-loss" }));
  svg.append(label(chart.x(high) - 4, chart.y(high) - 8, "right", { "text-anchor": "end" }));
  if (now) svg.append(shape("circle", { class: "arl-ens-now", cx: chart.x(now[0]), cy: chart.y(Math.min(now[1], 1.3 * high)), r: 5 }));
}

// A loss along the ensemble's spread or mean, small: the curve, its least, where the ensemble is.
export function drawSmallLoss(svg, { width, curve, range, now, right }) {
  const chart = axes(svg, {
    width, height: 62, left: 2, right: 2, top: 4, bottom: 8, x: { low: range[0], high: range[1], none: true }, y: { ...heights(curve, false), none: true },
  });
  if (right !== null) chart.add(stroke(chart.x(right), 0, chart.x(right), chart.box.bottom, "arl-ens-right"));
  chart.add(line(curve.at.map((x, i) => [chart.x(x), Math.max(chart.y(curve.value[i]), -400)]), { class: "arl-curve arl-ens-loss" }));
  const inside = Math.min(Math.max(now, range[0]), range[1]);
  const near = Math.round(((inside - range[0]) / (range[1] - range[0])) * (curve.at.length - 1));
  if (curve.best !== null) {
    svg.append(shape("path", { class: "arl-ens-least", d: `M${chart.x(curve.best)} ${chart.y(Math.min(...curve.value)) + 1}l-4.5 7h9z` }));
  }
  svg.append(shape("circle", { class: "arl-ens-now", cx: chart.x(inside), cy: Math.max(chart.box.top, chart.y(curve.value[near])), r: 3.6 }));
}

// "0.42", "none (0)", "any"
export const askedText = ({ best, atEdge }, axis, range) => {
  if (best === null) return "any";
  if (axis === "spread" && atEdge) return best === 0 ? "none" : `${figures(range[1], 2)} or more`;
  return plain(best, 0.01);
};
