// Another explorer on the stage: its own module and style, run from the very text that Python sent (no request).
import { element } from "./controls.js";

// Two rows of three maps, twice as wide as high, fill the window; what a caption says is in the table beside them.
const GUEST_STYLE = `:is(.arl-root, .arl-widget) { border: 0; padding: 0; }
.arl-stage-fold > summary { cursor: pointer; width: fit-content; color: var(--arl-muted); }
.arl-stage-fold[open] > summary { margin-bottom: 8px; }
.arl-card .arl-caption { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
@media (min-width: 1000px) {
  .arl-grid { gap: 12px 26px; }
  .arl-grid:has(> :nth-child(5)) { max-width: max(800px, 300vh - 1133px); --arl-columns: 3 !important; }
  .arl-stage-fold:not([open]) { margin-top: -36px; }
  .arl-stage-fold:not([open]) > summary { margin: 0 4px 14px auto; }
}`;

// `node` to be placed on the page; `take(guest, data)` shows another one, once its numbers are there too.
export function stageGuest(fail) {
  const style = element("style");
  const host = element("div");
  const node = element("div", { class: "arl-guest" });
  node.attachShadow({ mode: "open" }).append(style, host); // its style and the stage's stay apart
  const made = { number: 0, end: null, modules: new Map() };

  async function moduleOf(source) {
    if (!made.modules.has(source)) {
      const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      made.modules.set(source, import(address).finally(() => URL.revokeObjectURL(address)));
    }
    return (await made.modules.get(source)).default;
  }
  // On the stage the maps come first, and hours count from the stage's time.
  function furnish() {
    const controls = host.querySelector(".arl-controls");
    if (controls) {
      const fold = element("details", { class: "arl-stage-fold" }, element("summary", { text: "Controls" }));
      controls.before(fold);
      fold.append(controls);
    }
    for (const one of host.querySelectorAll("[title='hours relative to the newest token']")) one.title = "hours from the stage's time";
  }
  async function take(guest, data) {
    if (!guest.number || guest.number === made.number || data.byteLength !== guest.size) return;
    made.number = guest.number;
    try {
      const { render } = await moduleOf(guest.module);
      if (made.number !== guest.number) return; // a later one has come meanwhile
      made.end?.();
      host.replaceChildren();
      style.textContent = `${guest.style}\n${GUEST_STYLE}`;
      const state = { meta: guest.meta, selected: guest.selected, data };
      const model = {
        get: (name) => state[name],
        set: (name, value) => { state[name] = value; },
        save_changes() {}, on() {}, off() {},
      };
      made.end = await render({ model, el: host });
      if (made.number === guest.number) furnish();
    } catch (error) {
      console.error(error);
      fail(`The attention explorer cannot be shown here: ${error.message}`);
    }
  }
  return { node, take, number: () => made.number, end: () => made.end?.() };
}
