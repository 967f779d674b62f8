// From the six counts of a window to what a column shows. Rule: pure; one table, and no ratio without its count.

import {duration, number, percent} from "./format.js";

// As the server sends them (app/dashboard/figures.py).
export const COUNTS = ["attempts", "answered", "talk_ms", "flows_to_agent", "flows_abandoned", "served_in_time"];
export const [ATTEMPTS, ANSWERED, TALK, TO_AGENT, ABANDONED, IN_TIME] = COUNTS.keys();

// Below this a ratio is greyed: at 30 calls an answer rate is ±18 points.
export const FEW = 30;

const over = (a, b) => (b ? a / b : null);

// value: what is sorted by; of: the count behind a ratio, and its word.
export const METRICS = [
  {key: "calls", name: "Calls", value: (c) => c[ATTEMPTS], text: number, hint: "Legs to or from visitors (attempts)"},
  {key: "answer", name: "Answer rate", value: (c) => over(c[ANSWERED], c[ATTEMPTS]), text: percent, of: ATTEMPTS, unit: "calls", meter: true, hint: "Share of calls that were answered"},
  {key: "talk", name: "Avg duration", value: (c) => over(c[TALK], c[ANSWERED]), text: duration, of: ANSWERED, unit: "answered calls", hint: "Average talk time of answered calls, m:ss"},
  {key: "abandon", name: "Abandoned", value: (c) => over(c[ABANDONED], c[TO_AGENT]), text: percent, of: TO_AGENT, unit: "calls routed to an agent", hint: "Callers who did not reach an agent, of calls routed to an agent"},
  {key: "service", name: "Service level", value: (c) => over(c[IN_TIME], c[TO_AGENT]), text: percent, of: TO_AGENT, unit: "calls routed to an agent", meter: true, hint: "Answered by an agent within 20 s, of calls routed to an agent"},
];

export const ZERO = COUNTS.map(() => 0);

export function add(sum, counts) {
  for (let i = 0; i < sum.length; i += 1) sum[i] += counts[i];
}
