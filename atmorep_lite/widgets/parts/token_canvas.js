// A field as it lies on its grid, point by point, with its tokens: for explorers of tokens and masks.
import { PALETTES, colourAt } from "./colour.js";
import { tokenBox } from "./geography.js";
import { strokeTwice } from "./map_layout.js";

const TOKEN_SHADES = 512;
const LATTICE_LEAST = 5; // pixels of a token from which its edges are drawn
const LATTICE_FULL = 26; // and from which they are drawn in full strength

// A canvas's context in CSS pixels, cleared; the canvas gets this size.
export function sizedContext(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, tall] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== tall) {
    canvas.width = wide;
    canvas.height = tall;
  }
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  return ctx;
}

// Values [row][column] as a small canvas with one pixel a point; `colours` as `colouring` of colour_bar.js gives.
export function gridPicture(values, [rows, columns], { palette, part }) {
  const shades = new Uint8ClampedArray(4 * (TOKEN_SHADES + 1));
  for (let i = 0; i <= TOKEN_SHADES; i += 1) shades.set([...colourAt(palette, i / TOKEN_SHADES), 255], 4 * i);
  const picture = document.createElement("canvas");
  picture.width = columns;
  picture.height = rows;
  const image = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i += 1) {
    const at = part(values[i]);
    if (!Number.isFinite(at)) continue;
    const shade = 4 * Math.round(TOKEN_SHADES * Math.min(Math.max(at, 0), 1));
    for (let c = 0; c < 4; c += 1) image.data[4 * i + c] = shades[shade + c];
  }
  picture.getContext("2d").putImageData(image, 0, 0);
  return picture;
}

// Degrees that the grid points cover, as `projection` of geography.js reads them.
export function gridFrame({ latitude, longitude, spacing: [dlat, dlon] }) {
  return {
    west: longitude[0] - dlon / 2, east: longitude[longitude.length - 1] + dlon / 2,
    north: Math.min(90, latitude[0] + dlat / 2), south: Math.max(-90, latitude[latitude.length - 1] - dlat / 2), plane: false,
  };
}

// Puts a picture where its grid points are.
export function placePicture(ctx, picture, { latitude, longitude, spacing: [dlat, dlon] }, project) {
  const [x, y] = [project.x(longitude[0] - dlon / 2), project.y(latitude[0] + dlat / 2)];
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(picture, x, y, project.x(longitude[longitude.length - 1] + dlon / 2) - x,
    project.y(latitude[latitude.length - 1] - dlat / 2) - y);
}

// The edges of all tokens: light lines with a halo, dark ones where the colours of `palette` are pale.
export function strokeLattice(ctx, cells, project, inks, palette) {
  const path = new Path2D();
  const [last, final] = [cells.latitude.length - 1, cells.longitude.length - 1];
  const first = tokenBox(cells, project, 0, 0);
  const corner = tokenBox(cells, project, last, final);
  const [bottom, right] = [corner.y + corner.height, corner.x + corner.width];
  for (let column = 1; column <= final; column += 1) {
    const { x, width } = tokenBox(cells, project, 0, column);
    if (width < LATTICE_LEAST) break;
    path.moveTo(x, first.y);
    path.lineTo(x, bottom);
  }
  for (let row = 1; row <= last; row += 1) {
    const { y, height } = tokenBox(cells, project, row, 0);
    if (height < LATTICE_LEAST) break;
    path.moveTo(first.x, y);
    path.lineTo(right, y);
  }
  const thin = Math.min(first.width, first.height) < LATTICE_FULL;
  if (palette === PALETTES.signed.light) strokeTwice(ctx, path, inks.latticeDark, thin ? 0.7 : 1, "transparent", 1);
  else strokeTwice(ctx, path, inks.lattice, thin ? 0.6 : 1, inks.latticeHalo, thin ? 1.2 : 2.4);
}

export function strokeBox(ctx, { x, y, width, height }, ink, halo, thickness) {
  ctx.lineJoin = "miter";
  for (const [colour, wide] of [[halo, thickness + 2.8], [ink, thickness]]) {
    ctx.strokeStyle = colour;
    ctx.lineWidth = wide;
    ctx.strokeRect(x, y, width, height);
  }
}
