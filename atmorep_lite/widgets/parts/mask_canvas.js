// What is hidden, drawn over a map: a veil with hatching, or what corruption makes of each token.
import { tokenBox } from "./geography.js";

const SPECKLES = [[1, 1], [4, 2], [2, 5], [6, 6], [7, 3], [0, 7]];

// Inks of the style sheet that masks need.
export const maskInks = (ink) => Object.fromEntries(
  ["veil", "hatch-line", "zero", "noise", "mixed", "coarse", "kept", "hand", "picture"].map((name) => [name, ink(`mask-${name}`)]));

function boxesOf(cells, project, chosen) {
  const boxes = [];
  const columns = cells.longitude.length;
  for (let i = 0; i < cells.latitude.length * columns; i += 1) {
    if (chosen(i)) boxes.push(tokenBox(cells, project, Math.floor(i / columns), i % columns));
  }
  return boxes;
}

function fillBoxes(ctx, boxes, fill) { // one by one: a path of many boxes takes far longer
  ctx.fillStyle = fill;
  for (const { x, y, width, height } of boxes) ctx.fillRect(x, y, width, height);
}

// `plane` holds 1 for each hidden token of one level and slot.
export function veilHidden(ctx, { cells, project, plane, inks }) {
  const boxes = boxesOf(cells, project, (i) => plane[i]);
  fillBoxes(ctx, boxes, inks.veil);
  fillBoxes(ctx, boxes, patternOf(ctx, inks["hatch-line"], "hatch"));
}

const patterns = new Map();

// Hatching, specks, or a grid of little boxes, in an ink.
function patternOf(ctx, ink, kind) {
  const key = `${ink} ${kind}`;
  if (!patterns.has(key)) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const paint = tile.getContext("2d");
    paint.fillStyle = paint.strokeStyle = ink;
    if (kind === "specks") SPECKLES.forEach(([x, y]) => paint.fillRect(x, y, 1.6, 1.6));
    else if (kind === "boxes") [[8, 1.4], [1.4, 8]].forEach(([wide, tall]) => paint.fillRect(0, 0, wide, tall));
    else {
      for (const shift of [-8, 0, 8]) {
        paint.moveTo(shift - 1, 9);
        paint.lineTo(shift + 9, -1);
      }
      paint.stroke();
    }
    patterns.set(key, ctx.createPattern(tile, "repeat"));
  }
  return patterns.get(key);
}

// How each kind looks: what fills its tokens, in turn.
export function kindFills(ctx, kind, inks) {
  if (kind === "zero") return [inks.zero];
  if (kind === "noise") return [inks.zero, patternOf(ctx, inks.noise, "specks")];
  if (kind === "mixed") return [patternOf(ctx, inks.mixed, "specks")];
  if (kind === "coarse") return [patternOf(ctx, inks.coarse, "boxes")];
  return [];
}

// `plane` holds the kind of each token of one level and slot, -1 for tokens that stay as they are.
export function paintKinds(ctx, { cells, project, plane, names, inks }) {
  names.forEach((name, kind) => {
    const boxes = boxesOf(cells, project, (i) => plane[i] === kind);
    for (const fill of kindFills(ctx, name, inks)) fillBoxes(ctx, boxes, fill);
    if (name !== "zero" && name !== "noise") strokeBoxes(ctx, boxes, inks[name]);
  });
}

function strokeBoxes(ctx, boxes, ink) {
  ctx.strokeStyle = ink;
  for (const { x, y, width, height } of boxes) {
    const thick = Math.min(width, height) > 18 ? 3.2 : 1.8;
    ctx.lineWidth = thick;
    ctx.strokeRect(x + thick / 2, y + thick / 2, width - thick, height - thick);
  }
}

// Edges of the tokens that the reader turned over.
export function strokeHand(ctx, { cells, project, chosen, inks }) {
  strokeBoxes(ctx, boxesOf(cells, project, chosen), inks.hand);
}
