// Filters of payload facets, composers, and the weights of what was said.
import { html, useEffect, useState } from "./ui.js";
import { post } from "./api.js";
import { facetFields, valueText } from "./captions.js";

const VALUES = 12; // of a field that are offered
const SLASH = "scot-no-slash";

/** Whether the key / goes to the field of words; people who speak to their computer switch it off (WCAG 2.1.4). */
export const slash = {
  on: () => sessionStorage.getItem(SLASH) === null,
  set: (on) => (on ? sessionStorage.removeItem(SLASH) : sessionStorage.setItem(SLASH, "1")),
};

export function Options({ asked, go, hits, attempt }) {
  const composers = useAnswer("list-composers", {}, [attempt])?.composers ?? [];
  const begun = asked.trail.length > 0;
  const fields = [...new Set([...Object.keys(asked.filters), ...facetFields(hits)])];
  const facets = useAnswer(begun && fields.length ? "facets" : "", { fields: fields.slice(0, 16), limit: VALUES }, [fields.join("\n"), attempt])?.facets ?? [];
  const said = asked.trail.map((step, place) => [step, place]).filter(([step]) => step.kind === "say");
  const change = (place, with_) => go({ ...asked, trail: asked.trail.map((step, each) => (each === place ? { ...step, ...with_ } : step)) });
  const toggle = (field, value) => {
    const chosen = asked.filters[field] ?? [];
    const values = chosen.includes(value) ? chosen.filter((each) => each !== value) : [...chosen, value];
    const { [field]: _, ...rest } = asked.filters;
    go({ ...asked, filters: values.length ? { ...rest, [field]: values } : rest });
  };
  return html`<div id="options" class="options">
    ${said.length > 0 && html`<fieldset><legend>What you said</legend>
      ${said.map(([step, place]) => html`<div class="weight" key=${place}>
        <label>${step.text}<input type="range" min="0" max="1" step="0.05" value=${step.weight} aria-valuetext=${`${Math.round(step.weight * 100)} percent`} onChange=${(event) => change(place, { weight: Number(event.target.value) })} /></label>
        <label class="tick"><input type="checkbox" checked=${step.away} disabled=${place === 0} onChange=${() => change(place, { away: !step.away })} />less of it</label>
      </div>`)}</fieldset>`}
    <fieldset><legend>Results</legend>
      <label>Variety<input type="range" min="0" max="1" step="0.05" value=${asked.diversity} onChange=${(event) => go({ ...asked, diversity: Number(event.target.value) })} /></label>
      <label>Composer ${asked.b !== null ? "A" : ""}<${Choose} label=${asked.b === null ? "Composer" : "Composer A"} value=${asked.a} composers=${composers} choose=${(a) => go({ ...asked, a })} /></label>
      <label class="tick"><input type="checkbox" checked=${asked.b !== null} onChange=${() => go({ ...asked, b: asked.b === null ? "" : null })} />compare two composers</label>
      ${asked.b !== null && html`<label>Composer B<${Choose} label="Composer B" value=${asked.b} composers=${composers} choose=${(b) => go({ ...asked, b })} /></label>`}
      <label class="tick"><input type="checkbox" checked=${slash.on()} onChange=${(event) => slash.set(event.target.checked)} />the key / goes to the text</label>
    </fieldset>
    ${!begun && html`<p>Filters are here once there is a search.</p>`}
    ${facets.filter(({ field, values }) => asked.filters[field] || (values.length > 1 && Number(values[0].count) > 1)).map(({ field, values }) => html`<fieldset key=${field}><legend>${field}</legend>
      <div class="values">${values.map(({ value, count }) => html`<label class="tick" key=${JSON.stringify(value)}><input type="checkbox" checked=${(asked.filters[field] ?? []).includes(JSON.stringify(value))} onChange=${() => toggle(field, JSON.stringify(value))} /><span>${valueText(value)}</span><small>${count}</small></label>`)}</div></fieldset>`)}
  </div>`;
}

function Choose({ label, value, composers, choose }) {
  const names = composers.map((each) => each.name);
  return html`<select aria-label=${label} value=${value} onChange=${(event) => choose(event.target.value)}>
    <option value="">the service's default</option>
    ${[...new Set([...names, ...(value ? [value] : [])])].map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
  </select>`;
}

/** The answer of a method, asked again when `on` changes; none while there is none. */
function useAnswer(method, message, on) {
  const [answer, setAnswer] = useState(null);
  useEffect(() => {
    const stop = new AbortController();
    if (method) post(method, message, stop.signal).then(setAnswer, () => {}); // the search itself tells what is wrong
    return () => stop.abort();
  }, on);
  return answer;
}
