// Pins: two queries to come back to, and their difference: { nodes, refresh(), draw(ctx, map) }.
import { choice, element } from "./controls.js";
import { actionButton } from "./explorer_tools.js";
import { boxAt } from "./map_canvas.js";
import { strokeTwice } from "./map_layout.js";
import { unravel } from "./softmax.js";

const LETTER = 15; // pixels
const PINS = [["pin_a", "A"], ["pin_b", "B"]];

export function buildPins(choices) {
  const { state, choose, pin } = choices;
  const buttons = PINS.map(([name, letter]) => actionButton(letter, `Pin the query as ${letter}`, () => pin(name)));
  const show = choice("Show", (name) => choose({ show: name }));
  const node = element("div", { class: "arl-control arl-pins" },
    element("span", { class: "arl-label", text: "Pin the query as" }), element("div", { class: "arl-buttons" }, ...buttons));
  return {
    nodes: [node, show.node],
    refresh() {
      const [a, b] = [state.pin_a, state.pin_b];
      show.update([{ value: "query", label: "query" }, ...(a ? [{ value: "A", label: "A", long: "pinned query A" }] : []),
        ...(b ? [{ value: "B", label: "B", long: "pinned query B" }] : []),
        ...(a && b ? [{ value: "A minus B", label: "A − B", long: "difference of A and B" }] : [])], state.show);
      show.node.hidden = !a && !b;
      PINS.forEach(([name], i) => buttons[i].setAttribute("aria-pressed", String(state[name] !== null)));
    },
    // Letters at the corners of the pinned tokens, over a map.
    draw(ctx, map) {
      for (const [name, letter] of PINS.filter(([one]) => state[one])) {
        const field = choices.field(state[name].query_field);
        const { latitude, longitude, token } = field;
        const at = unravel(field, state[name].query);
        const [lat, lon] = [latitude[at.row], longitude[at.column]];
        if (state.show === "A minus B" && letter === "B") {
          ctx.setLineDash([2, 2]);
          strokeTwice(ctx, boxAt(map.project, { lat, lon }, token, 0), map.inks.query, 2.2, map.inks.queryHalo, 4.5);
          ctx.setLineDash([]);
        }
        drawLetter(ctx, map, letter, lat + token[0] / 2, lon + token[1] / 2);
      }
    },
  };
}

function drawLetter(ctx, { project, layout, inks, font }, letter, north, east) {
  const within = (value, low, span) => Math.min(Math.max(value, low), low + span - LETTER);
  const x = within(Math.round(project.x(east)) + 1, layout.left, layout.width);
  const y = within(Math.round(project.y(north)) - LETTER - 1, layout.top, layout.height);
  ctx.fillStyle = inks.queryHalo;
  ctx.fillRect(x - 1, y - 1, LETTER + 2, LETTER + 2);
  ctx.fillStyle = inks.query;
  ctx.fillRect(x, y, LETTER, LETTER);
  ctx.font = `700 11px ${font}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.fillStyle = inks.pin;
  ctx.fillText(letter, x + LETTER / 2, y + LETTER / 2 + 0.5);
}
