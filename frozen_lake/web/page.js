"use strict";
// Draws what record.py has computed. Nothing is trained here; walks are sampled from the recorded
// policy with a fixed seed.
const R = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const W = R.rows[0].length, H = R.rows.length, kind = [...R.rows.join("")];
const start = kind.indexOf("S"), goal = kind.indexOf("G"), T = R.best.length;
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const WALKS = 1000, ARROWS = "←↓→↑";
let lam = R.shown[0], time = R.shown[1], walks = [], step = T;

const percent = (x, digits = 1) => `${(100 * x).toFixed(digits)}\u00a0%`;
const product = (xs) => xs.reduce((a, b) => a * b, 1);
const centre = (s) => [(s % W) * 100 + 50, Math.floor(s / W) * 100 + 50];

function uniform(seed) {                        // mulberry32: the same numbers in every browser
  let x = seed;
  return () => {
    x = (x + 0x6d2b79f5) | 0;
    let y = Math.imul(x ^ (x >>> 15), x | 1);
    y ^= y + Math.imul(y ^ (y >>> 7), y | 61);
    return ((y ^ (y >>> 14)) >>> 0) / 4294967296;
  };
}

// ---- walks: [cell, has it made only the demonstrator's moves?] after 0, 1 ... T moves
function walk(policy, draw) {
  let s = start, on = true;
  const seen = [[s, on]];
  for (let i = 0; i < T; i++) {
    if (kind[s] === "H" || kind[s] === "G") on = false;
    else {
      let u = draw(), a = 0;
      while (a < 3 && (u -= policy[s][a]) >= 0) a++;
      on = on && a === R.best[i][1];
      s = R.step[s][a];
    }
    seen.push([s, on]);
  }
  return seen;
}
function walkAll() {
  const draw = uniform(1);
  walks = Array.from({ length: WALKS }, () => walk(R.policies[time], draw));
}
const onWay = (i) => walks.filter((seen) => seen[i][1]).length;

// ---- the ice
const at = (s, inner, more = "") => `<g transform="translate(${centre(s)})" ${more}>${inner}</g>`;
const box = (fill, opacity = 1) => `<rect x="-46" y="-46" width="92" height="92" rx="15"
  fill="${fill}" fill-opacity="${opacity}"/>`;
const flag = at(goal, '<path d="M-20 34V-34H-13L26 -17L-13 0V34Z" fill="var(--flag)"/>');
const ice = kind.map((k, s) => at(s, box(k === "H" ? "var(--hole)" : "var(--ice)"))).join("");
const arrow = (a, size) => `<path transform="rotate(${[180, 90, 0, 270][a]}) scale(${size})"
  d="M-31 -14H0V-30L36 0L0 30V14H-31Z"/>`;
function line(path, more) {
  const points = [...path.map(([s]) => s), goal].map(centre).join(" ");
  return `<polyline points="${points}" fill="none" stroke="var(--ink)" stroke-linejoin="round"
    stroke-width="5" ${more}/>`;
}
function draw(id, inner, label) {
  $(id).setAttribute("viewBox", `0 0 ${W * 100} ${H * 100}`);
  $(id).setAttribute("aria-label", label);
  $(id).innerHTML = inner;
}
const wrong = (i) => R.guesses[time][i] !== R.best[i][0];

