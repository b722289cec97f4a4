// Draws what ../record.py has computed: DATA = {lams, opens: an update, lakes}. The whole state of
// the page is its address: #lake=Two+ways&update=3&move=2&share=0.2&bet=sometimes.
const $ = (id) => document.getElementById(id);
const { lams, lakes } = DATA;
const BUTTONS = [...document.querySelectorAll("#bet button")];
const BETS = BUTTONS.map((button) => button.textContent);
const POINT = 0.01;             // an estimate within a point is right; a lead within one is small
const MOVES = ["left", "down", "right", "up"];
let lake, time, move, lam, bet, said;                       // all but the last are set by read()

const percent = (x, digits = 0) => `${(100 * x).toFixed(digits)}\u00a0%`;
const signed = (x, digits = 0) =>
  `${x > 0 ? "+" : x < 0 ? "−" : ""}${Math.abs(x).toFixed(digits)}`;
const mean = (xs) => xs.reduce((a, b) => a + b, 0) / xs.length;
const wrong = (i, one = lake, t = time) => one.guesses[t][i] !== one.best[i][0];
const verdict = (gap) => Math.abs(gap) <= POINT ? "right" : gap > 0 ? "too high" : "too low";
const alone = (one) => one.alone.map(mean);

function gaps(one, k) {                                     // estimate minus truth; SFT is k = 0
  const own = alone(one);
  return one.chances[k].map((xs, t) => mean(xs) - own[t]);
}

function closer([sft, ift]) {                               // who, and whether by more than a point
  const lead = Math.abs(sft) - Math.abs(ift);
  return { who: lead > 0 ? "ift" : lead < 0 ? "sft" : "same", clear: Math.abs(lead) > POINT };
}

// ---- the answer ---------------------------------------------------------------------------------
function counts() {                             // over all updates of all lakes
  const all = lakes.flatMap((one) => {
    const ift = gaps(one, lam);
    return gaps(one, 0).map((sft, t) => [sft, ift[t]]);
  });
  const of = (test) => all.filter(test).length;
  return { all: all.length, is: (who) => of((pair) => closer(pair).who === who),
    clearly: (who) => of((pair) => closer(pair).who === who && closer(pair).clear),
    lower: of(([sft, ift]) => ift < sft), higher: of(([sft, ift]) => ift > sft) };
}

const same = (one, t) => one.best.every((_, i) => !wrong(i, one, t));   // no guess is wrong

function say() {
  const now = counts(), share = now.is("ift") / now.all;
  const answer = BETS[share > 2 / 3 ? 0 : share < 1 / 3 ? 2 : 1];
  const agree = lakes.flatMap((one) => one.alone.filter((_, t) => same(one, t))).length;
  const low = lakes.filter((one) => verdict(gaps(one, 0)[0]) === "too low").length;
  const high = lakes.filter((one) => verdict(gaps(one, 0).at(-1)) === "too high").length;
  const html = `<p class="big"><b>${answer[0].toUpperCase() + answer.slice(1)}.</b>
    ${bet === answer ? "You bet right." : ""} IFT is closer at ${now.is("ift")} of ${now.all}
    updates, farther at ${now.is("sft")}, and the same at ${now.is("same")}${
    agree === now.is("same") ? ", where no guess is wrong" : ""}. <b>By more than a point it is
    closer at ${now.clearly("ift")} and farther at ${now.clearly("sft")}.</b></p>`;
  if (said !== html) $("say").innerHTML = said = html;      // a screen reader says it once
  $("helps").textContent = `${now.lower > now.higher ? "IFT’s estimate is mostly lower: that"
    : "A lower estimate"} helps only where SFT is too high`;
  $("why").innerHTML = `SFT starts too low on ${low} of ${lakes.length} lakes${
    low ? ", because the old habit also makes good moves" : ""}, and ends too high on ${high}. Wrong
    guesses make IFT’s estimate lower at ${now.lower} updates and higher at ${now.higher}. These
    policies were chosen because they guess wrong at first. Now move the sliders.`;
  const off = (k) => {
    const gap = gaps(lake, k)[time];
    return `${Math.abs(100 * gap).toFixed(1)} points too ${gap > 0 ? "high" : "low"}`;
  };
  $("now").innerHTML = `On this lake, after ${time} updates and over all ${lake.best.length}
    moves, the truth is ${percent(alone(lake)[time], 1)}, SFT is ${off(0)}, IFT ${off(lam)}.`;
}

