// All that the page knows. Rule: no element is touched here; a row has a version, so that who shows it knows if it is new.

import {ATTEMPTS, COUNTS} from "./figures.js";

export function createStore() {
  const store = {
    rows: new Map(), // DID or group -> row
    alerts: new Map(), // id -> episode, until: when it was over
    alertsKept: 300,
    windows: [], // {name, seconds}
    points: 60,
    sampleMs: 10_000,
    startedAt: 0,
    status: null,
    offset: 0, // server's clock - ours

    now: () => Date.now() + store.offset,

    snapshot(message) {
      if (message.counts.join() !== COUNTS.join()) return location.reload(); // the server is of another version
      store.windows = message.windows.map(([name, seconds]) => ({name, seconds}));
      store.points = message.points;
      store.sampleMs = message.sample_ms;
      store.startedAt = message.started_at;
      store.alerts = new Map(message.alerts.map((one) => [one.id, one]));
      store.alertsKept = message.alerts_kept;
      store.rows.clear();
      const width = store.windows.length;
      for (const [did, shown, asOf, group, ...rest] of message.rows) {
        store.rows.set(did, row(did, shown, asOf, group, rest.slice(0, width), rest[width]));
      }
      return undefined;
    },

    changes(list) {
      const at = performance.now();
      for (const [did, shown, asOf, group, ...counts] of list) {
        const known = store.rows.get(did);
        if (known) {
          change(known, asOf, counts, at);
        } else {
          store.rows.set(did, {...row(did, shown, asOf, group, counts, []), at, grew: counts.at(-1)?.[ATTEMPTS] ?? 0});
        }
      }
    },

    // Returns what has begun to fire.
    tell(list) {
      const begun = list.filter((one) => one.until == null && !store.alerts.has(one.id));
      for (const one of list) store.alerts.set(one.id, one);
      const over = [...store.alerts.values()].filter((one) => one.until != null);
      if (over.length > 2 * store.alertsKept) {
        for (const one of over.sort((a, b) => a.until - b.until).slice(0, -store.alertsKept)) store.alerts.delete(one.id);
      }
      return begun;
    },

    sample() {
      for (const one of store.rows.values()) {
        one.trend.push(one.counts[0]?.[ATTEMPTS] ?? -1);
        if (one.trend.length > store.points) one.trend.shift();
        one.version += 1;
      }
    },
  };
  return store;
}

// was: the counts before the last new calls; at: when those came (performance.now()); grew: how many they were.
function row(did, shown, asOf, group, counts, trend) {
  return {did, shown, digits: did.replace(/\D/g, ""), asOf, group, counts, trend, was: null, at: -1e9, grew: 0, version: 0};
}

// Figures also fall because time passes; only new calls are news.
function change(known, asOf, counts, at) {
  const grew = Math.max(...counts.map((now, w) => (now && known.counts[w] ? now[ATTEMPTS] - known.counts[w][ATTEMPTS] : 0)));
  if (grew > 0) {
    known.was = known.counts;
    known.grew = at - known.at < 2_600 ? known.grew + grew : grew;
    known.at = at;
  }
  known.counts = counts;
  known.asOf = asOf;
  known.version += 1;
}
