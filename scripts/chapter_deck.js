// Steps through the slides, keeps each within the window, and shows notes and code to those who ask.

const slides = [...document.querySelectorAll("main > .slide")];
const panel = document.getElementById("panel");
let now = 0;
let open = null; // what the panel shows: "notes", "code", "contents" or nothing
const none = { notes: "All that the chapter says here is on the slide.", code: "No code is behind this slide." };
let speaker = null; // the lecturer's window

const heading = (slide) => slide.querySelector("header").innerHTML;
const aside = (slide, name) => slide.querySelector(`aside.${name}`)?.innerHTML ?? "";

function show(number, { whole = false } = {}) {
  now = Math.max(0, Math.min(slides.length - 1, number));
  slides.forEach((slide, i) => slide.classList.toggle("current", i === now));
  slides[now].querySelectorAll(".fragment").forEach((part) => part.classList.toggle("seen", whole));
  history.replaceState(null, "", `#${now + 1}`);
  draw();
  fit(slides[now]); // the panel may have changed the room
}

function step(by) {
  if (open === "code" || open === "contents") toggle(open);
  const parts = [...slides[now].querySelectorAll(".fragment")];
  const part = by > 0 ? parts.find((p) => !p.classList.contains("seen")) : parts.findLast((p) => p.classList.contains("seen"));
  if (part) part.classList.toggle("seen", by > 0);
  else if (slides[now + by]) show(now + by, { whole: by < 0 });
  draw();
}

function draw() {
  document.getElementById("number").textContent = `${now + 1} / ${slides.length}`;
  document.getElementById("progress").style.width = `${(100 * (now + 1)) / slides.length}%`;
  const button = (name) => document.querySelector(`nav [data-does="${name}"]`);
  button("code").disabled = !aside(slides[now], "code");
  button("notes").disabled = !aside(slides[now], "notes");
  if (open === "contents") {
    const entries = slides.map((slide, i) => {
      const { part } = slide.dataset;
      return `<li${part && ' class="part"'}><a href="#${i + 1}">${part || slide.ariaLabel}</a></li>`;
    });
    panel.innerHTML = `<p class="kind">contents</p><ol>${entries.join("")}</ol>`;
  } else if (open) {
    panel.innerHTML = `<p class="kind">${open}</p>${aside(slides[now], open) || `<p>${none[open]}</p>`}`;
  }
  panel.hidden = !open;
  if (open) document.documentElement.dataset.open = open;
  else delete document.documentElement.dataset.open;
  tell();
}

// Notes of this slide and the head of the next one, in the lecturer's own window.
function tell() {
  if (!speaker || speaker.closed) return;
  const next = slides[now + 1];
  const root = speaker.document.documentElement;
  root.dataset.theme = document.documentElement.dataset.theme;
  speaker.document.querySelector("#said").innerHTML =
    `<h1>${heading(slides[now])}</h1>` +
    (aside(slides[now], "notes") || `<p>${none.notes}</p>`) +
    `<p class="kind">next: ${(next && (next.dataset.part || next.ariaLabel)) ?? "the end"}</p>`;
}

function openSpeaker() {
  if (!speaker || speaker.closed) {
    speaker = window.open("", "speaker", "width=900,height=900");
    if (!speaker) return; // the browser forbids windows: n shows the notes here
    const began = Date.now();
    speaker.document.title = "Notes";
    speaker.document.head.innerHTML = [...document.querySelectorAll("style, link[rel=stylesheet]")]
      .map((style) => (style.href ? `<link rel="stylesheet" href="${style.href}">` : style.outerHTML)).join("");
    speaker.document.body.innerHTML = '<p id="clock"></p><div id="said"></div>';
    speaker.document.body.className = "speaker";
    speaker.addEventListener("keydown", onKey);
    const tick = () => {
      const minutes = Math.floor((Date.now() - began) / 60000);
      speaker.document.getElementById("clock").textContent = `${new Date().toTimeString().slice(0, 5)}, ${minutes} min since the start`;
    };
    tick();
    speaker.setInterval(tick, 5000);
  }
  tell();
  speaker.focus();
}

function scheme(theme) {
  document.documentElement.dataset.theme = theme;
  draw();
}

const actions = {
  next: () => step(1),
  back: () => step(-1),
  first: () => show(0),
  last: () => show(slides.length - 1),
  notes: () => toggle("notes"),
  code: () => toggle("code"),
  contents: () => toggle("contents"),
  speaker: openSpeaker,
  scheme: () => scheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  screen: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
  close: () => open && toggle(open),
};
const keys = {
  ArrowRight: "next", ArrowDown: "next", PageDown: "next", " ": "next", Enter: "next",
  ArrowLeft: "back", ArrowUp: "back", PageUp: "back", Backspace: "back", Home: "first", End: "last",
  n: "notes", c: "code", o: "contents", s: "speaker", d: "scheme", f: "screen", Escape: "close",
};

function toggle(name) {
  open = open === name ? null : name;
  draw();
  fit(slides[now]);
}

