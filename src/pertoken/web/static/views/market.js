/** Market: offers against what they would cost here, one of them closely, and the price list around them. */

import { choice, el, forgets, sentences } from "./parts.js";
import { charts, command, saves, tables, waits } from "./lines.js";

export const title = "Market";

const SPEND = { least: 10, most: 10_000_000, usual: 4000 }; // $ a month
const STOPS = 300; // of the slider, logarithmic
const OTHER = "other";
let built = null;

/**
 * Make the view.
 * @param {HTMLElement} root
 * @param {Object} app
 */
export function mount(root, app) {
  const inside = el("div", { class: "inside" });
  const list = el("details", { class: "fold" }, el("summary", {}, el("h3", { text: "The whole price list" })), inside);
  built = {
    side: { root: el("section", { class: "part", "aria-label": "Offers side by side" }) },
    one: { root: el("section", { class: "part", "aria-labelledby": "market-one" }), controls: el("div", { class: "controls" }), inside: el("div", { class: "part" }) },
    list: { root: list, inside, fresh: false },
  };
  built.one.root.append(el("h3", { id: "market-one", text: "One offer closely" }), built.one.controls, built.one.inside);
  list.addEventListener("toggle", () => around(app));
  root.append(built.side.root, built.one.root, list);
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

/** What the address remembers of this view. */
function options(app) {
  const number = (name) => {
    const found = app.remembered(`market.${name}`);
    return found !== "" && Number.isFinite(Number(found)) ? Number(found) : null;
  };
  const [requests, spare, offer] = [number("requests"), number("spare"), app.remembered("market.offer")];
  return {
    ...(offer ? { offer } : {}), ...(requests === null ? { spend: number("spend") ?? SPEND.usual } : { requests }), redundancy: spare ?? 1,
  };
}

/** One part of the view; undefined when it was overtaken, null when it was refused. */
async function ask(app, root, more) {
  const mine = built;
  const done = waits(root);
  try {
    const found = await app.post("/api/view/market", { knobs: app.knobs, options: more }, { key: `market ${more.part}` });
    if (!found || mine !== built) return undefined;
    done();
    return found;
  } catch (problem) {
    if (mine === built) done(problem.message);
    return null;
  }
}

async function refresh(app) {
  const mine = built;
  mine.list.fresh = false;
  around(app);
  const found = await ask(app, mine.side.root, { part: "offers", redundancy: options(app).redundancy });
  if (found === undefined) return;
  const sold = found?.offers ?? [];
  mine.one.root.hidden = !sold.length;
  if (!found) return;
  if (!mine.side.said) parts(mine, app);
  mine.side.root.replaceChildren(mine.side.said, mine.side.charts, mine.side.tables, mine.side.more);
  mine.side.said.replaceChildren(sentences(found.sentences));
  charts(app, mine.side.charts, found.charts);
  tables(app, mine.side.tables, found.tables);
  mine.side.more.hidden = !found.tables.length;
  mine.side.more.replaceChildren(...(found.command ? [command(app, found.command), saves(app, "market", ["json", "csv", "md", "html"], () => ({}))] : []));
  if (!sold.length) return;
  controls(mine, app, sold);
  closely(app);
}

function parts(mine) {
  mine.side.said = el("div");
  mine.side.charts = el("div", { class: "charts" });
  mine.side.tables = el("div");
  mine.side.more = el("div");
}

async function closely(app) {
  const mine = built;
  const asked = options(app);
  const found = await ask(app, mine.one.inside, { part: "offer", ...asked });
  if (!found || mine !== built) return;
  mine.one.chosen.value = [...mine.one.chosen.options].some((each) => each.value === found.offer) ? found.offer : OTHER;
  mine.one.other.closest("p").hidden = mine.one.chosen.value !== OTHER;
  if (mine.one.chosen.value === OTHER && document.activeElement !== mine.one.other) mine.one.other.value = found.offer;
  const old = mine.one.sections ?? [];
  mine.one.sections = found.sections.map((each, i) => section(app, each, old[i]));
  mine.one.inside.replaceChildren(sentences(found.sentences), ...mine.one.sections, command(app, found.command),
    saves(app, "market", ["json", "csv", "md", "html"], () => ({ options: flags(found.offer, options(app)) })));
}

/** Options as the command has them. */
function flags(offer, { spend, requests, redundancy }) {
  return { offer, redundancy, ...(requests === undefined ? { spend: `${spend}/month` } : { requests }) };
}

function section(app, each, old) {
  const made = old ?? el("section", { class: "part" }, el("h4", { text: each.title }), el("div"), el("div", { class: "charts" }), el("div"));
  const [, said, drawn, tabled] = made.children;
  said.replaceChildren(sentences(each.sentences));
  setTimeout(() => charts(app, drawn, each.charts)); // once it stands in the page, and so has a width
  tables(app, tabled, each.tables);
  return made;
}

/** Offer, what is spent, and spare machines. */
function controls(mine, app, sold) {
  const one = mine.one;
  const names = [...sold.map((name) => ({ value: name, label: name })), { value: OTHER, label: "another offer" }];
  if (one.chosen) {
    if (sold.join() === one.sold) return;
    forgets(app, ["market.offer"]); // of another model
  }
  one.sold = sold.join();
  const now = app.remembered("market.offer");
  const chosen = choice("offer", names, !now || sold.includes(now) ? now : OTHER, (value) => {
    one.other.closest("p").hidden = value !== OTHER;
    if (value === OTHER) one.other.focus();
    else keep(app, "offer", value);
  });
  one.chosen = chosen.querySelector("select");
  one.other = el("input", { type: "text", id: "market-other", size: 40, maxlength: 200, spellcheck: "false", placeholder: "PROVIDER/MODEL", value: now });
  one.other.addEventListener("change", () => keep(app, "offer", one.other.value.trim()));
  one.controls.replaceChildren(chosen,
    el("p", { class: "choice", hidden: one.chosen.value !== OTHER }, el("label", { for: "market-other", text: "PROVIDER/MODEL, as its list writes it" }), one.other),
    ...volume(app), spare(app));
}

function keep(app, name, value) {
  app.remember(`market.${name}`, String(value));
  return closely(app);
}

/** What is sent: a spend a month or requests a day, by box and slider. */
function volume(app) {
  const { spend, requests } = options(app);
  const name = requests === undefined ? "spend" : "requests";
  const box = el("input", { type: "number", id: "market-volume", min: 0.01, step: "any", value: requests ?? spend });
  const slider = el("input", { type: "range", min: 0, max: STOPS, "aria-label": "What you send, slider" });
  const kind = choice("you tell", [{ value: "spend", label: "$ a month" }, { value: "requests", label: "requests a day" }], name, (value) => {
    forgets(app, ["market.spend", "market.requests"]);
    box.value = value === "spend" ? SPEND.usual : 100000;
    stand();
    keep(app, value, box.value);
  });
  const list = kind.querySelector("select");
  const stand = () => {
    slider.value = Math.round(STOPS * Math.log(Number(box.value) / SPEND.least) / Math.log(SPEND.most / SPEND.least));
    slider.setAttribute("aria-valuetext", `${Number(box.value).toLocaleString("en-US")} ${list.selectedOptions[0].textContent}`);
  };
  const moved = () => {
    if (!(Number(box.value) > 0)) box.value = SPEND.usual;
    stand();
    keep(app, list.value, box.value);
  };
  box.addEventListener("change", moved);
  slider.addEventListener("input", () => {
    box.value = Number((SPEND.least * (SPEND.most / SPEND.least) ** (Number(slider.value) / STOPS)).toPrecision(2));
    moved();
  });
  stand();
  return [kind, el("p", { class: "choice" }, el("label", { for: "market-volume", text: "how much" }), box), el("p", { class: "choice slide" }, slider)];
}

function spare(app) {
  const box = el("input", { type: "number", id: "market-spare", min: 0, max: 1000, step: 1, value: options(app).redundancy });
  box.addEventListener("change", () => {
    box.value = Math.min(1000, Math.max(0, Math.round(Number(box.value)) || 0));
    app.remember("market.spare", box.value === "1" ? "" : box.value);
    refresh(app);
  });
  return el("p", { class: "choice" }, el("label", { for: "market-spare", text: "spare machines" }), box);
}

/** The list, asked for when it is opened, and again when the knobs have moved since. */
async function around(app) {
  const { list } = built;
  if (!list.root.open || list.fresh) return;
  list.fresh = true;
  const found = await ask(app, list.inside, { part: "list" });
  if (!found) {
    list.fresh = false;
    return;
  }
  const drawn = el("div", { class: "charts two" });
  const tabled = el("div", { class: "part" });
  list.inside.replaceChildren(sentences(found.sentences), drawn, tabled, ...(found.command ? [command(app, found.command)] : []));
  charts(app, drawn, found.charts);
  tables(app, tabled, found.tables);
}
