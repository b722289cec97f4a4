// What a visitor has done, and what follows from it. lake.js and ways.js do the sums, draw.js draws.
//
// One object `state` holds all of it. It is written into the address (#...), so a link returns here, and into the
// browser's memory, so a closed page does, too. Whatever can be pressed carries data-act="name:argument".
const $ = (id) => document.getElementById(id), plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const num = (x, digits = 3) => x.toFixed(digits).replace(/^0/, ""), percent = (x) => `${Math.round(100 * x)} %`;
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const NAMES = ["left", "down", "right", "up"], GLYPH = "←↓→↑";
const METHODS = ["sft", "ift", "dpo", "orpo"], upper = (name) => name.toUpperCase();

const ACTS = {};                                            // what can be pressed; each scene adds its own

// ---- the lake, its ways, and the student who is to learn them ----------------------------------------------------
const map = Lake.lake(DATA.rows), good = Lake.best(map), gold = Lake.walk(map, Ways.best(map));
const start = Ways.student(map, gold), firstArrows = start.map(Lake.argmax);
const LOSERS = { detour: "the detour", dither: "dithers", fall: "falls into a hole" };
const ways = Object.fromEntries(Object.keys(LOSERS).map((kind) => [kind, Ways[kind](map)]));
const loserKinds = Object.keys(LOSERS).filter((kind) => ways[kind]);     // the first is the worse way of the page

// ---- the state, and the address ----------------------------------------------------------------------------------
const SAYS = { m: "more", s: "as many", l: "fewer" }, MOST = 50;          // thousands of walks
const BETS = { c: "nearer", s: "about as near", f: "farther away" };
const fresh = () => ({
  scene: 1,
  judged: "", time: 0,              // 1: y or n for each ghost; updates of IFT
  says: "", walks: 1, blend: 2,     // 2: m(ore), s(ame), l(ess); thousands of walks; tenths of lambda
  bet: "", loser: loserKinds[0],    // 3: c(loser), s(ame), f(arther); which worse way
});
function address() {
  const { scene, judged, time, says, walks, blend, bet, loser } = state;
  const parts = { s: scene, j: judged, t: time, e: says, w: walks, l: blend, b: bet, f: loser };
  return "#" + Object.entries(parts).filter(([, v]) => `${v}` !== "").map(([k, v]) => `${k}=${v}`).join("&");
}
function load(hash) {                                       // what is odd in an address is left out, without a word
  const given = Object.fromEntries(new URLSearchParams(hash.slice(1))), s = fresh();
  const whole = (text, most, otherwise) => (/^\d+$/.test(text || "") ? Math.min(+text, most) : otherwise);
  const one = (text, known) => (known.includes(text) ? text : known[0]);
  s.scene = Math.max(1, whole(given.s, 4, 1));
  s.time = whole(given.t, 999, 0);
  s.judged = /^[yn]{1,40}$/.test(given.j || "") ? given.j : "";
  s.says = one(given.e, ["", ...Object.keys(SAYS)]);
  s.walks = Math.max(1, whole(given.w, MOST, 1));
  s.blend = whole(given.l, 10, 2);
  s.bet = one(given.b, ["", ...Object.keys(BETS)]);
  s.loser = one(given.f, loserKinds);
  return s;
}
const PLACE = `frozen-lake ${DATA.rows.join(".")}`;
function keep(push) {
  try { history[push ? "pushState" : "replaceState"](null, "", address()); } catch { location.hash = address(); }
  Common.remember(PLACE, address());
}

// ---- what is computed, each thing once ---------------------------------------------------------------------------
const cache = new Map();
function cached(key, compute) {
  if (!cache.has(key)) cache.set(key, compute());
  return cache.get(key);
}
const pair = (kind) => ({ map, gold, loser: Lake.walk(map, ways[kind]), ...DATA.hp });
const policy = (name, kind = loserKinds[0]) => cached(`policy ${name} ${kind}`,
  () => Lake.train(name, start, pair(kind), DATA.hp, DATA.hp.steps).map(Lake.softmax));
const push = (name) => cached(`push ${name}`, () => {
  // per cell [[move, -gradient]] of the first step
  const { grad } = Lake.LOSSES[name](start, { ...pair(loserKinds[0]), ref: start });
  const size = (row) => Math.max(...row.map(Math.abs)), most = Math.max(...grad.map(size));
  return grad.map((row) => (size(row) < 1e-12 ? []
    : row.map((g, a) => [a, -g / most]).filter(([, g]) => Math.abs(g) * most > 0.6 * size(row))));
});
const different = (own) => gold.s.map((_, i) => i).filter((i) => own[i] !== gold.s[i]);
const frames = () => cached("ghosts", () => {               // the ghosts before each update of IFT, until all are gone
  const all = [];
  Lake.train("ift", start, pair(loserKinds[0]), DATA.hp, DATA.hp.steps,
    (_, table) => all.push({ own: Lake.ghosts(map, table, gold), arrows: table.map(Lake.argmax) }));
  return all.slice(0, all.findLastIndex((f) => different(f.own).length) + 6);
});
const measured = (p) => ({ distance: Lake.distance(map, p, good), arrives: Lake.arrives(map, p) / map.live.length });
const firstPolicy = () => start.map(Lake.softmax);
const ended = (gap) => (gap < -0.01 ? "c" : gap > 0.01 ? "f" : "s");     // which bet wins
