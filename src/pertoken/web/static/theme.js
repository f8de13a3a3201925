/* Runs before anything is painted, so that the page never flashes in the other colours. */
"use strict";
(() => {
  let chosen = "";
  try {
    chosen = localStorage.getItem("pertoken-theme") || "";
  } catch { /* no storage: follow the system */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
