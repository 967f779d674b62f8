// The voice menu as a tree: what callers chose, how many went on, how many left there. Rule: places stand in the order of
// the telephone's keys and stay as long as any window has them, so that nothing moves while it updates.

import {arrange, attribute, h, write} from "./dom.js";
import {FEW} from "./figures.js";
import {number, percent} from "./format.js";

const ORDER = [..."1234567890*#", "data", "other", "key"];
const WORDS = {data: "typed a number", other: "another key", key: "a key"};
const SPOKEN = {"*": "star", "#": "hash"};
const MOST_PLACES = 100; // as many as a record has

const rank = (choice) => (ORDER.includes(choice) ? ORDER.indexOf(choice) : ORDER.length);
const above = (path) => path.slice(0, Math.max(0, path.lastIndexOf(">")));
const last = (path) => path.slice(path.lastIndexOf(">") + 1);
const compare = (a, b) => rank(last(a)) - rank(last(b)) || (a < b ? -1 : 1);

// Pure: place -> the places right below it, of all windows together; "" is the answered call. A record never has a place
// without the one above it.
export function tree(windows) {
  const below = new Map();
  for (const path of new Set(windows.flatMap((window) => window.menu.map((place) => place.path)))) {
    const place = above(path);
    below.set(place, [...(below.get(place) ?? []), path]);
  }
  for (const paths of below.values()) paths.sort(compare);
  return below;
}

// Pure: what a window has of a place: calls that came by, of how many in the place above, and that ended there.
export function counted(window) {
  const places = new Map(window.menu.map((place) => [place.path, place]));
  return (path) => ({flows: places.get(path)?.flows ?? 0, left: places.get(path)?.left ?? 0, of: above(path) ? places.get(above(path))?.flows ?? 0 : window.flows_with_key});
}

function createPlace(path) {
  const choice = last(path);
  const flows = h("b"), share = h("span"), left = h("span"), gone = h("span", {class: "gone"}), on = h("span", {class: "on"}, gone);
  const label = WORDS[choice] ?? h("kbd", SPOKEN[choice] ? {"aria-label": SPOKEN[choice], role: "img"} : {}, choice);
  const said = (text) => h("span", {class: "vh"}, text);
  const row = h("div", {class: "place"},
    h("span", {class: "choice"}, WORDS[choice] ? null : said("Key "), label, said(": ")), h("span", {class: "track", "aria-hidden": "true"}, on),
    h("span", {}, flows, said(" calls, ")), h("span", {}, share, said(" of the previous step, ")), h("span", {}, left, said(" left here")));
  const list = h("ul", {role: "list", hidden: true});
  return {
    item: h("li", {"data-path": path}, row, list),
    list,
    show(count) {
      write(flows, number(count.flows));
      write(share, percent(count.of ? count.flows / count.of : null));
      attribute(share, "data-few", count.of < FEW ? "" : null);
      write(left, number(count.left));
      attribute(row, "data-quiet", count.flows ? null : "");
      on.style.width = `${count.of ? Math.min(1, count.flows / count.of) * 100 : 0}%`;
      gone.style.width = `${count.flows ? (count.left / count.flows) * 100 : 0}%`;
    },
  };
}

export function createMenu(choice) {
  const note = h("p", {class: "note"}), list = h("ul", {role: "list"});
  const head = h("div", {class: "place head", "aria-hidden": "true"}, ...["Key", "", "Calls", "Share"].map((name) => h("span", {}, name)), h("span", {}, h("span", {class: "swatch busy"}), "Left"));
  const box = h("div", {class: "places", role: "group", tabindex: 0, "aria-label": "What callers chose, key by key"}, head, list);
  const places = new Map();

  function lay(into, path, below, count) {
    const paths = below.get(path) ?? [];
    for (const one of paths) {
      if (!places.has(one)) places.set(one, createPlace(one));
      places.get(one).show(count(one));
      lay(places.get(one).list, one, below, count);
    }
    arrange(into, paths.map((one) => places.get(one).item));
    into.hidden = !paths.length;
  }

  return {
    element: h("section", {class: "menu"}, h("div", {class: "cardhead"}, h("h3", {}, "What callers chose"), choice), note, box),
    show(windows, w) {
      const below = tree(windows), window = windows[w];
      lay(list, "", below, counted(window));
      box.hidden = !below.size;
      const full = window.menu.length >= MOST_PLACES ? ` Only the ${MOST_PLACES} most used places are shown.` : "";
      write(note, below.size
        ? `${number(window.flows_with_key)} calls with a key in ${window.name}. Share: of the calls at the previous step. Left: calls that ended there without an agent.${full}`
        : "No caller has chosen anything yet.");
    },
  };
}
