// Attention rows from queries and keys, computed for the one query, layer and head that is looked at.
import { readFloats } from "./buffers.js";
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

// Returns row(queryField, keyField, query, layer, head, temperature): weights of all keys, or null where the
// model has no such pair. `head` is a head's number, or "mean": the mean of the heads' softmaxes. `captured` are
// the pairs of the capture or of its reference.
export function attentionRows(meta, captured, data) {
  const width = meta.precision === "float32" ? 4 : 2;
  const fields = new Map(meta.fields.map((field) => [field.name, field]));
  const pairs = new Map(captured.map((pair) => [`${pair.query}>${pair.key}`, pair]));
  const decoded = new Map();

  function once(name, make) {
    if (!decoded.has(name)) decoded.set(name, make());
    return decoded.get(name);
  }
  const positions = (field) => once(field.name, () =>
    readFloats(data, "float32", field.position.at, tokenCount(field) * field.position.coordinates));
  function block(pair, part, layer, head, tokens) {
    const size = tokens * pair.channels;
    const at = pair[part].at + (layer * pair.heads.length + head) * size * width;
    return once(`${pair.query}>${pair.key}.${part}.${layer}.${head}`, () =>
      readFloats(data, meta.precision, at, size));
  }

  function addSoftmax(out, share, pair, query, layer, head, temperature) {
    const from = fields.get(pair.query);
    const to = fields.get(pair.key);
    const keys = tokenCount(to);
    const channels = pair.channels;
    const q = block(pair, "q", layer, head, tokenCount(from));
    const k = block(pair, "k", layer, head, keys);
    const slope = pair.slope[layer][head];
    const here = positions(from);
    const there = positions(to);
    const coordinates = from.position.coordinates;
    const scores = new Float64Array(keys);
    const root = Math.sqrt(channels);
    let greatest = -Infinity;
    for (let key = 0; key < keys; key += 1) {
      let score = 0;
      for (let c = 0; c < channels; c += 1) score += q[query * channels + c] * k[key * channels + c];
      score /= root;
      if (slope !== 0) {
        let square = 0;
        for (let c = 0; c < coordinates; c += 1) {
          square += (here[query * coordinates + c] - there[key * coordinates + c]) ** 2;
        }
        score -= slope * Math.sqrt(square);
      }
      scores[key] = score;
      if (score > greatest) greatest = score;
    }
    let total = 0;
    for (let key = 0; key < keys; key += 1) {
      scores[key] = Math.exp((scores[key] - greatest) / temperature);
      total += scores[key];
    }
    for (let key = 0; key < keys; key += 1) out[key] += (share * scores[key]) / total;
  }

  function row(queryField, keyField, query, layer, head, temperature) {
    const pair = pairs.get(`${queryField}>${keyField}`);
    if (!pair) return null;
    const depth = meta.layers.indexOf(layer);
    const heads = head === "mean" || !pair.heads.includes(head)
      ? pair.heads.map((_, index) => index) : [pair.heads.indexOf(head)];
    const out = new Float64Array(tokenCount(fields.get(keyField)));
    for (const index of heads) addSoftmax(out, 1 / heads.length, pair, query, depth, index, temperature);
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
