// Sizes of a map and of its colour bar, and a canvas of that size.

export const MARGIN = { left: 38, right: 10, top: 7, bottom: 19 };
const AXIS_NAME = 13; // below the numbers of a plane's x axis
export const BAR = { height: 8, gap: 6, labels: 18 };

// Sizes in CSS pixels of a map that is `width` wide and shows `frame`, with or without a colour bar of its own.
export function mapLayout(frame, width, bar) {
  const inner = width - MARGIN.left - MARGIN.right;
  const aspect = Math.min(1, Math.max(0.4, (frame.north - frame.south) / (frame.east - frame.west)));
  const height = Math.round(inner * aspect);
  const below = MARGIN.top + height + MARGIN.bottom + (frame.plane ? AXIS_NAME : 0);
  const barTop = below + BAR.gap;
  const total = bar ? barTop + BAR.height + BAR.labels : below;
  const text = inner > 500 ? 13 : 11; // pixels: large maps are for projectors
  return { left: MARGIN.left, top: MARGIN.top, width: inner, height, bar, barTop, total, text };
}

// A colour bar alone.
export function barLayout(width) {
  const inner = width - MARGIN.left - MARGIN.right;
  return { left: MARGIN.left, width: inner, bar: true, barTop: BAR.gap, total: BAR.gap + BAR.height + BAR.labels };
}

// The canvas's context, cleared, in CSS pixels.
export function prepare(canvas, layout) {
  const ratio = window.devicePixelRatio || 1;
  const width = layout.left + layout.width + MARGIN.right;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(layout.total * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(layout.total * ratio);
    canvas.style.height = `${layout.total}px`;
  }
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, layout.total);
  return ctx;
}

// A line on a halo, legible on any colour.
export function strokeTwice(ctx, path, ink, thickness, halo, haloThickness, join = "round") {
  ctx.lineJoin = join;
  ctx.strokeStyle = halo;
  ctx.lineWidth = haloThickness;
  ctx.stroke(path);
  ctx.strokeStyle = ink;
  ctx.lineWidth = thickness;
  ctx.stroke(path);
}
