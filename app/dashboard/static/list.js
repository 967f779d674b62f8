// The table of DIDs. Rule: only the rows in view are elements; a cell is written only when its text is another one.
// A place in the table shows whatever DID stands there, so sorting moves text, not elements; the focus follows its DID.
// The table says its full length (aria-rowcount) and each row its place (aria-rowindex).

import {$, attribute, h, tint, untint, write} from "./dom.js";
import {ATTEMPTS, FEW, METRICS} from "./figures.js";
import {age, between, number} from "./format.js";
import {ordered, rise} from "./order.js";
import {HEIGHT, WIDTH, line} from "./spark.js";

const ROW = 38;
const SPARE = 6;
const SORT_EVERY_MS = 1_500;
const HOLD_MS = 4_000;
const FRESH_MS = 2_600;
const LEAST_POINTS = 12; // a line that has just begun does not fill the cell

const COLUMNS = [
  {key: "did", name: "DID", hint: "The number that was called, or called from", up: true},
  ...METRICS,
  {key: "trend", name: "Trend", hint: "Calls in the shortest window over the last minutes; sorts by increase"},
  {key: "updated", name: "Updated", hint: "Age of the figures"},
];

export function createList(store, view, changed) {
  const region = $("dids");
  const body = h("tbody");
  const above = h("tr"), below = h("tr");
  let kind = null; // the first column's head, which says what the rows are
  const heads = new Map(COLUMNS.map((column) => [column.key, head(column)]));
  const table = h("table", {"aria-rowcount": 1},
    h("caption", {class: "vh"}, "DIDs with their live figures"),
    h("thead", {}, h("tr", {"aria-rowindex": 1}, ...heads.values())),
    h("tbody", {class: "pad", "aria-hidden": "true"}, above), body, h("tbody", {class: "pad", "aria-hidden": "true"}, below));
  region.style.setProperty("--row", `${ROW}px`);
  region.append(table);

  let order = [], slots = [], first = 0, sortedAt = -1e9, heldAt = -1e9, focused = null, asked = 0;

  function head(column) {
    const name = h("span", {}, column.name);
    const button = h("button", {type: "button", title: column.hint}, name, h("span", {class: "arrow", "aria-hidden": "true"}));
    if (column.key === "did") kind = {name, button};
    button.addEventListener("click", () => {
      const {sort} = view;
      view.sort = {key: column.key, down: sort.key === column.key ? !sort.down : !column.up};
      changed();
    });
    return h("th", {scope: "col", class: column.key}, button);
  }

  function slot() {
    const link = h("a", {tabindex: -1});
    const cells = METRICS.map((metric) => {
      const value = h("span", {class: "v"}), of = h("span", {class: "n"});
      return {metric, value, of, td: h("td", {class: `${metric.key}${metric.meter ? " meter" : ""}`}, ...(metric.of == null ? [of, value] : [value, of]))};
    });
    const area = h("path", {class: "area"}), stroke = h("path", {class: "stroke"}), words = h("span", {class: "vh"});
    const svg = h("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true"}, area, stroke);
    const updated = h("td", {class: "updated"});
    const tr = h("tr", {}, h("th", {scope: "row"}, link), ...cells.map((cell) => cell.td), h("td", {class: "trend"}, svg, words), updated);
    return {tr, link, cells, area, stroke, words, updated, row: null, version: -1, window: -1, at: 0};
  }

  const holding = () => performance.now() - heldAt < HOLD_MS;

  function sortNow() {
    order = ordered(store.rows.values(), view);
    sortedAt = performance.now();
    attribute(table, "aria-rowcount", String(order.length + 1));
    write(kind.name, view.groups ? "Group" : COLUMNS[0].name);
    attribute(kind.button, "title", view.groups ? "Group of DIDs, from the PHONON_GROUPS file" : COLUMNS[0].hint);
    write(table.caption, `${view.groups ? "Groups" : "DIDs"} with their live figures`);
    for (const [key, th] of heads) attribute(th, "aria-sort", view.sort.key === key ? (view.sort.down ? "descending" : "ascending") : null);
  }

  // Called when something may look different; draws in the next frame, once.
  function draw({sort = false} = {}) {
    if (sort) sortedAt = -1e9;
    if (!asked) asked = requestAnimationFrame(frame);
  }

  function frame() {
    asked = 0;
    if ($("list").hidden) return;
    const due = performance.now() - sortedAt > SORT_EVERY_MS;
    if (sortedAt < 0 || !order.length || (due && !holding())) sortNow();
    const fit = Math.ceil(region.clientHeight / ROW) + 2 * SPARE;
    while (slots.length < Math.min(fit, order.length)) {
      slots.push(slot());
      body.append(slots.at(-1).tr);
    }
    while (slots.length > Math.min(fit, order.length)) slots.pop().tr.remove();
    const had = body.contains(document.activeElement);
    turn(Math.max(0, Math.min(Math.floor(region.scrollTop / ROW) - SPARE, order.length - slots.length)));
    pad(above, first);
    pad(below, order.length - first - slots.length);
    slots.forEach((place, i) => show(place, order[first + i], first + i));
    keepFocus(had);
  }

  // Scrolled by a few rows, only as many places show another one: those that left go to the other end.
  function turn(to) {
    const by = to - first;
    first = to;
    if (!by || Math.abs(by) >= slots.length) return;
    const moved = by > 0 ? slots.splice(0, by) : slots.splice(by);
    slots = by > 0 ? [...slots, ...moved] : [...moved, ...slots];
    body[by > 0 ? "append" : "prepend"](...moved.map((place) => place.tr));
  }

  function pad(tr, rows) {
    const height = `${rows * ROW}px`;
    if (tr.style.height !== height) tr.style.height = height;
  }

  function show(place, row, index) {
    const moved = place.row !== row;
    if (!moved && place.version === row.version && place.window === view.window) return;
    const fresh = performance.now() - row.at;
    const news = fresh < FRESH_MS && row.at !== place.at;
    if (moved) {
      place.row = row;
      attribute(place.link, "href", `#/did/${encodeURIComponent(row.did)}`);
      write(place.link, row.shown);
      attribute(place.link, "title", row.group ? row.shown : null); // it may be longer than the column
      place.tr.dataset.did = row.did;
      place.cells.forEach((cell) => untint(cell.td));
    }
    attribute(place.tr, "aria-rowindex", String(index + 2));
    attribute(place.tr, "data-quiet", row.counts[view.window]?.[ATTEMPTS] ? null : "");
    for (const cell of place.cells) figure(cell, row, fresh, moved || news);
    trend(place, row);
    write(place.updated, age(store.now() - row.asOf));
    place.version = row.version;
    place.window = view.window;
    place.at = row.at;
  }

  function figure(cell, row, age_, tinting) {
    const {metric, value, of, td} = cell;
    const counts = row.counts[view.window];
    const ratio = counts ? metric.value(counts) : null;
    const text = metric.text(ratio);
    write(value, text);
    if (metric.of == null) {
      write(of, age_ < FRESH_MS && row.grew > 0 ? `+${number(row.grew)}` : "");
    } else {
      const n = counts ? counts[metric.of] : 0;
      write(of, n ? number(n) : "");
      attribute(td, "data-few", n < FEW ? "" : null);
      attribute(td, "title", n && n < FEW && metric.text(0.5).endsWith("%") ? `Only ${n} ${metric.unit}: likely ${between(ratio, n)}` : n ? `Of ${number(n)} ${metric.unit}` : null);
      if (metric.meter) {
        const width = `${Math.round((ratio ?? 0) * 100)}%`;
        if (td.width !== width) td.style.setProperty("--part", (td.width = width));
      }
    }
    const was = row.was?.[view.window];
    if (tinting && age_ < FRESH_MS && (!was || metric.text(metric.value(was)) !== text)) tint(td, age_);
  }

  function trend(place, row) {
    const points = [...row.trend, row.counts[0]?.[ATTEMPTS] ?? -1];
    const span = Math.max(LEAST_POINTS, points.length);
    const path = line(points, WIDTH, HEIGHT, span);
    attribute(place.stroke, "d", path);
    attribute(place.area, "d", points.length > 1 && path && !points.includes(-1) ? `${path}V${HEIGHT}H${(WIDTH - (WIDTH / (span - 1)) * (points.length - 1)).toFixed(1)}Z` : "");
    const by = rise(row);
    write(place.words, by == null ? "" : by > 0 ? `up ${by}` : by < 0 ? `down ${-by}` : "steady");
  }

  // One row is in the tab order; the arrows move it. The focus follows its DID, or rests on the table.
  function keepFocus(had) {
    const at = slots.findIndex((place) => place.row?.did === focused);
    const tabbed = at < 0 ? Math.min(slots.length - 1, first ? SPARE : 0) : at;
    slots.forEach((place, i) => attribute(place.link, "tabindex", i === tabbed ? "0" : "-1"));
    if (!had || slots[at]?.link === document.activeElement) return;
    (slots[at]?.link ?? region).focus({preventScroll: true});
  }

  function go(index) {
    const to = Math.max(0, Math.min(order.length - 1, index));
    if (!order.length) return;
    const top = to * ROW, room = region.clientHeight - table.tHead.offsetHeight;
    if (top < region.scrollTop) region.scrollTop = top;
    else if (top + ROW > region.scrollTop + room) region.scrollTop = top + ROW - room;
    focused = order[to].did;
    heldAt = performance.now();
    frame();
    keepFocus(true);
  }

  function move(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("thead")) return;
    const at = focused == null ? -1 : order.findIndex((row) => row.did === focused);
    const page = Math.max(1, Math.floor(region.clientHeight / ROW) - 2);
    const to = {ArrowDown: at + 1, ArrowUp: at < 0 ? 0 : at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: order.length - 1}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  }

  region.addEventListener("scroll", () => draw(), {passive: true});
  region.addEventListener("keydown", move);
  body.addEventListener("focusin", (event) => (focused = event.target.closest("tr").dataset.did));
  body.addEventListener("pointermove", () => (heldAt = performance.now()), {passive: true});
  body.addEventListener("pointerleave", () => (heldAt = -1e9));
  new ResizeObserver(() => draw()).observe(region);

  return {
    draw,
    order: () => order,
    enter: () => go(0),
    // Once a second: ages go on although nothing came, and what was fresh is no longer.
    tick() {
      for (const place of slots) {
        if (!place.row) continue;
        write(place.updated, age(store.now() - place.row.asOf));
        if (performance.now() - place.row.at > FRESH_MS) write(place.cells[0].of, "");
      }
      if (performance.now() - sortedAt > SORT_EVERY_MS && !holding()) draw();
    },
    restore() {
      frame();
      const at = order.findIndex((row) => row.did === focused);
      if (at >= 0) go(at);
    },
  };
}
