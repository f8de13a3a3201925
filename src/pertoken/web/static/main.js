/** The page: knobs move, the server prices, figures and the open view follow. */

import { ask, askNewest, Follower, Refusal, refusal } from "./asking.js";
import { chart, follow, following, settle } from "./charts.js";
import { show } from "./figures.js";
import { knobs } from "./knobs.js";
import { nearest } from "./mending.js";
import { screen } from "./screen.js";
import { save, tools } from "./share.js";
import { State } from "./state.js";
import { tabs, VIEWS } from "./tabs.js";
import { el } from "./views/parts.js";

const REST = 600; // ms without a move after which the view follows and the address is written,
const LET_GO = 150; // and after a slider was let go
const byId = (id) => document.getElementById(id);

/** What views are given. */
class App {
  constructor(table, catalog) {
    this.listing = table; // of knobs
    this.catalog = catalog;
    this.state = new State(table.knobs, table.start);
    this.state.read(location.search);
    this.uploads = {}; // names of files by what the server calls them
    this.page = null;
    this.screen = screen();
    this.controls = knobs(byId("knobs"), table, catalog, this);
    byId("more").append(byId("knobs").querySelector(".more")); // as wide as the page
    this.tabs = tabs(byId("tabs"), byId("view"), this);
    this.follower = new Follower((signal) => this.price(signal));
    tools(byId("tools"), this);
  }

  /** Knobs as given. */
  get knobs() { return this.state.knobs; }

  /** Set a knob, or let it go with null. */
  set(name, value, { moving = false } = {}) {
    const gone = this.state.set(name, value);
    if (gone.length) this.announce(`${gone.join(" and ")} set to auto, since ${name} was set`);
    this.follower.moved();
    this.restIn(moving ? REST : 0);
  }

  /** A slider was let go; keys let go of it again and again. */
  letGo() { this.restIn(LET_GO); }

