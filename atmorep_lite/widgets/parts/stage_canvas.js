// One map of the stage on its canvas, large enough for the back row: everything is in units of `scale`.
import { colourAt, css, niceTicks, plain, withUnits } from "./colour.js";
import { contourPath, graticule, projection, strokeGraticule, tokenBox } from "./geography.js";
import { strokeTwice } from "./map_layout.js";

const STAGE_EDGE = { left: 42, right: 12, top: 6, bottom: 20 };
const BAR_HEIGHT = 10;
const BAR_ROOM = 32;

// Where the map lies on a canvas of width x height CSS pixels.
export function stageLayout(frame, width, height, scale) {
  const aspect = (frame.north - frame.south) / (frame.east - frame.west);
  const room = { width: width - (STAGE_EDGE.left + STAGE_EDGE.right) * scale, height: height - (STAGE_EDGE.top + STAGE_EDGE.bottom + BAR_ROOM) * scale };
  const wide = Math.max(60, Math.min(room.width, room.height / Math.min(1, Math.max(0.3, aspect))));
  const tall = wide * Math.min(1, Math.max(0.3, aspect));
  const left = STAGE_EDGE.left * scale + Math.max(0, (room.width - wide) / 2);
  return { left, top: STAGE_EDGE.top * scale, width: wide, height: tall, scale, total: { width, height } };
}

export const stageProjection = (frame, layout) => projection(frame, layout.left, layout.top, layout.width, layout.height);

// An empty canvas of that size, and its context in CSS pixels.
export function blank(canvas, { total }) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(total.width * ratio);
  canvas.height = Math.round(total.height * ratio);
  canvas.style.height = `${total.height}px`;
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  return ctx;
}

// Draws a card. `map` has: layout, frame, project, coast (a path), answer, values, hidden, colours, inks, font, kind,
// cursor (a token { row, column } or null).
export function drawStage(canvas, map) {
  const ctx = blank(canvas, map.layout);
  drawStageMap(ctx, map);
  labelEdges(ctx, map);
  drawStageBar(ctx, map);
}

export function drawStageMap(ctx, map) {
  const { layout, inks, kind, values } = map;
  ctx.save();
  ctx.beginPath();
  ctx.rect(layout.left, layout.top, layout.width, layout.height);
  ctx.clip();
  ctx.fillStyle = inks.void;
  ctx.fillRect(layout.left, layout.top, layout.width, layout.height);
  if (values) fillPoints(ctx, map);
  if (kind === "seen") blankHidden(ctx, map);
  if (map.contours) strokeIsolines(ctx, map);
  strokeGraticule(ctx, { ...map, apart: 64 * map.layout.scale });
  strokeTwice(ctx, map.coast, inks.coast, 1.3 * layout.scale, inks.coastHalo, 3 * layout.scale);
  if (kind !== "truth" && kind !== "member") outlineHidden(ctx, map);
  if (map.cursor) outlineStageToken(ctx, map);
  ctx.restore();
  ctx.strokeStyle = inks.frame;
  ctx.lineWidth = 1;
  ctx.strokeRect(layout.left - 0.5, layout.top - 0.5, layout.width + 1, layout.height + 1);
}

function fillPoints(ctx, { answer, values, colours, layout }) {
  const [rows, columns] = answer.grid;
  const small = document.createElement("canvas");
  [small.width, small.height] = [columns, rows];
  const image = new ImageData(columns, rows);
  values.forEach((value, i) => {
    if (Number.isFinite(value)) image.data.set([...colourAt(colours.palette, colours.part(value)), 255], 4 * i);
  });
  small.getContext("2d").putImageData(image, 0, 0);
  ctx.imageSmoothingEnabled = true;
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(small, layout.left, layout.top, layout.width, layout.height);
}

const eachHidden = ({ answer, hidden, project }, act) => {
  const [, , rows, columns] = answer.shape;
  for (let i = 0; i < rows * columns; i += 1) {
    if (hidden[i]) act(tokenBox(answer, project, Math.floor(i / columns), i % columns));
  }
};

function blankHidden(ctx, map) {
  const { layout, inks } = map;
  ctx.save();
  ctx.beginPath();
  eachHidden(map, ({ x, y, width, height }) => ctx.rect(x, y, width, height));
  ctx.clip();
  ctx.fillStyle = inks.hidden;
  ctx.fillRect(layout.left, layout.top, layout.width, layout.height);
  const path = new Path2D();
  for (let x = layout.left - layout.height; x < layout.left + layout.width; x += 9 * layout.scale) {
    path.moveTo(x, layout.top + layout.height);
    path.lineTo(x + layout.height, layout.top);
  }
  ctx.strokeStyle = inks.hatch;
  ctx.lineWidth = 1.4 * layout.scale;
  ctx.stroke(path);
  ctx.restore();
}

