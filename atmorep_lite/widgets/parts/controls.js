// Small labelled controls. Each returns { node, update(options, value) } or { node, update(value) }.

// element("p", { class: "arl-note", text: "..." }, child, ...)
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const uniqueName = () => `arl-${Math.random().toString(36).slice(2)}`;

// A row of buttons of which one is pressed; a slider where there are more than `most`. Options are { value, label, long }.
export function choice(label, onChoose, { hint = null, most = 6 } = {}) {
  const name = uniqueName();
  const body = element("div", { class: "arl-choice-body" });
  const node = element("fieldset", { class: "arl-control", title: hint },
    element("legend", { class: "arl-label", text: label }), body);
  let shown = "";
  let set = () => {};

  function buttons(options) {
    const inputs = options.map((option) => element("input", {
      type: "radio", name, value: String(option.value), class: "arl-sr", "aria-label": option.long || option.label,
      onchange: () => onChoose(option.value),
    }));
    body.replaceChildren(element("div", { class: "arl-buttons" }, ...options.map((option, i) =>
      element("label", { class: "arl-button" }, inputs[i], element("span", { text: option.label })))));
    set = (value) => inputs.forEach((input, i) => { input.checked = options[i].value === value; });
  }
  function slider(options) {
    const input = element("input", {
      type: "range", class: "arl-range", min: 0, max: options.length - 1, step: 1, "aria-label": label,
      oninput: () => onChoose(options[Number(input.value)].value),
    });
    const output = element("output", { class: "arl-output" });
    body.replaceChildren(element("div", { class: "arl-slider" }, input, output));
    set = (value) => {
      const index = Math.max(0, options.findIndex((option) => option.value === value));
      input.value = String(index);
      output.textContent = options[index].label;
      input.setAttribute("aria-valuetext", options[index].long || options[index].label);
    };
  }
  return {
    node,
    update(options, value) {
      const signature = JSON.stringify(options);
      if (signature !== shown) {
        shown = signature;
        (options.length > most ? slider : buttons)(options);
      }
      set(value);
    },
  };
}

// A drop-down list.
export function list(label, options, onChoose) {
  const input = element("select", { class: "arl-select", "aria-label": label, onchange: () => onChoose(input.value) },
    ...options.map((option) => element("option", { value: option.value, text: option.label })));
  const node = element("div", { class: "arl-control" },
    element("span", { class: "arl-label", "aria-hidden": "true", text: label }), input);
  return { node, update: (value) => { input.value = value; } };
}

// A slider over powers of two, 1 in the middle.
export function powerSlider(label, reach, onChoose) {
  const input = element("input", {
    type: "range", class: "arl-range", min: -reach, max: reach, step: 0.125, "aria-label": label,
    oninput: () => onChoose(2 ** Number(input.value)),
    ondblclick: () => onChoose(1),
  });
  const output = element("output", { class: "arl-output" });
  const node = element("div", { class: "arl-control", title: "double-click: back to 1" },
    element("span", { class: "arl-label", "aria-hidden": "true", text: label }),
    element("div", { class: "arl-slider" }, input, output));
  return {
    node,
    update(value) {
      input.value = String(Math.log2(value));
      output.textContent = value.toFixed(2);
      input.setAttribute("aria-valuetext", value.toFixed(2));
    },
  };
}
