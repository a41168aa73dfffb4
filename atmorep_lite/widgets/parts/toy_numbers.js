// All numbers of attention of one query in the plane, and how they are written.
import { plain } from "./colour.js";

export const TOY_REACH = 3; // the plane shows -3 ... 3 in both directions
export const TOY_LETTERS = "abcdef";

// The matrix G of a score q . G k. With "turn", the keys that fit best lie `angle` degrees counter-clockwise of the query.
function formMatrix(form, degrees) {
  const angle = (degrees * Math.PI) / 180;
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  if (form === "turn") return [[c, s], [-s, c]];
  if (form === "stretch") { // 2 along the angle, -1/2 across it
    return [[2 * c * c - 0.5 * s * s, 2.5 * c * s], [2.5 * c * s, 2 * s * s - 0.5 * c * c]];
  }
  return [[1, 0], [0, 1]];
}

// What the query looks for (G^T q), then step by step: products, scores, powers, weights, pieces, their sum.
export function toyNumbers({ query, keys, values, form, angle, temperature }) {
  const g = formMatrix(form, angle);
  const sought = [0, 1].map((j) => query[0] * g[0][j] + query[1] * g[1][j]);
  const products = keys.map((k) => sought[0] * k[0] + sought[1] * k[1]);
  const divisor = Math.SQRT2 * temperature;
  const scores = products.map((p) => p / divisor);
  const top = Math.max(...scores);
  const powers = scores.map((s) => Math.exp(s - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  const weights = powers.map((p) => p / sum);
  const given = values || keys;
  const pieces = weights.map((w, j) => given[j].map((x) => w * x));
  const output = [0, 1].map((i) => pieces.reduce((a, piece) => a + piece[i], 0));
  const entropy = keys.length > 1
    ? -weights.reduce((a, w) => a + (w > 0 ? w * Math.log(w) : 0), 0) / Math.log(keys.length) : 0;
  return { g, sought, products, divisor, scores, top, powers, sum, weights, given, pieces, output, entropy };
}

export const hundredths = (x) => plain(x, 0.01);
export const pointText = (p) => `(${hundredths(p[0])}, ${hundredths(p[1])})`;
// A factor or summand in the middle of a formula: negative ones in brackets.
export const inFormula = (x) => (hundredths(x).startsWith("−") ? `(${hundredths(x)})` : hundredths(x));
