// Draws what ../record.py has computed: DATA = {lams, opens: an update, lakes}.
const $ = (id) => document.getElementById(id);
const { lams, lakes } = DATA;
const RIGHT = 0.01;                             // an estimate within one point is right; and a
                                                // lead within one point is small
const MOVES = ["left", "down", "right", "up"];
let lake = lakes[0], time = DATA.opens, lam = lams.indexOf(0.2), move = 0, bet = "";

const percent = (x, digits = 0) => `${(100 * x).toFixed(digits)}\u00a0%`;
const mean = (xs) => xs.reduce((a, b) => a + b, 0) / xs.length;
const wrong = (i) => lake.guesses[time][i] !== lake.best[i][0];
const verdict = (x) => Math.abs(x) <= RIGHT ? "right" : x > 0 ? "too high" : "too low";
const truths = (one) => one.alone.map(mean);
const estimates = (one, k) => one.chances[k].map(mean);     // SFT's is k = 0

function lead(one, t, truth = truths(one)) {                // by how much IFT is nearer than SFT
  const [sft, ift] = [0, lam].map((k) => Math.abs(estimates(one, k)[t] - truth[t]));
  return sft - ift;
}

function nearer(one, t, truth) {                            // "ift", "sft" or "same"
  const by = lead(one, t, truth);
  return by > 0 ? "ift" : by < 0 ? "sft" : "same";
}

function clearly(one, t, truth) {                           // nearer by more than one point
  return Math.abs(lead(one, t, truth)) > RIGHT ? [`clearly ${nearer(one, t, truth)}`] : [];
}

function counts(truth = truths) {               // over all updates of all lakes
  const all = lakes.flatMap((one) => one.alone.map((_, t) => [
    nearer(one, t, truth(one)), ...clearly(one, t, truth(one)), verdict(estimates(one, 0)[t] - truth(one)[t])]));
  const of = (name) => all.filter((found) => found.includes(name)).length;
  return { of, all: all.length };
}

// ---- the answer ---------------------------------------------------------------------------------
function say() {
  const { of, all } = counts(), share = of("ift") / all;
  const answer = share > 2 / 3 ? "Nearly always" : share < 1 / 3 ? "Hardly ever" : "Sometimes";
  $("say").innerHTML = `<p class="big"><b>${answer}: IFT is nearer to the truth at ${of("ift")} of
    ${all} updates</b>, SFT at ${of("sft")}, and at ${of("same")} they say the same. <b>By more than
    a point: IFT at ${of("clearly ift")}, SFT at ${of("clearly sft")}.</b></p><p>IFT
    says less than SFT where the policy would make other moves at its guess. That helps if SFT is too
    high and harms if it is too low.${bet === answer.toLowerCase() ? " You bet right." : ""}</p>`;
  $("why").innerHTML = `The IFT paper expects SFT to estimate too much, because it never looks at the
    cells that the policy would reach by itself. SFT’s estimate is too high at ${of("too high")} of
    the ${all} updates, right within a point at ${of("right")}, and <b>too low at
    ${of("too low")}</b>, because the old habit is good where the habit leads.`;
  const fallen = counts((one) => one.alone.map((xs, t) => mean(xs.map((x, i) =>
    x * one.ice[t][i]))));                      // a walk that has fallen makes no best move
  $("falls").textContent = `If a walk that has fallen counted as one that makes no best move, SFT
    would be too high at ${fallen.of("too high")} updates and too low at ${fallen.of("too low")}, and
    IFT nearer at ${fallen.of("ift")} and farther away at ${fallen.of("sft")}.`;
  const truth = truths(lake)[time], off = (k) => {
    const x = estimates(lake, k)[time] - truth;
    return `${Math.abs(100 * x).toFixed(1)} points too ${x > 0 ? "high" : "low"}`;
  };
  $("now").innerHTML = `That was one move. The mean over all ${lake.best.length} moves: the truth is
    ${percent(truth, 1)}, SFT is ${off(0)}, IFT ${off(lam)}.`;
}

