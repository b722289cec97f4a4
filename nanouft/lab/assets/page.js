// Buttons and choices, and what they show. Everything that is written comes from DATA, which is results.json.
const $ = (s) => document.querySelector(s), rows = Object.entries(DATA.rows);
const write = (name, f, half = true) => {
  const m = DATA.measures[name], text = (x) => (m.scale * x).toFixed(m.digits);
  return f === null ? "–" : text(f[0]) + (half && f[1] !== null ? ` ± ${text(f[1])}` : "");
};

// ---- light and dark ---------------------------------------------------------------------------------------
const dark = () => document.documentElement.dataset.theme
  ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
function theme(turn) {
  if (turn) document.documentElement.dataset.theme = dark() ? "light" : "dark";
  $("#theme").textContent = dark() ? "light" : "dark";
  $("#theme").setAttribute("aria-pressed", dark());
}
$("#theme").onclick = () => theme(true);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(false));
theme(false);

// ---- the table --------------------------------------------------------------------------------------------
const table = $("#table"), heads = [...table.tHead.rows[0].cells];
document.querySelectorAll("span.shape").forEach((s) => { s.innerHTML = Draw.shape(s.dataset.shape); });
heads.forEach((th, i) => {
  const b = th.querySelector("button");
  b.onclick = () => { $("#told").textContent = Table.by(table, i, Table.turn(th)); };
  b.onmouseenter = b.onfocus = () => { $("#meaning").textContent = `${Table.title(th)}: ${b.title}.`; };
});
Table.by(table, 2, true);
function view(name) {
  table.className = name;
  for (const b of $("#views").children) b.setAttribute("aria-pressed", b.dataset.view === name);
}
for (const b of $("#views").children) b.onclick = () => view(b.dataset.view);
view("overview");

// ---- pictures ---------------------------------------------------------------------------------------------
const quality = $("#quality");
for (const m of ["score", "strict", ...DATA.families])
  quality.append(new Option(DATA.measures[m].title, m));
function pictures() {
  const y = quality.value, s = DATA.measures[y].scale, W = Math.min(660, Math.max(340, $("#cost").clientWidth || 660));
  const point = ([name, r], x, xh, said) => ({name, group: r.group, x, xh, tip: `${name}: ${DATA.measures[y].title} ${
    write(y, r.figures[y])}; ${said}`, y: r.figures[y] && s * r.figures[y][0],
    yh: r.figures[y] && r.figures[y][1] && s * r.figures[y][1]});
  const size = {W, H: W < 500 ? 420 : 470}, ylabel = `${DATA.measures[y].title}, percent`;
  $("#cost").innerHTML = Draw.scatter(rows.filter(([, r]) => r.cost && r.cost.relative > 0).map((r) =>
    point(r, r[1].cost.relative, 0, `${r[1].cost.relative.toFixed(2)} x SFT's FLOPs`)),
    {xlabel: "FLOPs, times SFT's (logarithmic)", ylabel, log: true, ...size});
  $("#kl").innerHTML = Draw.scatter(rows.map((r) => {
    const k = r[1].figures.kl_own;
    return point(r, k && k[0], k && k[1], `KL ${write("kl_own", k)} nats per token`);
  }), {xlabel: "KL to the base, nats per token", ylabel, log: false, ...size});
}
quality.onchange = pictures;
let wait;
addEventListener("resize", () => { clearTimeout(wait); wait = setTimeout(pictures, 150); });
pictures();

// ---- learning curves --------------------------------------------------------------------------------------
const short = (x) => Math.abs(x) >= 100 ? x.toFixed(0) : Math.abs(x) >= 10 ? x.toFixed(1) : x.toFixed(2);
$("#curves").innerHTML = rows.filter(([, r]) => r.curve && r.curve.length).map(([name, r]) =>
  Draw.curve(name, r.group, r.curve, r.held, short)).join("");

// ---- the same prompts -------------------------------------------------------------------------------------
let asked = 0;
const seeds = [...new Set(rows.flatMap(([, r]) => Object.keys(r.answers || {})))].sort((a, b) => a - b);
for (const s of seeds) $("#seed").append(new Option(s));
DATA.prompts.forEach((p, i) => {
  const b = document.createElement("button");
  b.type = "button"; b.textContent = p.family;
  b.onclick = () => { asked = i; answers(); };
  $("#prompts").append(b);
});
function answers() {
  const p = DATA.prompts[asked], seed = $("#seed").value, when = $("#when").value;
  [...$("#prompts").children].forEach((b, i) => b.setAttribute("aria-pressed", i === asked));
  $("#asked").innerHTML = `<b>${Draw.esc(p.prompt)}</b><br>a right answer: <q>${Draw.esc(p.right)}</q>; the wrong one of
    the ledger: <q>${Draw.esc(p.wrong)}</q>`;
  const strips = (r) => {
    const seen = when !== "none" && r.ledger && r.ledger[asked][when];
    return !seen ? "" : ["right", "wrong"].filter((side) => seen[side]).map((side) =>
      `<div class="scroll" tabindex="0"><span class="side">${side}</span>${
        Draw.strip(p[side + "_tokens"], seen[side])}</div>`).join("");
  };
  const best = (r) => r.figures.score ? -r.figures.score[0] : 1;
  const there = rows.filter(([, r]) => r.answers).sort((a, b) => best(a[1]) - best(b[1]));
  $("#said").innerHTML = there.map(([name, r]) => {
    const a = r.answers[seed] || (name === "base" ? Object.values(r.answers)[0] : null);
    const one = a && a[asked];
    return `<article><h3>${Draw.shape(r.group)} ${Draw.esc(name)}</h3><p>${!one ? "no run with this seed"
      : `<q>${Draw.esc(one.says)}</q> <span class="mark">${one.score === 1 ? "✓" : one.score === 0 ? "✗" : "~"} ${
        one.score.toFixed(2)}${one.stops ? "" : ", does not stop"}</span>`}</p><div>${strips(r)}</div></article>`;
  }).join("");
}
$("#seed").onchange = $("#when").onchange = answers;
answers();
