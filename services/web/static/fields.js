// Payload fields that hits have: those whose values can be chosen from, and those whose values are a number or a date.
import { CAPTION } from "./captions.js";

const MOST = 16; // fields that one call of Facets takes
const LONGEST = 40; // characters of a value that is a facet rather than a text
const FEW = 6; // different whole numbers that are rather chosen one by one
const DATE = /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$/;

/** What is known of the fields, with those of more hits. A payload has no order, so the names are sorted. */
export function fieldsOf(hits, known = {}) {
  const all = new Map(Object.entries(known).map(([name, each]) => [name, { ...each, values: new Set(each.values) }]));
  for (const { payload = {} } of hits) {
    for (const [name, value] of Object.entries(payload)) {
      const field = all.get(name) ?? { facet: true, number: true, date: true, whole: true, values: new Set(), low: null, high: null };
      for (const each of [value].flat()) add(field, each);
      all.set(name, field);
    }
  }
  const named = [...all].filter(([name, each]) => !CAPTION.includes(name) && each.values.size);
  return Object.fromEntries(named.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function add(field, value) {
  const kind = typeof value;
  field.number &&= kind === "number";
  field.whole &&= Number.isInteger(value);
  field.date &&= kind === "string" && DATE.test(value) && !Number.isNaN(Date.parse(value));
  field.facet &&= kind === "string" ? value.length <= LONGEST : kind === "boolean" || Number.isInteger(value);
  if (field.values.size <= FEW) field.values.add(value);
  if (field.low === null || value < field.low) field.low = value;
  if (field.high === null || value > field.high) field.high = value;
}

const isRange = (field) => field.date || (field.number && !(field.whole && field.values.size <= FEW));

/** Names of the fields whose values can be chosen from, and grouped by. */
export const facetNames = (fields) => Object.keys(fields).filter((name) => fields[name].facet && !isRange(fields[name])).slice(0, MOST);

/** The fields that are numbers or dates, as [name, field]. */
export const rangeFields = (fields) => Object.entries(fields).filter(([, field]) => isRange(field));

/** The value of a facet or group as it is shown. */
export const valueText = (match) => String(match.keyword ?? match.integer ?? match.boolean);
