"use strict";
// Draws what record.py has computed. Walks are sampled to be looked at; no sentence needs them.
const $ = (id) => document.getElementById(id);
const PAGE = JSON.parse($("data").textContent), LAKES = PAGE.lakes;
const WALKS = 300, RIGHT = 0.01;                // an estimate within one point is right
let R, W, T, kind, goal;                        // the lake: record, columns, moves, cells, flag
let { update: time, lam } = PAGE.opens;         // positions of the cursor and of the share
let move, walks, bet = "";

const percent = (x, digits = 0) => `${(100 * x).toFixed(digits)}\u00a0%`;
const mean = (xs) => xs.reduce((a, b) => a + b, 0) / xs.length;
const wrong = (i) => R.guesses[time][i] !== R.best[i][0];
const sft = () => R.chances[0][time], ift = () => R.chances[lam][time], alone = () => R.alone[time];
const verdict = (x) => Math.abs(x) <= RIGHT ? "right" : x > 0 ? "too high" : "too low";

// ---- walks: the cells before move 1, 2 ... T
function walk(policy) {
  const cells = [R.best[0][0]];
  for (let i = 1; i < T; i++) {
    const s = cells[i - 1];
    let u = Math.random(), a = 0;
    while (a < 3 && (u -= policy[s][a]) >= 0) a++;
    cells.push("SF".includes(kind[s]) ? R.step[s][a] : s);
  }
  return cells;
}
function place() {
  document.querySelectorAll(".dot").forEach((dot, k) => {
    const s = walks[k][move];
    dot.classList.toggle("off", !"SF".includes(kind[s]));
    dot.style.transform = shift(centre(s));
  });
}

// ---- the ice
const centre = (s) => [(s % W) * 100 + 50, Math.floor(s / W) * 100 + 50];
const shift = ([x, y]) => `translate(${x}px,${y}px)`;
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
  const within = () => 74 * (Math.random() - 0.5);
  const dots = Array.from({ length: WALKS }, () => `<circle class="dot" cx="${within()}"
    cy="${within()}" r="5"/>`).join("");
  board("lake", line(R.worse, 'stroke-dasharray="0 14" stroke-linecap="round" opacity=".5"')
    + line(R.best, "") + `<g class="after">${dots}<g id="rings"></g><path id="blend" d="M0 -30L29 22H-29Z" fill="var(--ift)"
    stroke="var(--page)" stroke-width="5"/></g>`);
}
function drawBlend() {                          // it slides from the true cell to the guessed one
  const s = R.best[move][0], g = R.guesses[time][move], share = PAGE.lams[lam];
  const [from, to] = [centre(s), centre(g)];
  const ring = (cell, name, more) => at(cell, `<circle r="43" fill="none" stroke-width="8"
    stroke="var(--${name})" ${more}/>`);
  $("rings").innerHTML = `<path d="M${from}L${to}" stroke="var(--ift)" stroke-width="10"/>`
    + ring(s, "sft", "") + (wrong(move) ? ring(g, "ift", 'stroke-dasharray="12 7"') : "");
  $("blend").style.transform = shift(from.map((v, i) => v + share * (to[i] - v)));
}

// ---- the finding: estimates and truth over updates, on every lake, with the cursor
const LOWEST = Math.min(...LAKES.flatMap((lake) => [lake.alone, ...lake.chances].flat().map(mean)));
const LOW = Math.floor(4 * LOWEST) / 4;         // the axes go from here to 100 %

