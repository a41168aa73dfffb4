// Attention rows from queries and keys, computed for the one query, layer and head that is looked at.
import { readFloats, readIntegers } from "./buffers.js";
import { distanceBetween } from "./places.js";

export const tokenCount = (field) => field.shape.reduce((product, n) => product * n, 1);

// Token index -> its place in each axis, C order of level, time, latitude, longitude.
export function unravel(field, token) {
  const [, times, rows, columns] = field.shape;
  const plane = rows * columns;
  return {
    level: Math.floor(token / (times * plane)),
    time: Math.floor(token / plane) % times,
    row: Math.floor((token % plane) / columns),
    column: token % columns,
  };
}

export function ravel(field, { level, time, row, column }) {
  const [, times, rows, columns] = field.shape;
  return ((level * times + time) * rows + row) * columns + column;
}

// Decoded numbers are kept; beyond so many it begins anew.
const MOST_DECODED = 48e6;

function recently(make) {
  const kept = new Map();
  let size = 0;
  return (name, ...given) => {
    if (!kept.has(name)) {
      const made = make(...given);
      size += made.length;
      if (size > MOST_DECODED) {
        kept.clear();
        size = made.length;
      }
      kept.set(name, made);
    }
    return kept.get(name);
  };
}

// Returns row(queryField, keyField, query, layer, head, temperature): weights of all keys, or null where the
// model has no such pair. `head` is a head's number, or "mean": the mean of the heads' softmaxes. `captured` are
// the pairs of the capture or of a reference.
export function attentionRows(meta, captured, data) {
  const width = { float32: 4, float16: 2, int8: 1 }[meta.precision];
  const fields = new Map(meta.fields.map((field) => [field.name, field]));
  const pairs = new Map(captured.map((pair) => [`${pair.query}>${pair.key}`, pair]));
  const positions = recently((field) =>
    readFloats(data, "float32", field.position.at, tokenCount(field) * field.position.coordinates));

  // Channels of `count` tokens from `first` on, of the block of one layer and head that has `tokens` tokens.
  function decode(pair, part, block, tokens, first, count) {
    const { channels } = pair;
    const { at, scale } = pair[part];
    const start = at + (block * tokens + first) * channels * width;
    if (scale === undefined) return readFloats(data, meta.precision, start, count * channels);
    const integers = readIntegers(data, Int8Array, start, count * channels);
    const scales = readFloats(data, "float32", scale + 4 * (block * tokens + first), count);
    const numbers = new Float32Array(count * channels);
    for (let token = 0, i = 0; token < count; token += 1) {
      for (let c = 0; c < channels; c += 1, i += 1) numbers[i] = integers[i] * scales[token];
    }
    return numbers;
  }
  const keysOf = recently(decode);

  // Distance of the query from every key in the scaled coordinates of the locality bias.
  function distancesFrom(from, query, to) {
    const here = positions(from.name, from);
    const there = positions(to.name, to);
    const { coordinates } = from.position;
    return new Float64Array(tokenCount(to)).map((_, key) => {
      let square = 0;
      for (let c = 0; c < coordinates; c += 1) square += (here[query * coordinates + c] - there[key * coordinates + c]) ** 2;
      return Math.sqrt(square);
    });
  }

  function addSoftmax(out, share, { q, k, slope, away }, temperature) {
    const channels = q.length;
    const root = Math.sqrt(channels);
    const scores = new Float64Array(out.length);
    let greatest = -Infinity;
    for (let key = 0, at = 0; key < scores.length; key += 1) {
      let score = 0;
      for (let c = 0; c < channels; c += 1, at += 1) score += q[c] * k[at];
      score /= root;
      if (away) score -= slope * away[key];
      scores[key] = score;
      if (score > greatest) greatest = score;
    }
    let total = 0;
    for (let key = 0; key < scores.length; key += 1) {
      scores[key] = Math.exp((scores[key] - greatest) / temperature);
      total += scores[key];
    }
    for (let key = 0; key < scores.length; key += 1) out[key] += (share * scores[key]) / total;
  }

  function row(queryField, keyField, query, layer, head, temperature) {
    const name = `${queryField}>${keyField}`;
    const pair = pairs.get(name);
    if (!pair) return null;
    const depth = meta.layers.indexOf(layer);
    const heads = head === "mean" || !pair.heads.includes(head)
      ? pair.heads.map((_, index) => index) : [pair.heads.indexOf(head)];
    const [from, to] = [fields.get(queryField), fields.get(keyField)];
    const [asked, keys] = [tokenCount(from), tokenCount(to)];
    const away = heads.some((index) => pair.slope[depth][index] !== 0) ? distancesFrom(from, query, to) : null;
    const out = new Float64Array(keys);
    for (const index of heads) {
      const block = depth * pair.heads.length + index;
      const q = decode(pair, "q", block, asked, query, 1);
      const k = keysOf(`${name} ${block}`, pair, "k", block, keys, 0, keys);
      addSoftmax(out, 1 / heads.length, { q, k, slope: pair.slope[depth][index], away }, temperature);
    }
    return out;
  }
  return { row, pair: (queryField, keyField) => pairs.get(`${queryField}>${keyField}`) || null };
}

// What a row says in numbers: share, mean distance and strongest token of each level and time; of all of them the
// strongest token, entropy as a part of uniform's, mean distance and mean lag from the query.
export function summarise(row, queryField, query, keyField) {
  const [levels, times, rows, columns] = keyField.shape;
  const plane = rows * columns;
  const at = unravel(queryField, query);
  const lat = queryField.latitude[at.row];
  const lon = queryField.longitude[at.column];
  const away = new Float64Array(plane);
  for (let place = 0; place < plane; place += 1) {
    const there = [keyField.latitude[Math.floor(place / columns)], keyField.longitude[place % columns]];
    away[place] = distanceBetween(keyField, lat, lon, there[0], there[1]);
  }
  const shares = new Float64Array(levels * times);
  const distances = new Float64Array(levels * times);
  const peaks = Array.from(shares, (_, slot) => slot * plane);
  let entropy = 0;
  let lag = 0;
  for (let key = 0; key < row.length; key += 1) {
    const weight = row[key];
    const slot = Math.floor(key / plane);
    shares[slot] += weight;
    distances[slot] += weight * away[key % plane];
    lag += weight * (keyField.hours[slot % times] - queryField.hours[at.time]);
    if (weight > 0) entropy -= weight * Math.log(weight);
    if (weight > row[peaks[slot]]) peaks[slot] = key;
  }
  const distance = distances.reduce((sum, part) => sum + part, 0);
  const peakToken = peaks.reduce((best, token) => (row[token] > row[best] ? token : best));
  return {
    shares, distances: distances.map((part, slot) => (shares[slot] > 0 ? part / shares[slot] : 0)), peaks,
    peak: row[peakToken], peakToken, entropy: row.length > 1 ? entropy / Math.log(row.length) : 0, distance, lag,
  };
}

// The weight above which the strongest tokens hold half of the softmax.
export function halfWeight(row) {
  const ordered = Float64Array.from(row).sort().reverse();
  let half = 0;
  let mass = ordered[0];
  while (mass < 0.5 && half < ordered.length - 1) mass += ordered[half += 1];
  return ordered[half];
}
