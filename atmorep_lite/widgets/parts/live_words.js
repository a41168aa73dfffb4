// What LiveVortices says in words and numbers.
import { percent, plain } from "./colour.js";
import { relativeError } from "./vortex_scene.js";

export const VORTICITY_UNIT = "per time unit";
export const COMPUTING = "computing …";
export const COMPARED = {
  truth: { label: "Truth", long: "the truth, by a solver", text: "The solver, from the same frame. Lines: where vortices are now." },
  error: { label: "Network − truth", long: "network minus truth", text: "What the network gets wrong. Lines: the truth's vortices." },
  hiding: {
    label: "Effect of hiding", long: "network minus network with nothing hidden",
    text: "Network, less the network with nothing hidden. Lines: the truth's vortices.",
  },
};

export const stepsAhead = (step) => `${step} ${step > 1 ? "steps" : "step"} ahead`;

// Where a token is, in units of pi: (y, x).
export function tokenPlace(token, [rows, columns]) {
  const [y, x] = [(Math.floor(token / columns) + 0.5) / rows, ((token % columns) + 0.5) / columns];
  return `(${plain(2 * y, 0.01)}π, ${plain(2 * x, 0.01)}π)`;
}

// Relative errors of each step ahead: of the network, of the network with nothing hidden, and if nothing changed from the
// newest of the frames before.
export function errorsAhead({ past, forecasts, frees, truths }) {
  const many = (fields) => fields.map((field, i) => (field && truths[i] ? relativeError(field, truths[i]) : NaN));
  const nothing = truths.map((truth) => relativeError(past[2], truth));
  return { network: many(forecasts), free: frees[0] ? many(frees) : [], nothing };
}

export function errorWords({ network, free, nothing }, step) {
  const error = network[step - 1];
  if (!Number.isFinite(error)) return "Not computed yet.";
  const before = Number.isFinite(free[step - 1]) ? `, with nothing hidden by ${percent(free[step - 1])}` : "";
  return `The network errs by ${percent(error)}${before}; if nothing changed, the error would be ${percent(nothing[step - 1])}.`;
}

export function fieldWords(field, vortices) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of field) { low = Math.min(low, value); high = Math.max(high, value); }
  const places = vortices.map((v) => `(${plain(v.y, 0.1)}, ${plain(v.x, 0.1)})`).join(", ");
  const range = `Vorticity now, from ${plain(low, 0.1)} to ${plain(high, 0.1)} ${VORTICITY_UNIT}`;
  return `${range}; ${vortices.length} vortices at (y, x) = ${places || "no place"}`;
}

// `weights` null: not known yet.
export function attentionWords(weights, query, tokens) {
  if (!weights) return `Token at (y, x) = ${tokenPlace(query, tokens)}: ${COMPUTING}`;
  let peak = 0;
  weights.forEach((w, i) => { if (w > weights[peak]) peak = i; });
  return `Token at (y, x) = ${tokenPlace(query, tokens)}: most, ${percent(weights[peak])}, to the one at ${tokenPlace(peak, tokens)}.`;
}
