// Where each hit of a grid stands, in pixels, so that only what is near the view needs elements. Nothing here touches the page.

/**
 * Rows of hits; those of a group begin a row of their own under a heading.
 * `groups`: of how many hits each is, or null; `size`: {columns, side, gap, heading}, the last three in pixels.
 */
export function layoutOf(count, groups, { columns, side, gap, heading }) {
  const rows = [];
  const headings = [];
  let top = 0;
  let from = 0;
  for (const hits of groups ?? [count]) {
    if (groups) {
      headings.push({ top, group: headings.length });
      top += heading;
    }
    for (const end = from + hits; from < end; top += side + gap) {
      const to = Math.min(from + columns, end);
      rows.push({ top, from, to });
      from = to;
    }
  }
  return { rows, headings, side, gap, heading, height: Math.max(0, top - gap) };
}

/** The index of the row that holds the hit at `place`. */
export function rowOf({ rows }, place) {
  let [low, high] = [0, rows.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].to <= place) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The hit above (-1) or below (1) the one at `place`, or null at the edge. */
export function neighbour(layout, place, by) {
  const row = rowOf(layout, place);
  const next = layout.rows[row + by];
  return next ? Math.min(next.from + place - layout.rows[row].from, next.to - 1) : null;
}

/** The rows and headings between two heights. */
export function between({ rows, headings, side, heading }, from, to) {
  const inside = (tall) => (each) => each.top + tall >= from && each.top <= to;
  return { rows: rows.filter(inside(side)), headings: headings.filter(inside(heading)) };
}
