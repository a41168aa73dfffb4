// ToyAttention: one query, a few keys and values in the plane, and all numbers of attention between them.
import { choice, element, powerSlider } from "./parts/controls.js";
import { plain } from "./parts/colour.js";
import { pageScheme, watchScheme } from "./parts/page_scheme.js";

const REACH = 3; // the plane shows -3 ... 3 in both directions
const SIZE = 420; // of the drawing, in its own units
const UNIT = SIZE / (2 * REACH);
const LETTERS = "abcdef";
const FORMS = [
  { value: "identity", label: "identity", long: "identity: the plain dot product" },
  { value: "turn", label: "turn", long: "turn: look for what lies at an angle to the query" },
  { value: "stretch", label: "stretch", long: "stretch: one direction counts double, the other half and negatively" },
];

// The matrix G of a score q . G k. With "turn", the keys that fit best lie `angle` degrees counter-clockwise of the query.
function formMatrix(form, degrees) {
  const angle = (degrees * Math.PI) / 180;
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  if (form === "turn") return [[c, s], [-s, c]];
  if (form === "stretch") { // 2 along the angle, -1/2 across it
    return [[2 * c * c - 0.5 * s * s, 2.5 * c * s], [2.5 * c * s, 2 * s * s - 0.5 * c * c]];
  }
  return [[1, 0], [0, 1]];
}

