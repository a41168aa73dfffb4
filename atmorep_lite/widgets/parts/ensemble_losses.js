// Losses of one ensemble against many sorted truths, as in atmorep_lite.losses: value, parts, gradient with respect to each member.

const NODES = 16; // of the error function's table, a unit

function erfSeries(x) {
  let [term, sum] = [x, x];
  for (let n = 1; n < 200 && Math.abs(term) > 1e-18 * Math.abs(sum); n += 1) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum; // all terms of one sign: nothing cancels
}
const ERF = Float64Array.from({ length: 6 * NODES + 1 }, (_, i) => erfSeries(i / NODES));
const SLOPE = Float64Array.from(ERF, (_, i) => (2 / Math.sqrt(Math.PI)) * Math.exp(-((i / NODES) ** 2)));

// The error function: Taylor's series around the nearest node of a table; exp(-2 a d - d^2) = sum of b_n d^n gives its terms.
export function erf(x) {
  const t = Math.abs(x);
  if (t >= 6) return Math.sign(x);
  const i = Math.round(t * NODES);
  const [a, d] = [i / NODES, t - i / NODES];
  let [before, b, power, sum] = [0, 1, d, d];
  for (let n = 1; n < 10; n += 1) {
    const next = (-2 * a * b - 2 * before) / n;
    before = b;
    b = next;
    power *= d;
    sum += (b * power) / (n + 1);
  }
  return Math.sign(x) * (ERF[i] + SLOPE[i] * sum);
}

const ROOT_PI = Math.sqrt(Math.PI);
const ROOT_TWO_PI = Math.sqrt(2 * Math.PI);
const share = (numbers, f) => {
  let sum = 0;
  for (let i = 0; i < numbers.length; i += 1) sum += f(numbers[i]);
  return sum / numbers.length;
};

const sums = new WeakMap(); // of truths: sums of all up to each

