// One map's card: title, map, caption, and the shares of levels and times.
import { PALETTES, colourAt, css, inkOn, percent, plain } from "./colour.js";
import { element } from "./controls.js";
import { tokenText } from "./field_values.js";
import { distanceBetween, distanceText, levelText, placeText, slotText, timeText } from "./places.js";
import { ravel, unravel } from "./softmax.js";

const MOST_LABELLED_SLOTS = 12;

// `panel` is { field, time }, time null where the card shows the chosen one. `on` has choosePanel(panel),
// chooseSlot(level, hours), hover(card, event), leave(), click(card, event).
export function buildCard(panel, on) {
  const { field, time } = panel;
  const name = time === null ? field.label : timeText(field, field.hours[time]);
  const title = element("button", { class: "arl-title", type: "button", text: name, onclick: () => on.choosePanel(panel) });
  const kind = element("span", { class: "arl-kind" });
  const slot = element("span", { class: "arl-slot" });
  const canvas = element("canvas", { class: "arl-canvas", role: "img" });
  const message = element("div", { class: "arl-message", hidden: "" }, element("span"));
  const tip = element("div", { class: "arl-tip", hidden: "" });
  const whole = time === null ? field.label : `${field.label} at ${name}`;
  const map = element("div", {
    class: "arl-map", tabindex: "0", role: "application", "aria-roledescription": "map",
    "aria-label": `Map of ${whole}: arrow keys move the query token, Enter asks from this ${time === null ? "field" : "time"}`,
  }, canvas, message, tip);
  const caption = element("figcaption", { class: "arl-caption" });
  const slots = element("div", {
    class: "arl-slots", role: "group", "aria-label": `${whole}: share of each level${time === null ? " and time" : ""}`,
  });
  const node = element("figure", { class: "arl-card", "data-arl-field": field.name, "data-arl-time": time },
    element("div", { class: "arl-card-head" }, title, kind, slot), map,
    element("div", { class: "arl-card-foot" }, caption, slots));
  const card = {
    ...panel, node, title, kind, slot, canvas, message, tip, map, caption, slots, slotButtons: [], width: 0, told: "",
  };
  map.addEventListener("pointermove", (event) => on.hover(card, event));
  map.addEventListener("pointerleave", on.leave);
  map.addEventListener("click", (event) => on.click(card, event));
  addSlots(card, on.chooseSlot);
  return card;
}

// Levels are rows, times are columns; a cell brings its level and time to all maps.
function addSlots(card, chooseSlot) {
  const { field, slots } = card;
  const [levels] = field.shape;
  const times = card.time === null ? field.hours.map((_, time) => time) : [card.time];
  if (levels * times.length < 2) return;
  card.labelled = levels * times.length <= MOST_LABELLED_SLOTS;
  const width = card.labelled ? 36 : Math.max(6, Math.floor(110 / times.length));
  slots.style.gridTemplateColumns = `auto repeat(${times.length}, ${width}px)`;
  for (let level = 0; level < levels; level += 1) {
    slots.append(element("span", { text: field.plane && levels === 1 ? "" : levelText(field, field.level[level]).replace(" hPa", "") }));
    for (const time of times) {
      const node = element("button", {
        type: "button", tabindex: "-1", onclick: () => chooseSlot(field.level[level], field.hours[time]),
      });
      card.slotButtons.push({ node, level, time });
      slots.append(node);
    }
  }
  slots.append(element("span", { text: field.plane ? "" : "hPa" }));
  for (const time of card.time === null ? times : []) {
    const text = card.labelled || time === times.length - 1 ? timeText(field, field.hours[time]) : "";
    slots.append(element("span", { class: "arl-slot-time", text }));
  }
}

