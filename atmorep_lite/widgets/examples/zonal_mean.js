import { axes } from "./parts/axes.js";
import { choice, element } from "./parts/controls.js";
import { explorer } from "./parts/frame.js";
import { line, shape } from "./parts/line_chart.js";
function build({ meta, state, choose }) {
  const level = choice("Level (hPa)", (value) => choose({ level: value }));
  const time = choice("Time", (value) => choose({ time: value }));
  const chart = shape("svg", { class: "arl-chart", role: "img" });
  const options = (texts) => texts.map((text, value) => ({ value, label: String(text) }));
  const means = () => meta.means[state.level][state.time];
  const range = (all) => ({ low: Math.min(...all), high: Math.max(...all) });
  const words = () => `${meta.name} at ${meta.level[state.level]} hPa: ${Object.values(range(means())).join(" to ")}`;
  function draw() {
    level.update(options(meta.level), state.level);
    time.update(options(meta.time), state.time);
    const x = { low: -90, high: 90, ticks: [-60, -30, 0, 30, 60], label: "degrees north" };
    const plot = axes(chart, { height: 340, x, y: { ...range(meta.means.flat(2)), label: meta.name } });
    const points = means().map((mean, i) => [plot.x(meta.latitude[i]), plot.y(mean)]);
    plot.add(line(points, { class: "arl-curve", stroke: "var(--arl-accent)", "stroke-width": 3 }));
    chart.setAttribute("aria-label", words());
  }
  return { nodes: [element("div", { class: "arl-controls" }, level.node, time.node), chart], draw, words };
}
const render = explorer({ kind: "zonal", label: "Zonal mean", build });
export default { render };
