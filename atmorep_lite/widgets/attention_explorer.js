// AttentionExplorer: choose a token on the map of one field, see what it attends to in every field.
import { ownBuffer } from "./parts/buffers.js";
import { attentionRows, ravel, summarise, unravel } from "./parts/softmax.js";
import { hoursText, placeText } from "./parts/colour.js";
import { coastPath, commonFrame, projection, tokenAt } from "./parts/geography.js";
import { drawMap, mapLayout } from "./parts/map_canvas.js";
import { pageScheme, watchScheme } from "./parts/page_scheme.js";
import { choice, element, list, powerSlider } from "./parts/controls.js";
import { maskAt, pressureText, tokenText, valuesAt } from "./parts/field_values.js";
import { buildCard, describeCard, showTip } from "./parts/map_card.js";
import { buildAside, buildHelp, fillTable } from "./parts/explorer_words.js";

const NARROWEST_CARD = 345;
const MOST_COLUMNS = 4;
const INKS = {
  muted: "muted", void: "void", frame: "frame", graticule: "graticule", coast: "coast", coastHalo: "coast-halo",
  contour: "contour", contourHalo: "contour-halo", hatch: "hatch", query: "query-map", queryHalo: "query-halo",
};

const nearest = (values, wanted) => values.reduce(
  (best, value, i) => (Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? i : best), 0);
const distinct = (values) => [...new Set(values)].sort((a, b) => a - b);
const within = (index, count) => Math.min(Math.max(index, 0), count - 1);

