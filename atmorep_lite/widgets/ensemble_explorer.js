// EnsembleExplorer: what each loss does to an ensemble, live; or spread and error of a real forecast.
import { widthOf } from "./parts/axes.js";
import { choice, element } from "./parts/controls.js";
import { plain } from "./parts/colour.js";
import { buildForecast } from "./parts/ensemble_forecast.js";
import { lossGradient, lossParts, lossValue, moments, PARTS } from "./parts/ensemble_losses.js";
import { askedSpreads, descend, drawMembers, lossCurve, moved, rankShares, spreadSkill } from "./parts/ensemble_numbers.js";
import { askedText, drawAsked, drawLine, drawLoss, drawRanks, drawSmallLoss, viewOf } from "./parts/ensemble_plots.js";
import { explorer } from "./parts/frame.js";
import { figures, shape } from "./parts/line_chart.js";
import { numberSlider } from "./parts/number_slider.js";

const PART_INKS = ["var(--arl-2)", "var(--arl-3)"];
const MOST_TRACKS = 240;
const LONG = {
  mse: "squared error of the mean", mse_ensemble: "squared error of every member", stats: "the published statistical loss",
  "mse_ensemble + stats": "what the published model is trained with", stats_area: "the published variant with areas",
  gaussian_likelihood: "log-likelihood of a Gaussian", gaussian_crps: "CRPS of a Gaussian", crps: "CRPS of the members",
  fair_crps: "fair CRPS, for random draws", published_crps: "what the published code calls CRPS",
  published_kernel_crps: "the published kernel CRPS",
};
const NOTES = {
  mse: "It does not see the spread.", mse_ensemble: "It draws every member to the mean.",
  stats: "Not a proper score: too wide where truths are predictable, collapsed where they are not.",
  "mse_ensemble + stats": "The first part draws the members together, so that it collapses sooner than stats alone.",
  stats_area: "The variant of the published code that compares areas; it asks for no spread.",
  gaussian_likelihood: "A proper score of the Gaussian with the members' mean and spread.",
  gaussian_crps: "A proper score of the Gaussian with the members' mean and spread.",
  crps: "A proper score of the members themselves; few members do best a little closer together than the truths.",
  fair_crps: "Meant for members drawn at random; these lie evenly, and it drives them apart.",
  published_crps: "Its least lies off the truth: look along the bias.",
  published_kernel_crps: "Its spread term hands on no gradient: descending, the members go to the median.",
};
const FORMS = [["bell", "bell"], ["two peaks", "two peaks"], ["skewed", "skewed"], ["one value", "one value"]]
  .map(([value, text]) => ({ value, label: text }));
const still = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

