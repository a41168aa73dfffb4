// The controls of the attention explorer: { node, pins, refresh() }.
import { choice, element, list, powerSlider } from "./controls.js";
import { buildPins } from "./explorer_pins.js";
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
  const { allowed } = meta;
  const views = allowed.view.map((value) => ({ value, label: value === "contours" ? "+ contours" : value }));
  const others = valued(allowed.compare, (name) => name);
  const onOff = [{ value: false, label: "off" }, { value: true, label: "on" }];
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
    compare: list("Compare with", others, (compare) => choose({ compare })),
    by: choice("Comparison", (by) => choose({ by })),
    arrows: choice(one.plane ? "Velocity arrows" : "Wind arrows", (arrows) => choose({ arrows })),
    upstream: choice("Upstream", (upstream) => choose({ upstream })),
  };
  const pins = buildPins(choices);
  const node = element("div", { class: "arl-controls", role: "group", "aria-label": "Controls" },
    ...[made.field, made.level, made.time].map((control) => control.node), ...pins.nodes,
    ...Object.values(made).slice(3).map((control) => control.node));

  // A control with nothing to choose is not shown.
  function fill(control, options, value, least = 2) {
    control.update(options, value);
    control.node.hidden = options.length < least;
  }
  function refresh() {
    const field = choices.queryField();
    const ratio = state.compare !== "nothing" && state.by === "ratio" && state.show !== "A minus B";
    const isValues = choices.showsValues();
    const at = unravel(field, choices.activeQuery());
    const [levels, hours] = ["level", "hours"].map((axis) => unique(meta.fields.flatMap((f) => f[axis])));
    const level = (value) => levelText(one, value);
    const time = (value) => timeText(one, value);
    made.field.update(field.name);
    made.keyField.update(state.key_field);
    made.field.node.hidden = names.length < 2;
    made.keyField.node.hidden = names.length < 2 || !byTime;
    fill(made.level, numbered(field.level, level), at.level);
    fill(made.time, numbered(field.hours, time), at.time);
    fill(made.keyLevel, valued(levels, level), levels[nearest(levels, state.key_level)]);
    fill(made.keyTime, valued(hours, time), hours[nearest(hours, state.key_hours)], byTime ? Infinity : 2);
    fill(made.layer, named("layer", meta.layers), state.layer, 1);
    const [own, coupled] = [choices.headsOf(true), choices.headsOf(false)];
    fill(made.head, headOptions(own), state.head, 3);
    fill(made.coupling, headOptions(coupled), state.coupling_head, 3);
    pins.refresh();
    made.temperature.update(state.temperature);
    fill(made.view, views, state.view);
    fill(made.scale, [{ value: "linear", label: "linear" }, { value: "root", label: "√", long: "square root" }],
      state.scale, isValues || ratio ? Infinity : 2);
    made.compare.update(state.compare);
    made.compare.node.hidden = isValues || state.show === "A minus B";
    fill(made.by, [{ value: "minus", label: "minus" }, { value: "ratio", label: "ratio" }], state.by,
      made.compare.node.hidden || state.compare === "nothing" ? Infinity : 2);
    fill(made.arrows, onOff, state.arrows, meta.wind ? 2 : Infinity);
    fill(made.upstream, onOff, state.upstream, meta.wind ? 2 : Infinity);
  }
  return { node, pins, refresh };
}
