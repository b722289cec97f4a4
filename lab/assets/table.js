// Sorting, and intervals. A value is a number where the column is numeric, else a text; what is missing stays at the end.
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

  // A difference and its interval on a scale with 0; what lies farther than the scale is an arrow at its end.
  interval(mean, half, low, high) {
    const at = (x) => (4 + 92 * (Math.min(Math.max(x, low), high) - low) / (high - low)).toFixed(1), h = half || 0;
    const arrow = mean < low ? "M9,1L0,7L9,13Z" : mean > high ? "M91,1L100,7L91,13Z" : "";
    return `<svg class="range" viewBox="0 0 100 14" aria-hidden="true"><path class="zero" d="M${at(0)},0V14"/>
      <path class="band" d="M${at(mean - h)},7H${at(mean + h)}"/>${arrow ? `<path class="dot" d="${arrow}"/>`
      : `<circle class="dot" cx="${at(mean)}" cy="7" r="3.5"/>`}</svg>`;
  },

  // Next direction of a column: the best comes first (class least: the smallest is the best), texts begin with a.
  turn(th) {
    const now = th.getAttribute("aria-sort");
    return now ? now === "ascending" : th.classList.contains("n") && !th.classList.contains("least");
  },
};
if (typeof module !== "undefined") module.exports = Table;
