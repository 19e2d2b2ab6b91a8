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
})();
