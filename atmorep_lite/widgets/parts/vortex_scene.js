// What the reader draws: elliptic vortices as atmorep_lite.flows.elliptic_vortex makes them, and strokes of a brush.

const WHOLE_TURN = 2 * Math.PI;
const IMAGES = [-WHOLE_TURN, 0, WHOLE_TURN];

export const onTorus = (x) => ((x % WHOLE_TURN) + WHOLE_TURN) % WHOLE_TURN;
export const shortWay = (d) => onTorus(d + Math.PI) - Math.PI;

// Adds one vortex, with its periodic images, to a field [y, x] of n x n points.
function addVortex(field, n, { y, x, radius, strength, eccentricity, angle }) {
  const ratio = Math.sqrt(1 - eccentricity ** 2);
  const [long, short] = [radius / Math.sqrt(ratio), radius * Math.sqrt(ratio)];
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j < n; j += 1) {
      let sum = 0;
      for (const dy of IMAGES) {
        const up = (WHOLE_TURN * i) / n - y + dy;
        for (const dx of IMAGES) {
          const right = (WHOLE_TURN * j) / n - x + dx;
          const power = ((right * c + up * s) / long) ** 2 + ((up * c - right * s) / short) ** 2;
          if (power < 40) sum += Math.exp(-power);
        }
      }
      field[i * n + j] += strength * sum;
    }
  }
}

// The scene that is drawn on. A stroke is as strong as the brush wherever it has been, however slowly it was drawn.
export function vortexScene(n) {
  const painted = new Float64Array(n * n);
  const cache = new Map();
  let stroke = null;
  const shape = (vortex) => {
    const key = JSON.stringify(vortex);
    if (!cache.has(key)) {
      if (cache.size > 40) cache.clear();
      const field = new Float64Array(n * n);
      addVortex(field, n, vortex);
      cache.set(key, field);
    }
    return cache.get(key);
  };
  return {
    // The vorticity: its mean is taken off, for around a closed square there is no net rotation.
    field(vortices) {
      const sum = painted.slice();
      for (const vortex of vortices) shape(vortex).forEach((value, i) => { sum[i] += value; });
      if (stroke) stroke.part.forEach((value, i) => { sum[i] += stroke.strength * value; });
      const mean = sum.reduce((a, b) => a + b, 0) / sum.length;
      return Float32Array.from(sum, (value) => value - mean);
    },
    brush({ y, x }, radius, strength) {
      stroke = stroke || { strength, part: new Float64Array(n * n) };
      for (let i = 0; i < n; i += 1) {
        for (let j = 0; j < n; j += 1) {
          const far = shortWay((WHOLE_TURN * i) / n - y) ** 2 + shortWay((WHOLE_TURN * j) / n - x) ** 2;
          stroke.part[i * n + j] = Math.max(stroke.part[i * n + j], Math.exp(-far / radius ** 2));
        }
      }
    },
    lift() {
      if (stroke) stroke.part.forEach((value, i) => { painted[i] += stroke.strength * value; });
      stroke = null;
    },
    clear() { painted.fill(0); stroke = null; },
  };
}

export function largest(field) {
  let most = 0;
  for (const value of field) most = Math.max(most, Math.abs(value));
  return most;
}

// |guess - truth| / |truth|
export function relativeError(guess, truth) {
  let [off, all] = [0, 0];
  for (let i = 0; i < truth.length; i += 1) {
    off += (guess[i] - truth[i]) ** 2;
    all += truth[i] ** 2;
  }
  return Math.sqrt(off / all);
}