// Writes only what is new: most of a redraw's words are as before.
function put(node, name, value) {
  if (name === "text") {
    if (node.textContent !== value) node.textContent = value;
  } else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

// Words, numbers and alternative text of a card. `seen` has: from (query field), at (place of the query), asked, pair,
// missing (name of the field that is not coupled), lead ("A: " where a pin is shown), row, against (what it is compared
// with, or null), other (its name), summary, slot, layer, head, scheme, upstream (words).
export function describeCard(card, seen) {
  const { field } = card;
  const { from, asked, pair, row, slot } = seen;
  put(card.node, "data-arl-query", String(asked));
  put(card.title, "aria-pressed", String(asked));
  card.slots.hidden = !row;
  const own = field.name === from.name;
  if (card.time === null) {
    put(card.kind, "text", asked ? "query · self" : pair ? "coupling" : "not coupled");
    put(card.slot, "text", slotText(field, slot));
  } else {
    put(card.kind, "text", asked ? "query" : "");
    put(card.slot, "text", field.level.length > 1 ? levelText(field, field.level[slot.level]) : "");
  }
  if (!row) {
    card.told = seen.missing === field.label ? `no self-attention of ${field.label} in this model`
      : `no coupling from ${seen.missing} to ${field.label} in this model`;
    put(card.message.firstChild, "text", card.told);
    put(card.caption, "text", "");
    put(card.canvas, "aria-label", card.told);
    return;
  }
  (card.time === null ? describeField : describeTime)(card, seen, own);
  showShares(card, seen);
}

function sharesAt(card, { summary, against, slot, other }) {
  const index = slot.level * card.field.shape[1] + slot.time;
  const plane = card.field.shape[2] * card.field.shape[3];
  const theirs = against && against.subarray(index * plane, (index + 1) * plane).reduce((sum, w) => sum + w, 0);
  return { share: summary.shares[index], compared: against ? ` (${other}: ${percent(theirs)})` : "", peak: summary.peaks[index] };
}

function headWords({ pair, head }) {
  if (pair.heads.length < 2) return "";
  return pair.heads.includes(head) ? `, head ${head}` : `, mean of ${pair.heads.length} heads`;
}

// The share of the softmax is set in bold: the words before it, and those after.
function describeRow(card, { lead, tail, before = lead, label }, share) {
  card.caption.replaceChildren(lead, element("b", { text: percent(share) }), tail);
  card.told = `${before}${percent(share)}${tail}`;
  put(card.canvas, "aria-label", label(card.told));
}

function describeField(card, seen, own) {
  const { field } = card;
  const { from, summary } = seen;
  const { share, compared } = sharesAt(card, seen);
  const peak = unravel(field, summary.peakToken);
  describeRow(card, {
    lead: `${seen.lead}${from.label} attends to ${own ? "itself" : field.label} (${own ? "self" : "coupling"}${headWords(seen)}): this map holds `,
    tail: ` of this softmax${compared}; entropy ${summary.entropy.toFixed(2)} of uniform.${seen.upstream}`,
    label: (told) => `${told} Layer ${seen.layer}. The strongest token, ${percent(summary.peak)}, is at `
      + `${placeText(field, field.latitude[peak.row], field.longitude[peak.column])}, ${slotText(field, peak)}.`,
  }, share);
}

function describeTime(card, seen, own) {
  const { field } = card;
  const { from, at, row } = seen;
  const { share, compared, peak } = sharesAt(card, seen);
  const place = unravel(field, peak);
  const [lat, lon] = [field.latitude[place.row], field.longitude[place.column]];
  const away = distanceBetween(field, from.latitude[at.row], from.longitude[at.column], lat, lon);
  describeRow(card, {
    lead: seen.lead,
    before: `${slotText(field, seen.slot)} holds `,
    tail: ` of this softmax${compared}. Strongest token: ${percent(row[peak])}, `
      + `${away > 0 ? `${distanceText(field, away)} away` : "at the query's place"}.${seen.upstream}`,
    label: (told) => `${seen.lead}${from.label} at ${timeText(from, from.hours[at.time])} attends to `
      + `${own ? "itself" : field.label} (layer ${seen.layer}${headWords(seen)}): ${told} It is at ${placeText(field, lat, lon)}.`,
  }, share);
}

function showShares(card, { summary, slot, scheme }) {
  const { field } = card;
  const most = Math.max(...summary.shares);
  for (const button of card.slotButtons) {
    const { node, level, time } = button;
    const share = summary.shares[level * field.shape[1] + time];
    const pressed = String(level === slot.level && time === slot.time);
    const told = `${scheme} ${pressed} ${percent(share)} ${(share / most).toFixed(2)}`;
    if (button.told === told) continue;
    button.told = told;
    const colour = colourAt(PALETTES.attention[scheme], 0.85 * (share / most));
    const text = `${slotText(field, { level, time })}: ${percent(share)}`;
    node.style.background = css(colour);
    node.style.color = inkOn(colour);
    node.textContent = !card.labelled ? "" : share < 0.0095 ? "< 1 %" : percent(share);
    put(node, "aria-label", text);
    node.title = text;
    put(node, "aria-pressed", pressed);
  }
}

// Beside the place under the pointer its number: all of it on the map that is pointed at, the number on the others.
export function showTip(card, { data, cursor, brief, slot, row, shown, against, other, mode, layout, project }) {
  const { field, tip } = card;
  tip.hidden = !cursor || (brief && !row);
  if (tip.hidden) return;
  const place = { ...slot, row: cursor.row, column: cursor.column };
  const token = ravel(field, place);
  tip.dataset.arlBrief = String(brief);
  if (brief) {
    tip.textContent = numberText(mode, shown[token]);
  } else {
    const { text, hidden, error } = tokenText(data, field, place);
    const compared = against ? ` (${other}: ${percent(against[token])})` : "";
    tip.replaceChildren(...(row ? [element("b", { text: percent(row[token]) }), `${compared} · `] : []),
      `${text}${hidden ? ` (hidden${error ? `, ${error}` : ""})` : ""} · ${placeText(field, cursor.lat, cursor.lon)}`);
  }
  const x = project.x(cursor.lon);
  const half = tip.offsetWidth / 2;
  const left = Math.min(Math.max(x - half, 0), Math.max(0, card.width - 2 * half));
  const above = project.y(cursor.lat + field.token[0] / 2) - tip.offsetHeight - 6;
  tip.style.left = `${left}px`;
  tip.style.top = `${above >= layout.top ? above : project.y(cursor.lat - field.token[0] / 2) + 8}px`;
}

// A weight, a difference of weights or doublings, in words.
function numberText(mode, value) {
  if (mode === "ratio") return `${plain(2 ** value, value > 3 ? 1 : value > -1 ? 0.1 : 0.01)}\u00a0×`;
  return mode === "minus" ? `${value < 0 ? "−" : "+"}${percent(Math.abs(value))}` : percent(value);
}
