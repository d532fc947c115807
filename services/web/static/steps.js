// The trail: every step that was taken, each of which can be taken back.
import { Icon, html, useState } from "./ui.js";
import { Thumbnail } from "./pictures.js";
import { EMPTY } from "./trail.js";
import { preview } from "./uploads.js";

const WORDS = { item: "From this picture", picture: "Your picture", like: "Liked", dislike: "Disliked" };

export function Steps({ asked, go, remove }) {
  if (!asked.trail.length) return null;
  const uploaded = asked.trail.some((step) => step.kind === "picture");
  return html`<nav class="trail" aria-label="Steps so far">
    <ol>${asked.trail.map((step, place) => html`<li key=${place} class=${`step ${step.kind}`}>
      <${Shown} step=${step} />
      <button class="plain small" onClick=${() => remove(place)} aria-label=${`Take back: ${nameOf(step)}`} title="Take this step back"><${Icon} name="close" /></button>
    </li>`)}</ol>
    <button class="plain" onClick=${() => remove(asked.trail.length - 1)}><${Icon} name="undo" />Undo</button>
    <${Share} uploaded=${uploaded} />
    <button class="plain" onClick=${() => go(EMPTY)}>Start again</button>
  </nav>`;
}

function Shown({ step }) {
  if (step.kind === "say") return html`<span class="said">${step.away ? "less: " : ""}${step.text}</span>`;
  const small = step.kind === "picture"
    ? preview(step.key) ? html`<img src=${preview(step.key)} alt="" />` : html`<${Icon} name="picture" />`
    : html`<${Thumbnail} id=${step.id} alt="" />`;
  const sign = { like: "up", dislike: "down" }[step.kind];
  return html`${small}${sign && html`<${Icon} name=${sign} />`}<span class="hidden">${nameOf(step)}</span>`;
}

const nameOf = (step) => (step.kind === "say" ? step.text : `${WORDS[step.kind]} ${step.name ?? step.id}`);

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
