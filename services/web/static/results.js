// What the service answers: the gallery to start from, and the hits of each composer that is asked, page by page.
import { useEffect, useLayoutEffect, useRef, useState } from "./ui.js";
import { post } from "./api.js";
import { mostOf, requestOf, toHash } from "./trail.js";
import { vectors } from "./uploads.js";

export const FIRST = 60; // hits, or groups, of the first page
const FOLLOWING = 240;
const MOST_HITS = 1000; // of one answer
const KEPT = 8; // searches whose answers are there at once when one goes back
const NOTHING = Object.freeze({ answers: [], of: null, pending: false, problem: null, stopped: false, following: false, stuck: null });

/** The answer of a method, asked again when `on` changes; null while there is none, and where it fails. */
export function useAnswer(method, message, on) {
  const [answer, setAnswer] = useState(null);
  useEffect(() => {
    const stop = new AbortController();
    if (method) post(method, message, stop.signal).then(setAnswer, (error) => error.name !== "AbortError" && setAnswer(null)); // the search tells what is wrong
    return () => stop.abort();
  }, on);
  return answer;
}

/** Some items of the gallery with their payloads, for a start without a picture of one's own. */
export function useGallery(collection, attempt) {
  const [gallery, setGallery] = useState({ items: [], collection, problem: null });
  useEffect(() => {
    const stop = new AbortController();
    (async () => {
      const listed = await post("list-items", { collection, limit: FIRST }, stop.signal);
      const itemIds = listed.items.map((each) => each.itemId);
      const got = itemIds.length ? await post("get-items", { collection, itemIds }, stop.signal) : { items: [] };
      setGallery({ items: got.items, collection, problem: null });
    })().catch((problem) => {
      if (problem.name === "AbortError") return;
      setGallery({ items: [], collection, problem: problem.kind === "forbidden" ? null : problem }); // a key that may only search
    });
    return () => stop.abort();
  }, [collection, attempt]);
  return gallery;
}

/**
 * The hits of what is asked, once for each composer; the earlier ones stay until the new ones are there, and those of the
 * last searches are kept for going back. `follow` asks for the next page; what is shown stays if that is `stuck`.
 */
export function useResults(asked, composers, attempt) {
  const [state, setState] = useState(NOTHING);
  const stop = useRef(null);
  const kept = useRef(new Map());
  const name = asked && `${attempt} ${toHash(asked)}`;
  const ask = async (before) => {
    stop.current?.abort();
    const mine = (stop.current = new AbortController());
    try {
      const answers = await Promise.all(composers.map((composer, side) => pageOf(asked, composer, before?.[side], mine.signal)));
      if (mine.signal.aborted) return;
      keep(kept.current, name, answers);
      setState({ ...NOTHING, answers, of: asked });
    } catch (problem) {
      mine.abort();
      if (problem.name === "AbortError") return;
      setState(before ? { ...NOTHING, answers: before, of: asked, stuck: problem } : { ...NOTHING, of: asked, problem });
    }
  };
  useLayoutEffect(() => { // not after the next frame
    stop.current?.abort();
    if (!asked) setState(NOTHING);
    else if (kept.current.has(name)) setState({ ...NOTHING, answers: kept.current.get(name), of: asked });
    else {
      setState((before) => ({ ...NOTHING, answers: before.answers, pending: true }));
      ask(null);
    }
  }, [asked, attempt]);
  const pending = state.pending || (asked !== null && state.of !== asked); // also before the effect has run
  const follow = () => {
    if (pending || state.following) return;
    setState((before) => ({ ...before, following: true, stuck: null }));
    ask(state.answers);
  };
  const cancel = () => {
    stop.current?.abort();
    setState((before) => ({ ...before, of: asked, pending: false, stopped: true }));
  };
  return { ...state, pending, cancel, follow, more: state.answers.some((each) => !each.complete) };
}

function keep(kept, name, answers) {
  kept.delete(name);
  kept.set(name, answers);
  for (const old of [...kept.keys()].slice(0, -KEPT)) kept.delete(old);
}

/** One composer's hits with those of the next page. */
async function pageOf(asked, composer, before, signal) {
  if (before?.complete) return before;
  const offset = before?.next ?? 0;
  const most = mostOf(asked);
  const wanted = Math.min(before ? FOLLOWING : FIRST, most - offset, Math.floor(MOST_HITS / (asked.group?.size ?? 1)));
  const request = requestOf(asked, before?.composer ?? composer, vectors); // a split may choose another one for the next request
  const answer = await post("compose-search", { ...request, offset, limit: wanted }, signal);
  const got = asked.group ? answer.groups.length : answer.hits.length;
  const known = new Set(asked.group ? [] : before?.hits.map((each) => each.itemId)); // the gallery may have changed
  return {
    hits: [...(before?.hits ?? []), ...answer.hits.filter((each) => !known.has(each.itemId))],
    collection: asked.collection,
    groups: asked.group ? [...(before?.groups ?? []), ...answer.groups] : null,
    composer: answer.composer,
    next: offset + got,
    complete: got < wanted || offset + got >= most,
  };
}
