// The table: which columns, which rows, which rows are marked. All of it stands in the address.
const $ = (s) => document.querySelector(s), all = (s) => [...document.querySelectorAll(s)];
const table = $("#table"), heads = [...table.tHead.rows[0].cells], trs = [...table.tBodies[0].rows];
let marked = [];                                           // names of rows

all("span.interval").forEach((s) => { s.innerHTML = Table.interval(Number(s.dataset.mean), Number(s.dataset.half), -10, 5); });
heads.forEach((th, i) => { th.querySelector("button").onclick = () => tell(Table.by(table, i, Table.turn(th))); });
Table.by(table, heads.findIndex((th) => Table.title(th) === "score"), true);
for (const v of [...new Set(trs.map((tr) => tr.dataset.learns))].sort()) $("#learns").append(new Option(v));

function draw({view, learns, alone}) {
  table.className = ["families", "cost"].includes(view) ? view : "overview";
  for (const b of $("#views").children) b.setAttribute("aria-pressed", b.dataset.view === table.className);
  $("#learns").value = learns ?? "";
  if ($("#learns").selectedIndex < 0) $("#learns").value = "";
  const only = Boolean(alone && marked.length), from = $("#learns").value;
  for (const tr of trs) {
    tr.toggleAttribute("data-marked", marked.includes(tr.dataset.name));
    tr.querySelector("th a").toggleAttribute("aria-current", tr.hasAttribute("data-marked"));
    tr.hidden = only ? !tr.hasAttribute("data-marked") : from && tr.dataset.learns !== from;
  }
  $("#alone").disabled = !marked.length;
  $("#alone").setAttribute("aria-pressed", only);
  $("#number").textContent = `${trs.filter((tr) => !tr.hidden).length} of ${trs.length} rows, ${marked.length} marked.`;
}
function change(changes) {
  Common.write(changes);
  draw(Common.read());
  tell($("#number").textContent);
}
$("#views").onclick = (e) => { if (e.target.dataset.view) change({view: e.target.dataset.view}); };
$("#learns").onchange = (e) => change({learns: e.target.value});
$("#alone").onclick = () => change({alone: $("#alone").ariaPressed === "true" ? "" : 1});
table.onclick = (e) => {
  const tr = e.target.closest("tbody tr"), a = e.target.closest("a");
  if (!tr || (a && !a.matches("th a")) || e.ctrlKey || e.metaKey || e.shiftKey) return;
  e.preventDefault();
  const {name} = tr.dataset;
  marked = marked.includes(name) ? marked.filter((other) => other !== name) : [...marked, name];
  change({row: marked.join("|")});
};
function arrive() {                                         // from the address, now and when a link changes it
  const state = Common.read();
  if (Chooser) Chooser.open(state);
  marked = (state.row ?? "").split("|").filter((name) => trs.some((tr) => tr.dataset.name === name));
  draw(state);
  trs.find((tr) => tr.dataset.name === marked[0])?.querySelector("th a").focus();
}
addEventListener("hashchange", arrive);
addEventListener("beforeprint", () => { $(".columns").open = true; });
arrive();
