// Spread and error of a real ensemble forecast: maps, ranks, and the spread-skill ratio against the lead.
import { axes, leadTicks, widthOf } from "./axes.js";
import { percent, plain, withUnits } from "./colour.js";
import { choice, element } from "./controls.js";
import { drawRanks } from "./ensemble_plots.js";
import { figures, line, shape, stroke } from "./line_chart.js";
import { mapsOf, readMap } from "./map_values.js";

const NAMES = ["Spread of the members", "Error of their mean"];

export function buildForecast({ meta, data, state, choose }) {
  const maps = mapsOf(meta, data);
  const index = () => meta.leads.indexOf(state.lead);
  const lead = choice("Lead", (value) => choose({ lead: value }), { hint: "hours since the initial time" });
  const options = meta.leads.map((value) => ({ value, label: `${plain(value)} h`, long: `${plain(value)} hours` }));
  const bar = element("div", { class: "arl-controls", role: "group", "aria-label": "Controls" }, lead.node);
  const cards = NAMES.map((name) => {
    const canvas = element("canvas", { class: "arl-canvas", role: "img" });
    return { name, canvas, node: element("section", {}, element("p", { class: "arl-panel-head", text: name }), canvas) };
  });
  const chart = (role) => shape("svg", { class: "arl-chart", role });
  const [byLead, ranks, bySpread] = [chart("slider"), chart("img"), chart("img")];
  byLead.setAttribute("tabindex", 0);
  const panel = (head, svg, note) => element("section", {}, element("p", { class: "arl-panel-head", text: head }), svg, note);
  const notes = NAMES.concat("").map(() => element("p", { class: "arl-panel-note" }));
  const about = element("p", { class: "arl-panel-note" });
  let drawn = null;

  function pick(event) {
    const hours = drawn.value(event.clientX - byLead.getBoundingClientRect().left);
    const nearest = meta.leads.reduce((best, one) => (Math.abs(one - hours) < Math.abs(best - hours) ? one : best));
    if (nearest !== state.lead) choose({ lead: nearest });
  }
  byLead.addEventListener("pointerdown", (event) => { byLead.setPointerCapture(event.pointerId); pick(event); });
  byLead.addEventListener("pointermove", (event) => { if (byLead.hasPointerCapture(event.pointerId)) pick(event); });
  byLead.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose({ lead: meta.leads[Math.min(Math.max(index() + by, 0), meta.leads.length - 1)] });
  });

  const limits = () => [0, meta.steps[index()].most];
  const what = () => `${meta.field}${meta.level ? ` at ${meta.level} hPa` : ""}`;
  const verdict = (ratio) => (ratio < 0.9 ? "too little spread" : ratio > 1.1 ? "too much spread" : "spread and error belong together");
  const amount = (x) => withUnits(figures(x), meta.units);
  function words() {
    const step = meta.steps[index()];
    return `${what()}, ${meta.members} members, ${meta.times} initial times, lead ${plain(step.lead)} hours: spread ${amount(step.spread)}, `
      + `error of the mean ${amount(step.rmse)}, ratio ${plain(step.ratio, 0.01)}, ${verdict(step.ratio)}.`;
  }

  function drawLeads(width) {
    const high = 1.15 * Math.max(...meta.steps.flatMap(({ rmse, spread }) => [rmse, spread]));
    const ends = [Math.min(0, ...meta.leads), Math.max(...meta.leads)];
    drawn = axes(byLead, {
      width, height: 210, x: { low: ends[0], high: ends[1], label: "lead (h)", ...leadTicks(meta.leads) }, y: { low: 0, high, label: `spread and error (${meta.units})` },
    });
    const here = drawn.x(state.lead);
    drawn.add(stroke(here, drawn.box.top, here, drawn.box.bottom, "arl-cursor"));
    for (const [name, ink] of [["rmse", "output"], ["spread", "0"]]) {
      drawn.add(line(meta.steps.map((step) => [drawn.x(step.lead), drawn.y(step[name])]), { class: "arl-curve", stroke: `var(--arl-${ink})`, "stroke-width": 2.4 }));
      for (const step of meta.steps) byLead.append(shape("circle", { cx: drawn.x(step.lead), cy: drawn.y(step[name]), r: step.lead === state.lead ? 5 : 3, fill: `var(--arl-${ink})` }));
    }
  }
  function drawBins({ bins }, width) {
    const high = 1.12 * Math.max(...meta.steps.flatMap((step) => step.bins.flat()));
    const plot = axes(bySpread, {
      width, height: 210, x: { low: 0, high, label: `spread of the members (${meta.units})` }, y: { low: 0, high, label: `error of their mean (${meta.units})` },
    });
    plot.add(stroke(plot.x(0), plot.y(0), plot.x(high), plot.y(high), "arl-ens-even"));
    plot.add(line(bins.map(([s, e]) => [plot.x(s), plot.y(e)]), { class: "arl-curve", stroke: "var(--arl-0)", "stroke-width": 2 }));
    for (const [s, e] of bins) bySpread.append(shape("circle", { cx: plot.x(s), cy: plot.y(e), r: 4.5, class: "arl-ens-now" }));
    bySpread.setAttribute("aria-label", `Points sorted by spread into ${bins.length} bins: ${bins.map(([s, e]) => `spread ${figures(s, 2)}, error ${figures(e, 2)}`).join("; ")}.`);
  }
  function draw(look) {
    const step = meta.steps[index()];
    lead.update(options, state.lead);
    const width = cards[0].canvas.clientWidth;
    const wide = [byLead, ranks, bySpread].map(widthOf);
    cards.forEach(({ name, canvas }, i) => {
      maps.draw(canvas, { values: readMap(meta.maps, data, 2 * index() + i), limits: limits(), signed: false, units: meta.units, look, bar: true, width });
      canvas.setAttribute("aria-label", `Map: ${name.toLowerCase()} at lead ${plain(step.lead)} h, root mean ${amount(i ? step.rmse : step.spread)}.`);
    });
    drawLeads(wide[0]);
    for (const [attribute, text] of [["aria-label", "Spread and error against lead"], ["aria-valuemin", meta.leads[0]], ["aria-valuemax", meta.leads[meta.leads.length - 1]],
      ["aria-valuenow", state.lead], ["aria-valuetext", `lead ${plain(step.lead)} hours: spread ${amount(step.spread)}, error ${amount(step.rmse)}`]]) byLead.setAttribute(attribute, text);
    drawRanks(ranks, step.ranks, wide[1]);
    ranks.setAttribute("aria-label", `Rank histogram: ${step.ranks.map((s) => `${Math.round(100 * s)} %`).join(", ")}.`);
    drawBins(step, wide[2]);
    const key = (kind, text) => element("span", { class: "arl-ens-key" }, element("i", { class: "arl-ens-stroke", style: `border-color: var(--arl-${kind})` }), text);
    notes[0].replaceChildren(key("0", `spread ${amount(step.spread)}`), key("output", `error ${amount(step.rmse)}`));
    notes[1].replaceChildren("spread ÷ error = ", element("b", { text: plain(step.ratio, 0.01) }), `: ${verdict(step.ratio)}`);
    notes[2].replaceChildren("Each point: an eighth of all places and times, sorted by spread. On the dashed line, spread tells the error.");
    about.textContent = `${what()}, ${meta.simulated ? "simulated; " : ""}${meta.members} members, ${meta.times} initial time${meta.times > 1 ? "s" : ""}; `
      + `maps within ${percent(Math.max(...meta.maps.errors) / step.most)} of the greatest colour, which 99.5 % of both do not exceed.`;
  }
  return {
    nodes: [bar, element("div", { class: "arl-ens-maps" }, ...cards.map((card) => card.node)), about,
      element("div", { class: "arl-ens-three" }, panel("Against lead", byLead, notes[0]), panel("Is the truth one of the members?", ranks, notes[1]),
        panel("Does spread tell where errors are?", bySpread, notes[2]))],
    draw, words,
    hooks: { numbers: () => meta.steps[index()], map: (i) => [...readMap(meta.maps, data, 2 * index() + i)] },
  };
}
