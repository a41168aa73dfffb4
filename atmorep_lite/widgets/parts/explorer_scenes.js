// Scenes: named views that a lecturer steps through: { nodes, refresh(), step(by) }.
import { element } from "./controls.js";
import { differing } from "./explorer_fitting.js";
import { actionButton } from "./explorer_tools.js";

export function buildScenes(choices, scenes) {
  const { state, choose } = choices;
  if (!scenes.length) return { nodes: [], refresh() {}, step: () => false };
  const same = (selected) => !Object.keys(differing(selected, state)).length;
  let current = Math.max(0, scenes.findIndex(({ selected }) => same(selected)));
  const show = (index) => {
    current = Math.min(Math.max(index, 0), scenes.length - 1);
    choose(structuredClone(scenes[current].selected), { lock: true });
  };
  const button = (text, label, by) => actionButton(text, label, () => show(current + by));
  const [back, on] = [button("‹", "Scene before", -1), button("›", "Next scene", 1)];
  const list = element("select", { class: "arl-select", "aria-label": "Scene", onchange: () => show(Number(list.value)) },
    ...scenes.map(({ name }, i) => element("option", { value: String(i), text: `${i + 1} · ${name}` })));
  const text = element("p", { class: "arl-scene-text" });
  const again = button("back to the scene", null, 0);
  const node = element("div", { class: "arl-scenes", role: "group", "aria-label": "Scenes" }, back, list, on, again, text);
  return {
    nodes: [node],
    refresh() {
      list.value = String(current);
      back.disabled = current === 0;
      on.disabled = current === scenes.length - 1;
      again.hidden = same(scenes[current].selected);
      if (text.textContent !== scenes[current].text) text.textContent = scenes[current].text;
      text.hidden = !scenes[current].text;
    },
    step(by) {
      show(current + by);
      return true;
    },
  };
}
