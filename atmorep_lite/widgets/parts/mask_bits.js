// Masks as Python packed them: a bit for each token of all fields; kinds of corruption in half a byte for each hidden one.
import { readIntegers } from "./buffers.js";

const UNKNOWN = 15;

// Where each field's tokens begin among those of all fields, and how many there are.
export function tokenOffsets(fields) {
  const sizes = fields.map((field) => field.tokens.reduce((a, b) => a * b));
  const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0));
  return { starts, sizes, total: starts[starts.length - 1] + sizes[sizes.length - 1] };
}

// 1 for each hidden token of one draw.
export function unpackMask(data, setting, draw, total) {
  const stride = Math.ceil(total / 8);
  const bytes = readIntegers(data, Uint8Array, setting.at + draw * stride, stride);
  return Uint8Array.from({ length: total }, (_, i) => (bytes[i >> 3] >> (7 - (i & 7))) & 1);
}

// Kinds of corruption of its hidden tokens, -1 elsewhere.
export function unpackKinds(data, setting, draw, mask) {
  const hidden = mask.reduce((sum, bit) => sum + bit, 0);
  const bytes = readIntegers(data, Uint8Array, setting.kinds[draw], Math.ceil(hidden / 2));
  const kinds = new Int8Array(mask.length).fill(-1);
  let at = 0;
  for (let i = 0; i < mask.length; i += 1) {
    if (!mask[i]) continue;
    const kind = at % 2 ? bytes[at >> 1] & 15 : bytes[at >> 1] >> 4;
    kinds[i] = kind === UNKNOWN ? -1 : kind;
    at += 1;
  }
  return kinds;
}

// Hidden tokens of one field: counts[level][slot], by level, by slot, altogether.
export function hiddenCounts(mask, { tokens: [levels, slots, rows, columns] }, start) {
  const per = rows * columns;
  const counts = Array.from({ length: levels }, (_, level) => Array.from({ length: slots }, (__, slot) => {
    const at = start + (level * slots + slot) * per;
    return mask.subarray(at, at + per).reduce((sum, bit) => sum + bit, 0);
  }));
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  const byLevel = counts.map(sum);
  return { counts, byLevel, bySlot: counts[0].map((_, slot) => sum(counts.map((row) => row[slot]))), hidden: sum(byLevel), per };
}
