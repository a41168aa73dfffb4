// Field by field: the size of what arrives, for the chosen layer or summed over all.
import { PALETTES, colourAt, css, inkOn } from "./colour.js";
import { choice, element } from "./controls.js";
import { headName, note, openHead, section } from "./evidence_parts.js";

// Given are layers, words, and values [layer][query field][key field], null where there is no such pair.
export function buildSwitchboard({ layers, values, title: named, note: explained }, choices) {
  const { meta, state, view, queryField } = choices;
  const { fields } = meta;
  const seen = { together: false };
  const sums = choice("What arrives in", (together) => { seen.together = together; refresh(seen); });
  const told = note("", "arl-ev-told");
  const most = Math.max(1e-12, ...values.flat(2));
  const cells = fields.flatMap((from, i) => fields.map((to, j) => {
    const number = element("b");
    const ticks = layers.map((_, n) => element("i", { style: `height:${8 + (92 * (values[n][i][j] ?? 0)) / most}%` }));
    const open = () => openHead(choices, { query: from.name, key: to.name, layer: state.layer });
    const button = element("button", { type: "button", onclick: open }, number, element("span", { "aria-hidden": "true" }, ...ticks));
    const size = () => {
      const all = values.map((layer) => layer[i][j]);
      return seen.together ? all.reduce((a, b) => a + b) : all[layers.indexOf(state.layer)];
    };
    return { from, to, number, ticks, button, size, coupled: values[0][i][j] !== null };
  }));
  const row = (from, first, rest) => element("tr", { "data-arl-row": from?.name }, first, ...rest);
  const table = element("table", { class: "arl-ev-board" },
    element("thead", {}, row(null, element("td", { text: "reads \u2193 from \u2192" }), fields.map((to) => element("th", { scope: "col" }, element("span", { text: to.label }))))),
    element("tbody", {}, ...fields.map((from) => row(from, element("th", { scope: "row", text: from.label }),
      cells.filter((cell) => cell.from === from).map(({ coupled, button }) => element("td", {}, coupled ? button : element("span", { text: "\u2013", title: "not coupled" })))))));
  const node = section("flow", named, ...(layers.length > 1 ? [sums.node] : []),
    element("div", { class: "arl-ev-scroll" }, table), told, note(explained));

  function refresh({ scheme }) {
    seen.scheme = scheme;
    sums.update([{ value: false, label: `layer ${state.layer}` }, { value: true, label: `all ${layers.length} layers` }], seen.together);
    const top = Math.max(1e-12, ...cells.map((cell) => cell.size()));
    for (const { from, to, number, ticks, button, size, coupled } of cells.filter((cell) => cell.coupled)) {
      const colour = colourAt(PALETTES.attention[scheme], 0.06 + (0.8 * size()) / top);
      button.style.background = css(colour);
      button.style.color = inkOn(colour);
      number.textContent = size().toFixed(2);
      ticks.forEach((tick, n) => { tick.dataset.arlOn = seen.together || layers[n] === state.layer; });
      button.setAttribute("aria-label", `${headName(meta, { query: from.name, key: to.name })}: ${number.textContent}`);
      button.setAttribute("aria-pressed", from === queryField() && to.name === view.marked);
    }
    table.querySelectorAll("tbody tr").forEach((one) => { one.dataset.arlQuery = one.dataset.arlRow === queryField().name; });
    told.textContent = words();
  }
  // "In layer 2 most arrives at temperature from itself (0.41), then from vorticity (0.12)."
  function words() {
    const [first, second] = cells.filter(({ from, coupled }) => coupled && from === queryField()).sort((a, b) => b.size() - a.size())
      .map(({ from, to, size }) => `from ${to === from ? "itself" : to.label} (${size().toFixed(2)})`);
    return first ? `${seen.together ? "Over all layers" : `In layer ${state.layer}`} most arrives at ${queryField().label} ${first}${second ? `, then ${second}` : ""}.` : "";
  }
  return { node, refresh, words };
}
