// One map's card: title, map, caption, and the shares of levels and times.
import { PALETTES, colourAt, css, inkOn, percent } from "./colour.js";
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

// Words, numbers and alternative text of a card. `seen` has: from (query field), at (place of the query), asked, pair,
// row, against (the reference's row, or null), reference (its name, or null), summary, slot, layer, head, scheme.
export function describeCard(card, seen) {
  const { field } = card;
  const { from, asked, pair, row, slot } = seen;
  card.node.dataset.arlQuery = String(asked);
  card.title.setAttribute("aria-pressed", String(asked));
  card.slots.hidden = !row;
  const own = field.name === from.name;
  if (card.time === null) {
    card.kind.textContent = asked ? "query · self" : pair ? "coupling" : "not coupled";
    card.slot.textContent = slotText(field, slot);
  } else {
    card.kind.textContent = asked ? "query" : "";
    card.slot.textContent = field.level.length > 1 ? levelText(field, field.level[slot.level]) : "";
  }
  if (!row) {
    card.told = own ? `no self-attention of ${from.label} in this model`
      : `no coupling from ${from.label} to ${field.label} in this model`;
    card.message.firstChild.textContent = card.told;
    card.caption.textContent = "";
    card.canvas.setAttribute("aria-label", card.told);
    return;
  }
  (card.time === null ? describeField : describeTime)(card, seen, own);
  showShares(card, seen);
}

function sharesAt(card, { summary, against, slot, reference }) {
  const index = slot.level * card.field.shape[1] + slot.time;
  const plane = card.field.shape[2] * card.field.shape[3];
  const other = against && against.subarray(index * plane, (index + 1) * plane).reduce((sum, w) => sum + w, 0);
  return { share: summary.shares[index], compared: against ? ` (${reference}: ${percent(other)})` : "", peak: summary.peaks[index] };
}

function headWords({ pair, head }) {
  if (pair.heads.length < 2) return "";
  return pair.heads.includes(head) ? `, head ${head}` : `, mean of ${pair.heads.length} heads`;
}

function describeField(card, seen, own) {
  const { field } = card;
  const { from, summary } = seen;
  const { share, compared } = sharesAt(card, seen);
  const kind = `${own ? "self" : "coupling"}${headWords(seen)}`;
  const lead = `${from.label} attends to ${own ? "itself" : field.label} (${kind}): this map holds `;
  const tail = ` of this softmax${compared}; entropy ${summary.entropy.toFixed(2)} of uniform.`;
  card.caption.replaceChildren(lead, element("b", { text: percent(share) }), tail);
  const peak = unravel(field, summary.peakToken);
  card.told = `${lead}${percent(share)}${tail}`;
  card.canvas.setAttribute("aria-label", `${card.told} Layer ${seen.layer}. The strongest token, `
    + `${percent(summary.peak)}, is at ${placeText(field, field.latitude[peak.row], field.longitude[peak.column])}, `
    + `${slotText(field, peak)}.`);
}

function describeTime(card, seen, own) {
  const { field } = card;
  const { from, at, row } = seen;
  const { share, compared, peak } = sharesAt(card, seen);
  const place = unravel(field, peak);
  const [lat, lon] = [field.latitude[place.row], field.longitude[place.column]];
  const away = distanceBetween(field, from.latitude[at.row], from.longitude[at.column], lat, lon);
  const tail = ` of this softmax${compared}. Strongest token: ${percent(row[peak])}, `
    + `${away > 0 ? `${distanceText(field, away)} away` : "at the query's place"}.`;
  card.caption.replaceChildren(element("b", { text: percent(share) }), tail);
  card.told = `${slotText(field, seen.slot)} holds ${percent(share)}${tail}`;
  card.canvas.setAttribute("aria-label", `${from.label} at ${timeText(from, from.hours[at.time])} attends to `
    + `${own ? "itself" : field.label} (layer ${seen.layer}${headWords(seen)}): ${card.told} It is at ${placeText(field, lat, lon)}.`);
}

function showShares(card, { summary, slot, scheme }) {
  const { field } = card;
  const most = Math.max(...summary.shares);
  for (const { node, level, time } of card.slotButtons) {
    const share = summary.shares[level * field.shape[1] + time];
    const colour = colourAt(PALETTES.attention[scheme], 0.85 * (share / most));
    const text = `${slotText(field, { level, time })}: ${percent(share)}`;
    node.style.background = css(colour);
    node.style.color = inkOn(colour);
    node.textContent = !card.labelled ? "" : share < 0.0095 ? "< 1 %" : percent(share);
    node.setAttribute("aria-label", text);
    node.title = text;
    node.setAttribute("aria-pressed", String(level === slot.level && time === slot.time));
  }
}

// The number under the pointer, beside it.
export function showTip(card, { data, cursor, slot, row, against, reference, layout, project }) {
  const { field, tip } = card;
  tip.hidden = !cursor;
  if (!cursor) return;
  const place = { ...slot, row: cursor.row, column: cursor.column };
  const { text, hidden } = tokenText(data, field, place);
  const token = ravel(field, place);
  const compared = against ? ` (${reference.name}: ${percent(against[token])})` : "";
  tip.replaceChildren(...(row ? [element("b", { text: percent(row[token]) }), `${compared} · `] : []),
    `${text}${hidden ? " (hidden)" : ""} · ${placeText(field, cursor.lat, cursor.lon)}`);
  const x = project.x(cursor.lon);
  const half = tip.offsetWidth / 2;
  const left = Math.min(Math.max(x - half, 0), card.width - 2 * half);
  const above = project.y(cursor.lat + field.token[0] / 2) - 34;
  tip.style.left = `${left}px`;
  tip.style.top = `${above >= layout.top ? above : project.y(cursor.lat - field.token[0] / 2) + 8}px`;
}
