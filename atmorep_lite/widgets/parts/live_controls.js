// The controls above the maps of LiveVortices.
import { plain } from "./colour.js";
import { choice, element, list } from "./controls.js";
import { COMPARED } from "./live_words.js";

const labelledNumbers = (values, text) => values.map((value) => ({ value, label: text(value) }));
const RADII = labelledNumbers([0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 1.0], (v) => plain(v, 0.01));
const STRENGTHS = labelledNumbers(Array.from({ length: 49 }, (_, i) => (i - 24) / 2), (v) => `${v > 0 ? "+" : ""}${plain(v, 0.1)}`);
const TOOLS = [
  { value: "move", label: "move", long: "move vortices" },
  { value: "paint", label: "paint", long: "paint vorticity" },
  { value: "hide", label: "hide", long: "hide tokens" },
];
const closest = (known, value) =>
  known.reduce((best, { value: v }) => (Math.abs(v - value) < Math.abs(best - value) ? v : best), known[0].value);

export const pushButton = (text, act, long = text) =>
  element("button", { type: "button", class: "arl-action", "aria-label": long, text, onclick: act });

// `on` has choose(changes), shape(changes) for the chosen vortex or the brush, start(scene), play().
export function liveControls({ meta, on }) {
  const text = element("p", { class: "arl-live-text" });
  const scene = list("Scene", meta.scenes.map(({ name }) => ({ value: name, label: name })), on.start);
  const tool = choice("On the left map", (value) => on.choose({ tool: value }));
  const radius = choice("Radius", (value) => on.shape({ radius: value }));
  const strength = choice("Strength", (value) => on.shape({ strength: value }));
  const step = choice("Steps ahead", (value) => on.choose({ step: value }));
  const play = pushButton("▶ Play", () => on.play(), "Play the steps one after another");
  const reset = pushButton("Reset", () => on.start(null), "Start this scene again");
  const reveal = pushButton("Hide nothing", () => on.choose({ hidden: [], silent: [] }), "Hide no token and silence no head");
  const compare = list("Right map", Object.entries(COMPARED).map(([value, { label }]) => ({ value, label })),
    (value) => on.choose({ compare: value }));
  const bar = element("div", { class: "arl-controls", role: "group", "aria-label": "Controls" },
    scene.node, tool.node, radius.node, strength.node, step.node, element("div", { class: "arl-live-actions" }, play, reset, reveal));
  return {
    text, bar, compare: compare.node,
    // `vortex` is the chosen one, null where the sliders are the brush's.
    update(state, { vortex, playing }) {
      text.textContent = meta.scenes.find(({ name }) => name === state.scene).text;
      scene.update(state.scene);
      tool.update(TOOLS, state.tool);
      radius.update(RADII, closest(RADII, (vortex ?? state).radius));
      strength.update(STRENGTHS, closest(STRENGTHS, (vortex ?? state).strength));
      step.update(labelledNumbers(Array.from({ length: meta.steps }, (_, i) => i + 1), String), state.step);
      compare.update(state.compare);
      for (const [control, what] of [[radius, "radius"], [strength, "strength"]]) {
        control.node.querySelector("legend").textContent = `${vortex ? "Vortex" : "Brush"}: ${what}`;
        control.node.querySelector("input")?.setAttribute("aria-label", `${vortex ? "Vortex" : "Brush"}: ${what}`);
      }
      strength.node.disabled = state.tool === "hide";
      play.textContent = playing ? "❚❚ Stop" : "▶ Play";
      play.setAttribute("aria-pressed", String(Boolean(playing)));
      reveal.disabled = !state.hidden.length && !state.silent.length;
    },
  };
}
