// What the panels below the maps share: titles, how a head is named, how it is opened in the maps.
import { element } from "./controls.js";

export const fieldInk = ({ fields }, name) => `var(--arl-${fields.findIndex((field) => field.name === name) % 7})`;
export const note = (text, kind = "arl-note") => element("p", { class: kind, text });
export const title = (text) => element("span", { class: "arl-ev-title", role: "heading", "aria-level": "4", text });
export const section = (kind, name, ...children) => element("section", { class: `arl-ev-${kind}`, "aria-label": name }, title(name), ...children);

// "temperature ← relative vorticity, layer 2, head 0"; a layer or head of -1 stands for all of them.
export function headName({ fields }, { query, key, layer, head }) {
  const [asks, read] = [query, key].map((name) => fields.find((field) => field.name === name).label);
  const which = (what, number) => (number === undefined ? "" : number < 0 ? `, all ${what}s` : `, ${what} ${number}`);
  return `${asks}${query === key ? ", self" : ` \u2190 ${read}`}${which("layer", layer)}${which("head", head)}`;
}

// A button that opens a head in the maps.
export const headLink = (choices, head) => element("button", { class: "arl-ev-link", type: "button", text: headName(choices.meta, head), onclick: () => openHead(choices, head) });

// Whether the maps show this head now; the mean of heads shows each of them.
export function isOpen({ state, queryField }, { query, key, layer, head }) {
  return query === queryField().name && layer === state.layer && [head, "mean"].includes(query === key ? state.head : state.coupling_head);
}

export function openHead({ meta, state, view, byTime, choose, chooseField }, { query, key, layer, head }) {
  const pair = meta.pairs.find((one) => one.query === query && one.key === key);
  const changes = byTime ? { key_field: key } : {};
  if (meta.layers.includes(layer)) changes.layer = layer;
  if (pair && head !== undefined) changes[query === key ? "head" : "coupling_head"] = pair.heads.includes(head) ? head : "mean";
  view.marked = key;
  if (query === state.query_field) choose(changes);
  else chooseField(query, changes);
}
