// A slider over numbers, with the number beside it. A number outside its ends is shown, the thumb rests at the end.
import { minus } from "./colour.js";
import { element } from "./controls.js";

export function numberSlider(label, { low, high, step, digits }, onChoose) {
  const input = element("input", {
    type: "range", class: "arl-range", min: low, max: high, step, "aria-label": label, oninput: () => onChoose(Number(input.value)),
  });
  const output = element("output", { class: "arl-output" });
  const node = element("fieldset", { class: "arl-control" }, element("legend", { class: "arl-label", text: label }),
    element("div", { class: "arl-slider" }, input, output));
  return {
    node,
    update(value) {
      const text = minus((Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value).toFixed(digits));
      input.value = String(value);
      output.textContent = text;
      input.setAttribute("aria-valuetext", text);
    },
  };
}
