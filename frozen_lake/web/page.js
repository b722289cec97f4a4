"use strict";
// Draws what record.py has computed. Walks are sampled to be looked at; no sentence needs them.
const $ = (id) => document.getElementById(id);
const PAGE = JSON.parse($("data").textContent), ARROWS = "←↓→↑", WALKS = 300, SECONDS = 7;
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
let R, W, T, kind, goal;                        // the lake: record, columns, moves, cells, flag
let time, move, walks, lam = PAGE.shown.lam;    // positions of update, move and share
let open = false, playing = false, guess = "";  // is what the policy does shown? who was guessed?

const percent = (x, digits = 1) => `${(100 * x).toFixed(digits)}\u00a0%`;
const mean = (xs) => xs.reduce((a, b) => a + b, 0) / xs.length;
const wrong = (i) => R.guesses[time][i] !== R.best[i][0];
const sft = () => R.chances[0][time], ift = () => R.chances[lam][time], alone = () => R.alone[time];

// ---- walks: the cells before move 1, 2 ... T
function walk(policy) {
  const cells = [R.best[0][0]];
  for (let i = 1; i < T; i++) {
    const s = cells[i - 1];
    let u = Math.random(), a = 0;
    while (a < 3 && (u -= policy[s][a]) >= 0) a++;
    cells.push("SF".includes(kind[s]) ? R.step[s][a] : s);
  }
  return { cells, jitter: [0, 0].map(() => 74 * (Math.random() - 0.5)) };
}
function place() {
  document.querySelectorAll(".dot").forEach((dot, k) => {
    const { cells, jitter } = walks[k], s = cells[open ? move : 0];
    const [x, y] = centre(s).map((v, i) => v + jitter[i]);
    dot.classList.toggle("off", !"SF".includes(kind[s]));
    dot.style.transform = `translate(${x}px,${y}px)`;
  });
}

// ---- the ice
const centre = (s) => [(s % W) * 100 + 50, Math.floor(s / W) * 100 + 50];
const at = (s, inner, more = "") => `<g transform="translate(${centre(s)})" ${more}>${inner}</g>`;
const box = (fill, opacity = 1) => `<rect x="-46" y="-46" width="92" height="92" rx="15"
  fill="var(--${fill})" fill-opacity="${opacity}"/>`;
const ice = () => kind.map((k, s) => at(s, box(k === "H" ? "hole" : "ice"))).join("")
  + at(goal, '<path d="M-20 34V-34H-13L26 -17L-13 0V34Z" fill="var(--poft)"/>');
const arrow = (a, size) => `<path transform="rotate(${[180, 90, 0, 270][a]}) scale(${size})"
  d="M-31 -14H0V-30L36 0L0 30V14H-31Z"/>`;
function line(path, more) {
  const points = [...path.map(([s]) => s), goal].map(centre).join(" ");
  return `<polyline points="${points}" fill="none" stroke="var(--ink)" stroke-linejoin="round"
    stroke-width="5" ${more}/>`;
}
function board(id, inner) {
  $(id).setAttribute("viewBox", `0 0 ${W * 100} ${(kind.length / W) * 100}`);
  $(id).innerHTML = ice() + inner;
}
function drawLake() {
  board("lake", line(R.worse, 'stroke-dasharray="0 14" stroke-linecap="round" opacity=".5"')
    + line(R.best, "") + '<circle class="dot" r="5"/>'.repeat(WALKS) + '<g id="rings"></g>');
}
function drawRings() {                          // where SFT asks, and where IFT asks as well
  const ring = (s, name, x, mark) => at(s, `<g fill="none" stroke="var(--${name})" stroke-width="7">
    <circle r="44"/><circle cx="${x}" cy="-34" r="18" fill="var(--page)"/></g>
    <text x="${x}" y="-24" font-size="28" text-anchor="middle" fill="var(--${name})">${mark}</text>`);
  $("rings").innerHTML = ring(R.best[move][0], "sft", -34, "●")
    + (wrong(move) ? ring(R.guesses[time][move], "ift", 34, "▲") : "");
}