function drawLake() {
  const guesses = R.best.map(([, a], i) => (wrong(i) ? guess(i, a) : "")).join("");
  const dotted = line(R.worse, 'stroke-dasharray="0 14" stroke-linecap="round" opacity=".5"');
  draw("lake", ice + dotted + line(R.best, "") + '<g id="dots"></g>' + flag + guesses,
    `A lake of ${H} rows and ${W} columns with the walks of the policy`);
  $("dots").innerHTML = '<circle class="dot" r="4"/>'.repeat(WALKS);
  place();
}
function guess(i, a) {
  const from = centre(R.best[i - 1][0]), to = R.guesses[time][i];
  return `<path d="M${from}L${centre(to)}" stroke="var(--ift)" stroke-width="4"
    stroke-dasharray="3 8"/>` + at(to, `<circle r="40" fill="var(--ift)" stroke="var(--ift)"
    fill-opacity="${0.8 * R.lams[lam]}" stroke-width="5" stroke-dasharray="9 6"/>`
    + arrow(a, 0.6), 'fill="var(--ink)"');
}
function place() {
  const jitter = uniform(7);
  document.querySelectorAll(".dot").forEach((dot, k) => {
    const [s, on] = walks[k][step], [x, y] = centre(s).map((v) => v + 76 * (jitter() - 0.5));
    dot.classList.toggle("on", on);
    dot.style.transform = `translate(${x}px,${y}px)`;
  });
  $("count").textContent = step === 0 ? "all begin at the start"
    : `after ${step} moves ${onWay(step)} (filled) have made only the demonstrator’s moves`;
}

// ---- estimates
function drawChart() {
  const sft = R.sft[time], ift = R.ift[lam][time];
  const did = R.best.map((_, i) => (onWay(i) ? onWay(i + 1) / onWay(i) : null));
  const moves = R.best.map(([, a], i) =>
    column(sft[i], ift[i], did[i], ARROWS[a], wrong(i) ? "guess" : ""));
  const all = [product(sft), product(ift), onWay(T) / WALKS];
  const axis = ["100 %", "50", "0"].map((text) => `<span>${text}</span>`).join("");
  $("chart").innerHTML = `<div class="axis"><div>${axis}</div></div>${moves.join("")}`
    + column(...all, `all ${T}`, "all");
  const told = R.best.map(([, a], i) => `move ${i + 1} ${ARROWS[a]}: SFT ${percent(sft[i])}, `
    + `IFT ${percent(ift[i])}, walks ${did[i] === null ? "none" : percent(did[i])}`);
  $("chart").setAttribute("aria-label", told.join("; "));
  sentence(...all);
}
function column(sft, ift, did, name, more) {
  const bar = (x, style) => `<i class="${style}" style="height:${100 * x}%"></i>`;
  const truth = did === null ? "" : bar(did, "truth");
  const bars = bar(sft, "sft") + bar(ift, "ift") + truth;
  return `<div class="move ${more}"><div class="bars">${bars}</div>${name}</div>`;
}
function sentence(sft, ift, did) {
  const luck = 1.96 * Math.sqrt(sft * (1 - sft) / WALKS) + 5e-4;
  const judged = (x) =>
    (Math.abs(x - did) <= luck ? "agrees with the walks" : x < did ? "is too low" : "is too high");
  const many = R.best.filter((_, i) => wrong(i)).length;
  const why = many === 0 || lam === 0 ? "The own guess changes nothing here, so both say the same."
    : many === 1 ? "They differ at the one move with a wrong guess (green)."
      : `They differ at the ${many} moves with a wrong guess (green).`;
  const margin = `± ${(100 * luck).toFixed(1)} points`;
  $("title").textContent = "Will the policy take the demonstrator’s path? "
    + `SFT says ${percent(sft)}, IFT says ${percent(ift)}, and ${percent(did)} of 1,000 walks do.`;
  $("say").innerHTML = "The policy used to take the dotted path and has learnt the demonstrator’s for "
    + `<b>${time}</b> updates. Within the margin of 1,000 walks, ${margin}, `
    + `<b class="sft">SFT ${judged(sft)}</b> and <b class="ift">IFT ${judged(ift)}</b>. ${why}`;
}

