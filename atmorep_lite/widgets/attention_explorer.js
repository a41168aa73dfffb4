// AttentionExplorer: choose a token on a map, see what it attends to in every field, or at every time.
import { explorer } from "./parts/frame.js";
import { unravel } from "./parts/softmax.js";
import { levelText, placeText, timeText } from "./parts/places.js";
import { coastPath, commonFrame, projection } from "./parts/geography.js";
import { drawSharedBar } from "./parts/colour_bar.js";
import { drawMap } from "./parts/map_canvas.js";
import { barLayout, mapLayout } from "./parts/map_layout.js";
import { element } from "./parts/controls.js";
import { arrowsAt, maskAt, tokenText, valuesAt } from "./parts/field_values.js";
import { buildCard, describeCard, showTip } from "./parts/map_card.js";
import { explorerState } from "./parts/explorer_state.js";
import { explorerResults } from "./parts/explorer_results.js";
import { followPointer } from "./parts/explorer_pointer.js";
import { buildControls } from "./parts/explorer_controls.js";
import { drawUpstream, upstreamOf, upstreamWords } from "./parts/explorer_upstream.js";
import { buildScenes } from "./parts/explorer_scenes.js";
import { buildTable } from "./parts/explorer_table.js";
import { buildTools } from "./parts/explorer_tools.js";
import { buildEvidence } from "./parts/evidence.js";
import { fitting } from "./parts/explorer_fitting.js";
import { linkView } from "./parts/explorer_link.js";
import { pictureOf } from "./parts/picture.js";
import { buildAside, buildHelp, fillTable } from "./parts/explorer_words.js";

// Of a card the least width, the gap between two (as in the style sheet), the most in a row.
const CARDS = { fields: [345, 26, 4], times: [225, 14, 6] };
const INKS = "muted void frame graticule coast coast-halo contour contour-halo hatch query-map query-halo pin centre origin marks-halo".split(" ");
const camel = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());

