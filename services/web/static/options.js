// Weights of what was shown and said, composers, groups, the collection, and filters.
import { Field, html, useRef } from "./ui.js";
import { facetNames, fieldsOf } from "./fields.js";
import { Filters } from "./filters.js";
import { useAnswer } from "./results.js";
import { Shown, nameOf } from "./steps.js";
import { elsewhere, togetherOf } from "./trail.js";

const SLASH = "scot-no-slash";
const SIZES = [[1, "the best of each"], [6, "six of each"], [24, "24 of each"]];

/** Whether the key / goes to the field of words; people who speak to their computer switch it off (WCAG 2.1.4). */
export const slash = {
  on: () => sessionStorage.getItem(SLASH) === null,
  set: (on) => (on ? sessionStorage.removeItem(SLASH) : sessionStorage.setItem(SLASH, "1")),
};

export function Options({ asked, go, hits, attempt }) {
  const composers = useAnswer("list-composers", {}, [attempt])?.composers ?? [];
  const known = useRef({}); // of this collection: what a filter leaves does not say what there is
  if (known.current.of !== asked.collection) known.current = { of: asked.collection, fields: {} };
  if (known.current.hits !== hits[0]) known.current = { ...known.current, hits: hits[0], fields: fieldsOf(hits, known.current.fields) };
  const { fields } = known.current;
  const begun = asked.trail.length > 0;
  const said = asked.trail.map((step, place) => [step, place]).filter(([step]) => step.kind === "say");
  const change = (place, with_) => go({ ...asked, trail: asked.trail.map((step, each) => (each === place ? { ...step, ...with_ } : step)) });
  return html`<aside id="options" class="options" aria-label="Options">
    ${togetherOf(asked.trail).filter((set) => set.length > 1).map((set) => html`<${Together} key=${set[0][1]} set=${set} change=${change} />`)}
    ${said.length > 0 && html`<fieldset><legend>What you said</legend>
      ${said.map(([step, place]) => html`<div class="weight" key=${place}>
        <label>${step.text}<${Field} type="range" min="0" max="1" step="0.05" value=${step.weight} aria-valuetext=${percent(step.weight)} commit=${(value) => change(place, { weight: Number(value) })} /></label>
        <label class="tick"><input type="checkbox" checked=${step.away} disabled=${place === 0} onChange=${() => change(place, { away: !step.away })} />less of it</label>
      </div>`)}</fieldset>`}
    <fieldset><legend>Results</legend>
      <label>Variety<${Field} type="range" min="0" max="1" step="0.05" value=${asked.diversity} disabled=${asked.group !== null} commit=${(value) => go({ ...asked, diversity: Number(value) })} /></label>
      <${Groups} asked=${asked} go=${go} names=${facetNames(fields)} />
      <label>Composer ${asked.b !== null ? "A" : ""}<${Choose} label=${asked.b === null ? "Composer" : "Composer A"} value=${asked.a} composers=${composers} choose=${(a) => go({ ...asked, a })} /></label>
      <label class="tick"><input type="checkbox" checked=${asked.b !== null} onChange=${() => go({ ...asked, b: asked.b === null ? "" : null })} />compare two composers</label>
      ${asked.b !== null && html`<label>Composer B<${Choose} label="Composer B" value=${asked.b} composers=${composers} choose=${(b) => go({ ...asked, b })} /></label>`}
    </fieldset>
    ${begun ? html`<${Filters} asked=${asked} go=${go} fields=${fields} attempt=${attempt} />` : html`<p>Filters are here once there is a search.</p>`}
    <${Gallery} asked=${asked} go=${go} attempt=${attempt} />
  </aside>`;
}

const percent = (weight) => `${Math.round(weight * 100)} percent`;

/** The weights of pictures that are asked for together; one of them stays above zero. */
function Together({ set, change }) {
  const least = (place) => (set.some(([step, other]) => other !== place && (step.weight ?? 1) > 0) ? -1 : 0.05);
  return html`<fieldset><legend>Your pictures together</legend>
    ${set.map(([step, place]) => html`<label class="weight pictured" key=${place}><span><${Shown} step=${step} /></span>
      <${Field} type="range" min=${least(place)} max="1" step="0.05" value=${step.weight ?? 1} aria-label=${`Weight of ${nameOf(step)}`} aria-valuetext=${percent(step.weight ?? 1)} commit=${(value) => change(place, { weight: Number(value) })} />
      <small>${Math.round((step.weight ?? 1) * 100)} %</small></label>`)}
    <p>Below zero: away from it.</p></fieldset>`;
}

function Groups({ asked, go, names }) {
  const { group } = asked;
  const fields = [...new Set([...names, ...(group ? [group.field] : [])])];
  if (!fields.length) return null;
  const set = (field) => go({ ...asked, group: field ? { field, size: group?.size ?? SIZES[0][0] } : null });
  return html`<label>Group by<select value=${group?.field ?? ""} onChange=${(event) => set(event.target.value)}>
      <option value="">nothing</option>${fields.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>
    ${group && html`<label>Show<select value=${String(group.size)} onChange=${(event) => go({ ...asked, group: { ...group, size: Number(event.target.value) } })}>
      ${[...SIZES, ...(SIZES.some(([size]) => size === group.size) ? [] : [[group.size, `${group.size} of each`]])].map(([size, words]) => html`<option key=${size} value=${String(size)}>${words}</option>`)}</select></label>`}`;
}

function Choose({ label, value, composers, choose }) {
  const names = composers.map((each) => each.name);
  return html`<select aria-label=${label} value=${value} onChange=${(event) => choose(event.target.value)}>
    <option value="">the service's default</option>
    ${[...new Set([...names, ...(value ? [value] : [])])].map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
  </select>`;
}

/** The collections of the service's encoder but its default, and the one that is asked, which a link may name. */
function othersOf({ collections }, usual, named) {
  const alike = collections.filter((each) => each.encoder === usual.encoder).map((each) => each.collection);
  return [...new Set([...alike, ...(named ? [named] : [])])].filter((each) => each !== usual.collection);
}

/** The collection: chosen from those that the service can search, or written where it lists none. */
function Gallery({ asked, go, attempt }) {
  const info = useAnswer("collection-info", { collection: asked.collection }, [asked.collection, attempt]);
  const usual = useAnswer("collection-info", {}, [attempt]);
  const listed = useAnswer("list-collections", {}, [attempt]); // which an older service cannot
  const change = (value) => {
    const collection = value.trim();
    if (collection !== asked.collection) go({ ...asked, collection, trail: elsewhere(asked.trail), filters: {}, ranges: {}, group: null });
  };
  return html`<fieldset><legend>Gallery</legend>
    <label>Collection${listed && usual
      ? html`<select value=${asked.collection === usual.collection ? "" : asked.collection} onChange=${(event) => change(event.target.value)}>
          <option value="">${usual.collection}</option>
          ${othersOf(listed, usual, asked.collection).map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select>`
      : html`<${Field} type="text" value=${asked.collection} maxlength="128" placeholder=${asked.collection ? "" : (usual?.collection ?? "the service's default")} autocomplete="off" spellcheck=${false} commit=${change} />`}</label>
    ${info && html`<small>${Number(info.items).toLocaleString("en")} ${Number(info.items) === 1 ? "picture" : "pictures"}</small>`}
    <label class="tick"><input type="checkbox" checked=${slash.on()} onChange=${(event) => slash.set(event.target.checked)} />the key / goes to the text</label>
  </fieldset>`;
}
