// Sorting. A value is a number where the column is numeric, else a text; what is missing stays at the end.
const Table = {
  // rows: [{v: "12.3" | "", ...}] -> the same rows in order; stable, so equal ones keep their places
  sorted(rows, numeric, down) {
    const sign = down ? -1 : 1;
    return [...rows].sort((a, b) => {
      if (a.v === "" || b.v === "") return (a.v === "") - (b.v === "");
      return sign * (numeric ? Number(a.v) - Number(b.v) : a.v.localeCompare(b.v, "en"));
    });
  },

  // Sort the table by column i; its header tells the direction, to eyes and to screen readers.
  by(table, i, down) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    const rows = [...body.rows].map((tr) => ({tr, v: tr.cells[i].dataset.v}));
    body.append(...Table.sorted(rows, heads[i].classList.contains("n"), down).map((r) => r.tr));
    heads.forEach((th, k) => {
      th.removeAttribute("aria-sort");
      th.querySelector(".sign").textContent = k === i ? (down ? " ▼" : " ▲") : "";
    });
    heads[i].setAttribute("aria-sort", down ? "descending" : "ascending");
    return `sorted by ${Table.title(heads[i])}, ${heads[i].classList.contains("n") ? down ? "largest" : "smallest"
      : down ? "z" : "a"} first`;
  },

  title: (th) => th.querySelector("button").firstChild.textContent,

  // Next direction of a column: the best comes first (class least: the smallest is the best), texts begin with a.
  turn(th) {
    const now = th.getAttribute("aria-sort");
    return now ? now === "ascending" : th.classList.contains("n") && !th.classList.contains("least");
  },
};
if (typeof module !== "undefined") module.exports = Table;