function render({ model, el }) {
  const meta = model.get("meta");
  const data = ownBuffer(model.get("data"));
  const fields = new Map(meta.fields.map((field) => [field.name, field]));
  const attention = attentionRows(meta, data);
  const frame = commonFrame(meta.fields);
  const state = { ...model.get("selected") };
  const view = { preview: null, locked: false, cursor: null, coasts: new Map(), results: new Map(), draws: 0 };

  const subject = element("p", { class: "arl-subject" });
  const live = element("div", { class: "arl-sr", role: "status", "aria-live": "polite" });
  const controls = buildControls();
  const cards = meta.fields.map((field) => buildCard(field, {
    chooseField, hover: onHover, leave: onLeave, click: onClick,
    chooseSlot: (key_level, key_hours) => choose({ key_level, key_hours }),
  }));
  const table = element("tbody");
  const grid = element("div", { class: "arl-grid", onkeydown: onKey },
    ...cards.map((card) => card.node), buildAside(table));
  const title = { class: "arl-heading", role: "heading", "aria-level": "3", text: meta.title };
  const root = element("div", { class: "arl-root", role: "group", "aria-label": meta.title || "Attention explorer" },
    ...(meta.title ? [element("p", title)] : []), subject, controls.node, grid, buildHelp(), live,
    ...(meta.caption ? [element("p", { class: "arl-foot", text: meta.caption })] : []));
  el.append(root);

  // ---- what is chosen

  function queryField() { return fields.get(state.query_field); }
  function activeQuery() { return view.preview === null ? state.query : view.preview; }
  function slotOf(field) {
    return { level: nearest(field.level, state.key_level), time: nearest(field.hours, state.key_hours) };
  }
  function headsOf(own) {
    const mine = meta.pairs.filter((p) => p.query === state.query_field && (p.key === p.query) === own);
    return distinct(mine.flatMap((pair) => pair.heads));
  }

  function choose(changes, { lock = view.locked } = {}) {
    Object.assign(state, changes);
    view.preview = null;
    view.locked = lock;
    model.set("selected", { ...state });
    model.save_changes();
    schedule();
    announce();
  }
  // The token of `field` at a row and column, at the query's level and time.
  function tokenLike(field, { row, column }) {
    const from = queryField();
    const at = unravel(from, activeQuery());
    const level = nearest(field.level, from.level[at.level]);
    return ravel(field, { level, time: nearest(field.hours, from.hours[at.time]), row, column });
  }
  function chooseField(name) {
    const field = fields.get(name);
    const from = queryField();
    const at = unravel(from, state.query);
    const row = nearest(field.latitude, from.latitude[at.row]);
    const column = nearest(field.longitude, from.longitude[at.column]);
    choose({ query_field: name, query: tokenLike(field, { row, column }) });
  }
  function moveQuery(changes) {
    const field = queryField();
    const at = { ...unravel(field, state.query), ...changes };
    const [levels, times, rows, columns] = field.shape;
    choose({ query: ravel(field, {
      level: within(at.level, levels), time: within(at.time, times),
      row: within(at.row, rows), column: within(at.column, columns),
    }) }, { lock: true });
  }

  // ---- controls, pointer, keys

  function buildControls() {
    const hours = "hours relative to the newest token";
    const made = {
      field: list("Query field", meta.fields.map((f) => ({ value: f.name, label: f.label })), chooseField),
      level: choice("Query level", (level) => moveQuery({ level })),
      time: choice("Query time", (time) => moveQuery({ time }), { hint: hours }),
      keyLevel: choice("Keys at level", (key_level) => choose({ key_level })),
      keyTime: choice("Keys at time", (key_hours) => choose({ key_hours }), { hint: hours }),
      layer: choice("Layer", (layer) => choose({ layer })),
      head: choice("Self-attention head", (head) => choose({ head })),
      coupling: choice("Coupling head", (coupling_head) => choose({ coupling_head })),
      temperature: powerSlider("Temperature", 2, (temperature) => choose({ temperature })),
      view: choice("Maps show", (name) => choose({ view: name })),
      scale: choice("Colour scale", (scale) => choose({ scale }), { hint: "square root: weak attention shows" }),
    };
    const nodes = Object.values(made).map((control) => control.node);
    return { ...made, node: element("div", { class: "arl-controls", role: "group", "aria-label": "Controls" }, ...nodes) };
  }
  function placeUnder(card, event) {
    const box = card.canvas.getBoundingClientRect();
    const { project } = geometry(card);
    return tokenAt(card.field, project.lat(event.clientY - box.top), project.lon(event.clientX - box.left));
  }
  function onHover(card, event) {
    if (event.pointerType === "touch") return;
    const { field } = card;
    const place = placeUnder(card, event);
    const before = JSON.stringify([view.preview, view.cursor]);
    const asks = field.name === state.query_field && !view.locked;
    view.preview = asks && place ? tokenLike(field, place) : null;
    view.cursor = place && !asks
      ? { ...place, field: field.name, lat: field.latitude[place.row], lon: field.longitude[place.column] } : null;
    if (JSON.stringify([view.preview, view.cursor]) !== before) schedule();
  }
  function onLeave() {
    view.preview = null;
    view.cursor = null;
    schedule();
  }
  function onClick(card, event) {
    const place = placeUnder(card, event);
    card.map.focus({ preventScroll: true });
    if (!place) return;
    const query = tokenLike(card.field, place);
    const again = view.locked && card.field.name === state.query_field && query === state.query;
    view.cursor = null;
    choose({ query_field: card.field.name, query }, { lock: !again });
  }
  function onKey(event) {
    const card = cards.find((one) => one.map === event.target);
    if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
    const { level } = queryField();
    const at = unravel(queryField(), state.query);
    const up = level.length > 1 && level[0] > level[1] ? 1 : -1; // towards lower pressure
    const step = (values, value, by) => values[within(values.indexOf(value) + by, values.length)];
    const heads = ["mean", ...headsOf(true)];
    const act = (event.shiftKey ? {
      ArrowLeft: () => moveQuery({ time: at.time - 1 }),
      ArrowRight: () => moveQuery({ time: at.time + 1 }),
      ArrowUp: () => moveQuery({ level: at.level + up }),
      ArrowDown: () => moveQuery({ level: at.level - up }),
    } : {
      ArrowLeft: () => moveQuery({ column: at.column - 1 }),
      ArrowRight: () => moveQuery({ column: at.column + 1 }),
      ArrowUp: () => moveQuery({ row: at.row - 1 }),
      ArrowDown: () => moveQuery({ row: at.row + 1 }),
      "[": () => choose({ layer: step(meta.layers, state.layer, -1) }),
      "]": () => choose({ layer: step(meta.layers, state.layer, 1) }),
      ",": () => choose({ head: step(heads, state.head, -1) }),
      ".": () => choose({ head: step(heads, state.head, 1) }),
      Enter: () => chooseField(card.field.name),
      Escape: () => { view.locked = false; onLeave(); },
    })[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  // ---- drawing

  function compute() {
    for (const field of meta.fields) {
      const head = field.name === state.query_field ? state.head : state.coupling_head;
      const row = attention.row(state.query_field, field.name, activeQuery(), state.layer, head, state.temperature);
      view.results.set(field.name, { row, summary: row && summarise(row, queryField(), activeQuery(), field) });
    }
  }
  function geometry(card) {
    card.width = card.map.clientWidth || card.width; // JupyterLab hides the page for a moment when its theme changes
    const layout = mapLayout(frame, card.width);
    return { layout, project: projection(frame, layout.left, layout.top, layout.width, layout.height) };
  }
  function coastOf(layout, project) {
    if (!view.coasts.has(layout.width)) view.coasts.set(layout.width, coastPath(meta, data, frame, project));
    return view.coasts.get(layout.width);
  }

  function paint(card, { layout, project }, inks, scheme, font) {
    const { field } = card;
    const { row, summary } = view.results.get(field.name);
    const slot = slotOf(field);
    const from = queryField();
    const at = unravel(from, activeQuery());
    const asked = field.name === state.query_field;
    drawMap(card.canvas, {
      layout, frame, project, coast: coastOf(layout, project), field, slot, row, summary, scheme, inks, font, asked,
      values: valuesAt(data, field, slot), mask: maskAt(data, field, slot), view: state.view, scale: state.scale,
      cursor: view.cursor,
      query: {
        lat: from.latitude[at.row], lon: from.longitude[at.column], size: from.token,
        solid: asked && slot.level === at.level && slot.time === at.time,
      },
    });
    card.message.hidden = row !== null || state.view === "field";
    card.message.style.height = `${layout.height}px`;
    describeCard(card, {
      from, asked, pair: attention.pair(state.query_field, field.name), row, summary, slot, scheme,
      layer: state.layer, head: asked ? state.head : state.coupling_head,
    });
    showTip(card, { data, cursor: view.cursor, slot, row, layout, project });
  }

  function subjectWords() {
    const field = queryField();
    const at = unravel(field, activeQuery());
    const { text, hidden } = tokenText(data, field, at);
    const place = placeText(field.latitude[at.row], field.longitude[at.column]);
    return {
      name: field.label,
      where: `${pressureText(field.level[at.level])} · ${hoursText(field.hours[at.time])} · ${place}`,
      what: `${text}${hidden ? ", hidden from the model" : ""}`,
    };
  }
  function refreshSubject() {
    const { name, where, what } = subjectWords();
    const mode = view.preview !== null ? "preview" : view.locked ? "locked" : "";
    subject.replaceChildren(element("span", { class: "arl-mark", "aria-hidden": "true" }),
      element("span", {}, "Query: ", element("strong", { text: name })), element("span", { text: where }),
      element("span", { class: "arl-note", text: what }),
      ...(mode ? [element("span", { class: "arl-chip", text: mode })] : []));
  }
  function refreshControls() {
    const field = queryField();
    const at = unravel(field, activeQuery());
    const numbered = (values, label) => values.map((value, i) => ({ value: i, label: label(value) }));
    const valued = (values, label) => values.map((value) => ({ value, label: label(value) }));
    const named = (kind, values) => values.map((n) => ({ value: n, label: String(n), long: `${kind} ${n}` }));
    const heads = (numbers) => [{ value: "mean", label: "mean", long: "mean of heads" }, ...named("head", numbers)];
    const [levels, hours] = ["level", "hours"].map((axis) => distinct(meta.fields.flatMap((f) => f[axis])));
    controls.field.update(state.query_field);
    controls.level.update(numbered(field.level, pressureText), at.level);
    controls.time.update(numbered(field.hours, hoursText), at.time);
    controls.keyLevel.update(valued(levels, pressureText), levels[nearest(levels, state.key_level)]);
    controls.keyTime.update(valued(hours, hoursText), hours[nearest(hours, state.key_hours)]);
    controls.layer.update(named("layer", meta.layers), state.layer);
    controls.head.update(heads(headsOf(true)), state.head);
    controls.head.node.hidden = headsOf(true).length < 2;
    controls.coupling.update(heads(headsOf(false)), state.coupling_head);
    controls.coupling.node.hidden = headsOf(false).length < 2;
    controls.temperature.update(state.temperature);
    controls.view.update([{ value: "attention", label: "attention" }, { value: "contours", label: "+ contours" },
      { value: "field", label: "field" }], state.view);
    controls.scale.update([{ value: "linear", label: "linear" }, { value: "root", label: "√", long: "square root" }], state.scale);
    controls.scale.node.hidden = state.view === "field";
  }

  function draw() {
    view.waiting = null;
    if (grid.clientWidth === 0 && !cards[0].width) return;
    const started = performance.now();
    const scheme = pageScheme();
    root.dataset.arlScheme = scheme;
    root.dataset.arlView = state.view;
    const places = cards.map(geometry); // all sizes before anything is written: one layout of the page
    const style = getComputedStyle(root);
    const inks = { half: "#fff", halfHalo: "#111", cursor: "#fff", cursorHalo: "#111" };
    for (const [name, variable] of Object.entries(INKS)) inks[name] = style.getPropertyValue(`--arl-${variable}`).trim();
    compute();
    cards.forEach((card, i) => paint(card, places[i], inks, scheme, style.fontFamily));
    refreshSubject();
    refreshControls();
    fillTable(table, meta.fields, state.query_field, view.results);
    view.draws += 1;
    root.arl.redrawMs = performance.now() - started;
    root.dataset.arlDraws = String(view.draws);
  }
  function schedule() {
    if (!view.waiting) view.waiting = requestAnimationFrame(draw);
  }
  function announce() {
    clearTimeout(view.telling);
    view.telling = setTimeout(() => {
      const { name, where, what } = subjectWords();
      const captions = cards.map(({ caption }) => caption.textContent).filter(Boolean);
      live.textContent = `Query: ${name}, ${where}, ${what}. ${captions.join(" ")}`;
    }, 400);
  }

  // ---- size, scheme, Python

  function arrange() {
    if (grid.clientWidth === 0) return;
    const items = cards.length + 1;
    const empty = (columns) => (columns - (items % columns)) % columns;
    let columns = 1;
    for (let n = 2; n <= Math.min(MOST_COLUMNS, Math.floor(grid.clientWidth / NARROWEST_CARD)); n += 1) {
      if (columns === 1 || empty(n) <= empty(columns)) columns = n;
    }
    grid.style.setProperty("--arl-columns", String(columns));
    schedule();
  }
  function fromPython() {
    const wanted = model.get("selected");
    if (JSON.stringify(wanted) === JSON.stringify(state)) return;
    Object.assign(state, wanted);
    view.preview = null;
    schedule();
    announce();
  }
  root.arl = { // for scripts on the page and for the tests
    weights: (name) => { compute(); return view.results.get(name).row; },
    selected: () => ({ ...state }),
    choose: (changes) => choose(changes),
    redraw: () => { draw(); return root.arl.redrawMs; },
    redrawMs: NaN,
  };
  const sizes = new ResizeObserver(arrange);
  sizes.observe(grid);
  const unwatch = watchScheme(schedule);
  model.on("change:selected", fromPython);
  arrange();
  return () => {
    sizes.disconnect();
    unwatch();
    clearTimeout(view.telling);
    cancelAnimationFrame(view.waiting);
    model.off("change:selected", fromPython);
    root.remove();
  };
}

export default { render };
