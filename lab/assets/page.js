// Buttons and choices, and what they show. Everything that is written comes from DATA, which is results.json.
const $ = (s) => document.querySelector(s), all = (s) => [...document.querySelectorAll(s)];
const rows = Object.entries(DATA.rows);
const named = (selector, name) => all(selector).find((e) => e.dataset.name === name);
let picked = null;

Common.theme($("#theme"));

// ---- the table --------------------------------------------------------------------------------------------
const table = $("#table"), heads = [...table.tHead.rows[0].cells], trs = [...table.tBodies[0].rows];
all("span.shape").forEach((s) => { s.innerHTML = Draw.shape(s.dataset.shape); });
all("span.interval").forEach((s) => { s.innerHTML = Draw.interval(Number(s.dataset.mean), Number(s.dataset.half), -10, 5); });
heads.forEach((th, i) => {
  const b = th.querySelector("button");
  b.onclick = () => tell(Table.by(table, i, Table.turn(th)));
  b.onmouseenter = b.onfocus = () => { $("#meaning").textContent = `${Table.title(th)}: ${b.title}.`; };
});
const column = (title) => heads.findIndex((th) => Table.title(th) === title);
const written = (name, measure) => trs.find((tr) => tr.dataset.name === name)              // a figure as the table has it
  .cells[column(DATA.measures[measure].title)].textContent;
Table.by(table, column("score"), true);
function view(name) {
  table.className = name;
  for (const b of $("#views").children) b.setAttribute("aria-pressed", b.dataset.view === name);
}
for (const b of $("#views").children) b.onclick = () => {
  view(b.dataset.view);
  Common.write({view: b.dataset.view === "overview" ? "" : b.dataset.view});
};

// ---- which rows -------------------------------------------------------------------------------------------
for (const key of ["learns", "pipeline"]) {
  for (const v of [...new Set(trs.map((tr) => tr.dataset[key]))].sort()) $(`#${key}`).append(new Option(v));
  $(`#${key}`).onchange = (e) => { Common.write({[key]: e.target.value}); filter(); tell($("#number").textContent); };
}
let shown = rows;
function filter() {
  for (const tr of trs) tr.hidden = ["learns", "pipeline"].some((key) => $(`#${key}`).value && tr.dataset[key] !== $(`#${key}`).value);
  const there = new Set(trs.filter((tr) => !tr.hidden).map((tr) => tr.dataset.name));
  shown = rows.filter(([name]) => there.has(name));
  $("#number").textContent = `${shown.length} of ${rows.length} rows, in the table and in every picture`;
  pictures(); curves(); answers();
}

// ---- pictures ---------------------------------------------------------------------------------------------
const quality = $("#quality");
for (const m of ["score", "strict", ...DATA.families]) quality.append(new Option(DATA.measures[m].title, m));
function pictures() {
  const y = quality.value, s = DATA.measures[y].scale, W = Math.min(660, Math.max(280, $("#cost").clientWidth || 660));
  const best = Math.max(...shown.map(([, r]) => r.figures[y] ? s * r.figures[y][0] : -Infinity));
  const near = shown.filter(([, r]) => r.figures[y] && (!$("#zoom").checked || s * r.figures[y][0] >= best - 6));
  const point = ([name, r], x, xh, said) => ({name, group: r.group, x, xh, tip: `${name}: ${DATA.measures[y].title} ${
    written(name, y)}; ${said}`, y: s * r.figures[y][0], yh: r.figures[y][1] && s * r.figures[y][1]});
  const size = {W, H: W < 500 ? 420 : 470, picked}, ylabel = `${DATA.measures[y].title}, percent`;
  $("#cost").innerHTML = Draw.scatter(near.filter(([, r]) => r.cost && r.cost.relative > 0).map((r) =>
    point(r, r[1].cost.relative, 0, `${r[1].cost.relative.toFixed(2)} × SFT's FLOPs`)),
    {xlabel: "FLOPs, times SFT's (logarithmic)", ylabel, log: true, ...size});
  $("#kl").innerHTML = Draw.scatter(near.map((r) => {
    const k = r[1].figures.kl_own;
    return point(r, k && k[0], k && k[1], `KL ${written(r[0], "kl_own")} nats per token`);
  }), {xlabel: "KL to the base, nats per token", ylabel, log: false, ...size});
  tip("cost"); tip("kl");
}
function tip(id, point = $(`#${id} .marked`)) { $(`.tip[data-tip="${id}"]`).textContent = point?.dataset.tip ?? ""; }
for (const id of ["cost", "kl"]) {
  // the nearest point, so that covered ones can be reached from their free side
  const nearest = (e) => {
    const svg = $(`#${id} svg`);
    if (!svg) return undefined;
    const at = new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const far = (p) => Math.hypot(p.dataset.x - at.x, p.dataset.y - at.y);
    const first = [...svg.querySelectorAll(".point")].sort((a, b) => far(a) - far(b))[0];
    return first && far(first) < 40 ? first : undefined;
  };
  $(`#${id}`).onpointermove = (e) => tip(id, nearest(e));
  $(`#${id}`).onpointerleave = () => tip(id);
  $(`#${id}`).onclick = (e) => { const p = nearest(e); if (p) pick(p.dataset.name); };
}
quality.onchange = $("#zoom").onchange = () => {
  pictures();
  tell(`pictures: ${DATA.measures[quality.value].title}, ${$("#zoom").checked ? "only rows near the best" : "all rows"}`);
};
let wait;
addEventListener("resize", () => { clearTimeout(wait); wait = setTimeout(() => { pictures(); stops(); }, 150); });

