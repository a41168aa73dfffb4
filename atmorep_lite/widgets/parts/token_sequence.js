// The sequence that enters the network: all tokens of a field one after another, a line for each level and time slot.
import { element } from "./controls.js";
import { gridPicture, sizedContext } from "./token_canvas.js";

const LINE_LEFT = 104;
const LINE_RIGHT = 82;
const LEVEL_GAP = 7; // between levels

// buildSequence(onToken): { node, draw(seen) }; `seen` has grid, means (of every level), colours (of every level), chosen
// (index), labels (of level and slot), inks, font, width.
export function buildSequence(onToken) {
  const canvas = element("canvas", { class: "arl-canvas arl-token-sequence", role: "img" });
  let placed = null;
  const pick = (event) => {
    if (!placed || (event.type === "pointermove" && !event.buttons)) return;
    const box = canvas.getBoundingClientRect();
    const [levels, times, ...plane] = placed.grid;
    const per = plane[0] * plane[1];
    const at = Math.floor(((event.clientX - box.left - LINE_LEFT) / placed.inner) * per);
    const line = placed.tops.findIndex((top) => event.clientY - box.top < top + placed.height + 1);
    if (line >= 0 && line < levels * times) onToken(line * per + Math.min(Math.max(at, 0), per - 1));
  };
  canvas.addEventListener("pointerdown", pick);
  canvas.addEventListener("pointermove", pick);

  function draw({ grid, means, colours, chosen, labels, inks, font, width }) {
    const [levels, times, rows, columns] = grid;
    const per = rows * columns;
    const height = Math.max(3, Math.min(18, Math.floor(210 / (levels * times))));
    const space = height > 6 ? 3 : 1;
    const tops = Array.from({ length: levels * times },
      (_, line) => 2 + line * (height + space) + Math.floor(line / times) * LEVEL_GAP);
    const inner = width - LINE_LEFT - LINE_RIGHT;
    placed = { grid, tops, inner, height };
    const total = tops[tops.length - 1] + height + 4;
    const ctx = sizedContext(canvas, width, total);
    ctx.font = `11px ${font}`;
    ctx.textBaseline = "middle";
    tops.forEach((top, line) => {
      const level = Math.floor(line / times);
      const shown = means[level].subarray((line % times) * per, (line % times + 1) * per);
      drawSequenceLine(ctx, { top, height, inner, per, columns, means: shown, colours: colours[level], inks });
      if (height < 11 && line % times) return;
      ctx.fillStyle = inks.muted;
      ctx.textAlign = "right";
      ctx.fillText(height < 11 ? labels.level(level) : `${labels.level(level)}, ${labels.slot(line % times)}`, LINE_LEFT - 8, top + height / 2);
      ctx.textAlign = "left";
      const last = height < 11 ? (level + 1) * times * per - 1 : (line + 1) * per - 1;
      ctx.fillText(`${line * per}–${last}`, LINE_LEFT + inner + 8, top + height / 2);
    });
    canvas.setAttribute("aria-label", `All ${levels * times * per} tokens in the order of the sequence, `
      + `in ${levels * times} lines of ${per}; token ${chosen} is chosen`);
    const x = LINE_LEFT + ((chosen % per) / per) * inner;
    const top = tops[Math.floor(chosen / per)];
    const wide = Math.max(inner / per, 3);
    for (const [ink, thickness] of [[inks.queryHalo, 5], [inks.query, 2.4]]) {
      ctx.strokeStyle = ink;
      ctx.lineWidth = thickness;
      ctx.strokeRect(x, top - 1, wide, height + 2);
    }
  }
  return { node: canvas, draw };
}

function drawSequenceLine(ctx, { top, height, inner, per, columns, means, colours, inks }) {
  ctx.fillStyle = inks.void;
  ctx.fillRect(LINE_LEFT, top, inner, height);
  ctx.imageSmoothingEnabled = per > inner;
  ctx.drawImage(gridPicture(means, [1, per], colours), LINE_LEFT, top, inner, height);
  const wide = inner / per;
  if (columns * wide < 8) return;
  ctx.fillStyle = inks.page;
  for (let i = columns; i < per; i += columns) ctx.fillRect(LINE_LEFT + i * wide - 0.75, top, 1.5, height);
}
