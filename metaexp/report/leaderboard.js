"use strict";
(function () {
  // A row is shown if it has the chosen value of every filter; a board without rows is hidden.
  const choices = Array.from(document.querySelectorAll("select"));
  const rows = Array.from(document.querySelectorAll("tbody tr"));
  function lacks(row, choice) {
    const values = JSON.parse(row.getAttribute("data-" + choice.name.replace(/_/g, "-")));
    return choice.value !== "" && !values.includes(choice.value);
  }
  function show() {
    for (const row of rows) {
      row.hidden = choices.some(function (choice) { return lacks(row, choice); });
    }
    for (const board of document.querySelectorAll("section")) {
      const own = Array.from(board.querySelectorAll("tbody tr"));
      board.hidden = own.length > 0 && own.every(function (row) { return row.hidden; });
    }
    const left = rows.filter(function (row) { return !row.hidden; }).length;
    document.getElementById("shown").textContent =
      left === 0 && rows.length > 0 ? "No row has all these values." : left + " of " + rows.length + " rows";
  }
  for (const choice of choices) choice.addEventListener("change", show);
  show();
})();
