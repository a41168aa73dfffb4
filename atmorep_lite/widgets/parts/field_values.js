// Values and masks of a field out of the buffer, and how its numbers are written.
import { readFloats, readIntegers } from "./buffers.js";
import { plain, withUnits } from "./colour.js";
import { nearest } from "./places.js";

const MISSING = 65535;

// Values of one level and time on the field's grid; NaN where there is none. Or their errors, where these are known.
export function valuesAt(data, field, slot, what = { ...field.values, range: field.range }) {
  const size = field.grid[0] * field.grid[1];
  const at = what.at + 2 * (slot.level * field.shape[1] + slot.time) * size;
  const [low, high] = what.range[slot.level];
  return Float32Array.from(readIntegers(data, Uint16Array, at, size),
    (v) => (v === MISSING ? NaN : low + (v / (MISSING - 1)) * (high - low)));
}

// 1 for each token of one level and time that was hidden from the model.
export function maskAt(data, field, slot) {
  const plane = field.shape[2] * field.shape[3];
  return readIntegers(data, Uint8Array, field.mask.at + (slot.level * field.shape[1] + slot.time) * plane, plane);
}

// Mean of a grid's values inside one token.
function tokenMean(field, values, { row, column }) {
  const [tall, wide] = [field.grid[0] / field.shape[2], field.grid[1] / field.shape[3]];
  let sum = 0;
  for (let y = 0; y < tall; y += 1) {
    for (let x = 0; x < wide; x += 1) sum += values[(row * tall + y) * field.grid[1] + column * wide + x];
  }
  return sum / (tall * wide);
}

// "281.3 K" and whether the token was hidden: mean of the values inside one token; "error +0.4 K" where it is known.
export function tokenText(data, field, place) {
  const [low, high] = field.range[place.level];
  const step = 10 ** Math.floor(Math.log10((high - low) / 80));
  const mean = tokenMean(field, valuesAt(data, field, place), place);
  const text = Number.isFinite(mean) ? withUnits(plain(mean, step), field.units) : "no value";
  const hidden = maskAt(data, field, place)[place.row * field.shape[3] + place.column] === 1;
  const wrong = field.error ? tokenMean(field, valuesAt(data, field, place, field.error), place) : NaN;
  const error = Number.isFinite(wrong) ? `error ${wrong > 0 ? "+" : ""}${withUnits(plain(wrong, step), field.units)}` : "";
  return { text, hidden, error, mean };
}

// Wind at the nearest level and time, for `drawArrows`; the longest arrow is that of the level's greatest speed.
export function arrowsAt({ wind }, data, level, hours) {
  const [, times, rows, columns] = wind.shape;
  const size = rows * columns;
  const slot = nearest(wind.level, level) * times + nearest(wind.hours, hours);
  const part = (which) => readFloats(data, "float32", wind[which].at + 4 * slot * size, size);
  return { ...wind, u: part("u"), v: part("v"), most: wind.most[nearest(wind.level, level)] };
}