// ---- the two estimates, and what the policy does
function drawWords() {
  const [a, b, own] = [sft(), ift(), alone()].map(mean), high = a > own;
  const [says, answers, does] = [a, b, own].map((x) => percent(x, 0));
  const nearer = Math.abs(b - own) < Math.abs(a - own), nearly = Math.abs(a - own) < 0.01;
  const many = R.best.map((_, i) => i + 1).filter((i) => wrong(i - 1));
  const points = (x) => `${(100 * Math.abs(x - own)).toFixed(1)} points too `
    + (x > own ? "much" : "little");
  const tile = (name, text, x) => `<button class="${name}">${text}<b>${percent(x)}</b>${
    open ? points(x) : "nearer?"}</button>`;
  $("tiles").innerHTML = tile("sft", "● SFT: the path’s cells", a)
    + tile("ift", "▲ IFT: a blend of cells", b) + `<button class="soft">□ the policy by itself
      <b>${open ? percent(own) : "?"}</b>▶ walk</button>`;
  $("path").textContent = `Another question is the whole path: a walk makes all ${T} moves with a `
    + `chance of ${percent(R.paths[0][time])}, which SFT says exactly, by the chain rule. IFT says `
    + `${percent(R.paths[lam][time])}.`;
  $("title").textContent = "How often does this policy make a best move? Who is nearer, SFT or IFT?";
  if (!open) return;
  $("title").textContent = `SFT says ${says} best moves. That is ${nearly ? "nearly right"
    : high ? "too much" : "too little"}: where this policy stands by itself, it makes ${does}. `
    + `IFT says ${answers}, which is ${a === b ? "the same" : nearer ? "nearer" : "farther off"}.`;
  $("say").innerHTML = "In the cells to which the policy goes by itself it does "
    + `<b>${high ? "worse" : "better"}</b> than on the path. ` + (many.length
    ? `The temporal residual mixes in ${percent(PAGE.lams[lam], 0)} of the own guess, which is wrong `
      + `at move${many.length > 1 ? "s" : ""} ${many.join(", ")}.`
      + (guess && ` You guessed ${guess}: ${(guess === "IFT") === nearer ? "right" : "no"}.`)
    : "No own guess is wrong at this update, so the temporal residual changes nothing.");
}
function drawChart() {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const wide = $("chart").clientWidth, high = 13 * rem, left = 3.2 * rem, step = (wide - left) / T;
  const x = (i) => left + (i + 0.5) * step, y = (p) => rem + (1 - p) * (high - 2 * rem);
  const line = (ps, colour, more) => `<polyline fill="none" stroke="var(--${colour})" ${more}
    points="${ps.map((p, i) => [x(i), y(p)]).join(" ")}"/>`;
  const marks = (ps, mark) => ps.map((p, i) => `<g transform="translate(${x(i)} ${y(p)})">${
    mark}</g>`).join("");
  const text = (x, y, words) => `<text x="${x}" y="${y}" text-anchor="end">${words}</text>`;
  const grid = [0, 0.5, 1].map((p) => `<path d="M${left} ${y(p)}H${wide}" stroke="var(--ice)"/>${
    text(left - 8, y(p) + 5, percent(p, 0))}`).join("");
  const own = open ? alone().slice(0, playing ? move + 1 : T) : [];
  $("chart").setAttribute("viewBox", `0 0 ${wide} ${high}`);
  $("chart").innerHTML = `<g fill="var(--soft)" font-size="${0.9 * rem}">${grid}${
    text(wide, y(R.left[time][T - 1]) - 8, "still on the path")}</g>
    <rect x="${x(move - 0.5)}" width="${step}" height="${high}" rx="6" opacity=".15"
      fill="var(--${wrong(move) ? "ift" : "base"})"/>`
    + line(R.left[time], "base", 'stroke-dasharray="2 5" stroke-width="2"')
    + line(own, "truth", 'stroke-width="6" opacity=".6"')
    + line(sft(), "sft", 'stroke-width="2.5"') + line(ift(), "ift", 'stroke-width="2.5"')
    + marks(own, `<rect x="-6" y="-6" width="12" height="12" fill="var(--panel)"
      stroke="var(--truth)" stroke-width="3"/>`)
    + marks(sft(), '<circle r="7" fill="var(--sft)"/>')
    + marks(ift(), '<path d="M0 -6L6 5H-6Z" fill="var(--ift)" stroke="var(--page)"/>');
  $("moves").innerHTML = R.best.map(([, a], i) => `<button class="${wrong(i) ? "wrong" : ""}"
    value="${i}" aria-pressed="${i === move}" aria-label="move ${i + 1}">${ARROWS[a]}</button>`)
    .join("");
}
function drawMix() {
  const share = PAGE.lams[lam], row = (name, text, ps) => `<span class="${name}">${text}</span>
    <i class="${name}" style="width:${100 * ps[move]}%"></i><b>${percent(ps[move], 0)}</b>`;
  $("mixTitle").textContent = `Temporal residual at move ${move + 1}: `
    + (wrong(move) ? "how likely is a best move?" : "the own guess is the true cell");
  $("mix").innerHTML = row("sft", "● true cell", sft())
    + row("ift", "+ guessed cell", R.chances.at(-1)[time])
    + row("ift", `▲ ${percent(1 - share, 0)} + ${percent(share, 0)} of their logits`, ift())
    + (open ? row("soft", "□ where it stands by itself", alone()) : "");
}

