// Charts of forecasts: error against lead, and spectra at one lead.
import { axes, leadTicks } from "./axes.js";
import { line, shape, stroke } from "./line_chart.js";

const CHART = 236; // pixels high
const DECADES = 6; // at most, of a spectrum

export const inkOfForecast = (meta, name) => (name === "truth" ? "var(--arl-ink)" : `var(--arl-${meta.forecasts.indexOf(name)})`);
const dashOf = (meta, name) => (meta.baselines.includes(name) ? (name === "climatology" ? "2 5" : "7 4") : "none");
const inkOf = (meta, name) => (meta.baselines.includes(name) ? "var(--arl-muted)" : inkOfForecast(meta, name));
const known = (values) => values.filter((v) => v !== null);

// A sample of a curve for legends.
export function sampleOf(meta, name) {
  const svg = shape("svg", { class: "arl-roll-sample", width: 24, height: 8, "aria-hidden": "true" });
  svg.append(shape("line", { x1: 1, x2: 23, y1: 4, y2: 4, stroke: inkOf(meta, name), "stroke-width": meta.baselines.includes(name) ? 1.8 : 2.8, "stroke-dasharray": dashOf(meta, name) }));
  return svg;
}

// Error against lead of all; `chosen` stands out, `lead` is marked.
export function drawErrors(svg, { width, meta, lead, chosen }) {
  const names = [...meta.baselines, ...meta.forecasts];
  const ends = known(meta.baselines.flatMap((name) => meta.errors[name]));
  const all = known(names.flatMap((name) => meta.errors[name]));
  const greatest = all.length ? Math.max(...all) : 1;
  const high = 1.06 * (ends.length ? Math.min(greatest, 1.25 * Math.max(...ends)) : greatest) || 1;
  const [first, last] = [meta.leads[0], meta.leads[meta.leads.length - 1]];
  const chart = axes(svg, {
    width, height: CHART, x: { low: first, high: last > first ? last : first + 1, label: `lead (${meta.leadUnit})`, ...leadTicks(meta.leads) },
    y: { low: 0, high, label: meta.relative ? "relative error (1 = as large as the truth)" : `root mean squared error (${meta.units})` },
  });
  chart.add(stroke(chart.x(lead), chart.box.top - 2, chart.x(lead), chart.box.bottom, "arl-cursor"));
  const index = meta.leads.indexOf(lead);
  for (const name of [...names.filter((n) => n !== chosen), chosen]) {
    const values = meta.errors[name];
    const base = meta.baselines.includes(name);
    chart.add(line(values.map((v, i) => (v === null ? null : [chart.x(meta.leads[i]), Math.max(chart.y(v), -400)])), {
      class: "arl-curve", stroke: inkOf(meta, name), "stroke-width": base ? 1.6 : name === chosen ? 3 : 2, "stroke-dasharray": dashOf(meta, name),
    }));
    if (!base && values[index] <= high && values[index] !== null) svg.append(shape("circle", { cx: chart.x(lead), cy: chart.y(values[index]), r: name === chosen ? 5 : 3.5, fill: inkOf(meta, name) }));
  }
  return chart;
}

// Power spectra of truth and forecasts at lead number `index`.
export function drawSpectra(svg, { width, meta, index, chosen }) {
  const names = ["truth", ...meta.forecasts];
  const rows = Object.fromEntries(names.map((name) => [name, meta.spectra[name][index].map((v) => (v > 0 ? v : null))]));
  const ofTruth = known(meta.spectra.truth.flat()).filter((v) => v > 0);
  const most = ofTruth.length ? Math.max(...ofTruth) : 1;
  const least = ofTruth.length ? Math.min(...ofTruth) : 0.1;
  const chart = axes(svg, {
    width, height: CHART, left: 58, x: { low: 1, high: meta.spectra.truth[0].length, log: true, label: meta.relative ? "waves across the square" : "waves around the globe" },
    y: { low: Math.max(least / 3, most * 10 ** -DECADES), high: most * 2, log: true, label: `variance by wave number${meta.units ? ` (${meta.units}, squared)` : ""}` },
  });
  for (const name of ["truth", ...meta.forecasts.filter((n) => n !== chosen), chosen]) {
    chart.add(line(rows[name].map((v, i) => (v === null ? null : [chart.x(i + 1), Math.min(chart.y(v), 2000)])), {
      class: "arl-curve", stroke: inkOf(meta, name), "stroke-width": name === chosen ? 3 : name === "truth" ? 2.6 : 1.8,
    }));
  }
}

// Sum of a spectrum's last third over that of the truth: how much of the fine structure is left.
export function fineShare(meta, name, index) {
  const tail = (row) => row.slice(Math.floor((2 * row.length) / 3)).reduce((sum, v) => sum + v, 0);
  const of = meta.spectra[name][index];
  return of.includes(null) ? null : tail(of) / tail(meta.spectra.truth[index]);
}
