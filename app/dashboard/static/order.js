// Which DIDs are shown, and in what order. Rule: pure; what has no value comes last whichever way it is sorted.

import {ATTEMPTS, METRICS} from "./figures.js";
import {known} from "./spark.js";

const BY_KEY = new Map(METRICS.map((metric) => [metric.key, metric]));

export const rise = (row) => {
  const points = known(row.trend);
  return points.length ? (row.counts[0]?.[ATTEMPTS] ?? 0) - points[0] : null;
};

function valueOf(key, window) {
  if (key === "did") return (row) => row.did;
  if (key === "trend") return rise;
  if (key === "updated") return (row) => row.asOf;
  const metric = BY_KEY.get(key);
  return (row) => (row.counts[window] ? metric.value(row.counts[window]) : null);
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

export function ordered(rows, {sort, window, query, active, groups = false, least = 0}) {
  const matches = matcher(query);
  const value = valueOf(sort.key, window);
  const n = BY_KEY.get(sort.key)?.of ?? ATTEMPTS;
  const found = [];
  for (const row of rows) {
    if (row.group !== groups || (row.counts[window]?.[n] ?? 0) < least) continue;
    if (matches(row) && (!active || row.counts[window]?.[ATTEMPTS])) found.push({row, value: value(row)});
  }
  const way = sort.down ? -1 : 1;
  found.sort((a, b) => {
    if (a.value == null || b.value == null) return (a.value == null) - (b.value == null) || compare(a.row.did, b.row.did);
    return way * compare(a.value, b.value) || compare(a.row.did, b.row.did);
  });
  return found.map((one) => one.row);
}

// Digits find a number however it is written: 022 4369, +91 22 4369, 224369.
function matcher(query) {
  const text = query.trim().toLowerCase();
  if (!text) return () => true;
  const digits = text.replace(/\D/g, "").replace(/^0+/, "");
  if (/^[\d\s+()./-]+$/.test(text)) return (row) => row.digits.includes(digits);
  return (row) => row.did.toLowerCase().includes(text) || row.shown.toLowerCase().includes(text);
}
