// The states that are not a grid: what happened, and what can be done about it.
import { html, useEffect, useState } from "./ui.js";

const SLOW_MS = 1500;
const TITLES = {
  offline: ["No connection", "The pictures are safe where they are. Try again when the connection is back."],
  unavailable: ["The search service does not answer", "It may be starting. Try again in a moment."],
  slow: ["This takes too long", "The search service did not answer in time."],
  busy: ["Too many requests", "The service is at its limit. Try again in a moment."],
  unauthorised: ["A key is needed", "The key is missing, wrong or has expired."],
  forbidden: ["This key may not do that", "Ask whoever gave it to you."],
  missing: ["Not found", "The gallery, the composer or a picture of this trail is gone."],
  refused: ["This was refused", ""],
  broken: ["Something went wrong", "It is not your fault."],
};

const SAID = new Set(["unavailable", "slow", "busy"]); // the title is the whole of it

/** One sentence of what happened, one of what to do; `problem` is an ApiError. */
export function Notice({ problem, title, text, again, label }) {
  const [head, advice] = TITLES[problem?.kind] ?? [title ?? "Something went wrong", text ?? ""];
  return html`<div class="notice" role=${problem ? "alert" : "note"}>
    <h2>${head}</h2>
    ${advice && html`<p>${advice}</p>`}
    ${problem && !SAID.has(problem.kind) && html`<p class="detail">${problem.message}</p>`}
    ${problem?.requestId && html`<p class="detail"><small>request ${problem.requestId}</small></p>`}
    ${again && html`<button class="main" onClick=${again}>${label}</button>`}
  </div>`;
}

export function KeyForm({ problem, useKey }) {
  const [value, setValue] = useState("");
  const refused = problem?.kind === "unauthorised";
  const submit = (event) => {
    event.preventDefault();
    useKey(value.trim());
  };
  return html`<form class="notice key" onSubmit=${submit}>
    <h2>${refused ? "A key is needed" : "Key of the service"}</h2>
    ${refused && html`<p role="alert">${problem.message}</p>`}
    <label for="key">API key</label>
    <input id="key" type="password" autocomplete="off" spellcheck=${false} value=${value} onInput=${(event) => setValue(event.target.value)} aria-describedby="key-kept" />
    <p id="key-kept">It is kept in this tab alone, until you close it.</p>
    <button class="main">${value.trim() ? "Use this key" : "Go on without a key"}</button>
  </form>`;
}

/** Uploaded pictures of a trail that came by a link: they are in no address, so they are asked for. */
export function Lost({ steps, give }) {
  return html`<div class="notice" role="note">
    <h2>A picture of this trail is not in its link</h2>
    <p>A link holds words and pictures of the gallery, never a picture of your own. Choose it again to go on.</p>
    ${steps.map((step) => html`<label class="choose" key=${step.key}>Choose ${step.name || "the picture"}
      <input type="file" accept="image/*" onChange=${(event) => event.target.files[0] && give(async () => event.target.files[0], step.name, step.key)} /></label>`)}
  </div>`;
}

/** Nothing at first; after a while, that it is still under way. */
export function Pending({ cancel }) {
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), SLOW_MS);
    return () => clearTimeout(timer);
  }, []);
  return html`<div class="pending"><div class="line"></div>${slow && html`<p>Still searching. <button class="plain" onClick=${cancel}>Stop</button></p>`}</div>`;
}
