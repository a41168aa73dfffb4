// TrainingMonitor: losses, skill, speed and time left of a run.
import { element } from "./parts/controls.js";
import { niceTicks, percent } from "./parts/colour.js";
import { explorer } from "./parts/frame.js";
import { clock, figures, frame, label, line, logTicks, shape, smoothed, stroke, whole } from "./parts/line_chart.js";
import { skillTable } from "./parts/skill_table.js";

const FIELD_INKS = 7; // colours of fields; more fields use them again, dashed

function build({ redraw, announce, follow }) {
  let shown = null;
  let cursor = null; // index of the point that is read off; null: the newest
  let told = 0;
  const hidden = new Set();
  let find = () => 0;

  const status = element("p", { class: "arl-tm-status" });
  const stageBar = element("div", { class: "arl-tm-stages", role: "progressbar", "aria-label": "Steps done", "aria-valuemin": 0 });
  const tiles = element("div", { class: "arl-tm-tiles" });
  const chart = shape("svg", { class: "arl-tm-chart", tabindex: 0, role: "slider", "aria-label": "Loss curves, read off step by step" });
  const legend = element("ul", { class: "arl-tm-legend", "aria-label": "Losses" });
  const skill = skillTable(redraw);
  const [speed, idle] = [0, 1].map(() => shape("svg", { class: "arl-tm-chart", role: "img" }));
  const key = (text) => element("kbd", { text });
  const nodes = [status, stageBar, tiles,
    element("div", { class: "arl-tm-parts" }, element("section", {}, chart, legend),
      element("section", {}, skill.node, element("div", { class: "arl-tm-pair" }, speed, idle))),
    element("p", { class: "arl-help" }, "Keys on the loss curves: ", key("←"), " ", key("→"), " read them off, with ", key("Shift"), " faster, ", key("End"),
      " the newest step. A click on a name hides its curve.")];

  // ---- numbers

  const ink = (i) => (i < 0 ? "var(--arl-ink)" : `var(--arl-${i % FIELD_INKS})`);
  const several = () => shown.fields.length > 1;
  const series = () => [
    { name: "loss", text: several() ? "all fields" : shown.fields[0]?.label || "loss", values: shown.curve.loss, ink: ink(-1), wide: 2.6 },
    ...(several() ? shown.fields : []).map((field, i) => ({ name: field.name, text: field.label, values: shown.curve.fields[i], ink: ink(i), wide: 1.7, dash: i >= FIELD_INKS })),
  ].map((one) => ({ ...one, mean: smoothed(one.values, shown.curve.stage) }));
  const before = (index) => shown.stages.slice(0, index).reduce((sum, stage) => sum + stage.steps, 0);
  const total = () => before(shown.stages.length);
  const newest = () => shown.curve.step.length - 1;
  const at = () => (cursor === null ? newest() : Math.min(cursor, newest()));
  function headline() {
    const { now, stages, finished } = shown;
    if (now.step === undefined) return "Waiting for the first step";
    if (finished) return `Finished: ${whole(total())} steps`;
    const staged = stages.length > 1;
    const left = now.seconds_left > 0 ? `, ${clock(now.seconds_left)} left${staged ? " in this stage" : ""}` : "";
    return `${stages[now.stage].name}${staged ? `, stage ${now.stage + 1} of ${stages.length}` : ""}: step ${whole(now.step)} of ${whole(now.steps)}${left}`;
  }
  function words() {
    const { now } = shown;
    return [headline(), now.loss && `loss ${figures(now.loss)}`, now.samples_per_second && `${figures(now.samples_per_second)} samples a second`,
      skill.words()].filter(Boolean).join(". ");
  }

  // ---- charts

  function drawLosses() {
    const box = frame(chart, 340, { left: 46, right: 14, top: 26, bottom: 38 });
    const { step, stage } = shown.curve;
    const all = series();
    const lines = all.filter(({ name, values }) => !hidden.has(name) && values.some((v) => v !== null));
    const dots = hidden.has("held out") ? [] : shown.validation;
    const heights = [...lines.flatMap(({ mean }) => mean), ...dots.map((d) => d[1])].filter((v) => v > 0);
    const low = (heights.length ? Math.min(...heights) : 0.1) / 1.08;
    const high = (heights.length ? Math.max(...heights) : 1) * 1.08;
    const end = (shown.finished ? step[newest()] : total()) || 1;
    const x = (s) => box.left + (s / end) * (box.right - box.left);
    const y = (v) => box.bottom - (Math.log(v / low) / Math.log(high / low)) * (box.bottom - box.top);
    find = (px) => step.reduce((best, s, i) => (Math.abs(x(s) - px) < Math.abs(x(step[best]) - px) ? i : best), 0);
    for (const tick of logTicks(low, high)) {
      chart.append(stroke(box.left, y(tick), box.right, y(tick), "arl-tm-grid"), label(box.left - 7, y(tick) + 4, figures(tick), { "text-anchor": "end" }));
    }
    for (const tick of niceTicks(0, end, Math.min(6, end, (box.right - box.left) / 80))) {
      chart.append(stroke(x(tick), box.bottom, x(tick), box.bottom + 4, "arl-tm-axis"), label(x(tick), box.bottom + 17, whole(tick), { "text-anchor": "middle" }));
    }
    chart.append(stroke(box.left, box.bottom, box.right, box.bottom, "arl-tm-axis"), label(box.right, box.bottom + 33, "step", { "text-anchor": "end" }),
      label(2, 13, "loss of hidden values (normalised, log scale)"));
    const placed = (values) => values.flatMap((v, i) => {
      const point = v > 0 ? [x(step[i]), Math.min(Math.max(y(v), box.top - 6), box.bottom)] : null;
      return stage[i] === (stage[i - 1] ?? stage[i]) ? [point] : [null, point]; // no line from stage to stage
    });
    for (const { values, ink: colour } of lines) chart.append(line(placed(values), { stroke: colour, class: "arl-tm-raw" }));
    for (const { mean, ink: colour, wide, dash } of [...lines].reverse()) {
      chart.append(line(placed(mean), { stroke: colour, class: "arl-tm-curve", "stroke-width": wide, "stroke-dasharray": dash ? "5 4" : "none" }));
    }
    shown.stages.forEach(({ name, steps }, i) => {
      const from = x(before(i));
      if (i > 0) chart.append(stroke(from, box.top, from, box.bottom, "arl-tm-stage"));
      const room = Math.min(x(before(i) + steps), box.right) - from;
      if (shown.stages.length > 1 && room > 6.4 * name.length + 8) chart.append(label(from + 5, box.bottom - 7, name, { class: "arl-tm-stage-name" }));
    });
    for (const [s, v] of dots) if (v > 0) chart.append(shape("circle", { class: "arl-tm-dot", cx: x(s), cy: y(v), r: 4 }));
    const i = at();
    if (cursor !== null && i >= 0) chart.append(stroke(x(step[i]), box.top, x(step[i]), box.bottom, "arl-tm-cursor"));
    const read = lines.map(({ text, mean }) => `${text} ${figures(mean[i])}`).join(", ");
    const told = { min: 0, max: Math.max(0, newest()), now: Math.max(0, i), text: i < 0 ? "no steps yet" : `step ${whole(step[i])}: ${read}` };
    for (const [name, value] of Object.entries(told)) chart.setAttribute(`aria-value${name}`, value);
    fillLegend(all, i);
  }

  function fillLegend(all, i) {
    const step = shown.curve.step[i];
    const near = shown.validation.filter(([s]) => s <= step).pop();
    const items = [...all.map((one) => ({ ...one, value: one.mean[i] })), { name: "held out", text: "held out", value: near?.[1] }];
    const rows = items.map(({ name, text, value, ink: colour, wide, dash }) => {
      const mark = element("span", { class: `arl-tm-mark${colour ? "" : " arl-tm-mark-dot"}`, "aria-hidden": "true" });
      if (colour) mark.style.borderTop = `${wide + 0.6}px ${dash ? "dashed" : "solid"} ${colour}`;
      const toggle = () => { if (!hidden.delete(name)) hidden.add(name); redraw(); };
      return element("li", {}, element("button", { type: "button", class: "arl-tm-name", "aria-pressed": String(!hidden.has(name)), title: "show or hide",
        "data-arl-name": name, onclick: toggle }, mark, element("span", { text }), element("b", { text: figures(value) })));
    });
    const focused = document.activeElement?.dataset.arlName;
    const when = step === undefined ? "" : `${cursor === null ? "newest, " : ""}step ${whole(step)}`;
    legend.replaceChildren(element("li", { class: "arl-tm-when", text: when }), ...rows);
    if (focused) legend.querySelector(`[data-arl-name="${focused}"]`)?.focus();
  }

  function drawSmall(svg, values, title, most, text, words) {
    const box = frame(svg, 92, { left: 2, right: 4, top: 20, bottom: 6 });
    const known = values.filter((v) => v !== null);
    const top = most || Number((Math.max(...known, 1e-9) * 1.1).toPrecision(2));
    const x = (s) => box.left + (s / Math.max(...shown.curve.step, 1)) * (box.right - box.left);
    const y = (v) => box.bottom - (Math.min(v, top) / top) * (box.bottom - box.top);
    svg.append(stroke(box.left, box.top, box.right, box.top, "arl-tm-grid"), label(box.left, box.top + 12, words(top), { class: "arl-tm-top" }), label(2, 13, title), label(box.right, 13, text, { class: "arl-tm-big", "text-anchor": "end" }),
      stroke(box.left, box.bottom, box.right, box.bottom, "arl-tm-axis"),
      line(values.map((v, i) => (v === null ? null : [x(shown.curve.step[i]), y(v)])), { class: "arl-tm-curve", stroke: "var(--arl-accent)", "stroke-width": 1.7 }));
    svg.setAttribute("aria-label", `${title}: ${text}`);
  }

  function fillTiles() {
    const { now } = shown;
    const items = [["samples a second", now.samples_per_second, figures], ["waiting for data", now.waiting, percent], ["of the peak FLOP/s", now.utilisation, percent],
      ["learning rate", now.learning_rate, (v) => figures(v, 2)], ["gradient norm", now.gradient_norm, (v) => figures(v, 2)],
      ["steps skipped", now.skipped || null, whole]].filter(([, value]) => value !== null && value !== undefined);
    tiles.replaceChildren(...items.map(([name, value, text]) => element("div", {}, element("b", { text: text(value) }), element("span", { text: name }))));
  }
  function drawStages() {
    const done = shown.now.step === undefined ? 0 : before(shown.now.stage) + shown.now.step;
    for (const [name, value] of [["max", Math.max(1, total())], ["now", done], ["text", headline()]]) stageBar.setAttribute(`aria-value${name}`, value);
    stageBar.replaceChildren(...shown.stages.map(({ name, steps }, i) => {
      const fill = element("span");
      fill.style.width = `${100 * Math.min(Math.max((done - before(i)) / steps, 0), 1)}%`;
      const node = element("div", { title: `${name}: ${whole(steps)} steps` }, fill);
      node.style.flexGrow = steps;
      return node;
    }));
  }

  function draw() {
    status.textContent = headline();
    drawStages();
    fillTiles();
    skill.update(shown.scores, shown.fields.map((field, i) => ({ ...field, ink: ink(i) })));
    drawLosses();
    const { now, curve } = shown;
    drawSmall(speed, curve.samples_per_second, "samples a second", null, figures(now.samples_per_second), figures);
    drawSmall(idle, curve.waiting, "waiting for data", 1, now.waiting === null || now.waiting === undefined ? "–" : percent(now.waiting), percent);
  }
  follow("shown", (news) => {
    const first = shown === null;
    shown = news;
    redraw();
    if (first || (!shown.finished && performance.now() - told < 30000)) return; // not every step is read out
    told = performance.now();
    announce();
  });

  function read(index) {
    cursor = index === null || index >= newest() ? null : Math.max(0, index);
    redraw();
  }
  chart.addEventListener("pointermove", (event) => read(find(event.clientX - chart.getBoundingClientRect().left)));
  chart.addEventListener("pointerleave", () => read(null));
  chart.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    read(at() + by * (event.shiftKey ? 10 : 1));
  });

  return { nodes, draw, words, hooks: { shown: () => shown } };
}

const render = explorer({ kind: "tm", label: "Training", build });

export default { render };
