/** The first screen: two prices, what stands beside them, the reason in a sentence, and what an hour pays for. */

import { show } from "./figures.js";
import { el } from "./views/parts.js";

const RUNNING = [
  ["ttft", "time to first token (TTFT)"], ["tpot", "time per output token (TPOT)"], ["throughput", "output tokens a second"],
  ["requests", "requests a second"], ["concurrency", "requests in flight"], ["batch", "decoding together (batch)"],
  ["utilisation", "busy share of paid time"], ["load", "load"], ["mfu", "share of peak FLOP/s (MFU)"], ["kv", "KV cache in use"],
];

const byId = (id) => document.getElementById(id);

/** Elements of the first screen, made once and then only filled. */
export function screen() {
  const big = byId("big");
  const token = (kind, name) => el("div", { class: `token ${kind}` }, el("p", { class: "kind", text: name }),
    el("p", { class: "amount" }), el("p", { class: "range" }));
  const parts = { input: token("input", "input tokens"), output: token("output", "output tokens") };
  const ratio = el("div", { class: "ratio" }, el("p", { class: "amount" }), el("p", { class: "kind", text: "output over input" }));
  const unit = el("p", { class: "unit-line" });
  big.append(parts.input, ratio, parts.output);
  const currency = el("p", { class: "unit-line" });
  big.after(unit, currency);
  const beside = shelf(byId("beside"));
  const running = shelf(byId("running").querySelector("dl"));
  const paid = receipt(byId("receipt"));
  return {
    /** Paint an answer. */
    paint(page) {
      const { figures } = page;
      byId("main").classList.remove("none");
      for (const kind of ["input", "output"]) {
        show(parts[kind].children[1], figures[kind]);
        write(parts[kind].children[2], figures[kind].range);
      }
      show(ratio.firstChild, figures.ratio);
      const dollars = figures.input.unit.startsWith("$");
      write(unit, dollars ? "US dollars per million tokens, low to high beneath" : "accelerator-seconds per million tokens; no rent is known for this machine, so set one to see dollars");
      write(currency, page.currency);
      beside(aside(figures));
      running(RUNNING.filter(([key]) => figures[key]).map(([key, name]) => [name, [figures[key]]]));
      reason(page.why_parts);
      paid(page.parts);
      write(byId("headline"), page.headline);
      write(byId("receipt-unit"), dollars ? "" : "in accelerator-seconds");
      write(byId("interval"), page.interval);
      assumed(page.assumed, page.warnings);
    },
    /** Say in words why there is no answer, with the nearest change as a button. */
    refuse(problem, change, apply) {
      const box = byId("problem");
      byId("price").classList.toggle("stale", Boolean(problem));
      box.hidden = !problem;
      if (!problem) {
        box.replaceChildren();
        return;
      }
      if (byId("main").classList.contains("none")) write(byId("headline"), "There is no price for these knobs.");
      if (box.firstChild?.textContent === problem.message) return; // said once
      box.replaceChildren(el("p", { text: problem.message }));
      if (change) box.append(el("button", { type: "button", class: "act", text: change.words, onclick: apply }));
    },
  };
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function aside(f) {
  const pair = (name, one, two, unit) => (f[one] && f[two] ? [[name, [f[one], f[two]], unit]] : []);
  return [
    ["cached input", [f.cached]],
    ...pair("energy a token", "input_joules", "output_joules", "J"),
    ...pair("CO2e a million", "input_grams", "output_grams", "g"),
    ...(f.request ? [["a request", [f.request]], ["a month", [f.month]]] : []),
  ];
}

/** A list of names with one figure or two; rebuilt only when its names change. */
function shelf(list) {
  let names = "";
  return (rows) => {
    const now = rows.map(([name]) => name).join("|");
    if (now !== names) {
      names = now;
      list.replaceChildren(...rows.map(([name, figures]) => el("div", {}, el("dt", { text: name }),
        el("dd", {}, ...figures.flatMap((_, i) => [i ? el("span", { class: "slash", text: " / " }) : null, el("span")])))));
    }
    rows.forEach(([, figures, unit], i) => {
      const cells = [...list.children[i].lastChild.children].filter((each) => !each.classList.contains("slash"));
      figures.forEach((figure, j) => show(cells[j], figure, { unit: j === figures.length - 1 ? unit : "" }));
    });
  };
}

/** Texts and figures in turn; what ends a clause stays on the line of its figure. */
function reason(pieces) {
  const root = byId("why");
  const count = pieces.filter((piece) => typeof piece !== "string").length;
  if (root.querySelectorAll(".joined").length !== count) {
    root.replaceChildren(...pieces.map((piece) => (typeof piece === "string" ? el("span")
      : el("span", { class: "joined" }, el("span"), el("span")))));
  }
  pieces.forEach((piece, i) => {
    const node = root.children[i];
    if (typeof piece !== "string") show(node.firstChild, piece);
    else write(node, i ? piece.slice(1) : piece);
    if (i && typeof piece === "string") write(root.children[i - 1].lastChild, piece[0]);
  });
}

/** The receipt: a row for each part, with its bar; parts keep their row while a slider moves. */
function receipt(root) {
  const body = el("tbody");
  const head = (text, cls = "") => el("th", { scope: "col", class: cls, text });
  const table = el("table", { class: "receipt" }, el("caption", { class: "unseen", text: "What an hour of the machine pays for, by part" }),
    el("thead", {}, el("tr", {}, head("part"), head("share of the bill", "bar-head"), head("input", "end"), head("output", "end"), head("all", "end"))), body);
  root.append(table, legend());
  const rows = new Map();
  return (parts) => {
    const most = Math.max(...parts.map((part) => part.share));
    const order = parts.map((part) => {
      if (!rows.has(part.part)) rows.set(part.part, row(part));
      fill(rows.get(part.part), part, most);
      return rows.get(part.part);
    });
    root.classList.toggle("has-idle", rows.has("idle") && order.includes(rows.get("idle")));
    if (order.length !== body.children.length || order.some((each, i) => body.children[i] !== each)) body.replaceChildren(...order);
  };
}

function legend() {
  const key = (cls, text) => el("span", { class: `key ${cls}` }, el("span", { class: "swatch", "aria-hidden": "true" }), text);
  return el("p", { class: "legend" }, key("input", "input"), key("output", "output"), key("idle", "idle"), el("span", { id: "receipt-unit" }));
}

function row(part) {
  const bar = el("div", { class: "bar", "aria-hidden": "true" }, el("span", { class: `in${part.part === "idle" ? " idle" : ""}` }), el("span", { class: "out" }));
  const made = el("tr", {}, el("th", { scope: "row", text: part.label }), el("td", { class: "bar-cell" }, bar, el("span", { class: "percent" })),
    ...["input", "output", "all"].map(() => el("td", { class: "end" }, el("span"))));
  return made;
}

function fill(made, part, most) {
  const [, bar, ...cells] = made.children;
  const whole = part.all.value || 1;
  const first = part.input ? part.input.value / whole : 1;
  const width = (share) => `${(100 * part.share * share) / most}%`;
  bar.firstChild.children[0].style.setProperty("width", width(first));
  bar.firstChild.children[1].style.setProperty("width", width(1 - first));
  show(bar.lastChild, part.percent);
  ["input", "output", "all"].forEach((kind, i) => part[kind] && show(cells[i].firstChild, part[kind]));
}

function assumed(list, warnings) {
  const root = byId("assumed");
  write(root.querySelector("h3"), `Assumed: ${list.length} things that were not given`);
  const box = root.querySelector("div");
  const text = [...warnings, ...list].join("\n");
  if (box.said === text) return;
  box.said = text;
  box.replaceChildren(...warnings.map((each) => el("p", { class: "warning", text: each })),
    el("ul", {}, ...list.map((each) => el("li", { text: each }))));
}