// ---- one move: four bars ------------------------------------------------------------------------
function drawMix() {
  const share = lams[lam];
  const row = (name, title, small, chances) => `<span class="${name}"><b>${title}</b>
    <small>${small}</small></span><div class="${name}"><i style="width:${
    chances ? 100 * chances[time][move] : 0}%"></i>${bet && `<u style="left:${
    100 * lake.alone[time][move]}%"></u>`}</div>
    <b class="${name}">${chances ? percent(chances[time][move]) : "?"}</b>`;
  $("mixTitle").textContent = `Move ${move + 1} of ${lake.best.length}: chance of a best move`;
  $("mix").innerHTML = row("", "● SFT", "in the demonstrator’s cell", lake.chances[0])
    + row("ift", "○ own guess", wrong(move) ? "the same move (green arrow)"
      : "here the demonstrator’s cell as well", lake.chances.at(-1))
    + row("ift", "▲ IFT", `the two cells’ logits, mixed ${Math.round(100 * (1 - share))} to ${Math.round(100 * share)}`,
      lake.chances[lam])
    + row("soft", "□ the truth", `in its own walks${bet && " (dashed line)"}`, bet && lake.alone);
}

// ---- the board ----------------------------------------------------------------------------------
const width = () => lake.rows[0].length;
const centre = (s) => [(s % width()) * 100 + 50, Math.floor(s / width()) * 100 + 50];
const place = (s) => `row ${Math.floor(s / width()) + 1}, column ${s % width() + 1}`;
const at = (s, inner) => `<g transform="translate(${centre(s)})">${inner}</g>`;

function drawLake() {
  const letters = [...lake.rows.join("")], goal = letters.indexOf("G");
  const s = lake.best[move][0], g = lake.guesses[time][move], policy = lake.policy[time];
  const stands = lake.stands[time][move], size = 9 + 2 * width();   // of the letters
  const cells = letters.map((letter, cell) => at(cell, letter === "H"
    ? '<rect x="-47" y="-47" width="94" height="94" rx="47" fill="var(--hole)" stroke="var(--line)"/>'
    : '<rect x="-47" y="-47" width="94" height="94" rx="12" fill="var(--ice)"/>'));
  const walks = stands.map(([cell, share]) => at(cell, `<rect x="-47" y="-47" width="94" height="94"
    rx="12" fill="var(--truth)" opacity="${0.75 * share}"/>`));
  const band = `<polyline fill="none" stroke="var(--sft)" stroke-width="26" opacity=".13"
    stroke-linejoin="round" stroke-linecap="round"
    points="${[...lake.best.map(([cell]) => cell), goal].map(centre).join(" ")}"/>`;
  const fill = (cell, a) => {                   // of the guess, what its bar counts is green
    if (cell === g && g !== s && lake.good[s].includes(a)) return "ift";
    return letters[cell] !== "H" && lake.good[cell].includes(a) ? "sft" : "page";
  };
  const arrows = letters.map((letter, cell) => "SF".includes(letter) || cell === g ? at(cell,
    policy[cell].map((p, a) => p < 2 ? ""       // its length is the chance of the move
      : `<path transform="rotate(${180 - 90 * a})" d="M6 ${-2 - 0.11 * p}L${10 + 0.36 * p} 0L6 ${
        2 + 0.11 * p}Z" fill="var(--${fill(cell, a)})" stroke="var(--${fill(cell, a) === "page"
        ? "soft" : fill(cell, a)})" stroke-width="2"/>`).join("")) : "");
  const flag = at(goal, '<path d="M-20 34V-34H-13L26 -17L-13 0V34Z" fill="var(--poft)"/>');
  const numbers = stands.filter(([, share]) => share >= 0.05).map(([cell, share]) => at(cell,
    `<text x="39" y="39" text-anchor="end" font-size="${size}" fill="var(--sft)">${
      Math.round(100 * share)}${width() < 7 ? "%" : ""}</text>`));
  const ring = (cell, colour, words) => at(cell, `<rect x="-45" y="-45" width="90" height="90"
    rx="10" fill="none" stroke="var(--${colour})" stroke-width="7"/>
    <rect x="-48" y="-48" width="${0.62 * size * words.length + 12}" height="${1.35 * size}" rx="6"
    fill="var(--${colour})"/><text x="-42" y="${-48 + size}" font-size="${size}" font-weight="700"
    fill="var(--page)">${words}</text>`);
  const rings = s === g ? ring(s, "sft", "SFT, IFT") : ring(g, "ift", "guess") + ring(s, "sft", "SFT");
  $("lake").setAttribute("viewBox", `0 0 ${width() * 100} ${lake.rows.length * 100}`);
  $("lake").innerHTML = [...cells, ...walks, band, ...arrows, flag, ...numbers, rings].join("");
  const prefers = (cell) => `${place(cell)}, ${"SF".includes(letters[cell]) ? policy[cell].map((p, a) =>
    `${MOVES[a]} ${p}%`).join(", ") : "a hole"}`;
  $("lake").ariaLabel = `The lake ${lake.name} before move ${move + 1}. SFT reads ${prefers(s)}. The
    own guess is ${prefers(g)}. The policy’s own walks stand in ${stands.map(([cell, share]) =>
    `${place(cell)}: ${percent(share)}`).join("; ")}.`;
}

// ---- all updates: estimates and truth on every lake ---------------------------------------------
const means = lakes.flatMap(({ alone, chances }) => [alone, ...chances].flat().map(mean));
const LOW = Math.floor(4 * Math.min(...means)) / 4;     // the axes go from here to 100 %

