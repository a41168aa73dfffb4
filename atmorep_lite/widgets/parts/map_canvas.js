// One map on one canvas: weights or values of a field at one level and time, with what helps to place them.
import { drawArrows } from "./arrows.js";
import { colourAt, css, niceTicks } from "./colour.js";
import { colouring, drawBar } from "./colour_bar.js";
import { contourPath, downwards, graticule, strokeGraticule, tokenBox } from "./geography.js";
import { MARGIN, prepare, strokeTwice } from "./map_layout.js";

const ACROSS_HATCH = 7;

// Draws everything. `map` has: layout, frame, project, coast (a path or null), field, slot, row (what `mode` says, see
// `explorerResults`, or null), most (greatest of row's sizes), weights and half (weight from which tokens are outlined,
// or null), values and mask (of the slot), arrows (see `drawArrows`, or null), view, scheme, scale, inks,
// font, query { lat, lon, size, solid } or null, cursor { lat, lon } or null, overlays (functions of the context and of
// this, optional).
export function drawMap(canvas, map) {
  const { layout, inks } = map;
  const ctx = prepare(canvas, layout);
  const colours = colouring(map);
  ctx.save();
  ctx.beginPath();
  ctx.rect(layout.left, layout.top, layout.width, layout.height);
  ctx.clip();
  ctx.fillStyle = inks.void;
  ctx.fillRect(layout.left, layout.top, layout.width, layout.height);
  const valued = map.view === "field" || map.view === "error";
  if (valued) fillValues(ctx, map, colours);
  else if (map.row) fillWeights(ctx, map, colours);
  const empty = !map.row && !valued;
  if (!empty && map.view !== "error") hatchHidden(ctx, map);
  if (map.view === "contours" && map.row) strokeContours(ctx, map);
  strokeGraticule(ctx, map);
  if (empty) ctx.globalAlpha = 0.35;
  if (map.coast) strokeTwice(ctx, map.coast, inks.coast, 1.1, inks.coastHalo, 2.8);
  ctx.globalAlpha = 1;
  if (map.arrows && !empty) drawArrows(ctx, map);
  if (map.half !== null && map.row) outlineHalf(ctx, map);
  if (map.cursor) outlineCursor(ctx, map);
  if (!empty) { // a message stands there
    if (map.query) outlineQuery(ctx, map);
    for (const overlay of map.overlays ?? []) overlay(ctx, map);
  }
  ctx.restore();
  ctx.strokeStyle = map.asked ? inks.query : inks.frame;
  ctx.lineWidth = map.asked ? 2 : 1;
  const out = ctx.lineWidth / 2;
  ctx.strokeRect(layout.left - out, layout.top - out, layout.width + 2 * out, layout.height + 2 * out);
  labelGraticule(ctx, map);
  if (layout.bar && !empty) drawBar(ctx, map, colours);
}

function fillWeights(ctx, { field, slot, row, project }, { palette, part }) {
  const [, times, rows, columns] = field.shape;
  const first = (slot.level * times + slot.time) * rows * columns;
  for (let r = 0; r < rows; r += 1) {
    for (let c = 0; c < columns; c += 1) {
      const box = tokenBox(field, project, r, c);
      ctx.fillStyle = css(colourAt(palette, part(row[first + r * columns + c])));
      ctx.fillRect(box.x, box.y, box.width, box.height);
    }
  }
}

// Where the grid points of a field's values lie: functions of fractional column and row of the grid.
function valueGrid(field, project) {
  const [rows, columns] = field.grid;
  const down = downwards(field);
  const west = field.longitude[0] - field.token[1] / 2;
  const first = field.latitude[0] + (down * field.token[0]) / 2;
  const stepLon = (field.token[1] * field.shape[3]) / columns;
  const stepLat = (field.token[0] * field.shape[2]) / rows;
  return {
    x: (column) => project.x(west + (column + 0.5) * stepLon),
    y: (row) => project.y(first - down * (row + 0.5) * stepLat),
  };
}

function fillValues(ctx, { field, values, project }, { palette, part }) {
  const [rows, columns] = field.grid;
  const small = document.createElement("canvas");
  small.width = columns;
  small.height = rows;
  const image = new ImageData(columns, rows);
  const up = downwards(field) < 0;
  values.forEach((value, i) => {
    if (!Number.isFinite(value)) return;
    const line = Math.floor(i / columns); // an image's first line is its uppermost
    image.data.set([...colourAt(palette, part(value)), 255], 4 * ((up ? rows - 1 - line : line) * columns + (i % columns)));
  });
  small.getContext("2d").putImageData(image, 0, 0);
  const grid = valueGrid(field, project);
  const [top, bottom] = [grid.y(-0.5), grid.y(rows - 0.5)].sort((a, b) => a - b);
  ctx.imageSmoothingEnabled = true;
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(small, grid.x(-0.5), top, grid.x(columns - 0.5) - grid.x(-0.5), bottom - top);
}

