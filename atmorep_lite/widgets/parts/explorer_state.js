// What is chosen in the explorer, and what follows from a choice. A panel is { field, time }: a map of one field, at
// the time of that index, or at the chosen time of all maps where `time` is null.
import { nearest } from "./places.js";
import { ravel, unravel } from "./softmax.js";

const distinct = (values) => [...new Set(values)].sort((a, b) => a - b);
const within = (index, count) => Math.min(Math.max(index, 0), count - 1);
const around = (index, count) => ((index % count) + count) % count;

export function explorerState(meta, model, changed) {
  const fields = new Map(meta.fields.map((field) => [field.name, field]));
  const state = { ...model.get("selected") };
  const view = { preview: null, locked: false, cursor: null };
  const byTime = meta.panels === "times";

  const queryField = () => fields.get(state.query_field);
  const activeQuery = () => (view.preview === null ? state.query : view.preview);
  const keyFields = () => (byTime ? [fields.get(state.key_field)] : meta.fields);
  const headOf = (field) => (field.name === state.query_field ? state.head : state.coupling_head);

  function slotOf({ field, time }) {
    return { level: nearest(field.level, state.key_level), time: time ?? nearest(field.hours, state.key_hours) };
  }
  function headsOf(own) {
    const shown = keyFields();
    const mine = meta.pairs.filter((p) => p.query === state.query_field && (p.key === p.query) === own
      && shown.some((field) => field.name === p.key));
    return distinct(mine.flatMap((pair) => pair.heads));
  }
  function choose(changes, { lock = view.locked } = {}) {
    const followed = byTime && state.key_field === state.query_field;
    Object.assign(state, changes);
    if (followed && !("key_field" in changes)) state.key_field = state.query_field;
    view.preview = null;
    view.locked = lock;
    model.set("selected", { ...state });
    model.save_changes();
    changed(true);
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
  function chooseField(name) {
    const field = fields.get(name);
    const from = queryField();
    const at = unravel(from, state.query);
    const row = nearest(field.latitude, from.latitude[at.row]);
    const column = nearest(field.longitude, from.longitude[at.column]);
    choose({ query_field: name, query: tokenLike(field, { row, column }) });
  }
  // What a panel's title or Enter chooses: its field, or its time.
  function choosePanel({ field, time }) {
    if (!byTime || field.name !== state.query_field) chooseField(field.name);
    else moveQuery({ time });
  }
  function moveQuery(changes) {
    const field = queryField();
    const at = { ...unravel(field, state.query), ...changes };
    const [levels, times, rows, columns] = field.shape;
    const [rowEnd, columnEnd] = field.period ? [around, around] : [within, within];
    choose({ query: ravel(field, {
      level: within(at.level, levels), time: within(at.time, times),
      row: rowEnd(at.row, rows), column: columnEnd(at.column, columns),
    }) }, { lock: true });
  }
  function fromPython() {
    const wanted = model.get("selected");
    if (JSON.stringify(wanted) === JSON.stringify(state)) return;
    Object.assign(state, wanted);
    view.preview = null;
    changed(true);
  }
  return {
    meta, state, view, byTime, queryField, activeQuery, keyFields, headOf, headsOf, slotOf, tokenUnder, choose,
    chooseField, choosePanel, moveQuery, fromPython,
  };
}

// What a key on a panel's map does, or undefined.
export function keyAction(choices, panel, event) {
  const { state, view, meta, moveQuery, choose, choosePanel } = choices;
  const field = choices.queryField();
  const at = unravel(field, state.query);
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
    Enter: () => choosePanel(panel),
    Escape: () => { view.locked = false; view.preview = null; view.cursor = null; choose({}); },
  })[event.key];
}
