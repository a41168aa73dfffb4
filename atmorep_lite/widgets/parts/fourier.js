// Fast Fourier transform of square complex fields, in place. The side is a power of two.

export function fourierTransform(n) {
  const bits = Math.log2(n);
  const mirrored = Array.from({ length: n }, (_, i) => {
    let out = 0;
    for (let b = 0; b < bits; b += 1) if (i & (1 << b)) out |= 1 << (bits - 1 - b);
    return out;
  });
  const cosines = Float64Array.from({ length: n / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / n));
  const sines = Float64Array.from({ length: n / 2 }, (_, i) => Math.sin((2 * Math.PI * i) / n));

  // Rows first, then columns. A butterfly of two rows runs along x, so that memory is read in order.
  function alongX(re, im, sign) {
    for (let row = 0; row < n * n; row += n) {
      for (let i = 0; i < n; i += 1) {
        const j = mirrored[i];
        if (j > i) swap(re, im, row + i, row + j);
      }
      for (let half = 1; half < n; half *= 2) {
        const stride = n / (2 * half);
        for (let start = row; start < row + n; start += 2 * half) {
          for (let k = 0; k < half; k += 1) {
            butterfly(re, im, start + k, start + k + half, cosines[k * stride], sign * sines[k * stride]);
          }
        }
      }
    }
  }
  function alongY(re, im, sign) {
    for (let i = 0; i < n; i += 1) {
      const j = mirrored[i];
      if (j > i) for (let x = 0; x < n; x += 1) swap(re, im, i * n + x, j * n + x);
    }
    for (let half = 1; half < n; half *= 2) {
      const stride = n / (2 * half);
      for (let start = 0; start < n; start += 2 * half) {
        for (let k = 0; k < half; k += 1) {
          const [c, s] = [cosines[k * stride], sign * sines[k * stride]];
          const [a, b] = [(start + k) * n, (start + k + half) * n];
          for (let x = 0; x < n; x += 1) butterfly(re, im, a + x, b + x, c, s);
        }
      }
    }
  }
  return {
    forward(re, im) { alongX(re, im, -1); alongY(re, im, -1); },
    backward(re, im) {
      alongX(re, im, 1);
      alongY(re, im, 1);
      for (let i = 0; i < n * n; i += 1) { re[i] /= n * n; im[i] /= n * n; }
    },
  };
}

function swap(re, im, i, j) {
  const [a, b] = [re[i], im[i]];
  re[i] = re[j];
  im[i] = im[j];
  re[j] = a;
  im[j] = b;
}

function butterfly(re, im, i, j, c, s) {
  const tr = re[j] * c - im[j] * s;
  const ti = re[j] * s + im[j] * c;
  re[j] = re[i] - tr;
  im[j] = im[i] - ti;
  re[i] += tr;
  im[i] += ti;
}
