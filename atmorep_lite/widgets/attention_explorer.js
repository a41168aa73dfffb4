// AttentionExplorer: choose a token on a map, see what it attends to in every field, or at every time.
import { ownBuffer } from "./parts/buffers.js";
import { attentionRows, halfWeight, summarise, unravel } from "./parts/softmax.js";
import { levelText, placeText, timeText } from "./parts/places.js";
import { coastPath, commonFrame, projection, tokenAt } from "./parts/geography.js";
import { drawSharedBar } from "./parts/colour_bar.js";
import { drawMap } from "./parts/map_canvas.js";
import { barLayout, mapLayout } from "./parts/map_layout.js";
import { pageScheme, watchScheme } from "./parts/page_scheme.js";
import { element } from "./parts/controls.js";
import { arrowsAt, maskAt, tokenText, valuesAt } from "./parts/field_values.js";
import { buildCard, describeCard, showTip } from "./parts/map_card.js";
import { explorerState, keyAction } from "./parts/explorer_state.js";
import { buildControls } from "./parts/explorer_controls.js";
import { pictureOf, savePicture } from "./parts/picture.js";
import { buildAside, buildHelp, fillTable } from "./parts/explorer_words.js";

const NARROWEST_CARD = { fields: 345, times: 225 };
const GAP = { fields: 26, times: 14 }; // as in the style sheet
const MOST_COLUMNS = { fields: 4, times: 6 };
const INKS = {
  muted: "muted", void: "void", frame: "frame", graticule: "graticule", coast: "coast", coastHalo: "coast-halo",
  contour: "contour", contourHalo: "contour-halo", hatch: "hatch", query: "query-map", queryHalo: "query-halo",
};

