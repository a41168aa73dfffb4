// The times of a record grouped into the slots of tokens, and small maps of token means in several sizes.
import { percent } from "./colour.js";
import { choice, element } from "./controls.js";
import { whole } from "./line_chart.js";
import { strokeTwice } from "./map_layout.js";
import { coastPath, projection } from "./geography.js";
import { gridFrame, gridPicture, placePicture, sizedContext, strokeLattice } from "./token_canvas.js";
import { exactly } from "./token_numbers.js";
import { sizeOf, tokenCells } from "./token_sizes.js";
import { sizeName } from "./token_tradeoff.js";

const MOST_STEPS = 24;
const LABELLED = 34; // pixels of a button from which every one has its label

// buildRuler(meta, onStep): { node, update(step, length of a slot, width) }
export function buildRuler(meta, onStep) {
  const hoursOf = (step) => exactly(meta.hours[step]);
  if (meta.hours.length > MOST_STEPS) {
    const slider = choice("Time", onStep);
    const options = meta.hours.map((_, value) => ({ value, label: `${hoursOf(value)} h`, long: `${meta.times[value]} UTC` }));
    return { node: element("div", { class: "arl-token-ruler" }, slider.node), update: (step) => slider.update(options, step) };
  }
  const buttons = meta.hours.map((_, step) => element("button", {
    type: "button", class: "arl-token-step", onclick: () => onStep(step), title: `${meta.times[step]} UTC`,
    "aria-label": `${meta.times[step]} UTC, ${hoursOf(step)} h`,
  }));
  const node = element("div", { class: "arl-token-ruler", role: "group", "aria-label": "Time; boxes are the slots of tokens" });
  let grouped = 0;
  return {
    node,
    update(step, slot, width) {
      if (grouped !== slot) {
        grouped = slot;
        node.replaceChildren(...Array.from({ length: buttons.length / slot },
          (_, i) => element("div", { class: "arl-token-slot", style: `flex: ${slot} 1 0` }, ...buttons.slice(i * slot, (i + 1) * slot))));
      }
      const every = (width - 48) / buttons.length >= LABELLED;
      buttons.forEach((button, i) => {
        button.setAttribute("aria-pressed", String(i === step));
        button.parentNode.dataset.arlNow = String(Math.floor(step / slot) === Math.floor(i / slot));
        button.textContent = every || (i + 1) % slot === 0 || i === step ? hoursOf(i) : "·";
      });
      node.lastChild.lastChild.textContent = `${hoursOf(buttons.length - 1)} h`;
    },
  };
}

// buildCompare(meta, onSize): { node, draw(seen) }: token means of one time in the sizes of `meta.compare`.
export function buildCompare(meta, onSize) {
  const frame = gridFrame(meta);
  const cards = meta.compare.map((size) => {
    const canvas = element("canvas", { class: "arl-canvas", "aria-hidden": "true" });
    const [name, note] = [element("b", { text: sizeName(size) }), element("span", { class: "arl-note" })];
    const node = element("button", { type: "button", class: "arl-token-card", onclick: () => onSize(size) }, canvas,
      element("span", { class: "arl-token-card-foot" }, name, note));
    return { size, canvas, note, node };
  });
  function draw({ cube, step, size, colours, inks, data, numbers }) {
    for (const card of cards) {
      const width = Math.max(80, card.node.clientWidth);
      const height = Math.round(width * Math.min(1, Math.max(0.4, (frame.north - frame.south) / (frame.east - frame.west))));
      const ctx = sizedContext(card.canvas, width, height);
      const project = projection(frame, 0, 0, width, height);
      const cells = tokenCells(meta, card.size);
      const shape = [cells.latitude.length, cells.longitude.length];
      const from = Math.floor(step / card.size[0]) * shape[0] * shape[1];
      const { means } = sizeOf(cube, card.size);
      placePicture(ctx, gridPicture(means.subarray(from, from + shape[0] * shape[1]), shape, colours), meta, project);
      if (card.width !== width) Object.assign(card, { width, coast: coastPath(meta, data, frame, project) });
      strokeTwice(ctx, card.coast, inks.coast, 0.9, inks.coastHalo, 2.2);
      strokeLattice(ctx, cells, project, inks, colours.palette);
      const { tokens, survives } = numbers(card.size);
      card.note.textContent = `${whole(tokens)} tokens, ${percent(survives)} survives`;
      const chosen = card.size.every((n, i) => n === size[i]);
      card.node.setAttribute("aria-pressed", String(chosen));
      card.node.setAttribute("aria-label", `${sizeName(card.size)} points: ${card.note.textContent} of the variance; choose this size`);
    }
  }
  return { node: element("div", { class: "arl-token-cards" }, ...cards.map((card) => card.node)), draw };
}
