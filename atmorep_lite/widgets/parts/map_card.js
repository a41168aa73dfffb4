// One field's card: title, map, caption, and the shares of every level and time.
import { PALETTES, colourAt, css, hoursText, inkOn, percent, placeText, plain } from "./colour.js";
import { element } from "./controls.js";
import { pressureText, slotText, tokenText } from "./field_values.js";
import { ravel, unravel } from "./softmax.js";

const MOST_LABELLED_SLOTS = 12;

// `on` has chooseField(name), chooseSlot(level, hours), hover(card, event), leave(), click(card, event).
export function buildCard(field, on) {
  const title = element("button", {
    class: "arl-title", type: "button", text: field.label, onclick: () => on.chooseField(field.name),
  });
  const kind = element("span", { class: "arl-kind" });
  const slot = element("span", { class: "arl-slot" });
  const canvas = element("canvas", { class: "arl-canvas", role: "img" });
  const message = element("div", { class: "arl-message", hidden: "" }, element("span"));
  const tip = element("div", { class: "arl-tip", hidden: "" });
  const map = element("div", {
    class: "arl-map", tabindex: "0", role: "application", "aria-roledescription": "map",
    "aria-label": `Map of ${field.label}: arrow keys move the query token, Enter makes this field the query`,
  }, canvas, message, tip);
  const caption = element("figcaption", { class: "arl-caption" });
  const slots = element("div", {
    class: "arl-slots", role: "group", "aria-label": `${field.label}: share of each level and time`,
  });
  const node = element("figure", { class: "arl-card", "data-arl-field": field.name },
    element("div", { class: "arl-card-head" }, title, kind, slot), map,
    element("div", { class: "arl-card-foot" }, caption, slots));
  const card = { field, node, title, kind, slot, canvas, message, tip, map, caption, slots, slotButtons: [], width: 0 };
  map.addEventListener("pointermove", (event) => on.hover(card, event));
  map.addEventListener("pointerleave", on.leave);
  map.addEventListener("click", (event) => on.click(card, event));
  addSlots(card, on.chooseSlot);
  return card;
}

// Levels are rows, times are columns; a cell brings its level and time to all maps.
function addSlots(card, chooseSlot) {
  const { field, slots } = card;
  const [levels, times] = field.shape;
  card.labelled = levels * times <= MOST_LABELLED_SLOTS;
  const width = card.labelled ? 36 : Math.max(6, Math.floor(110 / times));
  slots.style.gridTemplateColumns = `auto repeat(${times}, ${width}px)`;
  for (let level = 0; level < levels; level += 1) {
    slots.append(element("span", { text: plain(field.level[level]) }));
    for (let time = 0; time < times; time += 1) {
      const button = element("button", {
        type: "button", tabindex: "-1", onclick: () => chooseSlot(field.level[level], field.hours[time]),
      });
      card.slotButtons.push(button);
      slots.append(button);
    }
  }
  slots.append(element("span", { text: "hPa" }));
  for (let time = 0; time < times; time += 1) {
    const text = card.labelled || time === times - 1 ? hoursText(field.hours[time]) : "";
    slots.append(element("span", { class: "arl-slot-time", text }));
  }
}

// Words, numbers and alternative text of a card. `seen` has: from (query field), asked, pair, row, summary, slot,
// layer, head, scheme.
export function describeCard(card, seen) {
  const { field } = card;
  const { from, asked, pair, row, summary, slot } = seen;
  card.node.dataset.arlQuery = String(asked);
  card.title.setAttribute("aria-pressed", String(asked));
  card.kind.textContent = asked ? "query · self" : pair ? "coupling" : "not coupled";
  card.slot.textContent = slotText(field, slot);
  card.slots.hidden = !row;
  if (!row) {
    const text = asked ? `no self-attention of ${from.label} in this model`
      : `no coupling from ${from.label} to ${field.label} in this model`;
    card.message.firstChild.textContent = text;
    card.caption.textContent = "";
    card.canvas.setAttribute("aria-label", text);
    return;
  }
  const share = summary.shares[slot.level * field.shape[1] + slot.time];
  const one = pair.heads.includes(seen.head);
  const several = one ? `, head ${seen.head}` : `, mean of ${pair.heads.length} heads`;
  const kind = `${asked ? "self" : "coupling"}${pair.heads.length > 1 ? several : ""}`;
  const lead = `${from.short} attends to ${asked ? "itself" : field.label} (${kind}): this map holds `;
  const tail = ` of this softmax; entropy ${summary.entropy.toFixed(2)} of uniform.`;
  card.caption.replaceChildren(lead, element("b", { text: percent(share) }), tail);
  const peak = unravel(field, summary.peakToken);
  card.canvas.setAttribute("aria-label", `${lead}${percent(share)}${tail} Layer ${seen.layer}. The strongest token, `
    + `${percent(summary.peak)}, is at ${placeText(field.latitude[peak.row], field.longitude[peak.column])}, `
    + `${slotText(field, peak)}.`);
  showShares(card, seen);
}

function showShares(card, { summary, slot, scheme }) {
  const { field } = card;
  const most = Math.max(...summary.shares);
  card.slotButtons.forEach((button, i) => {
    const [level, time] = [Math.floor(i / field.shape[1]), i % field.shape[1]];
    const share = summary.shares[i];
    const colour = colourAt(PALETTES.attention[scheme], 0.85 * (share / most));
    const text = `${slotText(field, { level, time })}: ${percent(share)}`;
    button.style.background = css(colour);
    button.style.color = inkOn(colour);
    button.textContent = !card.labelled ? "" : share < 0.0095 ? "< 1 %" : percent(share);
    button.setAttribute("aria-label", text);
    button.title = text;
    button.setAttribute("aria-pressed", String(level === slot.level && time === slot.time));
  });
}

// The number under the pointer, beside it.
export function showTip(card, { data, cursor, slot, row, layout, project }) {
  const { field, tip } = card;
  tip.hidden = !cursor || cursor.field !== field.name;
  if (tip.hidden) return;
  const place = { ...slot, row: cursor.row, column: cursor.column };
  const { text, hidden } = tokenText(data, field, place);
  tip.replaceChildren(...(row ? [element("b", { text: percent(row[ravel(field, place)]) }), " · "] : []),
    `${text}${hidden ? " (hidden)" : ""} · ${placeText(cursor.lat, cursor.lon)}`);
  const x = project.x(cursor.lon);
  const half = tip.offsetWidth / 2;
  const left = Math.min(Math.max(x - half, 0), card.width - 2 * half);
  const above = project.y(cursor.lat + field.token[0] / 2) - 34;
  tip.style.left = `${left}px`;
  tip.style.top = `${above >= layout.top ? above : project.y(cursor.lat - field.token[0] / 2) + 8}px`;
}
