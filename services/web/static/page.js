// The page: what is asked lives in the address, so that going back undoes and a copied address shows the same.
import { Collection, Icon, html, render, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./ui.js";
import { key } from "./api.js";
import { suggestions } from "./captions.js";
import { useDrop, useKeys } from "./gestures.js";
import { Grid } from "./grid.js";
import { Large } from "./large.js";
import { More } from "./more.js";
import { KeyForm, Lost, Notice, Pending } from "./notices.js";
import { Options } from "./options.js";
import { forgetPictures } from "./pictures.js";
import { Ask } from "./ask.js";
import { Steps } from "./steps.js";
import { EMPTY, MAX_TURNS, canJoin, fromHash, lost, toHash, turnsOf, withStep } from "./trail.js";
import { FIRST, useGallery, useResults } from "./results.js";
import { upload, vectors } from "./uploads.js";

function useAsked() {
  const [asked, setAsked] = useState(() => fromHash(location.hash) ?? EMPTY);
  const [broken, setBroken] = useState(() => fromHash(location.hash) === null);
  const top = useRef(null); // where the page stood when it was left, once one is back
  useEffect(() => {
    history.scrollRestoration = "manual"; // the browser's own comes before the pictures
    const read = () => {
      top.current = history.state?.top ?? 0;
      setBroken(fromHash(location.hash) === null);
      setAsked(fromHash(location.hash) ?? EMPTY);
    };
    addEventListener("popstate", read);
    return () => removeEventListener("popstate", read);
  }, []);
  const ask = (next) => {
    history.replaceState({ top: scrollY }, "");
    history.pushState(null, "", toHash(next) || location.pathname);
    setBroken(false);
    setAsked(next);
  };
  return [asked, ask, broken, top];
}

function Page() {
  const [asked, ask, brokenLink, top] = useAsked();
  const [attempt, setAttempt] = useState(0); // one more: ask again, with another key or after a failure
  const [large, setLarge] = useState(null);
  const [showOptions, setShowOptions] = useState(false);
  const [askKey, setAskKey] = useState(false);
  const [failed, setFailed] = useState(null); // a picture that could not be read or encoded
  const [busy, setBusy] = useState(false);
  const input = useRef(null);
  const missing = lost(asked.trail, vectors);
  const full = turnsOf(asked.trail, vectors).length > MAX_TURNS;
  const gallery = useGallery(asked.collection, attempt);
  const sides = asked.b === null ? [asked.a] : [asked.a, asked.b];
  const ready = !missing.length && !full && asked.trail.length > 0;
  const results = useResults(ready ? asked : null, sides, attempt);
  const hits = ready ? (results.answers[0]?.hits ?? []) : gallery.items;
  const first = useMemo(() => hits.slice(0, FIRST), [hits[0], Math.min(hits.length, FIRST)]); // more hits change no suggestion
  const said = asked.trail.map((step) => step.text ?? "").join(" ");
  const hints = useMemo(() => (asked.trail.length ? suggestions(first, said) : []), [first, said]);
  const problem = results.problem ?? (ready ? null : gallery.problem);

  const again = () => setAttempt(attempt + 1);
  const go = (next) => {
    setFailed(null);
    ask(next);
  };
  const step = (each) => {
    go({ ...asked, trail: withStep(asked.trail, each) });
    scrollTo({ top: 0 });
  };
  const give = async (picture, name, inPlaceOf) => {
    setBusy(true);
    setFailed(null);
    try {
      const given = await upload(await picture(), name, inPlaceOf);
      if (inPlaceOf) again();
      else step(given);
    } catch (error) {
      setFailed(error);
    } finally {
      setBusy(false);
    }
  };
  useKeys(input);
  useDrop(give);
  const stopped = problem ?? results.stuck;
  useEffect(() => stopped?.kind === "unauthorised" && setAskKey(true), [stopped]);

  useLayoutEffect(() => {
    if (top.current === null || (ready && results.pending)) return;
    scrollTo({ top: top.current });
    top.current = null;
  }, [asked, results.pending]);

  const act = {
    go: (id) => step({ kind: "item", id }),
    like: (id) => step({ kind: "like", id }),
    dislike: (id) => step({ kind: "dislike", id }),
    add: (id) => step({ kind: "item", id, with: true }),
    look: (hit, side) => setLarge({ hit, side }),
    canAdd: canJoin(asked.trail),
  };
  const liked = new Map(asked.trail.filter((each) => each.kind.endsWith("like")).map((each) => [each.id, each.kind]));
  const useKey = (value) => {
    key.set(value);
    forgetPictures();
    setAskKey(false);
    again();
  };
  const startAgain = () => go({ ...EMPTY, collection: asked.collection });
  const narrowed = Object.keys(asked.filters).length + Object.keys(asked.ranges).length;
  const status = statusOf({ problem, failed, busy, results, ready, hits, gallery });

  return html`<${Collection.Provider} value=${asked.collection}>
    <a class="skip" href="#hits">Skip to the pictures</a>
    <header>
      <div class="bar">
        <h1><a href="/" onClick=${(event) => (event.preventDefault(), startAgain())}>SCOT</a></h1>
        <${Ask} input=${input} asked=${asked} busy=${busy} give=${give} say=${(text) => step({ kind: "say", text, weight: 1, away: false })} />
        <button class="plain" aria-expanded=${showOptions} aria-controls="options" onClick=${() => setShowOptions(!showOptions)}>
          <${Icon} name="options" /><span class="wide">Options</span>${narrowed > 0 && html`<span class="count">${narrowed}<span class="hidden"> filters</span></span>`}
        </button>
        ${(key.get() || askKey) && html`<button class="plain" onClick=${() => setAskKey(!askKey)} aria-expanded=${askKey}><${Icon} name="key" /><span class="wide">Key</span></button>`}
      </div>
      <${Steps} asked=${asked} change=${(trail) => go({ ...asked, trail })} again=${startAgain} />
      ${hints.length > 0 && html`<div class="hints" role="group" aria-label="Suggested changes"><span aria-hidden="true">Try</span>${hints.map((each) => html`<button key=${each} class="hint" onClick=${() => step({ kind: "say", text: each, weight: 1, away: false })}>${each}</button>`)}</div>`}
    </header>
    <div class=${showOptions ? "beside" : ""}>
    ${showOptions && html`<${Options} asked=${asked} go=${go} hits=${first} attempt=${attempt} />`}
    <main id="hits" tabindex="-1">
      ${askKey && html`<${KeyForm} problem=${stopped} useKey=${useKey} />`}
      ${brokenLink && html`<${Notice} title="This link is damaged" text="What it asked for cannot be read. Start with a picture or a text." />`}
      ${failed && html`<${Notice} problem=${failed} again=${() => setFailed(null)} label="Close" />`}
      ${missing.length > 0 && html`<${Lost} steps=${missing} give=${give} />`}
      ${full && html`<${Notice} title="This trail is as long as it can be" text="Take a step away, or start again." />`}
      ${problem && !(askKey && problem.kind === "unauthorised") && html`<${Notice} problem=${problem} again=${again} label="Try again" />`}
      ${results.pending && html`<${Pending} cancel=${results.cancel} />`}
      ${!ready && !missing.length && !full && !problem && html`<${Welcome} gallery=${gallery} />`}
      ${results.stopped && html`<${Notice} title="Stopped" text="The search was given up before its answer." again=${again} label="Search again" />`}
      ${ready && !results.pending && !results.stopped && !problem && hits.length === 0 && html`<${Empty} asked=${asked} narrowed=${narrowed} go=${go} />`}
      <div class=${sides.length > 1 && ready ? "sides" : ""} aria-busy=${results.pending || busy}>
        ${(ready ? results.answers : [{ hits: gallery.items, collection: gallery.collection }]).map((answer, side) => html`
          <section key=${side} aria-label=${ready ? (sides.length > 1 ? `Pictures of composer ${"AB"[side]}` : "Pictures found") : "Pictures of the gallery"}>
            ${sides.length > 1 && ready && html`<h2>${"AB"[side]} <small>${answer.composer}</small></h2>`}
            <${Collection.Provider} value=${answer.collection}><${Grid} hits=${answer.hits} groups=${answer.groups} liked=${liked} act=${act} side=${side} begun=${asked.trail.some((each) => each.kind !== "dislike")} leave=${() => input.current.focus()} /><//>
          </section>`)}
      </div>
      ${ready && results.more && !problem && !results.pending && !results.stopped && html`<${More} results=${results} count=${hits.length} />`}
    </main>
    </div>
    <footer><span class="keys"><kbd>/</kbd> write <kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd> move <kbd>Enter</kbd> go on from a picture <kbd>Space</kbd> look <kbd>Esc</kbd> close</span><a href="/docs">HTTP API</a></footer>
    <p class="hidden" role="status">${status}</p>
    ${large && html`<${Large} key=${large.hit.itemId} hit=${large.hit} asked=${ready ? asked : { ...EMPTY, collection: asked.collection }} composer=${results.answers[large.side]?.composer ?? ""} liked=${liked.get(large.hit.itemId)} act=${act} close=${() => setLarge(null)} />`}
  <//>`;
}

function Empty({ asked, narrowed, go }) {
  if (narrowed) return html`<${Notice} title="No pictures" text="The filters leave none." again=${() => go({ ...asked, filters: {}, ranges: {} })} label="Without filters" />`;
  if (asked.group) return html`<${Notice} title="No pictures" text=${`None has the field ${asked.group.field}.`} again=${() => go({ ...asked, group: null })} label="Without groups" />`;
  return html`<${Notice} title="No pictures" text="The gallery is empty, or all of it was taken out of the results." />`;
}

function Welcome({ gallery }) {
  return html`<div class="welcome">
    <p class="lead">Show a picture, say what to change.</p>
    <p>Drop, paste or choose a picture, describe one, or start from ${gallery.items.length ? "one of these" : "a text"}.</p>
  </div>`;
}

function statusOf({ problem, failed, busy, results, ready, hits, gallery }) {
  if (problem ?? failed) return (problem ?? failed).message;
  if (busy) return "Reading the picture";
  if (results.pending) return "Searching";
  if (ready) return `${hits.length} pictures found`;
  return gallery.items.length ? "Pictures of the gallery are shown" : "";
}

render(html`<${Page} />`, document.getElementById("page"));
