// Preact with htm's templates: HTML in a string, compiled in the browser to calls of h(); no build step, no innerHTML.
import { useEffect, useState } from "./vendor/hooks.mjs";
import { createContext, h, render } from "./vendor/preact.mjs";
import htm from "./vendor/htm.mjs";

export { render };
export { useContext, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/hooks.mjs";
export const html = htm.bind(h);

/** The name of the collection that is searched; empty: the service's default. */
export const Collection = createContext("");

const PATHS = {
  add: "M12 5v14M5 12h14",
  camera: "M4 8h3l2-3h6l2 3h3v11H4zM12 16.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z",
  close: "M6 6l12 12M18 6L6 18",
  down: "M7 4v10M7 14h3l3 6c2 0 2-2 1-6h5l-2-10H7zM4 4h3v10H4z",
  key: "M14 10a4 4 0 1 0-3.5 4L13 14v2h2v2h3v-3l-4-4z",
  look: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  options: "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM20 20l-4.5-4.5",
  undo: "M9 7L4 12l5 5M4 12h10a6 6 0 0 1 6 6",
  up: "M7 20V10M7 10l4-7c2 0 2.5 2 1.5 6H19l-2 11H7zM4 10h3v10H4z",
};

/** A drawn icon; what it means is said by the button around it. */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
}

/** An input that keeps what is being written or moved, whatever is drawn meanwhile, and gives it when it is done and valid. */
export function Field({ value, commit, ...rest }) {
  const [draft, setDraft] = useState(value);
  useEffect(() => setDraft(value), [value]);
  const done = ({ target }) => target.checkValidity() && commit(target.value);
  return html`<input ...${rest} value=${draft} onInput=${(event) => setDraft(event.target.value)} onChange=${done} />`;
}
