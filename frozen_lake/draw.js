// What the page remembers, computes and draws with; scenes.js uses it, lake.js does the sums.
//
// One object `state` holds all that a visitor has done; it is written into the address (#...), so a link returns here.
// Whatever can be pressed carries data-act="name:argument".
"use strict";
const $ = (id) => document.getElementById(id), plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const num = (x) => x.toFixed(3).replace(/^0/, ""), percent = (x) => `${Math.round(100 * x)} %`;
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

const map = Lake.lake(DATA.rows), good = Lake.best(map), N = map.live.length, start = DATA.start;
const GLYPH = "←↓→↑", KEYS = "LDRU", NAMES = ["left", "down", "right", "up"];
const METHODS = ["sft", "ift", "dpo", "orpo"], upper = (name) => name.toUpperCase();
const letters = (moves) => moves.map((a) => KEYS[a]).join(""), moves = (text) => [...text].map((k) => KEYS.indexOf(k));
const gold = Lake.walk(map, DATA.gold), BEST = letters(DATA.gold), DETOUR = letters(DATA.losers.detour);
const firstArrows = start.map(Lake.argmax);
const BETS = { c: "nearer", s: "about as near as before", f: "farther away" };
const FOES = {
  own: () => (ownWorse() ? "your worse way" : "the detour"), fall: () => "falls into a hole", dither: () => "dithers",
};

// ---- the state, and the address -----------------------------------------------------------------------------------
const fresh = () => ({
  scene: 1,
  best: "", worse: "",              // 1: the two paths, in letters
  picks: [[], [], [], []], seen: 0, // 2: cells chosen for each method; 2k = method k is asked, 2k + 1 = shown, 8 = all
  judged: "", time: 0,              // 3: y or n for each ghost; updates of IFT
  bet: "", foe: "own",              // 4: c(loser), s(ame), f(arther); which loser
  from: -1, brain: "table",         // 5: where the four are dropped; table or net
});
let state = fresh();

function address() {
  const bits = (cells) => cells.reduce((total, s) => total + 2 ** s, 0).toString(36), s = state;
  const parts = { s: s.scene, g: s.best, l: s.worse, p: s.picks.map(bits).join("."), r: s.seen, j: s.judged, t: s.time,
    b: s.bet, f: s.foe, c: s.from, n: +(s.brain === "net") };
  return "#" + Object.entries(parts).map(([k, v]) => `${k}=${v}`).join("&");
}
function load(hash) {                                       // what is odd in an address is left out, without a word
  const given = Object.fromEntries(new URLSearchParams(hash.slice(1))), s = fresh();
  const whole = (text, most, otherwise) => (/^\d+$/.test(text || "") ? Math.min(+text, most) : otherwise);
  const one = (text, known) => (known.includes(text) ? text : known[0]);
  s.scene = Math.max(1, whole(given.s, 6, 1));
  s.best = one(given.g, ["", BEST]);
  const worse = /^[LDRU]{1,40}$/.test(given.l || "") ? given.l : "";
  s.worse = worse.length > BEST.length && Lake.walk(map, moves(worse)).end === map.goal ? worse : "";
  (given.p || "").split(".").slice(0, 4).forEach((text, i) => {
    const bits = /^[0-9a-z]{1,8}$/.test(text) ? parseInt(text, 36) : 0;
    s.picks[i] = map.live.filter((cell) => Math.floor(bits / 2 ** cell) % 2);
  });
  s.seen = whole(given.r, 8, 0);
  s.time = whole(given.t, 999, 0);
  s.judged = /^[yn]{1,8}$/.test(given.j || "") ? given.j : "";
  s.bet = one(given.b, ["", ...Object.keys(BETS)]);
  s.foe = one(given.f, Object.keys(FOES));
  s.from = map.live.includes(whole(given.c, 999, -1)) ? +given.c : -1;
  s.brain = given.n === "1" && DATA.net ? "net" : "table";
  return s;
}
function keep(push) {
  try { history[push ? "pushState" : "replaceState"](null, "", address()); } catch { location.hash = address(); }
}

// ---- what is computed, each thing once a pair of paths ------------------------------------------------------------
const memory = new Map();
function once(key, make) {
  if (!memory.has(key)) memory.set(key, make());
  return memory.get(key);
}
const ownWorse = () => state.worse && state.worse !== DETOUR;              // the visitor drew another loser
const loserMoves = (foe) => (foe === "own" ? moves(state.worse || DETOUR) : DATA.losers[foe]);
const pair = (foe) => ({ map, gold, loser: Lake.walk(map, loserMoves(foe)), ...DATA.hp });
const trained = (name, foe) => once(`train ${name} ${foe}`,
  () => Lake.train(name, start, pair(foe), DATA.hp, DATA.hp.steps));
const net = (foe) => (!DATA.net || (foe === "own" && ownWorse()) ? null
  : DATA.net.losers[foe === "own" ? "detour" : foe]);
const policy = (name, foe, brain) => (brain === "net" && net(foe) ? net(foe)[name].policy
  : once(`policy ${name} ${foe}`, () => trained(name, foe).map(Lake.softmax)));
