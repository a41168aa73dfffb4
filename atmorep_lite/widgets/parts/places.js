// How places, times and distances are written and measured. On the sphere: degrees, hPa, hours, km. On a plane
// `latitude` and `longitude` hold y and x in the box's units, and `hours` holds frames.
import { minus, plain } from "./colour.js";

const EARTH_RADIUS_KM = 6371;
const radians = (degrees) => (degrees * Math.PI) / 180;
const rounded = (value) => minus(String(Math.round(value * 10) / 10 + 0));
const thousands = (km) => plain(Math.round(km / 10) * 10).replace(/(\d)(\d{3})$/, "$1\u202f$2");

export const nearest = (values, wanted) => values.reduce(
  (best, value, i) => (Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? i : best), 0);

// "47.8°N 11.3°E", or "x 1.18, y 3.34"
export function placeText(field, lat, lon) {
  if (field.plane) return `x\u00a0${lon.toFixed(2)}, y\u00a0${lat.toFixed(2)}`;
  const east = ((lon + 540) % 360) - 180;
  const part = (value, names) => `${Math.abs(value).toFixed(1)}°${value < 0 ? names[1] : names[0]}`;
  return `${part(lat, "NS")} ${part(east, "EW")}`;
}

export const levelText = (field, level) => (field.plane ? `level ${rounded(level)}` : `${plain(level)} hPa`);

// "−12 h", or "t−1"
export function timeText(field, time) {
  if (!field.plane) return `${rounded(time)} h`;
  return `t${time > 0 ? "+" : ""}${time === 0 ? "" : rounded(time)}`;
}

// "850 hPa, −12 h"; the only level of a plane is not named.
export function slotText(field, { level, time }) {
  const words = timeText(field, field.hours[time]);
  return field.plane && field.level.length === 1 ? words : `${levelText(field, field.level[level])}, ${words}`;
}

// The shorter way around a circle; all of it where there is no period.
const shortest = (offset, period) => (period ? offset - period * Math.round(offset / period) : offset);

// Great-circle distance in km (haversine), or the distance on a plane, around its edges where it is periodic.
export function distanceBetween(field, lat1, lon1, lat2, lon2) {
  if (field.plane) {
    const [tall, wide] = field.period || [0, 0];
    return Math.hypot(shortest(lat2 - lat1, tall), shortest(lon2 - lon1, wide));
  }
  const a = Math.sin(radians(lat2 - lat1) / 2) ** 2
    + Math.cos(radians(lat1)) * Math.cos(radians(lat2)) * Math.sin(radians(lon2 - lon1) / 2) ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(a)));
}

// Way (north, east) from one place to another: on the sphere great-circle km along the first bearing, on a plane the
// shortest offset.
export function wayBetween(field, lat1, lon1, lat2, lon2) {
  if (field.plane) {
    const [tall, wide] = field.period || [0, 0];
    const way = (offset, side) => { // at half the box two ways are equal: none
      const least = shortest(offset, side);
      return side && Math.abs(Math.abs(least) - side / 2) < 1e-5 * side ? 0 : least;
    };
    return [way(lat2 - lat1, tall), way(lon2 - lon1, wide)];
  }
  const [a, b, turn] = [radians(lat1), radians(lat2), radians(lon2 - lon1)];
  const bearing = Math.atan2(Math.sin(turn) * Math.cos(b), Math.cos(a) * Math.sin(b) - Math.sin(a) * Math.cos(b) * Math.cos(turn));
  const away = distanceBetween(field, lat1, lon1, lat2, lon2);
  return [away * Math.cos(bearing), away * Math.sin(bearing)];
}

// The place [latitude, longitude] at the end of such a way.
export function wayFrom(field, lat, lon, [north, east]) {
  if (field.plane) return [lat + north, lon + east];
  const [a, arc, bearing] = [radians(lat), Math.hypot(north, east) / EARTH_RADIUS_KM, Math.atan2(east, north)];
  const b = Math.asin(Math.sin(a) * Math.cos(arc) + Math.cos(a) * Math.sin(arc) * Math.cos(bearing));
  const turn = Math.atan2(Math.sin(bearing) * Math.sin(arc) * Math.cos(a), Math.cos(arc) - Math.sin(a) * Math.sin(b));
  return [(b * 180) / Math.PI, lon + (turn * 180) / Math.PI];
}

export const distanceText = (field, distance) => (field.plane ? distance.toFixed(2) : `${thousands(distance)}\u00a0km`);
export const lagText = (field, lag) => (field.plane ? `${rounded(lag)} frames` : `${rounded(lag)} h`);