// ---- pushes and reads
function drawPushes() {
  const path = R.best.map(([s]) => s);
  const down = R.pushes[lam][time].filter(([s, , x]) => x < 0 && path.includes(s));
  $("pushTitle").textContent = "What one step pushes: " + (down.length
    ? `IFT as released makes ${down.length} of the ${T} moves less likely`
    : "here both make every move likelier");
  [["sftPush", 0], ["iftPush", lam]].forEach(([id, k]) => {
    const pushes = R.pushes[k][time], most = Math.max(...pushes.map(([, , x]) => Math.abs(x)));
    board(id, pushes.map(([s, a, x]) => at(s, arrow(a, 0.4 + 0.6 * Math.sqrt(Math.abs(x) / most))
      + `<text x="-42" y="-16" font-size="44" font-weight="700">${x < 0 ? "−" : "+"}</text>`,
      `fill="var(--${x < 0 ? "down" : "up"})"`)).join(""));
  });
}
function drawBoards() {
  const all = [["truth", "Where the policy goes by itself", R.own],
    ["sft", "● SFT reads the path", R.reads[0]],
    ["ift", "▲ IFT also its own guesses", R.reads[lam]], ["pairs", "■ DPO both paths", R.dpo]];
  const shares = all.map(([, , boards]) => percent(boards[time].shared, 0));
  $("readTitle").textContent = `${shares[1]} of what SFT reads lies where the policy itself goes; `
    + `for IFT it is ${shares[2]}, for DPO ${shares[3]}`;
  $("boards").innerHTML = all.map(([name, text], k) => `<div><p class="${name}">${text}</p>
    <svg id="board${k}" role="img" aria-label="shares of cells"></svg></div>`).join("");
  all.forEach(([name, , boards], k) => {
    const { cells } = boards[time], most = Math.max(...cells.map(([, x]) => x));
    board(`board${k}`, cells.map(([s, x]) => at(s, box(name, 0.45 * x / most) + `<text y="15"
      font-size="42" text-anchor="middle" fill="var(--ink)">${Math.round(100 * x)}</text>`))
      .join(""));
  });
}

// ---- what a visitor does
function showMove(i) {
  move = i;
  drawChart(), drawRings(), drawMix(), place();
}
function mostDifferent() {                      // a move with a wrong guess, if there is one
  const gaps = sft().map((x, i) => Math.abs(x - (wrong(i) ? ift()[i] - 1 : alone()[i])));
  return gaps.indexOf(Math.max(...gaps));
}
function show() {
  if (open) guess = "";
  $("lamNow").textContent = PAGE.lams[lam];
  $("timeNow").textContent = time;
  $("lam").disabled = !R.best.some((_, i) => wrong(i));
  drawLake(), drawWords(), drawPushes(), drawBoards();
  showMove(mostDifferent());
}
function setTime(t) {
  $("time").value = time = t;
  walks = Array.from({ length: WALKS }, () => walk(R.policies[time]));
  show();
}
function setLake(k) {
  R = PAGE.lakes[k], W = R.rows[0].length, T = R.best.length;
  kind = [...R.rows.join("")], goal = kind.indexOf("G");
  $("lakes").innerHTML = PAGE.lakes.map((x, i) => `<button value="${i}" aria-pressed="${i === k}">${
    x.name}</button>`).join("");
  $("time").max = R.policies.length - 1;
  setTime(PAGE.shown.update);
}
function reveal() {
  const next = (i) => {
    playing = i < T && !still;
    showMove(playing ? i : mostDifferent());
    if (playing) setTimeout(next, Math.min(400, 3200 / T), i + 1);
  };
  open = true;
  $("chart").ariaBusy = "false";
  drawWords();
  if (!playing) next(0);
}
const pressed = (id, act) => {
  $(id).onclick = ({ target }) => target.matches("button, button *") && act(target.closest("button"));
};
pressed("lakes", (button) => setLake(+button.value));
pressed("moves", (button) => showMove(+button.value));
pressed("tiles", ({ className }) => {
  if (!open && className !== "soft") guess = className.toUpperCase();
  reveal();
});
$("lam").max = PAGE.lams.length - 1, $("lam").value = lam;
$("lam").oninput = ({ target }) => { lam = +target.value, show(); };
$("time").oninput = ({ target }) => setTime(+target.value);
onresize = drawChart;
$("chart").ariaBusy = "true";
setLake(0);
setTimeout(() => open || reveal(), 1000 * SECONDS);
