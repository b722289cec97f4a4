// Draws what ../record.py has computed: DATA = {lams, opens: an update, lakes, hundred}. The whole
// state of the page is its address: #lake=lake+1000&policy=table+from+scratch&update=2&bet=...
const $ = (id) => document.getElementById(id);
const { lams, lakes, hundred } = DATA;
const SETTINGS = Object.keys(hundred);
const BUTTONS = [...document.querySelectorAll("#bet button")];
const BETS = BUTTONS.map((button) => button.textContent);
const MOVES = ["left", "down", "right", "up"];
let lake, setting, of, time, move, lam, on, bet;            // set by read(); of: lake.of[setting]

const percent = (x) => `${Math.round(100 * x)}\u00a0%`;
const points = (x) => (100 * x).toFixed(1).replace("-", "−");
const mean = (xs) => xs.reduce((a, b) => a + b, 0) / xs.length;
const firstWrong = () => Math.max(0, lake.best.findIndex(([s], i) => of.predicted[time][i] !== s));

// ---- the strip: what is read, and its target ----------------------------------------------------
const READ = ["saw", "bee", "pig", "cow"], TARGET = ["bee", "pig", "cow", "hen"];
const WRONG = 1, PREDICTED = "hen";             // after "saw bee" the model would say "hen"
const x = (i) => 96 + 134 * i;

function strip(name, colour, mixes) {
  const word = (i, y, words, size = 26, fill = "sft", weight = 400) =>
    `<text x="${x(i) + 58}" y="${y}" font-size="${size}" font-weight="${weight}"
    text-anchor="middle" fill="var(--${fill})">${words}</text>`;
  const tiles = READ.map((read, i) => {
    const mixed = mixes && i === WRONG + 1;
    return `<rect x="${x(i)}" y="10" width="116" height="100" rx="10" fill="var(--ice)"/>${
      mixed ? `<path d="M${x(i)} 84h116v16a10 10 0 0 1-10 10h-96a10 10 0 0 1-10-10z"
      fill="var(--ift)"/>` + word(i, 104, PREDICTED, 20, "page", 700) : ""}${word(i, 58, read, 30)}
      <path d="M${x(i) + 58} 118v20m-7-8l7 9 7-9" fill="none" stroke="var(--soft)"
      stroke-width="3"/>${word(i, 166, TARGET[i], 26, "sft", 700)}`;
  });
  const own = mixes ? `${word(WRONG, 196, `predicts ${PREDICTED}`, 20, "ift", 700)}
    <path d="M${x(WRONG) + 132} 188C${x(WRONG + 1) + 8} 184 ${x(WRONG + 1) - 9} 120 ${
    x(WRONG + 1) - 9} 108m-9 12l9-12 9 12" fill="none" stroke="var(--ift)" stroke-width="4"/>` : "";
  const label = (y, words) =>
    `<text x="0" y="${y}" font-size="20" fill="var(--soft)">${words}</text>`;
  return `<svg viewBox="0 0 620 206" role="img" aria-label="${name} reads ${READ.map((read, i) =>
    mixes && i === WRONG + 1 ? `${read} with a fifth of ${PREDICTED}` : read).join(", ")}; its
    targets are ${TARGET.join(", ")}."><text x="0" y="34" font-size="26" font-weight="700"
    fill="var(--${colour})">${name}</text>${label(66, "reads")}${label(164, "target")}${
    tiles.join("")}${own}</svg>`;
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
  const [s, a] = lake.best[move], g = of.predicted[time][move];
  const ghost = on && g !== s;
  const drowns = ghost && letters[g] !== "H" && letters[next(g, a)] === "H";
  const cells = letters.map((letter, cell) => at(cell, letter === "H"
    ? `<circle r="46" fill="var(--hole)" ${drowns && cell === next(g, a) ? 'class="flash"' : ""}/>`
    : '<rect x="-47" y="-47" width="94" height="94" rx="12" fill="var(--ice)"/>'));
  const walks = bet ? of.stands[time][move].map(([cell, share]) => at(cell, `<rect x="-47" y="-47"
    width="94" height="94" rx="12" fill="var(--truth)" opacity="${0.75 * share}"/>`)) : [];
  const path = `<polyline fill="none" stroke="var(--sft)" stroke-width="24" opacity=".13"
    stroke-linejoin="round" stroke-linecap="round"
    points="${[...lake.best.map(([cell]) => cell), goal].map(centre).join(" ")}"/>`;
  const flag = at(goal, '<path d="M-20 34V-34H-13L26 -17L-13 0V34Z" fill="var(--poft)"/>');
  const arrow = (cell, colour) => at(cell, `<path transform="rotate(${180 - 90 * a})"
    d="M30-9H62V-24L92 0 62 24V9H30Z" fill="var(--${colour})" stroke="var(--page)"
    stroke-width="4"/>`);
  $("lake").setAttribute("viewBox", `0 0 ${width() * 100} ${lake.rows.length * 100}`);
  $("lake").innerHTML = [...cells, ...walks, path, flag, at(s, SKATER), ghost ? at(g,
    `<rect x="-44" y="-44" width="88" height="88" rx="10" fill="none" stroke="var(--ift)"
    stroke-width="4" stroke-dasharray="12 8"/><g opacity=".4">${SKATER}</g>`, 'color="var(--ift)"')
    + (letters[g] === "H" ? "" : arrow(g, drowns ? "down" : "ift")) : "", arrow(s, "sft")].join("");
  const told = !on ? "SFT reads the expert’s cell; the arrow is its target."
    : !ghost ? "Here its prediction is right: IFT reads what SFT reads."
    : letters[g] === "H" ? "Its predicted move would have ended in a hole."
    : drowns ? "At the ghost, this target leads into a hole."
    : "The ghost is where its prediction leads. Same target at both.";
  $("told").textContent = told;
  $("lake").ariaLabel = `${lake.name} before move ${move + 1}, which goes ${MOVES[a]}. ${told}`;
}

