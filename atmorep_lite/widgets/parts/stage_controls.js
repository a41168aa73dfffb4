// The side of the stage: what is asked, where one paints, how large the errors are.
import { plain } from "./colour.js";
import { choice, element, list } from "./controls.js";
import { errorChart } from "./stage_chart.js";

export const TASKS = [
  { value: "forecast", label: "Forecast" }, { value: "interpolate", label: "Interpolate" }, { value: "fill", label: "Fill" },
];
const SCOPES = {
  levels: [{ value: "this", label: "this level" }, { value: "all", label: "all levels" }],
  hours: [{ value: "this", label: "this time" }, { value: "all", label: "all times" }],
  fields: [{ value: "this", label: "this field" }, { value: "all", label: "all fields" }],
};
// What the drop-down list hides, as a stroke; `here` has name, level, fields.
const HIDE = {
  half: { label: "half of the tokens, at random", stroke: () => ({ part: 0.5 }) },
  most: { label: "nine of ten tokens", stroke: () => ({ part: 0.9 }) },
  field: { label: "this field, everywhere", stroke: ({ name }) => ({ fields: [name] }) },
  level: { label: "this level of all fields", stroke: ({ level }) => ({ levels: [level] }) },
  others: { label: "all other fields", stroke: ({ name, fields }) => ({ fields: fields.filter((one) => one !== name) }) },
};

export const hourText = (hour) => `${hour > 0 ? "+" : ""}${plain(hour)} h`;
// A slider over a list with a label that tells the choice; `describe(value)` gives { label, long }.
function slideControl(label, describe, onChoose) {
  const made = { values: [] };
  const input = element("input", {
    type: "range", class: "arl-range", min: 0, step: 1, "aria-label": label,
    oninput: () => onChoose(made.values[Number(input.value)]),
  });
  const output = element("span", { class: "arl-stage-told" });
  const head = element("div", { class: "arl-stage-line" }, element("span", { class: "arl-label", text: label }), output);
  const node = element("div", { class: "arl-control arl-stage-slide" }, head, input);
  return {
    node, head, input,
    update(values, value) {
      made.values = values;
      input.max = String(values.length - 1);
      const index = Math.max(0, values.indexOf(value));
      input.value = String(index);
      const { label: text, long } = describe(values[index], index);
      output.textContent = text;
      input.setAttribute("aria-valuetext", long || text);
    },
  };
}

// `page` has meta, state, choose(changes), answer() (what is shown), play(), playing(), openSetup().
export function buildSide(page) {
  const { state, choose } = page;
  const task = choice("Task", (value) => choose({ task: value, hide: value === "fill" ? [{ part: 0.5 }] : [] }));
  const field = list("Field", [], (value) => choose({ field: value }));
  const level = choice("Level, hPa", (value) => choose({ level: value }));
  const member = choice("Members", (value) => choose({ member: value }));
  const hours = slideControl("Time", (hour, step) => {
    const valid = page.answer().valid?.[step] || "";
    return { label: `${hourText(hour)} · ${valid}`, long: `${hourText(hour)}, ${valid}` };
  }, (value) => choose({ hours: value }));
  const play = element("button", { class: "arl-action arl-stage-play", type: "button", onclick: page.play });
  hours.node.append(element("div", { class: "arl-stage-run" }, hours.input, play));

  const scopes = Object.keys(SCOPES).map((name) => [
    name, choice(name, (value) => choose({ brush: { ...state.brush, [name]: value } }))]);
  const more = element("select", {
    class: "arl-select", "aria-label": "Hide more",
    onchange: () => {
      const here = { name: state.field, level: state.level, fields: page.answer().fields.map((one) => one.value) };
      const stroke = HIDE[more.value].stroke(here);
      more.value = "";
      choose({ hide: [...state.hide, stroke] });
    },
  }, element("option", { value: "", text: "Hide …", disabled: "", selected: "" }),
  ...Object.entries(HIDE).map(([value, { label }]) => element("option", { value, text: label })));
  const undo = element("button", { class: "arl-action", type: "button", text: "Undo", onclick: () => choose({ hide: state.hide.slice(0, -1) }) });
  const clear = element("button", { class: "arl-action", type: "button", text: "Clear", onclick: () => choose({ hide: [] }) });
  const paint = element("div", { class: "arl-control arl-stage-paint" },
    element("span", { class: "arl-label", text: "Paint on a map: hide tokens, show them again" }),
    element("div", { class: "arl-stage-scopes" }, ...scopes.map(([, control]) => control.node)),
    element("div", { class: "arl-stage-line" }, more, undo, clear));
  const chart = errorChart();
  const node = element("div", { class: "arl-stage-side" }, task.node,
    element("div", { class: "arl-stage-line" }, field.node, level.node), hours.node, paint, member.node, chart.node);

  let fields = "";
  return {
    node, chart,
    refresh(look) {
      const answer = page.answer();
      task.update(TASKS, state.task);
      if (JSON.stringify(answer.fields) !== fields) {
        fields = JSON.stringify(answer.fields);
        field.node.querySelector("select").replaceChildren(
          ...answer.fields.map(({ value, label }) => element("option", { value, text: label })));
      }
      field.update(state.field);
      level.update(answer.level.map((value) => ({ value, label: value === 0 ? "surface" : String(value) })), state.level);
      hours.update(answer.hours, state.hours);
      play.textContent = page.playing() ? "❚❚" : "▶";
      play.setAttribute("aria-label", page.playing() ? "Pause" : "Play the hours");
      member.node.hidden = answer.members < 2;
      const members = Array.from({ length: answer.members }, (_, m) => ({ value: m + 1, label: String(m + 1), long: `member ${m + 1}` }));
      member.update([{ value: "mean", label: "mean" }, ...members], state.member);
      for (const [name, control] of scopes) control.update(SCOPES[name], state.brush[name]);
      undo.disabled = clear.disabled = state.hide.length === 0;
      chart.refresh(answer, state, look);
    },
  };
}