  restIn(ms) {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.rest(), ms);
  }

  /** Ask with what is set now, and paint the answer. */
  async price(signal) {
    try {
      const page = await ask("/api/page", { knobs: this.knobs, ...following() }, signal);
      this.page = page;
      this.screen.refuse(null);
      this.screen.paint(page);
      this.controls.show(page.effective);
      await follow(page.rows);
      this.stale = false;
    } catch (problem) {
      if (signal?.aborted) return;
      if (!(problem instanceof Refusal)) throw problem;
      const change = nearest(problem.message, this.knobs);
      this.screen.refuse(problem, change, () => { for (const [name, value] of change.knobs) this.set(name, value); });
      this.controls.show(this.page?.effective ?? {});
      this.stale = true;
    }
  }

  /** The hand rests: address, view and charts follow, and who listens hears the prices. */
  async rest() {
    clearTimeout(this.resting);
    await this.follower.idle();
    this.write("replaceState");
    if (this.stale) return;
    this.tell();
    this.tabs.update(this.page);
    settle(this);
  }

  /** Prices for those who listen, and in the title. */
  tell() {
    const { input, output } = this.page.figures;
    this.announce(`Input ${input.shown}, output ${output.shown}, per million tokens`);
    const { model } = this.page.scenario;
    document.title = `${input.shown} in, ${output.shown} out: ${this.uploads[model] ?? model} - pertoken`;
  }

  write(how) {
    const address = `${location.pathname}${this.state.search()}`;
    if (address !== location.pathname + location.search) history[how](null, "", address);
  }

  /** Open a view; the address remembers it. */
  open(name) {
    this.state.view = name === VIEWS[0] ? "" : name;
    this.write("pushState");
    this.tabs.open(name);
  }

  /** What a view remembers in the address, besides knobs. */
  remembered(name) { return this.state.more[name] ?? ""; }

  /** Let the address remember a text for a view; an empty one is forgotten. */
  remember(name, value) {
    this.state.more[name] = value;
    this.write("replaceState");
  }

  /** Follow the address: at the start, and when the browser goes back or forth. */
  async navigate() {
    this.state.read(location.search);
    this.follower.moved();
    await this.follower.idle();
    if (!this.stale) this.tell();
    const opened = this.tabs.open(VIEWS.includes(this.state.view) ? this.state.view : VIEWS[0]);
    if (!opened) await this.rest(); // a view that was open already follows
  }

  /** Ask the server; undefined when a newer question overtook this one. */
  post(path, body, how) { return askNewest(path, body, how); }

  /** Draw a chart by name. */
  chart(root, name, how = {}) { return chart(root, name, how, this); }

  /** Show a number that says where it comes from. */
  figure(root, figure, how) { show(root, figure, how); }

  /** Show a table; cells are texts or figures. */
  table(root, { title, head, rows, note }) {
    const body = rows.map((cells) => el("tr", {}, ...cells.map((cell, i) => {
      const made = el(i ? "td" : "th", { scope: i ? null : "row", class: i && numeric(cell) ? "end" : null });
      if (cell && typeof cell === "object") show(made, cell);
      else made.textContent = cell ?? "";
      return made;
    })));
    const ends = head.map((_, i) => i > 0 && rows.length > 0 && rows.every((cells) => numeric(cells[i])));
    root.replaceChildren(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title || "Table" }, el("table", {},
      title ? el("caption", { text: title }) : null,
      el("thead", {}, el("tr", {}, ...head.map((text, i) => el("th", { scope: "col", class: ends[i] ? "end" : null, text })))),
      el("tbody", {}, ...body))), note ? el("p", { class: "quiet note", text: note }) : "");
  }

  /** Say something to those who listen. */
  announce(text) { byId("said").textContent = text; }

  /** Save what a command would write. */
  download(what, form, options) { return this.save({ what, form, knobs: this.knobs, ...(options ? { options } : {}) }); }

  /** Save by a whole request to /api/export. */
  async save(body) {
    try {
      this.announce("Making the file");
      this.announce(`Saved ${await save(body)}`);
    } catch (problem) {
      this.toast(problem.message, "Not saved");
    }
  }

  /** Send a file to the server on this machine, and set a knob to it. */
  async upload(knob, file, kind) {
    try {
      const answer = await fetch(`/api/upload?name=${encodeURIComponent(file.name)}`, { method: "POST", headers: { "content-type": kind }, body: file });
      if (!answer.ok) throw await refusal(answer);
      const found = await answer.json();
      this.uploads[found.upload] = file.name;
      this.announce(found.summary ?? `${file.name} was read`);
      this.set(knob, found.upload);
    } catch (problem) {
      this.toast(problem.message, `${file.name} was not read`);
    }
  }

  /** A short note that goes by itself. */
  toast(text, title) {
    byId("toast")?.remove();
    const box = el("div", { id: "toast", class: "toast" }, el("strong", { text: title }), el("pre", { text }),
      el("button", { type: "button", text: "Close", onclick: () => box.remove() }));
    document.body.append(box);
    this.announce(`${title}: ${text}`);
    clearTimeout(this.toasting);
    this.toasting = setTimeout(() => box.remove(), 8000);
  }
}

function numeric(cell) {
  return (cell && typeof cell === "object") || cell === "" || /^[-+~]?[$]?[\d.,]+\s?(%|x|×|[a-zA-Z/]{1,4}|$)/.test(cell ?? "") || cell === "-";
}

async function begin() {
  try {
    const [table, catalog] = await Promise.all([ask("/api/knobs"), ask("/api/catalog")]);
    const app = new App(table, catalog);
    window.addEventListener("popstate", () => app.navigate());
    await app.navigate();
  } catch (problem) {
    const box = byId("problem");
    box.hidden = false;
    box.replaceChildren(el("p", { text: problem.message }));
    if (!(problem instanceof Refusal)) throw problem;
  }
}

begin();
