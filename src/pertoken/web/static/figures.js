/** Numbers that say where they come from: hover, focus or tap one for its formula, inputs, basis and source. */

import { el } from "./views/parts.js";

const BASES = {
  measured: "measured", datasheet: "datasheet", listed: "listed", assumed: "assumed", derived: "derived", given: "given",
};
let open = null; // {button, box, pinned}
let later = 0;
let count = 0;

/**
 * Make an element show a figure; called again it follows the figure in place.
 * @param {HTMLElement} root
 * @param {Object} figure see pertoken.report.figures
 * @param {{unit?: string}} [how] `unit` is written after the number
 */
export function show(root, figure, how = {}) {
  let button = root.number;
  if (!button) {
    button = el("button", { type: "button", class: "number", "aria-expanded": "false" });
    root.number = button;
    root.replaceChildren(button);
    button.face = button.appendChild(el("span"));
    button.unit = button.appendChild(el("span", { class: "unit" }));
    attach(button, () => explained(button.figure));
  }
  button.figure = figure;
  write(button.face, figure.shown);
  write(button.unit, how.unit ? ` ${how.unit}` : "");
  const range = figure.range ? `, ${figure.range}` : "";
  const label = `${figure.label}: ${figure.shown}${how.unit ? ` ${how.unit}` : ""}${range}. How it is made`;
  if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
  if (open?.button === button) {
    fill(open.box, button.made());
    pin(false);
  }
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Let a button open a box beside it on hover, focus or tap; Escape closes it.
 * @param {HTMLButtonElement} button
 * @param {() => Node[]} made what the box holds
 */
export function attach(button, made) {
  button.made = made;
  button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && wait(() => reveal(button, false), 250));
  button.addEventListener("pointerleave", () => wait(() => !open?.pinned && shut(), 250));
  button.addEventListener("focus", () => button.matches(":focus-visible") && reveal(button, false));
  button.addEventListener("click", () => {
    clearTimeout(later);
    if (open?.button === button && open.pinned) shut();
    else reveal(button, true);
  });
}

function wait(act, ms) {
  clearTimeout(later);
  later = setTimeout(act, ms);
}

/** Only what was opened on purpose takes part in the order of the Tab key. */
function pin(pinned) {
  open.pinned ||= pinned;
  for (const each of [open.box, ...open.box.querySelectorAll("a")]) each.tabIndex = open.pinned ? 0 : -1;
}

function reveal(button, pinned) {
  if (open?.button === button) {
    pin(pinned);
    return;
  }
  shut();
  count += 1;
  const box = el("div", { class: "basis", id: `basis-${count}`, role: "group", "aria-label": "Where the number comes from" });
  box.addEventListener("pointerenter", () => clearTimeout(later));
  box.addEventListener("pointerleave", () => wait(() => !open?.pinned && shut(), 250));
  fill(box, button.made());
  button.after(box);
  button.setAttribute("aria-expanded", "true");
  button.setAttribute("aria-controls", box.id);
  open = { button, box, pinned };
  pin(pinned);
  place(button, box);
}

function fill(box, nodes) {
  box.replaceChildren(...nodes);
}

/** Below the number, or above where there is more room; never outside of the window. */
function place(button, box) {
  const at = button.getBoundingClientRect();
  const [wide, high] = [document.documentElement.clientWidth, window.innerHeight];
  const width = Math.min(420, wide - 24);
  box.style.setProperty("width", `${width}px`);
  box.style.setProperty("left", `${Math.max(12, Math.min(at.left, wide - width - 12))}px`);
  const below = high - at.bottom;
  const up = below < Math.min(320, box.scrollHeight + 16) && at.top > below;
  box.style.setProperty("max-height", `${Math.max(120, (up ? at.top : below) - 20)}px`);
  box.style.setProperty(up ? "bottom" : "top", `${up ? high - at.top + 6 : at.bottom + 6}px`);
}

/** Close the box that is open. */
export function shut() {
  clearTimeout(later);
  if (!open) return;
  open.box.remove();
  open.button.setAttribute("aria-expanded", "false");
  open.button.removeAttribute("aria-controls");
  open = null;
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !open) return;
  const inside = open.box.contains(document.activeElement);
  const { button } = open;
  shut();
  if (inside) button.focus();
});
document.addEventListener("pointerdown", (event) => {
  if (open && !open.box.contains(event.target) && !open.button.contains(event.target)) shut();
});
document.addEventListener("focusin", (event) => {
  if (open && !open.box.contains(event.target) && event.target !== open.button) shut();
});
window.addEventListener("scroll", (event) => open && event.target !== open.box && shut(), { capture: true, passive: true });

/**
 * What is behind a figure.
 * @param {Object} figure
 * @returns {Node[]}
 */
export function explained(figure) {
  const unit = figure.unit && !["1", "%"].includes(figure.unit) && !figure.unit.startsWith("$") ? ` ${figure.unit}` : "";
  const nodes = [el("p", { class: "of", text: figure.label }),
    el("p", { class: "is" }, el("strong", { text: `${figure.shown}${unit}` }), figure.range ? ` (${figure.range})` : "")];
  if (figure.formula) nodes.push(el("p", { class: "formula", text: `= ${figure.formula}` }));
  if (figure.inputs?.length) nodes.push(el("ul", { class: "inputs" }, ...figure.inputs.map(input)));
  if (figure.url) nodes.push(el("p", {}, source("source", figure.url)));
  nodes.push(el("p", { class: "quiet" }, "This number is ", tag(figure.basis), "."));
  return nodes;
}

function input(each) {
  const value = each.value === null ? "" : amount(each);
  const from = [each.formula ? `= ${each.formula}` : "", each.date].filter(Boolean).join("; ");
  return el("li", {},
    el("span", { class: "name", text: each.name }), el("span", { class: "value", text: value }), tag(each.basis),
    each.source || from
      ? el("span", { class: "from" }, each.source ? source(each.source, each.url) : "", each.source && from ? "; " : "", from)
      : null);
}

function amount(each) {
  const spelled = ["1", "%", "s", "byte", "byte/s", "FLOP/s", ""].includes(each.unit) || each.unit.startsWith("$");
  const many = ["accelerator", "request", "token", "sequence"].includes(each.unit) && each.value !== 1 ? "s" : "";
  return spelled ? each.shown : `${each.shown} ${each.unit}${many}`;
}

function tag(basis) {
  return el("span", { class: `tag ${BASES[basis] ?? "derived"}`, text: BASES[basis] ?? basis });
}

function source(text, url) {
  if (!/^https?:\/\//.test(url || "")) return el("span", { text });
  return el("a", { href: url, target: "_blank", rel: "noopener noreferrer", text });
}
