"use strict";
(function () {
  // Tables: a heading is a button that sorts by its column, up and then down.
  function value(row, column) {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent.trim().toLowerCase() : Number(cell.dataset.v);
  }
  function order(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // unknown values last
    return a < b ? -1 : a > b ? 1 : 0;
  }
  for (const heading of document.querySelectorAll("thead th")) {
    const button = heading.querySelector("button");
    if (!button) continue;
    button.addEventListener("click", function () {
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = heading.closest("table").tBodies[0];
      const rows = Array.from(body.rows);
      rows.sort(function (a, b) {
        const found = order(value(a, heading.cellIndex), value(b, heading.cellIndex));
        return down ? -found : found;
      });
      for (const row of rows) body.appendChild(row);
    });
  }

  // Figures: what is pointed at, touched or reached by the keyboard says its number.
  const tip = document.getElementById("tip");
  function show(target, x, y) {
    tip.textContent = target.dataset.tip;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(x - box.width / 2, 6), window.innerWidth - box.width - 6);
    const above = y - box.height - 14;
    tip.style.left = left + "px";
    tip.style.top = (above > 6 ? above : y + 18) + "px";
  }
  function hide() { tip.hidden = true; }
  document.addEventListener("pointermove", function (event) {
    const target = event.target.closest && event.target.closest("[data-tip]");
    if (target) show(target, event.clientX, event.clientY); else hide();
  });
  document.addEventListener("pointerdown", function (event) {
    const target = event.target.closest && event.target.closest("[data-tip]");
    if (target) show(target, event.clientX, event.clientY); else hide();
  });
  document.addEventListener("focusin", function (event) {
    const target = event.target.closest && event.target.closest("[data-tip]");
    if (!target) return hide();
    const box = target.getBoundingClientRect();
    show(target, box.left + box.width / 2, box.top);
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", function (event) { if (event.key === "Escape") hide(); });
  window.addEventListener("scroll", hide, { passive: true });
})();
