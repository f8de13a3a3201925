/** Tariff: who pays for whom under one price, two prices, a cached price, a fee, a cliff; on a shipped trace or one of your own. */

import { choice, el, failed, forgets, sentences } from "./parts.js";
import { charts, command, saves, tables, waits } from "./lines.js";

export const title = "Tariff";

const UPLOAD = /^upload:[0-9a-f]{32}$/;
const MINE = "mine";
const KINDS = { csv: "text/csv", jsonl: "application/x-ndjson", ndjson: "application/x-ndjson" };
let built = null;

/**
 * Make the view.
 * @param {HTMLElement} root
 * @param {Object} app
 */
export function mount(root, app) {
  built = {
    controls: el("div", { class: "controls" }), file: el("div", { class: "file" }), inside: el("div", { class: "part" }),
    said: el("div"), cards: el("div", { class: "cards" }), ladder: el("div"), bars: el("div", { class: "charts two" }),
    tenths: el("div", { class: "charts two tenths" }), curve: el("div", { class: "charts" }), more: el("div"),
  };
  root.append(built.controls, built.file, built.inside);
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
  built?.sending?.abort();
  built = null;
}

/** What the address remembers of this view. */
function options(app) {
  const found = {};
  for (const name of ["trace", "form", "offer"]) if (app.remembered(`tariff.${name}`)) found[name] = app.remembered(`tariff.${name}`);
  return found;
}

async function refresh(app) {
  const mine = built;
  const done = waits(mine.inside, "Pricing every request of the trace, and fitting tariffs to them.");
  try {
    const found = await app.post("/api/view/tariff", { knobs: app.knobs, options: options(app) });
    if (!found || mine !== built) return;
    done();
    show(mine, app, found);
  } catch (problem) {
    if (mine !== built) return;
    if (!mine.controls.childElementCount && forgets(app, ["tariff.trace", "tariff.form", "tariff.offer"])) {
      mine.file.replaceChildren(failed(`${problem.message}. The usual trace is shown instead.`));
      refresh(app); // the address asked for what is there no more
      return;
    }
    done(problem.message);
  }
}

function show(mine, app, found) {
  controls(mine, app, found);
  if (mine.cards.parentElement !== mine.inside) {
    mine.inside.replaceChildren(mine.cards, mine.said, mine.ladder, mine.bars, mine.tenths, mine.curve, mine.more);
  }
  mine.cards.replaceChildren(...["input", "output"].map((of) => pair(app, of, found.cards)));
  mine.said.replaceChildren(sentences(found.sentences));
  const [first, ...rest] = found.tables;
  tables(app, mine.ladder, [first]);
  tables(app, mine.tenths, rest);
  charts(app, mine.bars, found.charts.slice(0, 2));
  charts(app, mine.curve, found.charts.slice(2));
  const { input, output, ...knobs } = app.knobs;
  const { form, offer } = options(app);
  const body = () => ({ knobs: { ...knobs, trace: found.trace }, options: { ...(form ? { tariff: form } : {}), ...(offer ? { offer } : {}) } });
  mine.more.replaceChildren(command(app, found.command), saves(app, "tariff", ["json", "csv", "md", "html", "svg", "png"], body));
}

/** Light users against heavy ones. */
function pair(app, of, all) {
  return el("section", { class: "pair", "aria-label": `by ${of} length` }, ...all.filter((card) => card.of === of).map((card) => {
    const figure = el("div", { class: "figure" });
    app.figure(figure, card);
    return el("div", { class: "card" }, el("h3", { text: `Tenth with the ${card.name}` }), figure,
      el("p", { class: "quiet", text: "paid for each $ of cost" }), el("p", { class: "quiet", text: card.tokens }));
  }));
}