// Mean distance of x to sorted truths, and mean sign of x - truth.
function toTruths(x, truths) {
  if (!sums.has(truths)) {
    const upTo = new Float64Array(truths.length + 1);
    truths.forEach((y, i) => { upTo[i + 1] = upTo[i] + y; });
    sums.set(truths, upTo);
  }
  const upTo = sums.get(truths);
  const count = truths.length;
  const first = (beyond) => { // the first truth that is not below x, or the first above it
    let [low, high] = [0, count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (beyond ? truths[middle] <= x : truths[middle] < x) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const [below, upToX] = [first(false), first(true)];
  return { distance: (x * (2 * below - count) - 2 * upTo[below] + upTo[count]) / count, sign: (below + upToX - count) / count };
}

// Mean and spread (with n - 1, as torch's) of members.
export function moments(members) {
  const mean = share(members, (x) => x);
  const variance = members.length > 1 ? share(members, (x) => (x - mean) ** 2) * (members.length / (members.length - 1)) : 0;
  return { mean, variance, sigma: Math.sqrt(Math.max(variance, 1e-36)) };
}

// Losses that see only the mean and the spread: `of` gives the parts of one truth's loss at d = truth - mean,
// `slope` its derivatives by mean and spread; `least` is the spread below which nothing changes any more.
const BY_MOMENTS = {
  mse: { of: (d) => [d * d, 0], slope: (d) => [-2 * d, 0] },
  stats: {
    of: (d, s) => [(Math.exp(-0.5 * (d / s) ** 2) - 1) ** 2, Math.sqrt(s)],
    slope: (d, s) => {
      const g = Math.exp(-0.5 * (d / s) ** 2);
      const common = g > 0 ? (2 * (g - 1) * g * d) / (s * s) : 0;
      return [common, (common * d) / s + 0.5 / Math.sqrt(s)];
    },
  },
  stats_area: {
    least: 1e-9,
    of: (d, s) => [0.2 * erf(d / s ** 2) ** 2, Math.sqrt(s)],
    slope: (d, s) => {
      const bell = Math.exp(-((d / s ** 2) ** 2));
      const common = bell > 0 ? (0.8 / ROOT_PI) * erf(d / s ** 2) * (bell / s ** 2) : 0;
      return [-common, 0.5 / Math.sqrt(s) - (2 * common * d) / s];
    },
  },
  gaussian_likelihood: {
    least: 1e-3,
    of: (d, s) => [0.5 * (d / s) ** 2, Math.log(s) + 0.5 * Math.log(2 * Math.PI)],
    slope: (d, s) => [-d / s ** 2, 1 / s - d ** 2 / s ** 3],
  },
  gaussian_crps: {
    least: 1e-6,
    of: (d, s) => {
      const [z, even] = [d / s, erf(d / s / Math.SQRT2)];
      return [s * (z * even + (2 / ROOT_TWO_PI) * Math.exp(-0.5 * z * z)), -s / ROOT_PI];
    },
    slope: (d, s) => [-erf(d / s / Math.SQRT2), (2 / ROOT_TWO_PI) * Math.exp(-0.5 * (d / s) ** 2) - 1 / ROOT_PI],
  },
  published_crps: {
    of: (d, s) => {
      const z = d / s;
      return [s * (z * (ROOT_TWO_PI * (1 + erf(z / Math.SQRT2)) - 1) + 2 * Math.exp(-0.5 * z * z)), -s / ROOT_PI];
    },
    slope: (d, s) => [
      -(ROOT_TWO_PI * (1 + erf(d / s / Math.SQRT2)) - 1), 2 * Math.exp(-0.5 * (d / s) ** 2) - 1 / ROOT_PI],
  },
};

// Losses that see every member; `pairs` divides the sum of the differences between members.
const BY_MEMBERS = {
  crps: (m) => m * m,
  fair_crps: (m) => m * (m - 1),
  published_kernel_crps: (m) => m * (m - 1),
};
export const PUBLISHED = "mse_ensemble + stats"; // what the published model is trained with

// What the two parts of a loss are, in words; without an entry there is one part.
export const PARTS = {
  mse_ensemble: ["error of the mean", "spread of the members"],
  stats: ["unlikeness", "√spread"],
  [PUBLISHED]: ["mse_ensemble", "stats"],
  stats_area: ["unlikeness", "√spread"],
  gaussian_likelihood: ["squared error in spreads", "log of the spread"],
  gaussian_crps: ["error", "reward for spread"],
  crps: ["mean distance to the truth", "reward for spread"],
  fair_crps: ["mean distance to the truth", "reward for spread"],
  published_crps: ["error", "reward for spread"],
  published_kernel_crps: ["mean distance to the truth", "reward for spread (no gradient)"],
};

const differences = (members) => { // sum over pairs of |x_i - x_j|, both orders
  const sorted = [...members].sort((a, b) => a - b);
  return 2 * sorted.reduce((sum, x, i) => sum + (2 * i - sorted.length + 1) * x, 0);
};

// Parts of a loss, which sum to it, each a mean over the truths.
export function lossParts(name, members, truths) {
  if (name === PUBLISHED) return ["mse_ensemble", "stats"].map((part) => lossValue(part, members, truths));
  const { mean, variance, sigma } = moments(members);
  const count = members.length;
  if (name === "mse_ensemble") return [share(truths, (y) => (y - mean) ** 2), (variance * (count - 1)) / count];
  if (BY_MEMBERS[name]) {
    const distance = share(members, (x) => toTruths(x, truths).distance);
    return [distance, (-0.5 * differences(members)) / BY_MEMBERS[name](count)];
  }
  const { of, least = 0 } = BY_MOMENTS[name];
  const s = Math.max(sigma, least);
  let [first, second] = [0, 0];
  for (let i = 0; i < truths.length; i += 1) {
    const part = of(truths[i] - mean, s);
    first += part[0];
    second += part[1];
  }
  return (PARTS[name] ? [first, second] : [first]).map((sum) => sum / truths.length);
}

export const lossValue = (name, members, truths) => lossParts(name, members, truths).reduce((a, b) => a + b, 0);

// The quantity whose gradient a loss hands on: the loss, but for one whose spread term has none.
export const descended = (name, members, truths) => (name === "published_kernel_crps"
  ? lossParts(name, members, truths)[0] : lossValue(name, members, truths));

// Derivative of a loss with respect to each member.
export function lossGradient(name, members, truths) {
  const count = members.length;
  if (name === PUBLISHED) {
    const [a, b] = ["mse_ensemble", "stats"].map((part) => lossGradient(part, members, truths));
    return a.map((x, i) => x + b[i]);
  }
  if (name === "mse_ensemble") {
    const truth = share(truths, (y) => y);
    return members.map((x) => (2 * (x - truth)) / count);
  }
  if (BY_MEMBERS[name]) {
    const order = members.map((_, i) => i).sort((a, b) => members[a] - members[b]);
    const pull = members.map((x) => toTruths(x, truths).sign / count);
    if (name !== "published_kernel_crps") {
      order.forEach((member, rank) => { pull[member] -= (2 * rank - count + 1) / BY_MEMBERS[name](count); });
    }
    return pull;
  }
  const { mean, variance, sigma } = moments(members);
  const { slope, least = 0 } = BY_MOMENTS[name];
  const s = Math.max(sigma, least);
  let [byMean, bySpread] = [0, 0];
  for (const y of truths) {
    const [a, b] = slope(y - mean, s);
    byMean += a / truths.length;
    bySpread += b / truths.length;
  }
  const free = variance > 1e-36 && sigma > least ? bySpread : 0;
  return members.map((x) => byMean / count + (free ? (free * (x - mean)) / ((count - 1) * sigma) : 0));
}
