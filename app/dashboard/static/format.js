// How figures are written. Rule: pure; what is not known is a dash, never 0.

const whole = new Intl.NumberFormat();
const tenth = new Intl.NumberFormat(undefined, {minimumFractionDigits: 1, maximumFractionDigits: 1});
const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
const exact = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
const day = new Intl.DateTimeFormat(undefined, {day: "numeric", month: "short"});

const NONE = "–";

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

// Where a ratio of so few may as well lie: Wilson's 95 % interval, which no 0 of 4 makes narrow. "0 – 49 %"
export function between(ratio, n) {
  if (!(n > 0) || ratio == null) return null;
  const z2 = 1.96 ** 2, middle = (ratio + z2 / (2 * n)) / (1 + z2 / n);
  const half = (1.96 * Math.sqrt((ratio * (1 - ratio)) / n + z2 / (4 * n * n))) / (1 + z2 / n);
  const [low, high] = [middle - half, middle + half].map((part) => number(Math.round(Math.min(1, Math.max(0, part)) * 100)));
  return `${low} – ${high} %`;
}
