// LiveVortices: the reader moves and paints vortices, a trained network forecasts them in this very page.
import { PALETTES } from "./parts/colour.js";
import { element } from "./parts/controls.js";
import { liveBar } from "./parts/live_bar.js";
import { pushButton, liveControls } from "./parts/live_controls.js";
import { liveErrors } from "./parts/live_errors.js";
import {
  COMPARED, COMPUTING, VORTICITY_UNIT, attentionWords, errorWords, errorsAhead, fieldWords, stepsAhead, tokenPlace,
} from "./parts/live_words.js";
import { explorer } from "./parts/frame.js";
import { headThumbs } from "./parts/head_thumbs.js";
import { missingHere, startModel } from "./parts/model_worker.js";
import {
  drawFieldContours, drawHandles, drawSquare, drawSquareFrame, frameToken, hatchTokens, ringAt, squareMap,
} from "./parts/square_map.js";
import { takeHands, takeQuery } from "./parts/vortex_hands.js";
import { largest, vortexScene } from "./parts/vortex_scene.js";

const LIMITS = [3, 5, 10, 20]; // of the colours of vorticity
// 1, 2 or 5 times a power of ten, not below `value`.
const roundUp = (value) => [1, 2, 5, 10].map((f) => f * 10 ** Math.floor(Math.log10(value || 1))).find((v) => v >= value);

