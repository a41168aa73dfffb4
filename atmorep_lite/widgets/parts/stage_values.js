// What a card of the stage shows: numbers of one level and step out of the answer, and how they are coloured.
import { readFloats, readIntegers } from "./buffers.js";
import { PALETTES, plain, withUnits } from "./colour.js";

export const CARD_NAMES = {
  seen: "What the model sees", prediction: "What comes back", truth: "What happened", error: "Error of the model",
  spread: "Spread of the ensemble", held: "Without a model", held_error: "Error without a model",
  convolution: "The convolution alone", members: "Every member",
};

// Reads the numbers of an answer; `data` as from `ownBuffer`.
export function stageNumbers(answer, data) {
  const [rows, columns] = answer.grid;
  const size = rows * columns;
  const steps = answer.hours.length;
  const [, slots, down, across] = answer.shape;
  const slice = (name, level, step, member = 0) => readFloats(
    data, "float32", answer.at[name] + 4 * size * ((member * answer.level.length + level) * steps + step), size);
  const over = (level, step, fill) => { // one number for each point from all members there
    const members = Array.from({ length: answer.members }, (_, m) => slice("members", level, step, m));
    return Float32Array.from({ length: size }, (_, i) => fill(members.map((values) => values[i])));
  };
  const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
  const deviation = (list) => {
    const centre = mean(list);
    return list.length < 2 ? 0 : Math.sqrt(list.reduce((a, b) => a + (b - centre) ** 2, 0) / (list.length - 1));
  };
  const minusTruth = (values, level, step) => {
    const truth = slice("truth", level, step);
    return values.map((value, i) => value - truth[i]);
  };
  const prediction = (level, step, member) => {
    if (!answer.members) return null;
    return member === "mean" ? over(level, step, mean) : slice("members", level, step, member - 1);
  };
  return {
    // Values of a card's map [y * x], or null where there are none.
    values(card, level, step, member) {
      switch (card) {
        case "seen": case "truth": return slice("truth", level, step);
        case "held": return slice("held", level, step);
        case "held_error": return minusTruth(slice("held", level, step), level, step);
        case "convolution": return answer.at.convolution === undefined ? null : slice("convolution", level, step);
        case "error": return answer.members ? minusTruth(prediction(level, step, member), level, step) : null;
        case "spread": return answer.members ? over(level, step, deviation) : null;
        default: return prediction(level, step, member);
      }
    },
    // 1 for each token [row * column] that is hidden.
    hidden: (level, slot) => readIntegers(
      data, Uint8Array, answer.at.hidden + (level * slots + slot) * down * across, down * across),
  };
}

// Palette, limits and units of a card.
export function stageColours(card, answer, level, scheme) {
  let [low, high] = answer.range[level];
  let palette = PALETTES.plain;
  if (card === "error" || card === "held_error") {
    [low, high] = [-answer.error[level], answer.error[level]];
    palette = PALETTES.signed[scheme];
  } else if (card === "spread") {
    [low, high] = [0, answer.error[level]];
    palette = PALETTES.attention[scheme];
  } else if (answer.signed) {
    [low, high] = [-Math.max(-low, high), Math.max(-low, high)];
    palette = PALETTES.signed[scheme];
  }
  return { palette, low, high, part: (value) => (value - low) / (high - low) };
}

// A number with units, in as many digits as it deserves.
export function stageNumber(value, answer, level) {
  const [low, high] = answer.range[level];
  return withUnits(plain(value, 10 ** Math.floor(Math.log10((high - low) / 50))), answer.units);
}

// "0.71 K" of a score table at a level and step, or null.
export function scoreText(answer, name, level, step) {
  const value = answer.scores[name]?.[level]?.[step];
  return value === null || value === undefined ? null : withUnits(plain(value, 10 ** Math.floor(Math.log10(value) - 1)), answer.units);
}

// What stands at the right of a card's title.
export function cardNote(card, answer, { level, step, member, hidden }) {
  const share = Math.round((100 * hidden.reduce((a, b) => a + b, 0)) / hidden.length);
  const nothing = answer.asks ? "nothing hidden" : "paint on a map";
  const off = (name) => {
    const text = scoreText(answer, name, level, step);
    return text ? `RMSE ${text}` : nothing;
  };
  if (card === "seen") return `${share} % hidden`;
  if (card === "error") return member === "mean" || !answer.members ? off("model") : `member ${member}`;
  if (card === "held" || card === "held_error") return off("held");
  if (card === "convolution") return off("convolution");
  if (card === "spread") return scoreText(answer, "spread", level, step) || nothing;
  if (card === "members") return `${answer.members} members`;
  if (card === "prediction") return member === "mean" ? `mean of ${answer.members}` : `member ${member} of ${answer.members}`;
  return "";
}