function strokeContours(ctx, { field, slot, values, project, inks }) {
  const grid = valueGrid(field, project);
  const [low, high] = field.range[slot.level];
  const levels = niceTicks(low, high, 7).map((level) => level + 1e-9);
  strokeTwice(ctx, contourPath(values, field.grid, levels, grid.x, grid.y), inks.contour, 0.9, inks.contourHalo, 2.2);
}

function hatchHidden(ctx, { field, mask, project, layout, inks }) {
  const [, , rows, columns] = field.shape;
  if (!mask.includes(1)) return;
  ctx.save();
  ctx.beginPath();
  for (let i = 0; i < rows * columns; i += 1) {
    const box = tokenBox(field, project, Math.floor(i / columns), i % columns);
    if (mask[i]) ctx.rect(box.x, box.y, box.width, box.height);
  }
  ctx.clip();
  const path = new Path2D();
  for (let x = layout.left - layout.height; x < layout.left + layout.width; x += ACROSS_HATCH) {
    path.moveTo(x, layout.top + layout.height);
    path.lineTo(x + layout.height, layout.top);
  }
  ctx.globalCompositeOperation = "difference";
  ctx.strokeStyle = inks.hatch;
  ctx.lineWidth = 1;
  ctx.stroke(path);
  ctx.restore();
}

export function labelGraticule(ctx, { frame, project, layout, inks, font }) {
  const lines = graticule(frame, project, 56);
  ctx.font = `${layout.text ?? 11}px ${font}`;
  ctx.fillStyle = inks.muted;
  ctx.textBaseline = "top";
  ctx.textAlign = "center";
  for (const { x, label } of lines.meridians) {
    const half = ctx.measureText(label).width / 2;
    const right = layout.left + layout.width + MARGIN.right - half;
    ctx.fillText(label, Math.min(Math.max(x, layout.left + half - 4), right), layout.top + layout.height + 6);
  }
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  for (const { y, label } of lines.parallels) {
    ctx.fillText(label, layout.left - 6, Math.min(Math.max(y, layout.top + 5), layout.top + layout.height - 5));
  }
  if (!frame.plane) return;
  ctx.font = `italic 12px ${font}`;
  ctx.textAlign = "center";
  ctx.fillText("x", layout.left + layout.width / 2, layout.top + layout.height + 24);
  ctx.fillText("y", 5, layout.top + layout.height / 2);
}

// The outline around the strongest tokens that together hold half of the softmax.
function outlineHalf(ctx, { field, slot, weights, half, project, inks }) {
  const [, times, rows, columns] = field.shape;
  const first = (slot.level * times + slot.time) * rows * columns;
  const strong = (r, c) => r >= 0 && c >= 0 && r < rows && c < columns
    && weights[first + r * columns + c] >= half;
  const down = downwards(field);
  const path = new Path2D();
  const edge = (x0, y0, x1, y1) => { path.moveTo(x0, y0); path.lineTo(x1, y1); };
  for (let r = 0; r < rows; r += 1) {
    for (let c = 0; c < columns; c += 1) {
      if (!strong(r, c)) continue;
      const { x, y, width, height } = tokenBox(field, project, r, c);
      if (!strong(r - down, c)) edge(x, y, x + width, y);
      if (!strong(r + down, c)) edge(x, y + height, x + width, y + height);
      if (!strong(r, c - 1)) edge(x, y, x, y + height);
      if (!strong(r, c + 1)) edge(x + width, y, x + width, y + height);
    }
  }
  ctx.lineCap = "square";
  strokeTwice(ctx, path, inks.half, 1.6, inks.halfHalo, 4);
}

// The outline of a token whose centre is at (lat, lon), in whole pixels.
export function boxAt(project, { lat, lon }, [dlat, dlon], inset) {
  const x = Math.round(project.x(lon - dlon / 2));
  const y = Math.round(project.y(lat + dlat / 2));
  const path = new Path2D();
  path.rect(x + inset, y + inset, Math.round(project.x(lon + dlon / 2)) - x - 2 * inset,
    Math.round(project.y(lat - dlat / 2)) - y - 2 * inset);
  return path;
}

const outlineCursor = (ctx, { cursor, field, project, inks }) => (
  strokeTwice(ctx, boxAt(project, cursor, field.token, 0.5), inks.cursor, 1, inks.cursorHalo, 3));

// Solid where the query token itself is in view, dashed where only its place is.
function outlineQuery(ctx, { query, project, inks }) {
  ctx.lineCap = "butt";
  ctx.setLineDash(query.solid ? [] : [5, 3]);
  const [line, halo] = query.solid ? [3.2, 6] : [2.6, 5];
  strokeTwice(ctx, boxAt(project, query, query.size, 0), inks.query, line, inks.queryHalo, halo, "miter");
  ctx.setLineDash([]);
}
