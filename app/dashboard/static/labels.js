// Every figure of a window: its group, its name, how it is written. Rule: complete but for the histograms, which are for
// programs, and the menu, which is no number (a test holds it to the schema);
// what a figure means comes from the schema itself.

import {decimal, duration, number, percent} from "./format.js";

// of: the count that a ratio or an average stands on; of two, the first less the second.
export const GROUPS = [
  ["Calls", [
    ["attempts", "Calls", number], ["answered", "Answered", number],
    ["answer_seizure_ratio", "Answer rate", percent, "attempts"], ["network_effectiveness_ratio", "Network effectiveness", percent, ["attempts", "unknown_cause"]],
    ["talk_ms", "Talk time", duration], ["average_call_duration_ms", "Average duration", duration, "answered"],
    ["talk_p50_ms", "Median talk time", duration, "answered"], ["talk_p90_ms", "90 % talked up to", duration, "answered"], ["talk_p95_ms", "95 % talked up to", duration, "answered"],
    ["short_calls", "Short calls (under 10 s)", number], ["short_call_ratio", "Share of short calls", percent, "answered"],
    ["rung", "Calls that rang", number], ["ring_ms", "Ringing time", duration], ["average_ring_ms", "Average ringing", duration, "rung"],
    ["ring_p50_ms", "Median ringing", duration, "rung"], ["ring_p90_ms", "90 % rang up to", duration, "rung"], ["ring_p95_ms", "95 % rang up to", duration, "rung"],
  ]],
  ["Outcomes", [
    ["busy", "Busy", number], ["no_answer", "No answer", number], ["rejected", "Rejected", number], ["cancelled", "Cancelled", number],
    ["bad_number", "Bad number", number], ["unreachable", "Unreachable", number], ["congestion", "Congestion", number], ["unknown_cause", "Unknown", number],
  ]],
  ["Direction", [
    ["inbound_attempts", "Inbound", number], ["inbound_answered", "Inbound answered", number],
    ["outbound_attempts", "Outbound", number], ["outbound_answered", "Outbound answered", number],
  ]],
  ["Agents", [
    ["agent_attempts", "Calls to agents", number], ["agent_answered", "Answered by agents", number],
    ["agent_answer_ratio", "Agents' answer rate", percent, "agent_attempts"], ["agent_talk_ms", "Agents' talk time", duration],
    ["flows_to_agent", "Calls routed to an agent", number], ["flows_abandoned", "Abandoned", number],
    ["abandonment_ratio", "Abandonment", percent, "flows_to_agent"], ["served_in_time", "Agent within 20 s", number],
    ["service_level", "Service level", percent, "flows_to_agent"], ["time_to_agent_ms", "Waiting time", duration],
    ["agents_timed", "Calls with a known wait", number], ["average_time_to_agent_ms", "Average wait", duration, "agents_timed"],
    ["time_to_agent_p50_ms", "Median wait", duration, "agents_timed"], ["time_to_agent_p90_ms", "90 % waited up to", duration, "agents_timed"], ["time_to_agent_p95_ms", "95 % waited up to", duration, "agents_timed"],
  ]],
  ["People", [
    ["callers", "Distinct callers", number], ["repeat_callers", "Callers with more than one call", number],
    ["repeat_caller_ratio", "Called again", percent, "callers"], ["flows_traceable", "Answered calls whose caller is known", number],
    ["flows_contained", "Calls solved without an agent", number], ["containment_ratio", "Solved without an agent", percent, "flows_traceable"],
  ]],
  ["Voice menu", [
    ["flows_with_key", "Calls with a key pressed", number], ["flows_without_key", "Answered calls without a key", number],
    ["no_input_ratio", "No key pressed", percent, "flows_reached"], ["flows_dropped_off", "Calls that ended in the menu", number],
    ["drop_off_ratio", "Left in the menu", percent, "flows_with_key"], ["first_key_ms", "Time to first key", duration],
    ["first_keys_timed", "Calls with a timed first key", number], ["average_time_to_first_key_ms", "Average time to first key", duration, "first_keys_timed"],
    ["after_last_key_ms", "Time after last key", duration], ["last_keys_timed", "Calls with a timed last key", number],
    ["average_time_after_last_key_ms", "Average time after last key", duration, "last_keys_timed"],
  ]],
  ["Lines", [["peak_legs", "Most lines at once", number], ["mean_legs", "Lines on average (Erlangs)", decimal]]],
  ["Flows and messages", [
    ["flows", "Flows", number], ["flows_reached", "Flows that reached the visitor", number], ["dtmf_presses", "Keys pressed", number],
    ["sms", "SMS", number], ["emails", "E-mails", number], ["recordings", "Recordings", number],
  ]],
];

export const OUTCOMES = [["answered", "Answered"], ...GROUPS[1][1].map(([key, name]) => [key, name])];

export const PEOPLE = ["callers", "repeat_caller_ratio", "containment_ratio"];
export const VOICE_MENU = ["no_input_ratio", "drop_off_ratio", "average_time_to_first_key_ms", "average_time_after_last_key_ms"];
export const LINES = ["peak_legs", "mean_legs"];
export const HEADLINES = ["attempts", "answer_seizure_ratio", "average_call_duration_ms", "abandonment_ratio", "service_level", "average_time_to_agent_ms"];
export const FIGURES = new Map(GROUPS.flatMap(([, figures]) => figures.map(([key, name, text, of]) => [key, {name, text, of}])));
