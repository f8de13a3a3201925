/** The machine: an accelerator from the list, and how many of them. */

import { el } from "./views/parts.js";

const COUNTS = [1, 2, 4, 8, 16, 32, 64];

/**
 * The control of the knob `on`.
 * @param {Object} knob
 * @param {Object} catalog
 * @param {Object} app
 */
export function machine(knob, catalog, app) {
  const names = el("select", { class: "box wide" }, el("option", { value: "", text: "auto: the cheapest that fits" }));
  for (const each of catalog.accelerators) names.append(el("option", { value: each.name, text: each.title }));
  const box = el("input", { type: "text", class: "box", inputmode: "numeric", "aria-label": "number of accelerators" });
  const range = el("input", { type: "range", min: 0, max: COUNTS.length - 1, step: 1, "aria-label": "number of accelerators, slider" });
  let count = "";
  const set = (moving) => app.set(knob.name, names.value ? `${count ? `${count}x` : ""}${names.value}` : null, { moving });
  names.addEventListener("change", () => set(false));
  box.addEventListener("focus", () => box.select());
  box.addEventListener("change", () => {
    count = box.value.trim().replace(/[,_]/g, "");
    set(false);
  });
  range.addEventListener("input", () => {
    count = String(COUNTS[Number(range.value)]);
    box.value = count;
    if (!names.value) names.value = names.dataset.effective ?? "";
    set(true);
  });
  range.addEventListener("change", () => app.letGo());
  const many = el("div", { class: "line" }, el("span", { class: "small", text: "accelerators" }), el("span", { class: "gap" }), box);
  return {
    main: names,
    rest: [names, many, range],
    show(value, own, effective) {
      const [many, name] = parted(value, catalog);
      const [chosen, found] = parted(effective, catalog); // where the answer is
      names.dataset.effective = found;
      count = own ? many : "";
      if (![...names.options].some((option) => option.value === (own ? name : ""))) names.append(el("option", { value: name, text: name }));
      names.options[0].textContent = own || !found ? "auto: the cheapest that fits" : `auto: ${found}`;
      if (names.value !== (own ? name : "")) names.value = own ? name : "";
      const shown = many || (name === found ? chosen : "");
      if (document.activeElement !== box) box.value = shown;
      if (document.activeElement !== range) range.value = String(near(Number(shown) || 1));
      range.setAttribute("aria-valuetext", `${shown || "auto"} accelerators`);
    },
  };
}

/** Count and name of such as `8xh100-sxm`; names may hold an x themselves. */
function parted(value, catalog) {
  const text = String(value ?? "");
  if (catalog.accelerators.some((each) => each.name === text)) return ["", text];
  const [, many = "", name = ""] = /^(?:([^x]*)x)?(.*)$/.exec(text);
  return [many, name];
}

function near(count) {
  const far = COUNTS.map((each) => Math.abs(Math.log(each / count)));
  return far.indexOf(Math.min(...far));
}