// ---- one move: four bars ------------------------------------------------------------------------
function drawMix() {
  const row = (name, title, small, estimate) => `<span class="${name}"><b>${title}</b>
    <small>${small}</small></span><div class="${name}"><i style="width:${
    estimate ? 100 * estimate[time][move] : 0}%"></i></div>
    <b class="${name}">${estimate ? percent(estimate[time][move]) : "?"}</b>`;
  $("mix").innerHTML = row("", "● SFT", "where the expert stood", of.SFT)
    + row("residual", "▲ IFT", `with the ghost, λ = ${lams[lam]}`, of.residual[lam])
    + row("placebo", "◆ placebo", "with a random cell", of.placebo[lam])
    + row("soft", "□ true value", "where it skates on its own", bet && of.true);
}

// ---- all updates: the mean of 100 lakes (thick), this lake (thin) -------------------------------
const LEFT = 36, RIGHT = 296, TOP = 8, FOOT = 150;
const text = (x, y, words, more = 'text-anchor="middle"', colour = "soft") =>
  `<text x="${x}" y="${y}" ${more} fill="var(--${colour})">${words}</text>`;

function seriesOf(name) {                       // [colour, estimate minus true value, width]
  const { gaps } = hundred[name], all = [["sft", gaps.SFT[lam], 4],
    ["graded", gaps["random cell"][lam], 4], ["ift", gaps.residual[lam], 4]];
  const minus = (xs) => xs.map((row, t) => mean(row) - mean(of.true[t]));
  return name !== setting ? all : [["sft", minus(of.SFT), 1.5],
    ["graded", minus(of.placebo[lam]), 1.5], ["ift", minus(of.residual[lam]), 1.5], ...all];
}

function plot(name, k) {
  const every = SETTINGS.flatMap(seriesOf).flatMap(([, ys]) => ys), last = of.true.length - 1;
  const low = Math.min(-0.05, ...every), high = Math.max(0.05, ...every);
  const px = (t) => LEFT + (RIGHT - LEFT) * t / last;
  const py = (y) => TOP + (FOOT - TOP) * (high - y) / (high - low);
  const ticks = [-0.2, -0.1, -0.05, 0, 0.05, 0.1, 0.2].filter((y) => y >= low && y <= high
    && (Math.abs(y) !== 0.05 || high - low < 0.25)).map((y) => `<path
    d="M${LEFT} ${py(y)}H${RIGHT}" stroke="var(--${y ? "line" : "truth"})" stroke-width="${
    y ? 1 : 2}"/>${text(LEFT - 6, py(y) + 4, `${y > 0 ? "+" : ""}${points(y).slice(0, -2)}`,
    'text-anchor="end"')}`);
  const lines = seriesOf(name).map(([colour, ys, wide]) => `<polyline fill="none" points="${
    ys.map((y, t) => [px(t), py(y)]).join(" ")}" stroke="var(--${colour})" stroke-width="${wide}"
    stroke-linejoin="round"/>`);
  const now = name === setting ? `<path d="M${px(time)} ${TOP}V${FOOT}" stroke="var(--soft)"
    stroke-dasharray="3 4"/>` : "";
  const { closer, farther } = hundred[name], counts = [closer, farther].map((x) =>
    x["random cell"][lam]);
  const numbers = counts[0].map((n, t) => text(px(t), FOOT + 18, t) + text(px(t), FOOT + 38, n,
    undefined, "ift") + text(px(t), FOOT + 55, counts[1][t], undefined, "graded"));
  const head = ["", "▲", "◆"].map((mark, i) => text(4, FOOT + [18, 38, 55][i], mark,
    undefined, ["soft", "ift", "graded"][i]));
  $(`plot${k}`).innerHTML = `<g font-size="13">${ticks.join("")}${now}${lines.join("")}${
    head.join("")}${numbers.join("")}</g>`;
  const list = (xs) => xs.map(points).join(", "), { gaps } = hundred[name];
  $(`plot${k}`).ariaLabel = `${name}, updates 0 to ${last}, mean of 100 lakes, estimate minus true
    value in points: SFT ${list(gaps.SFT[lam])}; IFT ${list(gaps.residual[lam])}; placebo
    ${list(gaps["random cell"][lam])}. IFT is closer than the placebo on ${counts[0].join(", ")}.`;
}

