// The plane of the toy: query, keys and values as points to drag, and what follows from them as arrows.
import { plain } from "./colour.js";
import { label, shape, stroke } from "./line_chart.js";
import { hundredths, pointText, TOY_LETTERS, TOY_REACH } from "./toy_numbers.js";

const SIZE = 420; // of the drawing, in its own units
const UNIT = SIZE / (2 * TOY_REACH);
const MARK = 10 / UNIT; // half the width of a point, in the plane
const clamp = (x) => Math.round(Math.min(Math.max(x, -TOY_REACH), TOY_REACH) * 100) / 100;
const toX = (x) => (x + TOY_REACH) * UNIT;
const toY = (y) => (TOY_REACH - y) * UNIT;
const putAll = (node, attributes) => Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
const place = (from, to) => ({ x1: toX(from[0]), y1: toY(from[1]), x2: toX(to[0]), y2: toY(to[1]) });
const ORIGIN = [0, 0];

function holding(node, ...children) {
  node.append(...children);
  return node;
}

function grid() {
  const group = shape("g");
  for (let i = -TOY_REACH; i <= TOY_REACH; i += 1) {
    const kind = i === 0 ? "arl-toy-axis" : "arl-toy-grid";
    group.append(stroke(toX(i), 0, toX(i), SIZE, kind), stroke(0, toY(i), SIZE, toY(i), kind));
    if (i !== 0 && Math.abs(i) < TOY_REACH) {
      group.append(label(toX(i), toY(0) + 15, plain(i), { "text-anchor": "middle" }),
        label(toX(0) - 6, toY(i) + 4, plain(i), { "text-anchor": "end" }));
    }
  }
  return group;
}

// A point's letter, outside of it as seen from the origin; inside where the plane ends.
function letter([px, py], text) {
  const length = Math.hypot(px, py) || 1;
  const beside = (at, away) => (at + away > 12 && at + away < SIZE - 12 ? at + away : at - away);
  const [x, y] = [beside(toX(px), (19 * px) / length), beside(toY(py), (-19 * py) / length)];
  return label(x, y + 5, text, { "text-anchor": "middle" });
}

