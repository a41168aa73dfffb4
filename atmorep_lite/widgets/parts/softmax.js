// Attention rows from queries and keys, computed for the one query, layer and head that is looked at.
import { readFloats } from "./buffers.js";

const EARTH_RADIUS_KM = 6371;
const radians = (degrees) => (degrees * Math.PI) / 180;

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
// model has no such pair. `head` is a head's number, or "mean": the mean of the heads' softmaxes.
export function attentionRows(meta, data) {
  const width = meta.precision === "float32" ? 4 : 2;
  const fields = new Map(meta.fields.map((field) => [field.name, field]));
  const pairs = new Map(meta.pairs.map((pair) => [`${pair.query}>${pair.key}`, pair]));
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

// Great-circle distance in km (haversine).
function kilometres(lat1, lon1, lat2, lon2) {
  const a = Math.sin(radians(lat2 - lat1) / 2) ** 2
    + Math.cos(radians(lat1)) * Math.cos(radians(lat2)) * Math.sin(radians(lon2 - lon1) / 2) ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(a)));
}

// What a row says in numbers: share of each level and time, peak, entropy as a part of uniform's, mean
// distance (km) and mean lag (h) from the query, and the weight above which tokens hold half of the mass.
export function summarise(row, queryField, query, keyField) {
  const [levels, times, rows, columns] = keyField.shape;
  const plane = rows * columns;
  const at = unravel(queryField, query);
  const lat = queryField.latitude[at.row];
  const lon = queryField.longitude[at.column];
  const shares = new Float64Array(levels * times);
  const places = new Float64Array(plane);
  let entropy = 0;
  let peakToken = 0;
  let lag = 0;
  for (let key = 0; key < row.length; key += 1) {
    const weight = row[key];
    const slot = Math.floor(key / plane);
    shares[slot] += weight;
    places[key % plane] += weight;
    lag += weight * (keyField.hours[slot % times] - queryField.hours[at.time]);
    if (weight > 0) entropy -= weight * Math.log(weight);
    if (weight > row[peakToken]) peakToken = key;
  }
  let distance = 0;
  for (let place = 0; place < plane; place += 1) {
    const there = [keyField.latitude[Math.floor(place / columns)], keyField.longitude[place % columns]];
    distance += places[place] * kilometres(lat, lon, there[0], there[1]);
  }
  const ordered = Float64Array.from(row).sort().reverse();
  let half = 0;
  let mass = ordered[0];
  while (mass < 0.5 && half < ordered.length - 1) mass += ordered[half += 1];
  return {
    shares, peak: row[peakToken], peakToken, entropy: row.length > 1 ? entropy / Math.log(row.length) : 0,
    distance, lag, halfWeight: ordered[half],
  };
}
