// Draws what ../record.py has computed: DATA = {lams, opens: an update, lakes}.
const $ = (id) => document.getElementById(id);
const { lams, lakes } = DATA;
const RIGHT = 0.01;                             // an estimate within one point is right
let lake = lakes[0], time = DATA.opens, lam = lams.indexOf(0.2), move = 0, bet = "";

const percent = (x, digits = 0) => `${(100 * x).toFixed(digits)}\u00a0%`;
const mean = (xs) => xs.reduce((a, b) => a + b, 0) / xs.length;
const wrong = (i) => lake.guesses[time][i] !== lake.best[i][0];
const verdict = (x) => Math.abs(x) <= RIGHT ? "right" : x > 0 ? "too high" : "too low";

// ---- the finding: estimates and truth over updates, on every lake, with the cursor --------------
const means = lakes.flatMap(({ alone, chances }) => [alone, ...chances].flat().map(mean));
const LOW = Math.floor(4 * Math.min(...means)) / 4;     // the axes go from here to 100 %

function plot(one, k) {
  const own = one.alone.map(mean), sft = one.chances[0].map(mean), last = own.length - 1;
  const x = (t) => 48 + 222 * t / last, y = (p) => 12 + 190 * (1 - p) / (1 - LOW);
  const text = (x, y, words, anchor = "middle", colour = "soft") => `<text x="${x}" y="${y}"
    text-anchor="${anchor}" fill="var(--${colour})">${words}</text>`;
  const curve = (ps, colour, mark, fill = colour) => `<polyline fill="none" stroke-width="2"
    stroke="var(--${colour})" points="${ps.map((p, t) => [x(t), y(p)]).join(" ")}"/>
    <g stroke="var(--${colour})" stroke-width="2" fill="var(--${fill})">${ps.map((p, t) =>
      `<path transform="translate(${x(t)} ${y(p)})" d="${mark}"/>`).join("")}</g>`;
  const triangle = "M0 -6L6 5H-6Z", square = "M-5 -5H5V5H-5Z";
  const disc = "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0";
  const blend = (share) => one.chances[lams.indexOf(share)].map(mean);
  const name = (side, anchor, colour) => {      // where SFT is farthest off, if it is
    const gaps = sft.map((p, t) => p - own[t]), t = gaps.indexOf(side(...gaps));
    const words = verdict(gaps[t]);
    return words === "right" ? ""
      : text(x(t), y(Math.max(sft[t], own[t])) - 14, `SFT ${words}`, anchor, colour);
  };
  const edges = sft.flatMap((p, t) => {         // [update, SFT, truth], also where the two cross
    const gap = p - own[t], part = gap / (gap - sft[t + 1] + own[t + 1]);
    const cross = own[t] + part * (own[t + 1] - own[t]);
    return [[t, p, own[t]], ...(part > 0 && part < 1 ? [[t + part, cross, cross]] : [])];
  });
  const area = (side, colour) => `<polygon fill="var(--${colour})" opacity=".2" points="${
    [...edges.map(([t, p, q]) => [x(t), y(side(p, q))]),
      ...edges.map(([t, , q]) => [x(t), y(q)]).reverse()].join(" ")}"/>`;
  const grid = [0.25, 0.5, 0.75, 1].filter((p) => p >= LOW).map((p) => `<path stroke="var(--ice)"
    d="M${x(0)} ${y(p)}H${x(last)}"/>` + text(x(0) - 8, y(p) + 5, percent(p), "end"));
  const now = Math.min(time, last), after = `<path d="M${x(now)} 12V202" stroke="var(--soft)"/>`
    + area(Math.max, "down") + name(Math.max, "end", "down")
    + area(Math.min, "up") + name(Math.min, "start", "up")
    + curve(own, "truth", square, "panel");
  $(`plot${k}`).innerHTML = `<g font-size="15">${grid.join("")}${bet && after}${
    text(x(0), 224, 0)}${text(x(last), 224, last)}${text(x(last / 2), 224, bet ? `update ${now}`
      : "updates")}</g>${curve(blend(0.5), "ift", triangle, "panel")}${
    curve(blend(0.2), "ift", triangle)}${curve(sft, "sft", disc)}`;
  $(`plot${k}`).parentElement.className = one === lake ? "shown" : "";
  $(`time${k}`).value = now;
}

function say() {
  const off = (one, t) => [0, lam].map((k) => mean(one.chances[k][t]) - mean(one.alone[t]));
  const all = lakes.flatMap((one) => one.alone.map((_, t) => off(one, t)));
  const count = (test) => all.filter(([a, b]) => test(a, b)).length;
  const is = (name) => count((a) => verdict(a) === name);
  const points = (x) => `${Math.abs(100 * x).toFixed(1)} points too ${x > 0 ? "high" : "low"}`;
  const [a, b] = off(lake, time).map(points);
  $("say").innerHTML = `You bet ${bet}. This is so at <b>${is(bet)} of the ${all.length} updates</b>
    of ${lakes.length} lakes: SFT’s estimate is too low at ${is("too low")}, right within a point
    at ${is("right")}, too high at ${is("too high")}. <b>IFT with λ ${lams[lam]} is nearer at
    ${count((a, b) => Math.abs(b) < Math.abs(a))} and farther off at
    ${count((a, b) => Math.abs(b) > Math.abs(a))}.</b> Where the guessed cell is worse, the blend
    lowers the estimate, which helps where SFT is too high and harms where it is too low.`;
  $("now").innerHTML = `<b>${lake.name}, update ${time}</b>: where it stands by itself the policy
    makes a best move ${percent(mean(lake.alone[time]), 1)} of the time. SFT is ${a}, IFT ${b}.`;
}

