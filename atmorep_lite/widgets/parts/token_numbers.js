// What a token size costs and keeps, in words and as a list of large numbers.
import { minus, percent, plain } from "./colour.js";
import { element } from "./controls.js";
import { whole } from "./line_chart.js";

const BYTE_PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

const threeFigures = (x) => (x >= 99.95 ? plain(Math.round(x)) : x >= 9.995 ? x.toFixed(1) : x.toFixed(2));

// 5308416 -> "5.31 MB"
export function bytesText(bytes) {
  const [size, prefix] = BYTE_PREFIXES.find(([factor]) => bytes >= factor) || [1, ""];
  return size === 1 ? `${bytes} B` : `${threeFigures(bytes / size)}\u00a0${prefix}B`;
}

// 1327104 -> "1.33 million"
export function countText(count) {
  if (count < 1e6) return whole(count);
  if (count >= 1e12) return count.toExponential(2);
  return count < 1e9 ? `${threeFigures(count / 1e6)}\u00a0million` : `${threeFigures(count / 1e9)}\u00a0billion`;
}

// 22.5 -> "22.5", -3 -> "−3": as many digits as it has, three behind the point at most.
export const exactly = (value) => minus(String(Math.round(value * 1000) / 1000));

export const levelName = (level) => (level === 0 ? "surface" : `${exactly(level)} hPa`);

export const hoursText = (hours) => (hours >= 48 && hours % 24 === 0 ? `${hours / 24} days` : `${exactly(hours)} h`);

export const degreesText = (degrees) => `${exactly(degrees)}°`;

// buildNumbers(): { node, update(numbers) }; `numbers` are those of `tokenCounts`, and survives, size, hours, spacing, level.
export function buildNumbers() {
  const rows = ["tokens", "values in a token", "attention pairs", "one attention matrix", "variance that survives"].map((name) => {
    const [value, note] = [element("dd", { class: "arl-token-value" }), element("dd", { class: "arl-note" })];
    return { node: element("div", {}, element("dt", { text: name }), value, note), value, note };
  });
  const node = element("dl", { class: "arl-token-numbers" }, ...rows.map((row) => row.node));
  return {
    node,
    update({ grid, tokens, values, pairs, bytes, survives, size, hours, spacing, level }) {
      const shown = [
        [whole(tokens), `${grid[0]} ${grid[0] === 1 ? "level" : "levels"} × ${grid.slice(1).join(" × ")}`],
        [whole(values), `${hoursText(size[0] * hours)} × ${degreesText(size[1] * spacing[0])} × ${degreesText(size[2] * spacing[1])}`],
        [countText(pairs), "tokens squared, for one head"],
        [bytesText(bytes), "one head, 4 bytes a weight"],
        [Number.isFinite(survives) ? percent(survives) : "–", `if each token were its mean, ${levelName(level)}`],
      ];
      rows.forEach((row, i) => { [row.value.textContent, row.note.textContent] = shown[i]; });
    },
  };
}
