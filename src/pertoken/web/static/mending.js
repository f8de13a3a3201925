/** The nearest change that a refusal names, as knobs that a button can set. */

const SECONDS = { us: 1e-6, ms: 1e-3, s: 1 };
const TIME = "([\\d.]+) (us|ms|s)";
const GOALS = new RegExp(`has a TTFT of ${TIME} and a TPOT of ${TIME}, and the goals are ${TIME} and ${TIME}`);

/**
 * What to change.
 * @param {string} sentence of the server
 * @param {Object} knobs as given
 * @returns {{words: string, knobs: [string, string|null][]}|null} null where the sentence names nothing that can be set
 */
export function nearest(sentence, knobs) {
  return fits(sentence) ?? goals(sentence) ?? rate(sentence) ?? both(sentence) ?? length(sentence, knobs) ?? format(sentence);
}

function change(words, ...changes) {
  return { words, knobs: changes };
}

function fits(sentence) {
  const found = /nearest change that fits: (.*)$/.exec(sentence);
  const flags = found ? [...found[1].matchAll(/--([a-z-]+) ([^\s,;]+)/g)] : [];
  const changes = flags.map(([, flag, value]) => [flag.replace(/-/g, "_"), value]);
  return changes.length ? change(`Use ${flags.map(([text]) => text).join(" ")}`, ...changes) : null;
}

/** Goals that can be met: a fifth above what a lone request takes, in two digits. */
function goals(sentence) {
  const found = GOALS.exec(sentence);
  if (!found) return null;
  const [ttft, tpot, goalTtft, goalTpot] = [1, 3, 5, 7].map((i) => Number(found[i]) * SECONDS[found[i + 1]]);
  const near = (value) => `${Number((value * 1200).toPrecision(2))}ms`;
  const changes = [["ttft", ttft, goalTtft], ["tpot", tpot, goalTpot]]
    .filter(([, takes, goal]) => takes * 1.02 > goal).map(([name, takes]) => [name, near(takes)]);
  return changes.length ? change(`Set the goal: ${changes.map(([name, value]) => `${name.toUpperCase()} ${value}`).join(", ")}`, ...changes) : null;
}

function rate(sentence) {
  const found = /requests\/s is more than the ([\d.,]+) that/.exec(sentence);
  if (!found) return null;
  const most = Number(found[1].replace(/,/g, "")) * 0.98;
  const value = String(Number(most.toPrecision(3)));
  return change(`Use ${value} requests a second`, ["rps", value]);
}

function both(sentence) {
  const found = /--([a-z-]+)(?: \S+)? and --([a-z-]+) cannot (?:both be given|be given together)/.exec(sentence);
  return found ? change(`Leave --${found[1]} out`, [found[1].replace(/-/g, "_"), null]) : null;
}

function length(sentence, knobs) {
  const found = /has ([\d,]+) tokens of input and output, and .* takes at most ([\d,]+)/.exec(sentence);
  if (!found) return null;
  const [has, most] = [1, 2].map((i) => Number(found[i].replace(/,/g, "")));
  const longer = ["input", "output"].find((name) => Number(knobs[name]) > has - most);
  if (!longer) return null;
  const value = String(Number(knobs[longer]) - (has - most));
  return change(`Use ${Number(value).toLocaleString("en-US")} ${longer} tokens`, [longer, value]);
}

function format(sentence) {
  const found = /use --dtype (\w+)/.exec(sentence);
  return found ? change(`Use ${found[1]} weights`, ["dtype", found[1]]) : null;
}
