// The page's composition root: stream -> store -> head, alerts, list, one DID. Rule: parts meet here and nowhere else.

import {createAlerts, createOwnAlerts} from "./alerts.js";
import {$, attribute, h, write} from "./dom.js";
import {ATTEMPTS, FEW, METRICS, ZERO, add} from "./figures.js";
import {number} from "./format.js";
import {createList} from "./list.js";
import {createOne} from "./one.js";
import {createPick} from "./pick.js";
import {createStatus} from "./status.js";
import {createStore} from "./store.js";
import {connect} from "./stream.js";
import {createSwitch} from "./switch.js";

const KEPT = "phonon-live";
const store = createStore();
const view = {window: 0, sort: {key: "calls", down: true}, query: "", active: false, ...kept()};
const list = createList(store, view, chosen);
const switches = [createSwitch("list-window", choose), createSwitch("did-window", choose), createSwitch("menu-window", choose)];
$("windows").replaceWith(switches[0].element);
const alerts = createAlerts(store);
const own = createOwnAlerts(store);
const one = createOne(store, view, {choices: switches.slice(1).map((one_) => one_.element), own});
const pick = createPick(store, view, chosen);
const status = createStatus();
const totals = METRICS.map((metric) => {
  const value = h("b"), of = h("span", {class: "n"});
  const box = h("div", {title: metric.hint, "data-total": metric.key}, h("dt", {}, metric.name), h("dd", {}, value, of));
  $("totals").append(box);
  return {metric, value, of, box};
});
let stream = "connecting", title = "Phonon live", firing = 0, trouble = "";

function kept() {
  try {
    const {window, sort, active} = JSON.parse(localStorage.getItem(KEPT)) ?? {};
    return {...(Number.isInteger(window) && {window}), ...(sort?.key && {sort}), ...(active && {active: true})};
  } catch {
    return {};
  }
}

// The view was changed by hand.
function chosen() {
  const {window, sort, active} = view;
  try {
    localStorage.setItem(KEPT, JSON.stringify({window, sort, active}));
  } catch { /* a browser that keeps nothing */ }
  list.draw({sort: true});
  one.redraw();
  requestAnimationFrame(summary);
}

function choose(window) {
  if (!store.windows[window]) return;
  view.window = window;
  windows();
  chosen();
}

function windows() {
  if (store.windows.length) view.window = Math.min(view.window, store.windows.length - 1); // a server that has just started has none
  switches.forEach((one_) => one_.show(store.windows, view.window));
}

// The figures of all shown DIDs together: counts add up, ratios are made from the sums.
function summary() {
  const sum = [...ZERO], order = list.order();
  for (const row of order) if (row.counts[view.window]) add(sum, row.counts[view.window]);
  for (const {metric, value, of, box} of totals) {
    write(value, metric.text(store.rows.size ? metric.value(sum) : null));
    const n = metric.of == null ? null : sum[metric.of];
    write(of, n == null ? (store.windows[view.window] ? `in ${store.windows[view.window].name}` : "") : n ? `of ${number(n)}` : "");
    attribute(box, "data-few", n != null && n < FEW ? "" : null);
  }
  const {all, kind} = pick(), shown = order.length;
  write($("count"), !all ? "" : `${shown === all ? "" : `${number(shown)} of `}${number(all)} ${kind}${view.groups && shown > 1 ? ": a call in two counts twice" : ""}`);
  attribute($("search"), "placeholder", `Search ${view.groups ? "groups" : "DIDs"}`);
  title = all ? `${number(sum[ATTEMPTS])} calls in ${store.windows[view.window]?.name ?? ""} · Phonon live` : "Phonon live";
  entitle();
  empty(all, shown);
}

function entitle() {
  const now = `${firing ? `(${number(firing)}) ` : ""}${trouble ? `${trouble} · Phonon live` : title}`;
  if (document.title !== now) document.title = now;
}

// How things stand; a title in the background says it too, in place of figures that stand still.
function stands() {
  if (stream === "resting") return; // what was heard last is not to be judged by the clock
  trouble = status(stream, store);
  entitle();
}

function told() {
  firing = alerts.draw();
  entitle();
  one.told();
}

