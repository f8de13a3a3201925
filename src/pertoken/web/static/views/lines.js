/** Commands that reproduce what is shown, parts that wait, and charts and tables of an answer. */

import { el, failed } from "./parts.js";

/**
 * A command to copy, uploads by their own names.
 * @param {Object} app
 * @param {string} text
 */
export function command(app, text) {
  let said = text;
  for (const [id, name] of Object.entries(app.uploads)) said = said.replaceAll(id, /^[\w.-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`);
  const copy = el("button", {
    type: "button", class: "link", text: "Copy", "aria-label": `Copy the command ${said}`,
    onclick: async () => {
      try {
        await navigator.clipboard.writeText(said);
        app.announce("Copied");
        copy.textContent = "Copied";
        setTimeout(() => { copy.textContent = "Copy"; }, 1500);
      } catch {
        app.toast(said, "Copy this");
      }
    },
  });
  return el("p", { class: "command" }, el("code", { text: `$ ${said}`, tabindex: "0", role: "region", "aria-label": "Command that says the same" }), copy);
}

/**
 * Show that a part waits, once that takes a moment; what stood there stays, paler.
 * @param {HTMLElement} root
 * @param {string} [said]
 * @returns {(problem?: string) => void} ends it; a problem is said in the part's place
 */
export function waits(root, said = "Computing.") {
  root.setAttribute("aria-busy", "true");
  const later = setTimeout(() => {
    if (!root.childElementCount) root.append(el("p", { class: "quiet waiting", role: "status", text: said }));
  }, 150);
  return (problem) => {
    clearTimeout(later);
    root.removeAttribute("aria-busy");
    root.querySelector(":scope > .waiting")?.remove();
    if (problem) root.replaceChildren(failed(problem));
  };
}

/**
 * Tables in an element, in place of those before.
 * @param {Object} app
 * @param {HTMLElement} root
 * @param {Object[]} tables
 */
export function tables(app, root, list) {
  root.replaceChildren();
  for (const each of list) app.table(root.appendChild(el("div")), each);
}

/**
 * Charts in an element; those that stand there follow.
 * @param {Object} app
 * @param {HTMLElement} root
 * @param {{name: string, options: Object}[]} list
 */
export function charts(app, root, list) {
  while (root.children.length > list.length) root.lastChild.remove();
  list.forEach((each, i) => {
    if (!root.children[i]) root.append(el("div"));
    app.chart(root.children[i], each.name, { options: each.options });
  });
}

/**
 * Buttons that save what a command would write.
 * @param {Object} app
 * @param {string} what
 * @param {string[]} forms
 * @param {() => Object} body more of the request: options, or other knobs
 */
export function saves(app, what, forms, body) {
  return el("p", { class: "saves", role: "group", "aria-label": `Save ${what}` }, ...forms.map((form) => el("button", {
    type: "button", class: "link", text: form.toUpperCase(), "aria-label": `Save ${what} as ${form.toUpperCase()}`,
    onclick: () => app.save({ what, form, knobs: app.knobs, ...body() }),
  })));
}
