// Values and masks of a field out of the buffer, and how its numbers are written.
import { readFloats, readIntegers } from "./buffers.js";
import { plain, withUnits } from "./colour.js";
import { nearest } from "./places.js";

const MISSING = 65535;

// Values of one level and time on the field's grid; NaN where there is none.
export function valuesAt(data, field, slot) {
  const size = field.grid[0] * field.grid[1];
  const at = field.values.at + 2 * (slot.level * field.shape[1] + slot.time) * size;
  const [low, high] = field.range[slot.level];
  return Float32Array.from(readIntegers(data, Uint16Array, at, size),
    (v) => (v === MISSING ? NaN : low + (v / (MISSING - 1)) * (high - low)));
}

// 1 for each token of one level and time that was hidden from the model.
export function maskAt(data, field, slot) {
  const plane = field.shape[2] * field.shape[3];
  return readIntegers(data, Uint8Array, field.mask.at + (slot.level * field.shape[1] + slot.time) * plane, plane);
}

// "281.3 K, hidden from the model": mean of the values inside one token.
export function tokenText(data, field, { level, time, row, column }) {
  const values = valuesAt(data, field, { level, time });
  const [tall, wide] = [field.grid[0] / field.shape[2], field.grid[1] / field.shape[3]];
  let sum = 0;
  for (let y = 0; y < tall; y += 1) {
    for (let x = 0; x < wide; x += 1) sum += values[(row * tall + y) * field.grid[1] + column * wide + x];
  }
  const [low, high] = field.range[level];
  const step = 10 ** Math.floor(Math.log10((high - low) / 80));
  const text = Number.isFinite(sum) ? withUnits(plain(sum / (tall * wide), step), field.units) : "no value";
  const hidden = maskAt(data, field, { level, time })[row * field.shape[3] + column] === 1;
  return { text, hidden };
}

// Wind at the nearest level and time, for `drawArrows`; the longest arrow is that of the level's greatest speed.
export function arrowsAt({ wind }, data, level, hours) {
  const [, times, rows, columns] = wind.shape;
  const size = rows * columns;
  const slot = nearest(wind.level, level) * times + nearest(wind.hours, hours);
  const part = (which) => readFloats(data, "float32", wind[which].at + 4 * slot * size, size);
  return { ...wind, u: part("u"), v: part("v"), most: wind.most[nearest(wind.level, level)] };
}
