// One small map for each level and time slot, with what is hidden there; and the strategies as small pictures of it.
import { percent } from "./colour.js";
import { element } from "./controls.js";
import { coastPath, projection } from "./geography.js";
import { strokeTwice } from "./map_layout.js";
import { paintKinds, strokeHand, veilHidden } from "./mask_canvas.js";
import { gridFrame, gridPicture, placePicture, sizedContext } from "./token_canvas.js";

const NARROW = 640;
const MASK_THUMB = { width: 80, gap: 1 };

// buildMaskMaps(meta, onMap): { node, draw(seen) }; `seen` has key (of the pictures), field, names (of levels and slots),
// valuesOf(level, slot), coloursOf(level), cells, planeOf(level, slot), kindsOf (or null), turned(level, slot) (which tokens
// by hand), counts, chosen ({ level, slot }), inks, maskInks, width.
export function buildMaskMaps(meta, data, onMap) {
  const node = element("div", { class: "arl-mask-maps", role: "group", "aria-label": "Maps by level and time" });
  const frame = gridFrame(meta);
  const kept = { built: "", cards: [], heads: [], pictures: new Map(), key: "" };

  function arrange(field, across) {
    const [levels, slots] = field.tokens;
    const built = JSON.stringify([field.name, levels, slots, across]);
    if (kept.built === built) return;
    kept.built = built;
    kept.cards = Array.from({ length: levels * slots }, (_, i) => {
      const [level, slot] = [Math.floor(i / slots), i % slots];
      const canvas = element("canvas", { class: "arl-canvas", "aria-hidden": "true" });
      const foot = element("span", { class: "arl-mask-count" });
      const cell = { type: "button", class: "arl-mask-cell", onclick: () => onMap(level, slot) };
      return { level, slot, canvas, foot, node: element("button", cell, canvas, foot) };
    });
    const [columns, rows] = across ? [slots, levels] : [levels, slots];
    const head = () => element("span", { class: "arl-mask-name" });
    kept.heads = Array.from({ length: columns }, head);
    kept.sides = Array.from({ length: rows }, head);
    kept.ends = Array.from({ length: rows }, () => element("span", { class: "arl-mask-total" }));
    kept.feet = Array.from({ length: columns }, () => element("span", { class: "arl-mask-total" }));
    kept.all = element("b", { class: "arl-mask-total" });
    node.style.gridTemplateColumns = `auto repeat(${columns}, minmax(56px, 1fr)) auto`;
    node.replaceChildren(element("span"), ...kept.heads, element("span", { class: "arl-mask-total", text: "hidden" }),
      ...kept.sides.flatMap((side, row) => [side,
        ...Array.from({ length: columns }, (_, column) => kept.cards[across ? row * slots + column : column * slots + row].node), kept.ends[row]]),
      element("span", { class: "arl-mask-name", text: "hidden" }), ...kept.feet, kept.all);
  }

  // Values and coast of one small map, kept until the field, the scheme or the width changes.
  function pictureAt(card, seen, width, height, project) {
    const key = `${card.level} ${card.slot}`;
    if (!kept.pictures.has(key)) {
      const picture = document.createElement("canvas");
      const ctx = sizedContext(picture, width, height);
      ctx.fillStyle = seen.inks.void;
      ctx.fillRect(0, 0, width, height);
      placePicture(ctx, gridPicture(seen.valuesOf(card.level, card.slot), seen.field.grid, seen.coloursOf(card.level)), meta, project);
      kept.coast = kept.coast || coastPath(meta, data, frame, project);
      strokeTwice(ctx, kept.coast, seen.inks.coast, 0.7, seen.inks.coastHalo, 1.8);
      kept.pictures.set(key, picture);
    }
    return kept.pictures.get(key);
  }

  function draw(seen) {
    const across = seen.width >= NARROW;
    arrange(seen.field, across);
    const width = Math.max(40, kept.cards[0].node.clientWidth);
    const height = Math.round(width * Math.min(1.2, Math.max(0.4, (frame.north - frame.south) / (frame.east - frame.west))));
    const project = projection(frame, 0, 0, width, height);
    const key = JSON.stringify([seen.key, width]);
    if (kept.key !== key) Object.assign(kept, { key, pictures: new Map(), coast: null });
    for (const card of kept.cards) drawCard(card, seen, width, height, project);
    const { counts, names } = seen;
    const share = (hidden, of) => percent(hidden / of);
    const [levels, slots] = seen.field.tokens;
    const write = (line, name) => { line.textContent = name; };
    (across ? kept.sides : kept.heads).forEach((side, level) => write(side, names.level(level)));
    (across ? kept.heads : kept.sides).forEach((side, slot) => write(side, names.slot(slot)));
    (across ? kept.ends : kept.feet).forEach((end, level) => write(end, share(counts.byLevel[level], slots * counts.per)));
    (across ? kept.feet : kept.ends).forEach((end, slot) => write(end, share(counts.bySlot[slot], levels * counts.per)));
    write(kept.all, share(counts.hidden, levels * slots * counts.per));
  }
  function drawCard(card, seen, width, height, project) {
    const { level, slot } = card;
    label(card, seen);
    const turned = seen.turned(level, slot);
    const plane = seen.kindsOf ? seen.kindsOf(level, slot) : seen.planeOf(level, slot);
    const drawn = [kept.key, Boolean(seen.kindsOf), plane.join(""), ...turned].join(" ");
    if (card.drawn === drawn) return;
    card.drawn = drawn;
    const ctx = sizedContext(card.canvas, width, height);
    ctx.drawImage(pictureAt(card, seen, width, height, project), 0, 0, width, height);
    const over = { cells: seen.cells, project, inks: seen.maskInks };
    if (seen.kindsOf) paintKinds(ctx, { ...over, plane, names: meta.kinds });
    else veilHidden(ctx, { ...over, plane });
    if (turned.size) strokeHand(ctx, { ...over, chosen: (i) => turned.has(i) });
  }
  function label({ level, slot, node: cell, foot }, seen) {
    const { counts: { counts, per }, names } = seen;
    const chosen = level === seen.chosen.level && slot === seen.chosen.slot;
    cell.setAttribute("aria-pressed", String(chosen));
    foot.textContent = `${counts[level][slot]} of ${per}`;
    cell.setAttribute("aria-label", `${names.level(level)}, ${names.slot(slot)}: ${foot.textContent} tokens hidden; show large`);
  }
  return { node, draw };
}