// ---- one move: four bars ------------------------------------------------------------------------
function drawMix() {
  const share = Math.round(100 * lams[lam]);
  const row = (name, title, small, chances) => `<span class="${name}"><b>${title}</b>
    <small>${small}</small></span><div class="${name}"><i style="width:${
    chances ? 100 * chances[time][move] : 0}%"></i>${bet && `<u style="left:${
    100 * lake.alone[time][move]}%"></u>`}</div>
    <b class="${name}">${chances ? percent(chances[time][move]) : "?"}</b>`;
  $("mixTitle").textContent = `Chance that move ${move + 1} of ${lake.best.length} is best`;
  $("mix").innerHTML = row("", "● SFT", "in the marked cell", lake.chances[0])
    + row("ift", "○ own guess", wrong(move) ? "in the guessed cell"
      : "here the marked cell as well", lake.chances.at(-1))
    + row("ift", "▲ IFT", `both cells, mixed ${100 - share} to ${share}`, lake.chances[lam])
    + row("soft", "□ the truth", `where it skates by itself${bet && " (dashed)"}`,
      bet && lake.alone);
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
    ? '<circle r="47" fill="var(--hole)" stroke="var(--line)"/>'
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
  const rings = s === g ? ring(s, "sft", "SFT, IFT")
    : ring(g, "ift", "guess") + ring(s, "sft", "SFT");
  $("lake").setAttribute("viewBox", `0 0 ${width() * 100} ${lake.rows.length * 100}`);
  $("lake").innerHTML = [...cells, ...walks, band, ...arrows, flag, ...numbers, rings].join("");
  const prefers = (cell) => `${place(cell)}, ${"SF".includes(letters[cell])
    ? policy[cell].map((p, a) => `${MOVES[a]} ${p}%`).join(", ") : "a hole"}`;
  $("lake").ariaLabel = `The lake ${lake.name} before move ${move + 1}. SFT reads ${prefers(s)}. The
    own guess is ${prefers(g)}. The policy’s own walks are in ${stands.map(([cell, share]) =>
    `${place(cell)}: ${percent(share)}`).join("; ")}.`;
}

// ---- all updates: IFT minus SFT on every lake ---------------------------------------------------
const LEFT = 52, RIGHT = 360, HEAD = 4, FOOT = 146, WORDS = FOOT + 16;
const SIGNS = { ift: "△▲", sft: "○●", same: "==" };         // hollow: by a point or less
const text = (x, y, words, more = 'text-anchor="middle"', colour = "soft") =>
  `<text x="${x}" y="${y}" ${more} fill="var(--${colour})">${words}</text>`;
const leads = (one) => gaps(one, lam).map((ift, t) => ift - gaps(one, 0)[t]);

function axis() {                               // [unit, lowest, highest]: of all lakes together
  const every = lakes.flatMap(leads), most = Math.max(...every.map(Math.abs));
  const unit = most < 0.04 ? 0.01 : most < 0.25 ? 0.05 : 0.1;
  return [unit, Math.min(-1, Math.floor(Math.min(...every) / unit)),
    Math.max(1, Math.ceil(Math.max(...every) / unit))];
}

function plot(one, k) {
  const [unit, low, high] = axis(), found = leads(one), wide = (RIGHT - LEFT) / found.length;
  const sft = gaps(one, 0), ift = gaps(one, lam), last = found.length - 1;
  const x = (t) => LEFT + wide * (t + 0.5);
  const y = (lead) => HEAD + 18 + (FOOT - HEAD - 36) * (high - lead / unit) / (high - low);
  const lines = [...Array(high - low + 1).keys()].map((n) => low + n).map((n) => `<path d="M${LEFT}
    ${y(n * unit)}H${RIGHT}" stroke="var(--${n ? "line" : "sft"})" stroke-width="${n ? 0.6 : 2.5}"/>
    ${text(LEFT - 8, y(n * unit) + 5, signed(100 * n * unit), 'text-anchor="end"')}`);
  const says = sft.map((gap) => verdict(gap).replace("too ", ""));
  const points = found.map((lead, t) => {       // a word where SFT becomes too low, right, too high
    const { who, clear } = closer([sft[t], ift[t]]), equal = who === "same";
    return `<rect class="${says[t]}" x="${LEFT + wide * t}" y="${HEAD}" width="${wide}"
      height="${WORDS + 6 - HEAD}"/>${says[t] === says[t - 1] ? "" : text(x(t), WORDS, says[t])}
      ${text(x(t), WORDS + 22, t)}${text(x(t), y(lead) + (equal ? -4 : 5),
      `<tspan>${SIGNS[who][+clear]}</tspan>`, 'font-size="15" text-anchor="middle"',
      equal ? "soft" : who)}`;
  });
  const now = one === lake ? `<path d="M${x(time)} ${HEAD}V${FOOT}" stroke="var(--soft)"/>` : "";
  const right = (y, words) => text(RIGHT - 4, y, words, 'text-anchor="end"', "sft");
  $(`plot${k}`).innerHTML = `<g font-size="13">${lines.join("")}${now}<polyline fill="none"
    stroke="var(--soft)" points="${found.map((lead, t) => [x(t), y(lead)]).join(" ")}"/>${
    points.join("")}${right(HEAD + 12, "IFT says more")}${right(FOOT - 4, "IFT says less")}${
    text(0, WORDS, "SFT is", "")}${text(0, WORDS + 22, "update", "")}</g>`;
  const list = (gaps) => gaps.map((gap) => signed(100 * gap, 1)).join(", ");
  $(`plot${k}`).ariaLabel = `${one.name}, IFT minus SFT in points after updates 0 to ${last}:
    ${list(found)}. SFT minus the truth: ${list(sft)}.`;
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
  set("share", lams.length - 1, lam, lams[lam]);
  $("share").ariaValueText = lams[lam];
  $("which").value = lakes.indexOf(lake);
  $("over").textContent = `${counts().all} updates on ${lakes.length} lakes`;
  $("main").className = bet ? "" : "before";
  for (const button of BUTTONS) button.ariaPressed = button.textContent === bet;
  drawLake();
  drawMix();
  if (!bet) return;
  lakes.forEach(plot);
  say();
}

const firstWrong = () => Math.max(0, lake.best.findIndex((_, i) => wrong(i)));

function read() {                               // the address; what it does not say is as at first
  const given = new URLSearchParams(location.hash.slice(1));
  const pick = (key, values, first) => {
    const k = values.map(String).indexOf(given.get(key));
    return k < 0 ? first : k;
  };
  lake = lakes[pick("lake", lakes.map(({ name }) => name), 0)];
  time = pick("update", [...lake.alone.keys()], Math.min(DATA.opens, lake.alone.length - 1));
  move = pick("move", lake.best.map((_, i) => i + 1), firstWrong());
  lam = pick("share", lams, lams.indexOf(0.2));
  bet = BETS[pick("bet", BETS, -1)] ?? "";
  draw();
}

function keep(way = "replaceState") {
  const state = { lake: lake.name, update: time, move: move + 1, share: lams[lam] };
  if (bet) state.bet = bet;
  history[way]("", "", `#${new URLSearchParams(state)}`);
}

const CONTROLS = {
  which: (value) => {
    lake = lakes[value];
    time = Math.min(time, lake.alone.length - 1);
    move = firstWrong();
  },
  time: (value) => {
    time = +value;
    move = firstWrong();
  },
  move: (value) => {
    move = value - 1;
  },
  share: (value) => {
    lam = +value;
  },
};

$("lakes").innerHTML = lakes.map(({ name }, k) => `<figure><figcaption>${name}</figcaption>
  <svg id="plot${k}" viewBox="0 0 360 188" role="img"></svg></figure>`).join("");
$("which").innerHTML = lakes.map(({ name }, k) => `<option value="${k}">${name}</option>`).join("");
for (const [id, set] of Object.entries(CONTROLS)) {
  $(id).oninput = ({ target }) => {
    set(target.value);
    draw();
  };
  $(id).onchange = () => keep(id === "which" ? "pushState" : "replaceState");
}
$("bet").onclick = ({ target }) => {
  if (!target.matches("button")) return;
  bet = target.textContent;
  keep("pushState");
  draw();
  $("plot0").scrollIntoView({ block: "nearest" });
};
window.onpopstate = read;
read();
