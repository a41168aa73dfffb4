// The maps as one picture: titles, maps, captions and the query's words, as they stand on the page.

const EDGE = 16;
const RATIO = 2;

// Lines of a text that is at most `width` wide.
function wrapped(ctx, text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = `${lines[lines.length - 1]} ${word}`.trim();
    if (ctx.measureText(longer).width > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

// A canvas with everything that `seen` has: root, grid, cards, bar (a canvas or null), head and foot (texts).
export function pictureOf({ root, grid, cards, bar, head, foot }) {
  const style = getComputedStyle(root);
  const ink = (name) => style.getPropertyValue(`--arl-${name}`).trim();
  const origin = grid.getBoundingClientRect();
  const boxes = [...cards.map((card) => card.node), ...(bar ? [bar] : [])].map((node) => node.getBoundingClientRect());
  const [above, below] = [54, foot ? 30 : 8];
  const tall = Math.max(...boxes.map((box) => box.bottom)) - origin.top;
  const picture = document.createElement("canvas");
  picture.width = RATIO * (origin.width + 2 * EDGE);
  picture.height = RATIO * (tall + above + below + EDGE);
  const ctx = picture.getContext("2d");
  ctx.scale(RATIO, RATIO);
  ctx.fillStyle = ink("page");
  ctx.fillRect(0, 0, picture.width, picture.height);
  ctx.translate(EDGE, above);
  ctx.textBaseline = "top";
  const write = (text, x, y, { size = 12.5, weight = 400, colour = "muted", width = origin.width } = {}) => {
    ctx.font = `${weight} ${size}px ${style.fontFamily}`;
    ctx.fillStyle = ink(colour);
    wrapped(ctx, text, width).forEach((line, i) => ctx.fillText(line, x, y + 1.4 * size * i));
    return ctx.measureText(text).width;
  };
  write(head[0], 0, 12 - above, { size: 14.5, weight: 600, colour: "ink" });
  write(head[1], 0, 32 - above);
  for (const { node, canvas, title, kind, slot, caption, told } of cards) {
    const place = (element) => {
      const box = element.getBoundingClientRect();
      return [box.left - origin.left, box.top - origin.top, box.width, box.height];
    };
    const [x, y] = place(title);
    const named = write(title.textContent, x, y + 2, { size: 14.5, weight: 600, colour: "ink" });
    write(kind.textContent, x + named + 7, y + 4, { colour: node.dataset.arlQuery === "true" ? "query" : "muted" });
    write(slot.textContent, place(slot)[0], y + 4);
    ctx.drawImage(canvas, ...place(canvas));
    const [left, top, width] = place(caption);
    write(caption.textContent || told, left, top, { width });
  }
  if (bar) {
    const box = bar.getBoundingClientRect();
    ctx.drawImage(bar, box.left - origin.left, box.top - origin.top, box.width, box.height);
  }
  if (foot) write(foot, 0, tall + 12);
  return picture;
}
