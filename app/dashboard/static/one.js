// A DID's own view. Rule: the frame is made once, then only texts change; the figures are the record's own, as written.
// The list's stream says that this DID changed; what it has become is asked for, at most once a second.

import {$, attribute, h, tint, write} from "./dom.js";
import {FEW} from "./figures.js";
import {createChart} from "./chart.js";
import {age, between, duration, moment, number, percent} from "./format.js";
import {FIGURES, GROUPS, HEADLINES, LINES, OUTCOMES, PEOPLE, VOICE_MENU} from "./labels.js";
import {createMenu} from "./menu.js";
import {hasLines, inWords, ofCallers, ofLines, told} from "./told.js";

const EVERY_MS = 1_000;
const over = (a, b) => (a == null || b == null ? null : b ? a / b : null);

const CHARTS = [
  ["Calls", number, "count", (w) => w.attempts],
  ["Answer rate", percent, "ratio", (w) => w.answered.map((n, i) => over(n, w.attempts[i]))],
  ["Average duration", duration, "time", (w) => w.talk_ms.map((n, i) => over(n, w.answered[i]))],
  ["Abandoned", percent, "ratio", (w) => w.flows_abandoned.map((n, i) => over(n, w.flows_to_agent[i]))],
  ["Service level", percent, "ratio", (w) => w.served_in_time.map((n, i) => over(n, w.flows_to_agent[i]))],
];
const NOW = [(w) => w.attempts, (w) => w.answer_seizure_ratio, (w) => w.average_call_duration_ms, (w) => w.abandonment_ratio, (w) => w.service_level];

