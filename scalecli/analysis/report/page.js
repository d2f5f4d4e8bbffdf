// Tables: a click on a head sorts by that column, a second one the other way round; words above filter the rows.
"use strict";
(() => {
  const compare = new Intl.Collator("en", { numeric: true }).compare;

  // A number sorts by its exact value; "-" is a figure that is not known and comes last either way.
  function key(row, column) {
    const cell = row.cells[column];
    const text = cell.textContent.trim();
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return text === "-" || text === "" ? null : text;
  }

  function order(a, b, direction) {
    if (a === null || b === null) return (a === null) - (b === null);
    const both = typeof a === "number" && typeof b === "number";
    return direction * (both ? a - b : compare(a, b));
  }

  function sort(table, column) {
    const head = table.tHead.rows[0].cells[column];
    const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map((row) => [key(row, column), row]);
    rows.sort((a, b) => order(a[0], b[0], direction));
    table.tBodies[0].append(...rows.map((pair) => pair[1]));
  }

  function filter(table, words, count) {
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  }

  for (const table of document.querySelectorAll(".table > table")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, column));
      head.append(button);
    });
    if (table.tBodies[0].rows.length < 2) continue;
    const bar = document.createElement("label");
    const input = document.createElement("input");
    const count = document.createElement("output");
    bar.className = "filter";
    input.type = "search";
    bar.append("Filter", input, count);
    input.addEventListener("input", () => filter(table, input.value.toLowerCase().split(/\s+/).filter(Boolean), count));
    filter(table, [], count);
    table.parentElement.before(bar);
  }
})();