function build({ meta, data, state, choose, redraw, root }) {
  const [n, count] = [meta.points, meta.tokens[0] * meta.tokens[1]];
  const scene = vortexScene(n);
  // What the worker has told. `number` counts the questions to it, `first` is the first one of the present scene; forecasts,
  // frees, truths and the frames before them answer question `answered`, rows of attention question `looked`.
  const nothing = () => ({ past: null, forecasts: [], frees: [], truths: [], rows: null, answered: 0, looked: 0 });
  const known = { number: 0, first: 0, fresh: 0, ready: false, trouble: null, step: NaN, answer: NaN, ...nothing() };
  const late = () => !known.trouble && known.answered < known.number; // what is shown is not yet of what is drawn
  let coming = null; // answers of a question until they reach the step that is shown
  let frames = null;
  let now = scene.field(state.vortices);
  let asked = {};
  let [repainted, restarted] = [true, false];
  let playing = null;
  const fault = element("p", { class: "arl-fault", role: "alert", hidden: "" });

  // ---- the worker

  const problem = missingHere();
  const worker = problem ? null : startModel({ data, meta }, {
    ready({ milliseconds }) { known.ready = true; root.arl.startMs = milliseconds; redraw(); },
    past(message) { known.trouble = null; frames = message.frames; },
    trouble({ number, text }) {
      if (number >= known.first) Object.assign(known, nothing(), { trouble: text });
      redraw();
    },
    step(message) {
      if (message.number < Math.max(known.fresh, known.first)) return;
      known.fresh = message.number; // a dragged vortex shows the newest answer there is, be it one question old
      if (message.step === 1) coming = { past: frames, forecasts: [], frees: [], truths: [], answered: message.number };
      coming.forecasts[message.step - 1] = message.forecast;
      coming.frees[message.step - 1] = message.free;
      coming.truths[message.step - 1] = message.truth;
      if (message.step < state.step) return; // until then the old pictures stay
      Object.assign(known, coming);
      known.step = message.milliseconds;
      if (message.number === known.number && message.step === state.step) known.answer = performance.now() - asked.since;
      redraw();
    },
    rows({ number, step, query, weights }) {
      if (number < known.first || step !== state.step || query !== state.query) return;
      Object.assign(known, { rows: weights, looked: number });
      redraw();
    },
    fault: ({ text }) => fail(`The network cannot run here: ${text}`),
  });
  function fail(text) {
    fault.hidden = false;
    fault.textContent = text;
    parts.hidden = true;
    root.dataset.arlFault = "true";
  }
  // Asks the worker where anything that matters to it has changed, by the reader or by Python.
  function ask() {
    const { step, query, hidden, silent, vortices } = state;
    if (step !== asked.step || query !== asked.query) known.rows = null;
    const drawn = JSON.stringify(vortices);
    const cut = JSON.stringify([hidden, silent]);
    const moved = repainted || drawn !== asked.drawn;
    repainted = false;
    if (moved) now = scene.field(vortices);
    if (moved || cut !== asked.cut) {
      known.number += 1;
      if (moved) known.trouble = null;
      if (state.scene !== asked.scene || restarted) Object.assign(known, nothing(), { first: known.number });
      restarted = false;
      const gates = Array.from({ length: meta.layers * meta.heads }, () => 1);
      silent.forEach(([layer, head]) => { gates[layer * meta.heads + head] = 0; });
      const mask = Array.from({ length: count }, () => 0);
      hidden.forEach((token) => { mask[token] = 1; });
      const field = moved ? now : null;
      worker.send({ kind: "run", number: known.number, field, hidden: mask, heads: gates, shown: step, query });
    } else if (step !== asked.step || query !== asked.query) {
      worker.send({ kind: "look", step, query });
    }
    const since = moved || cut !== asked.cut ? performance.now() : asked.since;
    asked = { drawn, cut, step, query, since, scene: state.scene };
  }

  // ---- controls

  const controls = liveControls({
    meta, on: { choose: (changes) => { if (changes.step) stop(); choose(changes); }, shape: shapeChosen, start, play },
  });

  function start(name) {
    const chosen = meta.scenes.find((one) => one.name === (name ?? state.scene));
    scene.clear();
    hand.vortex = 0;
    [repainted, restarted] = [true, true];
    choose({ scene: chosen.name, vortices: structuredClone(chosen.vortices), hidden: [], silent: [] });
  }
  // The sliders shape the chosen vortex, or the brush.
  function shapeChosen(changes) {
    if (state.tool !== "move" || !state.vortices[hand.vortex]) return choose(changes);
    return choose({ vortices: state.vortices.map((v, i) => (i === hand.vortex ? { ...v, ...changes } : v)) });
  }
  function play() {
    if (playing) return stop();
    playing = setInterval(() => choose({ step: (state.step % meta.steps) + 1 }), 550);
    return redraw();
  }
  function stop() {
    clearInterval(playing);
    playing = null;
    redraw();
  }

  // ---- maps

  const maps = {
    now: squareMap({
      name: "now", title: "Now: yours to change",
      help: "arrow keys move the chosen vortex or the brush, Enter paints, hides, or goes to the next vortex",
    }),
    ...Object.fromEntries([["network", "Network"], ["other", "Right map"], ["attention", "Attention"]].map(([name, title]) =>
      [name, squareMap({ name, title, help: "click or arrow keys choose the token that asks" })])),
  };
  const painted = () => { repainted = true; redraw(); };
  const hand = takeHands({ card: maps.now, state, scene, tokens: meta.tokens, on: { choose, painted, redraw } });
  for (const card of [maps.network, maps.other, maps.attention]) takeQuery({ card, state, tokens: meta.tokens, choose });
  maps.other.heading.replaceWith(controls.compare);
  const thumbs = headThumbs(meta, { choose: (layer, head) => choose({ layer, head }) });
  const silence = pushButton("", () => choose({ silent: toggled() }));
  const headsCard = element("figure", { class: "arl-square" }, element("div", { class: "arl-square-head" },
    element("span", { class: "arl-square-title", text: "All heads" }), silence), thumbs.node,
    element("figcaption", {
      class: "arl-square-caption", text: "Each map is scaled to its own largest weight. Click one, or a layer's name for its mean.",
    }));
  const errorsCard = liveErrors(meta.steps);
  const speed = element("span", { class: "arl-live-speed" });
  const keys = (...names) => names.map((name) => element("kbd", { text: name }));
  const help = element("p", { class: "arl-help" }, "Keys on the left map: ", ...keys("←", "↑", "↓", "→"),
    " move the chosen vortex or the brush, with ", ...keys("Shift"), " further; ", ...keys("Enter"), 
    " next vortex, paint or hide. On the other maps they move the token that asks. ", speed);
  const parts = element("div", {}, controls.text, controls.bar,
    element("div", { class: "arl-live-grid" }, ...Object.values(maps).map(({ node }) => node), headsCard, errorsCard.node), help);

  function toggled() {
    const { layer, head, silent } = state;
    const chosen = head < 0 ? Array.from({ length: meta.heads }, (_, h) => [layer, h]) : [[layer, head]];
    const others = silent.filter(([l, h]) => !chosen.some(([a, b]) => a === l && b === h));
    return others.length + chosen.length > silent.length ? [...others, ...chosen] : others;
  }

  // ---- drawing

  const at = (fields) => fields[state.step - 1];
  function weightsShown() {
    if (!known.rows) return null;
    const first = state.layer * meta.heads * count;
    const part = (head) => known.rows.subarray(first + head * count, first + (head + 1) * count);
    if (state.head >= 0) return part(state.head);
    const sum = new Float32Array(count);
    for (let head = 0; head < meta.heads; head += 1) part(head).forEach((w, i) => { sum[i] += w / meta.heads; });
    return sum;
  }
  function drawField(card, look, values, limit, empty) {
    card.begin(look);
    card.message.hidden = Boolean(values);
    card.message.textContent = empty;
    const [palette, part] = [PALETTES.signed[look.scheme], (v) => 0.5 + v / (2 * limit)];
    if (values) drawSquare(card, { values, n, palette, part, smooth: true });
    drawSquareFrame(card);
    const unit = card.layout.width < 240 ? "" : VORTICITY_UNIT;
    liveBar(card, { palette, low: -limit, high: limit, part, unit, factor: 1 });
  }
  function draw(look) {
    if (problem) return;
    ask();
    Object.values(maps).forEach((card) => card.measure());
    const limit = LIMITS.find((v) => 1.03 * v >= largest(now)) ?? largest(now);
    const waiting = known.trouble ?? (known.ready ? COMPUTING : "starting the network …");
    drawField(maps.now, look, now, limit, "");
    hatchTokens(maps.now, meta.tokens, state.hidden);
    if (state.tool === "move") drawHandles(maps.now, state.vortices, hand.vortex);
    else if (hand.place) ringAt(maps.now, hand.place, state.radius, state.tool === "hide");
    drawField(maps.network, look, at(known.forecasts), limit, waiting);
    if (at(known.forecasts)) drawFieldContours(maps.network, now, n, [-limit / 3, limit / 3]);
    frameToken(maps.network, meta.tokens, state.query);
    drawOther(look, limit, waiting);
    drawAttention(look, waiting);
    thumbs.draw(look, { ...state, weights: known.rows, tokens: meta.tokens });
    tellNumbers();
    const old = { network: late(), other: late(), attention: known.looked < known.number };
    for (const [name, is] of Object.entries(old)) maps[name].node.toggleAttribute("data-arl-late", is);
    headsCard.toggleAttribute("data-arl-late", old.attention);
    errorsCard.node.toggleAttribute("data-arl-late", late());
    updateControls();
  }
  function drawOther(look, limit, waiting) {
    const [forecast, truth, free] = [at(known.forecasts), at(known.truths), at(known.frees)];
    const minus = (a, b) => (a && b ? a.map((value, i) => value - b[i]) : null);
    const shown = { truth, error: minus(forecast, truth), hiding: minus(forecast, free) }[state.compare];
    const reach = shown && state.compare !== "truth" ? roundUp(largest(shown)) : limit;
    const whole = state.compare === "hiding" && forecast && !free;
    drawField(maps.other, look, shown, reach, whole ? "Hide tokens or silence heads to see what changes." : waiting);
    if (shown) drawFieldContours(maps.other, state.compare === "truth" ? now : truth, n, [-limit / 3, limit / 3]);
    frameToken(maps.other, meta.tokens, state.query);
    maps.other.caption.textContent = COMPARED[state.compare].text;
  }
  function drawAttention(look, waiting) {
    const card = maps.attention.begin(look);
    const weights = weightsShown();
    const most = weights ? largest(weights) : 1;
    card.message.hidden = Boolean(weights);
    card.message.textContent = waiting;
    const part = (w) => w / most;
    const palette = PALETTES.attention[look.scheme];
    if (weights) drawSquare(card, { values: weights, n: meta.tokens[1], palette, part, smooth: false });
    const seen = state.step > 1 ? known.forecasts[state.step - 2] ?? now : now; // the newest frame that the network reads then
    const limit = largest(now);
    if (weights) drawFieldContours(card, seen, n, [-limit / 3, limit / 3]);
    drawSquareFrame(card);
    hatchTokens(card, meta.tokens, state.hidden);
    frameToken(card, meta.tokens, state.query);
    liveBar(card, { palette, low: 0, high: most, part, unit: "%", factor: 100 });
  }
  function tellNumbers() {
    const found = errorsAhead(known);
    errorsCard.draw(found, state.step, { most: largest(now), late: late() });
    const ahead = late() ? COMPUTING : stepsAhead(state.step);
    const told = late() ? COMPUTING : errorWords(found, state.step);
    maps.now.caption.textContent = state.hidden.length ? `${state.hidden.length} of ${count} tokens are hidden from all others.`
      : "The solver goes back from it to the two frames before.";
    maps.network.aside.textContent = ahead;
    maps.other.aside.textContent = ahead;
    const fed = state.step > 1 ? "Fed with its own forecasts." : "From three frames, the newest yours.";
    maps.network.caption.textContent = `${fed} Lines: where vortices are now.`;
    maps.attention.aside.textContent = `layer ${state.layer}, ${state.head < 0 ? "mean" : `head ${state.head}`}`;
    const weights = weightsShown();
    const looked = weights && known.looked === known.number;
    maps.attention.caption.textContent = attentionWords(looked ? weights : null, state.query, meta.tokens);
    maps.now.canvas.setAttribute("aria-label", fieldWords(now, state.vortices));
    maps.network.canvas.setAttribute("aria-label", `Vorticity that the network forecasts, ${ahead}. ${told}`);
    maps.other.canvas.setAttribute("aria-label", `${COMPARED[state.compare].long}, ${ahead}`);
    maps.attention.canvas.setAttribute("aria-label", maps.attention.caption.textContent);
    thumbs.node.firstChild.setAttribute("aria-label",
      `Attention of the token at ${tokenPlace(state.query, meta.tokens)} in ${meta.layers} layers of ${meta.heads} heads`);
    speed.textContent = Number.isFinite(known.step) ? `One step of the network took ${known.step.toFixed(0)} ms here.` : "";
  }
  function updateControls() {
    controls.update(state, { vortex: state.tool === "move" ? state.vortices[hand.vortex] : null, playing });
    const { layer, head, silent } = state;
    const off = silent.filter(([l, h]) => l === layer && (head < 0 || h === head)).length === (head < 0 ? meta.heads : 1);
    silence.textContent = `${off ? "Let" : "Silence"} ${head < 0 ? `layer ${layer}` : "this head"}${off ? " speak" : ""}`;
    silence.setAttribute("aria-label", silence.textContent);
    silence.setAttribute("aria-pressed", String(off));
  }

  if (problem) fail(problem);
  return {
    nodes: [fault, parts],
    draw,
    words() {
      const said = known.trouble ?? (late() ? COMPUTING : errorWords(errorsAhead(known), state.step));
      return problem ?? `Scene ${state.scene}, ${stepsAhead(state.step)}. ${said} ${maps.attention.caption.textContent}`;
    },
    hooks: {
      field: () => [...now],
      frames: () => known.past?.map((frame) => [...frame]),
      forecast: (step) => known.forecasts[step - 1] && [...known.forecasts[step - 1]],
      truth: (step) => known.truths[step - 1] && [...known.truths[step - 1]],
      rows: () => known.rows && [...known.rows],
      computed: () => (!late() && known.looked === known.number ? known.forecasts.filter(Boolean).length : 0),
      milliseconds: () => ({ network: known.step, answer: known.answer }),
    },
    end() { clearInterval(playing); worker?.end(); },
  };
}

const render = explorer({ kind: "live", label: "A network that runs in this page", build });

export default { render };