function say() {
  const { gaps, high, closer, farther } = hundred[setting];
  const [ghost, placebo] = [closer, farther].map((x) => x["random cell"][lam][time]);
  const right = BETS[ghost > 2 * placebo ? 0 : placebo > 2 * ghost ? 2 : 1];
  $("say").innerHTML = `<p class="big"><b>${right[0].toUpperCase()}${right.slice(1)}.</b> ${
    bet === right ? "You bet right." : ""} For a ${setting}, after ${time} updates, the ghost is
    closer on ${ghost} of 100 lakes, the placebo on ${placebo}.</p><p>SFT is too high on
    ${high[time]} of 100, and off by ${points(gaps.SFT[lam][time])} points in the mean. With the
    ghost at λ = ${lams[lam]} it is ${points(gaps.residual[lam][time])}, with the placebo
    ${points(gaps["random cell"][lam][time])}.</p>`;
}

// ---- what a visitor does ------------------------------------------------------------------------
function draw() {
  const set = (id, max, value) => {
    $(id).max = max;
    $(id).value = $(`${id}Now`).textContent = value;
  };
  set("time", of.true.length - 1, time);
  set("move", lake.best.length, move + 1);
  $("share").value = lams[lam];
  $("setting").value = setting;
  $("on").checked = on;
  $("main").className = bet ? "" : "before";
  for (const button of BUTTONS) button.ariaPressed = button.textContent === bet;
  $("strips").innerHTML = strip("SFT", "sft", false) + strip("IFT", "ift", on);
  drawLake();
  drawMix();
  if (!bet) return;
  SETTINGS.forEach(plot);
  say();
}

function read() {                               // the address; what it does not say is as at first
  const given = new URLSearchParams(location.hash.slice(1));
  const pick = (key, values, first) => {
    const k = values.map(String).indexOf(given.get(key));
    return k < 0 ? first : k;
  };
  lake = lakes[pick("lake", lakes.map(({ name }) => name), 0)];
  setting = SETTINGS[pick("policy", SETTINGS, 0)];
  of = lake.of[setting];
  time = pick("update", [...of.true.keys()], DATA.opens);
  move = pick("move", lake.best.map((_, i) => i + 1), firstWrong());
  lam = pick("share", lams, 0);
  on = given.get("ghost") !== "off";
  bet = BETS[pick("bet", BETS, -1)] ?? "";
  draw();
}

function keep(way = "replaceState") {
  const state = { lake: lake.name, policy: setting, update: time, move: move + 1,
    share: lams[lam] };
  if (!on) state.ghost = "off";
  if (bet) state.bet = bet;
  history[way]("", "", `#${new URLSearchParams(state)}`);
}

const CONTROLS = {
  time: (value) => { time = +value; },
  move: (value) => { move = value - 1; },
  share: (value) => { lam = lams.indexOf(+value); },
  on: () => { on = $("on").checked; },
  setting: (value) => { setting = value; of = lake.of[setting]; move = firstWrong(); },
};
const options = (all) => all.map((one) => `<option>${one}</option>`).join("");
$("setting").innerHTML = options(SETTINGS);
$("share").innerHTML = options(lams);
$("plots").innerHTML = SETTINGS.map((name, k) => `<figure><figcaption>${name}</figcaption>
  <svg id="plot${k}" viewBox="0 0 300 208" role="img"></svg></figure>`).join("");
for (const [id, set] of Object.entries(CONTROLS)) {
  $(id).oninput = ({ target }) => {
    set(target.value);
    draw();
  };
  $(id).onchange = () => keep();
}
$("another").onclick = () => {
  lake = lakes[(lakes.indexOf(lake) + 1) % lakes.length];
  of = lake.of[setting];
  move = firstWrong();
  keep("pushState");
  draw();
};
$("bet").onclick = ({ target }) => {
  if (!target.matches("button")) return;
  bet = target.textContent;
  keep("pushState");
  draw();
  $("say").scrollIntoView({ block: "nearest" });
};
window.onpopstate = read;
read();
