// What pointer and keys do on the map of the newest frame: move vortices, paint, hide tokens.
import { onTorus, shortWay } from "./vortex_scene.js";

const PICK_REACH = 0.45; // a vortex is picked up from this far at least
const KEY_STEP = 0.1;
const HAND_ARROWS = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const keptOnTorus = (x) => Math.round(onTorus(x) * 1000) / 1000;
const apart = (a, b) => Math.hypot(shortWay(a.x - b.x), shortWay(a.y - b.y));

// Tokens whose middle lies within `radius` of a place, or the one token that it lies in.
export function tokensAround(place, radius, [rows, columns]) {
  const [high, wide] = [(2 * Math.PI) / rows, (2 * Math.PI) / columns];
  const [row, column] = [Math.min(rows - 1, Math.floor(place.y / high)), Math.min(columns - 1, Math.floor(place.x / wide))];
  const found = new Set([row * columns + column]);
  for (let r = 0; r < rows; r += 1) {
    for (let c = 0; c < columns; c += 1) {
      if (apart(place, { y: (r + 0.5) * high, x: (c + 0.5) * wide }) <= radius) found.add(r * columns + c);
    }
  }
  return [...found];
}

// `card` is the square map, `state` what is selected, `scene` the one that is painted on, `tokens` [rows, columns];
// `on` has choose(changes), painted() and redraw(). Returns { hand }: hand.vortex is the chosen one, hand.place where
// the brush is (null: nowhere), hand.busy whether something is being done.
export function takeHands({ card, state, scene, tokens, on }) {
  const hand = { vortex: 0, place: null, busy: false, keyed: { x: Math.PI, y: Math.PI } };
  let [grip, hiding] = [null, true];

  function nearest(place) {
    let found = -1;
    state.vortices.forEach((vortex, i) => {
      if (apart(vortex, place) > Math.max(PICK_REACH, vortex.radius)) return;
      if (found < 0 || apart(vortex, place) < apart(state.vortices[found], place)) found = i;
    });
    return found;
  }
  function move(index, y, x) {
    on.choose({ vortices: state.vortices.map((v, i) => (i === index ? { ...v, y: keptOnTorus(y), x: keptOnTorus(x) } : v)) });
  }
  function hide(place) {
    const around = tokensAround(place, state.radius, tokens);
    const kept = state.hidden.filter((token) => !around.includes(token));
    on.choose({ hidden: hiding ? [...kept, ...around].sort((a, b) => a - b) : kept });
  }
  const isHidden = (place) => state.hidden.includes(tokensAround(place, 0, tokens)[0]);
  function paint(place) {
    scene.brush(place, state.radius, state.strength);
    on.painted();
  }

  function down(event) {
    const place = card.place(event);
    if (!place || event.button > 0) return;
    if (state.tool === "move") {
      const found = nearest(place);
      if (found < 0) return;
      hand.vortex = found;
      grip = { y: state.vortices[found].y - place.y, x: state.vortices[found].x - place.x };
      on.redraw();
    } else if (state.tool === "paint") {
      paint(place);
    } else {
      hiding = !isHidden(place);
      hide(place);
    }
    hand.busy = true;
    hand.place = place;
    card.map.setPointerCapture(event.pointerId);
    event.preventDefault();
    card.map.focus({ preventScroll: true });
  }
  function drag(event) {
    const place = card.place(event);
    hand.place = place;
    if (hand.busy && place) {
      if (state.tool === "move") move(hand.vortex, place.y + grip.y, place.x + grip.x);
      else if (state.tool === "paint") paint(place);
      else hide(place);
    }
    card.map.style.cursor = state.tool === "move" ? (place && nearest(place) >= 0 ? "grab" : "default") : "crosshair";
    on.redraw();
  }
  function up() {
    if (hand.busy && state.tool === "paint") { scene.lift(); on.painted(); }
    hand.busy = false;
  }
  function key(event) {
    const arrow = HAND_ARROWS[event.key];
    const act = event.key === "Enter" || event.key === " ";
    if (!arrow && !act) return;
    event.preventDefault();
    event.stopPropagation();
    const far = KEY_STEP * (event.shiftKey ? 5 : 1);
    if (state.tool === "move") {
      const vortex = state.vortices[hand.vortex];
      if (act) hand.vortex = (hand.vortex + 1) % Math.max(1, state.vortices.length);
      else if (vortex) move(hand.vortex, vortex.y + far * arrow[0], vortex.x + far * arrow[1]);
    } else {
      const [dy, dx] = arrow ?? [0, 0];
      hand.keyed = { y: onTorus(hand.keyed.y + far * dy), x: onTorus(hand.keyed.x + far * dx) };
      hand.place = hand.keyed;
      if (act && state.tool === "paint") { paint(hand.keyed); scene.lift(); }
      if (act && state.tool === "hide") { hiding = !isHidden(hand.keyed); hide(hand.keyed); }
    }
    on.redraw();
  }
  // A finger on empty water scrolls the page; one that does something does not.
  card.map.addEventListener("touchstart", (event) => {
    const place = card.place(event.touches[0]);
    if (place && event.touches.length === 1 && (state.tool !== "move" || nearest(place) >= 0)) event.preventDefault();
  }, { passive: false });
  card.map.addEventListener("pointerdown", down);
  card.map.addEventListener("pointermove", drag);
  card.map.addEventListener("pointerup", up);
  card.map.addEventListener("pointercancel", up);
  card.map.addEventListener("pointerleave", () => { if (!hand.busy) { hand.place = null; on.redraw(); } });
  card.map.addEventListener("keydown", key);
  return hand;
}

// Click and arrow keys on the other maps choose the token that asks.
export function takeQuery({ card, state, tokens, choose }) {
  card.map.addEventListener("click", (event) => {
    const place = card.place(event);
    if (place) choose({ query: tokensAround(place, 0, tokens)[0] });
  });
  card.map.addEventListener("keydown", (event) => {
    const move = HAND_ARROWS[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    const [rows, columns] = tokens;
    const row = (Math.floor(state.query / columns) + move[0] + rows) % rows;
    choose({ query: row * columns + ((state.query % columns) + move[1] + columns) % columns });
  });
}
