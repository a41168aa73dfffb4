// Two sizes of tokens at once: small ones around the chosen token, ones twice as long and wide in the rest.
import { percent } from "./colour.js";
import { element } from "./controls.js";
import { coastPath, projection, tokenBox } from "./geography.js";
import { whole } from "./line_chart.js";
import { strokeTwice } from "./map_layout.js";
import { gridFrame, gridPicture, placePicture, sizedContext, strokeBox, strokeLattice } from "./token_canvas.js";
import { sizeOf, tokenCells } from "./token_sizes.js";

// Half of `count` tokens, one at least, around one of them: [first, how many].
function halfAround(token, count) {
  const kept = Math.max(1, Math.floor(count / 2));
  return [Math.min(Math.max(token - Math.floor(kept / 2), 0), count - kept), kept];
}

// The larger size, the box of larger tokens that is cut finer, how many tokens there are, and what their means keep.
export function twoSizes(cube, levels, size, place) {
  const shape = cube.shape;
  const coarse = size.map((s, i) => (i && shape[i] % (2 * s) === 0 ? 2 * s : s));
  const [times, rows, columns] = shape.map((n, i) => n / coarse[i]);
  const [top, tall] = halfAround(Math.floor(place.row / coarse[1]), rows);
  const [left, wide] = halfAround(Math.floor(place.column / coarse[2]), columns);
  const [down, across] = [coarse[1] / size[1], coarse[2] / size[2]];
  const near = (row, column) => row >= top && row < top + tall && column >= left && column < left + wide;
  let kept = 0;
  const add = ({ means, counts }, grid, inside) => {
    for (let i = 0; i < means.length; i += 1) {
      const [row, column] = [Math.floor(i / grid[1]) % grid[0], i % grid[1]];
      if (counts[i] && inside(row, column)) kept += counts[i] * (means[i] - cube.middle) ** 2;
    }
  };
  add(sizeOf(cube, coarse), [rows, columns], (row, column) => !near(row, column));
  add(sizeOf(cube, size), [rows * down, columns * across], (row, column) => near(Math.floor(row / down), Math.floor(column / across)));
  return {
    coarse, box: { top, left, tall, wide }, tokens: levels * times * (rows * columns + tall * wide * (down * across - 1)),
    survives: cube.whole > 0 ? kept / cube.whole : NaN,
  };
}

// buildTwoSizes(meta): { node, draw(seen) }; `seen` has cube, step, size, found (of `twoSizes`), colours, inks, data.
export function buildTwoSizes(meta) {
  const frame = gridFrame(meta);
  const canvas = element("canvas", { class: "arl-canvas", role: "img" });
  const note = element("span", { class: "arl-note" });
  const node = element("div", { class: "arl-token-card arl-token-both" }, canvas,
    element("span", { class: "arl-token-card-foot" }, element("b", { text: "two sizes at once" }), note));
  const kept = { width: 0, coast: null };
  function draw({ cube, step, size, found, colours, inks, data }) {
    const width = Math.max(80, node.clientWidth);
    const height = Math.round(width * Math.min(1, Math.max(0.4, (frame.north - frame.south) / (frame.east - frame.west))));
    const ctx = sizedContext(canvas, width, height);
    const project = projection(frame, 0, 0, width, height);
    const layer = (one) => {
      const cells = tokenCells(meta, one);
      const shape = [cells.latitude.length, cells.longitude.length];
      const from = Math.floor(step / one[0]) * shape[0] * shape[1];
      placePicture(ctx, gridPicture(sizeOf(cube, one).means.subarray(from, from + shape[0] * shape[1]), shape, colours), meta, project);
      strokeLattice(ctx, cells, project, inks, colours.palette);
      return cells;
    };
    const cells = layer(found.coarse);
    const { top, left, tall, wide } = found.box;
    const [first, last] = [tokenBox(cells, project, top, left), tokenBox(cells, project, top + tall - 1, left + wide - 1)];
    const box = { x: first.x, y: first.y, width: last.x + last.width - first.x, height: last.y + last.height - first.y };
    ctx.save();
    ctx.beginPath();
    ctx.rect(box.x, box.y, box.width, box.height);
    ctx.clip();
    layer(size);
    ctx.restore();
    if (kept.width !== width) Object.assign(kept, { width, coast: coastPath(meta, data, frame, project) });
    strokeTwice(ctx, kept.coast, inks.coast, 0.9, inks.coastHalo, 2.2);
    strokeBox(ctx, box, inks.query, inks.queryHalo, 2);
    note.textContent = `${whole(found.tokens)} tokens, ${percent(found.survives)} survives`;
    canvas.setAttribute("aria-label", `Small tokens around the chosen one, larger ones elsewhere: ${note.textContent} of the variance`);
  }
  return { node, draw };
}
