"use strict";

/* Rows of a deeper level are parts of the row above them, and move with it. */
function forest(rows) {
  const roots = [], above = [];
  for (const row of rows) {
    const node = { row, level: Number(row.dataset.level), parts: [] };
    while (above.length && above.at(-1).level >= node.level) above.pop();
    (above.length ? above.at(-1).parts : roots).push(node);
    above.push(node);
  }
  return roots;
}

function valueOf(row, column) {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
}

/* Numbers before texts, blank cells last in either direction. */
function rank(value) {
  return typeof value === "number" ? 0 : value === "" || value === "-" ? 2 : 1;
}

function sorted(nodes, column, sign) {
  const order = (a, b) => {
    const [x, y] = [valueOf(a.row, column), valueOf(b.row, column)];
    if (rank(x) !== rank(y)) return rank(x) - rank(y);
    return sign * (rank(x) === 0 ? x - y : x.localeCompare(y, "en", { numeric: true }));
  };
  return [...nodes].sort(order).flatMap((node) => [node.row, ...sorted(node.parts, column, sign)]);
}

const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0], original = [...body.rows], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const way = NEXT[head.getAttribute("aria-sort") ?? "none"];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (way !== "none") head.setAttribute("aria-sort", way);
      const rows = way === "none" ? original : sorted(forest(original), column, way === "ascending" ? 1 : -1);
      body.append(...rows);
    });
  });
}

for (const button of document.querySelectorAll("button.save")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const data = button.closest("details").querySelector("pre").textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([data], { type: "application/json" }));
    link.download = button.dataset.name;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

/* A link of the contents opens what it leads to. */
function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();