// A picture of a mask: a little box for each level (downwards) and slot, hidden tokens in ink.
export function drawMaskThumb(canvas, mask, { tokens: [levels, slots, rows, columns] }, inks) {
  const wide = Math.max(3, Math.floor(MASK_THUMB.width / slots) - MASK_THUMB.gap);
  const tall = Math.max(3, Math.min(wide, Math.round((wide * rows) / columns)));
  const ctx = sizedContext(canvas, slots * (wide + MASK_THUMB.gap), levels * (tall + MASK_THUMB.gap));
  const small = document.createElement("canvas");
  small.width = columns;
  small.height = rows;
  const paint = small.getContext("2d");
  for (let plane = 0; plane < levels * slots; plane += 1) {
    paint.fillStyle = inks.seen;
    paint.fillRect(0, 0, columns, rows);
    paint.fillStyle = inks.hidden;
    for (let i = 0; i < rows * columns; i += 1) {
      if (mask[plane * rows * columns + i]) paint.fillRect(i % columns, Math.floor(i / columns), 1, 1);
    }
    ctx.imageSmoothingEnabled = wide < columns;
    ctx.drawImage(small, (plane % slots) * (wide + MASK_THUMB.gap), Math.floor(plane / slots) * (tall + MASK_THUMB.gap), wide, tall);
  }
}
