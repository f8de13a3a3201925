/** The knobs: each a slider with a box, or a list; `auto` while it is not given, then it stands where the answer put it. */

import { attach } from "./figures.js";
import { machine } from "./machine.js";
import { el } from "./views/parts.js";

const STEPS = 200; // stops of a slider that has none of its own
const HEADS = { model: "Model", machine: "Machine", traffic: "Traffic", money: "Money" };
const HINTS = { rate: "$/accelerator-hour", cached: "share of the input", utilisation: "share of paid time", concurrency: "requests in flight" };
const ALONE = ["model", "on"]; // their group says what they are
const LISTS = { model: "models", dtype: "dtypes", kv_dtype: "dtypes", engine: "engines", trace: "traces" };
const UPLOADS = { model: ["your own config.json", ".json", () => "application/json"],
  trace: ["your own trace, CSV or JSONL", ".csv,.jsonl,.ndjson", (name) => (/\.csv$/i.test(name) ? "text/csv" : "application/x-ndjson")] };

/**
 * All knobs of the page.
 * @param {HTMLElement} form
 * @param {{groups: string[], knobs: Object[]}} table as GET /api/knobs answers
 * @param {Object} catalog as GET /api/catalog answers
 * @param {Object} app
 * @returns {{show: (effective: Object) => void}}
 */
export function knobs(form, table, catalog, app) {
  form.addEventListener("submit", (event) => event.preventDefault());
  const made = [];
  const group = (name, list) => el("fieldset", { class: "group" }, el("legend", { text: HEADS[name] ?? name }),
    ...list.map((knob) => {
      const one = build(knob, catalog, app);
      made.push(one);
      return one.root;
    }));
  const of = (name, main) => table.knobs.filter((knob) => knob.group === name && knob.main === main);
  const more = el("details", { class: "fold more" }, el("summary", {}, el("span", { text: "More knobs" })),
    ...table.groups.map((name) => group(name, of(name, false))));
  form.append(...table.groups.map((name) => group(name, of(name, true))), more);
  return {
    show(effective) {
      for (const one of made) one.show(app.knobs[one.knob.name], effective?.[one.knob.name]);
    },
  };
}

function build(knob, catalog, app) {
  const id = `${app.prefix ?? ""}knob-${knob.name}`;
  const info = el("button", { type: "button", class: "info", "aria-label": `About ${knob.label}`, "aria-expanded": "false", text: "?" });
  let now = ["", true]; // what it stands at, and whether it was given
  attach(info, () => about(knob, ...now));
  const auto = knob.name === "model" ? null : el("button", { type: "button", class: "auto", text: "auto",
    "aria-label": `${knob.label}: auto`, title: "Let pertoken choose", onclick: () => app.set(knob.name, null) });
  const control = knob.name === "on" ? machine(knob, catalog, app)
    : LISTS[knob.name] || knob.choices.length ? list(knob, catalog, app)
      : knob.slider ? slid(knob, app) : text(knob, app);
  const alone = ALONE.includes(knob.name);
  const label = el("label", { for: id, class: alone ? "unseen" : null }, knob.label,
    HINTS[knob.name] ? el("span", { class: "small", text: HINTS[knob.name] }) : null);
  const line = alone ? [label, control.main, info, auto] : [label, info, el("span", { class: "gap" }), control.box, auto];
  const root = el("div", { class: "knob", "data-knob": knob.name },
    el("div", { class: "line" }, ...line.filter(Boolean)), ...control.rest.filter((each) => !line.includes(each)));
  control.main.id = id;
  return {
    knob, root,
    show(given, effective) {
      const own = given !== undefined;
      now = [own ? given : effective ?? "", own];
      root.classList.toggle("is-auto", !own && knob.name !== "model");
      auto?.setAttribute("aria-pressed", String(!own));
      control.show(own ? given : effective, own, effective);
    },
  };
}

/** What a knob means and where it stands, in the box of a number. */
function about(knob, value, own) {
  const at = typeof value === "number" ? String(Number(value.toPrecision(4))) : value;
  const stands = at === "" ? "Not given." : own ? `Given: ${at}.` : `Not given: ${at} follows from the rest, or is listed under Assumed.`;
  const ends = knob.low !== null && knob.high !== null ? `From ${knob.low.toLocaleString("en-US")} to ${knob.high.toLocaleString("en-US")}${knob.unit ? ` ${knob.unit}` : ""}.` : "";
  return [el("p", { class: "of", text: knob.label }), el("p", { text: knob.doc }), el("p", { text: stands }),
    ends ? el("p", { text: ends }) : "", el("p", { class: "quiet" }, "In the command: ", el("code", { text: knob.flag }))];
}

function text(knob, app) {
  const box = el("input", { type: "text", class: "box wide", spellcheck: "false", placeholder: "auto" });
  const writes = writing(box);
  box.addEventListener("change", () => app.set(knob.name, box.value.trim() || null));
  return { main: box, rest: [box], show: (value, own) => writes() || put(box, own ? value : "") };
}

function list(knob, catalog, app) {
  const names = knob.choices.length ? knob.choices : catalog[LISTS[knob.name]];
  const box = el("select", { class: "box wide" });
  if (knob.name !== "model") box.append(el("option", { value: "", text: "auto" }));
  for (const each of names) box.append(el("option", { value: each.name ?? each, text: each.name ?? each }));
  box.addEventListener("change", () => app.set(knob.name, box.value || null));
  const rest = [box];
  if (UPLOADS[knob.name]) rest.push(own(knob, app));
  return {
    main: box, rest,
    show(value, isOwn) {
      if (box.options[0].value === "") box.options[0].textContent = value && !isOwn ? `auto (${value})` : "auto";
      const now = isOwn || knob.name === "model" ? String(value) : "";
      if (![...box.options].some((option) => option.value === now)) {
        box.append(el("option", { value: now, text: app.uploads[now] ?? now }));
      }
      put(box, now);
    },
  };
}

