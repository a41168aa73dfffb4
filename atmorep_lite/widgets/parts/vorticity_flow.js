// The vorticity equation on the periodic square of side 2 pi: the same pseudo-spectral method, filter, time steps and
// Runge-Kutta scheme as atmorep_lite.flows.solve, in double precision. It also runs backwards in time.
import { fourierTransform } from "./fourier.js";

const SOLVER_STEPS = 400; // in one interval: half a second of computing
const COURANT = 1.5; // limit of step * max(|u| + |v|) * largest wave number

export function vorticityFlow(points, viscosity) {
  const [n, size] = [points, points * points];
  const largest = Math.floor((n - 1) / 3);
  const transform = fourierTransform(n);
  const complex = () => ({ re: new Float64Array(size), im: new Float64Array(size) });
  // Of each wave: its numbers, whether it is kept, 1 / |k|^2 (0 for the mean), and where its opposite -k is.
  const [kx, ky, square, keep, inverse] = Array.from({ length: 5 }, () => new Float64Array(size));
  const opposite = new Uint16Array(size);
  for (let y = 0; y < n; y += 1) {
    for (let x = 0; x < n; x += 1) {
      const i = y * n + x;
      kx[i] = x < n / 2 ? x : x - n;
      ky[i] = y < n / 2 ? y : y - n;
      square[i] = kx[i] ** 2 + ky[i] ** 2;
      keep[i] = Math.abs(kx[i]) <= largest && Math.abs(ky[i]) <= largest ? 1 : 0;
      inverse[i] = square[i] ? keep[i] / square[i] : 0;
      opposite[i] = ((n - y) % n) * n + ((n - x) % n);
    }
  }
  const [wind, flux, stage] = [complex(), complex(), complex()];
  const tendencies = [complex(), complex(), complex(), complex()];
  const half = new Float64Array(size);

  // u + i v from one transform: its spectrum is (kx + i ky) / |k|^2 times that of the vorticity.
  function velocity(w) {
    for (let i = 0; i < size; i += 1) {
      const f = inverse[i];
      wind.re[i] = f * (kx[i] * w.re[i] - ky[i] * w.im[i]);
      wind.im[i] = f * (kx[i] * w.im[i] + ky[i] * w.re[i]);
    }
    transform.backward(wind.re, wind.im);
  }
  function rate(w) {
    velocity(w);
    let most = 0;
    for (let i = 0; i < size; i += 1) most = Math.max(most, Math.abs(wind.re[i]) + Math.abs(wind.im[i]));
    return most * largest;
  }
  // -(u, v) . grad(vorticity) = (d2/dy2 - d2/dx2)(u v) + d2/dxdy (u^2 - v^2); both products in one transform.
  function advection(w, out) {
    velocity(w);
    for (let i = 0; i < size; i += 1) {
      const [u, v] = [wind.re[i], wind.im[i]];
      flux.re[i] = u * v;
      flux.im[i] = (v - u) * (v + u);
    }
    transform.forward(flux.re, flux.im);
    for (let i = 0; i < size; i += 1) {
      const j = opposite[i];
      const [a, b] = [keep[i] * (kx[i] ** 2 - ky[i] ** 2), keep[i] * kx[i] * ky[i]];
      const [productRe, productIm] = [(flux.re[i] + flux.re[j]) / 2, (flux.im[i] - flux.im[j]) / 2];
      const [squareRe, squareIm] = [(flux.im[i] + flux.im[j]) / 2, (flux.re[j] - flux.re[i]) / 2];
      out.re[i] = a * productRe + b * squareRe;
      out.im[i] = a * productIm + b * squareIm;
    }
  }
  // One Runge-Kutta step of exp(viscosity |k|^2 t) times the spectrum; `step` may be negative.
  function advanceSpectrum(w, step) {
    for (let i = 0; i < size; i += 1) half[i] = Math.exp((-viscosity * square[i] * step) / 2);
    const [first, second, third, fourth] = tendencies;
    advection(w, first);
    combine((h, a, b) => h * (a + (step / 2) * b), w, first);
    advection(stage, second);
    combine((h, a, b) => h * a + (step / 2) * b, w, second);
    advection(stage, third);
    combine((h, a, b) => h * (h * a + step * b), w, third);
    advection(stage, fourth);
    for (const part of ["re", "im"]) {
      const [s, a, b, c, d] = [w, first, second, third, fourth].map((field) => field[part]);
      for (let i = 0; i < size; i += 1) {
        s[i] = half[i] * (half[i] * (s[i] + (step / 6) * a[i]) + (step / 3) * (b[i] + c[i])) + (step / 6) * d[i];
      }
    }
  }
  function combine(formula, a, b) {
    for (const part of ["re", "im"]) {
      const [out, x, y] = [stage[part], a[part], b[part]];
      for (let i = 0; i < size; i += 1) out[i] = formula(half[i], x[i], y[i]);
    }
  }

  return {
    toSpectrum(field) {
      const out = complex();
      out.re.set(field);
      transform.forward(out.re, out.im);
      for (let i = 0; i < size; i += 1) { out.re[i] *= keep[i]; out.im[i] *= keep[i]; }
      return out;
    },
    toField(spectrum) {
      const [re, im] = [spectrum.re.slice(), spectrum.im.slice()];
      transform.backward(re, im);
      return re;
    },
    copy: ({ re, im }) => ({ re: re.slice(), im: im.slice() }),
    // Moves a spectrum on by `interval` (back where it is negative); false where the flow is too fast to be followed.
    advance(spectrum, interval) {
      const count = Math.max(1, Math.ceil((Math.abs(interval) * rate(spectrum)) / COURANT));
      if (!(count <= SOLVER_STEPS)) return false;
      for (let i = 0; i < count; i += 1) advanceSpectrum(spectrum, interval / count);
      return Number.isFinite(spectrum.re[1] + spectrum.im[n]);
    },
  };
}
