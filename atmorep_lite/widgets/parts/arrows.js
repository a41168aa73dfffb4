// Wind arrows.
import { strokeTwice } from "./map_layout.js";

// Arrows of the wind at one level and time: `arrows` has u and v (per token, C order), latitude, longitude and `most`,
// the speed of an arrow as long as a token is wide.
export function drawArrows(ctx, { arrows, project, inks, view, field }) {
  const { u, v, latitude, longitude, most } = arrows;
  const gap = Math.abs(project.x(longitude[1] ?? longitude[0]) - project.x(longitude[0])) || 24;
  const every = Math.max(1, Math.ceil(15 / gap)); // arrows at least 15 pixels apart
  const path = new Path2D();
  for (let i = 0; i < u.length; i += 1) {
    const [r, c] = [Math.floor(i / longitude.length), i % longitude.length];
    const size = (gap * every) / most;
    const [dx, dy] = [u[i] * size, -v[i] * size];
    if (r % every || c % every || !(Math.hypot(dx, dy) > 2)) continue;
    const [x, y] = [project.x(longitude[c]) + dx / 2, project.y(latitude[r]) + dy / 2];
    path.moveTo(x - dx, y - dy);
    path.lineTo(x, y);
    const head = Math.min(4.5, 0.45 * Math.hypot(dx, dy)) / Math.hypot(dx, dy);
    for (const side of [-1, 1]) {
      path.moveTo(x, y);
      path.lineTo(x - head * (dx + side * 0.6 * dy), y - head * (dy - side * 0.6 * dx));
    }
  }
  ctx.lineCap = "round";
  const onViridis = view === "field" && !field.signed;
  const [ink, halo] = onViridis ? ["#fff", "rgba(0, 0, 0, 0.5)"] : [inks.contour, inks.contourHalo];
  strokeTwice(ctx, path, ink, 1.2, halo, 2.8);
}