function build(page) {
  const { meta, data, state, redraw, root } = page;
  const frame = commonFrame(meta.fields);
  let link = null;
  const choices = explorerState(page, () => link?.told());
  const { view, byTime } = choices;
  const results = explorerResults(choices, data);
  const drawn = { coasts: new Map(), results: new Map(), cardsOf: null, columns: 0 };
  let cards = [];

  const subject = element("p", { class: "arl-subject" });
  const scenes = buildScenes(choices, meta.scenes);
  const controls = buildControls(choices);
  const aside = buildAside(meta);
  const grid = element("div", { class: "arl-grid", "data-arl-panels": meta.panels });
  const table = buildTable(choices, data, redraw);
  const evidence = buildEvidence(meta, data, choices, results.attention);
  const tools = buildTools({ root, choices, data, picture, results: () => drawn.results, address: () => link.address() });
  const pointer = followPointer({ choices, grid, cards: () => cards, geometry, redraw });

  const viewOf = (field) => (state.view === "error" && !field.error ? "field" : state.view); // no error is known

  // One card a field, or one a time of the field whose keys are looked at.
  function buildCards() {
    const wanted = byTime ? state.key_field : "";
    if (drawn.cardsOf === wanted) return;
    drawn.cardsOf = wanted;
    const panels = choices.keyFields().flatMap((field) => (
      byTime ? field.hours.map((_, time) => ({ field, time })) : [{ field, time: null }]));
    cards = panels.map((panel) => buildCard(panel, {
      choosePanel: choices.choosePanel, ...pointer,
      chooseSlot: (key_level, key_hours) => choices.choose({ key_level, key_hours }),
    }));
    grid.replaceChildren(...cards.map((card) => card.node), aside.node);
  }
  function arrange() {
    const items = cards.length + (byTime ? 0 : 1);
    const empty = (columns) => (columns - (items % columns)) % columns;
    const [least, gap, most] = CARDS[meta.panels];
    const fit = Math.floor((grid.clientWidth + gap) / (least + gap));
    let columns = 1;
    for (let n = 2; n <= Math.min(most, fit, items); n += 1) {
      if (columns === 1 || empty(n) <= empty(columns)) columns = n;
    }
    if (drawn.columns !== columns) grid.style.setProperty("--arl-columns", String(columns));
    drawn.columns = columns;
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

  function paint(card, { layout, project }, { scheme, font, inks }) {
    const { field } = card;
    const result = drawn.results.get(field.name);
    const slot = choices.slotOf(card);
    const from = choices.queryField();
    const query = choices.activeQuery();
    const at = unravel(from, query);
    const here = slot.level === at.level && slot.time === at.time;
    const own = field.name === from.name;
    const asked = own && (!byTime || here);
    const steps = state.upstream && meta.wind && result.row
      ? upstreamOf(meta, data, { row: result.row, against: result.other === "B" ? null : result.against, field, from, query, level: slot.level }) : null;
    const cursor = pointer.cursorOn(card);
    drawMap(card.canvas, {
      layout, frame, project, coast: coastOf(layout, project), field, slot, scheme, inks, font, asked,
      row: result.shown, weights: result.row, mode: result.mode, most: result.most, half: result.half,
      view: viewOf(field), scale: state.scale, mask: maskAt(data, field, slot), cursor,
      values: valuesAt(data, field, slot, viewOf(field) === "error" ? field.error : undefined),
      arrows: state.arrows && meta.wind ? arrowsAt(meta, data, field.level[slot.level], field.hours[slot.time]) : null,
      query: { lat: from.latitude[at.row], lon: from.longitude[at.column], size: from.token, solid: own && here },
      overlays: [...(steps ? [(ctx, map) => drawUpstream(ctx, map, steps)] : []), controls.pins.draw],
    });
    card.message.hidden = result.row !== null || choices.showsValues();
    card.message.style.height = `${layout.height}px`;
    card.node.dataset.arlMarked = String(field.name === view.marked);
    card.steps = steps;
    describeCard(card, {
      from, at, asked, pair: results.attention.pair(from.name, field.name), ...result, slot, scheme,
      missing: result.other === "B" ? choices.field(state.pin_b.query_field).label : from.label,
      lead: state.show === "query" ? "" : `${state.show[0]}: `,
      layer: state.layer, head: choices.headFor(from.name, field), upstream: steps ? upstreamWords(field, steps, slot.time) : "",
    });
    showTip(card, { data, cursor, brief: pointer.brief(card), slot, layout, project, ...result });
  }
  function paintSharedBar({ inks, scheme, font }) {
    const [field] = choices.keyFields();
    const { shown, most, mode } = drawn.results.get(field.name);
    drawSharedBar(aside.bar, {
      layout: barLayout(aside.bar.parentNode.clientWidth || 300), field, slot: choices.slotOf({ field, time: 0 }), row: shown,
      most, mode, view: viewOf(field), scale: state.scale, scheme, inks, font,
    });
  }

  function wordsOf({ query_field, query }) {
    const field = choices.field(query_field);
    const at = unravel(field, query);
    const { text, hidden, error } = tokenText(data, field, at);
    const level = field.plane && field.level.length === 1 ? [] : [levelText(field, field.level[at.level])];
    const place = placeText(field, field.latitude[at.row], field.longitude[at.column]);
    return {
      name: field.label,
      where: [...level, timeText(field, field.hours[at.time]), place].join(" · "),
      what: `${text}${hidden ? `, hidden from the model${error ? `, ${error}` : ""}` : ""}`,
    };
  }
  // What all maps show, in words: the query, the pin that is subtracted from it, and how it came to be shown.
  function shownWords() {
    const { show } = state;
    return {
      ...wordsOf(choices.active()),
      role: show === "query" ? "Query" : show[0],
      other: show === "A minus B" ? wordsOf(state.pin_b) : null,
      mode: show !== "query" ? "pinned" : choices.active() !== state ? "preview" : view.locked ? "locked" : "",
    };
  }
  function refreshSubject() {
    const { name, where, what, role, other, mode } = shownWords();
    subject.replaceChildren(element("span", { class: "arl-mark", "aria-hidden": "true" }),
      element("span", {}, `${role}: `, element("strong", { text: name })), element("span", { text: where }),
      element("span", { class: "arl-note", text: what }),
      ...(other ? [element("span", {}, "minus B: ", element("strong", { text: other.name })), element("span", { text: other.where })] : []),
      ...(mode ? [element("span", { class: "arl-chip", text: mode })] : []));
  }
  function subjectText() {
    const { name, where, what, role, other } = shownWords();
    return `${role}: ${name}, ${where}, ${what}${other ? `; minus B: ${other.name}, ${other.where}` : ""}.`;
  }
  const words = () => [subjectText(), ...cards.map((card) => card.told), evidence.words()].filter(Boolean).join(" ");

  function picture() {
    const { mode, other } = drawn.results.get(choices.keyFields()[0].name);
    const compared = !other || other === "B" ? "" : ` ${mode === "ratio" ? "Relative to" : "Minus"} ${other}.`;
    const from = `${subjectText()} Layer ${state.layer}, temperature ${state.temperature.toFixed(2)}.${compared}`;
    const head = meta.title ? [meta.title, from] : [from, ""];
    return pictureOf({ root, grid, cards, bar: byTime ? aside.bar : null, head, foot: meta.caption });
  }

  function draw(look) {
    const { clientWidth } = grid;
    if (clientWidth === 0 && grid.isConnected) return;
    root.dataset.arlView = state.view;
    root.dataset.arlUpstream = String(state.upstream);
    root.dataset.arlArrows = String(state.arrows);
    buildCards();
    arrange();
    const places = cards.map(geometry); // all sizes before anything is written: one layout of the page
    const inks = Object.fromEntries(INKS.map((name) => [camel(name), look.ink(name)]));
    Object.assign(inks, { query: inks.queryMap, half: "#fff", halfHalo: "#111", cursor: "#fff", cursorHalo: "#111" });
    drawn.results = results.compute();
    root.dataset.arlMode = drawn.results.get(choices.keyFields()[0].name).mode;
    cards.forEach((card, i) => paint(card, places[i], { ...look, inks }));
    if (byTime) paintSharedBar({ ...look, inks });
    refreshSubject();
    scenes.refresh();
    controls.refresh();
    fillTable(aside, choices, drawn.results);
    table.refresh(drawn.results);
    evidence.refresh({ ...look, inks });
  }

  const onPage = (event) => {
    const by = { PageUp: -1, PageDown: 1 }[event.key];
    if (by && meta.scenes.length && !event.ctrlKey && !event.altKey && scenes.step(by)) event.preventDefault();
  };
  root.addEventListener("keydown", onPage);
  link = linkView(page, choices.choose, (wanted) => fitting(meta, wanted));
  return {
    nodes: [...scenes.nodes, subject, controls.node, grid, evidence.node, table.node, tools.node, buildHelp(meta.words)],
    draw,
    words,
    hooks: {
      results: (name) => results.compute().get(name),
      weights: (name) => results.compute().get(name).row,
      upstream: (name) => cards.find((card) => card.field.name === name).steps,
      choose: choices.choose,
      csv: tools.csv,
      evidence: evidence.hooks,
      address: link.address,
      picture,
      centre: (row, column) => { // of a token on the first map, in pixels of its canvas, and the query that it is
        const { field } = cards[0];
        const { project } = geometry(cards[0]);
        return [project.x(field.longitude[column]), project.y(field.latitude[row]), choices.tokenUnder(cards[0], { row, column })];
      },
    },
    end() {
      root.removeEventListener("keydown", onPage);
      link.end();
      evidence.end();
    },
  };
}

const render = explorer({ kind: "root", label: "Attention explorer", build });
export default { render };
