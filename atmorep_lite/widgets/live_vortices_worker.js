// The half of LiveVortices that computes, in a worker so that the page stays fluid: the network in onnxruntime-web, whose
// script stands before this one in the worker's file, and the solver that knows the truth.
import { vorticityFlow } from "./parts/vorticity_flow.js";

const TOO_FAST = "The flow is too fast for the solver here. Make its vortices weaker, or start again.";
const runtime = self.ort;
const made = { session: null, flow: null, meta: null, waiting: null, busy: false, look: { step: 1, query: 0 } };
// Of the present scene: the three frames, its truth so far, forecasts so far, and those with nothing hidden.
let scene = null;

const pause = () => new Promise((go) => { setTimeout(go, 0); });

const handlers = {
  async start({ meta, wasm, model }) {
    const started = performance.now();
    runtime.env.wasm.numThreads = 1; // more would need a page that is isolated from all others
    runtime.env.wasm.proxy = false;
    runtime.env.logLevel = "error";
    runtime.env.wasm.wasmBinary = await inflate(wasm);
    made.session = await runtime.InferenceSession.create(new Uint8Array(await inflate(model)), { executionProviders: ["wasm"] });
    made.meta = meta;
    made.flow = vorticityFlow(meta.points, meta.viscosity);
    self.postMessage({ kind: "ready", milliseconds: performance.now() - started });
    work();
  },
  run({ shown, query, ...job }) {
    made.look = { step: shown, query }; // here and not when the job's turn comes: a newer look may have come by then
    made.waiting = { ...job, field: job.field ?? made.waiting?.field ?? null }; // a field not yet looked at must not be lost
    work();
  },
  look({ step, query }) {
    made.look = { step, query };
    tellRows(step);
  },
};

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// One job after another; a job is dropped for a newer one as soon as it has told of the step that is shown.
async function work() {
  if (made.busy || !made.session) return;
  made.busy = true;
  while (made.waiting) {
    const job = made.waiting;
    made.waiting = null;
    try {
      await carry(job);
    } catch (error) {
      scene = null; // no later job is to go on from half of it
      self.postMessage({ kind: "trouble", number: job.number, text: String(error.message ?? error) });
    }
  }
  made.busy = false;
}

async function carry(job) {
  const { steps } = made.meta;
  if (job.field) prepareScene(job.field);
  if (!scene) return;
  const run = { number: job.number, forecasts: [], attention: [] };
  scene.run = run;
  const plain = !job.hidden.some(Boolean) && job.heads.every(Boolean);
  self.postMessage({ kind: "past", number: job.number, frames: scene.frames });
  for (let step = 1; step <= steps; step += 1) {
    if (made.waiting && step > made.look.step) return;
    const began = performance.now();
    await forecastNext(run, job, step);
    if (plain) scene.free = run.forecasts;
    const milliseconds = performance.now() - began;
    if (!plain && scene.free.length < step) await forecastNext({ forecasts: scene.free, attention: null }, open(job), step);
    truthUpTo(step);
    self.postMessage({
      kind: "step", number: job.number, step, milliseconds,
      forecast: run.forecasts[step - 1], free: plain ? null : scene.free[step - 1], truth: scene.truth[step - 1],
    });
    tellRows(step);
    await pause();
  }
}

const open = (job) => ({ hidden: job.hidden.map(() => 0), heads: job.heads.map(() => 1) });

// The painted field is the newest frame; the two before it are those from which the flow comes to it.
function prepareScene(field) {
  scene = null; // where the new one cannot be made, the old one must not be taken for it
  const { flow, meta } = made;
  const now = flow.toSpectrum(field);
  const past = flow.copy(now);
  const frames = [flow.toField(now)];
  let slow = true;
  for (let i = 0; i < 2; i += 1) {
    slow = flow.advance(past, -meta.interval) && slow;
    frames.unshift(flow.toField(past));
  }
  if (!slow) throw new Error(TOO_FAST);
  scene = { frames: frames.map((f) => Float32Array.from(f)), ahead: now, truth: [], free: [], run: null };
}

function truthUpTo(step) {
  while (scene.truth.length < step) {
    if (!made.flow.advance(scene.ahead, made.meta.interval)) throw new Error(TOO_FAST);
    scene.truth.push(Float32Array.from(made.flow.toField(scene.ahead)));
  }
}

async function forecastNext(run, { hidden, heads }, step) {
  const { points, tokens, layers, heads: count } = made.meta;
  const seen = [...scene.frames, ...run.forecasts].slice(step - 1, step + 2);
  const frames = new Float32Array(3 * points * points);
  seen.forEach((frame, i) => frames.set(frame, i * points * points));
  const out = await made.session.run({
    frames: new runtime.Tensor("float32", frames, [3, points, points]),
    hidden: new runtime.Tensor("float32", Float32Array.from(hidden), [tokens[0] * tokens[1]]),
    heads: new runtime.Tensor("float32", Float32Array.from(heads), [layers, count]),
  });
  run.forecasts[step - 1] = out.forecast.data.slice();
  if (run.attention) run.attention[step - 1] = out.attention.data;
  else out.attention.dispose?.();
}

// What the chosen token attends to, [layer, head, token], where the step shown is this one and has been computed.
function tellRows(step) {
  const { query } = made.look;
  const attention = scene?.run?.attention[step - 1];
  if (!attention || step !== made.look.step) return;
  const { tokens, layers, heads } = made.meta;
  const count = tokens[0] * tokens[1];
  const weights = new Float32Array(layers * heads * count);
  for (let i = 0; i < layers * heads; i += 1) {
    weights.set(attention.subarray((i * count + query) * count, (i * count + query + 1) * count), i * count);
  }
  self.postMessage({ kind: "rows", number: scene.run.number, step, query, weights });
}

self.onmessage = async ({ data }) => {
  try {
    await handlers[data.kind](data);
  } catch (error) {
    self.postMessage({ kind: "fault", text: String(error.message ?? error) });
  }
};
