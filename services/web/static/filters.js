// Filters of payload fields: values to choose from, with how many items have each; ranges of numbers and of days.
import { Field, html } from "./ui.js";
import { facetNames, rangeFields, valueText } from "./fields.js";
import { useAnswer } from "./results.js";

const VALUES = 12; // of a field that are offered

export function Filters({ asked, go, fields, attempt }) {
  const ranges = new Map([...Object.keys(asked.ranges).map((name) => [name, {}]), ...rangeFields(fields)]);
  const names = [...new Set([...Object.keys(asked.filters), ...facetNames(fields)])].filter((name) => !ranges.has(name));
  const message = { collection: asked.collection, fields: names.slice(0, 16), limit: VALUES };
  const facets = useAnswer(names.length ? "facets" : "", message, [names.join("\n"), asked.collection, attempt])?.facets ?? [];
  const telling = ({ field, values }) => asked.filters[field] || (values.length > 1 && Number(values[0].count) > 1);
  const choose = (field, value) => {
    const chosen = asked.filters[field] ?? [];
    const values = chosen.includes(value) ? chosen.filter((each) => each !== value) : [...chosen, value];
    go({ ...asked, filters: withField(asked.filters, field, values.length ? values : null) });
  };
  return html`
    ${[...ranges].map(([name, field]) => html`<${Range} key=${name} name=${name} field=${field} range=${asked.ranges[name] ?? {}}
      set=${(range) => go({ ...asked, ranges: withField(asked.ranges, name, range) })} />`)}
    ${facets.filter(telling).map(({ field, values }) => html`<fieldset key=${field}><legend>${field}</legend>
      <div class="values">${values.map(({ value, count }) => html`<label class="tick" key=${JSON.stringify(value)}>
        <input type="checkbox" checked=${(asked.filters[field] ?? []).includes(JSON.stringify(value))} onChange=${() => choose(field, JSON.stringify(value))} />
        <span>${valueText(value)}</span><small>${count}</small></label>`)}</div></fieldset>`)}`;
}

function withField(all, name, value) {
  const { [name]: _, ...rest } = all;
  return value ? { ...rest, [name]: value } : rest;
}

function Range({ name, field, range, set }) {
  const days = field.date ?? typeof (range.gte ?? range.lte) === "string";
  const end = (side, word, seen) => {
    const commit = (value) => {
      const { [side]: _, ...other } = range;
      const next = value === "" ? other : { ...other, [side]: days ? value : Number(value) };
      set(Object.keys(next).length ? next : null);
    };
    return html`<label>${word}<${Field} type=${days ? "date" : "number"} step=${days ? null : "any"} value=${range[side] ?? ""} placeholder=${days ? null : String(seen ?? "")} commit=${commit} /></label>`;
  };
  return html`<fieldset class=${`range ${days ? "days" : ""}`}><legend>${name}</legend>${end("gte", "from", field.low)}${end("lte", "to", field.high)}</fieldset>`;
}