// All numbers of one query: what it looks for (G^T q), products, scores, weights, their average.
function attend({ query, keys, values, form, angle, temperature }) {
  const g = formMatrix(form, angle);
  const sought = [0, 1].map((j) => query[0] * g[0][j] + query[1] * g[1][j]);
  const products = keys.map((k) => sought[0] * k[0] + sought[1] * k[1]);
  const scores = products.map((p) => p / Math.SQRT2);
  const top = Math.max(...scores);
  const powers = scores.map((s) => Math.exp((s - top) / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  const weights = powers.map((p) => p / sum);
  const given = values || keys;
  const output = [0, 1].map((i) => weights.reduce((a, w, j) => a + w * given[j][i], 0));
  const entropy = keys.length > 1
    ? -weights.reduce((a, w) => a + (w > 0 ? w * Math.log(w) : 0), 0) / Math.log(keys.length) : 0;
  return { g, sought, products, scores, weights, output, entropy };
}

const clamp = (x) => Math.round(Math.min(Math.max(x, -REACH), REACH) * 100) / 100;
const pointText = (p) => `(${plain(p[0], 0.01)}, ${plain(p[1], 0.01)})`;
const toX = (x) => (x + REACH) * UNIT;
const toY = (y) => (REACH - y) * UNIT;

function shape(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
const put = (node, attributes) => Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));

function render({ model, el }) {
  const meta = model.get("meta");
  let state = { ...model.get("selected") };
  let waiting = null;
  let telling = null;
  let draws = 0;
  let unsent = false;

  // ---- the plane

  const arrowTip = `arl-tip-${Math.random().toString(36).slice(2)}`;
  const tip = shape("marker", {
    id: arrowTip, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 5.5, markerHeight: 5.5, orient: "auto-start-reverse",
  }, shape("path", { d: "M0 0.8 L10 5 L0 9.2 z", fill: "context-stroke" }));
  const grid = shape("g", { class: "arl-toy-grid" });
  for (let i = -REACH; i <= REACH; i += 1) {
    const kind = i === 0 ? "arl-toy-axis" : "arl-toy-line";
    grid.append(shape("line", { class: kind, x1: toX(i), x2: toX(i), y1: 0, y2: SIZE }),
      shape("line", { class: kind, y1: toY(i), y2: toY(i), x1: 0, x2: SIZE }));
    if (i !== 0 && Math.abs(i) < REACH) {
      const [right, low] = [shape("text", { x: toX(i), y: toY(0) + 14 }), shape("text", { x: toX(0) - 5, y: toY(i) + 4 })];
      right.textContent = plain(i);
      low.textContent = plain(i);
      right.setAttribute("text-anchor", "middle");
      low.setAttribute("text-anchor", "end");
      grid.append(right, low);
    }
  }
  const soughtLine = shape("line", { class: "arl-toy-sought-line" });
  const drops = shape("g", { class: "arl-toy-drops" });
  const soughtArrow = shape("line", { class: "arl-toy-sought", "marker-end": `url(#${arrowTip})` });
  const queryArrow = shape("line", { class: "arl-toy-query", "marker-end": `url(#${arrowTip})` });
  const outputArrow = shape("line", { class: "arl-toy-output", "marker-end": `url(#${arrowTip})` });
  const handles = shape("g");
  const labels = shape("g", { class: "arl-toy-labels", "aria-hidden": "true" });
  const plane = shape("svg", { class: "arl-toy-plane", viewBox: `0 0 ${SIZE} ${SIZE}`, role: "group" },
    shape("defs", {}, tip), grid, soughtLine, drops, soughtArrow, outputArrow, queryArrow, labels, handles);

  // ---- controls and table

  const turned = Array.from({ length: 73 }, (_, i) => {
    const degrees = 5 * i - 180;
    return { value: degrees, label: `${plain(degrees)}°`, long: `${degrees} degrees` };
  });
  const controls = {
    form: choice("Matrix G", (form) => choose({ form }), { hint: "the score is q · G k" }),
    angle: choice("Angle of G", (angle) => choose({ angle })),
    temperature: powerSlider("Temperature", 4, (temperature) => choose({ temperature })),
    values: choice("Values", (own) => choose({ values: own ? [...state.keys.map((k) => [k[1], -k[0]])] : null }),
      { hint: "what is averaged: the keys themselves, or vectors of their own" }),
  };
  const bar = element("div", { class: "arl-controls", role: "group", "aria-label": "Controls" },
    ...Object.values(controls).map((control) => control.node));
  const body = element("tbody");
  const heads = [["key", "key"], ["q · G k", "product"], ["/ √2", "score, product over root 2"], ["weight", "weight"]];
  const table = element("table", { class: "arl-toy-table" },
    element("thead", {}, element("tr", {}, ...heads.map(([text, long]) => element("th", { scope: "col", "aria-label": long, text })))),
    body);
  const sums = element("p", { class: "arl-toy-sums" });
  const matrix = element("p", { class: "arl-toy-matrix" });
  const live = element("div", { class: "arl-sr", role: "status", "aria-live": "polite" });
  const sample = (kind, text) => element("li", {}, element("span", { class: `arl-toy-swatch arl-toy-swatch-${kind}`, "aria-hidden": "true" }), text);
  const legend = element("ul", { class: "arl-toy-legend" }, sample("query", "query q"),
    sample("sought", "Gᵀ q, what it looks for"), sample("output", "weighted average"));
  const keysText = (...names) => names.map((name) => element("kbd", { text: name }));
  const help = element("p", { class: "arl-help" }, "Drag the points. Keys on a point: ", ...keysText("←", "↑", "↓", "→"),
    " move it by 0.1, with ", ...keysText("Shift"), " by 0.5; ", ...keysText("Tab"), " goes to the next point.");
  const side = element("div", { class: "arl-toy-side" }, table, sums, matrix, legend);
  const root = element("div", { class: "arl-toy", role: "group", "aria-label": meta.title || "Attention in the plane" },
    ...(meta.title ? [element("p", { class: "arl-heading", role: "heading", "aria-level": "3", text: meta.title })] : []),
    bar, element("div", { class: "arl-toy-parts" }, plane, side), help, live,
    ...(meta.caption ? [element("p", { class: "arl-foot", text: meta.caption })] : []));
  el.append(root);

  // ---- what is chosen

  function choose(changes) {
    state = { ...state, ...changes };
    unsent = true;
    schedule();
    clearTimeout(telling);
    telling = setTimeout(() => { live.textContent = inWords(); }, 400);
  }
  function placeOf({ kind, index }) {
    return kind === "query" ? state.query : state[kind][index];
  }
  function move({ kind, index }, [x, y]) {
    const place = [clamp(x), clamp(y)];
    if (kind === "query") choose({ query: place });
    else choose({ [kind]: state[kind].map((old, j) => (j === index ? place : old)) });
  }
  function nameOf({ kind, index }) {
    return kind === "query" ? "query" : `${kind === "keys" ? "key" : "value"} ${LETTERS[index]}`;
  }
  function inWords() {
    const { weights, output, entropy } = attend(state);
    const shares = weights.map((w, j) => `${LETTERS[j]} ${plain(w, 0.01)}`).join(", ");
    return `Query ${pointText(state.query)}. Weights: ${shares}. Weighted average ${pointText(output)}. `
      + `Entropy ${plain(entropy, 0.01)} of uniform.`;
  }

  // ---- handles: made anew only when their number changes

  let made = "";
  let points = [];
  function makeHandles() {
    const wanted = [{ kind: "query", index: 0 }, ...state.keys.map((_, index) => ({ kind: "keys", index })),
      ...(state.values || []).map((_, index) => ({ kind: "values", index }))];
    const signature = wanted.map((h) => h.kind + h.index).join();
    if (signature === made) return;
    made = signature;
    points = wanted.map((handle) => {
      const mark = handle.kind === "values"
        ? shape("rect", { x: -6.5, y: -6.5, width: 13, height: 13, transform: "rotate(45)", class: "arl-toy-mark" })
        : shape("circle", { r: handle.kind === "query" ? 8 : 9, class: "arl-toy-mark" });
      const node = shape("g", {
        class: `arl-toy-handle arl-toy-${handle.kind}`, tabindex: 0, role: "slider", "aria-roledescription": "movable point",
        "aria-label": nameOf(handle), "aria-valuemin": -REACH, "aria-valuemax": REACH, "data-arl-handle": `${handle.kind}${handle.index}`,
      }, shape("circle", { r: 22, class: "arl-toy-reach" }), mark);
      if (handle.kind !== "query") node.style.setProperty("--arl-key", `var(--arl-key-${handle.index})`);
      node.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        event.preventDefault();
        node.focus({ preventScroll: true });
        node.setPointerCapture(event.pointerId);
      });
      node.addEventListener("pointermove", (event) => {
        if (!node.hasPointerCapture(event.pointerId)) return;
        const box = plane.getBoundingClientRect();
        move(handle, [((event.clientX - box.left) / box.width) * 2 * REACH - REACH,
          REACH - ((event.clientY - box.top) / box.height) * 2 * REACH]);
      });
      node.addEventListener("keydown", (event) => {
        const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
        if (!way || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        event.stopPropagation();
        const by = event.shiftKey ? 0.5 : 0.1;
        const [x, y] = placeOf(handle);
        move(handle, [x + by * way[0], y + by * way[1]]);
      });
      return { handle, node };
    });
    handles.replaceChildren(...points.map(({ node }) => node));
  }

  // ---- drawing

  const line = (from, to) => ({ x1: toX(from[0]), y1: toY(from[1]), x2: toX(to[0]), y2: toY(to[1]) });
  function label(place, text, kind = "arl-toy-of-key") {
    const length = Math.hypot(...place) || 1;
    const [x, y] = [toX(place[0]) + (place[0] / length) * 19, toY(place[1]) - (place[1] / length) * 19];
    const inside = (v) => Math.min(Math.max(v, 12), SIZE - 12);
    const node = shape("text", { x: inside(x), y: inside(y) + 5, "text-anchor": "middle", class: kind });
    node.textContent = text;
    return node;
  }
  function drawPlane(result) {
    makeHandles();
    const { sought, weights, output } = result;
    const length = Math.hypot(...sought);
    const along = length > 1e-9 ? sought.map((x) => x / length) : [0, 0];
    const far = along.map((x) => 2 * REACH * x);
    put(soughtLine, line(far.map((x) => -x), far));
    put(soughtArrow, line([0, 0], sought));
    put(queryArrow, line([0, 0], state.query));
    put(outputArrow, line([0, 0], output));
    soughtArrow.style.display = state.form === "identity" || length < 0.02 ? "none" : "";
    outputArrow.style.display = Math.hypot(...output) < 0.02 ? "none" : "";
    drops.replaceChildren(...state.keys.map((key, j) => {
      const part = key[0] * along[0] + key[1] * along[1];
      const drop = shape("line", line(key, along.map((x) => x * part)));
      drop.style.stroke = `var(--arl-key-${j})`;
      return drop;
    }));
    for (const { handle, node } of points) {
      const place = placeOf(handle);
      put(node, {
        transform: `translate(${toX(place[0])} ${toY(place[1])})`, "aria-valuenow": place[0],
        "aria-valuetext": pointText(place) + (handle.kind === "keys" ? `, weight ${plain(weights[handle.index], 0.01)}` : ""),
      });
    }
    labels.replaceChildren(label(state.query, "q", "arl-toy-of-query"), ...state.keys.map((key, j) => label(key, LETTERS[j])));
    plane.setAttribute("aria-label", inWords());
  }
  function fillTable({ products, scores, weights }) {
    if (body.children.length !== weights.length) {
      body.replaceChildren(...weights.map((_, j) => {
        const row = element("tr", {},
          element("th", { scope: "row" }, element("span", { class: "arl-toy-dot", "aria-hidden": "true" }), LETTERS[j]),
          element("td"), element("td"),
          element("td", { class: "arl-toy-weight" }, element("span", { class: "arl-toy-bar", "aria-hidden": "true" }), element("span")));
        row.style.setProperty("--arl-key", `var(--arl-key-${j})`);
        return row;
      }));
    }
    weights.forEach((weight, j) => {
      const [, product, score, share] = body.children[j].children;
      product.textContent = plain(products[j], 0.01);
      score.textContent = plain(scores[j], 0.01);
      share.firstChild.style.width = `calc((100% - 66px) * ${weight})`;
      share.lastChild.textContent = plain(weight, 0.001);
    });
  }
  function draw() {
    waiting = null;
    const started = performance.now();
    const result = attend(state);
    root.dataset.arlScheme = pageScheme();
    drawPlane(result);
    fillTable(result);
    sums.replaceChildren("weighted average ", element("b", { text: pointText(result.output) }), ", entropy ",
      element("b", { text: plain(result.entropy, 0.01) }), " of uniform");
    const row = (r) => r.map((x) => plain(x, 0.01)).join(", ");
    matrix.replaceChildren("G = ", element("b", { text: `[${row(result.g[0])}; ${row(result.g[1])}]` }),
      ", Gᵀ q = ", element("b", { text: pointText(result.sought) }));
    controls.form.update(FORMS, state.form);
    const known = turned.some(({ value }) => value === state.angle);
    const extra = { value: state.angle, label: `${plain(state.angle, 0.1)}°`, long: `${state.angle} degrees` };
    controls.angle.update(known ? turned : [...turned, extra].sort((a, b) => a.value - b.value), state.angle);
    controls.angle.node.disabled = state.form === "identity";
    controls.temperature.update(state.temperature);
    controls.values.update([{ value: false, label: "the keys" }, { value: true, label: "their own" }], state.values !== null);
    draws += 1;
    root.arl.redrawMs = performance.now() - started;
    root.dataset.arlDraws = String(draws);
    if (unsent) {
      unsent = false;
      model.set("selected", { ...state });
      model.save_changes();
    }
  }
  function schedule() {
    if (!waiting) waiting = requestAnimationFrame(draw);
  }
  function fromPython() {
    const wanted = model.get("selected");
    if (JSON.stringify(wanted) === JSON.stringify(state)) return;
    state = { ...wanted };
    schedule();
  }

  root.arl = { // for scripts on the page and for the tests
    numbers: () => attend(state),
    selected: () => ({ ...state }),
    choose,
    redraw: () => { draw(); return root.arl.redrawMs; },
    redrawMs: NaN,
  };
  const unwatch = watchScheme(schedule);
  model.on("change:selected", fromPython);
  draw();
  return () => {
    unwatch();
    clearTimeout(telling);
    cancelAnimationFrame(waiting);
    model.off("change:selected", fromPython);
    root.remove();
  };
}

export default { render };
