// One picture large: what the gallery says about it, and why it was found.
import { Icon, html, useEffect, useRef, useState } from "./ui.js";
import { encodeText, post } from "./api.js";
import { captionOf } from "./captions.js";
import { Thumbnail } from "./pictures.js";
import { requestOf, togetherOf } from "./trail.js";
import { vectors } from "./uploads.js";

export function Large({ hit, asked, composer, liked, act, close }) {
  const dialog = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => before?.isConnected && before.focus();
  }, []);
  const then = (what) => () => {
    close();
    what(hit.itemId);
  };
  const payload = Object.entries(hit.payload ?? {}).filter(([, value]) => value !== captionOf(hit)).sort(([a], [b]) => (a < b ? -1 : 1));
  return html`<dialog ref=${dialog} class="large" aria-labelledby="large-title" onClose=${close} onClick=${(event) => event.target === dialog.current && close()}>
    <div class="inside">
      <${Thumbnail} id=${hit.itemId} alt=${captionOf(hit)} />
      <div class="about">
        <h2 id="large-title">${captionOf(hit)}</h2>
        <div class="row">
          <button class="main" onClick=${then(act.go)}>Go on from this</button>
          ${act.canAdd && asked.trail.length > 0 && html`<button onClick=${then(act.add)}><${Icon} name="add" />Together</button>`}
          <button aria-pressed=${liked === "like"} onClick=${then(act.like)}><${Icon} name="up" />More</button>
          <button aria-pressed=${liked === "dislike"} disabled=${!asked.trail.length} onClick=${then(act.dislike)}><${Icon} name="down" />Less</button>
        </div>
        <${Why} hit=${hit} asked=${asked} composer=${composer} />
        <dl><dt>id</dt><dd>${hit.itemId}</dd>
          ${payload.map(([name, value]) => html`<dt key=${name}>${name}</dt><dd>${typeof value === "object" ? JSON.stringify(value) : String(value)}</dd>`)}
          ${hit.origin?.path && html`<dt>file</dt><dd>${hit.origin.path}</dd>`}</dl>
      </div>
      <button class="plain shut" onClick=${close} aria-label="Close"><${Icon} name="close" /></button>
    </div>
  </dialog>`;
}

function Why({ hit, asked, composer }) {
  const [why, setWhy] = useState(null);
  useEffect(() => {
    let gone = false;
    if (asked.trail.length) explain(hit, asked, composer).then((found) => gone || setWhy(found), (error) => gone || setWhy({ error }));
    return () => (gone = true);
  }, []);
  if (!asked.trail.length) return null;
  if (why?.error) return html`<p>Why it was found cannot be told: ${why.error.message}.</p>`;
  const meters = [["To what you asked for", why?.all ?? hit.score], ["To your picture", why?.picture], ["To your words", why?.words]];
  return html`<section class="why" aria-label="Why this picture"><h3>How alike</h3>
    ${meters.filter(([, value]) => value !== undefined).map(([name, value]) => html`<div class="meter" key=${name}><span>${name}</span><b>${value.toFixed(2)}</b><meter min="0" max="1" value=${Math.max(0, value)} aria-label=${name} /></div>`)}
    ${why?.moved !== undefined && html`<p>What you said moved the search by ${why.moved}° from your picture. That ${why.gain < 0 ? "lowered" : "raised"} this one by ${Math.abs(why.gain).toFixed(2)}.</p>`}
  </section>`;
}

/** Cosine similarities of the hit, from three small calls; nothing is asked for the hits that are not looked at. */
async function explain(hit, asked, composer) {
  const start = (togetherOf(asked.trail).at(-1) ?? []).map(([step]) => step);
  const words = asked.trail.filter((step) => step.kind === "say" && !step.away).map((step) => step.text);
  const itemIds = [...new Set([hit.itemId, ...start.filter((step) => step.kind === "item").map((step) => step.id)])];
  const [got, answer, text] = await Promise.all([
    post("get-items", { collection: asked.collection, itemIds, withVectors: true }),
    post("compose-search", { ...requestOf(asked, composer, vectors), limit: 1, withVectors: true }),
    words.length ? encodeText(words.join(" and ").slice(0, 2000)) : undefined,
  ]);
  const of = (id) => got.items.find((each) => each.itemId === id)?.vector?.values;
  const own = of(hit.itemId);
  const query = answer.queryVector?.values;
  const shown = start.map((step) => [step.kind === "picture" ? vectors[step.key] : of(step.id), step.weight ?? 1]);
  const picture = shown.length && shown.every(([vector]) => vector) ? summed(shown) : undefined;
  if (!own || !query) return { all: hit.score };
  const found = { all: cosine(own, query), words: text && cosine(own, text), picture: picture && cosine(own, picture) };
  if (!picture) return found;
  const moved = Math.round((Math.acos(Math.min(1, cosine(picture, query))) * 180) / Math.PI);
  return { ...found, moved, gain: found.all - found.picture };
}

const dot = (a, b) => a.reduce((sum, each, place) => sum + each * b[place], 0);

/** Pictures together, as the service takes them: the sum of their vectors, each of unit length, times its weight. */
const summed = (weighted) => {
  const scaled = weighted.map(([vector, weight]) => [vector, weight / Math.sqrt(dot(vector, vector))]);
  return weighted[0][0].map((_, place) => scaled.reduce((sum, [vector, scale]) => sum + scale * vector[place], 0));
};

function cosine(a, b) {
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
