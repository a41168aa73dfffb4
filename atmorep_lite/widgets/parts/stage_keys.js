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
    r: () => page.scene(state.scene), Escape: page.escape, s: () => page.toggleSetup(), d: page.scheme, f: page.fullscreen,
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
    const moves = name === " " || name.startsWith("Arrow"); // what sliders, lists of buttons and the other explorer move by
    const taken = within("select, textarea, input[type=text]") || (moves && within("input, .arl-guest")) || (name === " " && within("button"));
    const closes = name === "Escape" || (name === "s" && within("select") && event.composedPath().includes(page.setup));
    if (!acts[name] || (taken && !steps && !closes)) return;
    if (name !== "Escape") event.preventDefault();
    acts[name]();
  }
  // After a click the keys are the stage's again; who came by keyboard keeps the focus.
  const byHand = { pointer: false };
  const onPointer = () => { byHand.pointer = true; };
  const onAnyKey = () => { byHand.pointer = false; };
  function release(event) {
    const what = event.composedPath()[0];
    if (byHand.pointer && what.matches?.(`button, button *, input[type=radio], canvas, ${event.type === "change" ? "select" : "label *"}`)
      && !event.composedPath().some((one) => one.matches?.(".arl-guest, .arl-stage-setup"))) {
      setTimeout(() => {
        const { activeElement } = root.getRootNode();
        if (activeElement?.matches("button, input[type=radio], select, canvas")) activeElement.blur();
      });
    }
  }
  root.addEventListener("pointerdown", onPointer, true);
  root.addEventListener("keydown", onAnyKey, true);
  root.addEventListener("click", release);
  root.addEventListener("change", release);
  const heard = meta.fills ? document : root; // beside other cells of a notebook only its own keys
  heard.addEventListener("keydown", onKey);
  return {
    node,
    end: () => heard.removeEventListener("keydown", onKey),
  };
}
