// The worker that runs a network: what a browser must have for it, its start, and its messages.

// The smallest WebAssembly with an instruction on vectors, which the runtime's binary is full of.
const VECTORS = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

// What is missing here, in a sentence; null where all is there.
export function missingHere() {
  const advice = "Everything else on this page can be read without it; "
    + "current versions of Firefox, Chrome, Edge and Safari have it.";
  if (typeof WebAssembly !== "object" || typeof WebAssembly.validate !== "function") {
    return `The network runs by WebAssembly, which this browser lacks or has switched off. ${advice}`;
  }
  if (!WebAssembly.validate(Uint8Array.from(VECTORS))) {
    return `The network runs by WebAssembly with vector instructions, which this browser lacks. ${advice}`;
  }
  if (typeof Worker !== "function" || typeof DecompressionStream !== "function") {
    const lacks = typeof Worker === "function" ? "DecompressionStream" : "workers";
    return `The network runs in a worker and comes compressed; this browser lacks ${lacks}. ${advice}`;
  }
  return null;
}

// `on` has a function for each kind of message, and fault(text). Returns { send(message), end() }.
export function startModel({ data, meta }, on) {
  const bytes = (name) => new Uint8Array(data.buffer, data.start + meta.parts[name].at, meta.parts[name].count).slice();
  const url = URL.createObjectURL(new Blob([bytes("worker")], { type: "text/javascript" }));
  const worker = new Worker(url); // one plain script, so that pages opened from a file may start it
  worker.onmessage = ({ data: message }) => on[message.kind](message);
  worker.onerror = (event) => on.fault({ text: event.message || "the browser refused to start a worker" });
  const [wasm, model] = [bytes("wasm"), bytes("model")];
  worker.postMessage({ kind: "start", meta, wasm, model }, [wasm.buffer, model.buffer]);
  return {
    send: (message) => worker.postMessage(message),
    end() { worker.terminate(); URL.revokeObjectURL(url); },
  };
}