function controls(mine, app, found) {
  const own = UPLOAD.test(found.trace);
  const kept = app.uploads[found.trace];
  const traces = [...found.choices.trace, ...(own ? [{ value: found.trace, label: kept ?? "your file" }] : []), { value: MINE, label: "a file of your own" }];
  const judged = [...found.choices.form.map((each) => ({ value: `form ${each.value}`, label: each.label })),
    ...found.choices.offer.map((name) => ({ value: `offer ${name}`, label: `${name}, scaled to this revenue` }))];
  const { form, offer } = options(app);
  const state = JSON.stringify([traces, judged, found.trace, form, offer]);
  if (state === mine.state) return;
  mine.state = state;
  const focused = document.activeElement?.id;
  mine.controls.replaceChildren(
    choice("requests of", traces, found.trace, (value) => {
      if (value === MINE) {
        mine.controls.querySelector("select").value = found.trace;
        mine.file.querySelector("input").click();
      } else set(app, { trace: value });
    }),
    choice("tariff", judged, offer ? `offer ${offer}` : `form ${form ?? "flat"}`, (value) => {
      const [kind, ...name] = value.split(" ");
      set(app, { form: kind === "form" ? name.join(" ") : "", offer: kind === "offer" ? name.join(" ") : "" });
    }),
  );
  if (focused) document.getElementById(focused)?.focus();
  if (!mine.file.querySelector("input")) mine.file.append(...files(mine, app, found.limits));
}

function set(app, given) {
  for (const [name, value] of Object.entries(given)) app.remember(`tariff.${name}`, value === "flat" ? "" : value);
  return refresh(app);
}

/** A file of requests, by button or dropped. */
function files(mine, app, limits) {
  const said = el("div", { class: "sent", role: "status" });
  const input = el("input", { type: "file", id: "tariff-file", accept: ".csv,.jsonl,.ndjson,text/csv" });
  const take = (file) => file && send(mine, app, file, limits, said);
  input.addEventListener("change", () => {
    take(input.files[0]);
    input.value = "";
  });
  const box = el("div", { class: "drop" },
    el("label", { for: "tariff-file", text: "Requests of your own: a CSV with columns input and output [tokens], and cached if known; a line a request." }),
    input,
    el("p", { class: "quiet small", text: `Read by pertoken on this machine and forgotten when it ends; nothing is sent off it. At most ${(limits.bytes / 2 ** 20).toLocaleString("en-US")} MiB and ${limits.requests.toLocaleString("en-US")} requests.` }));
  for (const kind of ["dragenter", "dragover"]) {
    box.addEventListener(kind, (event) => {
      event.preventDefault();
      box.classList.add("over");
    });
  }
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  return [box, said];
}

async function send(mine, app, file, limits, said) {
  if (file.size > limits.bytes) {
    said.replaceChildren(failed(`${file.name} has ${file.size.toLocaleString("en-US")} bytes; at most ${limits.bytes.toLocaleString("en-US")} are read. Give a sample of it.`));
    return;
  }
  mine.sending?.abort();
  mine.sending = new AbortController();
  const { signal } = mine.sending;
  said.replaceChildren(el("p", { class: "quiet", text: `Reading ${file.name}.` }));
  try {
    const kind = KINDS[file.name.toLowerCase().split(".").pop()] ?? "text/csv";
    const answer = await fetch(`/api/upload?name=${encodeURIComponent(file.name)}`, { method: "POST", headers: { "content-type": kind }, body: file, signal });
    const found = await answer.json();
    if (mine !== built || signal.aborted) return;
    if (!answer.ok) throw new Error(found.error);
    if (found.kind !== "trace") throw new Error(`${file.name} holds tokens by day, not requests; give a CSV with a line a request`);
    app.uploads[found.upload] = file.name;
    said.replaceChildren(el("p", { text: `${file.name}: ${found.summary}.` }));
    await set(app, { trace: found.upload });
  } catch (problem) {
    if (mine !== built || signal.aborted) return;
    said.replaceChildren(failed(problem instanceof TypeError ? "The server does not answer. Is pertoken serve still running?" : problem.message));
  }
}
