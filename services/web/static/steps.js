// The trail: every step that was taken, each of which can be taken back.
import { Icon, html, useState } from "./ui.js";
import { Thumbnail } from "./pictures.js";
import { canJoin, joined, without } from "./trail.js";
import { preview } from "./uploads.js";

const WORDS = { item: "From this picture", picture: "Your picture", like: "Liked", dislike: "Disliked" };

export function Steps({ asked, change, again }) {
  const { trail } = asked;
  const apart = (step, place) => place > 0 && (step.kind === "item" || step.kind === "picture") && (step.with || canJoin(trail.slice(0, place)));
  if (!trail.length) return null;
  const uploaded = trail.some((step) => step.kind === "picture");
  return html`<nav class="trail" aria-label="Steps so far">
    <ol>${trail.map((step, place) => html`<li key=${place} class=${`step ${step.kind} ${step.with ? "with" : ""}`}>
      ${apart(step, place) && html`<button class="plain small join" aria-pressed=${step.with === true} onClick=${() => change(joined(trail, place))}
        aria-label=${`With the picture before: ${nameOf(step)}`} title="Together with the picture before it"><${Icon} name="add" /></button>`}
      <${Shown} step=${step} />
      <button class="plain small" onClick=${() => change(without(trail, place))} aria-label=${`Take back: ${nameOf(step)}`} title="Take this step back"><${Icon} name="close" /></button>
    </li>`)}</ol>
    <button class="plain" onClick=${() => change(without(trail, trail.length - 1))}><${Icon} name="undo" />Undo</button>
    <${Share} uploaded=${uploaded} />
    <button class="plain" onClick=${again}>Start again</button>
  </nav>`;
}

/** A step as it is seen. */
export function Shown({ step }) {
  if (step.kind === "say") return html`<span class="said">${step.away ? "less: " : ""}${step.text}</span>`;
  const small = step.kind === "picture"
    ? preview(step.key) ? html`<img src=${preview(step.key)} alt="" />` : html`<${Icon} name="picture" />`
    : html`<${Thumbnail} id=${step.id} alt="" />`;
  const sign = { like: "up", dislike: "down" }[step.kind];
  const away = step.weight < 0; // of several pictures
  return html`${away && html`<b aria-hidden="true">−</b>`}${small}${sign && html`<${Icon} name=${sign} />`}<span class="hidden">${nameOf(step)}</span>`;
}

/** A step in words. */
export const nameOf = (step) =>
  step.kind === "say" ? step.text : `${step.weight < 0 ? "Away from" : step.with ? "Together with" : WORDS[step.kind]} ${step.name ?? step.id}`;

function Share({ uploaded }) {
  const [told, setTold] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      setTold(uploaded ? "Copied, without your own picture: it is in no gallery" : "Copied");
    } catch {
      setTold("Copy the address of this page");
    }
  };
  return html`<button class="plain" onClick=${copy}>Copy link</button><span class="told" role="status">${told}</span>`;
}
