// What is chosen in the explorer, and what follows from a choice. A panel is { field, time }: a map of one field, at
// the time of that index, or at the chosen time of all maps where `time` is null.
import { nearest } from "./places.js";
import { ravel, unravel } from "./softmax.js";

const distinct = (values) => [...new Set(values)].sort((a, b) => a - b);
const within = (index, count) => Math.min(Math.max(index, 0), count - 1);
const around = (index, count) => ((index % count) + count) % count;

// `page` as from frame.js; `changed` is called after every choice.
export function explorerState(page, changed) {
  const { meta, state } = page;
  const fields = new Map(meta.fields.map((field) => [field.name, field]));
  // preview: the token under the pointer; locked: pointing previews nothing; cursor: the place under the pointer and
  // the panel that it is on; marked: a field that another panel points at.
  const view = { preview: null, locked: false, cursor: null, marked: null };
  const byTime = meta.panels === "times";

  // The query that all maps show { query_field, query }: chosen, pinned, or under the pointer.
  function active() {
    if (state.show !== "query") return state.show === "B" ? state.pin_b : state.pin_a;
    return view.preview !== null && view.preview.query_field === state.query_field ? view.preview : state;
  }
  const queryField = () => fields.get(active().query_field);
  const activeQuery = () => active().query;
  const keyFields = () => (byTime ? [fields.get(state.key_field)] : meta.fields);
  const headFor = (asked, field) => (field.name === asked ? state.head : state.coupling_head);
  const showsValues = () => state.view === "field" || state.view === "error";
  const previews = (field) => state.show === "query" && !view.locked && field.name === state.query_field;

  function slotOf({ field, time }) {
    return { level: nearest(field.level, state.key_level), time: time ?? nearest(field.hours, state.key_hours) };
  }
  function headsOf(own) {
    const shown = keyFields();
    const asked = active().query_field;
    const mine = meta.pairs.filter((p) => p.query === asked && (p.key === p.query) === own
      && shown.some((field) => field.name === p.key));
    return distinct(mine.flatMap((pair) => pair.heads));
  }
  function choose(changes, { lock = view.locked } = {}) {
    const followed = byTime && state.key_field === state.query_field;
    const all = { ...changes };
    if (("query" in all || "query_field" in all) && !("show" in all)) all.show = "query";
    if (followed && !("key_field" in all)) all.key_field = all.query_field ?? state.query_field;
    view.preview = null;
    view.locked = lock;
    page.choose(all);
    changed();
  }
  // The token of `field` at a row and column, at the query's level and time.
  function tokenLike(field, { row, column }) {
    const from = queryField();
    const at = unravel(from, activeQuery());
    const level = nearest(field.level, from.level[at.level]);
    return ravel(field, { level, time: nearest(field.hours, from.hours[at.time]), row, column });
  }
  // The token that pointing at a panel chooses: where maps are times, the very one under the pointer.
  function tokenUnder(panel, place) {
    return byTime ? ravel(panel.field, { ...slotOf(panel), ...place }) : tokenLike(panel.field, place);
  }
  // Asks from the same place in another field; `changes` are chosen with it.
  function chooseField(name, changes = {}) {
    view.preview = null;
    const field = fields.get(name);
    const from = queryField();
    const at = unravel(from, activeQuery());
    const row = nearest(field.latitude, from.latitude[at.row]);
    const column = nearest(field.longitude, from.longitude[at.column]);
    choose({ query_field: name, query: tokenLike(field, { row, column }), ...changes });
  }
  // What a panel's title or Enter chooses: its field, or its time.
  function choosePanel({ field, time }) {
    if (!byTime || field.name !== active().query_field) chooseField(field.name);
    else moveQuery({ time });
  }
  function moveQuery(changes) {
    view.preview = null;
    const field = queryField();
    const at = { ...unravel(field, activeQuery()), ...changes };
    const [levels, times, rows, columns] = field.shape;
    const [rowEnd, columnEnd] = field.period ? [around, around] : [within, within];
    choose({ query_field: field.name, query: ravel(field, {
      level: within(at.level, levels), time: within(at.time, times),
      row: rowEnd(at.row, rows), column: columnEnd(at.column, columns),
    }) }, { lock: true });
  }
  // Keeps the query that is shown as pin "pin_a" or "pin_b"; both together are compared at once.
  function pin(name) {
    const { query_field, query } = active();
    const other = name === "pin_a" ? state.pin_b : state.pin_a;
    choose({ [name]: { query_field, query }, ...(other && state.show === "query" ? { show: "A minus B" } : {}) });
  }
  return {
    meta, state, view, byTime, active, queryField, activeQuery, keyFields, headFor, headsOf, slotOf, previews, showsValues, tokenUnder,
    choose, chooseField, choosePanel, moveQuery, pin, field: (name) => fields.get(name),
  };
}

// What a key on a panel's map does, or undefined.
export function keyAction(choices, panel, event) {
  const { state, view, meta, moveQuery, choose, choosePanel, pin } = choices;
  const field = choices.queryField();
  const at = unravel(field, choices.activeQuery());
  const up = field.level.length > 1 && field.level[0] > field.level[1] ? 1 : -1; // towards lower pressure
  const north = field.plane ? 1 : -1; // rows of a plane run up
  const step = (values, value, by) => values[within(values.indexOf(value) + by, values.length)];
  const heads = ["mean", ...choices.headsOf(true)];
  return (event.shiftKey ? {
    ArrowLeft: () => moveQuery({ time: at.time - 1 }),
    ArrowRight: () => moveQuery({ time: at.time + 1 }),
    ArrowUp: () => moveQuery({ level: at.level + up }),
    ArrowDown: () => moveQuery({ level: at.level - up }),
  } : {
    ArrowLeft: () => moveQuery({ column: at.column - 1 }),
    ArrowRight: () => moveQuery({ column: at.column + 1 }),
    ArrowUp: () => moveQuery({ row: at.row + north }),
    ArrowDown: () => moveQuery({ row: at.row - north }),
    "[": () => choose({ layer: step(meta.layers, state.layer, -1) }),
    "]": () => choose({ layer: step(meta.layers, state.layer, 1) }),
    ",": () => choose({ head: step(heads, state.head, -1) }),
    ".": () => choose({ head: step(heads, state.head, 1) }),
    a: () => pin("pin_a"),
    b: () => pin("pin_b"),
    Enter: () => choosePanel(panel),
    Escape: () => { view.cursor = null; choose({ show: "query" }, { lock: false }); },
  })[event.key];
}