// ---- what each method reads
function drawBoards() {
  const B = R.boards, own = { cells: B.own };
  const shown = [["", "Where the policy goes by itself", own, "var(--truth)"],
    ["sft", "● SFT reads the path", B.sft, "var(--sft)"],
    ["ift", "▲ IFT also reads its own guesses", B.ift[lam], "var(--ift)"],
    ["pairs", "■ DPO reads both paths", B.dpo, "var(--pairs)"]];
  $("boards").innerHTML = shown.map(([name, text, board, colour], k) => {
    const share = board.shared === undefined ? "(its preference)"
      : `<b>${percent(board.shared, 0)}</b> is where the policy goes`;
    return `<div><p><span class="${name}">${text}</span><br>${share}</p>
      <svg id="board${k}" role="img"></svg></div>`;
  }).join("");
  shown.forEach(([, text, board, colour], k) => {
    const told = board.cells.map((x, s) => (x >= 0.005 ? `cell ${s} ${percent(x, 0)}` : ""));
    draw(`board${k}`, shades(board.cells, colour), `${text}: ${told.filter(Boolean).join(", ")}`);
  });
  const [sft, ift, dpo] = [B.sft, B.ift[lam], B.dpo].map((board) => percent(board.shared, 0));
  $("readTitle").textContent = `${sft} of what SFT reads lies where the policy itself goes; `
    + `for IFT it is ${ift}, for DPO ${dpo}`;
}
function shades(cells, colour) {
  const most = Math.max(...cells);
  const number = (x) => `<text y="15" font-size="42" text-anchor="middle" fill="var(--ink)">${
    Math.round(100 * x)}</text>`;
  const shade = (x, s) => at(s, box(colour, 0.45 * x / most) + number(x));
  return ice + flag + cells.map((x, s) => (x >= 0.005 ? shade(x, s) : "")).join("");
}

// ---- what one step pushes
function drawPushes() {
  const both = [["sftPush", R.sftPushes[time]], ["iftPush", R.iftPushes[lam][time]]];
  both.forEach(([id, pushes]) => {
    const most = Math.max(...pushes.map(([, , x]) => Math.abs(x)));
    const sign = (x) => `<text x="-42" y="-16" font-size="44" font-weight="700">${
      x < 0 ? "−" : "+"}</text>`;
    const one = ([s, a, x]) => at(s, arrow(a, 0.4 + 0.6 * Math.sqrt(Math.abs(x) / most)) + sign(x),
      `fill="var(--${x < 0 ? "down" : "up"})"`);
    draw(id, ice + flag + pushes.map(one).join(""),
      pushes.map(([s, a, x]) => `cell ${s} ${ARROWS[a]} ${x.toFixed(4)}`).join(", "));
  });
  const down = R.best.filter(([cell]) => both[1][1].some(([s, , x]) => s === cell && x < 0)).length;
  $("pushTitle").textContent = down === 0
    ? "What one step pushes: here both make every move likelier"
    : `What one step pushes: IFT as released makes ${down} of the ${T} moves less likely`;
}

// ---- everything
function show() {
  $("lamNow").textContent = R.lams[lam].toFixed(1);
  $("timeNow").textContent = time;
  drawLake(), drawChart(), drawBoards(), drawPushes();
}
function play() {
  if (still) return;
  const pause = Math.min(350, 2800 / T);
  step = 0, place();
  const next = () => { if (step < T) step += 1, place(), setTimeout(next, pause); };
  setTimeout(next, pause);
}
$("lam").value = lam, $("time").max = R.policies.length - 1, $("time").value = time;
$("lam").oninput = (e) => { lam = +e.target.value; show(); };
$("time").oninput = (e) => { time = +e.target.value, step = T; walkAll(), show(); };
$("go").onclick = play;
$("down").textContent = `On this map it happens at ${R.down.habit} of the ${R.policies.length} `
  + `positions of the lower slider, and at ${R.down.fresh || "none"} of them for a policy that `
  + "begins from scratch.";
$("lines").innerHTML = R.verdicts.map((texts) => {
  const [question, verdict, figures] = texts.map((t) => t.replace(/</g, "&lt;"));
  return `<dt>${question}: ${verdict}</dt><dd>${figures}</dd>`;
}).join("");
$("verdicts").hidden = R.verdicts.length === 0;
$("ice").textContent = R.slippery ? "The command walked on slippery ice, this page does not." : "";
walkAll(), show(), play();
