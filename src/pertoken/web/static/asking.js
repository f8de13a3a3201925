/** Asks the server: an answer that a newer question has overtaken is dropped, and its request ended. */

/** What the server refuses, in its own words. */
export class Refusal extends Error {
  /**
   * @param {string} sentence
   * @param {number} status
   * @param {number} code the command's exit status: 3 when the model does not fit
   */
  constructor(sentence, status, code) {
    super(sentence);
    this.status = status;
    this.code = code;
  }
}

const newest = new Map(); // by key: [sequence number, what ends the request]

/**
 * One answer.
 * @param {string} path
 * @param {Object} body
 * @param {AbortSignal} [signal]
 * @returns {Promise<Object>}
 */
export async function ask(path, body, signal) {
  let answer;
  try {
    answer = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  } catch (problem) {
    if (signal?.aborted) throw problem;
    throw new Refusal("The server does not answer. Is pertoken serve still running?", 0, 0);
  }
  if (answer.ok) return answer.json();
  throw await refusal(answer);
}

/**
 * What an answer other than 200 says.
 * @param {Response} answer
 */
export async function refusal(answer) {
  try {
    const said = await answer.json();
    return new Refusal(said.error, answer.status, said.exit_code);
  } catch {
    return new Refusal(`The server answered with status ${answer.status}.`, answer.status, 0);
  }
}

/**
 * The newest answer of its kind: undefined when a newer question was asked meanwhile.
 * @param {string} path
 * @param {Object} body
 * @param {{signal?: AbortSignal, key?: string}} [how] `key` tells apart what does not overtake each other
 */
export async function askNewest(path, body, { signal, key } = {}) {
  const name = key ?? `${path} ${body?.options?.part ?? ""}`;
  const [number, before] = newest.get(name) ?? [0, null];
  before?.abort();
  const ends = new AbortController();
  const mine = number + 1;
  newest.set(name, [mine, ends]);
  const leave = () => ends.abort();
  signal?.addEventListener("abort", leave);
  try {
    const found = await ask(path, body, ends.signal);
    return newest.get(name)[0] === mine ? found : undefined;
  } catch (problem) {
    if (newest.get(name)[0] !== mine || ends.signal.aborted) return undefined;
    throw problem;
  } finally {
    signal?.removeEventListener("abort", leave);
  }
}

/** Follows a moving slider: one question at a time, always with the newest values; a slow one is ended for a newer. */
export class Follower {
  /**
   * @param {(signal: AbortSignal) => Promise<void>} question asks with what is set now, and shows the answer
   * @param {number} patience ms after which a newer question ends an older one
   */
  constructor(question, patience = 400) {
    Object.assign(this, { question, patience, again: false, ends: null, since: 0 });
  }

  /** Something moved. */
  moved() {
    if (!this.ends) {
      this.run();
      return;
    }
    this.again = true;
    if (performance.now() - this.since > this.patience) this.ends.abort();
  }

  /** Ends when nothing is asked any more. */
  async idle() {
    while (this.ends) await new Promise((done) => { setTimeout(done, 15); });
  }

  async run() {
    try {
      do {
        this.again = false;
        this.ends = new AbortController();
        this.since = performance.now();
        await this.question(this.ends.signal);
      } while (this.again);
    } finally {
      this.ends = null;
    }
  }
}
