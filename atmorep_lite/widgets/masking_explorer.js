// MaskingExplorer: what each strategy hides from the model, and what the reader hides by hand.
import { percent, plain, withUnits } from "./parts/colour.js";
import { choice, element } from "./parts/controls.js";
import { valuesAt } from "./parts/field_values.js";
import { explorer } from "./parts/frame.js";
import { tokenAt } from "./parts/geography.js";
import { whole } from "./parts/line_chart.js";
import { hiddenCounts, tokenOffsets, unpackKinds, unpackMask } from "./parts/mask_bits.js";
import { maskInks, paintKinds, strokeHand, veilHidden } from "./parts/mask_canvas.js";
import { buildMaskMaps } from "./parts/mask_maps.js";
import { buildKinds, buildShares, buildStrategies, strategyName } from "./parts/mask_panels.js";
import { nearest, placeText } from "./parts/places.js";
import { drawTokenMap, tokenColours, tokenGeometry, tokenInks } from "./parts/token_map.js";
import { exactly, levelName } from "./parts/token_numbers.js";
import { tokenCells } from "./parts/token_sizes.js";

const BY_HAND = "none";
const BY_HAND_TOLD = "Nothing, until you hide tokens on the large map: what must the model see to know the rest?";
const MASK_LOOKS = [{ value: "hidden", label: "what is hidden" }, { value: "corrupted", label: "what becomes of it" }];

