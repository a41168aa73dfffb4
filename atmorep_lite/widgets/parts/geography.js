// The frame that all maps share, its graticule or axes, coastlines and contour lines.
import { readIntegers } from "./buffers.js";
import { niceTicks, plain } from "./colour.js";
import { nearest } from "./places.js";

const BREAK = 32767;
const STEPS = [1, 2, 5, 10, 15, 20, 30, 45, 60, 90];

// Degrees (on a plane: y and x) that hold the tokens of every field.
export function commonFrame(fields) {
  const [{ plane }] = fields;
  const pole = plane ? Infinity : 90;
  const frame = { west: Infinity, east: -Infinity, south: Infinity, north: -Infinity, plane };
  for (const { latitude, longitude, token: [dlat, dlon] } of fields) {
    frame.west = Math.min(frame.west, ...longitude.map((lon) => lon - dlon / 2));
    frame.east = Math.max(frame.east, ...longitude.map((lon) => lon + dlon / 2));
    frame.south = Math.min(frame.south, ...latitude.map((lat) => Math.max(-pole, lat - dlat / 2)));
    frame.north = Math.max(frame.north, ...latitude.map((lat) => Math.min(pole, lat + dlat / 2)));
  }
  return frame;
}

// 1 where rows run southwards (the sphere), -1 where they run up (a plane).
export const downwards = ({ latitude, plane }) => (
  (latitude.length > 1 ? latitude[0] < latitude[latitude.length - 1] : plane) ? -1 : 1);

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
  const row = nearest(field.latitude, lat);
  const column = nearest(field.longitude, lon);
  const inside = Math.abs(field.latitude[row] - lat) <= field.token[0] / 2 + 1e-6
    && Math.abs(field.longitude[column] - lon) <= field.token[1] / 2 + 1e-6;
  return inside ? { row, column } : null;
}

// Ticks [value, label] of a plane's axis: parts of pi where it is 2 pi long, round numbers elsewhere.
function axisTicks(low, high, most) {
  const quarter = Math.PI / 2;
  if (Math.abs(high - low - 4 * quarter) < 1e-3) {
    return ["−π", "−π/2", "0", "π/2", "π", "3π/2", "2π"].map((label, i) => [(i - 2) * quarter, label])
      .filter(([value], i) => value > low - 1e-3 && value < high + 1e-3 && (most >= 4 || i % 2 === 0));
  }
  const ticks = niceTicks(low, high, Math.max(most, 2));
  return ticks.map((value) => [value, plain(value, ticks.length > 1 ? ticks[1] - ticks[0] : 0)]);
}

// Round meridians and parallels inside the frame (on a plane: x and y), at least `gap` pixels apart.
export function graticule(frame, project, gap) {
  if (frame.plane) {
    const most = (pixels) => Math.min(6, pixels / gap);
    return {
      meridians: axisTicks(frame.west, frame.east, most(project.width)).map(([x, label]) => ({ x: project.x(x), label })),
      parallels: axisTicks(frame.south, frame.north, most(project.height)).map(([y, label]) => ({ y: project.y(y), label })),
    };
  }
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

// Meridians and parallels, at least `apart` pixels from each other.
export function strokeGraticule(ctx, { frame, project, layout, inks, apart = 56 }) {
  const lines = graticule(frame, project, apart);
  const path = new Path2D();
  for (const { x } of lines.meridians) {
    path.moveTo(Math.round(x) + 0.5, layout.top);
    path.lineTo(Math.round(x) + 0.5, layout.top + layout.height);
  }
  for (const { y } of lines.parallels) {
    path.moveTo(layout.left, Math.round(y) + 0.5);
    path.lineTo(layout.left + layout.width, Math.round(y) + 0.5);
  }
  ctx.strokeStyle = inks.graticule;
  ctx.lineWidth = 1;
  ctx.stroke(path);
}
