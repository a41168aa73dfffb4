// One map on one canvas: weights or values of a field at one level and time, with what helps to place them.
import { PALETTES, colourAt, css, niceTicks, plain, withUnits } from "./colour.js";
import { contourPath, graticule, tokenBox } from "./geography.js";

const MARGIN = { left: 38, right: 10, top: 7, bottom: 19 };
const BAR = { height: 8, gap: 6, labels: 18 };
const ACROSS_HATCH = 7;

// Sizes in CSS pixels of a map that is `width` wide and shows `frame`.
export function mapLayout(frame, width) {
  const inner = width - MARGIN.left - MARGIN.right;
  const aspect = Math.min(1, Math.max(0.4, (frame.north - frame.south) / (frame.east - frame.west)));
  const height = Math.round(inner * aspect);
  const barTop = MARGIN.top + height + MARGIN.bottom + BAR.gap;
  return {
    left: MARGIN.left, top: MARGIN.top, width: inner, height, barTop, total: barTop + BAR.height + BAR.labels,
  };
}

// Palette and limits of what is shown.
export function colouring({ view, scheme, scale, field, slot, summary }) {
  if (view !== "field") {
    const shape = scale === "root" ? Math.sqrt : (x) => x;
    const peak = summary ? summary.peak : 1;
    return { palette: PALETTES.attention[scheme], low: 0, high: peak, part: (w) => shape(w / peak), unit: "%", factor: 100 };
  }
  let [low, high] = field.range[slot.level];
  if (field.signed) [low, high] = [-Math.max(-low, high), Math.max(-low, high)];
  const palette = field.signed ? PALETTES.signed : PALETTES.plain;
  return { palette, low, high, part: (v) => (v - low) / (high - low), unit: field.units, factor: 1 };
}

// Draws everything. `map` has: layout, frame, project, coast, field, slot, row (weights or null), summary, values
// (of the slot), mask (of the slot), view, scheme, scale, inks, font, query { lat, lon, size, solid }, cursor.
export function drawMap(canvas, map) {
  const { layout, inks } = map;
  const ratio = window.devicePixelRatio || 1;
  const width = layout.left + layout.width + MARGIN.right;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(layout.total * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(layout.total * ratio);
    canvas.style.height = `${layout.total}px`;
  }
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, layout.total);
  const colours = colouring(map);
  ctx.save();
  ctx.beginPath();
  ctx.rect(layout.left, layout.top, layout.width, layout.height);
  ctx.clip();
  ctx.fillStyle = inks.void;
  ctx.fillRect(layout.left, layout.top, layout.width, layout.height);
  if (map.view === "field") fillValues(ctx, map, colours);
  else if (map.row) fillWeights(ctx, map, colours);
  if (map.row || map.view === "field") hatchHidden(ctx, map);
  if (map.view === "contours" && map.row) strokeContours(ctx, map);
  strokeGraticule(ctx, map);
  if (!map.row && map.view !== "field") ctx.globalAlpha = 0.35;
  strokeTwice(ctx, map.coast, inks.coast, 1.1, inks.coastHalo, 2.8);
  ctx.globalAlpha = 1;
  if (map.view === "field" && map.row) outlineHalf(ctx, map);
  if (map.cursor) outlineCursor(ctx, map);
  outlineQuery(ctx, map);
  ctx.restore();
  ctx.strokeStyle = map.asked ? inks.query : inks.frame;
  ctx.lineWidth = map.asked ? 2 : 1;
  const out = ctx.lineWidth / 2;
  ctx.strokeRect(layout.left - out, layout.top - out, layout.width + 2 * out, layout.height + 2 * out);
  labelGraticule(ctx, map);
  if (map.row || map.view === "field") drawBar(ctx, map, colours);
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
  const west = field.longitude[0] - field.token[1] / 2;
  const north = field.latitude[0] + field.token[0] / 2;
  const stepLon = (field.token[1] * field.shape[3]) / columns;
  const stepLat = (field.token[0] * field.shape[2]) / rows;
  return {
    x: (column) => project.x(west + (column + 0.5) * stepLon),
    y: (row) => project.y(north - (row + 0.5) * stepLat),
  };
}

