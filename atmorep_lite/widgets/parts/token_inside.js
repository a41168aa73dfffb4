// What one token holds: its values at each of its times, what is said of its time and place, and the vector that it becomes.
import { colourAt, inkOn, plain, withUnits } from "./colour.js";
import { element } from "./controls.js";
import { exactly } from "./token_numbers.js";
import { gridPicture, sizedContext } from "./token_canvas.js";

const PATCH_CELL = { most: 46, text: 31 };
const ALL_PATCHES = 420; // height that all of them together should not exceed by much
const VECTOR_HEIGHT = 16; // height of the vector

// buildInside(): { node, draw(seen) }; `seen` has size, values (of the token), times (labels), colours, units, step (of
// numbers), told (rows [name, value] about time and place), inks, font, width.
export function buildInside() {
  const patches = element("div", { class: "arl-token-patches" });
  const vector = element("canvas", { class: "arl-canvas arl-token-vector", role: "img" });
  const note = element("p", { class: "arl-note arl-token-vector-note" });
  const told = element("dl", { class: "arl-token-told" });
  const node = element("div", { class: "arl-token-inside" }, patches, vector, note, told);

  function draw(seen) {
    const [tt, ty, tx] = seen.size;
    const columns = Math.min(tt, Math.max(1, Math.floor((seen.width + 10) / (Math.max(56, 6 * tx) + 10))), 6);
    const room = (seen.width - 12 * columns) / columns; // gaps and edges
    const cell = Math.min(PATCH_CELL.most, Math.floor(170 / ty), room / tx, Math.max(2, ALL_PATCHES / Math.ceil(tt / columns) / ty));
    if (patches.childElementCount !== tt) {
      patches.replaceChildren(...Array.from({ length: tt }, () => element("figure", { class: "arl-token-patch" },
        element("canvas", { class: "arl-canvas", role: "img" }), element("figcaption"))));
    }
    const digits = (value) => plain(value, seen.step);
    [...patches.children].forEach((figure, time) => {
      const values = seen.values.slice(time * ty * tx, (time + 1) * ty * tx);
      drawPatch(figure.firstChild, values, [ty, tx], cell, seen, digits);
      figure.lastChild.textContent = seen.times[time];
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      figure.firstChild.setAttribute("aria-label", `${seen.times[time]}: ${ty} by ${tx} values, mean ${withUnits(digits(mean), seen.units)}`);
    });
    drawVector(vector, seen);
    note.textContent = `The vector of ${seen.values.length} values that stands for it: time first, then latitude, then longitude.`;
    vector.setAttribute("aria-label", note.textContent);
    told.replaceChildren(...seen.told.map(([name, value]) => element("div", {},
      element("dt", { text: name }), element("dd", { text: value }))));
  }
  return { node, draw };
}

function drawPatch(canvas, values, [rows, columns], cell, { colours, inks, font }, digits) {
  const [width, height] = [Math.max(8, cell * columns), Math.max(8, cell * rows)];
  const ctx = sizedContext(canvas, width + 2, height + 2);
  ctx.imageSmoothingEnabled = false;
  ctx.fillStyle = inks.void;
  ctx.fillRect(1, 1, width, height);
  ctx.drawImage(gridPicture(values, [rows, columns], colours), 1, 1, width, height);
  ctx.strokeStyle = inks.frame;
  ctx.lineWidth = 1;
  ctx.strokeRect(0.5, 0.5, width + 1, height + 1);
  if (cell < PATCH_CELL.text) return;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.font = `${cell < 38 ? 10 : 11}px ${font}`;
  values.forEach((value, i) => {
    ctx.fillStyle = Number.isFinite(value) ? inkOn(colourAt(colours.palette, colours.part(value))) : inks.muted;
    ctx.fillText(Number.isFinite(value) ? digits(value) : "–", 1 + (i % columns + 0.5) * cell, 1.5 + (Math.floor(i / columns) + 0.5) * cell);
  });
}

function drawVector(canvas, { values, size, colours, inks, width }) {
  const ctx = sizedContext(canvas, width, VECTOR_HEIGHT);
  const wide = width / values.length;
  ctx.fillStyle = inks.void;
  ctx.fillRect(0, 0, width, VECTOR_HEIGHT);
  ctx.imageSmoothingEnabled = wide < 1;
  ctx.drawImage(gridPicture(values, [1, values.length], colours), 0, 0, width, VECTOR_HEIGHT);
  ctx.fillStyle = inks.page;
  const plane = size[1] * size[2];
  for (let i = plane; i < values.length; i += plane) ctx.fillRect(i * wide - 1, 0, 2, VECTOR_HEIGHT);
}

// Rows about time and place, as tokens.INFO of the library has them: the last time of the token, its point (ty // 2, tx // 2).
export function toldOf(meta, field, size, [level, time, row, column]) {
  const { info } = meta;
  const last = (time + 1) * size[0] - 1;
  const [y, x] = [row * size[1] + Math.floor(size[1] / 2), column * size[2] + Math.floor(size[2] / 2)];
  return {
    year: info.year[last], day_of_year: info.day_of_year[last], hour: info.hour[last], level: field.level[level],
    colatitude: info.colatitude[y], longitude: info.longitude[x], resolution: info.resolution,
  };
}

const INFO_NAMES = { day_of_year: "day of year" };
const INFO_UNITS = { level: " hPa", colatitude: "°", longitude: "°", resolution: "°", hour: " h" };

export const toldRows = (told) => Object.entries(told).map(([name, value]) => [INFO_NAMES[name] || name,
  name === "level" && value === 0 ? "surface" : `${exactly(value)}${INFO_UNITS[name] || ""}`]);