/** A file of the user's own: it goes to the server on this machine, and no further. */
function own(knob, app) {
  const [words, accept, kind] = UPLOADS[knob.name];
  const file = el("input", { type: "file", accept, id: `${app.prefix ?? ""}file-${knob.name}`, class: "unseen", tabindex: "-1" });
  const button = el("button", { type: "button", class: "link", text: `Use ${words}`, onclick: () => file.click() });
  file.setAttribute("aria-label", words);
  file.addEventListener("change", () => {
    if (file.files.length) app.upload(knob.name, file.files[0], kind(file.files[0].name));
    file.value = "";
  });
  return el("p", { class: "own" }, button, file);
}

function slid(knob, app) {
  const box = el("input", { type: "text", class: "box", inputmode: knob.kind === "text" ? "text" : "decimal", spellcheck: "false" });
  const { steps } = knob.slider;
  const range = el("input", { type: "range", min: 0, max: steps.length ? steps.length - 1 : STEPS, step: 1,
    "aria-label": `${knob.label}, slider` });
  let held = false; // the slider follows the hand, not the answer
  range.addEventListener("input", () => {
    held = true;
    const value = valueAt(knob, Number(range.value));
    put(box, written(knob, value));
    range.setAttribute("aria-valuetext", written(knob, value));
    app.set(knob.name, spelled(knob, value), { moving: true });
  });
  range.addEventListener("change", () => {
    held = false;
    app.letGo();
  });
  range.addEventListener("blur", () => { held = false; });
  box.addEventListener("focus", () => box.select());
  const writes = writing(box);
  box.addEventListener("change", () => app.set(knob.name, typed(knob, box.value.trim())));
  return {
    main: box, box, rest: [range],
    show(value, isOwn) {
      const number = numberOf(knob, value);
      const known = Number.isFinite(number);
      const said = known ? written(knob, number) : value === undefined || value === null ? "" : String(value);
      if (!writes() && (document.activeElement !== box || !isOwn || numberOf(knob, box.value) !== number)) put(box, said);
      box.placeholder = said ? "" : "auto";
      if (held) return;
      put(range, known ? positionOf(knob, number) : 0);
      range.setAttribute("aria-valuetext", `${said || "auto"}${isOwn ? "" : ", auto"}`);
    },
  };
}

/** Whether somebody is writing in a box: an answer to an earlier question must not overwrite it. */
function writing(box) {
  let dirty = false;
  box.addEventListener("input", () => { dirty = true; });
  for (const end of ["change", "blur"]) box.addEventListener(end, () => { dirty = false; });
  return () => dirty;
}

function put(box, value) {
  if (box.value !== String(value)) box.value = value;
}

function valueAt(knob, position) {
  const { low, high, scale, steps } = knob.slider;
  if (steps.length) return steps[position];
  const share = position / STEPS;
  const value = scale === "linear" ? low + (high - low) * share : low * (high / low) ** share;
  const whole = ["whole", "count"].includes(knob.kind) || ["token", "requests"].includes(knob.unit);
  return whole ? Math.round(Number(value.toPrecision(value < 1000 ? 3 : 2 + (value < 10000)))) : Number(value.toPrecision(3));
}

function positionOf(knob, value) {
  const { low, high, scale, steps } = knob.slider;
  if (steps.length) {
    const near = steps.map((step) => Math.abs(Math.log(step / value)));
    return near.indexOf(Math.min(...near));
  }
  const share = scale === "linear" ? (value - low) / (high - low) : Math.log(value / low) / Math.log(high / low);
  return Math.round(STEPS * Math.min(1, Math.max(0, share || 0)));
}

const UNITS = { ms: 1e-3, us: 1e-6, s: 1, min: 60, h: 3600, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12, k: 1e3, m: 1e6 };

/** A knob's value as a number; NaN where it is a text such as a distribution. */
function numberOf(knob, value) {
  if (typeof value === "number") return value;
  if (typeof value !== "string") return NaN;
  const bare = knob.slider.form.startsWith("rent:") ? value.replace(/^rent:/, "") : value;
  const found = /^\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)(?:\/s)?\s*$/i.exec(ungrouped(bare));
  if (!found) return NaN;
  return Number(found[1]) * (found[2] ? UNITS[found[2].toLowerCase()] ?? NaN : 1);
}

/** As a box shows it. */
function written(knob, value) {
  const short = (number) => String(Number(number.toPrecision(4)));
  if (knob.kind === "seconds") return value < 1 ? `${short(value * 1000)}ms` : `${short(value)}s`;
  if (knob.kind === "bytes") return `${short(value / 1e9)}GB`;
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  return short(value);
}

/** As the knob takes it. */
function spelled(knob, value) {
  if (knob.kind === "seconds" || knob.kind === "bytes") return written(knob, value);
  return knob.slider.form.replace("{}", String(value));
}

/** What was typed: a number in the knob's own form, anything else as it is. */
function typed(knob, value) {
  if (!value) return null;
  const bare = ungrouped(value);
  return /^[0-9]*\.?[0-9]+$/.test(bare) ? knob.slider.form.replace("{}", bare) : value;
}

/** Without the commas of thousands; those of a list stay. */
function ungrouped(text) {
  return text.replace(/^\s*\d{1,3}(?:[,_]\d{3})+(?![\d,_])/, (digits) => digits.replace(/[,_]/g, ""));
}
