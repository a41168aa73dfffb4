// Tokens of any size on one grid: how many there are, where they lie, their means, and what means keep.
import { readFloats } from "./buffers.js";
import { valuesAt } from "./field_values.js";

const KEPT_SIZES = 8;

// Numbers of tokens (level, time, latitude, longitude) of a field cut into tokens of `size`, and what they cost.
export function tokenCounts(field, points, size) {
  const grid = [field.level.length, ...points.map((n, i) => n / size[i])];
  const tokens = grid.reduce((a, b) => a * b);
  return { grid, tokens, values: size.reduce((a, b) => a * b), pairs: tokens ** 2, bytes: 4 * tokens ** 2 };
}

// Their boxes on the map, as `tokenBox` and `tokenAt` of geography.js read them.
export function tokenCells({ latitude, longitude, spacing }, size) {
  const centres = (places, points) => Array.from({ length: places.length / points },
    (_, i) => (places[i * points] + places[(i + 1) * points - 1]) / 2);
  return {
    latitude: centres(latitude, size[1]), longitude: centres(longitude, size[2]),
    token: [size[1] * spacing[0], size[2] * spacing[1]],
  };
}

// What one level of a field holds at all times, with sums over all boxes that begin at the first point, so that the sum
// over any token takes eight look-ups.
export function readCube(meta, data, field, level, kind) {
  const [times, rows, columns] = [meta.hours.length, ...field.grid];
  const size = rows * columns;
  const values = new Float64Array(times * size);
  const mean = kind === "departures" ? readFloats(data, "float32", field.mean.at + 4 * level * size, size) : null;
  for (let time = 0; time < times; time += 1) {
    const slice = valuesAt(data, field, { level, time });
    for (let i = 0; i < size; i += 1) values[time * size + i] = slice[i] - (mean ? mean[i] : 0);
  }
  const seen = values.filter(Number.isFinite);
  const middle = seen.reduce((a, b) => a + b, 0) / Math.max(1, seen.length);
  const whole = seen.reduce((a, b) => a + (b - middle) ** 2, 0);
  const shape = [times, rows, columns];
  return {
    shape, values, middle, whole, kept: new Map(),
    sums: boxSums(shape, (i) => (Number.isFinite(values[i]) ? values[i] - middle : 0)),
    counts: seen.length === values.length ? null : boxSums(shape, (i) => (Number.isFinite(values[i]) ? 1 : 0)),
  };
}

function boxSums([times, rows, columns], valueAt) {
  const [perTime, perRow] = [(rows + 1) * (columns + 1), columns + 1];
  const sums = new Float64Array((times + 1) * perTime);
  for (let t = 1; t <= times; t += 1) {
    for (let y = 1; y <= rows; y += 1) {
      let line = 0;
      for (let x = 1; x <= columns; x += 1) {
        line += valueAt(((t - 1) * rows + y - 1) * columns + x - 1);
        const at = t * perTime + y * perRow + x;
        sums[at] = line + sums[at - perRow] + sums[at - perTime] - sums[at - perTime - perRow];
      }
    }
  }
  return sums;
}

// Sum over one token.
function boxSum(sums, [, rows, columns], [tt, ty, tx], t, y, x) {
  const [perTime, perRow] = [(rows + 1) * (columns + 1), columns + 1];
  const near = t * tt * perTime + y * ty * perRow + x * tx;
  const face = (at) => sums[at + ty * perRow + tx] - sums[at + tx] - sums[at + ty * perRow] + sums[at];
  return face(near + tt * perTime) - face(near);
}

// Means of the tokens and what they keep, as `tokenMeans` and `survivingShare` give them; kept for the last few sizes.
export function sizeOf(cube, size) {
  const key = size.join(" ");
  if (!cube.kept.has(key)) {
    if (cube.kept.size >= KEPT_SIZES) cube.kept.delete(cube.kept.keys().next().value);
    cube.kept.set(key, { ...tokenMeans(cube, size), survives: survivingShare(cube, size) });
  }
  return cube.kept.get(key);
}

// Mean of each token, in the order of the sequence; NaN where a token holds no value.
function tokenMeans(cube, size) {
  const [nt, ny, nx] = cube.shape.map((n, i) => n / size[i]);
  const full = size[0] * size[1] * size[2];
  const means = new Float64Array(nt * ny * nx);
  const counts = new Float64Array(nt * ny * nx);
  let at = 0;
  for (let t = 0; t < nt; t += 1) {
    for (let y = 0; y < ny; y += 1) {
      for (let x = 0; x < nx; x += 1) {
        counts[at] = cube.counts ? Math.round(boxSum(cube.counts, cube.shape, size, t, y, x)) : full;
        means[at] = counts[at] ? cube.middle + boxSum(cube.sums, cube.shape, size, t, y, x) / counts[at] : NaN;
        at += 1;
      }
    }
  }
  return { means, counts };
}

// Share of the variance that is left when each token is replaced by its mean.
function survivingShare(cube, size) {
  const { means, counts } = tokenMeans(cube, size);
  let left = 0;
  for (let i = 0; i < means.length; i += 1) if (counts[i]) left += counts[i] * (means[i] - cube.middle) ** 2;
  if (!(cube.whole > 0)) return NaN;
  return left < 1e-9 * cube.whole ? 0 : left / cube.whole; // of one token nothing but rounding is left
}

// One after another all sizes that fit, each with its number of tokens and what survives.
export function* everySize(cube, sizes, levels) {
  for (const tt of sizes.token_time) {
    for (const ty of sizes.token_latitude) {
      for (const tx of sizes.token_longitude) {
        const size = [tt, ty, tx];
        const tokens = levels * cube.shape.reduce((product, n, i) => product * (n / size[i]), 1);
        yield { size, tokens, survives: survivingShare(cube, size) };
      }
    }
  }
}