function plot(one, k) {
  const own = truths(one), sft = estimates(one, 0), ift = estimates(one, lam), last = own.length - 1;
  const x = (t) => 50 + 236 * t / last, y = (p) => 30 + 130 * (1 - p) / (1 - LOW);
  const text = (x, y, words, anchor = "middle", colour = "soft") => `<text x="${x}" y="${y}"
    text-anchor="${anchor}" fill="var(--${colour})">${words}</text>`;
  const line = (ps, colour, more) => `<polyline fill="none" stroke="var(--${colour})" ${more}
    points="${ps.map((p, t) => [x(t), y(p)]).join(" ")}"/>`;
  const marks = (ps, colour, mark) => ps.map((p, t) =>
    `<path transform="translate(${x(t)} ${y(p)})" d="${mark}" fill="var(--${colour})"/>`).join("");
  const triangle = "M0 -6L6 5H-6Z", disc = "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0";
  const name = (side, anchor) => {              // where SFT is farthest off, if it is
    const gaps = sft.map((p, t) => p - own[t]), t = gaps.indexOf(side(...gaps));
    const high = gaps[t] > 0;
    return verdict(gaps[t]) === "right" ? "" : text(x(t) + (high ? 0 : 12), y(sft[t]) + (high ? -14
      : 6), `SFT ${verdict(gaps[t])}`, anchor, "sft");
  };
  const grid = [0.25, 0.5, 0.75, 1].filter((p) => p >= LOW).map((p) => `<path stroke="var(--ice)"
    d="M${x(0)} ${y(p)}H${x(last)}"/>` + text(x(0) - 8, y(p) + 5, percent(p), "end"));
  const mark = { ift: ["▲", "ift"], sft: ["●", "sft"], same: ["=", "soft"] };
  const now = one === lake ? `<path d="M${x(time)} 30V160" stroke="var(--soft)"/>` : "";
  const truth = line(own, "truth", 'stroke-width="8" opacity=".5"') + name(Math.max, "end")
    + name(Math.min, "start") + text(x(0) - 12, 224, "nearer", "end")
    + own.map((_, t) => text(x(t), 224, ...[mark[nearer(one, t)]].map(([sign, colour]) =>
      `<tspan fill="var(--${colour})">${sign}</tspan>`))).join("");
  $(`plot${k}`).innerHTML = `<g font-size="12.5">${text(0, 12, "chance of a best move, mean of all moves",
    "start")}${grid.join("")}${own.map((_, t) => text(x(t), 179, t)).join("")}${
    text(x(last / 2), 198, "updates of training")}${now}${bet && truth}</g>${
    line(ift, "ift", 'stroke-width="2"')}${marks(ift, "ift", triangle)}${
    line(sft, "sft", 'stroke-width="2"')}${marks(sft, "sft", disc)}`;
  const list = (ps) => ps.map((p) => Math.round(100 * p)).join(", ");
  $(`plot${k}`).ariaLabel = `${one.name}, chance of a best move in per cent after updates 0 to ${last}.
    SFT: ${list(sft)}. IFT: ${list(ift)}.` + (bet && ` The truth: ${list(own)}.`);
  $(`plot${k}`).parentElement.className = one === lake ? "shown" : "";
}

// ---- what a visitor does ------------------------------------------------------------------------
function draw() {
  const set = (id, max, value, told = value) => {
    $(id).max = max;
    $(id).value = value;
    $(`${id}Now`).textContent = told;
  };
  set("time", lake.alone.length - 1, time);
  set("move", lake.best.length, move + 1);
  set("lam", lams.length - 1, lam, lams[lam]);
  $("lam").ariaValueText = lams[lam];
  $("allTitle").textContent = `All ${counts().all} updates, on ${lakes.length} lakes`;
  lakes.forEach(plot);
  drawLake();
  drawMix();
  if (bet) say();
}

function show(one, t) {                         // an update of a lake, at its first wrong guess
  lake = one;
  time = Math.min(t, lake.alone.length - 1);
  move = Math.max(0, lake.best.findIndex((_, i) => wrong(i)));
  draw();
}

$("lakes").innerHTML = lakes.map(({ name }, k) => `<div><b>${name}</b>
  <svg id="plot${k}" viewBox="0 0 300 232" role="img"></svg></div>`).join("");
$("which").innerHTML = lakes.map(({ name }, k) => `<option value="${k}">${name}</option>`).join("");
$("which").onchange = ({ target }) => show(lakes[target.value], time);
$("time").oninput = ({ target }) => show(lake, +target.value);
$("move").oninput = ({ target }) => {
  move = target.value - 1;
  draw();
};
$("lam").oninput = ({ target }) => {
  lam = +target.value;
  draw();
};
$("bet").onclick = ({ target }) => {
  if (!target.matches("button")) return;
  bet = target.textContent;
  for (const button of document.querySelectorAll("button")) button.ariaPressed = button === target;
  $("main").className = "";
  draw();
};
show(lakes[0], time);