function buildMasking({ meta, data, state, choose, redraw }) {
  const offsets = tokenOffsets(meta.fields);
  const geometry = tokenGeometry(meta, data);
  const kept = { drawn: "", mask: null, kinds: null };
  const [, slots, rows, wide] = meta.fields[0].tokens;
  const view = { level: 0, slot: slots - 1, row: Math.floor(rows / 4), column: Math.floor(wide / 2) };
  let [cursor, painting, thumbs] = [null, null, ""];

  // ---- what is hidden

  const indexNow = () => meta.fields.findIndex((field) => field.name === state.field);
  const strategyNow = () => meta.strategies.find(({ name }) => name === state.strategy);
  const corrupted = () => state.look === "corrupted" && state.strategy === "random";
  const planeStart = (index, level, slot) => {
    const [, slots, rows, columns] = meta.fields[index].tokens;
    return offsets.starts[index] + (level * slots + slot) * rows * columns;
  };
  function tokenNumber([name, level, slot, row, column]) {
    const index = meta.fields.findIndex((field) => field.name === name);
    return planeStart(index, level, slot) + row * meta.fields[index].tokens[3] + column;
  }
  // Mask and kinds of the library's draw, and the mask with what the reader turned over.
  function shown() {
    const drawn = JSON.stringify([state.strategy, state.setting, state.draw]);
    if (kept.drawn !== drawn) {
      const strategy = strategyNow();
      const draw = strategy?.fixed ? 0 : state.draw;
      const setting = strategy?.settings[Math.min(state.setting, strategy.settings.length - 1)];
      kept.drawn = drawn;
      kept.mask = setting ? unpackMask(data, setting, draw, offsets.total) : new Uint8Array(offsets.total);
      kept.kinds = setting?.kinds ? unpackKinds(data, setting, draw, kept.mask) : null;
    }
    const mask = Uint8Array.from(kept.mask);
    for (const token of state.hand) mask[tokenNumber(token)] ^= 1;
    return { mask, kinds: kept.kinds };
  }
  const countsOf = (mask) => meta.fields.map((field, i) => hiddenCounts(mask, field, offsets.starts[i]));
  function kindCounts({ kinds }) {
    if (!kinds) return null;
    const [from, size] = [offsets.starts[indexNow()], offsets.sizes[indexNow()]];
    return meta.kinds.map((_, kind) => kinds.subarray(from, from + size).reduce((sum, one) => sum + (one === kind), 0));
  }
  const namesOf = (field) => ({
    level: (level) => levelName(field.level[level]),
    slot: (slot) => {
      const [first, last] = [slot * field.size[0], (slot + 1) * field.size[0] - 1].map((step) => exactly(meta.hours[step]));
      return first === last ? `${last} h` : `${first} … ${last} h`;
    },
  });

  // ---- controls

  const again = () => choose({ draw: (state.draw + 1) % meta.draws, hand: [] });
  const strategies = buildStrategies([...meta.strategies.map(({ name }) => name), BY_HAND], (name) => {
    const usual = meta.strategies.find((one) => one.name === name)?.usual ?? 0;
    choose({ strategy: name, setting: usual, hand: [] });
  });
  const controls = {
    field: choice("Field", (field) => choose({ field })),
    setting: choice("How much", (setting) => choose({ setting, hand: [] }),
      { hint: "at random: the share is drawn for each field and level, uniformly from 0 to this" }),
    look: choice("Show", (look) => choose({ look }), { hint: "tokens hidden at random are spoilt for models of the field itself" }),
  };
  const action = (text, onclick) => element("button", { type: "button", class: "arl-action", text, onclick });
  const sample = element("span", { class: "arl-output" });
  const drawAgain = action("Draw again", again);
  const clear = action("Undo all by hand", () => choose({ hand: [] }));
  const drawing = element("div", { class: "arl-control" }, element("span", { class: "arl-label", text: `Draw (seed ${meta.seed})` }),
    element("div", { class: "arl-slider" }, drawAgain, sample));

  // ---- the parts of the page

  const told = element("p", { class: "arl-mask-told" });
  const [large, largeNote] = [element("span", { class: "arl-mask-title" }), element("span", { class: "arl-note" })];
  const maps = buildMaskMaps(meta, data, (level, slot) => { Object.assign(view, { level, slot }); redraw(); });
  const canvas = element("canvas", { class: "arl-canvas" });
  const tip = element("div", { class: "arl-mask-tip", hidden: "" });
  const map = element("div", { class: "arl-mask-map", tabindex: "0", role: "img" }, canvas, tip);
  const shares = buildShares((field) => choose({ field }));
  const kinds = buildKinds(meta);
  const columns = {
    left: element("div", { class: "arl-mask-left" }, element("p", { class: "arl-mask-line" }, large, largeNote), map,
      element("div", { class: "arl-mask-actions" },
      action("Hide this map", () => paintMap(1)), action("Show this map", () => paintMap(0)), clear)),
    right: element("div", { class: "arl-mask-right" }, shares.node, kinds.node),
  };
  const keys = (...names) => names.map((name) => element("kbd", { text: name }));
  const nodes = [
    strategies.node,
    element("div", { class: "arl-controls", role: "group", "aria-label": "Controls" },
      controls.field.node, controls.setting.node, drawing, controls.look.node),
    told, maps.node, element("div", { class: "arl-mask-grid" }, ...Object.values(columns)),
    element("p", { class: "arl-help" }, "Click a small map to enlarge it; click or drag on the large map to hide and show tokens. Keys there: ",
      ...keys("←", "↑", "↓", "→"), " next token; ", ...keys("Space"), " hide or show it; ",
      ...keys(",", "."), " earlier or later; ", ...keys("[", "]"), " other level."),
  ];

  // ---- by hand

  const handKey = (token) => token.join(" ");
  function turn(tokens, hide) { // hides (1) or shows (0) tokens of the large map
    const { mask } = shown();
    const hand = new Map(state.hand.map((token) => [handKey(token), token]));
    for (const [row, column] of tokens) {
      const token = [state.field, view.level, view.slot, row, column];
      if (mask[tokenNumber(token)] === hide) continue;
      if (!hand.delete(handKey(token))) hand.set(handKey(token), token);
    }
    choose({ hand: [...hand.values()] });
  }
  function paintMap(hide) {
    const [, , rows, wide] = meta.fields[indexNow()].tokens;
    turn(Array.from({ length: rows * wide }, (_, i) => [Math.floor(i / wide), i % wide]), hide);
  }
  function under(event) {
    const box = canvas.getBoundingClientRect();
    const { project } = geometry(map.clientWidth);
    const [lat, lon] = [project.lat(event.clientY - box.top), project.lon(event.clientX - box.left)];
    const place = tokenAt(tokenCells(meta, meta.fields[indexNow()].size), lat, lon);
    return place && { ...place, lat, lon };
  }
  const hiddenAt = (place) => shown().mask[tokenNumber([state.field, view.level, view.slot, place.row, place.column])];
  map.addEventListener("pointerdown", (event) => {
    const place = under(event);
    if (!place || event.button !== 0) return;
    painting = 1 - hiddenAt(place);
    Object.assign(view, { row: place.row, column: place.column });
    turn([[place.row, place.column]], painting);
  });
  map.addEventListener("pointermove", (event) => {
    const place = under(event);
    cursor = event.pointerType === "touch" ? null : place;
    if (painting !== null && place && event.buttons) turn([[place.row, place.column]], painting);
    redraw();
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    map.addEventListener(name, () => { painting = null; if (name === "pointerleave") cursor = null; redraw(); });
  }
  map.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [levels, slots, rows, wide] = meta.fields[indexNow()].tokens;
    const move = { ArrowLeft: ["column", -1, wide], ArrowRight: ["column", 1, wide], ArrowUp: ["row", -1, rows], ArrowDown: ["row", 1, rows],
      ",": ["slot", -1, slots], ".": ["slot", 1, slots], "[": ["level", -1, levels], "]": ["level", 1, levels] }[event.key];
    if (move) view[move[0]] = Math.min(Math.max(view[move[0]] + move[1], 0), move[2] - 1);
    else if (event.key === " " || event.key === "Enter") turn([[view.row, view.column]], 1 - hiddenAt(view));
    else return;
    event.preventDefault();
    redraw();
  });

  // ---- drawing

  function drawLarge({ inks, inksOfMask, look, field, cells, planeOf, kindsOf, turned, values }) {
    const shape = geometry(map.clientWidth);
    const colours = tokenColours(field, view.level, "values", look.scheme);
    const over = (ctx, project) => {
      const seen = { cells, project, inks: inksOfMask };
      if (kindsOf) paintKinds(ctx, { ...seen, plane: kindsOf(view.level, view.slot), names: meta.kinds });
      else veilHidden(ctx, { ...seen, plane: planeOf(view.level, view.slot) });
      const by = turned(view.level, view.slot);
      if (by.size) strokeHand(ctx, { ...seen, chosen: (i) => by.has(i) });
    };
    const focused = map.matches(":focus-visible") ? { row: view.row, column: view.column } : null;
    drawTokenMap(canvas, {
      meta, geometry: shape, cells, colours, inks, font: look.font, values, tokens: null, first: null, chosen: focused, cursor, over,
    });
    tip.hidden = !cursor;
    if (!cursor) return;
    const value = values[nearest(meta.latitude, cursor.lat) * meta.longitude.length + nearest(meta.longitude, cursor.lon)];
    const step = 10 ** Math.floor(Math.log10((colours.high - colours.low) / 80));
    const kind = kindsOf?.(view.level, view.slot)[cursor.row * field.tokens[3] + cursor.column];
    const fate = kind >= 0 ? meta.kinds[kind] : hiddenAt(cursor) ? "hidden" : "visible";
    const number = Number.isFinite(value) ? withUnits(plain(value, step), field.units) : "no value";
    tip.textContent = `${fate} · ${number} · ${placeText({}, cursor.lat, cursor.lon)}`;
    const half = tip.offsetWidth / 2;
    tip.style.left = `${Math.min(Math.max(shape.project.x(cursor.lon) - half, 0), map.clientWidth - 2 * half)}px`;
    const above = shape.project.y(cursor.lat) - 44;
    tip.style.top = `${above > shape.layout.top ? above : shape.project.y(cursor.lat) + 26}px`;
  }
  function updateControls() {
    const strategy = strategyNow();
    strategies.update(state.strategy);
    controls.field.update(meta.fields.map(({ name, label }) => ({ value: name, label })), state.field);
    controls.setting.node.hidden = !strategy || strategy.settings.length < 2;
    if (strategy) {
      const options = strategy.settings.map(({ label }, value) => ({ value, label }));
      controls.setting.update(options, Math.min(state.setting, options.length - 1));
    }
    drawing.hidden = !strategy || strategy.fixed;
    sample.textContent = `sample ${state.draw + 1} of ${meta.draws}`;
    controls.look.node.hidden = state.strategy !== "random";
    controls.look.update(MASK_LOOKS, state.look);
    clear.disabled = state.hand.length === 0;
  }
  function draw(look) {
    updateControls();
    const now = shown();
    const index = indexNow();
    const field = meta.fields[index];
    view.level = Math.min(view.level, field.tokens[0] - 1);
    view.slot = Math.min(view.slot, field.tokens[1] - 1);
    const per = field.tokens[2] * field.tokens[3];
    const part = (array) => (level, slot) => array.subarray(planeStart(index, level, slot), planeStart(index, level, slot) + per);
    const turned = (level, slot) => new Set(state.hand.filter((token) => token[0] === state.field && token[1] === level && token[2] === slot)
      .map((token) => token[3] * field.tokens[3] + token[4]));
    const every = countsOf(now.mask);
    const counts = every[index];
    const [inks, inksOfMask, names] = [tokenInks(look.ink), maskInks(look.ink), namesOf(field)];
    const shared = {
      field, cells: tokenCells(meta, field.size), planeOf: part(now.mask), kindsOf: corrupted() ? part(now.kinds) : null, turned, inks,
    };
    told.replaceChildren(element("b", { text: `${percent(counts.hidden / offsets.sizes[index])} of ${field.label} is hidden. ` }),
      strategyNow()?.told ?? BY_HAND_TOLD);
    maps.draw({
      ...shared, key: `${state.field} ${look.scheme}`, names, counts, chosen: view, maskInks: inksOfMask, width: look.width,
      valuesOf: (level, slot) => valuesAt(data, field, { level, time: slot }),
      coloursOf: (level) => tokenColours(field, level, "values", look.scheme),
    });
    large.textContent = `${field.label}, ${names.level(view.level)}, ${names.slot(view.slot)}`;
    largeNote.textContent = `values of ${meta.times[(view.slot + 1) * field.size[0] - 1]} UTC${meta.simulated ? ", simulated" : ""}`;
    drawLarge({ ...shared, inksOfMask, look, values: valuesAt(data, field, { level: view.level, time: view.slot }) });
    shares.update(meta.fields.map(({ name, label }, i) => ({ name, label, hidden: every[i].hidden, of: offsets.sizes[i] })), state.field);
    kinds.node.hidden = state.strategy !== "random";
    if (!kinds.node.hidden) kinds.update(kindCounts(now), inksOfMask, look.scheme);
    const thumbsOf = `${look.scheme} ${state.field}`;
    if (thumbs !== thumbsOf) {
      thumbs = thumbsOf;
      strategies.paint((name) => thumbMask(name, index), field, { seen: look.ink("mask-seen"), hidden: look.ink("mask-hidden") });
    }
    map.setAttribute("aria-label", largeWords(counts, names));
  }
  function thumbMask(name, index) {
    const strategy = meta.strategies.find((one) => one.name === name);
    const size = offsets.sizes[index];
    if (!strategy) return new Uint8Array(size);
    return unpackMask(data, strategy.settings[strategy.usual], 0, offsets.total).subarray(offsets.starts[index], offsets.starts[index] + size);
  }
  const largeWords = ({ counts, per }, names) => `Large map, ${names.level(view.level)}, ${names.slot(view.slot)}: `
    + `${counts[view.level][view.slot]} of ${per} tokens hidden; `
    + `row ${view.row + 1}, column ${view.column + 1} is ${hiddenAt(view) ? "hidden" : "visible"}.`;
  function words() {
    const { mask } = shown();
    const every = countsOf(mask);
    const [counts, field] = [every[indexNow()], meta.fields[indexNow()]];
    const all = every.reduce((sum, one) => sum + one.hidden, 0);
    const amount = strategyNow()?.settings[state.setting]?.label;
    const of = offsets.sizes[indexNow()];
    const byHand = state.hand.length ? `${state.hand.length} turned over by hand. ` : "";
    return `Strategy ${strategyName(state.strategy)}${amount ? `, ${amount}` : ""}: `
      + `${whole(counts.hidden)} of ${whole(of)} tokens of ${field.label} hidden, ${percent(counts.hidden / of)}; `
      + `of all fields ${percent(all / offsets.total)}. ${byHand}${largeWords(counts, namesOf(field))}`;
  }
  const hooks = {
    mask: () => [...shown().mask], counts: () => countsOf(shown().mask), kinds: () => shown().kinds && [...shown().kinds],
    kindCounts: () => kindCounts(shown()), view: () => ({ ...view }),
  };
  return { nodes, draw, words, hooks };
}

const render = explorer({ kind: "masking", label: "Masking explorer", build: buildMasking });
export default { render };
