// A map of the periodic square, 0 to 2 pi both ways, y upwards, and what may lie on it.
import { colourAt } from "./colour.js";
import { element } from "./controls.js";
import { contourPath } from "./geography.js";
import { MARGIN, prepare, strokeTwice } from "./map_layout.js";

const WHOLE_SIDE = 2 * Math.PI;
const tables = new Map(); // 256 colours of each palette
const canvases = new Map(); // one small picture of each size

function shades(palette) {
  if (!tables.has(palette)) tables.set(palette, Array.from({ length: 256 }, (_, i) => colourAt(palette, i / 255)));
  return tables.get(palette);
}

// A figure with a title, a canvas and a line of words. `keys` makes it take the keyboard.
export function squareMap({ name, title, help }) {
  const heading = element("span", { class: "arl-square-title", text: title });
  const aside = element("span", { class: "arl-square-aside" });
  const canvas = element("canvas", { class: "arl-canvas", role: "img" });
  const message = element("div", { class: "arl-square-message", hidden: "" });
  const map = element("div", {
    class: "arl-square-map", tabindex: "0", role: "application", "aria-roledescription": "map", "aria-label": `${title}: ${help}`,
  }, canvas, message);
  const bar = element("canvas", { class: "arl-canvas", "aria-hidden": "true" });
  const caption = element("figcaption", { class: "arl-square-caption" });
  const node = element("figure", { class: "arl-square", "data-arl-map": name },
    element("div", { class: "arl-square-head" }, heading, aside), map, bar, caption);
  const self = { node, map, canvas, bar, heading, aside, caption, message, width: 0, layout: null, ctx: null };

  // Where the pointer is, in units of the square; null outside.
  self.place = (event) => {
    const { left, top, width } = self.layout;
    const box = canvas.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left - left, event.clientY - box.top - top];
    if (px < 0 || py < 0 || px > width || py > width) return null;
    return { x: (px / width) * WHOLE_SIDE, y: (1 - py / width) * WHOLE_SIDE };
  };
  // Widths are read before anything is drawn: drawing may bring a scroll bar, and maps are to stay alike.
  self.measure = () => { self.width = map.clientWidth; };
  self.begin = (look) => {
    const width = Math.max(120, self.width);
    const inner = width - MARGIN.left / 2 - MARGIN.right;
    self.layout = { left: MARGIN.left / 2, top: MARGIN.top, width: inner, total: MARGIN.top + inner + MARGIN.bottom };
    self.ctx = prepare(canvas, self.layout);
    self.look = look;
    return self;
  };
  return self;
}

// Positions on the page of places of the square; its picture begins half a grid point before 0.
export const toPage = ({ left, top, width }) => ({
  x: (x) => left + (x / WHOLE_SIDE) * width,
  y: (y) => top + (1 - y / WHOLE_SIDE) * width,
});

// Colours of n x n values; `part` says where on the palette (0 ... 1) a value is.
export function drawSquare({ ctx, layout }, { values, n, palette, part, smooth }) {
  if (!canvases.has(n)) canvases.set(n, Object.assign(document.createElement("canvas"), { width: n, height: n }));
  const small = canvases.get(n);
  const pen = small.getContext("2d");
  const image = pen.createImageData(n, n);
  const colours = shades(palette);
  for (let row = 0; row < n; row += 1) {
    for (let column = 0; column < n; column += 1) {
      const place = Math.min(255, Math.max(0, Math.round(255 * part(values[row * n + column]))));
      image.data.set(colours[place], 4 * ((n - 1 - row) * n + column));
      image.data[4 * ((n - 1 - row) * n + column) + 3] = 255;
    }
  }
  pen.putImageData(image, 0, 0);
  ctx.imageSmoothingEnabled = smooth;
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(small, layout.left, layout.top, layout.width, layout.width);
}