// A widget or a control that has the focus keeps the keys that move or press something, and gives the focus back on
// Escape; a text keeps all. Page up and down, which remote controls send, always step.
function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const action = keys[event.key];
  const within = (selector) => event.target.closest?.(selector);
  const turns = event.key === "PageDown" || event.key === "PageUp" || event.key === "Escape";
  const text = within("textarea, select, input:not([type=range], [type=radio], [type=checkbox], [type=button])");
  const busy = text || (within(".widget-area, input, #panel, nav button") && !/^[a-z]$/.test(event.key));
  if (!action || (busy && !turns)) return;
  event.preventDefault();
  actions[action]();
}

// Text without a picture is made larger, and all smaller until the slide holds it and its picture has most of the room;
// what is still too large scrolls inside.
function fit(slide) {
  const body = slide.querySelector(".body");
  const area = body.querySelector(".widget-area");
  if (area) return fitWidget(body, area);
  const figure = body.querySelector(":scope > figure, :scope > .cell_output > figure, :scope > .fragment > figure");
  const largest = figure || body.querySelector(".glance") ? 1 : 1.25;
  for (let scale = largest; scale > 0.5; scale -= 0.05) {
    body.style.setProperty("--fit", scale);
    const seen = !figure || scale < 0.8 || figure.offsetHeight >= 0.6 * body.clientHeight;
    if (seen && body.scrollHeight <= body.clientHeight + 1 && body.scrollWidth <= body.clientWidth + 1) return;
  }
}

// A widget is laid out in the width, of some, in which it can be shown largest, and zoomed to fill its slide. It arranges
// itself in its own time, so each width waits two frames.
const WIDTHS = [720, 800, 900, 1000, 1150, 1300, 1500];
const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));

async function fitWidget(body, area) {
  const room = `${body.offsetWidth} ${body.offsetHeight}`;
  if (area.offsetHeight < 100 || area.dataset.room === room) return; // not there yet, or done
  area.dataset.room = room; // a later call with another room ends this one
  delete area.dataset.fitted;
  const fitting = (width) => {
    const high = body.offsetHeight - (area.offsetTop - body.offsetTop) - 2;
    return Math.min(2, body.offsetWidth / width, high / area.offsetHeight);
  };
  const best = { width: WIDTHS[0], zoom: 0 };
  const widths = WIDTHS.filter((width) => 0.6 * width <= body.offsetWidth);
  for (const width of [WIDTHS[0], ...widths, null]) { // the first time it may be half drawn
    area.style.cssText = `zoom: 1; width: ${width ?? best.width}px`;
    await drawn();
    if (area.dataset.room !== room) return;
    if (width === null) area.style.zoom = Math.max(0.6, fitting(best.width));
    else if (fitting(width) > best.zoom) Object.assign(best, { width, zoom: fitting(width) });
  }
  area.dataset.fitted = "yes";
}

// Zoomed elements tell their box, and events their place, in pixels of the window, but their width in pixels of their own;
// widgets that use both would be missed by the pointer, so all that they ask for is in their own.
const boxOf = Element.prototype.getBoundingClientRect;
const zoomOf = (element) => Number(element?.parentElement?.closest(".widget-area")?.style.zoom || 1);
Element.prototype.getBoundingClientRect = function getBoundingClientRect() {
  const [box, zoom] = [boxOf.call(this), zoomOf(this)];
  return new DOMRect(box.x / zoom, box.y / zoom, box.width / zoom, box.height / zoom);
};
for (const axis of ["clientX", "clientY"]) {
  const { get } = Object.getOwnPropertyDescriptor(MouseEvent.prototype, axis);
  Object.defineProperty(MouseEvent.prototype, axis, { get() { return get.call(this) / zoomOf(this.target); } });
}

document.addEventListener("keydown", onKey);
document.addEventListener("keydown", (event) => { // before the widget, which may keep the key to itself
  if (event.key === "Escape" && event.target.closest?.(".widget-area")) event.target.blur();
}, true);
document.querySelector("nav").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  actions[button.dataset.does]();
  button.blur(); // space shall step, not press the button again
});
window.addEventListener("hashchange", () => {
  const number = Number(location.hash.slice(1)) - 1;
  if (number !== now) {
    open = null;
    show(number);
  }
});
window.addEventListener("resize", () => slides.forEach(fit));
const system = window.matchMedia("(prefers-color-scheme: dark)");
system.addEventListener("change", () => scheme(system.matches ? "dark" : "light"));

scheme(system.matches ? "dark" : "light");
show((Number(location.hash.slice(1)) || 1) - 1);
// Formulas, fonts and pictures change heights; `data-settled` says that all have come.
Promise.all([
  window.MathJax.startup.promise,
  document.fonts.ready,
  ...[...document.images].map((image) => image.decode().catch(() => {})),
]).then(() => {
  slides.forEach(fit);
  for (const area of document.querySelectorAll(".widget-area")) { // widgets come in their own time
    new ResizeObserver(() => fit(area.closest(".slide"))).observe(area);
  }
  document.documentElement.dataset.settled = "yes";
});