function render({ model, el }) {
  const meta = model.get("meta");
  const data = ownBuffer(model.get("data"));
  const frame = commonFrame(meta.fields);
  const attention = attentionRows(meta, meta.pairs, data);
  const reference = meta.reference && attentionRows(meta, meta.reference.pairs, data);
  const choices = explorerState(meta, model, (told) => { schedule(); if (told) announce(); });
  const { state, view, byTime } = choices;
  const drawn = { coasts: new Map(), results: new Map(), count: 0, cardsOf: null };
  let cards = [];

  const subject = element("p", { class: "arl-subject" });
  const live = element("div", { class: "arl-sr", role: "status", "aria-live": "polite" });
  const controls = buildControls(choices);
  const aside = buildAside(meta);
  const grid = element("div", { class: "arl-grid", "data-arl-panels": meta.panels, onkeydown: onKey });
  const title = { class: "arl-heading", role: "heading", "aria-level": "3", text: meta.title };
  const root = element("div", { class: "arl-root", role: "group", "aria-label": meta.title || "Attention explorer" },
    ...(meta.title ? [element("p", title)] : []), subject, controls.node, grid, buildHelp(choices, () => savePicture(picture(), "attention")), live,
    ...(meta.caption ? [element("p", { class: "arl-foot", text: meta.caption })] : []));
  el.append(root);

  // One card a field, or one a time of the field whose keys are looked at.
  function buildCards() {
    const wanted = byTime ? state.key_field : "";
    if (drawn.cardsOf === wanted) return;
    drawn.cardsOf = wanted;
    const panels = choices.keyFields().flatMap((field) => (
      byTime ? field.hours.map((_, time) => ({ field, time })) : [{ field, time: null }]));
    cards = panels.map((panel) => buildCard(panel, {
      choosePanel: choices.choosePanel, hover: onHover, leave: onLeave, click: onClick,
      chooseSlot: (key_level, key_hours) => choices.choose({ key_level, key_hours }),
    }));
    grid.replaceChildren(...cards.map((card) => card.node), aside.node);
    arrange();
  }

  // ---- pointer and keys

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
    view.preview = asks && place ? choices.tokenUnder(card, place) : null;
    view.cursor = place && !asks
      ? { ...place, card: cards.indexOf(card), lat: field.latitude[place.row], lon: field.longitude[place.column] } : null;
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
    const query = choices.tokenUnder(card, place);
    const again = view.locked && card.field.name === state.query_field && query === state.query;
    view.cursor = null;
    choices.choose({ query_field: card.field.name, query }, { lock: !again });
  }
  function onKey(event) {
    const card = cards.find((one) => one.map === event.target);
    if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keyAction(choices, card, event);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  // ---- drawing

  function compute() {
    const query = choices.activeQuery();
    for (const field of choices.keyFields()) {
      const rowOf = (rows) => rows.row(
        state.query_field, field.name, query, state.layer, choices.headOf(field), state.temperature);
      const row = rowOf(attention);
      const against = row && reference && rowOf(reference);
      const summary = row && summarise(row, choices.queryField(), query, field);
      const minus = state.view === "difference" && against;
      const shown = minus ? row.map((weight, key) => weight - against[key]) : row;
      const most = minus ? shown.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-12) : summary ? summary.peak : 1;
      const half = row && state.view === "field" ? halfWeight(row) : null;
      drawn.results.set(field.name, { row, against, summary, shown, most, half });
    }
  }
  function geometry(card) {
    card.width = card.map.clientWidth || card.width; // JupyterLab hides the page for a moment when its theme changes
    const layout = mapLayout(frame, card.width, !byTime);
    return { layout, project: projection(frame, layout.left, layout.top, layout.width, layout.height) };
  }
  function coastOf(layout, project) {
    if (frame.plane) return null;
    if (!drawn.coasts.has(layout.width)) drawn.coasts.set(layout.width, coastPath(meta, data, frame, project));
    return drawn.coasts.get(layout.width);
  }

  function paint(card, { layout, project }, inks, scheme, font) {
    const { field } = card;
    const result = drawn.results.get(field.name);
    const slot = choices.slotOf(card);
    const from = choices.queryField();
    const at = unravel(from, choices.activeQuery());
    const here = slot.level === at.level && slot.time === at.time;
    const asked = field.name === state.query_field && (!byTime || here);
    drawMap(card.canvas, {
      layout, frame, project, coast: coastOf(layout, project), field, slot, scheme, inks, font, asked,
      row: result.shown, most: result.most, half: result.half, view: state.view, scale: state.scale,
      values: valuesAt(data, field, slot), mask: maskAt(data, field, slot), cursor: view.cursor,
      arrows: state.arrows && meta.wind ? arrowsAt(meta, data, field.level[slot.level], field.hours[slot.time]) : null,
      query: {
        lat: from.latitude[at.row], lon: from.longitude[at.column], size: from.token,
        solid: field.name === state.query_field && here,
      },
    });
    card.message.hidden = result.row !== null || state.view === "field";
    card.message.style.height = `${layout.height}px`;
    const tip = view.cursor && cards[view.cursor.card] === card ? view.cursor : null;
    describeCard(card, {
      from, at, asked, pair: attention.pair(state.query_field, field.name), ...result, slot, scheme,
      layer: state.layer, head: choices.headOf(field), reference: meta.reference ? meta.reference.name : null,
    });
    showTip(card, { data, cursor: tip, slot, layout, project, reference: meta.reference, ...result });
  }
  function paintSharedBar(inks, scheme, font) {
    const [field] = choices.keyFields();
    const { shown, most } = drawn.results.get(field.name);
    const layout = barLayout(aside.bar.parentNode.clientWidth || 300);
    drawSharedBar(aside.bar, {
      layout, field, slot: choices.slotOf({ field, time: 0 }), row: shown, most, view: state.view, scale: state.scale,
      scheme, inks, font,
    });
  }

  function subjectWords() {
    const field = choices.queryField();
    const at = unravel(field, choices.activeQuery());
    const { text, hidden } = tokenText(data, field, at);
    const level = field.plane && field.level.length === 1 ? [] : [levelText(field, field.level[at.level])];
    const place = placeText(field, field.latitude[at.row], field.longitude[at.column]);
    return {
      name: field.label,
      where: [...level, timeText(field, field.hours[at.time]), place].join(" · "),
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

  function picture() {
    const { name, where, what } = subjectWords();
    const from = `Query: ${name}, ${where}, ${what}. Layer ${state.layer}, temperature ${state.temperature.toFixed(2)}.`;
    const head = meta.title ? [meta.title, from] : [from, ""];
    return pictureOf({ root, grid, cards, bar: byTime ? aside.bar : null, head, foot: meta.caption });
  }

  function draw() {
    drawn.waiting = null;
    if (grid.clientWidth === 0 && !cards.some((card) => card.width)) return;
    const started = performance.now();
    const scheme = pageScheme();
    root.dataset.arlScheme = scheme;
    root.dataset.arlView = state.view;
    buildCards();
    const places = cards.map(geometry); // all sizes before anything is written: one layout of the page
    const style = getComputedStyle(root);
    const inks = { half: "#fff", halfHalo: "#111", cursor: "#fff", cursorHalo: "#111" };
    for (const [name, variable] of Object.entries(INKS)) inks[name] = style.getPropertyValue(`--arl-${variable}`).trim();
    compute();
    cards.forEach((card, i) => paint(card, places[i], inks, scheme, style.fontFamily));
    if (byTime) paintSharedBar(inks, scheme, style.fontFamily);
    refreshSubject();
    controls.refresh();
    fillTable(aside, choices, drawn.results);
    drawn.count += 1;
    root.arl.redrawMs = performance.now() - started;
    root.dataset.arlDraws = String(drawn.count);
  }
  function schedule() {
    if (!drawn.waiting) drawn.waiting = requestAnimationFrame(draw);
  }
  function announce() {
    clearTimeout(drawn.telling);
    drawn.telling = setTimeout(() => {
      const { name, where, what } = subjectWords();
      const captions = cards.map((card) => card.told).filter(Boolean);
      live.textContent = `Query: ${name}, ${where}, ${what}. ${captions.join(" ")}`;
    }, 400);
  }

  // ---- size, scheme, Python

  function arrange() {
    if (grid.clientWidth === 0) return;
    const items = cards.length + (byTime ? 0 : 1);
    const empty = (columns) => (columns - (items % columns)) % columns;
    const gap = GAP[meta.panels];
    const fitting = Math.floor((grid.clientWidth + gap) / (NARROWEST_CARD[meta.panels] + gap));
    let columns = 1;
    for (let n = 2; n <= Math.min(MOST_COLUMNS[meta.panels], fitting, items); n += 1) {
      if (columns === 1 || empty(n) <= empty(columns)) columns = n;
    }
    grid.style.setProperty("--arl-columns", String(columns));
    schedule();
  }
  root.arl = { // for scripts on the page and for the tests
    weights: (name) => { compute(); return drawn.results.get(name).row; },
    selected: () => ({ ...state }),
    choose: (changes) => choices.choose(changes),
    picture,
    centre: (row, column) => { // of a token on the first map, in pixels of its canvas, and the query that it is
      const { field } = cards[0];
      const { project } = geometry(cards[0]);
      const query = choices.tokenUnder(cards[0], { row, column });
      return [project.x(field.longitude[column]), project.y(field.latitude[row]), query];
    },
    redraw: () => { draw(); return root.arl.redrawMs; },
    redrawMs: NaN,
  };
  const sizes = new ResizeObserver(arrange);
  sizes.observe(grid);
  const unwatch = watchScheme(schedule);
  model.on("change:selected", choices.fromPython);
  buildCards();
  return () => {
    sizes.disconnect();
    unwatch();
    clearTimeout(drawn.telling);
    cancelAnimationFrame(drawn.waiting);
    model.off("change:selected", choices.fromPython);
    root.remove();
  };
}

export default { render };
