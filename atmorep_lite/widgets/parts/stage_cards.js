// The cards of the stage: up to four maps of one field at one time, on which tokens are hidden by hand.
import { niceTicks } from "./colour.js";
import { element } from "./controls.js";
import { coastPath, commonFrame, tokenAt } from "./geography.js";
import { placeText } from "./places.js";
import { blank, drawStage, drawStageMap, stageLayout, stageProjection } from "./stage_canvas.js";
import { CARD_NAMES, cardNote, stageColours, stageNumber } from "./stage_values.js";

const STAGE_INKS = {
  muted: "muted", void: "void", frame: "frame", graticule: "graticule", coast: "coast", coastHalo: "coast-halo", query: "query-map",
  queryHalo: "query-halo", hidden: "stage-hidden", hatch: "stage-hatch", border: "stage-border", borderHalo: "stage-border-halo",
  contour: "stage-contour",
};
const STAGE_MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const MOST = 4;

// Tokens on the straight line from one to another, both included: a quick pointer skips some.
function cellsBetween(from, to) {
  const steps = Math.max(Math.abs(to.row - from.row), Math.abs(to.column - from.column), 1);
  return Array.from({ length: steps + 1 }, (_, i) => ({
    row: Math.round(from.row + ((to.row - from.row) * i) / steps), column: Math.round(from.column + ((to.column - from.column) * i) / steps),
  }));
}

