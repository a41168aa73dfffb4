// An ensemble on a line: how it is drawn, moved, and judged against many truths.
import { descended, erf, lossGradient, lossParts, lossValue, moments } from "./ensemble_losses.js";

export const REACH = 4; // members lie within -REACH ... REACH
const POINTS_OF = { fine: 72, coarse: 44 }; // of a curve
const CARES = 1e-9;

// Uniform numbers in (0, 1) from a seed (mulberry32), the same as in Python.
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

// The quantile of a standard normal: Newton's method from the middle, which never steps over the root.
function normalQuantile(level) {
  let x = 0;
  for (let n = 0; n < 60; n += 1) {
    const miss = 0.5 * (1 + erf(x / Math.SQRT2)) - level;
    const step = (miss * Math.sqrt(2 * Math.PI)) / Math.exp(-0.5 * x * x);
    x -= step;
    if (Math.abs(step) < 1e-15 * (1 + Math.abs(x))) break;
  }
  return x;
}

// Members at quantiles of a Gaussian, each moved a little by the seed, all moved to exactly this mean and spread.
export function drawMembers(count, seed, mean, spread) {
  const next = uniform(seed);
  const drawn = Array.from({ length: count }, (_, i) => normalQuantile((i + 0.2 + 0.6 * next()) / count));
  return moved(drawn, mean, spread);
}

// The same members with another mean and spread.
export function moved(members, mean, spread) {
  const now = moments(members);
  const factor = now.variance > 1e-24 ? spread / now.sigma : 0;
  return members.map((x) => mean + factor * (x - now.mean));
}

// How often the truth has rank 1, 2, ... among the members; ties are shared equally.
export function rankShares(members, truths) {
  const shares = new Array(members.length + 1).fill(0);
  for (const y of truths) {
    const below = members.reduce((n, x) => n + (x < y), 0);
    const equal = members.reduce((n, x) => n + (x === y), 0);
    for (let rank = below; rank <= below + equal; rank += 1) shares[rank] += 1 / (equal + 1) / truths.length;
  }
  return shares;
}

// Spread over error as atmorep_lite.verification has it (Fortin et al. 2014): 1 where they belong together.
export function spreadSkill(members, truths) {
  const { mean, variance } = moments(members);
  const spread = Math.sqrt((variance * (members.length + 1)) / members.length);
  const error = Math.sqrt(truths.reduce((sum, y) => sum + (y - mean) ** 2, 0) / truths.length);
  return { spread, error, ratio: error > 0 && members.length > 1 ? spread / error : NaN };
}

// The members with another spread, or another mean.
function along(members, axis, value) {
  const { mean, sigma } = moments(members);
  return axis === "spread" ? moved(members, mean, value) : moved(members, value, sigma);
}

// Where a parabola through three neighbours is least, in steps from the middle one.
const vertex = (a, b, c) => (0.5 * (a - c)) / (a - 2 * b + c);

// A loss and its parts along the spread or the mean of the ensemble, and where it is least:
// { at, value, parts, best (null where the loss does not care), atEdge (least at an end) }. "coarse" is for small pictures.
export function lossCurve(name, members, truths, axis, [low, high], fineness = "fine") {
  const count = POINTS_OF[fineness];
  const at = Array.from({ length: count + 1 }, (_, i) => low + (i / count) * (high - low));
  if (axis === "spread") at[0] = high * 1e-5;
  const parts = at.map((x) => lossParts(name, along(members, axis, x), truths));
  const value = parts.map((p) => p.reduce((a, b) => a + b, 0));
  const [least, most] = [Math.min(...value), Math.max(...value)];
  if (most - least < CARES) return { at, value, parts, best: null, atEdge: false };
  const i = value.indexOf(least);
  if (i === 0 || i === count) return { at, value, parts, best: i === 0 && axis === "spread" ? 0 : at[i], atEdge: true };
  if (fineness === "coarse") {
    return { at, value, parts, best: at[i] + (vertex(value[i - 1], least, value[i + 1]) * (high - low)) / count, atEdge: false };
  }
  const loss = (x) => lossValue(name, along(members, axis, x), truths);
  const golden = (Math.sqrt(5) - 1) / 2;
  let [a, b] = [at[i - 1], at[i + 1]];
  let [c, d] = [b - golden * (b - a), a + golden * (b - a)];
  let [atC, atD] = [loss(c), loss(d)];
  for (let n = 0; n < 22; n += 1) { // golden section
    if (atC < atD) {
      [b, d, atD, c] = [d, c, atC, d - golden * (d - a)];
      atC = loss(c);
    } else {
      [a, c, atC, d] = [c, d, atD, c + golden * (b - c)];
      atD = loss(d);
    }
  }
  return { at, value, parts, best: (a + b) / 2, atEdge: false };
}

// The spread that a loss asks for where the truths have other spreads: [[spread of truths, asked], ...], null where it
// does not care. `shape` are truths of spread 1; the members keep their mean.
export function askedSpreads(name, members, shape) {
  const few = shape.filter((_, i) => i % 4 === 1 || shape.length < 64);
  return Array.from({ length: 24 }, (_, i) => 0.05 * (i + 1)).map((error) => {
    const truths = few.map((y) => error * y);
    const factors = Array.from({ length: 33 }, (_, i) => (i === 0 ? 1e-5 : 0.1 * i));
    const values = factors.map((f) => lossValue(name, along(members, "spread", f * error), truths));
    const best = values.indexOf(Math.min(...values));
    if (Math.max(...values) - values[best] < CARES) return null;
    if (best === 0 || best === factors.length - 1) return [error, factors[best] * error];
    return [error, (factors[best] + 0.1 * vertex(values[best - 1], values[best], values[best + 1])) * error];
  });
}

// One step down the gradient: as long as `rate` says, shorter where the loss would rise. Returns the members, the same
// ones where no step helps.
export function descend(name, members, truths, { rate = 0.1, farthest = 0.05 } = {}) {
  const pull = lossGradient(name, members, truths).map((g) => g * members.length);
  const steepest = Math.max(...pull.map(Math.abs));
  if (!(steepest > 1e-12) || !Number.isFinite(steepest)) return members;
  const before = descended(name, members, truths);
  let step = Math.min(rate, farthest / steepest);
  for (let n = 0; n < 24; n += 1, step /= 2) {
    const next = members.map((x, i) => Math.min(Math.max(x - step * pull[i], -REACH), REACH));
    if (descended(name, next, truths) < before) return next;
  }
  return members;
}
