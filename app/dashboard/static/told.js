// What is said beside the figures of callers and lines. Rule: pure; what can't be known is said to be so, never 0.

import {moment} from "./format.js";
import {FIGURES} from "./labels.js";

const OF_CALLERS = new Set(["callers", "repeat_callers", "flows_traceable", "flows_contained"]);

const nameless = (window) => !window.callers && window.flows > 0;

// A figure of a window as far as it can be known.
export const told = (window, key) => (OF_CALLERS.has(key) && nameless(window) ? null : window[key]);

export function ofCallers(record) {
  const some = record.windows.filter((window) => window.flows);
  if (some.length && some.every(nameless)) return "Callers can be told apart once PHONON_PSEUDONYM_KEY is set at the receiver, from then on.";
  const solved = "Solved: answered without an agent, and the caller has not called this number again within an hour, as far as known now.";
  return record.group ? `A group's callers are the sum of its DIDs': somebody who called two of them counts twice. ${solved}` : solved;
}

// What the schema says of a figure, for people: names as on this page, and nothing of how it is stored.
export const inWords = (meaning) => meaning
  .replace(/, ms,(?= )|, ms(?=[;.])/g, "")
  .replace(/; null where [^;.]*/, "")
  .replace(/\b[a-z]+(_[a-z0-9]+)+\b/g, (name) => FIGURES.get(name)?.name ?? name)
  .replace("null for", "none for").replace("10,000", "10 s").replace("20,000", "20 s");

// Older records tell none; a group has no peak.
export const hasLines = (record) => record.windows.some((window) => window.mean_legs != null);

export const ofLines = (record, now) => (record.legs_settled_until == null ? "" : `Settled until ${moment(record.legs_settled_until, now)}. A call is known only when it is over, so these figures may still rise for later minutes.`);
