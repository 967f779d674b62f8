// Which rows the list is about: DIDs or groups of them, and on how many calls the sorted figure must rest at least.
// Rule: a view's own two fields, `groups` and `least`; there is no switch where there are no groups.

import {$, h} from "./dom.js";

export function createPick(store, view, changed) {
  const kinds = h("fieldset", {class: "switch kinds"}, h("legend", {class: "vh"}, "Rows"));
  ["DIDs", "Groups"].forEach((name, groups) => {
    const input = h("input", {type: "radio", name: "kind"});
    input.checked = !groups;
    input.addEventListener("change", () => {
      view.groups = Boolean(groups);
      changed();
    });
    kinds.append(h("label", {}, input, h("span", {}, name)));
  });
  const least = h("input", {type: "number", min: 0, step: 1, inputmode: "numeric", placeholder: 0});
  least.addEventListener("input", () => {
    view.least = Math.max(0, Number(least.value) || 0);
    changed();
  });
  kinds.hidden = true;
  $("pick").replaceWith(kinds, h("label", {class: "check least", title: "Hide rows whose sorted figure is based on fewer calls"}, "At least", least, "calls"));

  // How many rows there are of the kind that is shown, and its name.
  return () => {
    let groups = 0;
    for (const row of store.rows.values()) groups += row.group;
    kinds.hidden = !groups && !view.groups;
    const all = view.groups ? groups : store.rows.size - groups;
    return {all, kind: view.groups ? (all === 1 ? "group" : "groups") : all === 1 ? "DID" : "DIDs"};
  };
}