// ---- learning curves --------------------------------------------------------------------------------------
const short = (x) => Math.abs(x) >= 100 ? x.toFixed(0) : Math.abs(x) >= 10 ? x.toFixed(1)
  : Math.abs(x) >= 0.01 || x === 0 ? x.toFixed(2) : x.toPrecision(1);
const ranges = {};
for (const [, r] of rows) if (r.held && r.held.points.length) (ranges[r.held.name] ??= []).push(...r.held.points);
for (const name in ranges) ranges[name] = Draw.span(ranges[name]);
function curves() {
  $("#curves").innerHTML = shown.filter(([, r]) => r.curve && r.curve.length).map(([name, r]) =>
    Draw.curve(name, r.group, r.curve, r.held, r.held && ranges[r.held.name], short)).join("");
  mark();
}

// ---- the same prompts -------------------------------------------------------------------------------------
let asked = 0;
const seeds = [...new Set(rows.flatMap(([, r]) => Object.keys(r.answers || {})))].sort((a, b) => a - b);
for (const s of seeds) $("#seed").append(new Option(s));
DATA.prompts.forEach((p, i) => {
  const b = document.createElement("button");
  b.type = "button"; b.textContent = p.family;
  b.onclick = () => { asked = i; answers(); tell($("#asked").textContent); };
  $("#prompts").append(b);
});
const bars = (tokens, pushes) => Common.strip(pushes, {most: 2.4, word: (i) => Common.esc(tokens[i]),
  label: tokens.map((token, i) => `${token} ${Common.signed(pushes[i])}`).join(", ")});
function answers() {
  const p = DATA.prompts[asked], seed = $("#seed").value, when = $("#when").value;
  [...$("#prompts").children].forEach((b, i) => b.setAttribute("aria-pressed", i === asked));
  $("#asked").innerHTML = `<b>${Common.esc(p.prompt)}</b><br>a right answer: <q>${Common.esc(p.right)}</q>; the wrong one of
    the ledger: <q>${Common.esc(p.wrong)}</q>`;
  const strips = (name, r) => {
    const seen = when !== "none" && r.ledger && r.ledger[asked][when];
    return !seen ? "" : ["right", "wrong"].filter((side) => seen[side]).map((side) =>
      `<div class="scroll" role="group" aria-label="ledger of ${Common.esc(name)}, ${side} answer"><span class="side">${side}</span>${
        bars(p[side + "_tokens"], seen[side])}</div>`).join("");
  };
  const best = (r) => r.figures.score ? -r.figures.score[0] : 1;
  const there = shown.filter(([, r]) => r.answers).sort((a, b) => best(a[1]) - best(b[1]));
  $("#said").innerHTML = there.map(([name, r]) => {
    const a = r.answers[seed] || (name === "base" ? Object.values(r.answers)[0] : null);
    const [says, score, ends] = a ? a[asked] : [];
    return `<article data-name="${Common.esc(name)}"><h3>${Draw.shape(r.group)} ${Common.esc(name)}</h3><p>${!a ? "no run with this seed"
      : `<q>${Common.esc(DATA.said[says])}</q> <span class="mark">${score === 1 ? "✓" : score === 0 ? "✗" : "~"} ${
        score.toFixed(2)}${ends ? "" : ", does not stop"}</span>`}</p><div>${strips(name, r)}</div></article>`;
  }).join("");
  stops(); mark();
}
// a strip is a stop of the Tab key only where it must be scrolled
function stops() {
  const wide = all("article .scroll").map((e) => e.scrollWidth > e.clientWidth);
  all("article .scroll").forEach((e, i) => { if (wide[i]) e.tabIndex = 0; else e.removeAttribute("tabindex"); });
}
$("#seed").onchange = $("#when").onchange = () => { answers(); tell(`answers of seed ${$("#seed").value}, ledger ${$("#when").value}`); };

