// The steps of attention as a table: a column for each key, a row for each step, and each step worked out for one key.
import { plain } from "./colour.js";
import { element } from "./controls.js";
import { hundredths, inFormula, pointText, TOY_LETTERS } from "./toy_numbers.js";

const TOY_STEPS = [
  { name: "products", number: "1", title: "Dot product", formula: "q · G k", told: "1, dot product" },
  { name: "scores", number: "2", title: "Scale", formula: "÷ (√2 · temperature)", told: "2, scaled: the score" },
  { name: "powers", number: "3", title: "Softmax", formula: "e to the (score − largest)", told: "3, softmax: e to the score" },
  { name: "weights", number: "", title: "", formula: "÷ their sum = weight", told: "3, softmax: the weight" },
  { name: "pieces", number: "4", title: "Average", formula: "weight × value", told: "4, average: weight times value" },
];

const fine = (x) => plain(x, 0.001);

// Each step for key j, with its numbers, as one would write it on a blackboard.
function workedOut(result, key, j) {
  const { sought, products, divisor, scores, top, powers, sum, weights, given, pieces } = result;
  return {
    products: `${hundredths(sought[0])} × ${inFormula(key[0])} + ${inFormula(sought[1])} × ${inFormula(key[1])} = ${hundredths(products[j])}`,
    scores: `${hundredths(products[j])} ÷ ${hundredths(divisor)} = ${hundredths(scores[j])}`,
    powers: `e to the (${hundredths(scores[j])} − ${inFormula(top)}) = ${fine(powers[j])}`,
    weights: `${fine(powers[j])} ÷ ${fine(sum)} = ${fine(weights[j])}`,
    pieces: `${fine(weights[j])} × ${pointText(given[j])} = ${pointText(pieces[j])}`,
  };
}

// Returns { node, update(result, keys) }; `looked` tells which key is worked out, `look(j)` chooses it.
export function toySteps(looked, look) {
  const head = element("tr");
  const rows = TOY_STEPS.map(({ name, number, title, formula, told }) => {
    const line = element("td", { class: "arl-toy-line" });
    const name_ = element("th", { scope: "row", "aria-label": told },
      element("span", { class: number ? "arl-toy-number" : "arl-toy-number arl-toy-on", "aria-hidden": "true", text: number }),
      ...(title ? [element("b", { text: title })] : []), element("span", { class: "arl-toy-formula", text: formula }));
    return { name, line, node: element("tr", { class: `arl-toy-step arl-toy-${name}` }, name_), worked: element("tr", { class: "arl-toy-worked" }, line) };
  });
  const table = element("table", { class: "arl-table arl-toy-table" }, element("thead", {}, head),
    element("tbody", {}, ...rows.flatMap(({ node, worked }) => [node, worked])));
  const buttons = [];

  function make(count) {
    buttons.splice(0, Infinity, ...Array.from({ length: count }, (_, j) => element("button", {
      type: "button", class: "arl-toy-key", "aria-label": `work out key ${TOY_LETTERS[j]}`, text: TOY_LETTERS[j], onclick: () => look(j),
    })));
    const coloured = (node, j) => { node.style.setProperty("--arl-key", `var(--arl-${j})`); return node; };
    head.replaceChildren(element("th", { scope: "col", text: "key" }), ...buttons.map((button, j) => coloured(element("th", { scope: "col" }, button), j)));
    for (const { name, node, line } of rows) {
      node.replaceChildren(node.firstChild, ...buttons.map((_, j) => coloured(element("td", { class: name === "weights" ? "arl-toy-weight" : null },
        ...(name === "pieces" ? [] : [element("span", { class: "arl-toy-room", "aria-hidden": "true" }, element("span", { class: "arl-toy-bar" }))]),
        element("span", { class: "arl-toy-value" })), j)));
      line.colSpan = count + 1;
    }
  }
  // A bar in a room of height 1: from its zero line up, or down for what is negative.
  function fillBar(bar, part, signed) {
    const zero = signed ? 50 : 0;
    const height = Math.min(Math.abs(part), 1) * (signed ? 50 : 100);
    bar.style.height = `${height}%`;
    bar.style.bottom = `${part < 0 ? zero - height : zero}%`;
  }
  function update(result, keys) {
    if (buttons.length !== keys.length) make(keys.length);
    table.classList.toggle("arl-toy-many", keys.length > 4);
    const most = Math.max(1, ...result.products.map(Math.abs));
    const j = Math.min(looked() ?? result.weights.indexOf(Math.max(...result.weights)), keys.length - 1);
    const worked = workedOut(result, keys[j], j);
    for (const { name, node, line } of rows) {
      const signed = name === "products" || name === "scores";
      [...node.children].slice(1).forEach((cell, i) => {
        cell.classList.toggle("arl-toy-looked", i === j);
        const value = result[name][i];
        if (name === "pieces") cell.lastChild.replaceChildren(hundredths(value[0]), element("br"), hundredths(value[1]));
        else {
          cell.lastChild.textContent = signed ? hundredths(value) : fine(value);
          cell.firstChild.classList.toggle("arl-toy-signed", signed);
          fillBar(cell.firstChild.firstChild, signed ? value / most : value, signed);
        }
      });
      line.textContent = `${TOY_LETTERS[j]}:  ${worked[name]}`;
      line.style.setProperty("--arl-key", `var(--arl-${j})`);
    }
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === j)));
  }
  return { node: table, update };
}
