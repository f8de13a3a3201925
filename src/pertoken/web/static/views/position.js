/** Position: what the n-th token costs, positions side by side, and a flat price against the truth. */

import { choice, el, failed, forgets, sentences } from "./parts.js";

export const title = "Position";

const USUAL = [11, 10001];
const STOPS = 400; // of the slider, from 1 to the context limit, logarithmic
let built = null;

/**
 * Make the view.
 * @param {HTMLElement} root
 * @param {Object} app
 */
export function mount(root, app) {
  built = {
    controls: el("div", { class: "controls" }), cards: el("div", { class: "cards" }), said: el("div"),
    charts: el("div", { class: "charts two" }), tables: el("div", { class: "charts two" }),
  };
  root.append(built.controls, built.cards, built.said, built.charts, built.tables);
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
  const n = app.remembered("position.n").split(",").map(Number).filter((each) => Number.isInteger(each) && each > 0);
  return {
    view: app.remembered("position.view") || "fair", who: app.remembered("position.who") || "reader",
    n: n.length === 2 ? n : USUAL,
  };
}

async function refresh(app) {
  const mine = built;
  const asked = options(app);
  try {
    const found = await app.post("/api/view/position", { knobs: app.knobs, options: { ...asked, n: [...new Set(asked.n)] } });
    if (found && mine === built) show(mine, app, found, asked);
  } catch (problem) {
    if (mine !== built) return;
    if (!mine.controls.children.length && forgets(app, ["position.view", "position.who", "position.n"])) {
      refresh(app); // the address asked for what there is not
      return;
    }
    mine.said.replaceChildren(failed(problem.message));
    for (const part of [mine.cards, mine.charts, mine.tables]) part.replaceChildren();
  }
}

function show(mine, app, found, asked) {
  if (!mine.controls.children.length) controls(mine, app, found, asked);
  mine.limit = found.limit.input;
  for (const box of [mine.first, mine.second]) box.max = mine.limit;
  stand(mine, asked.n);
  mine.said.replaceChildren(sentences(found.sentences));
  mine.cards.replaceChildren(...["input", "output"].map((token) => pair(app, token, found.cards)).filter(Boolean));
  mine.tables.replaceChildren();
  for (const each of found.tables) app.table(mine.tables.appendChild(el("div")), each);
  while (mine.charts.children.length > found.charts.length) mine.charts.lastChild.remove();
  found.charts.forEach((each, i) => {
    if (!mine.charts.children[i]) mine.charts.append(el("div"));
    app.chart(mine.charts.children[i], each.name, { options: each.options });
  });
}

function pair(app, token, all) {
  const own = all.filter((card) => card.token === token);
  return own.length ? el("section", { class: "pair", "aria-label": `${token} tokens` }, ...own.map((card) => {
    const figure = el("div", { class: "figure" });
    app.figure(figure, card);
    return el("div", { class: "card" }, el("h3", { text: card.label }), figure,
      el("p", { class: "quiet", text: card.range }),
      el("p", { class: "quiet", text: `${card.over_flat} against the flat price` }));
  })) : null;
}

function controls(mine, app, found, asked) {
  const set = (name) => (value) => {
    app.remember(`position.${name}`, found.choices[name][0].value === value ? "" : value);
    refresh(app);
  };
  const box = (id) => el("input", { type: "number", id, min: 1, step: 1 });
  mine.first = box("position-first");
  mine.second = box("position-second");
  mine.slider = el("input", { type: "range", min: 0, max: STOPS, "aria-label": "Second position, slider" });
  const moved = (n) => {
    const within = n.map((each) => Math.min(mine.limit, Math.max(1, Math.round(each) || 1)));
    stand(mine, within);
    app.remember("position.n", within.join() === USUAL.join() ? "" : within.join());
    refresh(app);
  };
  mine.slider.addEventListener("input", () => moved([Number(mine.first.value), mine.limit ** (Number(mine.slider.value) / STOPS)]));
  for (const each of [mine.first, mine.second]) {
    each.addEventListener("change", () => moved([Number(mine.first.value), Number(mine.second.value)]));
  }
  mine.controls.append(
    el("p", { class: "choice" }, el("label", { for: "position-first", text: "one position" }), mine.first),
    el("p", { class: "choice" }, el("label", { for: "position-second", text: "another" }), mine.second),
    el("p", { class: "choice slide" }, mine.slider),
    choice("question", found.choices.view, asked.view, set("view")),
    choice("who pays", found.choices.who, asked.who, set("who")),
  );
}

/** Boxes and slider at these positions. */
function stand(mine, n) {
  for (const [box, value] of [[mine.first, n[0]], [mine.second, n[1]]]) {
    if (document.activeElement !== box || Number(box.value) !== value) box.value = value;
  }
  if (document.activeElement !== mine.slider) mine.slider.value = Math.round(STOPS * Math.log(n[1]) / Math.log(mine.limit));
  mine.slider.setAttribute("aria-valuetext", n[1].toLocaleString("en-US"));
}