export function createOne(store, view, {choices, own}) {
  const root = $("one"), none = h("p", {class: "note"});
  let did = null, parts = null, asked = 0, timer = 0, record = null;

  async function ask() {
    timer = 0;
    const wanted = did;
    asked = performance.now();
    let reply = null;
    try {
      reply = await fetch(`dids/${encodeURIComponent(wanted)}`);
    } catch {
      return; // the head of the page says that the server is away
    }
    if (did !== wanted) return;
    if (reply.status === 404) return missing();
    if (reply.ok) show(await reply.json());
  }

  const soon = () => {
    if (did != null && !timer) timer = setTimeout(ask, Math.max(0, asked + EVERY_MS - performance.now()));
  };

  function missing() {
    write(none, store.status?.loaded ? `There are no figures for this ${store.rows.get(did)?.group || did.includes("/") ? "group" : "DID"}: no call in the last ${store.windows.at(-1)?.name ?? "day"}.` : "Loading the figures …");
    if (none.isConnected) return; // asked again and again, it takes the focus from nobody
    parts = null;
    put(back(), h("h2", {tabindex: -1}, did), own.element, none);
  }

  const back = () => h("p", {class: "back"}, h("a", {href: "#/"}, "← All DIDs"));

  function put(...children) {
    const focus = root.contains(document.activeElement) || document.activeElement === document.body;
    root.replaceChildren(...children);
    if (focus) root.querySelector("h2").focus({preventScroll: true});
  }

  function show(fresh) {
    if (did !== fresh.did) return;
    const names = [...fresh.windows.map((window) => window.name), hasLines(fresh)].join();
    if (parts?.names !== names) {
      parts = build(fresh);
      parts.names = names;
      put(...parts.all);
    }
    record = fresh;
    const first = !parts.filled;
    parts.filled = true;
    for (const update of parts.updates) update(fresh, first);
  }

  function build(one) {
    const updates = [];
    const windows = one.windows.map((window) => window.name);

    const cell = (key, w, tag = "td") => {
      const {text, of} = FIGURES.get(key);
      const value = h("span", {class: "v"}), n = of ? h("span", {class: "n"}) : null;
      const td = h(tag, {"data-figure": key, "data-window": windows[w]}, value, n);
      updates.push((now, first) => {
        const figures = now.windows[w], count = of ? [of].flat().map((name) => figures[name]).reduce((all, less) => all - less) : null;
        const changed = write(value, text(told(figures, key)));
        if (of) {
          write(n, count ? `of ${number(count)}` : "");
          attribute(td, "data-few", count < FEW ? "" : null);
          const range = text === percent ? between(figures[key], count) : null;
          attribute(td, "title", range && (count < FEW ? `Only ${number(count)}: likely ${range}` : `Likely ${range}`));
        }
        if (changed && !first) tint(td);
      });
      return td;
    };

    const table = (caption, keys, extra = null) => h("table", {class: "figures"},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, h("td"), ...windows.map((name) => h("th", {scope: "col"}, name)), extra && h("th", {scope: "col"}, extra))),
      h("tbody", {}, ...keys.map((key) => h("tr", {}, h("th", {scope: "row"}, FIGURES.get(key).name), ...windows.map((_, w) => cell(key, w)), extra && h("td", {class: "meaning"}, inWords(one.meanings[key] ?? ""))))));

    const asOf = h("p", {class: "asof"});
    updates.push((now) => {
      asOf.record = now;
      ages();
    });

    const bars = windows.map((name, w) => {
      const parts_ = OUTCOMES.map(([key, label]) => ({key, label, part: h("span", {class: `part ${key}`})}));
      const bar = h("div", {class: "bar", role: "img"}, ...parts_.map((one_) => one_.part));
      updates.push((now) => {
        const figures = now.windows[w];
        for (const {key, label, part} of parts_) {
          const grow = String(figures[key]);
          if (part.style.flexGrow !== grow) part.style.flexGrow = grow;
          part.hidden = !figures[key];
          attribute(part, "title", `${label}: ${number(figures[key])} of ${number(figures.attempts)}`);
        }
        attribute(bar, "aria-label", `Outcomes of ${number(figures.attempts)} calls in ${name}: ${parts_.filter(({key}) => figures[key]).map(({key, label}) => `${label} ${number(figures[key])}`).join(", ") || "none"}`);
      });
      return h("div", {class: "barline"}, h("span", {}, name), bar);
    });

    const outcomes = h("table", {class: "figures"},
      h("caption", {}, "Outcomes of calls"),
      h("thead", {}, h("tr", {}, h("td"), ...windows.map((name) => h("th", {scope: "col"}, name)))),
      h("tbody", {}, ...OUTCOMES.map(([key, label]) => h("tr", {}, h("th", {scope: "row"}, h("span", {class: `swatch ${key}`, "aria-hidden": "true"}), label), ...windows.map((_, w) => cell(key, w))))));

    const charts = CHARTS.map(([name, text, kind, of], i) => {
      const chart = createChart(name, text, kind);
      updates.push((now) => {
        const w = Math.min(view.window, now.windows.length - 1), past = now.history.windows[w];
        chart.show([...now.history.times, store.now()], [...(past ? of(past) : []), NOW[i](now.windows[w])]);
      });
      return chart.figure;
    });
    const since = h("p", {class: "note"});
    updates.push((now) => write(since, `Rolling ${now.windows[Math.min(view.window, now.windows.length - 1)].name}, since this page's server started at ${moment(now.started_at, store.now())}.`));

    const noted = (text) => {
      const note = h("p", {class: "note"});
      updates.push((now) => write(note, text(now)));
      return note;
    };

    const lines = hasLines(one), menu = createMenu(choices[1]);
    updates.push((now) => menu.show(now.windows, Math.min(view.window, now.windows.length - 1)));

    const ages = () => {
      if (asOf.record) write(asOf, `as of ${moment(asOf.record.as_of, store.now())}, ${age(store.now() - asOf.record.written_at) === "now" ? "changed now" : `changed ${age(store.now() - asOf.record.written_at)} ago`}`);
    };

    return {
      updates,
      ages,
      all: [
        back(),
        h("header", {class: "onehead"}, h("h2", {tabindex: -1}, one.shown), asOf),
        own.element,
        h("div", {class: "cards"},
          h("div", {class: "column"},
            h("section", {class: "card"}, table("Now", HEADLINES)),
            h("section", {class: "card"}, table("Inbound and outbound", GROUPS[2][1].map(([key]) => key)))),
          h("div", {class: "column"},
            h("section", {class: "card"}, outcomes, h("div", {class: "bars"}, ...bars))),
          h("div", {class: "column"},
            h("section", {class: "card"}, table("People", PEOPLE), noted(ofCallers)),
            lines ? h("section", {class: "card"}, table("Lines", LINES), noted((now) => ofLines(now, store.now()))) : null,
            h("section", {class: "card"}, table("Agents", ["agent_attempts", "agent_answered", "agent_answer_ratio", "agent_talk_ms", "average_time_to_agent_ms", "served_in_time"]))),
          h("div", {class: "column"},
            h("section", {class: "card"}, table("Voice menu", VOICE_MENU), menu.element)),
          h("section", {class: "card wide"}, h("div", {class: "cardhead"}, h("h3", {}, "History"), since, choices[0]), h("div", {class: "charts"}, ...charts)),
          h("section", {class: "card wide"}, h("details", {}, h("summary", {}, "All figures and what they mean"), ...GROUPS.filter(([name]) => lines || name !== "Lines").map(([name, figures]) => table(name, figures.map(([key]) => key), "Meaning"))))),
      ],
    };
  }

  return {
    open(wanted) {
      if (did === wanted) return;
      did = wanted;
      parts = record = null;
      asked = -1e9;
      root.replaceChildren(back(), h("h2", {tabindex: -1}, store.rows.get(did)?.shown ?? did), own.element);
      own.show(did);
      root.querySelector("h2").focus({preventScroll: true});
      clearTimeout(timer);
      timer = 0;
      soon();
    },
    close() {
      did = null;
      clearTimeout(timer);
      timer = 0;
    },
    changed: soon,
    told: () => did != null && own.show(did),
    shows: (other) => did === other,
    redraw: () => record && parts && show(record),
    tick() {
      parts?.ages();
      if (did != null) own.tick();
    },
  };
}
