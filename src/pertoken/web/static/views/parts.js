/** Small parts that several views share: elements, sentences, choices, and a tree that keys open. */

/**
 * An element. Text never becomes markup.
 * @param {string} tag
 * @param {Object} [given] attributes; `text`, `class` and listeners such as `onclick` among them
 * @param {...(Node|string|null)} children
 * @returns {HTMLElement}
 */
export function el(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/**
 * Sentences as a list without marks.
 * @param {string[]} texts
 */
export function sentences(texts) {
  return el("div", { class: "sentences" }, ...texts.map((text) => el("p", { text })));
}

/**
 * What could not be shown, in words.
 * @param {string} text
 */
export function failed(text) {
  return el("p", { class: "failed", role: "status", text });
}

/**
 * Let the address forget what it remembers by these names.
 * @param {Object} app
 * @param {string[]} names
 * @returns {boolean} whether there was anything
 */
export function forgets(app, names) {
  const found = names.filter((name) => app.remembered(name));
  for (const name of found) app.remember(name, "");
  return found.length > 0;
}

/**
 * A labelled list to choose from.
 * @param {string} label
 * @param {{value: string, label: string}[]} choices
 * @param {string} value what is chosen
 * @param {(value: string) => void} chosen
 */
export function choice(label, choices, value, chosen) {
  const id = `choice-${label.replace(/\W+/g, "-").toLowerCase()}`;
  const list = el("select", { id, onchange: () => chosen(list.value) });
  for (const each of choices) {
    list.append(el("option", { value: each.value, text: each.label, selected: each.value === value }));
  }
  return el("p", { class: "choice" }, el("label", { for: id, text: label }), list);
}

/**
 * Where a figure was read: text, and a link that is followed only when the user clicks it.
 * @param {{of: string, text: string, url: string}[]} sources
 */
export function sources(list) {
  const made = el("span", { class: "sources" });
  for (const each of list) {
    const of = each.of ? `${each.of}: ` : "";
    const link = each.url && /^https?:\/\//.test(each.url)
      ? el("a", { href: each.url, target: "_blank", rel: "noopener noreferrer", text: each.text || each.url })
      : el("span", { text: each.text });
    made.append(el("span", { class: "source" }, of, link));
  }
  return made;
}

/**
 * A tree after the pattern of the ARIA practices: arrows move and open, Home and End jump, * opens all beside.
 * Branches are made when they are first opened.
 * @param {Object} root a node with `children`
 * @param {string} label of the tree
 * @param {(node: Object, depth: number) => Node[]} row what a node shows
 * @param {(node: Object) => Object[]} children of a node
 * @param {Set<string>} [kept] what the user opened, kept from one tree to the next
 * @returns {HTMLElement}
 */
export function tree(root, label, row, children, kept = new Set()) {
  const list = el("ul", { role: "tree", "aria-label": label, class: "tree" });
  const first = item(root, 1, 1, 1, { row, children, kept }, "");
  first.tabIndex = 0;
  list.append(first);
  list.addEventListener("keydown", (event) => pressed(event, list));
  list.addEventListener("click", (event) => clicked(event, list));
  return list;
}

let items = 0; // made so far, for names that no other has

function item(each, depth, position, count, how, above) {
  const own = how.children(each);
  const path = `${above}/${each.name}`;
  const id = `tree-item-${(items += 1)}`;
  const made = el("li", {
    role: "treeitem", tabindex: "-1", "aria-level": depth, "aria-posinset": position, "aria-setsize": count,
    "aria-labelledby": id, class: own.length ? "branch" : "leaf",
  });
  const line = el("div", { class: "row", id }, ...how.row(each, depth));
  line.style.setProperty("--depth", depth - 1);
  made.append(line);
  if (own.length) {
    made.expand = () => {
      if (!made.group) {
        made.group = el("ul", { role: "group" });
        own.forEach((child, i) => {
          made.group.append(item(child, depth + 1, i + 1, own.length, how, path));
        });
        made.append(made.group);
      }
      made.group.hidden = false;
      how.kept.add(path);
      made.setAttribute("aria-expanded", "true");
    };
    made.collapse = () => {
      if (made.group) made.group.hidden = true;
      how.kept.delete(path);
      made.setAttribute("aria-expanded", "false");
    };
    if (depth === 1 || how.kept.has(path)) made.expand();
    else made.setAttribute("aria-expanded", "false");
  }
  return made;
}

function shown(list) {
  return [...list.querySelectorAll("[role=treeitem]")].filter((each) => !each.closest("[hidden]"));
}

function focus(list, each) {
  if (!each) return;
  for (const old of list.querySelectorAll('[role=treeitem][tabindex="0"]')) old.tabIndex = -1;
  each.tabIndex = 0;
  each.focus();
}

function isOpen(each) {
  return each.getAttribute("aria-expanded") === "true";
}

function toggle(each) {
  if (each.expand) (isOpen(each) ? each.collapse : each.expand)();
}

function clicked(event, list) {
  const each = event.target.closest("[role=treeitem]");
  if (!each || event.target.closest("a") || !event.target.closest(".row")) return;
  toggle(each);
  focus(list, each);
}

function pressed(event, list) {
  const each = event.target.closest("[role=treeitem]");
  if (!each || event.target.closest("a") || event.altKey || event.ctrlKey || event.metaKey) return;
  const all = shown(list);
  const at = all.indexOf(each);
  const parent = each.parentElement.closest("[role=treeitem]");
  const act = {
    ArrowDown: () => focus(list, all[at + 1]),
    ArrowUp: () => focus(list, all[at - 1]),
    ArrowRight: () => (each.expand && !isOpen(each) ? each.expand() : each.group && focus(list, all[at + 1])),
    ArrowLeft: () => (each.expand && isOpen(each) ? each.collapse() : focus(list, parent)),
    Home: () => focus(list, all[0]),
    End: () => focus(list, all[all.length - 1]),
    Enter: () => toggle(each),
    " ": () => toggle(each),
    "*": () => [...each.parentElement.children].forEach((beside) => beside.expand && beside.expand()),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}
