// Lines on axes, as SVG nodes in pixels.

export function shape(tag, attributes = {}, text = null) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== null) node.textContent = text;
  return node;
}

export const label = (x, y, text, attributes = {}) => shape("text", { x, y, ...attributes }, text);
export const stroke = (x1, y1, x2, y2, kind) => shape("line", { x1, y1, x2, y2, class: kind });

// Empties a drawing as wide as it is shown; returns the box that the margins leave.
export function frame(svg, height, { left, right, top, bottom }) {
  const width = Math.max(120, svg.getBoundingClientRect().width);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.replaceChildren();
  return { left, right: width - right, top, bottom: height - bottom };
}

// A line through points [x, y]; null breaks it.
export function line(points, attributes) {
  const d = points.map((p, i) => (p === null ? "" : `${points[i - 1] ? "L" : "M"}${p[0].toFixed(1)} ${p[1].toFixed(1)}`)).join("");
  return shape("path", { d, fill: "none", ...attributes });
}

// Round numbers of a logarithmic axis.
export function logTicks(low, high) {
  const decades = Math.log10(high / low);
  const factors = decades > 3 ? [1] : decades > 1.2 ? [1, 3] : decades > 0.5 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
  const ticks = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e += 1) ticks.push(...factors.map((f) => f * 10 ** e));
  return ticks.filter((t) => t >= low && t <= high);
}

// Means over the neighbours within one sixtieth of the points, none from another group.
export function smoothed(values, groups) {
  const reach = Math.floor(values.length / 60);
  return values.map((_, i) => {
    const near = values.filter((v, j) => Math.abs(j - i) <= reach && groups[j] === groups[i] && v !== null);
    return near.length ? near.reduce((a, b) => a + b) / near.length : null;
  });
}

export const whole = (n) => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ","); // 12345 -> 12,345

// Three figures, "–" for what is not known.
export function figures(x, digits = 3) {
  if (x === null || x === undefined) return "–";
  const far = x !== 0 && (Math.abs(x) < 1e-3 || Math.abs(x) >= 1e5);
  return (far ? x.toExponential(digits - 1) : String(Number(x.toPrecision(digits)))).replace("-", "−").replace("+", "");
}

export function clock(seconds) {
  const s = Math.round(seconds);
  const [days, hours, minutes] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${s % 60} s` : `${s} s`;
}