export function drawSquareFrame({ ctx, layout, look }) {
  const { left, top, width } = layout;
  ctx.strokeStyle = look.ink("frame");
  ctx.lineWidth = 1;
  ctx.strokeRect(left - 0.5, top - 0.5, width + 1, width + 1);
  ctx.fillStyle = look.ink("muted");
  ctx.font = `11px ${look.font}`;
  ["0", "π", "2π"].forEach((text, i) => {
    ctx.textBaseline = "top";
    ctx.textAlign = i === 2 ? "right" : i === 1 ? "center" : "left";
    ctx.fillText(text, left + (i * width) / 2, top + width + 5);
    ctx.textAlign = "right";
    ctx.textBaseline = i === 2 ? "top" : i === 1 ? "middle" : "bottom";
    ctx.fillText(text, left - 4, top + width - (i * width) / 2);
  });
}

export function boxOfToken({ left, top, width }, [rows, columns], token) {
  const [row, column] = [Math.floor(token / columns), token % columns];
  return [left + (column * width) / columns, top + ((rows - 1 - row) * width) / rows, width / columns, width / rows];
}

export function frameToken({ ctx, layout, look }, tokens, token) {
  const path = new Path2D();
  const [x, y, w, h] = boxOfToken(layout, tokens, token);
  path.rect(x + 0.5, y + 0.5, w - 1, h - 1);
  strokeTwice(ctx, path, look.ink("query-map"), 2.5, look.ink("query-halo"), 5);
}

// Hidden tokens: covered, with diagonal lines.
export function hatchTokens({ ctx, layout, look }, tokens, hidden) {
  if (!hidden.length) return;
  const area = new Path2D();
  const [lines, { left, top, width }] = [new Path2D(), layout];
  hidden.forEach((token) => area.rect(...boxOfToken(layout, tokens, token)));
  for (let d = 0; d < 2 * width; d += 5) {
    lines.moveTo(left + d - width, top + width);
    lines.lineTo(left + d, top);
  }
  ctx.save();
  ctx.clip(area);
  ctx.fillStyle = look.ink("void");
  ctx.globalAlpha = 0.72;
  ctx.fillRect(left, top, width, width);
  ctx.globalAlpha = 1;
  ctx.strokeStyle = look.ink("muted");
  ctx.lineWidth = 1;
  ctx.stroke(lines);
  ctx.restore();
}

export function drawFieldContours({ ctx, layout, look }, field, n, levels) {
  const step = layout.width / n;
  const path = contourPath(field, [n, n], levels,
    (column) => layout.left + (column + 0.5) * step, (row) => layout.top + layout.width - (row + 0.5) * step);
  strokeTwice(ctx, path, look.ink("contour"), 1.1, look.ink("contour-halo"), 2.6);
}

// A ring of `radius` (units of the square) around a place, on all sides of the closed square.
export function ringAt({ ctx, layout, look }, { x, y }, radius, dashed) {
  const at = toPage(layout);
  ctx.save();
  ctx.beginPath();
  ctx.rect(layout.left, layout.top, layout.width, layout.width);
  ctx.clip();
  const path = new Path2D();
  for (const dx of [-WHOLE_SIDE, 0, WHOLE_SIDE]) {
    for (const dy of [-WHOLE_SIDE, 0, WHOLE_SIDE]) {
      const [cx, cy, r] = [at.x(x + dx), at.y(y + dy), (radius / WHOLE_SIDE) * layout.width];
      path.moveTo(cx + r, cy);
      path.arc(cx, cy, r, 0, WHOLE_SIDE);
    }
  }
  if (dashed) ctx.setLineDash([4, 3]);
  strokeTwice(ctx, path, look.ink("ink"), 1.4, look.ink("query-halo"), 3.2);
  ctx.restore();
}

// Handles of vortices: a disc with the sign of each, the chosen one framed.
export function drawHandles({ ctx, layout, look }, vortices, chosen) {
  const at = toPage(layout);
  vortices.forEach(({ x, y, strength }, i) => {
    ctx.beginPath();
    ctx.arc(at.x(x), at.y(y), 8.5, 0, WHOLE_SIDE);
    ctx.fillStyle = look.ink("page");
    ctx.fill();
    ctx.strokeStyle = look.ink(i === chosen ? "focus" : "ink");
    ctx.lineWidth = i === chosen ? 3 : 1.2;
    ctx.stroke();
    ctx.fillStyle = look.ink("ink");
    ctx.font = `600 13px ${look.font}`;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.fillText(strength < 0 ? "−" : "+", at.x(x), at.y(y) + 0.5);
  });
}
