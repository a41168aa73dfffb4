// The large map of a field and its tokens at one time, with its colour bar.
import { PALETTES, inkOn, colourAt } from "./colour.js";
import { colouring, drawBar } from "./colour_bar.js";
import { coastPath, projection, strokeGraticule, tokenBox } from "./geography.js";
import { labelGraticule } from "./map_canvas.js";
import { mapLayout, prepare, strokeTwice } from "./map_layout.js";
import { gridFrame, gridPicture, placePicture, strokeBox, strokeLattice } from "./token_canvas.js";

const NUMBERED = { width: 24, height: 13 }; // pixels of a token from which its number is written

// Inks of the style sheet that maps of tokens need.
export function tokenInks(ink) {
  const names = {
    muted: "muted", void: "void", frame: "frame", graticule: "graticule", coast: "coast", coastHalo: "coast-halo", page: "page",
    query: "query-map", queryHalo: "query-halo", lattice: "lattice", latticeHalo: "lattice-halo", latticeDark: "lattice-dark", ink: "ink",
  };
  return Object.fromEntries(Object.entries(names).map(([key, name]) => [key, ink(name)]));
}

// Colours of values of a field on a level; of departures; of what means leave out, up to `most`.
export function tokenColours(field, level, kind, scheme, most = null) {
  const range = most !== null ? [-most, most] : kind === "departures" ? field.departures[level] : field.range[level];
  const signed = most !== null || kind === "departures" || field.signed;
  return colouring({ view: "field", scheme, field: { range: [range], signed, units: field.units }, slot: { level: 0 } });
}

export function orderColours(first, count) {
  const part = (index) => (count > 1 ? (index - first) / (count - 1) : 0.5);
  return { palette: PALETTES.plain, low: first, high: first + Math.max(1, count - 1), part, unit: "", factor: 1 };
}

// Geometry of the map at a width; coastlines are kept until it changes.
export function tokenGeometry(meta, data) {
  const frame = gridFrame(meta);
  let kept = null;
  return (width) => {
    if (kept && kept.width === width) return kept;
    const layout = mapLayout(frame, width, true);
    const project = projection(frame, layout.left, layout.top, layout.width, layout.height);
    kept = { width, frame, layout, project, coast: coastPath(meta, data, frame, project) };
    return kept;
  };
}

// `map` has meta, geometry, cells, colours, inks, font, chosen and cursor ({ row, column } or null), values (of the grid's
// points) or tokens (one value for each token), first (number of the first token, or null), over(ctx, project)
// (optional: what lies on them).
export function drawTokenMap(canvas, map) {
  const { meta, cells, colours, inks, font, tokens, first } = map;
  const { frame, layout, project, coast } = map.geometry;
  const ctx = prepare(canvas, layout);
  ctx.save();
  ctx.beginPath();
  ctx.rect(layout.left, layout.top, layout.width, layout.height);
  ctx.clip();
  ctx.fillStyle = inks.void;
  ctx.fillRect(layout.left, layout.top, layout.width, layout.height);
  const shape = tokens ? [cells.latitude.length, cells.longitude.length] : [meta.latitude.length, meta.longitude.length];
  placePicture(ctx, gridPicture(tokens || map.values, shape, colours), meta, project);
  strokeGraticule(ctx, { frame, project, layout, inks });
  strokeTwice(ctx, coast, inks.coast, 1.1, inks.coastHalo, 2.8);
  strokeLattice(ctx, cells, project, inks, colours.palette);
  map.over?.(ctx, project);
  if (map.over) strokeTwice(ctx, coast, inks.coast, 0.8, inks.coastHalo, 1.6);
  if (first !== null) numberTokens(ctx, map, shape[1]);
  if (map.cursor) strokeBox(ctx, tokenBox(cells, project, map.cursor.row, map.cursor.column), inks.lattice, inks.latticeHalo, 1.6);
  if (map.chosen) strokeBox(ctx, tokenBox(cells, project, map.chosen.row, map.chosen.column), inks.query, inks.queryHalo, 3);
  ctx.restore();
  ctx.strokeStyle = inks.frame;
  ctx.lineWidth = 1;
  ctx.strokeRect(layout.left - 0.5, layout.top - 0.5, layout.width + 1, layout.height + 1);
  labelGraticule(ctx, { frame, project, layout, inks, font });
  drawBar(ctx, { layout, inks, font, view: "field", row: null }, colours);
}

function numberTokens(ctx, { cells, colours, font, first, geometry }, columns) {
  ctx.font = `11px ${font}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  for (let i = 0; i < cells.latitude.length * columns; i += 1) {
    const box = tokenBox(cells, geometry.project, Math.floor(i / columns), i % columns);
    if (box.width < NUMBERED.width || box.height < NUMBERED.height) return;
    ctx.fillStyle = inkOn(colourAt(colours.palette, colours.part(first + i)));
    ctx.fillText(String(first + i), box.x + box.width / 2, box.y + box.height / 2 + 0.5);
  }
}
