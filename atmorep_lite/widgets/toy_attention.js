// ToyAttention: one query, a few keys and values in the plane, and every step of attention between them.
import { plain } from "./parts/colour.js";
import { choice, element, powerSlider } from "./parts/controls.js";
import { explorer } from "./parts/frame.js";
import { hundredths, pointText, toyNumbers, TOY_LETTERS } from "./parts/toy_numbers.js";
import { toyPlane } from "./parts/toy_plane.js";
import { toySteps } from "./parts/toy_steps.js";

const FORMS = [
  { value: "identity", label: "identity", long: "identity: the plain dot product" },
  { value: "turn", label: "turn", long: "turn: look for what lies at an angle to the query" },
  { value: "stretch", label: "stretch", long: "stretch: one direction counts double, the other half and negatively" },
];
const VALUES = [{ value: false, label: "the keys" }, { value: true, label: "their own" }];
const DEGREES = Array.from({ length: 73 }, (_, i) => 5 * i - 180);
const degreeOption = (value) => ({ value, label: `${plain(value, Number.isInteger(value) ? 0 : 0.1)}°`, long: `${value} degrees` });

function build({ state, choose, redraw }) {
  let looked = null; // index of the key whose numbers are worked out; null: the one of the greatest weight
  const look = (j) => { looked = j; redraw(); };
  const plane = toyPlane(state, choose, look);
  const steps = toySteps(() => looked, look);
  const controls = {
    form: choice("Matrix G", (form) => choose({ form }), { hint: "the score is q · G k" }),
    angle: choice("Angle of G", (angle) => choose({ angle })),
    temperature: powerSlider("Temperature", 4, (temperature) => choose({ temperature })),
    values: choice("Values", (own) => choose({ values: own ? state.keys.map((k) => [k[1], -k[0]]) : null }),
      { hint: "what is averaged: the keys themselves, or vectors of their own" }),
  };
  const bar = element("div", { class: "arl-controls", role: "group", "aria-label": "Controls" },
    ...Object.values(controls).map((control) => control.node));
  const [sums, matrix] = ["sums", "matrix"].map((name) => element("p", { class: `arl-toy-${name}` }));
  const sample = (kind, text) => element("li", {},
    element("span", { class: `arl-toy-swatch arl-toy-swatch-${kind}`, "aria-hidden": "true" }), text);
  const legend = element("ul", { class: "arl-toy-legend" }, sample("query", "query q"), sample("sought", "Gᵀ q, what it looks for"),
    sample("drop", "a key's part along it"), sample("piece", "weight × value, end to end"), sample("output", "their sum: the average"));
  const keys = (...names) => names.map((name) => element("kbd", { text: name }));
  const help = element("p", { class: "arl-help" }, "Drag the points. Keys on a point: ", ...keys("←", "↑", "↓", "→"),
    " move it by 0.1, with ", ...keys("Shift"), " by 0.5; ", ...keys("Tab"), " goes to the next point. A click on a letter works that key out.");

  function words() {
    const { weights, output, entropy } = toyNumbers(state);
    const shares = weights.map((w, j) => `${TOY_LETTERS[j]} ${hundredths(w)}`).join(", ");
    return `Query ${pointText(state.query)}. Weights: ${shares}. Weighted average ${pointText(output)}. `
      + `Entropy ${hundredths(entropy)} of uniform.`;
  }
  function draw() {
    const result = toyNumbers(state);
    plane.update(result, words());
    steps.update(result, state.keys);
    sums.replaceChildren("their sum is the weighted average ", element("b", { text: pointText(result.output) }), ", entropy ",
      element("b", { text: hundredths(result.entropy) }), " of uniform");
    const row = (r) => r.map(hundredths).join(", ");
    matrix.replaceChildren("G = ", element("b", { text: `[${row(result.g[0])}; ${row(result.g[1])}]` }),
      ", so q looks for Gᵀ q = ", element("b", { text: pointText(result.sought) }));
    controls.form.update(FORMS, state.form);
    const degrees = DEGREES.includes(state.angle) ? DEGREES : [...DEGREES, state.angle].sort((a, b) => a - b);
    controls.angle.update(degrees.map(degreeOption), state.angle);
    controls.angle.node.disabled = state.form === "identity";
    controls.temperature.update(state.temperature);
    controls.values.update(VALUES, state.values !== null);
  }
  const parts = element("div", { class: "arl-toy-parts" }, element("div", { class: "arl-toy-left" }, plane.node, legend),
    element("div", { class: "arl-toy-side" }, matrix, steps.node, sums));
  return { nodes: [bar, parts, help], draw, words, hooks: { numbers: () => toyNumbers(state) } };
}

const render = explorer({ kind: "toy", label: "Attention in the plane", build });

export default { render };
