// The view in the page's address, so that it can be sent, kept and come back to: #arl=<explorer>~<what differs from the
// first view>. Several explorers on a page each have a part of their own, parted by "!".
import { differing } from "./explorer_fitting.js";

const encode = (view) => btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(view))))
  .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const decode = (text) => JSON.parse(new TextDecoder().decode(
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0))));

// A short name of an explorer, from its title and first view; those alike are numbered as they come.
function nameOf({ title }, first) {
  let hash = 7;
  for (const letter of title + JSON.stringify(first)) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  return hash.toString(36);
}

function partsOfAddress() {
  const found = location.hash.match(/^#arl=(.*)$/);
  return new Map(!found ? [] : found[1].split("!").map((part) => part.split("~")).filter((part) => part.length === 2));
}

// Restores what the address says (by choose(view), of what fits(view) leaves), and returns { told() (call after each
// choice), address(), end() }. An application that keeps the address for itself (JupyterLab) is left alone.
export function linkView({ meta, state, root }, choose, fits) {
  const first = structuredClone(state);
  const others = [...document.querySelectorAll("[data-arl-link]")];
  const plain = nameOf(meta, first);
  let name = plain;
  for (let i = 2; others.some((node) => node.dataset.arlLink === name); i += 1) name = `${plain}.${i}`;
  root.dataset.arlLink = name;
  const own = Boolean(document.querySelector(".jp-LabShell, #jp-main-dock-panel"));
  let waiting = null;

  function hash() {
    const parts = partsOfAddress();
    const view = differing(state, first);
    if (Object.keys(view).length) parts.set(name, encode(view));
    else parts.delete(name);
    return parts.size ? `#arl=${[...parts].map((part) => part.join("~")).join("!")}` : "";
  }
  function write() {
    const wanted = hash();
    const { hash: present, href } = location;
    if (own || wanted === present || (!wanted && !present.startsWith("#arl="))) return;
    try {
      history.replaceState(history.state, "", wanted || href.split("#")[0]);
    } catch {
      // a page in a frame that may not have an address: nothing to keep
    }
  }
  function restore() {
    const text = partsOfAddress().get(name);
    if (text === undefined) return;
    let wanted = {};
    try {
      wanted = decode(text);
    } catch {
      return; // no address of ours
    }
    const view = fits({ ...first, ...wanted });
    if (Object.keys(view).length) choose(view);
  }
  restore();
  addEventListener("hashchange", restore);
  return {
    told() {
      clearTimeout(waiting);
      waiting = setTimeout(write, 300);
    },
    address: () => `${location.href.split("#")[0]}${hash()}`,
    end() {
      clearTimeout(waiting);
      removeEventListener("hashchange", restore);
    },
  };
}
