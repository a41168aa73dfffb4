// The controls of the attention explorer: { node, refresh() }.
import { choice, element, list, powerSlider } from "./controls.js";
import { levelText, nearest, timeText } from "./places.js";
import { unravel } from "./softmax.js";

const unique = (values) => [...new Set(values)].sort((a, b) => a - b);
const numbered = (values, label) => values.map((value, i) => ({ value: i, label: label(value) }));
const valued = (values, label) => values.map((value) => ({ value, label: label(value) }));
const named = (kind, values) => values.map((n) => ({ value: n, label: String(n), long: `${kind} ${n}` }));
const headOptions = (numbers) => [{ value: "mean", label: "mean", long: "mean of heads" }, ...named("head", numbers)];

export function buildControls(choices) {
  const { meta, state, byTime, choose, chooseField, moveQuery } = choices;
  const [one] = meta.fields;
  const hint = one.plane ? "frames relative to the newest" : "hours relative to the newest token";
  const names = meta.fields.map((field) => ({ value: field.name, label: field.label }));
  const views = [{ value: "attention", label: "attention" }, { value: "contours", label: "+ contours" },
    { value: "field", label: "field" },
    ...(meta.reference ? [{ value: "difference", label: `minus ${meta.reference.name}` }] : [])];
  const made = {
    field: list("Query field", names, chooseField),
    level: choice("Query level", (level) => moveQuery({ level })),
    time: choice("Query time", (time) => moveQuery({ time }), { hint }),
    keyField: list("Keys of field", names, (key_field) => choose({ key_field })),
    keyLevel: choice("Keys at level", (key_level) => choose({ key_level })),
    keyTime: choice("Keys at time", (key_hours) => choose({ key_hours }), { hint }),
    layer: choice("Layer", (layer) => choose({ layer })),
    head: choice("Self-attention head", (head) => choose({ head })),
    coupling: choice("Coupling head", (coupling_head) => choose({ coupling_head })),
    temperature: powerSlider("Temperature", 2, (temperature) => choose({ temperature })),
    view: choice("Maps show", (name) => choose({ view: name })),
    scale: choice("Colour scale", (scale) => choose({ scale }), { hint: "square root: weak attention shows" }),
    arrows: choice(meta.wind && one.plane ? "Velocity arrows" : "Wind arrows", (arrows) => choose({ arrows })),
  };
  const node = element("div", { class: "arl-controls", role: "group", "aria-label": "Controls" },
    ...Object.values(made).map((control) => control.node));

  // A control with nothing to choose is not shown.
  function fill(control, options, value, least = 2) {
    control.update(options, value);
    control.node.hidden = options.length < least;
  }
  function refresh() {
    const field = choices.queryField();
    const at = unravel(field, choices.activeQuery());
    const [levels, hours] = ["level", "hours"].map((axis) => unique(meta.fields.flatMap((f) => f[axis])));
    const level = (value) => levelText(one, value);
    const time = (value) => timeText(one, value);
    made.field.update(state.query_field);
    made.keyField.update(state.key_field);
    made.field.node.hidden = names.length < 2;
    made.keyField.node.hidden = names.length < 2 || !byTime;
    fill(made.level, numbered(field.level, level), at.level);
    fill(made.time, numbered(field.hours, time), at.time);
    fill(made.keyLevel, valued(levels, level), levels[nearest(levels, state.key_level)]);
    fill(made.keyTime, valued(hours, time), hours[nearest(hours, state.key_hours)], byTime ? Infinity : 2);
    fill(made.layer, named("layer", meta.layers), state.layer, 1);
    const [own, others] = [choices.headsOf(true), choices.headsOf(false)];
    fill(made.head, headOptions(own), state.head, 3);
    fill(made.coupling, headOptions(others), state.coupling_head, 3);
    made.temperature.update(state.temperature);
    fill(made.view, views, state.view);
    fill(made.scale, [{ value: "linear", label: "linear" }, { value: "root", label: "√", long: "square root" }],
      state.scale, state.view === "field" ? Infinity : 2);
    fill(made.arrows, [{ value: false, label: "off" }, { value: true, label: "on" }], state.arrows, meta.wind ? 2 : Infinity);
  }
  return { node, refresh };
}
