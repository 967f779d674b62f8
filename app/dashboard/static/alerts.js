// Alerts on the page: a panel over the list, a count in the head, a DID's own. Rule: without any, nothing is to be seen;
// a row is made once and then only ticks; one row of a list is in the tab order, the arrows move on.

import {$, arrange, attribute, h, write} from "./dom.js";
import {about, began, lasted, newestFirst, sentence, spoken} from "./episodes.js";
import {number} from "./format.js";

const MOST_ROWS = 500;

// A list of episodes. link: whether each leads to its DID or group, which is said then.
function createEpisodes(store, name, {link}) {
  const list = h("ol", {class: "episodes"});
  const more = h("p", {class: "note", hidden: true});
  let rows = new Map(), shown = "";

  function row(one) {
    const length = h("span", {class: "length"});
    const parts = [
      h("b", {class: "rule"}, one.rule), link ? h("span", {class: "who"}, one.shown) : null, h("span", {class: "what"}, sentence(one)),
      h("span", {class: "window"}, one.window ?? ""), h("span", {class: "since"}, began(one, store.now())), length,
    ].filter(Boolean).flatMap((part) => [part, " "]);
    const line = link
      ? h("a", {class: "episode", href: `#/did/${encodeURIComponent(about(one))}`, tabindex: -1}, ...parts)
      : h("div", {class: "episode"}, ...parts);
    return {one, length, line, item: h("li", {"data-alert": one.id}, line)};
  }

  function tick() {
    const now = store.now();
    for (const {one, length} of rows.values()) write(length, lasted(one, now));
  }

  list.addEventListener("keydown", (event) => {
    const links = [...list.querySelectorAll("a")], at = links.indexOf(document.activeElement);
    const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1}[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    links[to]?.focus();
  });
  list.addEventListener("focusin", (event) => {
    for (const other of list.querySelectorAll("a[tabindex='0']")) other.tabIndex = -1;
    event.target.tabIndex = 0;
  });

  return {
    element: h("div", {class: "episodelist", role: "group", "aria-label": name, tabindex: link ? null : 0}, list, more),
    focus: () => list.querySelector("a")?.focus(),
    tick,
    show(episodes) {
      const order = episodes.slice(0, MOST_ROWS);
      const now = order.map((one) => one.id).join();
      if (now !== shown) {
        shown = now;
        const focused = list.contains(document.activeElement) ? document.activeElement.closest("li").dataset.alert : null;
        rows = new Map(order.map((one) => [one.id, rows.get(one.id)?.one === one ? rows.get(one.id) : row(one)]));
        arrange(list, [...rows.values()].map(({item}) => item));
        const first = rows.get(focused)?.line ?? list.querySelector("a");
        if (focused) first?.focus({preventScroll: true});
        else first?.setAttribute("tabindex", "0");
      }
      write(more, episodes.length > order.length ? `and ${number(episodes.length - order.length)} more` : "");
      more.hidden = episodes.length <= order.length;
      tick();
    },
  };
}

const plural = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;

export function createAlerts(store) {
  const firing = createEpisodes(store, "Firing alerts, newest first", {link: true});
  const over = createEpisodes(store, "Ended alerts, newest first", {link: true});
  $("firing").append(firing.element);
  $("over").append(over.element);
  $("over").addEventListener("toggle", () => draw());

  function draw() {
    const all = [...store.alerts.values()];
    const now = newestFirst(all.filter((one) => one.until == null), "since");
    const past = newestFirst(all.filter((one) => one.until != null), "until");
    attribute($("alerts"), "hidden", all.length ? null : "");
    $("firing").hidden = !now.length;
    $("over").hidden = !past.length;
    write($("firing-title"), `${plural(now.length, "alert")} firing`);
    write($("over-title"), `${now.length ? "" : "No alert firing · "}${number(past.length)} ended`);
    write($("alarm"), now.length ? `${plural(now.length, "alert")} firing` : "");
    $("alarm").hidden = !now.length;
    firing.show(now);
    over.show($("over").open ? past : []);
    return now.length;
  }

  return {
    draw,
    tick() {
      firing.tick();
      over.tick();
    },
    // Said once, for those who hear the page: what has begun since it was opened.
    say(begun) {
      if (begun.length) write($("news"), begun.length > 1 ? `${plural(begun.length, "new alert")}` : `New alert: ${spoken(begun[0])}`);
    },
    enter() {
      if ($("firing").hidden) $("over").open = true;
      else $("firing").open = true;
      draw();
      requestAnimationFrame(($("firing").hidden ? over : firing).focus);
    },
  };
}

// A DID's or a group's own alerts, as a card of its view.
export function createOwnAlerts(store) {
  const firing = createEpisodes(store, "Firing alerts", {link: false});
  const over = createEpisodes(store, "Ended alerts", {link: false});
  const overTitle = h("h3", {}, "Ended");
  const element = h("section", {class: "card alerts own", hidden: true}, h("h3", {class: "alarmed"}, "Alerts"), firing.element, overTitle, over.element);
  return {
    element,
    tick() {
      firing.tick();
      over.tick();
    },
    show(did) {
      const own = [...store.alerts.values()].filter((one) => about(one) === did);
      const now = own.filter((one) => one.until == null), past = own.filter((one) => one.until != null);
      element.hidden = !own.length;
      attribute(element, "data-firing", now.length ? "" : null);
      overTitle.hidden = !past.length;
      firing.show(newestFirst(now, "since"));
      over.show(newestFirst(past, "until"));
    },
  };
}