function drawPlot(lake, k) {
  const own = lake.alone.map(mean), taught = lake.chances[0].map(mean), last = own.length - 1;
  const x = (t) => 48 + 222 * t / last, y = (p) => 12 + 190 * (1 - p) / (1 - LOW);
  const text = (x, y, words, anchor = "middle", colour = "soft") => `<text x="${x}" y="${y}"
    text-anchor="${anchor}" fill="var(--${colour})">${words}</text>`;
  const curve = (ps, colour, more) => `<polyline fill="none" stroke="var(--${colour})" ${more}
    points="${ps.map((p, t) => [x(t), y(p)]).join(" ")}"/>`;
  const marks = (ps, mark) => ps.map((p, t) => `<g transform="translate(${x(t)} ${y(p)})">${
    mark}</g>`).join("");
  const blend = (share, fill) => {
    const ps = lake.chances[PAGE.lams.indexOf(share)].map(mean);
    return curve(ps, "ift", 'stroke-width="2"') + marks(ps, `<path d="M0 -6L6 5H-6Z"
      fill="var(--${fill})" stroke="var(--ift)" stroke-width="1.5"/>`);
  };

  const nodes = taught.flatMap((p, t) => {      // [update, SFT, truth], also where the two cross
    const here = p - own[t], u = here / (here - taught[t + 1] + own[t + 1]);
    const cross = own[t] + u * (own[t + 1] - own[t]);
    return [[t, p, own[t]], ...(u > 0 && u < 1 ? [[t + u, cross, cross]] : [])];
  });
  const area = (side, colour) => `<polygon fill="var(--${colour})" opacity=".2" points="${
    [...nodes.map(([t, p, q]) => [x(t), y(side(p, q))]),
      ...nodes.map(([t, , q]) => [x(t), y(q)]).reverse()].join(" ")}"/>`;
  const name = (words, side, anchor, colour) => {       // where SFT is farthest off
    const gaps = taught.map((p, t) => p - own[t]), t = gaps.indexOf(side(...gaps));
    return verdict(gaps[t]) !== words ? ""
      : text(x(t), y(Math.max(taught[t], own[t])) - 14, `SFT ${words}`, anchor, colour);
  };

  const grid = [0.25, 0.5, 0.75, 1].filter((p) => p >= LOW).map((p) => `<path stroke="var(--ice)"
    d="M${x(0)} ${y(p)}H${x(last)}"/>` + text(x(0) - 8, y(p) + 5, percent(p), "end")).join("");
  const axis = text(x(0), 224, 0) + text(x(last), 224, last)
    + text(x(last / 2), 224, bet ? `update ${time}` : "updates");
  const here = x(Math.min(time, last)), cursor = `<g opacity="${lake === R ? 1 : 0.4}"><path
    d="M${here} 12V202" stroke="var(--ink)" stroke-width="2"/><circle cx="${here}" cy="202" r="7"
    fill="var(--ink)"/></g>`;
  const truth = area(Math.max, "down") + name("too high", Math.max, "end", "down")
    + area(Math.min, "up") + name("too low", Math.min, "start", "up")
    + curve(own, "truth", 'stroke-width="6" opacity=".6"') + marks(own, `<rect x="-5" y="-5"
      width="10" height="10" fill="var(--panel)" stroke="var(--truth)" stroke-width="3"/>`);
  $(`plot${k}`).innerHTML = `<g font-size="15">${grid}${axis}${bet && truth}</g>${bet && cursor}`
    + blend(0.5, "panel") + blend(0.2, "ift") + curve(taught, "sft", 'stroke-width="2.5"')
    + marks(taught, '<circle r="6" fill="var(--sft)"/>');
  $(`plot${k}`).parentElement.classList.toggle("shown", lake === R);
  $(`time${k}`).value = time;
}
function drawVerdict() {
  LAKES.forEach(drawPlot);
  if (!bet) return;
  const off = (lake, t) => [0, lam].map((k) => mean(lake.chances[k][t]) - mean(lake.alone[t]));
  const all = LAKES.flatMap((lake) => lake.alone.map((_, t) => off(lake, t)));
  const count = (test) => all.filter(([a, b]) => test(a, b)).length;
  const is = (name) => count((a) => verdict(a) === name);
  const points = (x) => `${Math.abs(100 * x).toFixed(1)} points too ${x > 0 ? "high" : "low"}`;
  const [a, b] = off(R, time).map(points);
  $("say").innerHTML = `You bet ${bet}. This is so at <b>${is(bet)} of the ${all.length} updates</b>
    of ${LAKES.length} lakes: SFT’s estimate is too low at ${is("too low")}, right within a point
    at ${is("right")}, too high at ${is("too high")}. <b>IFT with λ ${PAGE.lams[lam]} is nearer at
    ${count((a, b) => Math.abs(b) < Math.abs(a))} and farther off at
    ${count((a, b) => Math.abs(b) > Math.abs(a))}.</b> Where the guessed cell is worse, the blend
    lowers the estimate, which helps where SFT is too high and harms where it is too low.`;
  $("now").innerHTML = `<b>${R.name}, update ${time}</b> (drag the line): where it stands by itself
    the policy makes a best move ${percent(mean(alone()), 1)} of the time. SFT is ${a}, IFT ${b}.`;
}

