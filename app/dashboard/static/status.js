// The head of the page: is it live, how old is it, what have the receivers taken. Rule: it never looks better than it is.

import {$, attribute, h, write} from "./dom.js";
import {age, decimal, moment, number} from "./format.js";

const QUIET_MS = 120_000;
const STANDING_MS = 20_000; // one call is seen in the rates for half of that

// Pure: what holds, in words. level: good, busy, quiet or bad. arriving: since when Kafka gets events without a pause.
export function condition(stream, status, rows, now, arriving = null) {
  const last = status?.written_at;
  if (stream === "lost") return {level: "bad", text: "Not connected", why: `No connection to this page's server. ${rows ? `The figures are from ${moment(last ?? now, now)}.` : ""} Reconnecting …`};
  if (!status || stream !== "open") return {level: "busy", text: "Connecting …"};
  const {state, reason, since} = status.kafka;
  if (state === "no_topic") return {level: "bad", text: "No topic", why: `Kafka answers, but ${reason}. Run \`phonon-events topics create\`.`};
  if (state === "away") return {level: "bad", text: "Kafka unavailable", why: `Kafka has not answered since ${moment(since, now)} (${reason}). ${rows ? `The figures are from ${moment(last ?? since, now)}.` : ""} ${status.receivers.answering ? "The receiver still accepts calls and keeps them in its spool." : ""}`};
  if (status.registry) return {level: "bad", text: "Registry unavailable", why: `New figures can't be read: ${status.registry}.`};
  if (!status.loaded) return {level: "busy", text: "Loading …"};
  if (last && now - last > QUIET_MS) {
    if (arriving == null || now - arriving < STANDING_MS) return {level: "quiet", text: "Quiet"};
    return {level: "bad", text: "Figures stopped", why: `Calls arrive, but no figure has changed since ${moment(last, now)}. Is a metrics worker running?`};
  }
  return {level: "good", text: "Live"};
}

const FLOW = [
  ["deliveries", "Deliveries", "deliveries_per_second", "Deliveries from Phonon since the receivers started"],
  ["events", "Events", "events_per_second", "Records published to Kafka since the receivers started"],
  ["spooled", "Spooled", null, "Deliveries waiting on the receivers' disks until Kafka is back"],
];

export function createStatus() {
  const cells = new Map(FLOW.map(([key, name]) => {
    const value = h("b"), rate = h("span", {class: "rate"});
    const box = h("div", {id: `flow-${key}`}, h("dt", {}, name), h("dd", {}, value, rate));
    $("flow").append(box);
    return [key, {value, rate, box}];
  }));

  let arriving = null;

  // Shows it, and returns what is wrong in two words, or nothing.
  return function show(stream, store) {
    const now = store.now(), {status} = store;
    arriving = status?.receivers.events_per_second > 0 ? arriving ?? now : null;
    const {level, text, why} = condition(stream, status, store.rows.size, now, arriving);
    attribute(document.documentElement, "data-level", level);
    write($("link-text"), text);
    $("banner").hidden = !why;
    write($("banner"), why ?? "");
    const last = status?.written_at;
    write($("age"), last ? `newest figures ${age(now - last) === "now" ? "now" : `${age(now - last)} ago`}${status.as_of && now - status.as_of > QUIET_MS ? `, as of ${moment(status.as_of, now)}` : ""}` : "");
    const receivers = status?.receivers;
    for (const [key, , per, hint] of FLOW) {
      const {value, rate, box} = cells.get(key);
      write(value, number(receivers?.[key]));
      write(rate, per && receivers?.[per] != null ? `${decimal(receivers[per])}/s` : "");
      const partly = receivers && receivers.answering < receivers.asked;
      attribute(box, "title", partly ? `Unknown: ${receivers.answering} of ${receivers.asked} receivers answer (see PHONON_RECEIVER_METRICS_URL)` : hint);
      attribute(box, "data-alarm", key === "spooled" && receivers?.spooled > 0 ? "" : null);
    }
    return level === "bad" ? text : "";
  };
}
