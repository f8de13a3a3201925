/** Load: cost and latency against requests in flight or their rate; lines in closed form, points simulated as they come. */

import { choice, el, failed, forgets, sentences } from "./parts.js";

export const title = "Load";

const WAIT = 600; // ms that the knobs must rest before anything is simulated
let built = null;
let runs = null; // what ends the simulations under way
let waiting = 0;

/**
 * Make the view.
 * @param {HTMLElement} root
 * @param {Object} app
 */
export function mount(root, app) {
  built = {
    controls: el("div", { class: "controls" }),
    said: el("div"),
    progress: el("div", { class: "progress" }),
    charts: el("div", { class: "charts two" }),
    key: el("p", { class: "quiet note", text: "Lines: closed form. Diamonds: where you are. Rings: simulated request by request. Dashes: goals." }),
    tables: el("div", { class: "charts two" }),
    points: [],
  };
  root.append(built.controls, built.said, built.progress, built.charts, built.key, built.tables);
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

/** Let go: nothing is simulated for a view that is left. */
export function unmount() {
  stop();
  built = null;
}

function stop() {
  clearTimeout(waiting);
  runs?.abort();
  runs = null;
}

async function refresh(app) {
  const mine = built;
  const against = app.remembered("load.against") || "concurrency";
  stop();
  try {
    const found = await app.post("/api/view/load", { knobs: app.knobs, options: { against } });
    if (!found || mine !== built) return;
    mine.points = [];
    show(mine, app, found);
    draw(mine, app, found);
    if (found.no_runs) mine.progress.replaceChildren(el("p", { class: "quiet", text: found.no_runs }));
    else waiting = setTimeout(() => simulate(mine, app, found), WAIT);
  } catch (problem) {
    if (mine !== built) return;
    if (!mine.controls.children.length && forgets(app, ["load.against"])) {
      refresh(app); // the address asked for what there is not
      return;
    }
    mine.said.replaceChildren(failed(problem.message));
    for (const part of [mine.progress, mine.charts, mine.tables]) part.replaceChildren();
  }
}

function show(mine, app, found) {
  if (!mine.controls.children.length) {
    mine.controls.append(choice("against", found.choices, found.against, (value) => {
      app.remember("load.against", value === found.choices[0].value ? "" : value);
      refresh(app);
    }));
  }
  mine.said.replaceChildren(sentences(found.sentences));
  mine.progress.replaceChildren();
  mine.tables.replaceChildren();
  for (const each of found.tables) app.table(mine.tables.appendChild(el("div")), each);
}

function draw(mine, app, found) {
  found.charts.forEach((each, i) => {
    if (!mine.charts.children[i]) mine.charts.append(el("div"));
    app.chart(mine.charts.children[i], each.name, { options: { ...each.options, simulated: mine.points } });
  });
}

/** One load after another, the nearest to where you are first. */
async function simulate(mine, app, found) {
  runs = new AbortController();
  const { signal } = runs;
  const bar = el("progress", { max: found.runs.length, value: 0, "aria-label": "Simulated loads" });
  const word = el("span", { text: "Simulating request by request" });
  const button = el("button", { type: "button", text: "Stop", onclick: () => runs?.abort() });
  mine.progress.replaceChildren(word, bar, button);
  const problems = [];
  for (const [i, run] of found.runs.entries()) {
    if (signal.aborted) break;
    try {
      const document = await streamed(run, signal, (share) => { bar.value = i + share; });
      if (mine !== built || signal.aborted) break;
      mine.points = [...mine.points, { x: run.x, ...point(document) }];
      draw(mine, app, found);
    } catch (problem) {
      if (!signal.aborted) problems.push(problem.message);
    }
    bar.value = i + 1;
  }
  if (mine !== built || (signal.aborted && runs?.signal !== signal)) return; // left, or begun anew
  done(mine, app, found, signal.aborted, problems);
}

function done(mine, app, found, stopped, problems) {
  const count = mine.points.length;
  const again = el("button", { type: "button", text: "Simulate again", onclick: () => { mine.points = []; simulate(mine, app, found); } });
  const said = stopped ? `Stopped after ${count} of ${found.runs.length} loads.` : `${count} loads simulated request by request.`;
  mine.progress.replaceChildren(el("p", { text: said }), again,
    ...[...new Set(problems)].map((text) => failed(text)));
  app.announce(said);
  mine.tables.querySelector(".simulated")?.remove();
  if (count) app.table(mine.tables.appendChild(el("div", { class: "simulated" })), table(mine.points, found));
}

/** Figures of one simulation as a point: costs with the idle time of that load in them, as the lines have it. */
function point(document) {
  const share = document.bill.idle_share;
  const paid = (name) => (document.per_million[name] === null || share === null ? null : document.per_million[name] / (1 - share));
  return { input: paid("input"), output: paid("output"), ttft: document.ttft_s.mean, tpot: document.tpot_s.mean };
}

function table(points, found) {
  const number = (value, digits = 3) => (value === null ? "-" : Number(value.toPrecision(digits)).toLocaleString("en-US", { maximumSignificantDigits: digits }));
  const time = (value) => (value === null ? "-" : value < 1 ? `${number(value * 1000)} ms` : `${number(value)} s`);
  const rows = [...points].sort((a, b) => a.x - b.x);
  const closed = found.tables[0];
  const money = (value) => (value === null ? "-" : `${closed.head[1].includes("$") ? "$" : ""}${number(value)}`);
  return {
    title: closed.title.replace("closed form", "simulated"),
    head: closed.head,
    rows: rows.map((each) => [number(each.x, 4), money(each.input), money(each.output), time(each.ttft), time(each.tpot)]),
    note: "Served request by request: arrivals at random, or a new request when one ends. Means; idle time is in the cost.",
  };
}

/** The lines of one simulation, as they come; the last one holds its result. */
async function streamed(run, signal, progress) {
  const answer = await fetch("/api/simulate", {
    method: "POST", signal, headers: { "content-type": "application/json" },
    body: JSON.stringify({ knobs: run.knobs, options: run.options }),
  });
  if (!answer.ok) throw new Error((await answer.json()).error);
  const reader = answer.body.getReader();
  const text = new TextDecoder();
  let rest = "";
  let result = null;
  for (;;) {
    const { value, done: ended } = await reader.read();
    const lines = (rest + text.decode(value, { stream: !ended })).split("\n");
    rest = lines.pop();
    for (const line of lines.filter(Boolean)) {
      const each = JSON.parse(line);
      if (each.error) throw new Error(each.error);
      result = each.result ?? result;
      progress(each.progress ?? 0);
    }
    if (ended && result) return result;
    if (ended) throw new Error("The simulation ended without a result; try it again.");
  }
}
