/** What the address says: knobs that differ from the first screen's, the view, and what views remember. */

const RESERVED = ["view"];

/** Knobs that say the same thing, or cannot be given together: setting one lets go of the others. */
const RIVALS = {
  concurrency: ["rps", "load"],
  rps: ["concurrency", "load", "utilisation"],
  load: ["concurrency", "rps", "utilisation"],
  utilisation: ["rps", "load"],
  input: ["trace"],
  output: ["trace"],
  trace: ["input", "output"],
};

/** The state of the page. */
export class State {
  /**
   * @param {Object[]} knobs as GET /api/knobs lists them
   * @param {Object} start knobs of the first screen
   */
  constructor(knobs, start) {
    this.names = knobs.map((knob) => knob.name);
    this.start = { ...start };
    this.read("");
  }

  /**
   * Take what an address says; an empty value is a knob of the first screen that was let go.
   * @param {string} search
   * @returns {string[]} names that are no knobs and were left out
   */
  read(search) {
    const given = new URLSearchParams(search);
    this.knobs = { ...this.start };
    this.view = given.get("view") || "";
    this.more = {};
    for (const [name, value] of given) {
      if (RESERVED.includes(name)) continue;
      if (!this.names.includes(name)) this.more[name] = value;
      else if (value === "") delete this.knobs[name];
      else this.knobs[name] = value;
    }
  }

  /**
   * Set a knob; null lets it go.
   * @returns {string[]} other knobs that were let go for it
   */
  set(name, value) {
    if (value === null || value === "") {
      delete this.knobs[name];
      return [];
    }
    this.knobs[name] = String(value);
    const gone = (RIVALS[name] || []).filter((other) => other in this.knobs);
    for (const other of gone) delete this.knobs[other];
    return gone;
  }

  /** What differs from the first screen, as the query of an address. */
  search() {
    const said = new URLSearchParams();
    for (const name of this.names) {
      const [now, first] = [this.knobs[name] ?? "", this.start[name] ?? ""];
      if (now !== first) said.set(name, now);
    }
    if (this.view) said.set("view", this.view);
    for (const [name, value] of Object.entries(this.more)) if (value) said.set(name, value);
    const text = said.toString();
    return text ? `?${text}` : "";
  }
}
