// What hits say about themselves: a caption, and words that tell them apart.

export const CAPTION = ["caption", "captions", "title", "name", "description", "text"];
const STOP = new Set(
  "a an and are as at be but by for from has have her his in into is it its no not of off on onto or over that the their there these this to two under up was were which while with without".split(" "),
);

/** The caption of an item, or its id. */
export function captionOf({ itemId, payload = {} }) {
  const found = CAPTION.map((name) => [payload[name]].flat()[0]).find((value) => typeof value === "string" && value.trim());
  return found ?? itemId;
}

/** At most `limit` words or pairs of words that some of the hits' captions have and others have not, the most telling first. */
export function suggestions(hits, said, limit = 8) {
  const spoken = new Set(words(said));
  const counts = new Map();
  for (const hit of hits) for (const term of termsOf(captionOf(hit), hit.itemId)) counts.set(term, (counts.get(term) ?? 0) + 1);
  const telling = (count) => (count / hits.length) * (1 - count / hits.length);
  const found = [...counts].filter(([term, count]) => count > 1 && count < 0.7 * hits.length && !words(term).some((each) => spoken.has(each)));
  found.sort(([a, m], [b, n]) => telling(n) - telling(m) || b.length - a.length || (a < b ? -1 : 1));
  const chosen = [];
  for (const [term] of found) {
    const known = chosen.some((each) => words(each).some((word) => words(term).includes(word)));
    if (!known) chosen.push(term);
    if (chosen.length === limit) break;
  }
  return chosen;
}

const words = (text) => text.toLowerCase().match(/[\p{L}\p{M}'-]+/gu) ?? [];

function termsOf(caption, id) {
  if (caption === id) return [];
  const all = words(caption);
  const telling = (word) => word.length > 2 && !STOP.has(word);
  const pairs = all.slice(1).map((word, place) => [all[place], word]).filter((pair) => pair.every(telling));
  return new Set([...all.filter(telling), ...pairs.map((pair) => pair.join(" "))]);
}
