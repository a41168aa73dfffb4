// Every token size that fits, by what it costs and what its means keep: choose one by pointing.
import { colourAt, css, percent, PALETTES } from "./colour.js";
import { element } from "./controls.js";
import { frame, label, logTicks, shape, stroke, whole } from "./line_chart.js";

const PLOT_HEIGHT = 262;
const PLOT_MARGIN = { left: 34, right: 12, top: 42, bottom: 36 };
const PLOT_REACH = 40; // pixels from a dot within which a press means it

export const sizeName = (size) => size.join(" × ");

// buildTradeoff(onSize): { node, draw(seen) }; `seen` has all (what `everySize` gave so far), fewest and
// most (tokens of any size), size, times (lengths), scheme, width.
export function buildTradeoff(onSize) {
  const svg = shape("svg", { class: "arl-token-plot", role: "img" });
  const tip = element("p", { class: "arl-note arl-token-plot-note" });
  const node = element("div", { class: "arl-token-tradeoff" }, svg, tip);
  let dots = [];
  let shown = null;
  let usual = "";

  const nearestTo = (event) => {
    const box = svg.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const far = (dot) => Math.hypot(dot.x - x, dot.y - y);
    const best = dots.reduce((a, b) => (far(b) < far(a) ? b : a), dots[0]);
    return best && far(best) <= PLOT_REACH ? best : null;
  };
  svg.addEventListener("pointermove", (event) => {
    const dot = nearestTo(event);
    tip.textContent = dot ? wordsOf(dot) : usual;
    svg.style.cursor = dot ? "pointer" : "default";
    mark(dot);
  });
  svg.addEventListener("pointerleave", () => { tip.textContent = usual; mark(null); });
  svg.addEventListener("click", (event) => { const dot = nearestTo(event); if (dot) onSize(dot.size); });

  const wordsOf = ({ size, tokens, survives }) => `${sizeName(size)}: ${whole(tokens)} ${tokens === 1 ? "token" : "tokens"}, ${percent(survives)} of the variance survives`;
  function mark(dot) {
    shown?.remove();
    shown = dot && shape("circle", { cx: dot.x, cy: dot.y, r: 6.5, class: "arl-token-near" });
    if (shown) svg.append(shown);
  }

  function draw({ all, fewest, most, size, times, scheme }) {
    const area = frame(svg, PLOT_HEIGHT, PLOT_MARGIN);
    const [low, high] = [fewest / 1.25, most * 1.25];
    const x = (n) => area.left + (Math.log(n / low) / Math.log(high / low)) * (area.right - area.left);
    const y = (share) => area.bottom - (Number.isFinite(share) ? share : 0) * (area.bottom - area.top);
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      svg.append(stroke(area.left, y(share), area.right, y(share), share ? "arl-token-rule" : "arl-token-base"));
      svg.append(label(area.left - 6, y(share) + 4, `${100 * share}`, { "text-anchor": "end" }));
    }
    for (const tick of logTicks(low, high).filter((t) => Math.log10(t) % 1 === 0)) {
      svg.append(stroke(x(tick), area.top, x(tick), area.bottom, "arl-token-rule"));
      svg.append(label(x(tick), area.bottom + 15, whole(tick), { "text-anchor": "middle" }));
    }
    svg.append(label((area.left + area.right) / 2, PLOT_HEIGHT - 4, "tokens of this field (logarithmic)", { "text-anchor": "middle" }));
    const colour = (tt) => css(colourAt(PALETTES.plain, 0.94 * (times.length > 1 ? times.indexOf(tt) / (times.length - 1) : 0.4)
      + (scheme === "dark" ? 0.06 : 0)));
    svg.append(label(4, 10, "% of the variance that survives; colour: times in a token"));
    times.forEach((tt, i) => svg.append(
      shape("circle", { cx: area.left + 5 + 27 * i, cy: 24, r: 3.6, fill: colour(tt) }),
      label(area.left + 12 + 27 * i, 28, String(tt))));
    dots = all.map((one) => ({ ...one, x: x(one.tokens), y: y(one.survives) }));
    const chosen = dots.find((dot) => dot.size.every((n, i) => n === size[i]));
    for (const dot of dots) svg.append(shape("circle", { cx: dot.x, cy: dot.y, r: 3.6, fill: colour(dot.size[0]), class: "arl-token-dot" }));
    if (chosen) {
      svg.append(shape("circle", { cx: chosen.x, cy: chosen.y, r: 8, class: "arl-token-halo" }),
        shape("circle", { cx: chosen.x, cy: chosen.y, r: 8, class: "arl-token-chosen" }));
    }
    shown = null;
    const best = chosen && dots.filter((dot) => dot.tokens <= chosen.tokens)
      .reduce((a, b) => (b.survives > a.survives + 1e-12 ? b : a), chosen);
    usual = !chosen ? "" : best === chosen ? `${wordsOf(chosen)}; no size with as few tokens keeps more.`
      : `${wordsOf(chosen)}; ${sizeName(best.size)} keeps ${percent(best.survives)} with ${best.tokens < chosen.tokens ? "fewer" : "as many"}.`;
    tip.textContent = usual;
    svg.setAttribute("aria-label", `${all.length} token sizes by number of tokens and share of the variance that survives. ${usual}`);
    return { chosen, best };
  }
  return { node, draw };
}
