/** Compare: A is the page's knobs, B the same but for what is set here; side by side, and why they differ. */

import { knobs } from "../knobs.js";
import { State } from "../state.js";
import { el, failed, sentences, tree } from "./parts.js";

export const title = "Compare";

const REST = 200; // ms without a move after which the comparison follows
const AUTO = "auto"; // a knob that A gives and B does not
const kept = new Set(); // branches that are open
let built = null;

/**
 * Make the view.
 * @param {HTMLElement} root
 * @param {Object} app
 */
export function mount(root, app) {
  const other = new Other(app);
  const form = el("form", { class: "knobs-b", "aria-label": "Knobs of B", autocomplete: "off" });
  built = {
    other, said: el("div"), differ: el("div"), tables: el("div"), charts: el("div", { class: "charts" }), tree: el("div"),
    controls: knobs(form, app.listing, app.catalog, other),
  };
  const act = (text, how) => el("button", { type: "button", text, onclick: how });
  const tools = el("div", { class: "controls" },
    act("Swap A and B", () => other.swap()), act("Make B the same as A", () => other.reset()));
  const fold = el("details", { class: "fold", open: !Object.keys(other.changes()).length }, el("summary", {}, el("h3", { text: "Knobs of B" })), form);
  root.append(tools, fold, built.differ, built.said, built.tables, built.charts, built.tree);
  return refresh(app);
}

/**
 * Follow the knobs of A.
 * @param {Object} page
 * @param {Object} app
 */
export function update(page, app) {
  if (!built) return;
  built.other.follow();
  refresh(app);
}

/** Let go. */
export function unmount() {
  clearTimeout(built?.other.resting);
  built = null;
}

/** The knobs of B, as the controls know an app: A's, changed by what the address remembers as b.NAME. */
class Other {
  constructor(app) {
    Object.assign(this, { app, prefix: "b-", uploads: app.uploads, state: new State(app.listing.knobs, app.listing.start) });
    this.follow();
  }

  get knobs() { return this.state.knobs; }

  /** A with B's changes, as the address has them. */
  follow() {
    this.state.knobs = { ...this.app.knobs };
    for (const { name } of this.app.listing.knobs) {
      const own = this.app.remembered(`b.${name}`);
      if (own === AUTO) delete this.state.knobs[name];
      else if (own) this.state.knobs[name] = own;
    }
  }

  /** What B has differently. */
  changes() {
    const found = {};
    for (const { name } of this.app.listing.knobs) {
      const [a, b] = [this.app.knobs[name], this.knobs[name]];
      if (a !== b) found[name] = b ?? AUTO;
    }
    return found;
  }

  set(name, value, { moving = false } = {}) {
    const gone = this.state.set(name, value);
    if (gone.length) this.announce(`${gone.join(" and ")} of B set to auto, since ${name} was set`);
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.rest(), moving ? REST : 0);
  }

  rest() {
    clearTimeout(this.resting);
    if (!built) return undefined;
    this.write();
    return refresh(this.app);
  }

  /** Let the address remember what differs, and nothing else. */
  write() {
    const now = this.changes();
    for (const { name } of this.app.listing.knobs) {
      if (this.app.remembered(`b.${name}`) !== (now[name] ?? "")) this.app.remember(`b.${name}`, now[name] ?? "");
    }
  }

  reset() {
    this.state.knobs = { ...this.app.knobs };
    this.rest();
  }

  /** B becomes A, and A becomes B. */
  swap() {
    const [a, b] = [{ ...this.app.knobs }, { ...this.knobs }];
    for (const { name } of this.app.listing.knobs) this.app.remember(`b.${name}`, "");
    this.app.state.knobs = b;
    this.state.knobs = a;
    this.write();
    this.app.follower.moved();
    this.app.rest();
  }

  announce(text) { this.app.announce(text); }

  toast(text, name) { this.app.toast(text, name); }

  upload(...given) { return this.app.upload.apply(this, given); }
}

async function refresh(app) {
  const mine = built;
  const cases = [app.knobs, { ...mine.other.knobs }];
  try {
    const found = await app.post("/api/view/compare", { cases });
    if (found && mine === built) show(mine, app, found, cases);
  } catch (problem) {
    if (mine !== built) return;
    mine.controls.show({});
    mine.said.replaceChildren(failed(problem.message));
    for (const part of [mine.differ, mine.tables, mine.charts, mine.tree]) part.replaceChildren();
  }
}

function show(mine, app, found, cases) {
  mine.controls.show(found.effective[1]);
  mine.differ.replaceChildren(...(found.knobs.length ? [differing(found.knobs)] : []));
  mine.said.replaceChildren(sentences(found.sentences));
  mine.tables.replaceChildren();
  for (const each of found.tables) app.table(mine.tables.appendChild(el("div")), each);
  const same = !found.knobs.length;
  if (same || !found.charts.length) mine.charts.replaceChildren();
  else {
    found.charts.forEach((each, i) => {
      if (!mine.charts.children[i]) mine.charts.append(el("div"));
      app.chart(mine.charts.children[i], each.name, { cases, options: each.options });
    });
  }
  mine.tree.replaceChildren(...(same ? [] : [el("h3", { text: "Why, branch by branch, of a million requests" }),
    el("p", { class: "quiet", text: "+ only in B, - only in A, ~ differs, = the same; the largest change first." }),
    tree(found.tree, "Difference of B and A, branch by branch", row, branches, kept)]));
}

function differing(list) {
  return el("table", { class: "differing" }, el("caption", { text: "What differs" }),
    el("thead", {}, el("tr", {}, ...["knob", "A", "B"].map((text) => el("th", { scope: "col", text })))),
    el("tbody", {}, ...list.map((knob) => el("tr", {}, el("th", { scope: "row", text: knob.label }),
      el("td", { text: knob.a }), el("td", {}, el("mark", { text: knob.b }))))));
}

function branches(node) {
  const facts = node.facts?.length ? [{ name: "quantities that differ", leaves: node.facts }] : [];
  return [...(node.children ?? []), ...facts, ...(node.leaves ?? [])];
}

const MARKS = { "+": "only in B", "-": "only in A", "~": "differs", "=": "the same" };

function row(node) {
  const mark = el("span", { class: "mark-of", title: MARKS[node.mark] ?? null, text: node.mark ?? "" });
  const name = el("span", { class: "name" }, mark, el("span", { text: node.name }));
  if (node.before === undefined) return [name];
  const both = el("span", { class: "amount", text: node.mark === "=" ? node.before : `${node.before} to ${node.after}` });
  return [name, both, el("span", { class: "share", text: node.change ?? "" })];
}
