// Error against steps ahead, on a logarithmic axis, with a legend that has the numbers of the step shown.
import { percent, plain } from "./colour.js";
import { element } from "./controls.js";
import { frame, label, line, logTicks, shape, stroke } from "./line_chart.js";
import { COMPUTING, errorWords, stepsAhead } from "./live_words.js";

const ERRORS_HEIGHT = 230;
const ERROR_NAMES = { network: "network", free: "nothing hidden", nothing: "nothing changes" };

export function liveErrors(steps) {
  const chart = shape("svg", { class: "arl-errors", role: "img" });
  const legend = element("ul", { class: "arl-live-legend" });
  const numbers = element("p", { class: "arl-live-numbers" });
  const head = element("div", { class: "arl-square-head" }, element("span", { class: "arl-square-title", text: "Relative error" }));
  return {
    node: element("figure", { class: "arl-square arl-live-errors" }, head, chart, legend, numbers),
    // `errors` as from `errorsAhead`, `step` the one that is shown, `most` the largest vorticity, `late` whether the errors
    // are still those of what was drawn before.
    draw(errors, step, { most, late }) {
      const lines = Object.entries(errors).filter(([kind, values]) => kind !== "free" || values.length);
      drawLines(lines, step);
      chart.setAttribute("aria-label", `Relative error against steps ahead. ${late ? COMPUTING : errorWords(errors, step)}`);
      legend.replaceChildren(...lines.map(([kind, values]) => element("li", { class: `arl-live-${kind}` },
        element("span", { "aria-hidden": "true" }), ERROR_NAMES[kind],
        element("b", { text: !late && Number.isFinite(values[step - 1]) ? ` ${percent(values[step - 1])}` : "" }))));
      const what = late ? `Errors: ${COMPUTING}` : `|forecast − truth| / |truth| over the square, ${stepsAhead(step)}.`;
      numbers.textContent = `${what} Largest vorticity now: ${plain(most, 0.1)}.`;
    },
  };

  function drawLines(lines, step) {
    const box = frame(chart, ERRORS_HEIGHT, { left: 44, right: 12, top: 10, bottom: 34 });
    const known = lines.flatMap(([, values]) => values).filter((v) => v > 0 && Number.isFinite(v));
    const low = Math.min(0.01, ...known) * 0.8;
    const high = Math.max(1, ...known) * 1.25;
    const x = (s) => box.left + ((s - 0.5) / steps) * (box.right - box.left);
    const y = (v) => box.bottom - (Math.log(Math.max(v, low) / low) / Math.log(high / low)) * (box.bottom - box.top);
    const wide = x(2) - x(1);
    chart.append(shape("rect", {
      class: "arl-errors-now", x: x(step) - wide / 2, width: wide, y: box.top, height: box.bottom - box.top,
    }));
    for (const tick of logTicks(low, high)) {
      chart.append(stroke(box.left, y(tick), box.right, y(tick), "arl-errors-grid"),
        label(box.left - 6, y(tick) + 4, percent(tick), { "text-anchor": "end" }));
    }
    for (let s = 1; s <= steps; s += 1) chart.append(label(x(s), box.bottom + 15, String(s), { "text-anchor": "middle" }));
    chart.append(label((box.left + box.right) / 2, box.bottom + 30, "steps ahead", { "text-anchor": "middle" }));
    for (const [kind, values] of lines) {
      chart.append(line(values.map((v, i) => [x(i + 1), y(v)]), { class: `arl-errors-line arl-errors-${kind}` }));
      values.forEach((v, i) => {
        const r = i + 1 === step ? 4.5 : 2.5;
        chart.append(shape("circle", { class: `arl-errors-${kind}`, cx: x(i + 1), cy: y(v), r }));
      });
    }
  }
}
