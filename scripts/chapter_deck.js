// Steps through the slides, keeps each within the window, and shows notes and code to those who ask.

const slides = [...document.querySelectorAll("main > .slide")];
const panel = document.getElementById("panel");
let now = 0;
let open = null; // what the panel shows: "notes", "code", "contents" or nothing
let speaker = null; // the lecturer's window

const aside = (slide, name) => slide.querySelector(`aside.${name}`)?.innerHTML ?? "";

function show(number, { whole = false } = {}) {
  now = Math.max(0, Math.min(slides.length - 1, number));
  slides.forEach((slide, i) => slide.classList.toggle("current", i === now));
  slides[now].querySelectorAll(".fragment").forEach((part) => part.classList.toggle("seen", whole));
  history.replaceState(null, "", `#${now + 1}`);
  draw();
}

function step(by) {
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
    const entries = slides.map((slide, i) => `<li><a href="#${i + 1}">${slide.ariaLabel}</a></li>`);
    panel.innerHTML = `<p class="kind">contents</p><ol>${entries.join("")}</ol>`;
  } else if (open) {
    panel.innerHTML = `<p class="kind">${open}</p>${aside(slides[now], open) || `<p>This slide has no ${open}.</p>`}`;
  }
  panel.hidden = !open;
  tell();
}

// Notes of this slide and the head of the next one, in the lecturer's own window.
function tell() {
  if (!speaker || speaker.closed) return;
  const next = slides[now + 1];
  const root = speaker.document.documentElement;
  root.dataset.theme = document.documentElement.dataset.theme;
  speaker.document.querySelector("#said").innerHTML =
    `<h1>${slides[now].querySelector("header").innerHTML}</h1>` +
    (aside(slides[now], "notes") || "<p>No notes.</p>") +
    `<p class="kind">next: ${next?.ariaLabel ?? "the end"}</p>`;
}

function openSpeaker() {
  if (!speaker || speaker.closed) {
    speaker = window.open("", "speaker", "width=900,height=700");
    if (!speaker) return; // the browser forbids windows: n shows the notes here
    const began = Date.now();
    speaker.document.title = "Notes";
    speaker.document.head.innerHTML = [...document.querySelectorAll("style, link[rel=stylesheet]")]
      .map((style) => (style.href ? `<link rel="stylesheet" href="${style.href}">` : style.outerHTML)).join("");
    speaker.document.body.innerHTML = '<p id="clock"></p><div id="said"></div>';
    speaker.document.body.style = "overflow: auto; padding: 1em 2em; font-size: 22px";
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
  close: () => toggle(open),
};
const keys = {
  ArrowRight: "next", ArrowDown: "next", PageDown: "next", " ": "next", Enter: "next",
  ArrowLeft: "back", ArrowUp: "back", PageUp: "back", Backspace: "back", Home: "first", End: "last",
  n: "notes", c: "code", o: "contents", s: "speaker", d: "scheme", f: "screen", Escape: "close",
};

function toggle(name) {
  open = open === name ? null : name;
  draw();
}

// A widget or a control that has the focus keeps its keys; page up and down, which remote controls send, always step.
function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const action = keys[event.key];
  const busy = event.target.closest?.(".widget-area, input, select, textarea, #panel, nav button");
  const turns = event.key === "PageDown" || event.key === "PageUp" || event.key === "Escape";
  if (!action || (busy && !turns)) return;
  event.preventDefault();
  actions[action]();
}

// Text without a picture is made larger, and all smaller until the slide holds it; what is still too large scrolls inside.
function fit(slide) {
  const body = slide.querySelector(".body");
  if (slide.matches(".widget")) return;
  const largest = body.querySelector("figure, .glance") ? 1 : 1.25;
  for (let scale = largest; scale > 0.5; scale -= 0.05) {
    body.style.setProperty("--fit", scale);
    if (body.scrollHeight <= body.clientHeight + 1 && body.scrollWidth <= body.clientWidth + 1) return;
  }
}

document.addEventListener("keydown", onKey);
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
  document.documentElement.dataset.settled = "yes";
});
