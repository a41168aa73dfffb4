// The frame that all maps share, its graticule, coastlines and contour lines.
import { readIntegers } from "./buffers.js";

const BREAK = 32767;
const STEPS = [1, 2, 5, 10, 15, 20, 30, 45, 60, 90];

// Degrees that hold the tokens of every field.
export function commonFrame(fields) {
  const frame = { west: Infinity, east: -Infinity, south: Infinity, north: -Infinity };
  for (const field of fields) {
    const [dlat, dlon] = field.token;
    frame.west = Math.min(frame.west, field.longitude[0] - dlon / 2);
    frame.east = Math.max(frame.east, field.longitude[field.longitude.length - 1] + dlon / 2);
    frame.north = Math.max(frame.north, Math.min(90, field.latitude[0] + dlat / 2));
    frame.south = Math.min(frame.south, Math.max(-90, field.latitude[field.latitude.length - 1] - dlat / 2));
  }
  return frame;
}

// Degrees -> pixels of a map at (left, top) with the given size, and back.
export function projection(frame, left, top, width, height) {
  const perLon = width / (frame.east - frame.west);
  const perLat = height / (frame.north - frame.south);
  return {
    x: (lon) => left + (lon - frame.west) * perLon,
    y: (lat) => top + (frame.north - lat) * perLat,
    lon: (x) => frame.west + (x - left) / perLon,
    lat: (y) => frame.north - (y - top) / perLat,
    left, top, width, height,
  };
}

// Box {x, y, width, height} of a token in pixels; edges are rounded so that neighbours meet.
export function tokenBox(field, project, row, column) {
  const [dlat, dlon] = field.token;
  const bottom = project.top + project.height;
  const x0 = Math.round(project.x(field.longitude[column] - dlon / 2));
  const x1 = Math.round(project.x(field.longitude[column] + dlon / 2));
  const y0 = Math.max(project.top, Math.round(project.y(field.latitude[row] + dlat / 2)));
  const y1 = Math.min(bottom, Math.round(project.y(field.latitude[row] - dlat / 2)));
  return { x: x0, y: y0, width: x1 - x0, height: y1 - y0 };
}

// Row and column of the token whose box holds a place, or null.
export function tokenAt(field, lat, lon) {
  const nearest = (centres, value) => centres.reduce(
    (best, centre, i) => (Math.abs(centre - value) < Math.abs(centres[best] - value) ? i : best), 0);
  const row = nearest(field.latitude, lat);
  const column = nearest(field.longitude, lon);
  const inside = Math.abs(field.latitude[row] - lat) <= field.token[0] / 2 + 1e-6
    && Math.abs(field.longitude[column] - lon) <= field.token[1] / 2 + 1e-6;
  return inside ? { row, column } : null;
}

// Round meridians and parallels inside the frame, at least `gap` pixels apart.
export function graticule(frame, project, gap) {
  const pick = (span, pixels) => STEPS.find((s) => (s / span) * pixels >= gap) || 90;
  const lines = (low, high, step) => {
    const out = [];
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) out.push(v);
    return out;
  };
  const name = (value, positive, negative) =>
    `${Math.abs(value)}°${value === 0 || Math.abs(value) === 180 ? "" : value > 0 ? positive : negative}`;
  const lonStep = pick(frame.east - frame.west, project.width);
  const latStep = pick(frame.north - frame.south, project.height * 1.6);
  return {
    meridians: lines(frame.west, frame.east, lonStep).map((lon) => ({
      x: project.x(lon), label: name(((((lon + 180) % 360) + 360) % 360) - 180, "E", "W"),
    })),
    parallels: lines(frame.south, frame.north, latStep).map((lat) => ({ y: project.y(lat), label: name(lat, "N", "S") })),
  };
}

// Coastlines as one path, repeated so that longitudes below -180 and beyond 360 get theirs.
export function coastPath(meta, data, frame, project) {
  const numbers = readIntegers(data, Int16Array, meta.coast.at, meta.coast.count);
  const path = new Path2D();
  for (let turn = Math.floor((frame.west + 180) / 360); turn * 360 - 180 < frame.east; turn += 1) {
    let pen = false;
    for (let i = 0; i < numbers.length; i += 2) {
      if (numbers[i] === BREAK) {
        pen = false;
      } else {
        const x = project.x(numbers[i] / 10 + turn * 360);
        const y = project.y(numbers[i + 1] / 10);
        if (pen) path.lineTo(x, y); else path.moveTo(x, y);
        pen = true;
      }
    }
  }
  return path;
}

// Contour lines of values on a regular grid (marching squares; saddles are cut one way, missing values skipped).
export function contourPath(values, [rows, columns], levels, toX, toY) {
  const path = new Path2D();
  const crossing = (level, a, b) => (level - a) / (b - a);
  for (const level of levels) {
    for (let r = 0; r < rows - 1; r += 1) {
      for (let c = 0; c < columns - 1; c += 1) {
        const [a, b, d, e] = [values[r * columns + c], values[r * columns + c + 1],
          values[(r + 1) * columns + c + 1], values[(r + 1) * columns + c]];
        if (!Number.isFinite(a + b + d + e)) continue;
        const ends = [];
        if ((a < level) !== (b < level)) ends.push([c + crossing(level, a, b), r]);
        if ((b < level) !== (d < level)) ends.push([c + 1, r + crossing(level, b, d)]);
        if ((e < level) !== (d < level)) ends.push([c + crossing(level, e, d), r + 1]);
        if ((a < level) !== (e < level)) ends.push([c, r + crossing(level, a, e)]);
        for (let i = 0; i + 1 < ends.length; i += 2) {
          path.moveTo(toX(ends[i][0]), toY(ends[i][1]));
          path.lineTo(toX(ends[i + 1][0]), toY(ends[i + 1][1]));
        }
      }
    }
  }
  return path;
}
