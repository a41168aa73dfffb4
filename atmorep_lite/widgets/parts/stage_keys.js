// Keys of the stage, and the line that lists them.
import { element } from "./controls.js";

const SHOWN = [
  ["← →", "scenes"], ["Space", "play"], [", .", "hour"], ["E", "member"], ["A", "attention"], ["Z", "undo"], ["C", "clear"], ["R", "scene afresh"], ["S", "set up"],
  ["D", "dark / light"], ["F", "full screen"],
];

// `page` as for `buildSide`.
export function stageKeys(page) {
  const { state, choose, meta, root } = page;
  const node = element("p", { class: "arl-help arl-stage-help" }, ...SHOWN.map(([key, what]) =>
    element("span", {}, element("kbd", { text: key }), ` ${what}`)));
  const acts = {
    PageDown: () => page.scene(state.scene + 1), PageUp: () => page.scene(state.scene - 1),
    ArrowRight: () => page.scene(state.scene + 1), ArrowLeft: () => page.scene(state.scene - 1),
    ArrowDown: () => page.scene(state.scene + 1), ArrowUp: () => page.scene(state.scene - 1),
    " ": page.play, ",": () => page.hour(-1), ".": () => page.hour(1), e: nextMember,
    a: () => choose({ view: state.view === "maps" ? "attention" : "maps" }),
    z: () => state.hide.length && choose({ hide: state.hide.slice(0, -1) }), c: () => state.hide.length && choose({ hide: [] }),
    r: () => page.scene(state.scene), s: () => page.toggleSetup(), d: page.scheme, f: page.fullscreen,
  };
  function nextMember() {
    const { members } = page.answer();
    if (members > 1) choose({ member: state.member === "mean" ? 1 : state.member === members ? "mean" : state.member + 1 });
  }
  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const within = (what) => event.composedPath().some((one) => one.matches?.(what));
    const steps = name === "PageDown" || name === "PageUp"; // what a presenter's remote control sends: always a step
    const moves = name === " " || name.startsWith("Arrow"); // what sliders, buttons and the other explorer move by
    const taken = within("select, textarea, input[type=text]") || (moves && within("input, button, .arl-guest"));
    if (!acts[name] || (taken && !steps)) return;
    event.preventDefault();
    acts[name]();
  }
  const heard = meta.fills ? document : root; // beside other cells of a notebook only its own keys
  heard.addEventListener("keydown", onKey);
  return {
    node,
    end: () => heard.removeEventListener("keydown", onKey),
  };
}
