// Maps of values on a regular grid, read from what maps_packing.py packed.
import { readIntegers } from "./buffers.js";
import { colourAt } from "./colour.js";
import { colouring, drawBar } from "./colour_bar.js";
import { coastPath, commonFrame, downwards, projection, strokeGraticule } from "./geography.js";
import { labelGraticule } from "./map_canvas.js";
import { mapLayout, prepare, strokeTwice } from "./map_layout.js";

const SHADES = 512;
const CURSOR = 9; // pixels between the middle and the end of the cross

// Values of map `index` as numbers, NaN where they are missing.
export function readMap(packed, data, index) {
  const [, rows, columns] = packed.shape;
  const [count, Type] = [rows * columns, packed.bits === 8 ? Uint8Array : Uint16Array];
  const missing = 2 ** packed.bits - 1;
  const codes = readIntegers(data, Type, packed.at + index * count * (packed.bits / 8), count);
  const [low, high] = packed.ranges[index];
  return Float64Array.from(codes, (code) => (code === missing ? NaN : low + (code / (missing - 1)) * (high - low)));
}

// Colours of a palette as one table of bytes.
function shadesOf(palette) {
  const table = new Uint8ClampedArray(3 * (SHADES + 1));
  for (let i = 0; i <= SHADES; i += 1) table.set(colourAt(palette, i / SHADES), 3 * i);
  return table;
}

// Everything that maps of one grid share: their frame, and how to draw values between two limits.
export function mapsOf(meta, data) {
  const { grid, coast } = meta;
  const [rows, columns] = [grid.latitude.length, grid.longitude.length];
  const frame = commonFrame([grid]);
  const up = downwards(grid) < 0;
  const coasts = new Map();
  const small = document.createElement("canvas");
  [small.width, small.height] = [columns, rows];

  function fill(ctx, values, { palette, part }, { left, top, width, height }) {
    const shades = shadesOf(palette);
    const image = new ImageData(columns, rows);
    for (let i = 0; i < values.length; i += 1) {
      if (!Number.isFinite(values[i])) continue;
      const line = Math.floor(i / columns); // an image's first line is its uppermost
      const to = 4 * ((up ? rows - 1 - line : line) * columns + (i % columns));
      const from = 3 * Math.round(SHADES * Math.min(Math.max(part(values[i]), 0), 1));
      image.data[to] = shades[from];
      image.data[to + 1] = shades[from + 1];
      image.data[to + 2] = shades[from + 2];
      image.data[to + 3] = 255;
    }
    small.getContext("2d").putImageData(image, 0, 0);
    ctx.imageSmoothingEnabled = true;
    ctx.imageSmoothingQuality = "high";
    ctx.drawImage(small, left, top, width, height);
  }

  // Draws values between `limits` [low, high], around 0 where `signed`; `bar` adds a colour bar, `cursor` is { row,
  // column } or null; `width` in pixels is the same for maps beside each other. Returns the projection.
  function draw(canvas, { values, limits, signed, units, look, bar, width, cursor = null }) {
    const layout = mapLayout(frame, width, bar);
    const project = projection(frame, layout.left, layout.top, layout.width, layout.height);
    if (coast && !coasts.has(layout.width)) coasts.set(layout.width, coastPath(meta, data, frame, project));
    const ctx = prepare(canvas, layout);
    const inks = { frame: look.ink("frame"), graticule: look.ink("graticule"), muted: look.ink("muted") };
    const map = { layout, frame, project, inks, font: look.font, view: "field", row: null };
    const colours = colouring({ view: "field", scheme: look.scheme, field: { range: [limits], signed, units }, slot: { level: 0 } });
    ctx.save();
    ctx.beginPath();
    ctx.rect(layout.left, layout.top, layout.width, layout.height);
    ctx.clip();
    ctx.fillStyle = look.ink("void");
    ctx.fillRect(layout.left, layout.top, layout.width, layout.height);
    fill(ctx, values, colours, layout);
    strokeGraticule(ctx, map);
    if (coast) strokeTwice(ctx, coasts.get(layout.width), look.ink("coast"), 1, look.ink("coast-halo"), 2.4);
    if (cursor) {
      const [x, y] = [project.x(grid.longitude[cursor.column]), project.y(grid.latitude[cursor.row])];
      const cross = new Path2D(`M${x - CURSOR} ${y}h${2 * CURSOR}M${x} ${y - CURSOR}v${2 * CURSOR}`);
      strokeTwice(ctx, cross, "#fff", 1.4, "#111", 3.4);
    }
    ctx.restore();
    ctx.strokeStyle = inks.frame;
    ctx.lineWidth = 1;
    ctx.strokeRect(layout.left - 0.5, layout.top - 0.5, layout.width + 1, layout.height + 1);
    labelGraticule(ctx, map);
    if (bar) drawBar(ctx, map, colours);
    return project;
  }

  // Row and column of the grid point nearest to a pixel of a map.
  function placeAt(project, x, y) {
    const nearestOf = (axis, value) => axis.reduce((best, a, i) => (Math.abs(a - value) < Math.abs(axis[best] - value) ? i : best), 0);
    return { row: nearestOf(grid.latitude, project.lat(y)), column: nearestOf(grid.longitude, project.lon(x)) };
  }
  return { draw, placeAt, rows, columns };
}
