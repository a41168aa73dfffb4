// Pointer and keys on the maps: hovering tries a token or reads numbers on all maps, a click or tap chooses.
import { tokenAt } from "./geography.js";
import { keyAction } from "./explorer_state.js";

// Returns { hover, leave, click } for the cards, cursorOn(card): the token under the linked cursor, and brief(card):
// whether its number alone is told there.
export function followPointer({ choices, grid, cards, geometry, redraw }) {
  const { view } = choices;

  function placeUnder(card, event) {
    const box = card.canvas.getBoundingClientRect();
    const { project } = geometry(card);
    return tokenAt(card.field, project.lat(event.clientY - box.top), project.lon(event.clientX - box.left));
  }
  function hover(card, event) {
    if (event.pointerType === "touch") return;
    const { field } = card;
    const place = placeUnder(card, event);
    const before = JSON.stringify([view.preview, view.cursor]);
    const tries = choices.previews(field);
    view.preview = tries && place ? { query_field: field.name, query: choices.tokenUnder(card, place) } : null;
    view.cursor = place ? { card: cards().indexOf(card), tries, lat: field.latitude[place.row], lon: field.longitude[place.column] } : null;
    if (JSON.stringify([view.preview, view.cursor]) !== before) redraw();
  }
  function leave() {
    view.preview = null;
    view.cursor = null;
    redraw();
  }
  function click(card, event) {
    const place = placeUnder(card, event);
    card.map.focus({ preventScroll: true });
    if (!place) return;
    const query = choices.tokenUnder(card, place);
    const { query_field, query: chosen } = choices.state;
    const again = view.locked && choices.state.show === "query" && card.field.name === query_field && query === chosen;
    view.cursor = null;
    choices.choose({ query_field: card.field.name, query }, { lock: !again });
  }
  grid.addEventListener("keydown", (event) => {
    const card = cards().find((one) => one.map === event.target);
    if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keyAction(choices, card, event);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  });
  return {
    hover,
    leave,
    click,
    cursorOn(card) {
      if (!view.cursor) return null;
      const { field } = card;
      const place = tokenAt(field, view.cursor.lat, view.cursor.lon);
      return place && { ...place, lat: field.latitude[place.row], lon: field.longitude[place.column] };
    },
    brief: (card) => Boolean(view.cursor) && (view.cursor.tries || cards()[view.cursor.card] !== card),
  };
}
