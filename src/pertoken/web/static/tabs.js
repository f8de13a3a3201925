/** The views as tabs: arrows move between them, each is loaded when it is first opened. */

import { el, failed } from "./views/parts.js";

export const VIEWS = ["why", "position", "load", "market", "tariff", "compare", "answers"];

/**
 * The tabs and the panel below them.
 * @param {HTMLElement} list
 * @param {HTMLElement} panel
 * @param {Object} app
 */
export function tabs(list, panel, app) {
  const buttons = VIEWS.map((name) => el("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-controls": panel.id, "aria-selected": "false", tabindex: "-1",
    text: name[0].toUpperCase() + name.slice(1), onclick: () => app.open(name),
  }));
  list.append(...buttons);
  list.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const next = buttons[(to + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
  let module = null;
  let now = "";
  return {
    /** Show a view; false when it is shown already. */
    open(name) {
      if (name === now) return false;
      now = name;
      this.mount(name);
      return true;
    },
    async mount(name) {
      for (const button of buttons) {
        const chosen = button.id === `tab-${name}`;
        button.setAttribute("aria-selected", String(chosen));
        button.tabIndex = chosen ? 0 : -1;
        if (chosen) list.scrollLeft = button.offsetLeft + button.offsetWidth > list.clientWidth ? button.offsetLeft - 16 : 0;
      }
      panel.setAttribute("aria-labelledby", `tab-${name}`);
      leave(module);
      module = null;
      panel.replaceChildren(el("p", { class: "quiet", text: "Loading." }));
      try {
        const found = await import(`./views/${name}.js`);
        if (name !== now) return;
        panel.replaceChildren();
        panel.className = `view view-${name}`;
        module = found;
        await module.mount(panel, app);
      } catch (problem) {
        if (name === now) panel.replaceChildren(failed(`This view did not load: ${problem.message}`));
      }
    },
    /** Let the open view follow the knobs. */
    update(page) {
      module?.update?.(page, app);
    },
  };
}

function leave(module) {
  try {
    module?.unmount?.();
  } catch (problem) {
    console.warn(problem);
  }
}
