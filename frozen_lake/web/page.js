// Draws what ../record.py has computed: DATA = {lams, opens: an update, lakes, hundred}.
const $ = (id) => document.getElementById(id);
const { lams, lakes, hundred } = DATA;
const SETTINGS = Object.keys(hundred);
const BUTTONS = [...document.querySelectorAll("#bet button")];
const MOVES = ["left", "down", "right", "up"];
let lake = lakes[0], setting = SETTINGS[0], time = DATA.opens, lam = 0, bet = "", move;

const of = () => lake.of[setting];
const points = (x) => (100 * x).toFixed(1).replace("-", "−");
const firstWrong = () => Math.max(0, lake.best.findIndex(([s], i) => of().predicted[time][i] !== s));

// ---- the bars -----------------------------------------------------------------------------------
function drawMix() {
  const { SFT, residual, placebo, true: value } = of();
  const row = (name, title, small, x) => `<span class="${name}"><b>${title}</b>
    <small>${small}</small></span><div class="${name}"><i style="width:${100 * x}%"></i></div>
    <b class="${name}">${Math.round(100 * x)}\u00a0%</b>`;
  $("asks").textContent = `How likely is a best move after ${time} updates?`;
  $("mix").innerHTML = row("", "● SFT’s estimate", "in the expert’s cells", SFT[time])
    + row("residual", "▲ IFT’s estimate", "with the ghost mixed in", residual[lam][time])
    + row("placebo", "◆ placebo’s estimate", "with a random cell", placebo[lam][time])
    + row("soft", "□ true value", "where its own walks go", value[time]);
  const gap = SFT[time] - value[time];
  const [ghost, random] = [residual, placebo].map((x) => points(x[lam][time] - SFT[time]));
  $("difference").textContent = `${Math.abs(gap) < 0.005 ? "SFT is right to half a point"
    : `SFT is ${points(Math.abs(gap))} points too ${gap > 0 ? "high" : "low"}`}. IFT’s estimate
    differs from SFT’s by ${ghost}, the placebo’s by ${random}.`;
}

// ---- the board: the skater, the ghost, and one arrow for both -----------------------------------
const width = () => lake.rows[0].length;
const centre = (s) => [(s % width()) * 100 + 50, Math.floor(s / width()) * 100 + 50];
const at = (s, inner, more = "") => `<g transform="translate(${centre(s)})" ${more}>${inner}</g>`;
const SKATER = '<circle cy="-24" r="10" fill="currentColor"/><path d="M0-14V10L-13 32M0 10L13 32'
  + 'M-17-8L0 0 17-8M-21 34h15M6 34h15" fill="none" stroke="currentColor" stroke-width="6"'
  + ' stroke-linecap="round" stroke-linejoin="round"/>';

function next(s, a) {                           // where a move leads; at the edge one stays
  const row = Math.floor(s / width()) + [0, 1, 0, -1][a], column = s % width() + [-1, 0, 1, 0][a];
  return row < 0 || column < 0 || row >= lake.rows.length || column >= width() ? s
    : row * width() + column;
}

function drawLake() {
  const letters = [...lake.rows.join("")], goal = letters.indexOf("G");
  const [s, a] = lake.best[move], ghost = of().predicted[time][move];
  const falls = ghost !== s && letters[ghost] !== "H" && letters[next(ghost, a)] === "H";
  const cells = letters.map((letter, cell) => at(cell, letter === "H"
    ? `<circle r="46" fill="var(--${falls && cell === next(ghost, a) ? "down" : "hole"})"/>`
    : '<rect x="-47" y="-47" width="94" height="94" rx="12" fill="var(--ice)"/>'));
  const path = `<polyline fill="none" stroke="var(--sft)" stroke-width="24" opacity=".13"
    stroke-linejoin="round" stroke-linecap="round"
    points="${[...lake.best.map(([cell]) => cell), goal].map(centre).join(" ")}"/>`;
  const flag = at(goal, '<path d="M-20 34V-34H-13L26 -17L-13 0V34Z" fill="var(--poft)"/>');
  const arrow = (cell, colour) => at(cell, `<path transform="rotate(${180 - 90 * a})"
    d="M30-9H62V-24L92 0 62 24V9H30Z" fill="var(--${colour})" stroke="var(--page)"
    stroke-width="4"/>`);
  const shown = ghost === s ? "" : at(ghost, `<rect x="-44" y="-44" width="88" height="88" rx="10"
    fill="none" stroke="var(--ift)" stroke-width="4" stroke-dasharray="12 8"/>
    <g opacity=".4">${SKATER}</g>`, 'color="var(--ift)"')
    + (letters[ghost] === "H" ? "" : arrow(ghost, falls ? "down" : "ift"));
  $("lake").setAttribute("viewBox", `0 0 ${width() * 100} ${lake.rows.length * 100}`);
  $("lake").innerHTML = [...cells, path, flag, at(s, SKATER), shown, arrow(s, "sft")].join("");
  $("told").textContent = ghost === s ? "Here its prediction is right: IFT reads what SFT reads."
    : letters[ghost] === "H" ? "Its predicted move would have ended in a hole."
    : falls ? "At the ghost, this target leads into a hole."
    : "The ghost is where its prediction leads. Same target at both.";
  $("lake").ariaLabel = `${lake.name} before move ${move + 1} of the expert, which goes ${MOVES[a]}.`;
}

// ---- after the bet ------------------------------------------------------------------------------
function say() {
  const { gaps, high, closer, farther } = hundred[setting];
  const [ghost, placebo] = [closer, farther].map((x) => x["random cell"][lam][time]);
  const right = BUTTONS[ghost > 2 * placebo ? 0 : placebo > 2 * ghost ? 2 : 1].textContent;
  $("say").innerHTML = `<b>${right[0].toUpperCase()}${right.slice(1)}.</b> ${
    bet === right ? "You bet right." : ""} For a ${setting}, after ${time} updates, the ghost is
    closer on ${ghost} of 100 lakes, the placebo on ${placebo}. SFT is too high on ${high[time]} of
    100, and off by ${points(gaps.SFT[lam][time])} points in the mean. With the ghost at λ = ${
    lams[lam]} it is ${points(gaps.residual[lam][time])}, with the placebo ${
    points(gaps["random cell"][lam][time])}.`;
}

// ---- what a visitor does ------------------------------------------------------------------------
function draw() {
  for (const [id, max, value] of [["time", of().true.length - 1, time],
    ["move", lake.best.length, move + 1]]) {
    $(id).max = max;
    $(id).value = $(`${id}Now`).textContent = value;
  }
  for (const button of BUTTONS) button.ariaPressed = button.textContent === bet;
  $("main").className = bet ? "" : "before";
  drawMix();
  drawLake();
  if (bet) say();
}

function begin() {                              // of another lake or policy
  move = firstWrong();
  draw();
}

const options = (all) => all.map((one) => `<option>${one}</option>`).join("");
$("setting").innerHTML = options(SETTINGS);
$("share").innerHTML = options(lams);
const CHANGES = {
  time: (value) => { time = +value; },
  move: (value) => { move = value - 1; },
  share: (value) => { lam = lams.indexOf(+value); },
};
for (const [id, change] of Object.entries(CHANGES)) $(id).oninput = ({ target }) => {
  change(target.value);
  draw();
};
$("setting").oninput = ({ target }) => {
  setting = target.value;
  begin();
};
$("another").onclick = () => {
  lake = lakes[(lakes.indexOf(lake) + 1) % lakes.length];
  begin();
};
for (const button of BUTTONS) button.onclick = () => {
  bet = button.textContent;
  draw();
};
begin();
