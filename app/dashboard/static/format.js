// How figures are written. Rule: pure; what is not known is a dash, never 0.

const whole = new Intl.NumberFormat();
const tenth = new Intl.NumberFormat(undefined, {minimumFractionDigits: 1, maximumFractionDigits: 1});
const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
const exact = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
const day = new Intl.DateTimeFormat(undefined, {day: "numeric", month: "short"});

export const NONE = "–";

export const number = (n) => (n == null ? NONE : whole.format(n));
export const decimal = (n) => (n == null ? NONE : tenth.format(n));
export const percent = (r) => (r == null ? NONE : `${tenth.format(r * 100)} %`);
export const timeOfDay = (ms) => clock.format(ms);
export const moment = (ms, now) => (Math.abs(now - ms) > 72_000_000 ? `${day.format(ms)}, ${clock.format(ms)}` : exact.format(ms));

// 125230 ms is 2:05; from an hour on 1:02:05.
export function duration(ms) {
  if (ms == null) return NONE;
  const s = Math.round(ms / 1000);
  const two = (n) => String(n).padStart(2, "0");
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

export function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 2) return "now";
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return s < 172_800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86_400)} d`;
}

// Half the width of the 95 % interval of a ratio, in points: at 30 calls an answer rate is ±18.
export const margin = (ratio, n) => (n > 0 && ratio != null ? 1.96 * Math.sqrt(Math.max(ratio * (1 - ratio), 0.25 / (n + 4)) / n) * 100 : null);