// ---- the ice ------------------------------------------------------------------------------------
const width = () => lake.rows[0].length;
const centre = (s) => [(s % width()) * 100 + 50, Math.floor(s / width()) * 100 + 50];
const at = (s, inner, more = "") => `<g transform="translate(${centre(s)})" ${more}>${inner}</g>`;

function drawLake() {                           // ▲ lies between the true cell and the guessed one
  const letters = [...lake.rows.join("")], goal = letters.indexOf("G");
  const s = lake.best[move][0], g = lake.guesses[time][move], [from, to] = [centre(s), centre(g)];
  const cells = letters.map((letter, cell) => at(cell, `<rect x="-46" y="-46" width="92"
    height="92" rx="15" fill="var(--${letter === "H" ? "hole" : "ice"})"/>`));
  const flag = at(goal, '<path d="M-20 34V-34H-13L26 -17L-13 0V34Z" fill="var(--poft)"/>');
  const line = (path, more) => `<polyline fill="none" stroke="var(--sft)" stroke-width="5" ${more}
    points="${[...path.map(([cell]) => cell), goal].map(centre).join(" ")}"/>`;
  const ring = (cell, colour, more) => at(cell, `<circle r="43" fill="none" stroke-width="8"
    stroke="var(--${colour})" ${more}/>`);
  const discs = lake.stands[time][move].map(([cell, share]) => at(cell, `<circle opacity=".6"
    r="${40 * Math.sqrt(share)}" fill="var(--soft)"/>`));
  const blend = from.map((x, i) => x + lams[lam] * (to[i] - x));
  const after = `${discs.join("")}<path d="M${from}L${to}" stroke="var(--ift)" stroke-width="10"/>
    ${ring(s, "sft", "")}${wrong(move) ? ring(g, "ift", 'stroke-dasharray="12 7"') : ""}
    <path id="blend" transform="translate(${blend})" d="M0 -30L29 22H-29Z" fill="var(--ift)"
      stroke="var(--page)" stroke-width="5"/>`;
  $("lake").setAttribute("viewBox", `0 0 ${width() * 100} ${lake.rows.length * 100}`);
  $("lake").innerHTML = cells.join("") + flag + line(lake.best, "")
    + line(lake.worse, 'stroke-dasharray="0 14" stroke-linecap="round" opacity=".5"')
    + (bet && after);
}

function drawMix() {
  const share = lams[lam], row = (name, text, chances) => `<span class="${name}">${text}</span>
    <i class="${name}" style="width:${100 * chances[time][move]}%"></i>
    <b>${percent(chances[time][move])}</b>`;
  $("mixTitle").textContent = `The temporal residual at move ${move + 1} of ${lake.best.length}: `
    + (wrong(move) ? "how likely is a best move?"
      : "the own guess is the true cell, nothing changes");
  $("mix").innerHTML = row("", "● true cell (ring)", lake.chances[0])
    + row("ift", "○ guessed cell (dashes)", lake.chances.at(-1))
    + row("ift", `▲ ${percent(1 - share)} ● + ${percent(share)} ○`, lake.chances[lam])
    + row("soft", "□ where it stands by itself", lake.alone);
}

// ---- what a visitor does ------------------------------------------------------------------------
function draw() {
  $("move").max = lake.best.length;
  $("move").value = $("moveNow").textContent = move + 1;
  $("lam").value = lam;
  $("lamNow").textContent = lams[lam];
  lakes.forEach(plot);
  drawLake();
  if (!bet) return;
  say();
  drawMix();
}

function show(one, t) {                         // an update of a lake, at its first wrong guess
  lake = one;
  time = Math.min(t, lake.alone.length - 1);
  move = Math.max(0, lake.best.findIndex((_, i) => wrong(i)));
  draw();
}

$("lakes").innerHTML = lakes.map(({ name, alone }, k) => `<div><b>${name}</b>
  <svg id="plot${k}" viewBox="0 0 280 230" role="img" aria-label="estimates over updates"></svg>
  <input class="after" id="time${k}" type="range" max="${alone.length - 1}"
    aria-label="updates, ${name}"></div>`).join("");
lakes.forEach((one, k) => {
  $(`time${k}`).oninput = ({ target }) => show(one, +target.value);
  $(`time${k}`).onfocus = () => show(one, time);
});
$("bet").onclick = ({ target }) => {
  if (!target.matches("button")) return;
  bet = target.textContent;
  for (const button of document.querySelectorAll("button")) button.ariaPressed = button === target;
  $("main").className = "";
  draw();
};
$("lam").max = lams.length - 1;
$("lam").oninput = ({ target }) => {
  lam = +target.value;
  draw();
};
$("move").oninput = ({ target }) => {
  move = target.value - 1;
  draw();
};
show(lakes[0], time);