const push = (name) => once(`push ${name}`, () => {         // per cell [[move, -gradient]]: what step 1 pushes most
  const { grad } = Lake.LOSSES[name](start, { ...pair("own"), ref: start });
  const size = (row) => Math.max(...row.map(Math.abs)), most = Math.max(...grad.map(size));
  return grad.map((row) => (size(row) < 1e-12 ? []
    : row.map((g, a) => [a, -g / most]).filter(([, g]) => Math.abs(g) * most > 0.6 * size(row))));
});
const touched = (name) => map.live.filter((s) => push(name)[s].length);
const different = (own) => gold.s.map((_, i) => i).filter((i) => own[i] !== gold.s[i]);
const frames = once("frames", () => {                       // the ghosts before each update of IFT, until all are gone
  const all = [];
  Lake.train("ift", start, pair("own"), DATA.hp, DATA.hp.steps,
    (_, table) => all.push({ own: Lake.ghosts(map, table, gold), arrows: table.map(Lake.argmax) }));
  return all.slice(0, all.findLastIndex((f) => different(f.own).length) + 6);
});

// ---- the lake -----------------------------------------------------------------------------------------------------
const middle = (s) => [(s % map.cols) * 100 + 50, Math.floor(s / map.cols) * 100 + 50];
const put = (s, inside, more = "") => `<g transform="translate(${middle(s)})" ${more}>${inside}</g>`;
function arrow(a, look = "", size = 1, sign = "") {
  const [dy, dx] = Lake.MOVES[a], turn = [180, 90, 0, 270][a], font = 42 * size;
  return `<g ${look}>
    <path class="arrow" transform="rotate(${turn}) scale(${size})" d="M-31 -14H0V-30L36 0L0 30V14H-31Z"/>
    ${sign && `<text class="sign" x="${3 * dx}" y="${3 * dy}" font-size="${font}">${sign}</text>`}</g>`;
}
const MARKS = {
  S: '<text class="letter" x="-31" y="-30">S</text>', F: "",
  G: '<path class="flag" d="M-22 37V-35H-15L28 -17L-15 1V37Z"/>',
  H: '<path d="M-26 -8q13 -10 26 0t26 0M-18 14q9 -8 18 0t18 0"/>',
};
// cls, act, inside: per cell its classes, what a press does, what stands on it; under and over: below and above that
function lake({ label = "the lake", more = "", under = "", over = "", ...per }) {
  const { cls, act, inside } = { cls: () => "", act: () => "", inside: () => "", ...per };
  const cell = (s) => {
    const kind = map.kind[s], does = act(s), is = cls(s), what = { H: ", hole", G: ", goal" }[kind] || "";
    const pressed = does.startsWith("pick") ? `aria-pressed="${is.includes("picked")}"` : "";
    const name = `row ${Math.floor(s / map.cols) + 1}, column ${(s % map.cols) + 1}${what}`;
    const button = `role="button" tabindex="0" data-act="${does}" data-key="cell${s}" aria-label="${name}" ${pressed}`;
    return put(s, `<rect x="-46" y="-46" width="92" height="92" rx="17"/>${MARKS[kind]}`,
      `class="cell ${kind === "H" ? "hole" : ""} ${is}" ${does && button}`);
  };
  const content = map.cells.map((s) => inside(s) && put(s, inside(s), 'class="who"'));
  const size = `viewBox="0 0 ${map.cols * 100} ${map.rows * 100}"`;
  return `<svg class="lake" ${size} role="group" aria-label="${label}" ${more}>${map.cells.map(cell).join("")}
    ${under}${content.join("")}${over}</svg>`;
}
function line(walked, cls) {                                // gold a little up and left, the loser down and right
  const shift = { gold: -10, worse: 10 }[cls];
  const points = [...walked.s, walked.end].map((s) => middle(s).map((x) => x + shift));
  return `<polyline class="trail ${cls}" points="${points.join(" ")}"/>`;
}
const both = () => line(gold, "gold") + line(pair("own").loser, "worse");
const own = (arrows) => (s) => (map.live.includes(s) ? arrow(arrows[s], 'class="own"', 0.5) : "");

// ---- the panel beside it ------------------------------------------------------------------------------------------
const SHAPE = {                                             // a method is a shape as well as a colour
  sft: '<circle r="10.5"/>', ift: '<path d="M0 -12L12 9H-12Z"/>',
  dpo: '<rect x="-9.5" y="-9.5" width="19" height="19"/>', orpo: '<path d="M0 -13L13 0L0 13L-13 0Z"/>',
};
const badge = (name) => `<svg class="badge ${name}" viewBox="-14 -14 28 28" aria-hidden="true">${SHAPE[name]}</svg>`;
const legend = '<span class="legend"></span> best way &nbsp;&nbsp;<span class="legend worse"></span> worse way';
const signs = '<span class="up">+ likelier</span> &nbsp;&nbsp;<span class="down">− less likely</span>';
const say = (text, cls = "say") => `<p class="${cls}">${text}</p>`;
const button = (act, text, more = "") =>
  `<button type="button" data-act="${act}" data-key="${act}" ${more}>${text}</button>`;
const primary = (act, text) => button(act, text, 'class="primary" id="primary"');            // also on the space bar
const choice = (act, text, on) => button(act, text, `aria-pressed="${on}"`);
const buttons = (...list) => `<div class="row">${list.join("")}</div>`;
const scene = (picture, ...panel) => `<div class="scene"><div class="left">${picture}</div>
  <div class="panel">${panel.join("")}</div></div>`;
