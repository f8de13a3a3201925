/** Why: roofline, receipt by operation, the tree behind the price, and what would change it. */

import { el, failed, sentences, sources, tree } from "./parts.js";

export const title = "Why";

const NARROW = 600; // pixels
let built = null;

/**
 * Make the view.
 * @param {HTMLElement} element
 * @param {Object} app
 */
export function mount(element, app) {
  built = {
    said: el("div"),
    charts: el("div", { class: "charts" }),
    receipt: el("div"),
    tree: fold(app, "The tree behind the price", "tree", showTree),
    whatIf: fold(app, "What if", "what-if", showWhatIf),
  };
  element.append(built.said, built.charts, built.receipt, built.tree.whole, built.whatIf.whole);
  return refresh(app);
}

/**
 * Follow the knobs.
 * @param {Object} page
 * @param {Object} app
 */
export function update(page, app) {
  if (built) refresh(app);
}

/** Let go. */
export function unmount() {
  built = null;
}

async function refresh(app) {
  const mine = built;
  for (const part of [mine.tree, mine.whatIf]) part.stale();
  try {
    const found = await app.post("/api/view/why", { knobs: app.knobs, options: { part: "summary" } });
    if (!found || mine !== built) return;
    mine.said.replaceChildren(sentences(found.sentences));
    mine.receipt.replaceChildren();
    for (const each of found.tables) app.table(mine.receipt.appendChild(el("div")), each);
    if (mine.charts.children.length) return; // they follow by themselves
    for (const name of found.charts) app.chart(mine.charts.appendChild(el("div")), name, fitting(name, mine.charts.clientWidth));
  } catch (problem) {
    if (mine !== built) return;
    mine.said.replaceChildren(failed(problem.message));
    for (const part of [mine.charts, mine.receipt]) part.replaceChildren();
  }
}

/** Names of dots are placed for the width that there is. */
function fitting(name, width) {
  return name === "roofline" && width < NARROW ? { options: { width: Math.max(200, width - 60) } } : {};
}

/** A part that is asked for when it is opened, and again when the knobs have moved since. */
function fold(app, name, part, show) {
  const inside = el("div", { class: "inside" });
  const whole = el("details", { class: `fold ${part}` }, el("summary", {}, el("h3", { text: name })), inside);
  let fresh = false;
  const ask = async () => {
    if (!whole.open || fresh) return;
    fresh = true;
    inside.setAttribute("aria-busy", "true");
    try {
      const found = await app.post("/api/view/why", { knobs: app.knobs, options: { part } });
      if (found) inside.replaceChildren(sentences(found.sentences), show(app, found));
    } catch (problem) {
      fresh = false;
      inside.replaceChildren(failed(problem.message));
    }
    inside.removeAttribute("aria-busy");
  };
  whole.addEventListener("toggle", ask);
  return { whole, stale: () => { fresh = false; ask(); } };
}

const kept = new Set(); // branches that are open

function showTree(app, found) {
  return tree(found.tree, "What a request pays for, branch by branch", row, branches, kept);
}

function branches(node) {
  const quantities = node.facts && node.facts.length
    ? [{ name: "quantities behind it", facts: [], leaves: node.facts, children: [] }]
    : [];
  return [...(node.children || []), ...quantities, ...(node.leaves || [])];
}

function row(node) {
  const quantity = node.share === undefined;
  const made = [
    el("span", { class: "name", text: node.name }),
    el("span", { class: "amount", text: quantity ? node.shown || "" : node.shown }),
    el("span", { class: "share", text: quantity ? "" : node.share }),
  ];
  if (!quantity) made[2].style.setProperty("--part", node.share);
  if (node.formula || (node.sources && node.sources.length)) {
    const formula = node.formula ? el("span", { class: "formula", text: `= ${node.formula}` }) : null;
    made.push(el("span", { class: "from" }, formula, sources(node.sources || [])));
  }
  return made;
}

function showWhatIf(app, found) {
  const made = el("div");
  for (const each of found.tables) app.table(made.appendChild(el("div")), each);
  made.append(el("h4", { text: "What each takes for given" }), el("dl", { class: "notes" },
    ...found.notes.flatMap((each) => [el("dt", { text: each.name }), el("dd", { text: each.text })])));
  return made;
}
