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
    show(value, own) {
      const [, given, name] = /^(?:([^x]*)x)?(.*)$/.exec(String(value ?? "")) ?? [];
      const known = catalog.accelerators.some((each) => each.name === String(value)) ? ["", String(value)] : [given ?? "", name ?? ""];
      names.dataset.effective = known[1];
      count = own ? known[0] : "";
      const chosen = own ? known[1] : "";
      if (![...names.options].some((option) => option.value === chosen)) names.append(el("option", { value: chosen, text: chosen }));
      names.options[0].textContent = own || !known[1] ? "auto: the cheapest that fits" : `auto: ${known[1]}`;
      if (names.value !== chosen) names.value = chosen;
      if (document.activeElement !== box) box.value = known[0];
      if (document.activeElement !== range) range.value = String(near(Number(known[0]) || 1));
      range.setAttribute("aria-valuetext", `${known[0] || "auto"} accelerators`);
    },
  };
}

function near(count) {
  const far = COUNTS.map((each) => Math.abs(Math.log(each / count)));
  return far.indexOf(Math.min(...far));
}
