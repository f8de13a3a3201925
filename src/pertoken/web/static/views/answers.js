/** Answers: nine questions about token prices, answered for the page's knobs. */

import { el, failed, sentences } from "./parts.js";
import { charts, command, saves, waits } from "./lines.js";

export const title = "Answers";

let built = null;

/**
 * Make the view.
 * @param {HTMLElement} root
 * @param {Object} app
 */
export function mount(root, app) {
  built = {
    said: el("div"), contents: el("nav", { "aria-label": "Questions", class: "contents" }), list: el("div", { class: "part" }),
    articles: new Map(), seen: null,
  };
  built.seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) entry.target.draw?.();
  }, { rootMargin: "200px" });
  root.append(built.said, built.contents, built.list);
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
  built?.seen.disconnect();
  built = null;
}

async function refresh(app) {
  const mine = built;
  const done = waits(mine.list, "Answering.");
  try {
    const found = await app.post("/api/view/answers", { knobs: app.knobs, options: {} });
    if (!found || mine !== built) return;
    done();
    show(mine, app, found);
  } catch (problem) {
    if (mine !== built) return;
    done();
    mine.said.replaceChildren(failed(problem.message));
    mine.contents.replaceChildren();
    mine.list.replaceChildren();
    mine.articles.clear();
  }
}

function show(mine, app, found) {
  mine.said.replaceChildren(sentences(found.sentences));
  const first = !mine.articles.size;
  if (first) {
    mine.contents.replaceChildren(el("ol", {}, ...found.answers.map((each) => el("li", {},
      el("a", { href: address(each.number), text: each.question, onclick: (event) => jump(event, app, each.number) })))));
  }
  for (const each of found.answers) {
    if (!mine.articles.has(each.number)) {
      const made = frame(app, each);
      mine.articles.set(each.number, made);
      mine.list.append(made.root);
    }
    fill(app, mine.articles.get(each.number), each);
  }
  const asked = Number(app.remembered("question"));
  if (first && mine.articles.has(asked)) reveal(asked);
}

/** The page's address with a question. */
function address(number) {
  const said = new URLSearchParams(location.search);
  said.set("view", "answers");
  said.set("question", number);
  return `?${said}`;
}

function jump(event, app, number) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  app.remember("question", String(number));
  reveal(number);
}

function reveal(number) {
  const { heading } = built.articles.get(number);
  heading.focus({ preventScroll: true });
  heading.scrollIntoView({ block: "start" });
}

function frame(app, each) {
  const heading = el("h3", { id: `question-${each.number}`, tabindex: "-1" },
    el("a", { href: address(each.number), text: `${each.number}. ${each.question}`, onclick: (event) => jump(event, app, each.number) }));
  const made = {
    heading, text: el("div", { class: "sentences" }), table: el("div"), charts: el("div", { class: "charts two" }), commands: el("div"),
    figures: el("div"),
  };
  const figures = el("details", { class: "fold figures" }, el("summary", { text: "Figures of this answer, with units" }), made.figures);
  const save = saves(app, "answers", ["md", "html", "json", "txt"], () => ({ options: { question: String(each.number) } }));
  save.setAttribute("aria-label", `Save the answer to question ${each.number}`);
  made.root = el("article", { class: "part answer", "aria-labelledby": heading.id }, heading, made.text, made.charts, made.table, figures, made.commands, save);
  return made;
}

function fill(app, made, each) {
  made.text.replaceChildren(...each.paragraphs.map((parts) => el("p", {}, ...parts.map(part))));
  made.table.replaceChildren();
  if (each.table) app.table(made.table, { ...each.table, title: `Table of question ${each.number}` });
  app.table(made.figures, { title: `Figures of question ${each.number}`, head: ["figure", "as written", "value", "unit"], rows: each.figures });
  made.commands.replaceChildren(...each.commands.map((line) => command(app, line)));
  made.root.draw = () => {
    made.root.draw = null;
    charts(app, made.charts, each.charts);
  };
  if (!each.charts.length) made.charts.replaceChildren();
  made.charts.hidden = !each.charts.length;
  built.seen.unobserve(made.root);
  built.seen.observe(made.root); // charts are drawn when they come into sight
}

/** Text as text, a figure with its value and unit. */
function part(each) {
  if (typeof each === "string") return document.createTextNode(each);
  const unit = each.unit === "1" ? "" : ` ${each.unit}`;
  return el("data", { value: each.value, title: `${each.name}: ${Number(each.value.toPrecision(6))}${unit}`, text: each.shown });
}
