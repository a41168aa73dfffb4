// Scores of forecasts, a row a field: RMSE relative to a reference as a bar, spread / error, power of small scales.
import { plain } from "./colour.js";
import { choice, element } from "./controls.js";

const REFERENCES = ["persistence", "climatology"];

// Returns { node, update(scores, fields), words() }; calls back when the reader chooses something else. Scores have
// `step` and `values` by lead, field and score; fields have `name`, `label` and `ink`.
export function skillTable(onChoose) {
  let [lead, reference] = [null, REFERENCES[0]];
  let told = "";
  const leads = choice("Lead time", (value) => { lead = value; onChoose(); });
  const references = choice("Compared with", (value) => { reference = value; onChoose(); });
  const controls = element("div", { class: "arl-tm-controls", role: "group", "aria-label": "Skill" }, references.node, leads.node);
  const head = (text, title) => element("th", { scope: "col", text, title });
  const ratioHead = head("");
  const body = element("tbody");
  const table = element("table", { class: "arl-table arl-tm-table" }, element("thead", {}, element("tr", {}, head("field"), ratioHead,
    head("spread / error", "1 if the ensemble knows its error"),
    head("small scales", "power of short waves over the true one; below 1 is too smooth"))), body);
  const none = element("p", { class: "arl-tm-none", text: "No scores yet: they come with each validation." });
  const title = element("p", { class: "arl-tm-head", role: "heading", "aria-level": "4" });

  function update({ step, values }, shownFields) {
    const known = Object.keys(values);
    const empty = !known.length;
    none.hidden = !empty;
    table.hidden = controls.hidden = empty;
    title.textContent = `Skill on the held-out record${empty ? "" : `, step ${step.toLocaleString("en")}`}`;
    told = "";
    if (empty) return;
    if (!known.includes(lead)) lead = known[known.length - 1];
    const fields = values[lead];
    const offered = REFERENCES.filter((name) => Object.values(fields).some((scores) => `rmse_over_${name}` in scores));
    if (!offered.includes(reference)) [reference] = offered;
    leads.update(known.map((value) => ({ value, label: value.replace("h", " h") })), lead);
    references.update(offered.map((value) => ({ value, label: value })), reference);
    ratioHead.textContent = `RMSE / that of ${reference}`;
    const ratio = (name) => fields[name][`rmse_over_${reference}`];
    const names = Object.keys(fields).sort((a, b) => (b === "mean") - (a === "mean"));
    const most = Math.max(1.25, ...names.map((name) => ratio(name) || 0));
    const wide = (part) => `calc((100% - 56px) * ${part / most})`;
    const number = (v) => (v === undefined ? "" : plain(v, 0.01));
    if (fields.mean && ratio("mean") !== undefined) told = `error ${number(ratio("mean"))} of that of ${reference} at ${lead}`;
    body.replaceChildren(...names.map((name) => {
      const field = shownFields.find((one) => one.name === name) || { label: name.replace(/_/g, " "), ink: "var(--arl-ink)" };
      const [strip, one] = ["bar", "one"].map((kind) => element("span", { class: `arl-tm-${kind}`, "aria-hidden": "true" }));
      strip.style.width = wide(ratio(name) || 0);
      strip.style.background = field.ink;
      one.style.left = wide(1);
      return element("tr", { class: name === "mean" ? "arl-tm-mean" : null },
        element("th", { scope: "row", text: field.label }),
        element("td", { class: "arl-tm-ratio" }, strip, one, element("span", { text: number(ratio(name)) })),
        ...["spread_over_error", "small_scale_power"].map((score) => element("td", { text: number(fields[name][score]) })));
    }));
  }
  return { node: element("div", {}, title, controls, none, table), update, words: () => told };
}
