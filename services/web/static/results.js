// What the service answers: the gallery to start from, and the hits of each composer that is asked.
import { useEffect, useRef, useState } from "./ui.js";
import { post } from "./api.js";
import { requestOf } from "./trail.js";
import { vectors } from "./uploads.js";

const PAGE = 60; // hits; more come on demand
const MOST = 1000; // that the service gives
const NOTHING = Object.freeze({ answers: [], of: null, pending: false, problem: null, stopped: false });

/** Some items of the gallery with their payloads, for a start without a picture of one's own. */
export function useGallery(attempt) {
  const [gallery, setGallery] = useState({ items: [], problem: null });
  useEffect(() => {
    const stop = new AbortController();
    (async () => {
      const listed = await post("list-items", { limit: PAGE }, stop.signal);
      const itemIds = listed.items.map((each) => each.itemId);
      const got = itemIds.length ? await post("get-items", { itemIds }, stop.signal) : { items: [] };
      setGallery({ items: got.items, problem: null });
    })().catch((problem) => {
      if (problem.name === "AbortError") return;
      setGallery({ items: [], problem: problem.kind === "forbidden" ? null : problem }); // a key that may only search
    });
    return () => stop.abort();
  }, [attempt]);
  return gallery;
}

/** The hits of what is asked, once for each composer; the earlier ones stay until the new ones are there. */
export function useResults(asked, composers, more, attempt) {
  const [state, setState] = useState(NOTHING);
  const stop = useRef(null);
  const limit = Math.min(MOST, PAGE * more);
  useEffect(() => {
    stop.current?.abort();
    if (!asked) {
      setState(NOTHING);
      return;
    }
    const mine = (stop.current = new AbortController());
    setState((before) => ({ ...before, pending: true, problem: null, stopped: false }));
    const one = (composer) => post("compose-search", { ...requestOf(asked, composer, vectors), limit }, mine.signal);
    Promise.all(composers.map(one)).then(
      (answers) => setState({ ...NOTHING, answers, of: asked }),
      (problem) => {
        if (problem.name !== "AbortError") setState({ ...NOTHING, of: asked, problem });
        mine.abort();
      },
    );
  }, [asked, more, attempt]);
  const cancel = () => {
    stop.current?.abort();
    setState((before) => ({ ...before, of: asked, pending: false, stopped: true }));
  };
  const last = state.answers[0];
  const pending = state.pending || (asked !== null && state.of !== asked); // also before the effect has run
  return { ...state, pending, cancel, more: Boolean(last) && last.hits.length === limit && limit < MOST };
}
