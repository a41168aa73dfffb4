// One row of numbers for every head, from its queries and keys, over a sample of query tokens, in idle moments of the page.
import { attentionRows, summarise, tokenCount, unravel } from "./softmax.js";

const MOST_QUERIES = 48;

// One token out of each part of all tokens, drawn at random but always the same; all of them where they are few.
export function sampleQueries(count) {
  const number = Math.min(count, MOST_QUERIES);
  let seed = 1;
  return Array.from({ length: number }, (_, i) => {
    seed = (seed * 1664525 + 1013904223) % 2 ** 32;
    return Math.floor((count * (i + seed / 2 ** 32)) / number);
  });
}

// Hands a row to `tell` for every head, until all are measured or `stopped` says so.
export async function measureHeads(meta, data, tell, stopped) {
  const later = window.requestIdleCallback ?? setTimeout;
  let end = 0;
  for (const layer of meta.layers) {
    for (const pair of meta.pairs) {
      for (const head of pair.heads) {
        const [from, to] = [pair.query, pair.key].map((name) => meta.fields.find((field) => field.name === name));
        const rows = attentionRows(meta, [pair], data); // of its own: what it decodes goes with it
        const queries = sampleQueries(tokenCount(from));
        const mean = { query: from.name, key: to.name, layer, head, entropy: 0, distance: 0, time: 0, level: 0 };
        for (const query of queries) {
          if (performance.now() > end) {
            await new Promise((resolve) => { later(resolve, { timeout: 500 }); });
            if (stopped()) return;
            end = performance.now() + 10;
          }
          const { entropy, distance, lag, shares } = summarise(rows.row(from.name, to.name, query, layer, head, 1), from, query, to);
          const here = from.level[unravel(from, query).level];
          mean.entropy += entropy / queries.length;
          mean.distance += distance / queries.length;
          mean.time += lag / queries.length;
          shares.forEach((share, slot) => { mean.level += (share * (to.level[Math.floor(slot / to.shape[1])] - here)) / queries.length; });
        }
        tell(mean);
      }
    }
  }
}
