// Does attention look upstream? Where the mean of attention lies at each earlier time, and where the wind came from.
import { strokeTwice } from "./map_layout.js";
import { distanceText, nearest, timeText, wayBetween, wayFrom } from "./places.js";
import { arrowsAt } from "./field_values.js";
import { unravel } from "./softmax.js";

const KM_PER_HOUR = 3.6; // of 1 m/s
const SHORTEST = 1e-9;

// For each time of `field` before the query's: { time, hours (from the query's), centre and origin (north, east of the
// query: km, or box units), angle between the two in degrees, apart (their distance; null where a plane's frames have no known
// length) }. `row` are the weights of the query `query` of field `from`; those of one level of keys count, and where
// `against` is given only what exceeds that.
export function upstreamOf(meta, data, { row, against, field, from, query, level }) {
  const at = unravel(from, query);
  const [, times, rows, columns] = field.shape;
  const plane = rows * columns;
  const slotOf = (weights, time) => { // of one level and time, of sum 1
    const part = weights.subarray((level * times + time) * plane, (level * times + time + 1) * plane);
    const sum = part.reduce((total, weight) => total + weight, 0);
    return part.map((weight) => weight / sum);
  };
  const [lat, lon] = [from.latitude[at.row], from.longitude[at.column]];
  const ways = Array.from({ length: plane }, (_, place) =>
    wayBetween(field, lat, lon, field.latitude[Math.floor(place / columns)], field.longitude[place % columns]));
  const { u, v } = arrowsAt(meta, data, from.level[at.level], from.hours[at.time]);
  const here = nearest(meta.wind.latitude, lat) * meta.wind.shape[3] + nearest(meta.wind.longitude, lon);
  const perTime = field.plane ? meta.interval : KM_PER_HOUR;
  const steps = [];
  for (let time = 0; time < times; time += 1) {
    const hours = field.hours[time] - from.hours[at.time] - meta.ahead;
    if (hours >= 0) continue;
    const [weights, least] = [slotOf(row, time), against && slotOf(against, time)];
    let [share, north, east] = [0, 0, 0];
    for (let place = 0; place < plane; place += 1) {
      const weight = least ? Math.max(0, weights[place] - least[place]) : weights[place];
      share += weight;
      north += weight * ways[place][0];
      east += weight * ways[place][1];
    }
    const centre = [north / share, east / share];
    // where the time between frames is unknown: a direction, drawn as long as the way to the centre
    const far = perTime ? perTime * hours : -Math.hypot(...centre) / Math.max(Math.hypot(u[here], v[here]), SHORTEST);
    const origin = [v[here] * far, u[here] * far];
    const long = share > SHORTEST && Math.min(Math.hypot(...centre), Math.hypot(...origin)) > SHORTEST;
    const cross = centre[0] * origin[1] - centre[1] * origin[0];
    const angle = long ? (Math.atan2(Math.abs(cross), centre[0] * origin[0] + centre[1] * origin[1]) * 180) / Math.PI : null;
    const apart = !perTime ? null : Math.hypot(centre[0] - origin[0], centre[1] - origin[1]);
    steps.push({ time, hours, centre, origin, angle, apart });
  }
  return steps;
}

// The step of a map's time, or else the last before the query.
export const stepOf = (steps, time) => steps.find((step) => step.time === time) ?? steps[steps.length - 1];

export function upstreamWords(field, steps, time) {
  if (!steps.length) return " No earlier time to look upstream.";
  const { angle, apart, time: told } = stepOf(steps, time);
  if (angle === null) return " No wind, or no way to a centre, at this token.";
  const off = `${Math.round(angle)}°${apart === null ? "" : ` and ${distanceText(field, apart)}`}`;
  return ` At ${timeText(field, field.hours[told])} attention centres ${off} off where the ${field.plane ? "flow" : "wind"} came from.`;
}

// Both ways from the query, one mark per earlier time: rings where the wind came from, diamonds where attention centres.
export function drawUpstream(ctx, { query, field, slot: { time }, project, inks }, steps) {
  const pixel = (way) => {
    const [lat, lon] = wayFrom(field, query.lat, query.lon, way);
    return [project.x(lon), project.y(lat)];
  };
  const start = [project.x(query.lon), project.y(query.lat)];
  const ways = (which) => {
    const path = new Path2D();
    path.moveTo(...start);
    for (const step of [...steps].reverse()) path.lineTo(...pixel(step[which]));
    return path;
  };
  ctx.save();
  ctx.lineCap = "round";
  ctx.setLineDash([5, 4]);
  strokeTwice(ctx, ways("origin"), inks.origin, 1.6, inks.marksHalo, 3.6);
  ctx.setLineDash([]);
  strokeTwice(ctx, ways("centre"), inks.centre, 1.6, inks.marksHalo, 3.6);
  for (const step of steps) {
    const size = step === stepOf(steps, time) ? 6.5 : 4.5;
    const [ring, diamond] = [new Path2D(), new Path2D()];
    const [x, y] = pixel(step.origin);
    ring.arc(x, y, size, 0, 2 * Math.PI);
    strokeTwice(ctx, ring, inks.origin, 2.2, inks.marksHalo, 5);
    const [p, q] = pixel(step.centre);
    for (const [dx, dy] of [[0, -size], [size, 0], [0, size], [-size, 0]]) diamond.lineTo(p + dx, q + dy);
    diamond.closePath();
    ctx.fillStyle = inks.centre;
    strokeTwice(ctx, diamond, inks.marksHalo, 2.5, inks.marksHalo, 2.5);
    ctx.fill(diamond);
  }
  ctx.restore();
}
