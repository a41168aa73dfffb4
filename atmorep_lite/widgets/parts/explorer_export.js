// What is shown, to take along: a table of numbers, and a file to save.
import { element } from "./controls.js";
import { maskAt, tokenText } from "./field_values.js";
import { unravel } from "./softmax.js";

const quoted = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replace(/"/g, '""')}"` : String(value));
const sevenDigits = (value) => (Number.isFinite(value) ? Number(value.toPrecision(7)) : "");

// The rows of all fields that are shown, token by token, as comma-separated values; units are in the names of columns.
export function csvOf(choices, results, data) {
  const { state } = choices;
  const from = choices.queryField();
  const places = (role) => from.axes.map((name) => `${role}_${name}`);
  const where = ({ level, hours, latitude, longitude, clock = [] }, at) => [
    level[at.level], hours[at.time], latitude[at.row], longitude[at.column], ...clock.slice(at.time, at.time + 1),
  ];
  const asked = where(from, unravel(from, choices.activeQuery()));
  const fields = choices.keyFields().filter((field) => results.get(field.name).row);
  const { other } = fields.length ? results.get(fields[0].name) : {};
  const header = ["query_field", ...places("query"), "layer", "head", "temperature", "key_field", ...places("key"),
    "weight", ...(other ? [`weight_${other}`] : []), "value", "value_units", "hidden"];
  const lines = fields.flatMap((field) => {
    const { row, against } = results.get(field.name);
    return Array.from(row, (weight, token) => {
      const at = unravel(field, token);
      const { mean } = tokenText(data, field, at);
      const hidden = maskAt(data, field, at)[at.row * field.shape[3] + at.column];
      return [from.name, ...asked, state.layer, choices.headFor(from.name, field), state.temperature, field.name,
        ...where(field, at), sevenDigits(weight), ...(other ? [sevenDigits(against[token])] : []), sevenDigits(mean), field.units, hidden];
    });
  });
  return `${[header, ...lines].map((line) => line.map(quoted).join(",")).join("\n")}\n`;
}

export function saveAs(name, address) {
  element("a", { download: name, href: address }).click();
}

export function saveText(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  saveAs(name, address);
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
