// TokenExplorer: a field on its map, cut into tokens whose size the reader chooses.
import { percent, plain, withUnits } from "./parts/colour.js";
import { choice, element } from "./parts/controls.js";
import { explorer } from "./parts/frame.js";
import { tokenAt } from "./parts/geography.js";
import { whole } from "./parts/line_chart.js";
import { nearest, placeText } from "./parts/places.js";
import { buildCompare, buildRuler } from "./parts/token_panels.js";
import { buildInside, toldOf, toldRows } from "./parts/token_inside.js";
import { drawTokenMap, orderColours, tokenColours, tokenGeometry, tokenInks } from "./parts/token_map.js";
import { buildNumbers, countText, degreesText, exactly, hoursText, levelName } from "./parts/token_numbers.js";
import { buildSequence } from "./parts/token_sequence.js";
import { everySize, readCube, sizeOf, tokenCells, tokenCounts } from "./parts/token_sizes.js";
import { buildTradeoff, sizeName } from "./parts/token_tradeoff.js";
import { buildTwoSizes, twoSizes } from "./parts/token_two_sizes.js";

const MOST_AT_ONCE = 15; // milliseconds a frame for weighing sizes
const TOKEN_SIZES = ["token_time", "token_latitude", "token_longitude"];
const DEPARTURES = "departures from the record's mean at each point";
const TOKEN_KINDS = [{ value: "values", label: "as they are" }, { value: "departures", label: "departures", long: DEPARTURES }];
const TOKEN_VIEWS = [
  { value: "values", label: "values" }, { value: "means", label: "means", long: "each token filled with its mean" },
  { value: "lost", label: "lost", long: "what the means leave out" }, { value: "order", label: "order", long: "the order of the sequence" },
];