// ---- one row is marked everywhere -------------------------------------------------------------------------
function mark() {
  for (const e of all("#table tbody tr, svg.curve, article"))
    e.toggleAttribute("data-marked", e.dataset.name === picked);
  for (const a of all("#table tbody th a"))
    if (a.closest("tr").dataset.name === picked) a.setAttribute("aria-current", "true"); else a.removeAttribute("aria-current");
  // this box is always there: marking moves no row
  const rank = picked !== null && [...new Set(DATA.rows[picked].rank)].join(" to ");
  $("#picked span").textContent = picked === null ? "No row is marked. A click on a row marks it, here and in every picture."
    : `Marked: ${picked}, score ${written(picked, "score")}${rank && `, rank ${rank} of ${rows.length}`}. Go to`;
  for (const b of all("#picked button")) b.disabled = picked === null;
}
function pick(name) {
  picked = name !== null && Object.hasOwn(DATA.rows, name) ? name : null;
  Common.write({row: picked});
  pictures(); mark();
  tell($("#picked span").textContent.replace(" Go to", ""));
}
const places = {row: "#table tbody tr", point: "#cost .point", curve: "svg.curve", answer: "article"};
function go(where) {
  const e = named(places[where], picked);
  if (!e || e.hidden) return tell($("#picked span").textContent = `${picked} is not among the ${where}s that are shown.`);
  const target = where === "row" ? e.querySelector("th a") : where === "point" ? e.closest("figure") : e;
  target.scrollIntoView({block: "center", inline: "nearest"});
  if (where !== "row") target.setAttribute("tabindex", "-1");
  target.focus({preventScroll: true});
  tell(where === "point" ? e.dataset.tip : `${where} of ${picked}`);
}
for (const b of $("#picked").querySelectorAll("button")) b.onclick = () => {
  if (b.dataset.go) return go(b.dataset.go);
  const name = picked;
  pick(null);
  const tr = named(places.row, name);
  (tr.hidden ? $("#table thead button") : tr.querySelector("th a")).focus();
};
table.addEventListener("click", (e) => {
  const tr = e.target.closest("tbody tr"), a = e.target.closest("a");
  if (!tr || (a && !a.matches("th a")) || e.ctrlKey || e.metaKey || e.shiftKey) return;
  e.preventDefault();
  pick(tr.dataset.name === picked && !a ? null : tr.dataset.name);
});

// ---- from the address, now and when a link changes it -----------------------------------------------------
function open_() {
  const state = Common.read();
  if (Chooser) Chooser.open(state);
  view(["families", "cost", "everything"].includes(state.view) ? state.view : "overview");
  for (const key of ["learns", "pipeline"]) {
    $(`#${key}`).value = state[key] ?? "";
    if ($(`#${key}`).selectedIndex < 0) $(`#${key}`).value = "";
  }
  filter();
  if (state.row && Object.hasOwn(DATA.rows, state.row)) { pick(state.row); go("row"); }
  else if (picked !== null) pick(null);
}
addEventListener("hashchange", open_);
addEventListener("beforeprint", () => { $(".columns").open = true; });
open_();
