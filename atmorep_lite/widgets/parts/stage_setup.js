// Data, time, model and place: a dialog over the stage, with the globe to click on.
import { element, list } from "./controls.js";
import { coastPath, commonFrame, projection } from "./geography.js";
import { placeText } from "./places.js";

const GLOBE = { west: -180, east: 180, south: -90, north: 90 };

// `page` as for `buildSide`, and coast (meta and data of the coastlines), copyScene().
export function buildSetup(page) {
  const { state, choose, meta } = page;
  // Another model may have other fields and levels: what hides one of these is left behind.
  const afresh = () => ({ field: null, level: null, hide: state.hide.filter(({ fields, levels }) => !fields && !levels) });
  const names = (values) => values.map((value) => ({ value, label: value }));
  const data = list("Data", names(meta.data), (value) => choose({ data: value, time: null }));
  const model = list("Model", names(meta.models), (value) => choose({ model: value, ...afresh() }));
  const path = (label, key, more) => {
    const input = element("input", { type: "text", class: "arl-stage-path", "aria-label": label, placeholder: label, spellcheck: "false" });
    const act = () => { if (input.value.trim()) choose({ [key]: input.value.trim(), ...more() }); };
    input.addEventListener("keydown", (event) => { if (event.key === "Enter") act(); });
    return element("div", { class: "arl-stage-line" }, input, element("button", { class: "arl-action", type: "button", text: "Open", onclick: act }));
  };
  const slide = element("input", { type: "range", class: "arl-range", min: 0, step: 1, "aria-label": "Time" });
  const told = element("span", { class: "arl-stage-told" });
  slide.addEventListener("input", () => { told.textContent = words(page.answer().times[Number(slide.value)]); });
  slide.addEventListener("change", () => choose({ time: page.answer().times[Number(slide.value)] }));
  const words = (time) => `${time.replace("T", " ")} UTC`;
  const globe = element("canvas", { class: "arl-canvas arl-stage-globe", role: "img", onclick: (event) => {
    const box = globe.getBoundingClientRect();
    const longitude = -180 + (360 * (event.clientX - box.left)) / box.width;
    const latitude = 90 - (180 * (event.clientY - box.top)) / box.height;
    choose({ latitude: Math.round(10 * latitude) / 10, longitude: Math.round(10 * longitude) / 10 });
  } });
  const placed = element("span", { class: "arl-stage-told" });
  const node = element("div", { class: "arl-stage-setup", role: "dialog", "aria-label": "Data, time, model and place", hidden: "" },
    element("div", { class: "arl-stage-line" }, element("b", { text: "Data, time, model, place" }),
      element("button", { class: "arl-action", type: "button", text: "Close", onclick: () => toggle(false) })),
    element("div", { class: "arl-stage-pair" },
      element("div", {}, data.node, path("path of your data", "data", () => ({ time: null }))),
      element("div", {}, model.node, path("path of a model folder", "model", afresh))),
    element("div", { class: "arl-control arl-stage-slide" }, element("div", { class: "arl-stage-line" },
      element("span", { class: "arl-label", text: "Time from which the hours count" }), told), slide),
    element("div", { class: "arl-control" }, element("div", { class: "arl-stage-line" },
      element("span", { class: "arl-label", text: "Place: click on the globe" }), placed), globe),
    element("button", { class: "arl-action", type: "button", text: "Copy this view as a scene (YAML)", onclick: page.copyScene }));

  let opener = null;
  function toggle(open = node.hidden) {
    if (open === !node.hidden) return;
    if (open) opener = node.getRootNode().activeElement;
    node.hidden = !open;
    if (open) node.querySelector("select").focus();
    else opener?.focus?.();
    page.redraw();
  }
  function refresh(look) {
    if (node.hidden) return;
    const answer = page.answer();
    for (const [control, value] of [[data, answer.stands.data], [model, answer.stands.model]]) {
      const select = control.node.querySelector("select");
      if (![...select.options].some((option) => option.value === value)) select.append(element("option", { value, text: value }));
      control.update(value);
    }
    slide.max = String(answer.times.length - 1);
    const index = answer.times.findIndex((time) => time >= answer.time);
    slide.value = String(index < 0 ? answer.times.length - 1 : index);
    told.textContent = words(answer.time);
    const middle = ([first, last]) => (first + last) / 2; // of the frame, which cannot go beyond a pole
    placed.textContent = placeText({}, middle([answer.latitude[0], answer.latitude.at(-1)]), middle([answer.longitude[0], answer.longitude.at(-1)]));
    globe.setAttribute("aria-label", `The globe; the map's centre is at ${placed.textContent}.`);
    drawGlobe(globe, page, answer, look);
  }
  return { node, toggle, refresh };
}

function drawGlobe(canvas, page, answer, { ink, scale }) {
  const width = canvas.clientWidth || 320;
  const height = width / 2;
  const ratio = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  canvas.style.height = `${height}px`;
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.fillStyle = ink("void");
  ctx.fillRect(0, 0, width, height);
  const project = projection(GLOBE, 0, 0, width, height);
  ctx.strokeStyle = ink("coast");
  ctx.lineWidth = scale;
  ctx.stroke(coastPath(page.meta, page.data, GLOBE, project));
  const frame = commonFrame([answer]);
  ctx.strokeStyle = ink("query-map");
  ctx.lineWidth = 2.5 * scale;
  for (const turn of [-720, -360, 0, 360]) {
    const x = project.x(frame.west + turn);
    ctx.strokeRect(x, project.y(frame.north), project.x(frame.east + turn) - x, project.y(frame.south) - project.y(frame.north));
  }
}
