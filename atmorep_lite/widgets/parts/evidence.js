// The panels below the maps: what arrives (switchboard), what kind of heads there are (atlas), what the forecast rests
// on (evidence), what it loses without a connection. A panel without its numbers is not there.
import { minus } from "./colour.js";
import { element, list } from "./controls.js";
import { fieldInk, headLink, isOpen, note, section } from "./evidence_parts.js";
import { buildStrip } from "./evidence_strip.js";
import { buildHeadAtlas } from "./head_atlas.js";
import { buildSwitchboard } from "./switchboard.js";

const MOST_BARS = 12;

// Given are words and tables { value, label, rows }, one for each field whose forecast is scored; rows are { query, key,
// layer, head, loss, low, high }, greatest loss first: how much the error rises when a head or coupling carries nothing;
// layer and head -1 where all of them are cut.
function buildAblation({ tables, title: named, note: explained }, choices) {
  const { meta } = choices;
  const seen = { of: tables[0].value, all: false };
  const of = list("Forecast of", tables, (name) => { seen.of = name; refresh(); });
  const body = element("tbody");
  const more = element("button", { class: "arl-action", type: "button", onclick: () => { seen.all = !seen.all; refresh(); } });
  const node = section("cuts", named, ...(tables.length > 1 ? [of.node] : []),
    element("table", {}, element("thead", {}, element("tr", {}, ...["cut", "rise of the RMSE", ""].map((text) => element("td", { text })))), body),
    more, note(explained));

  function refresh() {
    const { rows } = tables.find(({ value }) => value === seen.of);
    const some = rows.slice(0, seen.all ? Infinity : MOST_BARS);
    const ends = some.flatMap(({ loss, low, high }) => [0, loss, low ?? 0, high ?? 0]);
    const [least, greatest] = [Math.min(...ends), Math.max(...ends, 1e-9)];
    const at = (v) => (100 * (v - least)) / (greatest - least);
    const bar = (kind, from, to, ink) => element("i", { class: `arl-ev-${kind}`, style: `left:${at(from)}%;width:${at(to) - at(from)}%;background:${ink}` });
    more.hidden = rows.length <= MOST_BARS;
    more.textContent = seen.all ? "Show fewer" : `Show all ${rows.length}`;
    body.replaceChildren(...some.map((row) => element("tr", { "data-arl-open": isOpen(choices, row) }, element("th", { scope: "row" }, headLink(choices, row)),
      element("td", { class: "arl-ev-loss" }, bar("fill", Math.min(0, row.loss), Math.max(0, row.loss), fieldInk(meta, row.key)), bar("range", row.low ?? row.loss, row.high ?? row.loss, "var(--arl-ink)")),
      element("td", { text: `${row.loss > 0 ? "+" : ""}${minus(String(Number((100 * row.loss).toPrecision(2))))}\u00a0%` }))));
  }
  return { node, refresh };
}

// Returns { node, refresh(look), words(), hooks, end() }; `look` as from the frame, with the inks of the maps. `attention`
// gives the rows of the maps, see `attentionRows`.
export function buildEvidence(meta, data, choices, attention) {
  const { flow, atlas, rests, ablation } = meta.evidence;
  const parts = {
    flow: flow && buildSwitchboard(flow, choices),
    heads: atlas && buildHeadAtlas(atlas, choices, data),
    strip: rests && buildStrip(rests, choices, data, attention),
    cuts: ablation && buildAblation(ablation, choices),
  };
  const built = Object.values(parts).filter(Boolean);
  const node = element("div", { class: "arl-evidence" }, ...built.map((part) => part.node));
  const { state, view } = choices;
  let [shown, waiting] = ["", 0];
  return {
    node,
    refresh(look) { // the maps come first; a query that is only tried, under the pointer, changes nothing here
      if (view.preview !== null && shown) return;
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(() => {
        const now = JSON.stringify([look.scheme, node.clientWidth, view.marked, { ...state, ...choices.active(), query: 0 }]);
        for (const part of built) if (now !== shown || part === parts.strip) part.refresh(look, now);
        shown = now;
      });
    },
    words: () => parts.flow?.words() ?? "",
    hooks: parts,
    end() {
      cancelAnimationFrame(waiting);
      parts.heads?.end();
    },
  };
}
