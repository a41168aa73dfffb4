// All heads of all layers as small maps of one token's attention; one of them, or a layer's mean, is chosen.
import { PALETTES } from "./colour.js";
import { element } from "./controls.js";
import { prepare } from "./map_layout.js";
import { boxOfToken, drawSquare } from "./square_map.js";

const THUMB_GAP = 6;
const THUMB_LABELS = { left: 52, top: 20 };

// `on` has choose(layer, head), head -1 for the mean.
export function headThumbs({ layers, heads }, on) {
  const canvas = element("canvas", { class: "arl-canvas", role: "img" });
  const node = element("div", {
    class: "arl-square-map arl-thumbs", tabindex: "0", role: "application", "aria-roledescription": "heads",
    "aria-label": "Heads of all layers: arrow keys choose a head, left of the first is the mean of a layer",
  }, canvas);
  let layout = null;
  let chosen = { layer: 0, head: -1 };

  const cell = (layer, head) => ({
    left: layout.left + head * (layout.cell + THUMB_GAP), top: layout.top + layer * (layout.cell + THUMB_GAP), width: layout.cell,
  });
  node.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const layer = Math.floor((y - layout.top) / (layout.cell + THUMB_GAP));
    const head = Math.floor((x - layout.left) / (layout.cell + THUMB_GAP));
    if (layer >= 0 && layer < layers && head < heads) on.choose(layer, Math.max(-1, head));
  });
  node.addEventListener("keydown", (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    const limit = (value, low, high) => Math.min(Math.max(value, low), high);
    chosen = { layer: limit(chosen.layer + move[0], 0, layers - 1), head: limit(chosen.head + move[1], -1, heads - 1) };
    on.choose(chosen.layer, chosen.head);
  });

  return {
    node,
    // `weights` [layer, head, token] or null, `tokens` [rows, columns], `silent` a list of [layer, head].
    draw(look, { weights, tokens, query, layer, head, silent }) {
      chosen = { layer, head };
      const width = Math.max(160, node.clientWidth);
      const size = (width - THUMB_LABELS.left - 10 - THUMB_GAP * (heads - 1)) / heads;
      const { left, top } = THUMB_LABELS;
      layout = { left, top, cell: size, width: width - left - 10, total: top + layers * (size + THUMB_GAP) };
      const ctx = prepare(canvas, layout);
      ctx.font = `11px ${look.font}`;
      ctx.fillStyle = look.ink("muted");
      ctx.textBaseline = "bottom";
      for (let h = 0; h < heads; h += 1) {
        ctx.textAlign = "center";
        ctx.fillText(`head ${h}`, cell(0, h).left + size / 2, layout.top - 4);
      }
      for (let l = 0; l < layers; l += 1) {
        drawLayerName(ctx, look, l, cell(l, 0));
        for (let h = 0; h < heads; h += 1) drawHead(ctx, look, { l, h, weights, tokens, query, silent });
      }
      function drawLayerName(pen, { ink, font }, l, { top }) {
        const mean = l === layer && head < 0;
        pen.textAlign = "left";
        pen.textBaseline = "middle";
        pen.font = `${mean ? "600 " : ""}11px ${font}`;
        pen.fillStyle = ink(mean ? "ink" : "muted");
        pen.fillText(`layer ${l}`, 2, top + size / 2 - 7);
        pen.fillText("mean", 2, top + size / 2 + 7);
        if (!mean) return;
        pen.strokeStyle = ink("focus");
        pen.lineWidth = 2.5;
        pen.strokeRect(layout.left - 3, top - 3, layout.width + 6, size + 6);
      }
    },
  };

  function drawHead(ctx, look, { l, h, weights, tokens, query, silent }) {
    const box = cell(l, h);
    const count = tokens[0] * tokens[1];
    ctx.fillStyle = look.ink("void");
    ctx.fillRect(box.left, box.top, box.width, box.width);
    if (weights) {
      const values = weights.subarray((l * heads + h) * count, (l * heads + h + 1) * count);
      const most = values.reduce((a, b) => Math.max(a, b), 0) || 1;
      drawSquare({ ctx, layout: box }, {
        values, n: tokens[1], palette: PALETTES.attention[look.scheme], part: (w) => Math.sqrt(w / most), smooth: false,
      });
      const [x, y, w, tall] = boxOfToken(box, tokens, query);
      ctx.strokeStyle = look.ink("query-map");
      ctx.lineWidth = 1.5;
      ctx.strokeRect(x, y, w, tall);
    }
    if (silent.some(([layer, head]) => layer === l && head === h)) crossOut(ctx, look, box);
    if (chosen.layer === l && chosen.head === h) {
      ctx.strokeStyle = look.ink("focus");
      ctx.lineWidth = 2.5;
      ctx.strokeRect(box.left - 1.5, box.top - 1.5, box.width + 3, box.width + 3);
    }
  }
}

function crossOut(ctx, look, { left, top, width }) {
  ctx.fillStyle = look.ink("void");
  ctx.globalAlpha = 0.75;
  ctx.fillRect(left, top, width, width);
  ctx.globalAlpha = 1;
  ctx.strokeStyle = look.ink("output");
  ctx.lineWidth = 2;
  ctx.beginPath();
  ctx.moveTo(left + 4, top + 4);
  ctx.lineTo(left + width - 4, top + width - 4);
  ctx.moveTo(left + width - 4, top + 4);
  ctx.lineTo(left + 4, top + width - 4);
  ctx.stroke();
}
