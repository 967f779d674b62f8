// Choosing the window. Rule: radio buttons, so that keyboard and screen reader know them; all switches say the same.

import {h} from "./dom.js";

export function createSwitch(name, onChoose) {
  const element = h("fieldset", {class: "switch"}, h("legend", {class: "vh"}, "Window"));
  let names = "", inputs = [];
  return {
    element,
    show(windows, chosen) {
      const now = windows.map((window) => window.name).join();
      if (now !== names) {
        names = now;
        inputs.forEach((input) => input.parentElement.remove());
        inputs = windows.map((window, i) => {
          const input = h("input", {type: "radio", name, value: i, "aria-keyshortcuts": i + 1});
          input.addEventListener("change", () => onChoose(i));
          element.append(h("label", {}, input, h("span", {}, window.name)));
          return input;
        });
      }
      if (inputs[chosen]) inputs[chosen].checked = true;
    },
  };
}
