/** Charts: a specification is embedded once, then only its rows change; each says in words what it shows. */

import { ask } from "./asking.js";
import { el } from "./views/parts.js";

const INK = "var(--ink)";
const FAINT = "var(--faint)";
const LINE = "var(--line)";
const CONFIG = {
  aria: false, // the picture as a whole says what it shows
  font: "system-ui, sans-serif",
  background: "transparent",
  view: { stroke: "transparent" },
  title: { color: INK, subtitleColor: FAINT, fontSize: 14, fontWeight: 600, subtitleFontSize: 12, anchor: "start" },
  text: { color: INK },
  rule: { color: FAINT },
  axis: { labelColor: FAINT, titleColor: FAINT, domainColor: LINE, tickColor: LINE, gridColor: LINE, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 400 },
  legend: { labelColor: INK, titleColor: FAINT, labelFontSize: 12, symbolBaseFillColor: FAINT },
  text: { color: INK },
  rule: { color: FAINT },
};
const FORMS = ["svg", "png", "csv", "json"];
const NARROW = 560; // pixels below which legends go under a chart
let bundle = null;
const live = new Set();

function loaded() {
  bundle ??= new Promise((done, failed) => {
    const script = el("script", { src: "/static/vega.js" });
    script.addEventListener("load", done);
    script.addEventListener("error", () => {
      bundle = null;
      failed(new Error("The charts' script did not load; try again."));
    });
    document.head.append(script);
  });
  return bundle;
}

/**
 * Draw a chart in an element; called again with the same name it follows.
 * @param {HTMLElement} root
 * @param {string} name of the chart
 * @param {{options?: Object, cases?: Object[]}} how `cases` in place of the page's knobs
 * @param {Object} app
 */
export async function chart(root, name, how, app) {
  if (root.chart?.name !== name) frame(root, name, app);
  const mine = root.chart;
  mine.how = how ?? {};
  mine.number = (mine.number ?? 0) + 1;
  const { number } = mine;
  try {
    const [spec] = await Promise.all([ask("/api/chart", asked(mine, app)), loaded()]);
    if (number !== mine.number || !root.isConnected) return;
    await draw(mine, spec);
    mine.note.replaceChildren();
  } catch (problem) {
    if (number === mine.number) mine.note.replaceChildren(el("p", { class: "failed", role: "status", text: problem.message }));
  }
}

function asked(mine, app, more = {}) {
  const { cases, options } = mine.how;
  return { ...(cases ? { cases } : { knobs: app.knobs }), chart: mine.name, ...(options ? { options } : {}), ...more };
}

function frame(root, name, app) {
  const picture = el("div", { class: "picture" });
  const words = el("figcaption", { class: "unseen" });
  const note = el("div");
  const mine = { name, root, picture, words, note, how: {} };
  const saves = el("p", { class: "saves", role: "group", "aria-label": `Save the chart ${name}` }, ...FORMS.map((form) => el("button", {
    type: "button", class: "link", text: form.toUpperCase(), "aria-label": `Save the chart ${name} as ${form.toUpperCase()}`,
    onclick: () => app.save(asked(mine, app, { what: "chart", form })),
  })));
  root.chart?.view?.finalize();
  root.chart = mine;
  root.replaceChildren(el("figure", { class: "chart" }, picture, words, note, saves));
  live.add(mine);
}

async function draw(mine, spec) {
  const shape = JSON.stringify({ ...spec, datasets: 0, description: 0 });
  const width = Math.floor(mine.picture.clientWidth);
  mine.spec = spec;
  if (mine.view && mine.shape === shape && mine.width === width) {
    await rows(mine, spec.datasets);
    told(mine, spec);
    return;
  }
  const made = fitted(spec, width);
  mine.view?.finalize();
  const found = await window.vegaEmbed(mine.picture, made, {
    ast: true, renderer: "svg", actions: false, defaultStyle: false, tooltip: { disableDefaultStyle: true }, config: CONFIG,
  });
  Object.assign(mine, { view: found.view, shape, width });
  if (made.width && !made.autosize) { // now its axis is known
    const over = Number(mine.picture.querySelector("svg")?.getAttribute("width")) - width;
    await found.view.width(made.width - over).runAsync();
  }
  told(mine, spec);
}

/** The picture is one image with a name; what it is drawn of is kept from those who listen. */
function told(mine, spec) {
  const said = spec.description ?? mine.name;
  mine.words.textContent = said;
  for (const name of ["role", "aria-label", "aria-roledescription"]) mine.picture.removeAttribute(name);
  const svg = mine.picture.querySelector("svg");
  svg?.setAttribute("role", "img");
  svg?.setAttribute("aria-label", said);
  for (const part of svg?.children ?? []) part.setAttribute("aria-hidden", "true");
}

/** As wide as there is room; a row of charts is shrunk by the style sheet instead. */
function fitted(spec, width) {
  const { config, ...bare } = spec;
  const made = { ...bare, config: { axis: config?.axis ? { gridOpacity: config.axis.gridOpacity } : {} } };
  if (!spec.hconcat && !spec.vconcat && !spec.facet && width > 0) {
    const stepped = typeof spec.height === "object"; // cannot be fitted: leave room for its axis
    made.width = stepped ? Math.round(width * 0.8) : width;
    if (!stepped) made.autosize = { type: "fit-x", contains: "padding" };
    made.config.legend = width < NARROW ? { orient: "bottom", columns: 2 } : { orient: "top" };
  }
  const { title } = made;
  if (title && typeof title === "object" && title.subtitle && width < 700) made.title = { ...title, subtitle: [] };
  return made;
}

async function rows(mine, datasets) {
  for (const [name, list] of Object.entries(datasets ?? {})) {
    try {
      mine.view.data(name, list);
    } catch { /* a set that the drawing does not use */ }
  }
  await mine.view.runAsync();
}

function shown() {
  for (const mine of live) {
    if (!mine.root.isConnected) {
      mine.view?.finalize();
      live.delete(mine);
    }
  }
  return [...live];
}

/** What is asked with each move of a slider, so that charts follow by their rows alone. */
export function following() {
  const own = shown().filter((mine) => mine.view && !mine.how.cases);
  return {
    charts: [...new Set(own.map((mine) => mine.name))],
    options: Object.fromEntries(own.filter((mine) => mine.how.options).map((mine) => [mine.name, mine.how.options])),
  };
}

/**
 * New rows of charts, axes still.
 * @param {Object} found rows by dataset by chart
 */
export async function follow(found) {
  for (const mine of shown()) {
    if (mine.view && !mine.how.cases && found?.[mine.name]) await rows(mine, found[mine.name]);
  }
}

/**
 * The hand rests: ask for the charts again, since axes may have to move.
 * @param {Object} app
 */
export function settle(app) {
  for (const mine of shown()) if (!mine.how.cases && !mine.how.options) chart(mine.root, mine.name, mine.how, app);
}

let resized = 0;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => {
    for (const mine of shown()) if (mine.spec && mine.view) draw(mine, mine.spec);
  }, 150);
});
