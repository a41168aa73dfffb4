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

function build(page, model) {
  const { meta, data, state, root } = page;
  const made = { answer: model.get("answer"), numbers: null, asked: 0, timer: null, turn: 0 };
  const fault = element("p", { class: "arl-stage-fault", role: "alert", hidden: "" });
  const say = (words) => {
    fault.hidden = !words;
    fault.textContent = words || "";
  };

  function choose(changes) {
    if (Object.entries(changes).every(([key, value]) => JSON.stringify(state[key]) === JSON.stringify(value))) return;
    made.asked = performance.now();
    root.dataset.arlAsked = "true";
    clearTimeout(made.busy);
    made.busy = setTimeout(() => { root.dataset.arlBusy = "true"; }, 180);
    if (!asks(changes)) settle();
    page.choose(changes);
  }
  // Whether Python has to answer; the rest is drawn from what is here.
  const asks = (changes) => Object.keys(changes).some((key) => !["level", "hours", "cards", "member", "brush"].includes(key))
    && !(Object.keys(changes).length === 1 && changes.view === "maps");
  function settle() {
    clearTimeout(made.busy);
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
  shared.toggleSetup = setup.toggle;
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
      say(answer.fault);
      cards.forget();
      settle();
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
      const { name } = meta.scenes[state.scene] || { name: "" };
      return `${name}. ${made.answer.label}, ${state.level} hPa, at ${state.hours} hours. ${cards.words()}`;
    },
    hooks: {
      ask: choose, scene: shared.scene, number: () => made.answer.number, answerMs: NaN, fault: () => fault.textContent,
      values: (card) => [...(made.numbers.values(card, shared.level(), shared.step(), state.member) || [])],
      centre: cards.centre, guest: () => guest.number(),
    },
    end() {
      pause();
      keys.end();
      guest.end();
      clearTimeout(made.busy);
      for (const [name, act] of Object.entries(heard)) model.off(`change:${name}`, act);
    },
  };
}

function render({ model, el }) {
  return explorer({ kind: "stage", label: "Live app", build: (page) => build(page, model) })({ model, el });
}

export default { render };