// ---- one move
function drawMix() {
  const share = PAGE.lams[lam], row = (name, text, ps) => `<span class="${name}">${text}</span>
    <i class="${name}" style="width:${100 * ps[move]}%"></i><b>${percent(ps[move])}</b>`;
  $("mixTitle").textContent = `The temporal residual at move ${move + 1} of ${T}: ` + (wrong(move)
    ? "how likely is a best move?" : "the own guess is the true cell, nothing changes");
  $("mix").innerHTML = row("sft", "● true cell (ring)", sft())
    + row("ift", "○ guessed cell (dashes)", R.chances.at(-1)[time])
    + row("ift", `▲ ${percent(1 - share)} ● + ${percent(share)} ○`, ift())
    + row("soft", "□ where it stands by itself", alone());
}

// ---- pushes and reads
function drawPushes() {
  const path = R.best.map(([s]) => s), pushes = R.pushes[time];
  const down = pushes.filter(([s, , x]) => x < 0 && path.includes(s)).length;
  const most = Math.max(...pushes.map(([, , x]) => Math.abs(x)));
  $("pushTitle").textContent = `One step of IFT as released makes ${down} of the ${T} moves less `
    + "likely";
  board("push", pushes.map(([s, a, x]) => at(s, arrow(a, 0.4 + 0.6 * Math.sqrt(Math.abs(x) / most))
    + `<text x="-42" y="-16" font-size="44" font-weight="700">${x < 0 ? "−" : "+"}</text>`,
    `fill="var(--${x < 0 ? "down" : "up"})"`)).join(""));
}
function drawBoards() {
  const all = [["truth", "Where the policy goes by itself"], ["sft", "● SFT reads the path"],
    ["ift", "▲ IFT also its own guesses"], ["pairs", "■ DPO both paths"]];
  const shares = R.reads.map((boards) => percent(boards[time].shared));
  $("readTitle").textContent = `${shares[1]} of what SFT reads lies where the policy itself goes; `
    + `for IFT it is ${shares[2]}, for DPO ${shares[3]}`;
  $("boards").innerHTML = all.map(([name, text], k) => `<div><p class="${name}">${text}</p>
    <svg id="board${k}" role="img" aria-label="shares of cells"></svg></div>`).join("");
  all.forEach(([name], k) => {
    const { cells } = R.reads[k][time], most = Math.max(...cells.map(([, x]) => x));
    board(`board${k}`, cells.map(([s, x]) => at(s, box(name, 0.45 * x / most) + `<text y="15"
      font-size="42" text-anchor="middle" fill="var(--ink)">${Math.round(100 * x)}</text>`))
      .join(""));
  });
}

// ---- what a visitor does
function showMove(i) {
  move = i;
  $("move").value = $("moveNow").textContent = move + 1;
  drawMix(), drawBlend(), place();
}
function setLam(k) {
  lam = k;
  $("lamNow").textContent = PAGE.lams[lam];
  drawVerdict(), drawMix(), drawBlend();
}
function show(lake, t) {
  if (R !== lake) {
    R = lake, W = R.rows[0].length, T = R.best.length;
    kind = [...R.rows.join("")], goal = kind.indexOf("G");
    $("move").max = T;
    drawLake();
  }
  time = Math.min(t, R.policies.length - 1);
  walks = Array.from({ length: WALKS }, () => walk(R.policies[time]));
  const guesses = sft().map((x, i) => wrong(i) ? Math.abs(x - alone()[i]) : -1);
  drawVerdict(), drawPushes(), drawBoards();
  showMove(guesses.indexOf(Math.max(...guesses)));      // where a wrong guess matters most
}

$("lakes").innerHTML = LAKES.map(({ name, alone }, k) => `<div class="plot"><b>${name}</b>
  <svg id="plot${k}" viewBox="0 0 280 230" role="img" aria-label="estimates over updates"></svg>
  <input class="after" id="time${k}" type="range" max="${alone.length - 1}"
    aria-label="updates, ${name}"></div>`).join("");
LAKES.forEach((lake, k) => {
  $(`time${k}`).oninput = ({ target }) => show(lake, +target.value);
  $(`time${k}`).onfocus = () => show(lake, time);
});
$("bet").onclick = ({ target }) => {
  if (!target.matches("button")) return;
  bet = target.textContent;
  document.querySelectorAll("#bet button").forEach((b) => { b.ariaPressed = b === target; });
  $("main").className = "";
  drawVerdict();
};
$("lam").max = PAGE.lams.length - 1, $("lam").value = lam;
$("lam").oninput = ({ target }) => setLam(+target.value);
$("move").oninput = ({ target }) => showMove(target.value - 1);
show(LAKES[0], time);
setLam(lam);
