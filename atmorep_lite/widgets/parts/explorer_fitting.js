// Which entries of a view that came from elsewhere, such as an address, this explorer can show.
import { tokenCount } from "./softmax.js";

// The entries of a view that are not as in another.
export const differing = (view, other) => Object.fromEntries(
  Object.entries(view).filter(([entry, value]) => JSON.stringify(value) !== JSON.stringify(other[entry])));

// The entries of `wanted` that fit; {} where nothing does.
export function fitting(meta, wanted) {
  if (!wanted || typeof wanted !== "object") return {};
  const isToken = (value) => {
    const field = meta.fields.find(({ name }) => name === value?.query_field);
    return Boolean(field) && Number.isInteger(value.query) && value.query >= 0 && value.query < tokenCount(field);
  };
  const fits = {
    temperature: (value) => value >= 0.25 && value <= 4, key_level: Number.isFinite, key_hours: Number.isFinite,
    pin_a: (value) => value === null || isToken(value), pin_b: (value) => value === null || isToken(value),
    query: () => isToken(wanted), query_field: () => isToken(wanted),
    show: (value) => ["A", "B"].every((pin) => !value.includes(pin) || isToken(wanted[`pin_${pin.toLowerCase()}`])),
  };
  return Object.fromEntries(Object.entries(wanted).filter(([entry, value]) => (
    Object.hasOwn(fits, entry) && entry !== "show" ? fits[entry](value)
      : Boolean(meta.allowed[entry]?.includes(value)) && (entry !== "show" || fits.show(value)))));
}
