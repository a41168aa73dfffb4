// The head of the stage: the scene's title and sentence, and what steps through the scenes.
import { element } from "./controls.js";

// Four corners, drawn: not every font has the sign.
function corners() {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  for (const [name, value] of [["viewBox", "0 0 16 16"], ["class", "arl-stage-icon"], ["aria-hidden", "true"]]) drawing.setAttribute(name, value);
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", "M1 6V1h5M10 1h5v5M15 10v5h-5M6 15H1v-5");
  drawing.append(path);
  return drawing;
}

export function stageHead(page) {
  const { meta, state, choose } = page;
  const number = element("span", { class: "arl-stage-number" });
  const title = element("p", { class: "arl-stage-title", role: "heading", "aria-level": "2" });
  const text = element("p", { class: "arl-stage-text" });
  const button = (words, label, act) => element("button", { class: "arl-action", type: "button", text: words, "aria-label": label, title: label, onclick: act });
  const before = button("◀", "The scene before", () => page.scene(state.scene - 1));
  const after = button("▶", "The next scene", () => page.scene(state.scene + 1));
  const maps = button("Maps", "Show the maps", () => choose({ view: "maps" }));
  const attention = button("Attention", "Show what the model attends to", () => choose({ view: "attention" }));
  const setup = button("Set up …", "Choose data, time, model and place", () => page.toggleSetup());
  const full = button("", "Full screen", page.fullscreen);
  full.append(corners());
  const busy = element("span", { class: "arl-stage-busy", "aria-hidden": "true" });
  const view = element("div", { class: "arl-stage-views", role: "group", "aria-label": "View" }, maps, attention);
  const node = element("div", { class: "arl-stage-head" },
    element("div", { class: "arl-stage-words" }, element("div", { class: "arl-stage-top" }, number, title, busy), text),
    element("div", { class: "arl-stage-tools" }, view, setup, full, element("span", { class: "arl-stage-steps" }, before, after)));
  return {
    node,
    refresh() {
      const shown = page.answer().stands?.scene ?? state.scene; // the words belong to the picture
      const scene = meta.scenes[shown];
      number.textContent = `${shown + 1}/${meta.scenes.length}`;
      title.textContent = scene.name;
      const simulated = page.answer().simulated ? " Simulated atmosphere." : "";
      text.textContent = `${scene.text}${simulated}`;
      before.disabled = state.scene === 0;
      after.disabled = state.scene === meta.scenes.length - 1;
      maps.setAttribute("aria-pressed", String(state.view === "maps"));
      attention.setAttribute("aria-pressed", String(state.view === "attention"));
    },
  };
}
