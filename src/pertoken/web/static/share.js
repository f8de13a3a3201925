/** What is taken along: a link, the same question as Python or as a command, files; and the page's colours. */

import { refusal } from "./asking.js";
import { el } from "./views/parts.js";

const SAVES = [ // what a command would write: [what, form, words]
  ["price", "json", "JSON"], ["price", "csv", "CSV"], ["price", "md", "Markdown"], ["price", "html", "HTML"],
  ["price", "toml", "Scenario, TOML"], ["chart", "svg", "Receipt, SVG"], ["chart", "png", "Receipt, PNG"],
  ["explain", "bib", "References, BibTeX"],
];
const NUMBERS = ["whole", "number"];

/**
 * Buttons at the top.
 * @param {HTMLElement} root
 * @param {Object} app
 */
export function tools(root, app) {
  const copies = [["link", "Link", () => location.href], ["python", "Python", () => python(app)], ["command", "Command", () => command(app)]];
  root.append(
    menu("Copy", copies.map(([id, label, text]) => item(`copy-${id}`, label, () => copy(text(), app)))),
    menu("Save", SAVES.map(([what, form, words]) => item(`save-${form}`, words, () => app.save(
      { what, form, knobs: app.knobs, ...(what === "chart" ? { chart: "receipt" } : {}) },
    )))),
    theme(app),
  );
}

function item(id, text, act) {
  return el("button", { type: "button", id, text, onclick: act });
}

function menu(label, items) {
  const list = el("div", { class: "list", role: "group", "aria-label": label, hidden: true }, ...items);
  const button = el("button", { type: "button", "aria-expanded": "false", text: label });
  const set = (open) => {
    list.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => set(list.hidden));
  const root = el("div", { class: "menu" }, button, list);
  list.addEventListener("click", () => {
    set(false);
    button.focus();
  });
  root.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || list.hidden) return;
    set(false);
    button.focus();
  });
  document.addEventListener("pointerdown", (event) => !root.contains(event.target) && set(false));
  root.addEventListener("focusout", (event) => event.relatedTarget && !root.contains(event.relatedTarget) && set(false));
  return root;
}

function theme(app) {
  const button = el("button", { type: "button", id: "theme" });
  const dark = () => (document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const name = () => { button.textContent = dark() ? "Light" : "Dark"; button.setAttribute("aria-label", `${button.textContent} colours`); };
  button.addEventListener("click", () => {
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("pertoken-theme", next);
    } catch { /* not remembered */ }
    name();
    app.announce(`${next} colours`);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();
  return button;
}

async function copy(text, app) {
  try {
    await navigator.clipboard.writeText(text);
    app.toast(text, "Copied");
  } catch {
    app.toast(text, "Copy this");
  }
}

/** Knobs as given, an uploaded file by its own name. */
function given(app) {
  return app.listing.knobs.filter((knob) => knob.name in app.knobs).map((knob) => {
    const value = app.knobs[knob.name];
    return [knob, app.uploads[value] ?? value];
  });
}

/**
 * The same question in Python.
 * @param {Object} app
 */
export function python(app) {
  const said = given(app).map(([knob, value]) => {
    const plain = NUMBERS.includes(knob.kind) && /^[0-9]+(\.[0-9]+)?$/.test(value);
    const written = plain ? String(Number(value)) : JSON.stringify(value);
    return knob.name === "model" ? written : `${knob.name}=${written}`;
  });
  return `import pertoken as pt\ncost = pt.price(${said.join(", ")})\n`;
}

/**
 * The same question as a command.
 * @param {Object} app
 */
export function command(app) {
  const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) && !text.startsWith("-") ? text : `'${text.replace(/'/g, "'\\''")}'`);
  const said = given(app).map(([knob, value]) => (knob.name === "model" ? quoted(value) : `${knob.flag} ${quoted(value)}`));
  return `pertoken price ${said.join(" ")}`;
}

/**
 * Ask for a file and give it to the browser to save.
 * @param {Object} body of POST /api/export
 */
export async function save(body) {
  const answer = await fetch("/api/export", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (!answer.ok) throw await refusal(answer);
  const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? `pertoken.${body.form}`;
  const address = URL.createObjectURL(await answer.blob());
  const link = el("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  return name;
}