// Returns { node, update(result, words) }. `state` is what is selected, `choose` selects, `look(j)` is told which key
// the reader has taken hold of.
export function toyPlane(state, choose, look) {
  const arrowTip = `arl-tip-${Math.random().toString(36).slice(2)}`;
  const tip = holding(shape("marker", {
    id: arrowTip, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 5.5, markerHeight: 5.5, orient: "auto-start-reverse",
  }), shape("path", { d: "M0 0.8 L10 5 L0 9.2 z", fill: "context-stroke" }));
  const arrow = (kind) => shape("line", { class: `arl-toy-${kind}`, "marker-end": `url(#${arrowTip})` });
  const [sought, query, output] = ["sought", "query", "output"].map(arrow);
  const soughtLine = shape("line", { class: "arl-toy-sought-line" });
  const [drops, sum, handles] = ["drops", "sum", "handles"].map((kind) => shape("g", { class: `arl-toy-${kind}` }));
  const letters = shape("g", { class: "arl-toy-letters", "aria-hidden": "true" });
  const node = holding(shape("svg", { class: "arl-toy-plane", viewBox: `0 0 ${SIZE} ${SIZE}`, role: "group" }),
    holding(shape("defs"), tip), grid(), soughtLine, drops, sought, sum, output, query, letters, handles);

  const placeOf = ({ kind, index }) => (kind === "query" ? state.query : state[kind][index]);
  function move({ kind, index }, [x, y]) {
    const to = [clamp(x), clamp(y)];
    if (kind === "query") choose({ query: to });
    else choose({ [kind]: state[kind].map((old, j) => (j === index ? to : old)) });
  }
  function nameOf({ kind, index }) {
    return kind === "query" ? "query" : `${kind === "keys" ? "key" : "value"} ${TOY_LETTERS[index]}`;
  }

  // Handles are made anew only when their number changes.
  let made = "";
  let points = [];
  function makeHandle(handle) {
    const mark = handle.kind === "values"
      ? shape("rect", { x: -6.5, y: -6.5, width: 13, height: 13, transform: "rotate(45)", class: "arl-toy-mark" })
      : shape("circle", { r: handle.kind === "query" ? 8 : 9, class: "arl-toy-mark" });
    const point = holding(shape("g", {
      class: `arl-toy-handle arl-toy-of-${handle.kind}`, tabindex: 0, role: "slider", "aria-roledescription": "movable point",
      "aria-label": nameOf(handle), "aria-valuemin": -TOY_REACH, "aria-valuemax": TOY_REACH, "data-arl-handle": `${handle.kind}${handle.index}`,
    }), shape("circle", { r: 22, class: "arl-toy-reach" }), mark);
    if (handle.kind !== "query") {
      point.style.setProperty("--arl-key", `var(--arl-${handle.index})`);
      point.addEventListener("focus", () => look(handle.index));
    }
    point.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      point.focus({ preventScroll: true });
      point.setPointerCapture(event.pointerId);
    });
    point.addEventListener("pointermove", (event) => {
      if (!point.hasPointerCapture(event.pointerId)) return;
      const box = node.getBoundingClientRect();
      move(handle, [((event.clientX - box.left) / box.width) * 2 * TOY_REACH - TOY_REACH,
        TOY_REACH - ((event.clientY - box.top) / box.height) * 2 * TOY_REACH]);
    });
    point.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!way || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      const by = event.shiftKey ? 0.5 : 0.1;
      const [x, y] = placeOf(handle);
      move(handle, [x + by * way[0], y + by * way[1]]);
    });
    return { handle, point };
  }
  function makeHandles() {
    const wanted = [{ kind: "query", index: 0 }, ...state.keys.map((_, index) => ({ kind: "keys", index })),
      ...(state.values || []).map((_, index) => ({ kind: "values", index }))];
    const signature = wanted.map(({ kind, index }) => kind + index).join();
    if (signature === made) return;
    made = signature;
    points = wanted.map(makeHandle);
    handles.replaceChildren(...points.map(({ point }) => point));
  }

  function coloured(mark, j) {
    mark.style.stroke = `var(--arl-${j})`;
    return mark;
  }
  function update(result, words) {
    makeHandles();
    const length = Math.hypot(...result.sought);
    const along = length > 1e-9 ? result.sought.map((x) => x / length) : ORIGIN;
    const far = along.map((x) => 2 * TOY_REACH * x);
    putAll(soughtLine, place(far.map((x) => -x), far));
    putAll(sought, place(ORIGIN, result.sought));
    const size = Math.hypot(...state.query);
    const shorter = Math.max(0, 1 - MARK / size); // the tip stays outside of the point
    putAll(query, place(ORIGIN, state.query.map((x) => x * shorter)));
    query.style.display = size > 2 * MARK ? "" : "none";
    putAll(output, place(ORIGIN, result.output));
    sought.style.display = state.form === "identity" || length < 0.02 ? "none" : "";
    output.style.display = Math.hypot(...result.output) < 0.02 ? "none" : "";
    drops.replaceChildren(...state.keys.map((key, j) => {
      const part = key[0] * along[0] + key[1] * along[1];
      return coloured(shape("line", place(key, along.map((x) => x * part))), j);
    }));
    let from = ORIGIN;
    sum.replaceChildren(...result.pieces.map((piece, j) => {
      const to = [from[0] + piece[0], from[1] + piece[1]];
      const side = coloured(shape("line", place(from, to)), j);
      from = to;
      return side;
    }));
    for (const { handle, point } of points) {
      const at = placeOf(handle);
      putAll(point, {
        transform: `translate(${toX(at[0])} ${toY(at[1])})`, "aria-valuenow": at[0],
        "aria-valuetext": pointText(at) + (handle.kind === "keys" ? `, weight ${hundredths(result.weights[handle.index])}` : ""),
      });
    }
    letters.replaceChildren(letter(state.query, "q"), ...state.keys.map((key, j) => letter(key, TOY_LETTERS[j])));
    node.setAttribute("aria-label", words);
  }
  return { node, update };
}
