// The conversation as a list of steps, its form in the address, and the request that it makes. Nothing here touches the page.

export const MAX_TURNS = 17; // the contract's 16 earlier turns, and the one that is asked
const MAX_TEXT = 2000;
const KINDS = ["item", "picture", "say", "like", "dislike"];

/** What is asked: steps, filters {field: [value as JSON]}, composers, and how different hits should be. */
export const EMPTY = Object.freeze({ trail: [], filters: {}, a: "", b: null, diversity: 0 });

/** The steps as turns of the contract. `vectors` are those of uploaded pictures, by their key. */
export function turnsOf(trail, vectors) {
  const turns = [];
  for (const step of trail) {
    const last = turns.at(-1);
    if (step.kind === "item" || step.kind === "picture") {
      const source = step.kind === "item" ? { itemId: step.id } : { vector: { values: vectors[step.key] } };
      turns.push({ references: [source] });
    } else if (step.kind === "say") {
      const edit = { text: step.text, weight: step.weight, negative: step.away };
      if (last && !last.edits && !last.like && !last.dislike) last.edits = [edit];
      else turns.push({ edits: [edit] });
    } else {
      const turn = last ?? turns[turns.push({}) - 1];
      (turn[step.kind] ??= []).push(step.id);
    }
  }
  return turns;
}

/** The filter of the chosen values: of each field any of them, and every field. */
export function filterOf(filters) {
  const chosen = Object.entries(filters).filter(([, values]) => values.length);
  const must = chosen.map(([field, values]) => ({ field, any: { values: values.map((each) => JSON.parse(each)) } }));
  return must.length ? { must } : undefined;
}

/** A ComposeSearchRequest. */
export function requestOf(asked, composer, vectors) {
  const turns = turnsOf(asked.trail, vectors);
  const now = turns.pop() ?? {};
  const mmr = asked.diversity > 0 ? { diversity: asked.diversity } : undefined;
  return { ...now, turns, composer, filter: filterOf(asked.filters), mmr };
}

/** The uploaded pictures of a trail whose vectors this tab does not have. */
export const lost = (trail, vectors) => trail.filter((step) => step.kind === "picture" && !vectors[step.key]);

/** The steps with one more; liking what was disliked, or liking twice, takes the earlier step away. */
export function withStep(trail, step) {
  if (step.kind !== "like" && step.kind !== "dislike") return [...trail, step];
  const same = trail.find((each) => each.kind === step.kind && each.id === step.id);
  const rest = trail.filter((each) => !["like", "dislike"].includes(each.kind) || each.id !== step.id);
  return begun(same ? rest : [...rest, step]);
}

/** Without the step at `place`. */
export const without = (trail, place) => begun(trail.filter((_, each) => each !== place));

/** Without steps at the beginning that have nothing to move away from. */
function begun(trail) {
  const first = trail.findIndex((step) => step.kind !== "dislike" && !step.away);
  return first < 0 ? [] : trail.slice(first);
}

/** What is asked as the fragment of an address. */
export function toHash(asked) {
  const { trail, filters, a, b, diversity } = asked;
  const plain = JSON.stringify(asked) === JSON.stringify(EMPTY);
  return plain ? "" : `#${encodeURIComponent(JSON.stringify({ trail, filters, a, b, diversity }))}`;
}

/** The fragment read back. An address comes from anywhere: what is malformed in it makes the whole of it null. */
export function fromHash(hash) {
  if (hash.length < 2) return EMPTY;
  try {
    const { trail, filters, a, b, diversity } = JSON.parse(decodeURIComponent(hash.slice(1)));
    const asked = { trail: trail.map(stepOf), filters: filtersOf(filters), a: text(a, 0), b: b === null ? null : text(b, 0) };
    return { ...asked, diversity: number(diversity) };
  } catch {
    return null;
  }
}

function stepOf({ kind, id, key, name, text: said, weight, away }) {
  check(KINDS.includes(kind));
  if (kind === "say") return { kind, text: text(said, 1), weight: number(weight), away: away === true };
  if (kind === "picture") return { kind, key: text(key, 1), name: text(name, 0) };
  return { kind, id: text(id, 1) };
}

function filtersOf(filters) {
  const read = ([field, values]) => [field, values.map((each) => JSON.stringify(JSON.parse(text(each, 1))))];
  return Object.fromEntries(Object.entries(filters).map(read));
}

function text(value, least) {
  check(typeof value === "string" && value.length >= least && value.length <= MAX_TEXT);
  return value;
}

function number(value) {
  check(typeof value === "number" && value >= 0 && value <= 1);
  return value;
}

function check(holds) {
  if (!holds) throw new TypeError("malformed");
}