function fillValues(ctx, { field, values, project }, { palette, part }) {
  const [rows, columns] = field.grid;
  const small = document.createElement("canvas");
  small.width = columns;
  small.height = rows;
  const image = new ImageData(columns, rows);
  values.forEach((value, i) => {
    if (!Number.isFinite(value)) return;
    image.data.set([...colourAt(palette, part(value)), 255], 4 * i);
  });
  small.getContext("2d").putImageData(image, 0, 0);
  const grid = valueGrid(field, project);
  ctx.imageSmoothingEnabled = true;
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(small, grid.x(-0.5), grid.y(-0.5), grid.x(columns - 0.5) - grid.x(-0.5), grid.y(rows - 0.5) - grid.y(-0.5));
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

function strokeTwice(ctx, path, ink, thickness, halo, haloThickness) {
  ctx.lineJoin = "round";
  ctx.strokeStyle = halo;
  ctx.lineWidth = haloThickness;
  ctx.stroke(path);
  ctx.strokeStyle = ink;
  ctx.lineWidth = thickness;
  ctx.stroke(path);
}

function strokeGraticule(ctx, { frame, project, layout, inks }) {
  const lines = graticule(frame, project, 56);
  const path = new Path2D();
  for (const { x } of lines.meridians) {
    path.moveTo(Math.round(x) + 0.5, layout.top);
    path.lineTo(Math.round(x) + 0.5, layout.top + layout.height);
  }
  for (const { y } of lines.parallels) {
    path.moveTo(layout.left, Math.round(y) + 0.5);
    path.lineTo(layout.left + layout.width, Math.round(y) + 0.5);
  }
  ctx.strokeStyle = inks.graticule;
  ctx.lineWidth = 1;
  ctx.stroke(path);
}

function labelGraticule(ctx, { frame, project, layout, inks, font }) {
  const lines = graticule(frame, project, 56);
  ctx.font = `11px ${font}`;
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
}

// The outline around the strongest tokens that together hold half of the softmax.
function outlineHalf(ctx, { field, slot, row, summary, project, inks }) {
  const [, times, rows, columns] = field.shape;
  const first = (slot.level * times + slot.time) * rows * columns;
  const strong = (r, c) => r >= 0 && c >= 0 && r < rows && c < columns
    && row[first + r * columns + c] >= summary.halfWeight;
  const path = new Path2D();
  const edge = (x0, y0, x1, y1) => { path.moveTo(x0, y0); path.lineTo(x1, y1); };
  for (let r = 0; r < rows; r += 1) {
    for (let c = 0; c < columns; c += 1) {
      if (!strong(r, c)) continue;
      const { x, y, width, height } = tokenBox(field, project, r, c);
      if (!strong(r - 1, c)) edge(x, y, x + width, y);
      if (!strong(r + 1, c)) edge(x, y + height, x + width, y + height);
      if (!strong(r, c - 1)) edge(x, y, x, y + height);
      if (!strong(r, c + 1)) edge(x + width, y, x + width, y + height);
    }
  }
  ctx.lineCap = "square";
  strokeTwice(ctx, path, inks.half, 1.6, inks.halfHalo, 4);
}

function outlineCursor(ctx, { cursor, field, project, inks }) {
  const [dlat, dlon] = field.token;
  const x = Math.round(project.x(cursor.lon - dlon / 2));
  const y = Math.round(project.y(cursor.lat + dlat / 2));
  const path = new Path2D();
  path.rect(x + 0.5, y + 0.5, Math.round(project.x(cursor.lon + dlon / 2)) - x - 1,
    Math.round(project.y(cursor.lat - dlat / 2)) - y - 1);
  strokeTwice(ctx, path, inks.cursor, 1, inks.cursorHalo, 3);
}

// Solid where the query token itself is in view, dashed where only its place is.
function outlineQuery(ctx, { query, project, inks }) {
  const x = Math.round(project.x(query.lon - query.size[1] / 2));
  const y = Math.round(project.y(query.lat + query.size[0] / 2));
  const width = Math.round(project.x(query.lon + query.size[1] / 2)) - x;
  const height = Math.round(project.y(query.lat - query.size[0] / 2)) - y;
  ctx.lineJoin = "miter";
  ctx.lineCap = "butt";
  ctx.setLineDash(query.solid ? [] : [5, 3]);
  for (const [ink, thickness] of [[inks.queryHalo, query.solid ? 6 : 5], [inks.query, query.solid ? 3.2 : 2.6]]) {
    ctx.strokeStyle = ink;
    ctx.lineWidth = thickness;
    ctx.strokeRect(x, y, width, height);
  }
  ctx.setLineDash([]);
}

function drawBar(ctx, { layout, inks, font, view, summary, row }, { palette, low, high, part, unit, factor }) {
  const shades = ctx.createLinearGradient(layout.left, 0, layout.left + layout.width, 0);
  palette.forEach((colour, i) => shades.addColorStop(i / (palette.length - 1), css(colour)));
  ctx.fillStyle = shades;
  ctx.fillRect(layout.left, layout.barTop, layout.width, BAR.height);
  ctx.strokeStyle = inks.frame;
  ctx.lineWidth = 1;
  ctx.strokeRect(layout.left - 0.5, layout.barTop - 0.5, layout.width + 1, BAR.height + 1);
  const ticks = niceTicks(low * factor, high * factor, Math.min(6, layout.width / 60));
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : high * factor;
  ctx.font = `11px ${font}`;
  ctx.fillStyle = inks.muted;
  ctx.strokeStyle = inks.muted;
  ctx.textBaseline = "top";
  let end = -Infinity;
  ticks.forEach((tick, i) => {
    const x = layout.left + part(tick / factor) * layout.width;
    const text = i === ticks.length - 1 ? withUnits(plain(tick, step), unit) : plain(tick, step);
    const half = ctx.measureText(text).width / 2;
    const centre = Math.min(Math.max(x, layout.left + half - 4), layout.left + layout.width + MARGIN.right - half);
    if (centre - half < end + 5) return;
    end = centre + half;
    ctx.textAlign = "center";
    ctx.fillText(text, centre, layout.barTop + BAR.height + 5);
    ctx.beginPath();
    ctx.moveTo(Math.round(x) + (i === 0 && x <= layout.left ? 0 : -0.5), layout.barTop + BAR.height);
    ctx.lineTo(Math.round(x) + (i === 0 && x <= layout.left ? 0 : -0.5), layout.barTop + BAR.height + 3);
    ctx.stroke();
  });
  if (view !== "field" && summary && row) { // uniform attention: a small triangle above the bar
    const x = layout.left + part(1 / row.length) * layout.width;
    ctx.fillStyle = inks.muted;
    ctx.beginPath();
    ctx.moveTo(x, layout.barTop - 1);
    ctx.lineTo(x - 3.5, layout.barTop - 6);
    ctx.lineTo(x + 3.5, layout.barTop - 6);
    ctx.fill();
  }
}