function build({ meta, data, state, choose, redraw, root }) {
  const points = [meta.hours.length, meta.latitude.length, meta.longitude.length];
  const hours = meta.hours.length > 1 ? (meta.hours[meta.hours.length - 1] - meta.hours[0]) / (meta.hours.length - 1) : 1;
  const geometry = tokenGeometry(meta, data);
  const cubes = new Map();
  const kept = { all: [], rest: null, drawn: "" };
  let cursor = null;

  // ---- what is shown, as numbers

  const fieldNow = () => meta.fields.find((field) => field.name === state.field);
  const levelNow = () => fieldNow().level.indexOf(state.level);
  const sizeNow = () => TOKEN_SIZES.map((name) => state[name]);
  const placeNow = (size = sizeNow()) => [levelNow(), ...["step", "row", "column"].map((name, i) => Math.floor(state[name] / size[i]))];
  function cubeOf(level) {
    const key = `${state.field} ${level} ${state.kind}`;
    if (!cubes.has(key)) cubes.set(key, readCube(meta, data, fieldNow(), level, state.kind));
    return cubes.get(key);
  }
  function numbers(size = sizeNow()) {
    return { ...tokenCounts(fieldNow(), points, size), survives: sizeOf(cubeOf(levelNow()), size).survives, size };
  }
  const twoNow = () => twoSizes(cubeOf(levelNow()), fieldNow().level.length, sizeNow(), state);
  function token(size = sizeNow()) {
    const place = placeNow(size);
    const { grid } = tokenCounts(fieldNow(), points, size);
    const values = [];
    const cube = cubeOf(place[0]);
    for (let t = 0; t < size[0]; t += 1) {
      for (let y = 0; y < size[1]; y += 1) {
        const at = ((place[1] * size[0] + t) * points[1] + place[2] * size[1] + y) * points[2] + place[3] * size[2];
        for (let x = 0; x < size[2]; x += 1) values.push(cube.values[at + x]);
      }
    }
    return { index: place.reduce((at, n, i) => at * grid[i] + n, 0), place, values, told: toldOf(meta, fieldNow(), size, place) };
  }
  const stepOf = (colours) => 10 ** Math.floor(Math.log10((colours.high - colours.low) / 80));

  // ---- controls

  const chooseSize = (size) => choose(Object.fromEntries(TOKEN_SIZES.map((name, i) => [name, size[i]])));
  const controls = {
    field: choice("Field", (name) => {
      const { level } = meta.fields.find((field) => field.name === name);
      choose({ field: name, level: level[nearest(level, state.level)] });
    }),
    level: choice("Level", (level) => choose({ level })),
    kind: choice("Values", (kind) => choose({ kind }), { hint: "as they are, or minus the record's mean at each point and level" }),
    view: choice("Show", (view) => choose({ view })),
  };
  const sizes = TOKEN_SIZES.map((name, i) => choice(["Times", "Latitudes", "Longitudes"][i], (value) => choose({ [name]: value }),
    { hint: "grid points in a token", most: 8 }));
  const spans = [(n) => hoursText(n * hours), (n) => degreesText(n * meta.spacing[0]), (n) => degreesText(n * meta.spacing[1])];
  function updateControls() {
    const plainly = (values, name) => values.map((value) => ({ value, label: name(value) }));
    controls.field.update(meta.fields.map(({ name, label }) => ({ value: name, label })), state.field);
    controls.level.update(plainly(fieldNow().level, levelName), state.level);
    controls.kind.update(TOKEN_KINDS, state.kind);
    controls.view.update(TOKEN_VIEWS, state.view);
    TOKEN_SIZES.forEach((name, i) => sizes[i].update(meta.sizes[name].map((value) => ({
      value, label: String(value), long: `${value} ${value === 1 ? "point" : "points"}: ${spans[i](value)}`,
    })), state[name]));
  }

  // ---- the parts of the page

  const [title, when] = [element("span", { class: "arl-token-title" }), element("span", { class: "arl-note" })];
  const canvas = element("canvas", { class: "arl-canvas" });
  const tip = element("div", { class: "arl-token-tip", hidden: "" });
  const map = element("div", { class: "arl-token-map", tabindex: "0", role: "img" }, canvas, tip);
  const ruler = buildRuler(meta, (step) => choose({ step }));
  const number = buildNumbers();
  const tradeoff = buildTradeoff(chooseSize);
  const inside = buildInside();
  const [insideTitle, insideNote] = [element("h4", { class: "arl-token-head" }), element("p", { class: "arl-note" })];
  const sequence = buildSequence((index) => choose(placeOf(index)));
  const compare = buildCompare(meta, chooseSize);
  const both = buildTwoSizes(meta);
  compare.node.append(both.node);
  const section = (kind, head, ...nodes) => element("section", { class: `arl-token-${kind}` },
    typeof head === "string" ? element("h4", { class: "arl-token-head", text: head }) : head, ...nodes);
  const keys = (...names) => names.map((name) => element("kbd", { text: name }));
  const columns = {
    map: element("div", { class: "arl-token-left" }, element("p", { class: "arl-token-line" }, title, when), map, ruler.node),
    side: element("div", { class: "arl-token-right" },
      section("size", "Points in a token", element("div", { class: "arl-token-sizes" }, ...sizes.map((one) => one.node))), number.node),
    plot: section("plots", "What every size costs and keeps", tradeoff.node),
    inside: section("within", insideTitle, insideNote, inside.node),
    sequence: section("row", "The sequence that enters the network", element("p", {
      class: "arl-note",
      text: "One cell a token, filled with its mean; a line for each level and time slot, north to south, each row from west to east.",
    }), sequence.node),
    compare: section("sizes-beside", "The same time as token means, in several sizes; with two at once, small tokens lie around the chosen one",
      compare.node),
  };
  const nodes = [
    element("div", { class: "arl-controls", role: "group", "aria-label": "Controls" }, ...Object.values(controls).map((one) => one.node)),
    element("div", { class: "arl-token-grid" }, ...Object.values(columns)),
    element("p", { class: "arl-help" }, "Click or tap a token on the map or in the sequence, a dot for its size. Keys on the map: ",
      ...keys("←", "↑", "↓", "→"), " next token; ", ...keys(",", "."), " earlier or later slot; ", ...keys("[", "]"), " other level."),
  ];

  // ---- pointer and keys

  const pointOf = ([, time, row, column]) => { // a grid point of a token: the one that the map shows
    const size = sizeNow();
    const inSlot = state.step % size[0];
    return { step: time * size[0] + inSlot, row: row * size[1], column: column * size[2] };
  };
  function placeOf(index) {
    const { grid } = tokenCounts(fieldNow(), points, sizeNow());
    const place = [0, 0, 0, 0];
    for (let i = 3, rest = index; i >= 0; i -= 1) {
      place[i] = rest % grid[i];
      rest = Math.floor(rest / grid[i]);
    }
    return { level: fieldNow().level[place[0]], ...pointOf(place) };
  }
  function under(event) {
    const box = canvas.getBoundingClientRect();
    const { project } = geometry(map.clientWidth);
    const [lat, lon] = [project.lat(event.clientY - box.top), project.lon(event.clientX - box.left)];
    const place = tokenAt(tokenCells(meta, sizeNow()), lat, lon);
    return place && { ...place, lat, lon };
  }
  function chooseUnder(event) {
    const place = under(event);
    if (place) choose(pointOf([0, placeNow()[1], place.row, place.column]));
  }
  map.addEventListener("click", chooseUnder);
  map.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return;
    cursor = under(event);
    if (event.buttons) chooseUnder(event);
    redraw();
  });
  map.addEventListener("pointerleave", () => { cursor = null; redraw(); });
  map.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1], ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0], ",": [-1, 0, 0], ".": [1, 0, 0] };
    const step = { "[": -1, "]": 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || (!moves[event.key] && !step)) return;
    event.preventDefault();
    const { level } = fieldNow();
    const within = (n, count) => Math.min(Math.max(n, 0), count - 1);
    if (step) choose({ level: level[within(levelNow() + step, level.length)] });
    else {
      const { grid } = tokenCounts(fieldNow(), points, sizeNow());
      const [l, ...place] = placeNow();
      choose(pointOf([l, ...place.map((n, i) => within(n + moves[event.key][i], grid[i + 1]))]));
    }
  });

  // ---- drawing

  function drawMap(inks, { font, scheme }, field, level, place, means) {
    const size = sizeNow();
    const { grid } = tokenCounts(field, points, size);
    const per = grid[2] * grid[3];
    const cube = cubeOf(level);
    const slice = cube.values.subarray(state.step * points[1] * points[2], (state.step + 1) * points[1] * points[2]);
    const tokens = means.subarray(place[1] * per, (place[1] + 1) * per);
    const first = (level * grid[1] + place[1]) * per;
    const look = { values: slice, tokens: null, first: null, colours: tokenColours(field, level, state.kind, scheme) };
    if (state.view === "means") look.tokens = tokens;
    if (state.view === "order") {
      Object.assign(look, { tokens: Array.from({ length: per }, (_, i) => first + i), first, colours: orderColours(first, per) });
    }
    if (state.view === "lost") {
      const tokenOf = (i) => Math.floor(Math.floor(i / points[2]) / size[1]) * grid[3] + Math.floor((i % points[2]) / size[2]);
      look.values = slice.map((value, i) => value - tokens[tokenOf(i)]);
      const most = look.values.reduce((least, value) => (Math.abs(value) > least ? Math.abs(value) : least), 1e-12);
      look.colours = tokenColours(field, level, state.kind, scheme, most);
    }
    const cells = tokenCells(meta, size);
    const shape = geometry(map.clientWidth);
    drawTokenMap(canvas, { meta, geometry: shape, cells, inks, font, chosen: { row: place[2], column: place[3] }, cursor, ...look });
    showTip(shape, field, slice, first, grid);
  }
  function showTip({ project, layout }, field, slice, first, grid) {
    tip.hidden = !cursor;
    if (!cursor) return;
    const value = slice[nearest(meta.latitude, cursor.lat) * points[2] + nearest(meta.longitude, cursor.lon)];
    const step = stepOf(tokenColours(field, levelNow(), state.kind, "light"));
    const number = Number.isFinite(value) ? withUnits(plain(value, step), field.units) : "no value";
    tip.textContent = `${number} · token ${first + cursor.row * grid[3] + cursor.column} · ${placeText({}, cursor.lat, cursor.lon)}`;
    const half = tip.offsetWidth / 2;
    tip.style.left = `${Math.min(Math.max(project.x(cursor.lon) - half, 0), map.clientWidth - 2 * half)}px`;
    const above = project.y(cursor.lat) - 40;
    tip.style.top = `${above > layout.top ? above : project.y(cursor.lat) + 24}px`;
  }
  function drawTradeoff(scheme, width) {
    const of = `${state.field} ${state.level} ${state.kind}`;
    if (kept.of !== of) Object.assign(kept, { of, all: [], rest: everySize(cubeOf(levelNow()), meta.sizes, fieldNow().level.length) });
    const until = performance.now() + MOST_AT_ONCE;
    while (kept.rest && performance.now() < until) {
      const { value, done } = kept.rest.next();
      if (done) kept.rest = null;
      else kept.all.push(value);
    }
    if (kept.rest) redraw(); // large pieces: the rest in the next frames
    const now = JSON.stringify([of, kept.all.length, sizeNow(), scheme, width]);
    if (kept.drawn !== now) {
      const fewest = fieldNow().level.length; // one token a level
      const most = fewest * points[0] * points[1] * points[2];
      kept.best = tradeoff.draw({ all: kept.all, fewest, most, size: sizeNow(), times: meta.sizes.token_time, scheme }).best;
    }
    kept.drawn = now;
  }
  function draw(look) {
    updateControls();
    const [field, level, size, inks] = [fieldNow(), levelNow(), sizeNow(), tokenInks(look.ink)];
    const place = placeNow();
    const now = numbers();
    const { means } = sizeOf(cubeOf(level), size);
    const kind = state.kind === "departures" ? ", departures" : "";
    title.textContent = `${field.label}, ${levelName(state.level)}${kind}`;
    when.textContent = `${meta.times[state.step]} UTC${meta.simulated ? ", simulated" : ""}`;
    drawMap(inks, look, field, level, place, means);
    ruler.update(state.step, size[0], map.clientWidth);
    number.update({ ...now, hours, spacing: meta.spacing, level: state.level });
    drawTradeoff(look.scheme, columns.plot.clientWidth);
    const { index, values, told } = token();
    const colours = tokenColours(field, level, state.kind, look.scheme);
    insideTitle.textContent = `Inside token ${whole(index)}`;
    const mean = means[(place[1] * now.grid[2] + place[2]) * now.grid[3] + place[3]];
    insideNote.textContent = `Mean ${withUnits(plain(mean, stepOf(colours)), field.units)}; counted from 0, of ${whole(now.tokens)}.`;
    inside.draw({
      size, values, colours, inks, font: look.font, units: field.units, step: stepOf(colours), told: toldRows(told),
      times: Array.from({ length: size[0] }, (_, t) => `${exactly(meta.hours[place[1] * size[0] + t])} h`), width: columns.inside.clientWidth,
    });
    sequence.draw({
      grid: now.grid, means: field.level.map((_, l) => (l === level ? means : sizeOf(cubeOf(l), size).means)), chosen: index, inks, font: look.font,
      colours: field.level.map((_, l) => tokenColours(field, l, state.kind, look.scheme)), width: columns.sequence.clientWidth,
      labels: { level: (l) => levelName(field.level[l]), slot: (slot) => `${exactly(meta.hours[(slot + 1) * size[0] - 1])} h` },
    });
    compare.draw({ cube: cubeOf(level), step: state.step, size, colours, inks, data, numbers });
    both.draw({ cube: cubeOf(level), step: state.step, size, found: twoNow(), colours, inks, data });
    map.setAttribute("aria-label", words());
  }
  function words() {
    const now = numbers();
    const { index, values } = token();
    const seen = values.filter(Number.isFinite);
    const step = stepOf(tokenColours(fieldNow(), levelNow(), state.kind, "light"));
    const mean = seen.length ? withUnits(plain(seen.reduce((a, b) => a + b, 0) / seen.length, step), fieldNow().units) : "no value";
    return `${fieldNow().label} at ${levelName(state.level)}, ${meta.times[state.step]} UTC, in tokens of ${sizeName(now.size)} points: `
      + `${whole(now.tokens)} tokens of ${whole(now.values)} values, ${countText(now.pairs)} attention pairs; token means keep `
      + `${percent(now.survives)} of the variance. Token ${index} is chosen, mean ${mean}.`;
  }
  const sheets = new ResizeObserver(redraw);
  sheets.observe(root);
  const hooks = { twoSizes: twoNow, numbers, token: () => token(), allSizes: () => kept.all, best: () => kept.best?.size };
  return { nodes, draw, words, hooks, end: () => sheets.disconnect() };
}

const render = explorer({ kind: "token", label: "Token explorer", build });
export default { render };
