"use strict";
(function () {
  // A row is shown if it has the chosen value of every filter; a board without rows is hidden.
  const choices = Array.from(document.querySelectorAll("select"));
  function show() {
    for (const row of document.querySelectorAll("tbody tr")) {
      row.hidden = choices.some(function (choice) {
        return choice.value !== "" && row.getAttribute("data-" + choice.name.replace("_", "-")) !== choice.value;
      });
    }
    for (const board of document.querySelectorAll("section")) {
      const rows = Array.from(board.querySelectorAll("tbody tr"));
      board.hidden = rows.length > 0 && rows.every(function (row) { return row.hidden; });
    }
  }
  for (const choice of choices) choice.addEventListener("change", show);
  show();
})();