// The border between what is hidden and what is not.
function outlineHidden(ctx, { answer, hidden, project, inks, layout }) {
  const [, , rows, columns] = answer.shape;
  const at = (row, column) => row >= 0 && row < rows && column >= 0 && column < columns && hidden[row * columns + column];
  const path = new Path2D();
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const { x, y, width, height } = tokenBox(answer, project, row, column);
      const mine = at(row, column);
      if (column + 1 < columns && mine !== at(row, column + 1)) {
        path.moveTo(x + width, y);
        path.lineTo(x + width, y + height);
      }
      if (row + 1 < rows && mine !== at(row + 1, column)) {
        path.moveTo(x, y + height);
        path.lineTo(x + width, y + height);
      }
    }
  }
  strokeTwice(ctx, path, inks.border, 1.8 * layout.scale, inks.borderHalo, 3.6 * layout.scale);
}

function outlineStageToken(ctx, { answer, cursor, project, inks, layout }) {
  const { x, y, width, height } = tokenBox(answer, project, cursor.row, cursor.column);
  const path = new Path2D();
  path.rect(x + 1, y + 1, width - 2, height - 2);
  strokeTwice(ctx, path, inks.query, 2.4 * layout.scale, inks.queryHalo, 5 * layout.scale);
}

function strokeIsolines(ctx, { answer, contours, contourTicks, layout, inks }) {
  const [rows, columns] = answer.grid;
  const x = (column) => layout.left + ((column + 0.5) / columns) * layout.width;
  const y = (row) => layout.top + ((row + 0.5) / rows) * layout.height;
  ctx.strokeStyle = inks.contour;
  ctx.lineWidth = 0.9 * layout.scale;
  ctx.stroke(contourPath(contours, answer.grid, contourTicks.map((tick) => tick + 1e-9), x, y));
}

function labelEdges(ctx, { frame, project, layout, inks, font }) {
  const lines = graticule(frame, project, 64 * layout.scale);
  ctx.font = `${12 * layout.scale}px ${font}`;
  ctx.fillStyle = inks.muted;
  ctx.textBaseline = "top";
  ctx.textAlign = "center";
  let end = -Infinity;
  for (const { x, label } of lines.meridians) {
    const half = ctx.measureText(label).width / 2;
    const centre = Math.min(Math.max(x, half), layout.total.width - half);
    if (centre - half < end + 6) continue;
    end = centre + half;
    ctx.fillText(label, centre, layout.top + layout.height + 4 * layout.scale);
  }
  ctx.textBaseline = "middle";
  ctx.textAlign = "right";
  for (const { y, label } of lines.parallels) {
    const middle = Math.min(Math.max(y, layout.top + 6 * layout.scale), layout.top + layout.height - 6 * layout.scale);
    ctx.fillText(label, layout.left - 6 * layout.scale, middle);
  }
}

function drawStageBar(ctx, { layout, inks, font, colours, answer }) {
  const { palette, low, high, part } = colours;
  const top = layout.top + layout.height + STAGE_EDGE.bottom * layout.scale + 2;
  const tall = BAR_HEIGHT * layout.scale;
  const shades = ctx.createLinearGradient(layout.left, 0, layout.left + layout.width, 0);
  palette.forEach((colour, i) => shades.addColorStop(i / (palette.length - 1), css(colour)));
  ctx.fillStyle = shades;
  ctx.fillRect(layout.left, top, layout.width, tall);
  ctx.strokeStyle = inks.frame;
  ctx.lineWidth = 1;
  ctx.strokeRect(layout.left - 0.5, top - 0.5, layout.width + 1, tall + 1);
  const ticks = niceTicks(low, high, Math.min(5, layout.width / (72 * layout.scale)));
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : high;
  ctx.font = `${12 * layout.scale}px ${font}`;
  ctx.fillStyle = inks.muted;
  ctx.textBaseline = "top";
  ctx.textAlign = "center";
  let end = -Infinity;
  ticks.forEach((tick, i) => {
    const x = layout.left + part(tick) * layout.width;
    const text = i === ticks.length - 1 ? withUnits(plain(tick, step), answer.units) : plain(tick, step);
    const half = ctx.measureText(text).width / 2;
    const centre = Math.min(Math.max(x, half), layout.total.width - half - 2);
    if (centre - half < end + 6) return;
    end = centre + half;
    ctx.fillText(text, centre, top + tall + 3 * layout.scale);
  });
}
