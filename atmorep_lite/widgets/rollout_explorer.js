// RolloutExplorer: forecasts beside the truth, scrubbed and played in time, with errors and spectra.
import { widthOf } from "./parts/axes.js";
import { choice, element } from "./parts/controls.js";
import { percent, plain, withUnits } from "./parts/colour.js";
import { explorer } from "./parts/frame.js";
import { figures, shape } from "./parts/line_chart.js";
import { mapsOf, readMap } from "./parts/map_values.js";
import { drawErrors, drawSpectra, fineShare, inkOfForecast, sampleOf } from "./parts/rollout_charts.js";

const PAUSE = 320; // ms between two leads
const SIGNED = 0.15; // a field counts as signed where its smaller side reaches this part of the larger
const VIEWS = [
  { value: "one", label: "one forecast", long: "truth, one forecast, their difference" },
  { value: "all", label: "all", long: "truth and every forecast" },
  { value: "differences", label: "differences", long: "every forecast minus the truth" },
];

function build({ meta, data, state, choose, redraw, announce }) {
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const maps = mapsOf(meta, data);
  const count = meta.leads.length;
  const names = ["truth", ...meta.forecasts];
  const index = () => meta.leads.indexOf(state.lead);
  const [low, high] = meta.limits;
  const signed = low < 0 && high > 0 && Math.min(-low, high) > SIGNED * Math.max(-low, high);
  let playing = null;
  let cursor = null;
  let cards = [];
  const cache = new Map();

  // ---- values

  function valuesOf(name, at = index()) {
    const map = names.indexOf(name) * count + at;
    if (!cache.has(map)) {
      if (cache.size > 3 * names.length) cache.clear();
      cache.set(map, readMap(meta.maps, data, map));
    }
    return cache.get(map);
  }
  const difference = (name) => {
    const truth = valuesOf("truth");
    return valuesOf(name).map((v, i) => v - truth[i]);
  };

  // ---- playing

  function stop() {
    clearTimeout(playing);
    playing = null;
    redraw();
  }
  function next() {
    if (index() + 1 >= count) { stop(); announce(); return; }
    choose({ lead: meta.leads[index() + 1] });
    playing = setTimeout(next, PAUSE);
  }
  function play() {
    if (playing !== null) { stop(); return; }
    const from = index() + 1 >= count ? -1 : index();
    if (calm.matches) { // one lead a press, nothing moves by itself
      choose({ lead: meta.leads[from + 1] });
      return;
    }
    choose({ lead: meta.leads[Math.max(from, 0)] });
    playing = setTimeout(next, PAUSE);
    redraw();
  }
  const go = (i) => { if (playing !== null) stop(); choose({ lead: meta.leads[Math.min(Math.max(i, 0), count - 1)] }); };

  // ---- nodes

  const leadText = (lead) => (meta.leadUnit === "frames" ? `${plain(lead, 0)} ${lead === 1 ? "frame" : "frames"}` : `${figures(lead)} ${meta.leadUnit}`);
  const leads = meta.leads.map((lead) => ({ value: lead, label: leadText(lead), long: `lead ${leadText(lead)}` }));
  const button = element("button", { type: "button", class: "arl-action arl-roll-play", onclick: play });
  const leadChoice = choice("Lead", (lead) => go(meta.leads.indexOf(lead)));
  const modelChoice = choice("Forecast", (model) => choose({ model }));
  const viewChoice = choice("Show", (view) => choose({ view }));
  const several = meta.forecasts.length > 1;
  const bar = element("div", { class: "arl-controls", role: "group", "aria-label": "Controls" },
    ...(count > 1 ? [element("div", { class: "arl-control arl-roll-time" }, button, leadChoice.node)] : []),
    ...(several ? [modelChoice.node, viewChoice.node] : []));
  const grid = element("div", { class: `arl-roll-maps${meta.grid.plane ? "" : " arl-roll-sphere"}`, role: "group", tabindex: 0, "aria-label": "Maps. Arrow keys move a cross over them, Escape takes it away." });
  const readout = element("p", { class: "arl-panel-note arl-roll-readout" });
  const [errors, spectra] = ["slider", "img"].map((role) => shape("svg", { class: "arl-chart", role }));
  errors.setAttribute("tabindex", 0);
  errors.classList.add("arl-roll-errors");
  const legend = element("ul", { class: "arl-roll-legend", "aria-label": "Errors" });
  const note = element("p", { class: "arl-panel-note" });
  const bound = element("p", { class: "arl-panel-note" });
  const key = (text) => element("kbd", { text });
  const help = element("p", { class: "arl-help" }, "Point at a map to read it off in all; drag on the error curves to go through time. Keys on the maps: ",
    key("←"), " ", key("→"), " ", key("↑"), " ", key("↓"), " move a cross, ", key("Esc"), " takes it away; on the error curves: ", key("←"), " ", key("→"), " earlier, later.");

  function cardsOf() {
    const { view, model } = state;
    if (view === "one") {
      return [{ title: "Truth", name: "truth" }, { title: model, name: model }, { title: "Forecast − truth", name: model, minus: true }];
    }
    const forecasts = meta.forecasts.map((name) => ({ title: view === "all" ? name : `${name} − truth`, name, minus: view === "differences" }));
    return view === "all" ? [{ title: "Truth", name: "truth" }, ...forecasts] : forecasts;
  }
  function lay() {
    const wanted = cardsOf();
    if (cards.map((c) => c.title).join("|") === wanted.map((c) => c.title).join("|")) return;
    cards = wanted.map((card) => {
      const canvas = element("canvas", { class: "arl-canvas", role: "img" });
      const sub = element("span", { class: "arl-roll-sub" });
      const mark = element("i", { class: "arl-roll-mark", style: `background: ${inkOfForecast(meta, card.name)}`, "aria-hidden": "true" });
      return { ...card, canvas, sub, project: null, node: element("section", {}, element("p", { class: "arl-panel-head" },
        element("span", { class: "arl-roll-title" }, mark, card.title), sub), canvas) };
    });
    grid.replaceChildren(...cards.map((card) => card.node));
    grid.style.setProperty("--arl-cards", String(cards.length));
  }

  // ---- pointer and keys

  function point(event) {
    const card = cards.find(({ canvas }) => canvas === event.target);
    if (!card?.project) return;
    const box = card.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { left, top, width, height } = card.project;
    cursor = x < left || y < top || x > left + width || y > top + height ? null : maps.placeAt(card.project, x, y);
    redraw();
  }
  grid.addEventListener("pointermove", point);
  grid.addEventListener("pointerdown", point);
  grid.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") { cursor = null; redraw(); } });
  const plainKey = (event) => !event.ctrlKey && !event.metaKey && !event.altKey;
  grid.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0] }[event.key];
    if ((!by && event.key !== "Escape") || !plainKey(event)) return;
    event.preventDefault();
    if (by) {
      const from = cursor || { row: Math.floor(maps.rows / 2), column: Math.floor(maps.columns / 2) };
      const north = meta.grid.latitude[0] < meta.grid.latitude[maps.rows - 1] ? 1 : -1; // rows may run either way
      const step = event.shiftKey ? 5 : 1;
      cursor = {
        row: Math.min(Math.max(from.row + by[0] * north * step, 0), maps.rows - 1),
        column: (from.column + by[1] * step + maps.columns) % maps.columns,
      };
    } else {
      cursor = null;
    }
    redraw();
    announce();
  });
  let chart = null;
  const scrub = (event) => {
    const lead = chart.value(event.clientX - errors.getBoundingClientRect().left);
    go(meta.leads.reduce((best, one, i) => (Math.abs(one - lead) < Math.abs(meta.leads[best] - lead) ? i : best), 0));
  };
  errors.addEventListener("pointerdown", (event) => { errors.setPointerCapture(event.pointerId); scrub(event); });
  errors.addEventListener("pointermove", (event) => { if (errors.hasPointerCapture(event.pointerId)) scrub(event); });
  errors.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!by || !plainKey(event)) return;
    event.preventDefault();
    go(index() + by);
  });

  // ---- words and pictures

  const amount = (v) => (Number.isFinite(v) ? withUnits(figures(v), meta.units) : "missing");
  const errorText = (name) => {
    const error = meta.errors[name][index()];
    if (error === null) return "not finite";
    return meta.relative ? percent(error) : amount(error);
  };
  function placeText({ row, column }) {
    const [y, x] = [meta.grid.latitude[row], meta.grid.longitude[column]];
    if (meta.grid.plane) return `x = ${plain(x, 0.01)}, y = ${plain(y, 0.01)}`;
    return `${plain(Math.abs(y), 0.1)}°${y < 0 ? "S" : "N"} ${plain(Math.abs(x), 0.1)}°${x < 0 ? "W" : "E"}`;
  }
  const readingText = () => cursor && `At ${placeText(cursor)}: ${names.map((name) => `${name} ${amount(valuesOf(name)[cursor.row * maps.columns + cursor.column])}`).join("; ")}.`;
  function words() {
    const told = [...meta.forecasts, ...meta.baselines].map((name) => `${name} ${errorText(name)}`).join("; ");
    return `${meta.field}, lead ${leadText(state.lead)}. ${meta.relative ? "Relative error" : "Error"}: ${told}.${cursor ? ` ${readingText()}` : ""}`;
  }
  function drawMaps(look) {
    lay();
    const width = cards[0].canvas.clientWidth;
    for (const card of cards) {
      const values = card.minus ? difference(card.name) : valuesOf(card.name);
      const limits = card.minus ? [-meta.most, meta.most] : meta.limits;
      card.project = maps.draw(card.canvas, { values, limits, signed: card.minus || signed, units: meta.units, look, bar: true, width, cursor });
      card.sub.textContent = card.name === "truth" ? leadText(state.lead) : card.minus || state.view === "all" ? `error ${errorText(card.name)}` : leadText(state.lead);
      const least = values.reduce((a, b) => (b < a ? b : a), Infinity);
      const most = values.reduce((a, b) => (b > a ? b : a), -Infinity);
      card.canvas.setAttribute("aria-label", `Map of ${meta.field}: ${card.title}, lead ${leadText(state.lead)}, from ${amount(least)} to ${amount(most)}.`);
    }
    readout.textContent = readingText() || `${meta.field}${meta.simulated ? ", simulated" : ""}. Colours of forecasts as of the truth.`;
  }
  function drawCharts([width, wide]) {
    chart = drawErrors(errors, { width, meta, lead: state.lead, chosen: state.model });
    for (const [name, text] of [["aria-label", "Error against lead"], ["aria-valuemin", meta.leads[0]], ["aria-valuemax", meta.leads[count - 1]], ["aria-valuenow", state.lead],
      ["aria-valuetext", `lead ${leadText(state.lead)}: ${meta.forecasts.map((n) => `${n} ${errorText(n)}`).join(", ")}`]]) errors.setAttribute(name, text);
    legend.replaceChildren(...["truth", ...meta.forecasts, ...meta.baselines].map((name) => element("li", {}, sampleOf(meta, name), name,
      ...(name === "truth" ? [] : [element("b", { text: errorText(name) })]))));
    if (!meta.spectra) return;
    drawSpectra(spectra, { width: wide, meta, index: index(), chosen: state.model });
    const told = meta.forecasts.map((name) => [name, fineShare(meta, name, index())]).filter(([, part]) => part !== null);
    note.textContent = told.length ? `Variance in the finest third of the waves, truth = 100 %: ${told.map(([name, part]) => `${name} ${part > 9.995 ? "> 1000\u00a0%" : percent(part)}`).join("; ")}.` : "";
    spectra.setAttribute("aria-label", `Power spectra at lead ${leadText(state.lead)}. ${note.textContent}`);
  }
  function draw(look) {
    button.textContent = calm.matches ? (index() + 1 < count ? "Next lead" : "First lead") : playing !== null ? "Pause" : "Play";
    leadChoice.update(leads, state.lead);
    modelChoice.update(meta.forecasts.map((name) => ({ value: name, label: name })), state.model);
    viewChoice.update(VIEWS, state.view);
    const widths = [errors, spectra].map(widthOf);
    drawMaps(look);
    drawCharts(widths);
    const off = Math.max(...names.map((name) => meta.maps.errors[names.indexOf(name) * count + index()]));
    const part = off / (high - low || 1); // of a forecast that blew up it says nothing
    bound.textContent = `Maps travel with ${meta.maps.bits} bits a value${part <= 1 ? `: at this lead within ${percent(part)} of the truth's range` : ""}. Errors and spectra are of the numbers themselves.`;
  }
  const panel = (head, ...nodes) => element("section", {}, element("p", { class: "arl-panel-head", text: head }), ...nodes);
  return {
    nodes: [bar, grid, readout, legend,
      element("div", { class: "arl-roll-charts" }, panel("How fast does the error grow?", errors),
        meta.spectra ? panel("Is the fine structure still there?", spectra, note) : panel("Spectra", element("p", { class: "arl-note", text: "A spectrum needs a periodic square or whole circles of latitude." }))),
      bound, help],
    draw, words,
    hooks: {
      map: (name) => [...valuesOf(name)], play, playing: () => playing !== null, cursor: () => cursor,
      numbers: () => ({ errors: Object.fromEntries([...meta.forecasts, ...meta.baselines].map((n) => [n, meta.errors[n][index()]])),
        spectra: meta.spectra && Object.fromEntries(names.map((n) => [n, meta.spectra[n][index()]])) }),
    },
    end: () => clearTimeout(playing),
  };
}

const render = explorer({ kind: "rollout", label: "Forecast and truth", build });
export default { render };
