// The end of the hits: the next ones come when it is near, or on demand.
import { html, useEffect, useRef } from "./ui.js";
import { Notice } from "./notices.js";

const NEAR = "600px"; // below the view

export function More({ results, count }) {
  const button = useRef(null);
  const { follow, following, stuck } = results;
  useEffect(() => {
    if (following || stuck) return;
    const near = new IntersectionObserver((entries) => entries.at(-1).isIntersecting && follow(), { rootMargin: `0px 0px ${NEAR}` });
    near.observe(button.current);
    return () => near.disconnect();
  }, [count, following, stuck]);
  if (stuck) return html`<${Notice} problem=${stuck} again=${follow} label="Try again" />`;
  return html`<button ref=${button} class="more" onClick=${follow} disabled=${following}>${following ? "More pictures are coming" : "More pictures"}</button>`;
}
