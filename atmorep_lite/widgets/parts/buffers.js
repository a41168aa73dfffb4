// Numbers out of the one buffer that Python packed (little endian, sections at multiples of four bytes).

let halves = null;

// Value of each of the 65536 float16 bit patterns.
function halfTable() {
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits += 1) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24
      : exponent === 31 ? (fraction ? NaN : Infinity)
      : (1 + fraction / 1024) * 2 ** (exponent - 15);
    table[bits] = bits >> 15 ? -size : size;
  }
  return table;
}

// An ArrayBuffer that starts where the data starts, whatever view the widget manager handed over.
export function ownBuffer(view) {
  const { buffer, byteOffset, byteLength } = view;
  return byteOffset % 4 === 0 && byteOffset + byteLength <= buffer.byteLength
    ? { buffer, start: byteOffset }
    : { buffer: buffer.slice(byteOffset, byteOffset + byteLength), start: 0 };
}

// `count` numbers of `precision` from `at` on, as float32.
export function readFloats(data, precision, at, count) {
  if (precision === "float32") return new Float32Array(data.buffer, data.start + at, count);
  halves = halves || halfTable();
  const bits = new Uint16Array(data.buffer, data.start + at, count);
  const out = new Float32Array(count);
  for (let i = 0; i < count; i += 1) out[i] = halves[bits[i]];
  return out;
}

export function readIntegers(data, Type, at, count) {
  return new Type(data.buffer, data.start + at, count);
}