function buildToy({ meta, state, choose, redraw, announce }) {
  let tracks = [];
  let running = null;
  let active = 0;
  const truths = () => meta.truths[state.truths].map((y) => y * state.error);
  const scale = () => (state.truths === "one value" ? 0.3 : state.error);
  const view = () => viewOf(scale());
  const range = () => (state.axis === "spread" ? [0, 0.8 * view()] : [-0.6 * view(), 0.6 * view()]);
  const now = () => (state.axis === "spread" ? moments(state.members).sigma : moments(state.members).mean);
  const right = () => (state.axis === "bias" ? 0 : state.truths === "one value" ? null : state.error);
  const place = (x) => Math.round(Math.min(Math.max(x, -view()), view()) * 1e4) / 1e4;

  // ---- what the reader does

  function take(members) { // not by descent: the tracks begin anew
    tracks = [];
    choose({ members });
  }
  const shift = (mean, spread) => take(moved(state.members, mean, spread));
  function again(count, seed) {
    const { mean, sigma } = moments(state.members);
    active = Math.min(active, count - 1);
    take(drawMembers(count, seed, mean, Math.max(sigma, 0.02)));
    choose({ seed });
  }
  function step() {
    const next = descend(state.loss, state.members, truths());
    if (next === state.members) return false;
    if (!tracks.length) tracks = [state.members];
    tracks = [...tracks, next].slice(-MOST_TRACKS);
    state.members = next;
    return true;
  }
  function stop() {
    if (running === null) return;
    cancelAnimationFrame(running);
    running = null;
    choose({ members: state.members });
  }
  function run() {
    if (!step()) { stop(); return; }
    redraw();
    running = requestAnimationFrame(run);
  }
  function play() {
    if (running !== null) { stop(); return; }
    if (still()) { // no motion: the whole descent at once
      for (let n = 0; n < 150 && step(); n += 1);
      choose({ members: state.members });
    } else {
      running = requestAnimationFrame(run);
    }
  }

  // ---- nodes

  const controls = {
    truths: choice("Truths", (form) => { stop(); tracks = []; choose({ truths: form }); }, { hint: "how the truth is distributed, the input being the same" }),
    error: numberSlider("Spread of the truths", { low: 0.05, high: 1.2, step: 0.05, digits: 2 }, (error) => { stop(); tracks = []; choose({ error }); }),
    count: numberSlider("Members", { low: 2, high: 32, step: 1, digits: 0 }, (count) => { stop(); again(count, state.seed); }),
    spread: numberSlider("Their spread", { low: 0, high: 2, step: 0.01, digits: 2 }, (spread) => { stop(); shift(moments(state.members).mean, spread); }),
    bias: numberSlider("Their bias", { low: -2, high: 2, step: 0.01, digits: 2 }, (bias) => { stop(); shift(bias, moments(state.members).sigma); }),
  };
  const other = element("button", { type: "button", class: "arl-action", text: "Draw others", onclick: () => { stop(); again(state.members.length, (state.seed + 1) % 4294967296); } });
  const bar = element("div", { class: "arl-controls", role: "group", "aria-label": "Controls" },
    ...Object.values(controls).map((control) => control.node), element("div", { class: "arl-control arl-ens-end" }, other));
  const lineChart = shape("svg", { class: "arl-chart arl-ens-line", role: "group" });
  const descending = element("button", { type: "button", class: "arl-action arl-ens-go", onclick: play });
  const once = element("button", { type: "button", class: "arl-action", text: "One step", onclick: () => { stop(); if (step()) choose({ members: state.members }); } });
  const ranks = shape("svg", { class: "arl-chart", role: "img" });
  const judged = element("p", { class: "arl-panel-note" });
  const big = shape("svg", { class: "arl-chart arl-ens-big", role: "slider", tabindex: 0 });
  const axis = choice("Loss along", (value) => choose({ axis: value }));
  const head = element("p", { class: "arl-panel-head" });
  const legend = element("p", { class: "arl-ens-legend" });
  const wish = shape("svg", { class: "arl-chart", role: "img" });
  const said = element("p", { class: "arl-panel-note" });
  const group = `arl-losses-${Math.random().toString(36).slice(2)}`;
  const smalls = meta.losses.map((name) => {
    const input = element("input", { type: "radio", name: group, value: name, class: "arl-sr", onchange: () => { stop(); choose({ loss: name }); } });
    const svg = shape("svg", { class: "arl-chart", "aria-hidden": "true" });
    const asked = element("span", { class: "arl-ens-asked" });
    const node = element("label", { class: "arl-ens-small", title: LONG[name] }, input,
      element("span", { class: "arl-ens-face" }, element("span", { class: "arl-ens-name", text: name }), svg, asked));
    return { name, input, svg, asked, node };
  });
  const table = element("fieldset", { class: "arl-ens-smalls" }, element("legend", { class: "arl-panel-head" }), ...smalls.map((one) => one.node));
  const help = element("p", { class: "arl-help" }, "Drag the members, or the dot on the loss. Keys on a member: ",
    ...["←", "→"].flatMap((key) => [element("kbd", { text: key }), " "]), "move it, with ", element("kbd", { text: "Shift" }), " faster; ",
    ...["↑", "↓"].flatMap((key) => [element("kbd", { text: key }), " "]), "go to the next one.");

  // ---- pointer and keys

  let drawn = null;
  let curveDrawn = null;
  let dragging = false;
  lineChart.addEventListener("pointerdown", (event) => {
    const dot = event.target.closest("[data-arl-member]");
    if (!dot) return;
    stop();
    active = Number(dot.getAttribute("data-arl-member"));
    dragging = true;
    lineChart.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  lineChart.addEventListener("pointermove", (event) => {
    if (!dragging) return;
    const x = place(drawn.value(event.clientX - lineChart.getBoundingClientRect().left));
    take(state.members.map((old, i) => (i === active ? x : old)));
  });
  for (const kind of ["pointerup", "pointercancel"]) lineChart.addEventListener(kind, () => { dragging = false; });
  lineChart.addEventListener("keydown", (event) => {
    const dot = event.target.closest("[data-arl-member]");
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!dot || !by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    stop();
    active = Number(dot.getAttribute("data-arl-member"));
    if (by[1]) {
      const order = state.members.map((_, i) => i).sort((a, b) => state.members[a] - state.members[b]);
      active = order[(order.indexOf(active) + by[1] + order.length) % order.length];
      redraw();
    } else {
      const x = place(state.members[active] + by[0] * view() * (event.shiftKey ? 0.05 : 0.01));
      take(state.members.map((old, i) => (i === active ? x : old)));
    }
    requestAnimationFrame(() => lineChart.querySelector(`[data-arl-member="${active}"]`)?.focus());
  });
  const setAlong = (x) => {
    const { mean, sigma } = moments(state.members);
    const [low, high] = range();
    const value = Math.round(Math.min(Math.max(x, low), high) * 1e4) / 1e4;
    if (state.axis === "spread") shift(mean, value);
    else shift(value, sigma);
  };
  const pull = (event) => { stop(); setAlong(curveDrawn.value(event.clientX - big.getBoundingClientRect().left)); };
  big.addEventListener("pointerdown", (event) => { big.setPointerCapture(event.pointerId); pull(event); });
  big.addEventListener("pointermove", (event) => { if (big.hasPointerCapture(event.pointerId)) pull(event); });
  big.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1 }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    stop();
    setAlong(now() + by * (range()[1] - range()[0]) * (event.shiftKey ? 0.05 : 0.01));
  });

  // ---- words and pictures

  function judgement() {
    const { ratio } = spreadSkill(state.members, truths());
    if (!Number.isFinite(ratio)) return "no error";
    return `${plain(ratio, 0.01)}: ${ratio < 0.9 ? "too little spread" : ratio > 1.1 ? "too much spread" : "spread and error belong together"}`;
  }
  function words() {
    const { mean, sigma } = moments(state.members);
    const all = truths();
    const curve = lossCurve(state.loss, state.members, all, state.axis, range());
    return `${state.members.length} members with mean ${plain(mean, 0.01)} and spread ${plain(sigma, 0.01)}; `
      + `${state.truths === "one value" ? "the truth is 0" : `truths: ${state.truths}, spread ${plain(state.error, 0.01)}`}. `
      + `${state.loss}: ${figures(lossValue(state.loss, state.members, all))}; along the ${state.axis} it asks for ${askedText(curve, state.axis, range())}. `
      + `Spread over error ${judgement()}.`;
  }
  function drawWish(all, width) {
    const points = askedSpreads(state.loss, state.members, meta.truths[state.truths]);
    const known = points.some(Boolean) && all.length > 1;
    drawAsked(wish, { width, points: all.length > 1 ? points : [], now: known ? [state.error, moments(state.members).sigma] : null });
    const told = points.filter((p, i) => p && i % 4 === 3).map(([s, a]) => `${plain(s, 0.1)}: ${plain(a, 0.01)}`).join(", ");
    wish.setAttribute("aria-label", known ? `Spread that ${state.loss} asks for, by the spread of the truths: ${told}.` : `${state.loss} asks for no spread of its own.`);
  }
  function draw() {
    const all = truths();
    const wide = Object.fromEntries(Object.entries({ lineChart, ranks, big, wish, small: smalls[0].svg }).map(([name, svg]) => [name, widthOf(svg)]));
    const { mean, sigma } = moments(state.members);
    controls.truths.update(FORMS, state.truths);
    controls.error.update(state.error);
    controls.error.node.disabled = state.truths === "one value";
    controls.count.update(state.members.length);
    controls.spread.update(sigma);
    controls.bias.update(mean);
    axis.update([{ value: "spread", label: "spread" }, { value: "bias", label: "bias" }], state.axis);
    const held = lineChart.contains(document.activeElement);
    drawn = drawLine(lineChart, { width: wide.lineChart, members: state.members, truths: all, view: view(), tracks, active, name: "member" });
    if (held) lineChart.querySelector(`[data-arl-member="${active}"]`).focus();
    lineChart.setAttribute("aria-label", `Members and truths on a line. Mean ${plain(mean, 0.01)}, spread ${plain(sigma, 0.01)}.`);
    descending.textContent = running === null ? `Descend: ${state.loss}` : "Stop";
    const shares = rankShares(state.members, all);
    drawRanks(ranks, shares, wide.ranks);
    ranks.setAttribute("aria-label", `Rank histogram: ${shares.map((s) => `${Math.round(100 * s)} %`).join(", ")}.`);
    drawWish(all, wide.wish);
    judged.replaceChildren("dashed: even, as where truth and members are alike. Spread ÷ error of the mean = ", element("b", { text: judgement() }));

    const parts = lossParts(state.loss, state.members, all);
    const value = parts.reduce((a, b) => a + b, 0);
    let chosen = null;
    for (const one of smalls) {
      const mine = one.name === state.loss;
      const curve = lossCurve(one.name, state.members, all, state.axis, range(), mine ? "fine" : "coarse");
      if (mine) chosen = curve;
      drawSmallLoss(one.svg, { width: wide.small, curve, range: range(), now: now(), right: right() });
      one.input.checked = mine;
      const text = askedText(curve, state.axis, range());
      one.asked.textContent = `asks for ${text}`;
      one.input.setAttribute("aria-label", `${one.name}, ${LONG[one.name]}: asks for ${text}`);
    }
    table.firstChild.textContent = `Which ${state.axis} does each loss ask for?`
      + (right() === null ? "" : ` Right is ${plain(right(), 0.01)} (dashed).`);
    curveDrawn = drawLoss(big, { width: wide.big, curve: chosen, axis: state.axis, range: range(), now: now(), value, right: right(), partInks: PART_INKS });
    head.replaceChildren(state.loss, element("span", { class: "arl-ens-long", text: ` ${LONG[state.loss]}` }));
    const names = PARTS[state.loss] || [];
    const key = (kind, text, ink) => element("span", { class: "arl-ens-key" }, element("i", { class: `arl-ens-${kind}`, style: ink ? `border-color: ${ink}` : null }), text);
    legend.replaceChildren(key("swatch", `loss ${figures(value)}`, "var(--arl-output)"),
      ...names.map((name, i) => key("swatch", `${name} ${figures(parts[i])}`, PART_INKS[i])));
    said.replaceChildren("▲ asks for a ", state.axis, " of ", element("b", { text: askedText(chosen, state.axis, range()) }),
      right() === null ? "" : `; right is ${plain(right(), 0.01)}`, state.axis === "spread" && chosen.best === 0 ? ": the ensemble collapses. " : ". ", NOTES[state.loss]);
    const at = plain(now(), 0.01);
    for (const [name, text] of [["aria-label", `${state.loss} along the ${state.axis}`], ["aria-valuemin", range()[0]], ["aria-valuemax", range()[1]],
      ["aria-valuenow", now()], ["aria-valuetext", `${state.axis} ${at}, loss ${figures(value)}`]]) big.setAttribute(name, text);
  }

  return {
    nodes: [bar,
      element("div", { class: "arl-ens-parts" },
        element("section", {}, element("p", { class: "arl-panel-head", text: "The members and the truth" }), lineChart,
          element("div", { class: "arl-ens-actions" }, descending, once),
          element("p", { class: "arl-panel-head arl-ens-next", text: "Rank of the truth among the members" }), ranks, judged),
        element("section", {}, element("div", { class: "arl-ens-top" }, head, axis.node), big, legend, said,
          element("p", { class: "arl-panel-head arl-ens-next", text: "Right for predictable and for unpredictable truths?" }), wish)),
      table, help],
    draw, words,
    hooks: {
      numbers: () => ({
        losses: Object.fromEntries(meta.losses.map((name) => [name, lossValue(name, state.members, truths())])),
        gradients: Object.fromEntries(meta.losses.map((name) => [name, lossGradient(name, state.members, truths())])),
        asked: Object.fromEntries(meta.losses.map((name) => [name, lossCurve(name, state.members, truths(), state.axis, range()).best])),
        ranks: rankShares(state.members, truths()), ...spreadSkill(state.members, truths()), range: range(),
      }),
      descend: (steps) => { stop(); let n = 0; while (n < steps && step()) n += 1; choose({ members: state.members }); return n; },
      drawMembers,
    },
    end: () => cancelAnimationFrame(running),
  };
}

const render = explorer({
  kind: "ensemble", label: "What a loss does to an ensemble",
  build: (page) => (page.meta.leads ? buildForecast(page) : buildToy(page)),
});
export default { render };
