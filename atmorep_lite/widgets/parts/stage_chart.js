// How the error grows with the hours: the model, its convolution alone, no model at all, and the ensemble's spread.
import { niceTicks, plain } from "./colour.js";
import { element } from "./controls.js";

const LINES = [
  { name: "held", label: "without a model", ink: "muted", dash: [2, 3], width: 2 },
  { name: "convolution", label: "convolution alone", ink: "1", dash: [], width: 7 }, // shows beside the thinner one on it
  { name: "model", label: "model", ink: "accent", dash: [], width: 2.6 },
  { name: "spread", label: "spread", ink: "2", dash: [9, 3, 2, 3], width: 2 },
];

// A line as the chart draws it.
function lineKey({ ink, dash, width }) {
  const space = "http://www.w3.org/2000/svg";
  const [drawing, line] = ["svg", "line"].map((name) => document.createElementNS(space, name));
  const length = 26;
  for (const [name, value] of [["viewBox", `0 0 ${length} 8`], ["aria-hidden", "true"]]) drawing.setAttribute(name, value);
  for (const [name, value] of [["x1", 0], ["x2", length], ["y1", 4], ["y2", 4], ["stroke-width", width], ["stroke-dasharray", dash.join(" ") || "none"]]) {
    line.setAttribute(name, value);
  }
  line.style.stroke = `var(--arl-${ink})`;
  drawing.append(line);
  return drawing;
}

export function errorChart() {
  const canvas = element("canvas", { class: "arl-canvas", role: "img" });
  const title = element("span", { class: "arl-label" });
  const keys = element("div", { class: "arl-stage-keys" });
  const node = element("div", { class: "arl-control arl-stage-chart" }, title, canvas, keys);

  function refresh(answer, state, { scale, ink, font, chartHeight }) {
    const level = answer.level.indexOf(state.level);
    const rows = LINES.map((line) => ({ ...line, values: answer.scores[line.name]?.[level] }))
      .filter(({ values }) => values && values.some((value) => value !== null));
    node.hidden = chartHeight < 70 * scale;
    if (node.hidden) return;
    title.textContent = rows.length ? `RMSE of what is hidden, ${answer.units}` : answer.asks ? "Nothing of this field is hidden here" : "Nothing is hidden: paint on a map";
    const step = answer.hours.indexOf(state.hours);
    const told = rows.map(({ label, values }) => (typeof values[step] === "number" ? `${label} ${Number(values[step].toPrecision(2))}` : null));
    keys.replaceChildren(...rows.map((row, i) => element("span", {}, lineKey(row), told[i] || row.label)));
    const width = canvas.clientWidth || 280;
    const height = chartHeight;
    const ratio = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    canvas.style.height = `${height}px`;
    const ctx = canvas.getContext("2d");
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    const most = Math.max(1e-12, ...rows.flatMap(({ values }) => values.map((value) => value || 0))) * 1.06;
    const box = { left: 34 * scale, right: width - 8 * scale, top: 5 * scale, bottom: height - 20 * scale };
    const x = (hour) => box.left + ((hour - answer.hours[0]) / (answer.hours.at(-1) - answer.hours[0])) * (box.right - box.left);
    const y = (value) => box.bottom - (value / most) * (box.bottom - box.top);
    chartAxes(ctx, { box, x, y, most, answer, scale, ink, font });
    for (const row of rows) strokeScores(ctx, row, { answer, x, y, scale, ink });
    ctx.setLineDash([]);
    ctx.strokeStyle = ink("ink");
    ctx.lineWidth = 1.5 * scale;
    ctx.beginPath();
    ctx.moveTo(x(state.hours), box.top);
    ctx.lineTo(x(state.hours), box.bottom);
    ctx.stroke();
    canvas.setAttribute("aria-label", `${title.textContent}, at ${state.hours} hours: ${told.filter(Boolean).join(", ") || "nothing hidden"}.`);
  }
  return { node, refresh };
}

function chartAxes(ctx, { box, x, y, most, answer, scale, ink, font }) {
  ctx.font = `${12 * scale}px ${font}`;
  ctx.fillStyle = ink("muted");
  ctx.strokeStyle = ink("grid");
  ctx.lineWidth = 1;
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  const ticks = niceTicks(0, most, 3);
  for (const tick of ticks) {
    ctx.beginPath();
    ctx.moveTo(box.left, Math.round(y(tick)) + 0.5);
    ctx.lineTo(box.right, Math.round(y(tick)) + 0.5);
    ctx.stroke();
    ctx.fillText(plain(tick, ticks.length > 1 ? ticks[1] - ticks[0] : 1), box.left - 5 * scale, y(tick));
  }
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  const halfDays = answer.hours.filter((hour) => hour % 12 === 0);
  const hours = halfDays.length > 1 && halfDays.length < 7 ? halfDays : niceTicks(answer.hours[0], answer.hours.at(-1), 5);
  hours.forEach((hour, i) => {
    const text = i === hours.length - 1 ? `${plain(hour)} h` : plain(hour);
    ctx.fillText(text, Math.min(x(hour), box.right - ctx.measureText(text).width / 2 + 6 * scale), box.bottom + 5 * scale);
  });
}

function strokeScores(ctx, { values, ink: name, dash, width }, { answer, x, y, scale, ink }) {
  ctx.strokeStyle = ctx.fillStyle = ink(name);
  ctx.lineWidth = width * scale;
  ctx.setLineDash(dash.map((part) => part * scale));
  ctx.lineJoin = "round";
  ctx.beginPath();
  values.forEach((value, i) => {
    if (value === null) return;
    const place = [x(answer.hours[i]), y(value)];
    if (i > 0 && values[i - 1] !== null) ctx.lineTo(...place);
    else ctx.moveTo(...place);
  });
  ctx.stroke();
}
