// StageMap: a lecturer's stage. What is hidden, what comes back, how wrong it is; scenes to step through.
import { ownBuffer } from "./parts/buffers.js";
import { element } from "./parts/controls.js";
import { explorer } from "./parts/frame.js";
import { buildCards } from "./parts/stage_cards.js";
import { buildSide } from "./parts/stage_controls.js";
import { stageGuest } from "./parts/stage_guest.js";
import { stageHead } from "./parts/stage_head.js";
import { stageKeys } from "./parts/stage_keys.js";
import { buildSetup } from "./parts/stage_setup.js";
import { stageNumbers } from "./parts/stage_values.js";

const TALL = { wide: 720, of: 1280, least: 560 }; // the stage is laid out for 1280 x 720 and grows with the screen
const PLAY_MS = 450;
const PATIENCE_MS = 10000; // without an answer
const READ_MS = 8000; // a message stays so long
const LOST = "The connection is lost: reload the page";

function build(page, model) {
  const { meta, data, state, root } = page;
  const made = { answer: model.get("answer"), numbers: null, asked: 0, timer: null, turn: 0, pending: 0, visit: state.visit, lost: false };
  const fault = element("p", { class: "arl-stage-fault", role: "alert", hidden: "" });
  function say(words, stays = false) {
    clearTimeout(made.saying);
    fault.hidden = !words;
    fault.textContent = words || "";
    if (words && !stays) made.saying = setTimeout(hush, READ_MS);
  }
  const hush = () => { if (!made.lost) say(""); };
  const lose = () => {
    made.lost = true;
    settle();
    say(LOST, true);
  };
  root.addEventListener("click", hush);

  function choose(changes) {
    // What is asked of a scene that is just being left would be mixed with the next one.
    if (made.visit < state.visit && changes.visit === undefined && !made.lost) return;
    if (Object.entries(changes).every(([key, value]) => JSON.stringify(state[key]) === JSON.stringify(value))) return;
    const asked = state.asked + 1; // Python's answer tells which question it is for
    if (asks(changes)) {
      made.pending = asked;
      made.asked = performance.now();
      root.dataset.arlAsked = "true";
      clearTimeout(made.busy);
      made.busy = setTimeout(() => { root.dataset.arlBusy = "true"; }, 180);
      clearTimeout(made.patience);
      made.patience = setTimeout(lose, PATIENCE_MS);
    }
    page.choose({ ...changes, asked });
  }
  // Whether Python has to answer; the rest is drawn from what is here.
  const asks = (changes) => Object.keys(changes).some((key) => !["level", "hours", "cards", "member", "brush"].includes(key))
    && !(Object.keys(changes).length === 1 && changes.view === "maps");
  function settle() {
    clearTimeout(made.busy);
    clearTimeout(made.patience);
    delete root.dataset.arlBusy;
    delete root.dataset.arlAsked;
  }

  const shared = {
    meta, data, state, choose, root, redraw: page.redraw,
    answer: () => made.answer, numbers: () => made.numbers,
    step: () => Math.max(0, made.answer.hours.indexOf(state.hours)),
    level: () => Math.max(0, made.answer.level.indexOf(state.level)),
    scene(number) {
      if (number >= 0 && number < meta.scenes.length) {
        pause();
        setup.toggle(false);
        choose({ scene: number, visit: state.visit + 1 });
      }
    },
    hour(forward) {
      const { hours } = made.answer;
      choose({ hours: hours[(shared.step() + forward + hours.length) % hours.length] });
    },
    play: () => (made.timer ? pause() : start()),
    playing: () => made.timer !== null,
    fullscreen: () => (document.fullscreenElement ? document.exitFullscreen()
      : (meta.fills ? document.documentElement : root).requestFullscreen().catch(() => say("This browser does not allow full screen here."))),
    scheme() {
      document.documentElement.dataset.theme = root.dataset.arlScheme === "dark" ? "light" : "dark";
    },
    async copyScene() {
      try {
        await navigator.clipboard.writeText(made.answer.scene);
        say("Copied: paste it under scenes: in a YAML file.");
      } catch {
        say("This browser does not allow copying here.");
      }
    },
  };
  function start() {
    made.timer = setInterval(() => shared.hour(1), PLAY_MS);
    page.redraw();
  }
  function pause() {
    clearInterval(made.timer);
    made.timer = null;
    page.redraw();
  }

  const guest = stageGuest(say);
  const head = stageHead(shared);
  const cards = buildCards(shared);
  const side = buildSide(shared);
  const setup = buildSetup(shared);
  Object.assign(shared, { toggleSetup: setup.toggle, setup: setup.node, escape: () => { hush(); setup.toggle(false); } });
  const main = element("div", { class: "arl-stage-main" }, cards.node, side.node);
  const keys = stageKeys(shared);

  // Numbers and their description come one after the other: they are shown when they belong together.
  function take() {
    const answer = model.get("answer");
    const numbers = ownBuffer(model.get("numbers"));
    if (answer.number === undefined || new DataView(numbers.buffer).getInt32(numbers.start, true) !== answer.number) return;
    if (answer.number !== made.shown) {
      made.shown = answer.number;
      made.numbers = stageNumbers(answer, numbers);
    }
    made.answer = answer;
    if (answer.turn !== made.turn) { // Python has heard of what was asked last
      made.turn = answer.turn;
      made.visit = Math.max(made.visit, answer.stands.visit);
      made.lost = false;
      say(answer.fault);
      if (answer.stands.asked >= state.asked) Object.assign(state, structuredClone(answer.stands)); // picture and controls at once
      if (answer.stands.asked >= made.pending) {
        cards.forget();
        settle();
      }
    }
    page.redraw();
  }
  function invite() {
    const bytes = model.get("guest_data");
    guest.take(model.get("guest"), bytes);
  }
  const heard = { answer: take, numbers: take, guest: invite, guest_data: invite };
  for (const [name, act] of Object.entries(heard)) model.on(`change:${name}`, act);
  take();
  invite();
  const hosts = window.Bokeh?.documents || []; // of Panel, which knows when its server has gone
  for (const host of hosts) host.on_event?.("connection_lost", lose);

  function draw(look) {
    const wide = root.clientWidth;
    const tall = meta.fills || document.fullscreenElement ? window.innerHeight : Math.max(TALL.least, wide * (TALL.wide / TALL.of));
    const narrow = wide < 760;
    const scale = narrow ? 1 : Math.min(2.6, Math.max(0.8, Math.min(wide / TALL.of, tall / TALL.wide)));
    root.style.setProperty("--s", String(scale));
    root.style.setProperty("--stage-tall", `${tall}px`);
    root.dataset.arlNarrow = String(narrow);
    root.dataset.arlView = state.view;
    root.dataset.arlFills = String(Boolean(meta.fills));
    head.refresh();
    guest.node.hidden = state.view !== "attention";
    main.hidden = state.view === "attention";
    if (!made.numbers) return;
    const measured = { ...look, scale, narrow };
    if (!main.hidden) {
      side.refresh({ ...measured, chartHeight: chartRoom(scale, narrow) });
      cards.refresh(measured);
    }
    setup.refresh(measured);
    if (made.asked && !root.dataset.arlAsked) {
      root.arl.answerMs = performance.now() - made.asked;
      made.asked = 0;
    }
  }
  function chartRoom(scale, narrow) {
    if (narrow) return 170;
    const rest = side.node.clientHeight - [...side.node.children].filter((node) => node !== side.chart.node)
      .reduce((sum, node) => sum + (node.hidden ? 0 : node.offsetHeight + 10 * scale), 0);
    return Math.min(230 * scale, rest - 68 * scale);
  }

  return {
    nodes: [head.node, fault, main, guest.node, setup.node, keys.node],
    draw,
    words() {
      const { name } = meta.scenes[made.answer.stands?.scene ?? state.scene];
      return `${name}. ${made.answer.label}, ${state.level} hPa, at ${state.hours} hours. ${cards.words()}`;
    },
    hooks: {
      ask: choose, choose, scene: shared.scene, number: () => made.answer.number, answerMs: NaN, fault: () => fault.textContent,
      values: (card) => [...(made.numbers.values(card, shared.level(), shared.step(), state.member) || [])],
      centre: cards.centre, guest: () => guest.number(),
    },
    end() {
      pause();
      keys.end();
      guest.end();
      for (const timer of [made.busy, made.patience, made.saying]) clearTimeout(timer);
      root.removeEventListener("click", hush);
      for (const [name, act] of Object.entries(heard)) model.off(`change:${name}`, act);
    },
  };
}

// Python tells what it has made of each choice. Of a choice that is older than the page's last one nothing is to be taken
// over: it would undo what was chosen since.
function onlyNew(model, told) {
  return {
    get(name) {
      const value = model.get(name);
      return name === "selected" && told.state && value.asked < told.state.asked ? told.state : value;
    },
    set: (...all) => model.set(...all),
    save_changes: () => model.save_changes(),
    on: (...all) => model.on(...all),
    off: (...all) => model.off(...all),
  };
}

function render({ model, el }) {
  const told = { state: null };
  const known = (page) => {
    told.state = page.state;
    return build(page, model);
  };
  return explorer({ kind: "stage", label: "Live app", build: known })({ model: onlyNew(model, told), el });
}

export default { render };