// What a newcomer sees first, and what to do about it.
function empty(all, shown) {
  const receivers = store.status?.receivers;
  const looked = store.status?.loaded || store.status?.kafka.state === "no_topic";
  const why = shown || !looked ? "" : all ? "none" : receivers?.deliveries > 0 ? "worker" : "nothing";
  const what = view.groups ? "group" : "DID";
  const box = $("empty");
  $("dids").hidden = Boolean(why);
  box.hidden = !why;
  if (box.why === why + what) return;
  box.why = why + what;
  const code = (text) => h("code", {}, text);
  box.replaceChildren(...{
    "": [],
    none: [h("h2", {}, `No ${what} matches`), h("p", {}, `Change the search, lower “At least”, or untick “Only with calls”.`)],
    worker: [h("h2", {}, "Deliveries arrive, but no figures"), h("p", {}, "The receiver has accepted deliveries, but no metrics worker has written any figures. Is one running?"), h("p", {}, code("phonon-events metrics"))],
    nothing: [
      h("h2", {}, "No calls yet"),
      h("p", {}, "A DID appears here within a second of its first call. You need:"),
      h("ol", {}, h("li", {}, "the topics: ", code("phonon-events topics create")), h("li", {}, "a receiver, to which Phonon posts: ", code("phonon-events serve")), h("li", {}, "a metrics worker: ", code("phonon-events metrics"))),
      h("p", {}, "Just looking? ", code("phonon-events send --synthetic 300"), " sends made-up calls, and ", code("make run"), " starts everything with live traffic."),
    ],
  }[why]);
}

function didOf(hash) {
  try {
    return decodeURIComponent(/^#\/did\/(.+)$/.exec(hash)?.[1] ?? "");
  } catch {
    return ""; // no address of ours
  }
}

function route() {
  const did = didOf(location.hash);
  const was = !$("one").hidden;
  $("list").hidden = Boolean(did);
  $("one").hidden = !did;
  if (did) {
    one.open(did);
    scrollTo(0, 0);
  } else {
    one.close();
    if (was) list.restore();
    list.draw();
  }
}

connect({
  state(now) {
    stream = now;
    if (now === "connecting") store.status = null; // it was true, and says nothing of what comes
    stands();
  },
  snapshot(message) {
    store.snapshot(message);
    windows();
    told();
    list.draw({sort: true});
    requestAnimationFrame(summary);
    one.changed();
  },
  changes(rows) {
    store.changes(rows);
    if (rows.some(([did]) => one.shows(did))) one.changed();
    list.draw();
    if (!$("empty").hidden) requestAnimationFrame(summary);
  },
  alerts(episodes) {
    alerts.say(store.tell(episodes));
    told();
  },
  sample() {
    store.sample();
    list.draw();
    one.changed();
  },
  status(message) {
    store.status = message;
    store.offset = message.now - Date.now();
    stream = "open";
    stands();
  },
});

setInterval(() => {
  if (!$("list").hidden) {
    list.tick();
    alerts.tick();
    summary();
  }
  one.tick();
  stands();
}, 1_000);

$("search").addEventListener("input", (event) => {
  view.query = event.target.value;
  chosen();
});
$("search").addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    event.target.value = view.query = "";
    chosen();
  } else if (event.key === "ArrowDown" || event.key === "Enter") {
    event.preventDefault();
    requestAnimationFrame(list.enter);
  }
});
$("active").checked = view.active;
$("active").addEventListener("change", (event) => {
  view.active = event.target.checked;
  chosen();
});

// The list, now: of another hash alone the page hears only after the next frame, and then the list takes the focus back.
function toList() {
  location.hash = "#/";
  route();
}

function toAlerts() {
  toList();
  requestAnimationFrame(alerts.enter);
}

$("alarm").addEventListener("click", (event) => {
  event.preventDefault();
  toAlerts();
});
$("help").addEventListener("click", () => $("keys").showModal());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("dids").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=search], input[type=number]") || $("keys").open) return;
  if (event.key === "/") {
    event.preventDefault();
    toList();
    $("search").focus();
  } else if (event.key === "a" && store.alerts.size) {
    toAlerts();
  } else if (/^[1-9]$/.test(event.key)) {
    choose(Number(event.key) - 1);
  } else if (event.key === "Escape" && !$("one").hidden) {
    location.hash = "#/";
  } else if (event.key === "?") {
    $("keys").showModal();
  }
});
addEventListener("hashchange", route);
route();
stands();
