// Sorts and filters the tables of figures. The page is whole without it.
"use strict";
for (const table of document.querySelectorAll("table.figures")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  if (rows.length < 2) continue;
  const heads = [...table.tHead.rows[0].cells];

  const sum = (shown, field) => {
    const at = heads.findIndex((head) => head.dataset.field === field);
    return at < 0 ? 0 : shown.reduce((total, row) => total + Number(row.cells[at].dataset.value || 0), 0);
  };
  const dollars = (usd) => {
    const small = usd > 0 && usd < 1 ? Math.max(4, 1 - Math.floor(Math.log10(usd))) : 2;
    return "$" + usd.toLocaleString("en-US", { minimumFractionDigits: small, maximumFractionDigits: small });
  };

  const sort = (at, isDown) => {
    const value = (row) => {
      const cell = row.cells[at];
      if (cell.classList.contains("name")) return cell.textContent.toLowerCase();
      return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    };
    const sorted = rows.map((row) => [value(row), row]);
    sorted.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // what is unknown comes last
      const order = typeof a === "string" ? a.localeCompare(b) : a - b;
      return isDown ? -order : order;
    });
    body.append(...sorted.map(([, row]) => row));
    heads.forEach((head, number) => {
      if (number === at) head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };

  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      const former = head.getAttribute("aria-sort");
      sort(at, former ? former === "ascending" : !head.classList.contains("name"));
    });
    head.replaceChildren(button);
  });

  const tools = document.createElement("div");
  tools.className = "tools";
  const field = document.createElement("input");
  field.type = "search";
  field.placeholder = "Filter rows";
  field.setAttribute("aria-label", "Filter rows by name");
  const note = document.createElement("span");
  note.className = "muted";
  note.setAttribute("aria-live", "polite");
  const filter = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = rows.filter((row) => {
      const names = [...row.cells].filter((cell) => cell.classList.contains("name"));
      const text = names.map((cell) => cell.textContent.toLowerCase()).join(" ");
      row.hidden = !words.every((word) => text.includes(word));
      return !row.hidden;
    });
    const found = `${shown.length} of ${rows.length} rows`;
    const requests = sum(shown, "requests").toLocaleString("en-US");
    note.textContent = words.length ? `${found}: ${requests} requests, ${dollars(sum(shown, "cost_usd"))}` : found;
  };
  field.addEventListener("input", filter);
  filter();
  tools.append(field, note);
  table.closest(".wide").before(tools);
}
