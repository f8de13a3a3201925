/** Position: what the n-th token costs, positions side by side, and a flat price against the truth. */

import { choice, el, failed, sentences } from "./parts.js";

export const title = "Position";

const FIRST = { view: "fair", who: "reader", n: [11, 10001] };
let options = { ...FIRST };
let built = null;
let asking = null; // what ends the answer that is on its way

/**
 * Make the view.
 * @param {HTMLElement} root
 * @param {Object} app
 */
export function mount(root, app) {
  built = {
    app,
    cards: el("div", { class: "cards" }),
    controls: el("div", { class: "controls" }),
    said: el("div"),
    charts: el("div", { class: "charts two" }),
    tables: el("div"),
    drawn: [],
  };
  root.append(built.controls, built.cards, built.said, built.charts, built.tables);
  refresh(app);
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
  asking?.abort();
  built = null;
}

async function refresh(app) {
  const mine = built;
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  try {
    const found = await app.post("/api/view/position", { knobs: app.knobs, options }, { signal });
    if (!found || mine !== built || signal.aborted) return;
    show(mine, app, found);
  } catch (problem) {
    if (mine === built && !signal.aborted) mine.said.replaceChildren(failed(problem.message));
  }
}

function show(mine, app, found) {
  if (!mine.controls.children.length) controls(mine, app, found);
  mine.limit = found.limit.input;
  mine.slider.max = Math.log(found.limit.input);
  mine.said.replaceChildren(sentences(found.sentences));
  mine.cards.replaceChildren(...["input", "output"].map((token) => cards(app, token, found.cards)));
  mine.tables.replaceChildren();
  for (const each of found.tables) app.table(mine.tables.appendChild(el("div")), each);
  found.charts.forEach((each, i) => {
    if (!mine.charts.children[i]) mine.charts.append(el("div"));
    app.chart(mine.charts.children[i], each.name, { options: each.options });
  });
}

function cards(app, token, all) {
  const own = all.filter((card) => card.token === token);
  return el("section", { class: "pair", "aria-label": `${token} tokens` },
    ...own.map((card) => {
      const figure = el("div", { class: "figure" });
      app.figure(figure, card);
      return el("div", { class: "card" }, el("h3", { text: card.label }), figure,
        el("p", { class: "quiet", text: `${card.range} per million` }),
        el("p", { class: "quiet", text: `${card.over_flat} against the flat price` }));
    }));
}

function controls(mine, app, found) {
  const set = (name) => (value) => {
    options = { ...options, [name]: value };
    refresh(app);
  };
  const last = options.n[options.n.length - 1];
  mine.slider = el("input", {
    type: "range", id: "position-slider", min: 0, max: Math.log(found.limit.input), step: 0.01, value: Math.log(last),
    "aria-label": "Position to compare with the first, logarithmic", "aria-valuetext": last.toLocaleString("en-US"),
  });
  mine.box = el("input", { type: "number", id: "position-n", min: 1, max: found.limit.input, step: 1, value: last });
  mine.first = el("input", { type: "number", id: "position-first", min: 1, max: found.limit.input, step: 1, value: options.n[0] });
  mine.slider.addEventListener("input", () => {
    mine.box.value = Math.max(1, Math.round(Math.exp(mine.slider.value)));
    moved(mine, app);
  });
  mine.box.addEventListener("change", () => moved(mine, app));
  mine.first.addEventListener("change", () => moved(mine, app));
  mine.controls.append(
    choice("What is asked", found.choices.view, options.view, set("view")),
    choice("Who pays", found.choices.who, options.who, set("who")),
    el("p", { class: "choice" }, el("label", { for: "position-first", text: "First position" }), mine.first),
    el("p", { class: "choice" }, el("label", { for: "position-n", text: "Second position" }), mine.box, mine.slider),
  );
}

function moved(mine, app) {
  const within = (box) => Math.min(mine.limit, Math.max(1, Math.round(Number(box.value) || 1)));
  const n = [within(mine.first), within(mine.box)];
  [mine.first.value, mine.box.value] = n;
  mine.slider.value = Math.log(n[1]);
  mine.slider.setAttribute("aria-valuetext", n[1].toLocaleString("en-US"));
  options = { ...options, n: [...new Set(n)] };
  refresh(app);
}
