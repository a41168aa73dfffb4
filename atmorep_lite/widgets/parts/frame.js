// The frame of every explorer: heading, caption, words for screen readers, both colour schemes, one redraw a frame, and
// a message where something fails, never a blank.
import { ownBuffer } from "./buffers.js";
import { element } from "./controls.js";
import { pageScheme, watchScheme } from "./page_scheme.js";

// The render function of an explorer. `build(page)` gets
//   meta, data    what Python sent
//   state         what is selected, as Python's `selected`
//   choose(some)  selects: redraws, tells Python and screen readers
//   redraw()      draws at the next frame, once however often it is called
//   announce()    tells screen readers the words, after a moment of rest
//   follow(name, callback)  calls back with a further trait of Python's, at once and whenever it changes
//   root          the node that all lies in
// and returns
//   nodes         what stands between heading and caption
//   draw(look)    fills them; look has scheme ("light" or "dark"), ink(name) (a colour of the style sheet), font, width
//   words()       what is to be seen, in a sentence or two with numbers
//   hooks         further functions for scripts on the page and for tests, as root.arl
//   end()         optional: stops what `build` started
export function explorer({ kind, label, build }) {
  return ({ model, el }) => {
    let end = mount({ kind, label, build, model, el });
    const rebuild = () => { end(); end = mount({ kind, label, build, model, el }); };
    model.on("change:meta", rebuild);
    return () => { model.off("change:meta", rebuild); end(); };
  };
}

function mount({ kind, label, build, model, el }) {
  const meta = model.get("meta");
  const state = structuredClone(model.get("selected"));
  const body = element("div", { class: "arl-body" });
  const fault = element("p", { class: "arl-fault", role: "alert", hidden: "" });
  const live = element("div", { class: "arl-sr", role: "status", "aria-live": "polite" });
  const root = element("div", { class: `arl-widget arl-${kind}`, role: "group", "aria-label": meta.title || label },
    ...(meta.title ? [element("p", { class: "arl-heading", role: "heading", "aria-level": "3", text: meta.title })] : []),
    body, fault, live, ...(meta.caption ? [element("p", { class: "arl-foot", text: meta.caption })] : []));
  const followed = [];
  const made = { draws: 0, waiting: null, telling: null, unsent: false, parts: null };
  root.dataset.arlScheme = pageScheme();
  el.append(root);

  function fail(text) {
    body.hidden = true;
    fault.hidden = false;
    fault.textContent = text;
    root.dataset.arlFault = "true";
  }
  // After a drawing that failed: another state may well be drawn.
  function recover() {
    body.hidden = false;
    fault.hidden = true;
    delete root.dataset.arlFault;
  }
  function guarded(act) {
    try {
      return act();
    } catch (error) {
      console.error(error);
      fail(`This explorer cannot be drawn here: ${error.message}`);
      return null;
    }
  }
  function draw() {
    made.waiting = null;
    if (!made.parts) return;
    if (body.hidden) recover();
    if (body.clientWidth === 0) return;
    const started = performance.now();
    root.dataset.arlScheme = pageScheme();
    const style = getComputedStyle(root);
    const ink = (name) => style.getPropertyValue(`--arl-${name}`).trim();
    guarded(() => made.parts.draw({ scheme: root.dataset.arlScheme, ink, font: style.fontFamily, width: body.clientWidth }));
    made.draws += 1;
    root.arl.redrawMs = performance.now() - started;
    root.dataset.arlDraws = String(made.draws);
    if (made.unsent) {
      made.unsent = false;
      model.set("selected", structuredClone(state));
      model.save_changes();
    }
  }
  function redraw() {
    if (!made.waiting) made.waiting = requestAnimationFrame(draw);
  }
  function announce() {
    clearTimeout(made.telling);
    made.telling = setTimeout(() => { live.textContent = guarded(made.parts.words) ?? ""; }, 400);
  }
  function choose(changes) {
    Object.assign(state, changes);
    made.unsent = true;
    redraw();
    announce();
  }
  function fromPython() {
    const wanted = model.get("selected");
    if (JSON.stringify(wanted) === JSON.stringify(state)) return;
    Object.assign(state, structuredClone(wanted));
    redraw();
    announce();
  }
  function follow(name, callback) {
    const heard = () => guarded(() => callback(model.get(name)));
    callback(model.get(name));
    model.on(`change:${name}`, heard);
    followed.push([name, heard]);
  }

  root.arl = {
    selected: () => structuredClone(state),
    choose,
    words: () => made.parts.words(),
    redraw: () => { draw(); return root.arl.redrawMs; },
    redrawMs: NaN,
  };
  if (meta.fault) fail(meta.fault);
  else made.parts = guarded(() => build({
    meta, data: ownBuffer(model.get("data")), state, choose, redraw, announce, follow, root,
  }));
  const sizes = new ResizeObserver(redraw);
  const unwatch = watchScheme(() => { root.dataset.arlScheme = pageScheme(); redraw(); });
  if (made.parts) {
    Object.assign(root.arl, made.parts.hooks);
    body.append(...made.parts.nodes);
    sizes.observe(body);
    draw();
  }
  model.on("change:selected", fromPython);
  for (const event of ["beforeprint", "afterprint"]) window.addEventListener(event, draw);
  return () => {
    for (const event of ["beforeprint", "afterprint"]) window.removeEventListener(event, draw);
    sizes.disconnect();
    unwatch();
    clearTimeout(made.telling);
    cancelAnimationFrame(made.waiting);
    model.off("change:selected", fromPython);
    for (const [name, heard] of followed) model.off(`change:${name}`, heard);
    made.parts?.end?.();
    root.remove();
  };
}