export function buildCards(page) {
  const { meta, state, choose } = page;
  const node = element("div", { class: "arl-stage-cards" });
  const made = { cards: [], cursor: null, painting: null, waiting: [], coasts: new Map(), hover: null };

  function card(index) {
    const select = element("select", { class: "arl-stage-name", "aria-label": `Map ${index + 1} shows`, onchange: () => {
      choose({ cards: state.cards.map((name, i) => (i === index ? select.value : name)) });
    } }, ...meta.cards.map((value) => element("option", { value, text: CARD_NAMES[value] })));
    const note = element("span", { class: "arl-stage-note" });
    const canvas = element("canvas", {
      class: "arl-canvas", tabindex: "0", role: "application", "aria-roledescription": "map",
      onpointerdown: (event) => down(one, event), onpointermove: (event) => move(one, event), onpointerup: up,
      onpointercancel: up, onpointerleave: () => { made.hover = null; page.redraw(); }, onkeydown: (event) => key(one, event),
      onblur: () => { made.cursor = null; page.redraw(); },
    });
    const message = element("p", { class: "arl-stage-message", hidden: "" });
    const head = element("div", { class: "arl-stage-line" }, select, note);
    const figure = element("figure", { class: "arl-stage-card" }, head, element("div", { class: "arl-stage-map" }, canvas, message));
    const one = { index, head, select, note, canvas, message, node: figure, project: null };
    return one;
  }

  // ---- hiding by hand: the first token says whether a stroke hides or shows

  const slot = () => Math.floor(page.step() / page.answer().steps);
  const hiddenNow = () => {
    const mask = Uint8Array.from(page.numbers().hidden(page.level(), slot()));
    for (const { show, tokens } of [...made.waiting, ...(made.painting ? [made.painting] : [])]) {
      for (const token of tokens) mask[token] = show ? 0 : 1;
    }
    return mask;
  };
  const tokenOf = ({ row, column }) => row * page.answer().shape[3] + column;
  function under(one, event) {
    const box = one.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    return one.project && tokenAt(page.answer(), one.project.lat(y), one.project.lon(x));
  }
  function down(one, event) {
    const place = event.button === 0 && under(one, event);
    if (!place) return;
    event.preventDefault();
    one.canvas.focus({ preventScroll: true });
    one.canvas.setPointerCapture(event.pointerId);
    begin(place);
    made.painting.at = place;
  }
  function begin(place) {
    const token = tokenOf(place);
    made.painting = { show: hiddenNow()[token] === 1, tokens: new Set([token]) };
    page.redraw();
  }
  function move(one, event) {
    const place = under(one, event);
    const before = JSON.stringify(made.hover);
    made.hover = place && { ...place, card: one.index };
    if (made.painting) {
      if (place) for (const cell of cellsBetween(made.painting.at || place, place)) made.painting.tokens.add(tokenOf(cell));
      made.painting.at = place; // off the map: null, the next token is no continuation
    }
    if (made.painting || JSON.stringify(made.hover) !== before) page.redraw();
  }
  function up() {
    if (!made.painting) return;
    const { show, tokens } = made.painting;
    const answer = page.answer();
    const columns = answer.shape[3];
    const cells = [...tokens].map((token) => [answer.latitude[Math.floor(token / columns)], answer.longitude[token % columns]]);
    const stroke = { cells };
    if (show) stroke.show = true;
    if (state.brush.fields === "this") stroke.fields = [state.field];
    if (state.brush.levels === "this") stroke.levels = [state.level];
    if (state.brush.hours === "this") stroke.hours = [state.hours];
    made.waiting.push(made.painting); // what was painted stays until the answer comes
    made.painting = null;
    choose({ hide: [...state.hide, stroke] });
  }
  function key(one, event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [, , rows, columns] = page.answer().shape;
    const at = made.cursor || { row: Math.floor(rows / 2), column: Math.floor(columns / 2) };
    if (STAGE_MOVES[event.key]) {
      const [south, east] = STAGE_MOVES[event.key];
      made.cursor = {
        row: Math.min(Math.max(at.row + south, 0), rows - 1), column: Math.min(Math.max(at.column + east, 0), columns - 1),
      };
    } else if (event.key === "Enter") {
      made.cursor = at;
      begin(at);
      up();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    page.redraw();
  }

  // ---- drawing

  function coastOf(frame, layout, project) {
    const name = [frame.west, frame.north, layout.left, layout.top, layout.width, layout.height].join();
    if (made.coasts.size > 24) made.coasts.clear();
    if (!made.coasts.has(name)) made.coasts.set(name, coastPath(meta, page.data, frame, project));
    return made.coasts.get(name);
  }

  function refresh({ scale, narrow, scheme, ink, font }) {
    while (made.cards.length < Math.min(state.cards.length, MOST)) made.cards.push(card(made.cards.length));
    made.cards.length = state.cards.length;
    if (node.children.length !== made.cards.length) node.replaceChildren(...made.cards.map((one) => one.node));
    node.dataset.arlCards = String(made.cards.length);
    const answer = page.answer();
    const inks = Object.fromEntries(Object.entries(STAGE_INKS).map(([name, variable]) => [name, ink(variable)]));
    const frame = commonFrame([answer]);
    const [level, step] = [page.level(), page.step()];
    const hidden = hiddenNow();
    const truth = page.numbers().values("truth", level, step);
    const [low, high] = answer.range[level];
    const contourTicks = niceTicks(low, high, 7);
    const rooms = made.cards.map((one) => { // all sizes before anything is drawn
      const width = one.canvas.parentNode.clientWidth;
      return { width, height: narrow ? width * 0.62 : one.canvas.parentNode.clientHeight };
    });
    made.cards.forEach((one, i) => {
      const name = state.cards[i];
      one.select.value = name;
      const layout = stageLayout(frame, rooms[i].width, rooms[i].height, scale);
      const project = stageProjection(frame, layout);
      one.project = project;
      const values = page.numbers().values(name, level, step, state.member);
      const colours = stageColours(name, answer, level, scheme);
      const map = {
        layout, frame, project, coast: coastOf(frame, layout, project), answer, values, hidden, colours, inks, font, kind: name,
        cursor: made.cursor || made.hover, contours: name.includes("error") ? truth : values, contourTicks,
      };
      if (name === "seen" || name === "spread") map.contours = null;
      one.head.style.paddingLeft = `${layout.left}px`;
      one.head.style.paddingRight = `${rooms[i].width - layout.left - layout.width}px`;
      if (name === "members" && answer.members) drawMembers(one, map, { level, step });
      else drawStage(one.canvas, map);
      one.message.hidden = Boolean(values);
      one.message.textContent = name === "convolution" ? "This model has no convolution." : "The model does not predict this field.";
      const cell = made.cursor || made.hover;
      const note = cardNote(name, answer, { level, step, member: state.member, hidden });
      one.note.textContent = cell && values && name !== "members" ? cellText(map, cell, level) : note;
      one.canvas.setAttribute("aria-label", `${CARD_NAMES[name]}: ${answer.label}, ${note}. Arrow keys choose a token, Enter hides or shows it.`);
    });
  }
  function cellText({ answer, values, hidden, kind }, { row, column }, level) {
    const [tall, wide] = [answer.grid[0] / answer.shape[2], answer.grid[1] / answer.shape[3]];
    let sum = 0;
    for (let y = 0; y < tall; y += 1) {
      for (let x = 0; x < wide; x += 1) sum += values[(row * tall + y) * answer.grid[1] + column * wide + x];
    }
    const gone = hidden[row * answer.shape[3] + column];
    const number = kind === "seen" && gone ? "hidden" : stageNumber(sum / (tall * wide), answer, level);
    return `${number} · ${placeText({}, answer.latitude[row], answer.longitude[column])}`;
  }
  // Small maps of all members side by side, in one colour scale.
  function drawMembers(one, map, { level, step }) {
    const { answer, layout, font, inks } = map;
    const ctx = blank(one.canvas, layout);
    const { width, height } = layout.total;
    const across = answer.members > 9 ? 4 : answer.members > 4 ? Math.ceil(answer.members / 3) : 2;
    const down = Math.ceil(answer.members / across);
    const gap = 6 * layout.scale;
    const cell = { width: (width - gap * (across + 1)) / across, height: (height - gap * (down + 1)) / down };
    const shown = Array.from({ length: answer.members }, (_, m) => m + 1);
    if (shown.length < across * down) shown.push("mean");
    shown.forEach((member, m) => {
      const place = {
        left: gap + (m % across) * (cell.width + gap), top: gap + Math.floor(m / across) * (cell.height + gap), ...cell,
        scale: layout.scale / 2, total: layout.total,
      };
      const project = stageProjection(map.frame, place);
      const values = page.numbers().values("prediction", level, step, member);
      drawStageMap(ctx, { ...map, layout: place, project, coast: coastOf(map.frame, place, project), values, contours: null, kind: "member", cursor: null });
      ctx.font = `600 ${13 * layout.scale}px ${font}`;
      ctx.textAlign = "left";
      ctx.textBaseline = "top";
      ctx.lineWidth = 3 * layout.scale;
      ctx.strokeStyle = inks.borderHalo;
      ctx.fillStyle = inks.border;
      ctx.strokeText(String(member), place.left + 5 * layout.scale, place.top + 4 * layout.scale);
      ctx.fillText(String(member), place.left + 5 * layout.scale, place.top + 4 * layout.scale);
    });
    one.project = null; // nothing to paint on
  }

  return {
    node, refresh,
    forget() { made.waiting = []; }, // the answer holds what was painted
    words: () => made.cards.map((one, i) => `${CARD_NAMES[state.cards[i]]}: ${one.note.textContent}.`).join(" "),
    centre(index, row, column) { // of a token on a card, in pixels of the screen
      const box = made.cards[index].canvas.getBoundingClientRect();
      const { project } = made.cards[index];
      return [box.left + project.x(page.answer().longitude[column]), box.top + project.y(page.answer().latitude[row])];
    },
  };
}
