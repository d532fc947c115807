// The conversation as a list of steps, its form in the address, and the request that it makes. Nothing here touches the page.

export const MAX_TURNS = 17; // the contract's 16 earlier turns, and the one that is asked
const MAX_REFERENCES = 8; // of one turn
const MAX_TEXT = 2000;
const CANDIDATES = 1000; // among which variety chooses: the same for all pages of hits, or they would not fit together
const MOST = 10_000; // hits that can be looked through: an offset is at most so much
const KINDS = ["item", "picture", "say", "like", "dislike"];

/**
 * What is asked: steps; filters {field: [value as JSON]}; ranges {field: {gte, lte}} of numbers or of days, 2024-05-17;
 * composers; how different hits should be; groups {field, size}; the collection.
 * A step of a picture may have a weight, and be asked for `with` the picture before it.
 */
export const EMPTY = Object.freeze({ trail: [], filters: {}, ranges: {}, a: "", b: null, diversity: 0, group: null, collection: "" });

const isReference = (step) => step?.kind === "item" || step?.kind === "picture";

/** The steps as turns of the contract. `vectors` are those of uploaded pictures, by their key. */
export function turnsOf(trail, vectors) {
  const turns = [];
  for (const step of trail) {
    const last = turns.at(-1);
    if (isReference(step)) {
      const source = step.kind === "item" ? { itemId: step.id } : { vector: { values: vectors[step.key] } };
      const reference = step.weight === undefined ? source : { ...source, weight: step.weight };
      const beside = step.with && (turns.findLast((each) => each.references) ?? turns[0]);
      if (beside) (beside.references ??= []).push(reference);
      else turns.push({ references: [reference] });
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

/** The steps of pictures that are asked for together, each as [step, place]. */
export function togetherOf(trail) {
  const sets = [];
  trail.forEach((step, place) => {
    if (!isReference(step)) return;
    if (step.with && sets.length) sets.at(-1).push([step, place]);
    else sets.push([[step, place]]);
  });
  return sets;
}

/** The filter of what is chosen: of each field any of its values, each range, and every field. */
export function filterOf(filters, ranges) {
  const chosen = Object.entries(filters).filter(([, values]) => values.length);
  const must = chosen.map(([field, values]) => ({ field, any: { values: values.map((each) => JSON.parse(each)) } }));
  for (const [field, range] of Object.entries(ranges)) {
    if (typeof (range.gte ?? range.lte) === "number") must.push({ field, range });
    else must.push({ field, datetime: { ...(range.gte && { gte: `${range.gte}T00:00:00Z` }), ...(range.lte && { lte: `${range.lte}T23:59:59.999999Z` }) } });
  }
  return must.length ? { must } : undefined;
}

/** A ComposeSearchRequest. */
export function requestOf(asked, composer, vectors) {
  const turns = turnsOf(asked.trail, vectors);
  const now = turns.pop() ?? {};
  const mmr = asked.diversity > 0 && !asked.group ? { diversity: asked.diversity, candidates: CANDIDATES } : undefined;
  const groupBy = asked.group ?? undefined;
  return { ...now, turns, composer, collection: asked.collection, filter: filterOf(asked.filters, asked.ranges), mmr, groupBy };
}

/** How many hits, or groups, there can be of what is asked. */
export const mostOf = (asked) => (asked.diversity > 0 && !asked.group ? CANDIDATES : MOST);

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
export const without = (trail, place) => towards(begun(trail.filter((_, each) => each !== place)));

/** The picture at `place` together with the one before it, or no longer. */
export const joined = (trail, place) => towards(trail.map((step, each) => (each === place ? { ...step, with: !step.with } : step)));

/** Whether one more picture can be asked for together with the last. */
export const canJoin = (trail) => trail.length > 0 && (togetherOf(trail).at(-1)?.length ?? 0) < MAX_REFERENCES;

/** With one picture of each set to move towards: the first, if there is none. */
function towards(trail) {
  const rest = [...trail];
  for (const set of togetherOf(trail)) {
    const [{ weight: _, ...step }, first] = set[0];
    if (!set.some(([each]) => (each.weight ?? 1) > 0)) rest[first] = step;
  }
  return rest;
}

/** The trail in another collection, which has none of its items. */
export const elsewhere = (trail) => begun(trail.filter((step) => step.kind === "picture" || step.kind === "say"));

/** Without steps at the beginning that have nothing to move away from. */
function begun(trail) {
  const first = trail.findIndex((step) => step.kind !== "dislike" && !step.away);
  return first < 0 ? [] : trail.slice(first).map((step, place) => (place || !step.with ? step : { ...step, with: false }));
}

/** What is asked as the fragment of an address: what differs from nothing. */
export function toHash(asked) {
  const differs = Object.entries(asked).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(EMPTY[name]));
  return differs.length ? `#${encodeURIComponent(JSON.stringify(Object.fromEntries(differs)))}` : "";
}

/** The fragment read back. An address comes from anywhere: what is malformed in it makes the whole of it null. */
export function fromHash(hash) {
  if (hash.length < 2) return EMPTY;
  try {
    const given = JSON.parse(decodeURIComponent(hash.slice(1)));
    check(given && typeof given === "object" && !Array.isArray(given));
    const { trail, filters, ranges, a, b, diversity, group, collection } = { ...EMPTY, ...given };
    return {
      trail: trail.map(stepOf),
      filters: filtersOf(filters),
      ranges: rangesOf(ranges),
      a: text(a, 0),
      b: b === null ? null : text(b, 0),
      diversity: number(diversity, 0, 1),
      group: groupOf(group),
      collection: text(collection, 0),
    };
  } catch {
    return null;
  }
}

function stepOf({ kind, id, key, name, text: said, weight, away, with: beside }) {
  check(KINDS.includes(kind));
  if (kind === "say") return { kind, text: text(said, 1), weight: number(weight, 0, 1), away: away === true };
  const more = { ...(weight !== undefined && { weight: number(weight, -1, 1) }), ...(beside === true && { with: true }) };
  if (kind === "picture") return { kind, key: text(key, 1), name: text(name, 0), ...more };
  return { kind, id: text(id, 1), ...(kind === "item" && more) };
}

function filtersOf(filters) {
  const read = ([field, values]) => [field, values.map((each) => JSON.stringify(JSON.parse(text(each, 1))))];
  return Object.fromEntries(Object.entries(filters).map(read));
}

function groupOf(group) {
  if (group === null) return null;
  check(Number.isInteger(group.size));
  return { field: text(group.field, 1), size: number(group.size, 1, 100) };
}

function rangesOf(ranges) {
  const end = (value) => (typeof value === "number" ? number(value, -Infinity, Infinity) : day(value));
  const read = ([field, { gte, lte }]) => {
    check(gte === undefined || lte === undefined || typeof gte === typeof lte);
    check(gte !== undefined || lte !== undefined);
    return [field, { ...(gte !== undefined && { gte: end(gte) }), ...(lte !== undefined && { lte: end(lte) }) }];
  };
  return Object.fromEntries(Object.entries(ranges).map(read));
}

function day(value) {
  check(typeof value === "string" && /^\d{4}-\d{2}-\d{2}$/.test(value) && !Number.isNaN(Date.parse(value)));
  return value;
}

function text(value, least) {
  check(typeof value === "string" && value.length >= least && value.length <= MAX_TEXT);
  return value;
}

function number(value, least, most) {
  check(typeof value === "number" && value >= least && value <= most);
  return value;
}

function check(holds) {
  if (!holds) throw new TypeError("malformed");
}
