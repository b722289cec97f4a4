// What a visitor has done, and what follows from it. lake.js and ways.js do the sums, draw.js draws.
//
// One object `state` holds all of it. It is written into the address (#...), so a link returns here, and into the
// browser's memory, so a closed page does, too. Whatever can be pressed carries data-act="name:argument".
const $ = (id) => document.getElementById(id), plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const num = (x, digits = 3) => x.toFixed(digits).replace(/^0/, ""), percent = (x) => `${Math.round(100 * x)} %`;
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const KEYS = "LDRU", NAMES = ["left", "down", "right", "up"], GLYPH = "←↓→↑";
const METHODS = ["sft", "ift", "dpo", "orpo"], upper = (name) => name.toUpperCase();
const letters = (moves) => moves.map((a) => KEYS[a]).join(""), moves = (text) => [...text].map((k) => KEYS.indexOf(k));
const SCENE_COUNT = 7, LONGEST = 60;

const ACTS = {};                                            // what can be pressed; each scene adds its own

// ---- the lake that is shown: all of it follows from the map and the two ways -------------------------------------
let map, good, start, firstArrows, shipped, losers, gold;
function computeLake() {
  const { rows } = state;
  ({ map, good, start, shipped, losers } = cached(`lake ${rows}`, () => {
    const lake = Lake.lake(rows), best = Ways.best(lake);
    const ways = { detour: Ways.detour(lake), fall: Ways.fall(lake), dither: Ways.dither(lake) };
    return { map: lake, good: Lake.best(lake), start: Ways.student(lake, Lake.walk(lake, best)), losers: ways,
      shipped: { best: letters(best), worse: letters(ways.detour || ways.dither || ways.fall) } };
  }));
  firstArrows = start.map(Lake.argmax);
  gold = Lake.walk(map, moves(state.best || shipped.best));
}
const arriving = (rows, way) => {                           // does this way, in letters, lead to the goal?
  const lake = Lake.lake(rows);
  return /^[LDRU]+$/.test(way) && way.length <= LONGEST && Lake.walk(lake, moves(way)).end === lake.goal;
};

// ---- the state, and the address ----------------------------------------------------------------------------------
const fresh = (rows = DATA.rows) => ({
  scene: 1, rows,
  best: "", worse: "",              // 1: the two ways, in letters
  picks: [[], [], [], []], seen: 0, // 2: cells chosen for each method; 2k = method k is asked, 2k + 1 = shown, 8 = all
  judged: "", time: 0,              // 3: y or n for each ghost; updates of IFT
  bet: "", loser: "own",            // 4: c(loser), s(ame), f(arther); which loser
  guess: "", from: -1,            // 5: who arrives most; where the four are dropped
  at: 0, beta: DATA.hp.beta, lam: DATA.hp.lam, lr: DATA.hp.lr,      // 6: the update that is shown, and three dials
});
const TRIED = {                                             // where the dials of scene 6 stop
  beta: [0.01, 0.03, 0.1, 0.3, 1, 3], lam: [0, 0.1, 0.2, 0.3, 0.5, 0.8, 1],
  lr: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05],
};
for (const [name, stops] of Object.entries(TRIED)) {
  if (!stops.includes(DATA.hp[name])) stops.push(DATA.hp[name]), stops.sort((a, b) => a - b);
}

function address() {
  const s = state, cells = (list) => list.map((cell) => cell.toString(36).padStart(2, "0")).join("");
  const parts = { s: s.scene, m: s.rows === DATA.rows ? "" : s.rows.join("."), g: s.best, l: s.worse,
    p: s.picks.map(cells).join("."), r: s.seen, j: s.judged, t: s.time, b: s.bet, f: s.loser, w: s.guess, c: s.from,
    u: s.at, d: Object.keys(TRIED).map((name) => TRIED[name].indexOf(s[name])).join(".") };
  return "#" + Object.entries(parts).filter(([, v]) => `${v}` !== "").map(([k, v]) => `${k}=${v}`).join("&");
}
function load(hash) {                                       // what is odd in an address is left out, without a word
  const given = Object.fromEntries(new URLSearchParams(hash.slice(1))), rows = mapOf(given.m), s = fresh(rows);
  const whole = (text, most, otherwise) => (/^\d+$/.test(text || "") ? Math.min(+text, most) : otherwise);
  const one = (text, known) => (known.includes(text) ? text : known[0]);
  const lake = Lake.lake(rows), least = lake.far[lake.start];
  s.scene = Math.max(1, whole(given.s, SCENE_COUNT, 1));
  s.best = arriving(rows, given.g || "") && given.g.length === least ? given.g : "";
  s.worse = s.best && arriving(rows, given.l || "") && given.l.length > least ? given.l : "";
  (given.p || "").split(".").slice(0, 4).forEach((text, i) => {
    const cells = (text.match(/[0-9a-z]{2}/g) || []).map((cell) => parseInt(cell, 36));
    s.picks[i] = lake.live.filter((cell) => cells.includes(cell));
  });
  s.seen = whole(given.r, 8, 0);
  s.time = whole(given.t, 999, 0);
  s.judged = /^[yn]{1,40}$/.test(given.j || "") ? given.j : "";
  s.bet = one(given.b, ["", ...Object.keys(BETS)]);
  s.loser = one(given.f, Object.keys(LOSER_KINDS));
  s.guess = one(given.w, ["", ...METHODS]);
  s.from = lake.live.includes(whole(given.c, 999, -1)) ? +given.c : -1;
  s.at = whole(given.u, DATA.hp.steps, 0);
  (given.d || "").split(".").forEach((text, i) => {
    const name = Object.keys(TRIED)[i];
    if (name && /^\d+$/.test(text) && TRIED[name][+text] !== undefined) s[name] = TRIED[name][+text];
  });
  return s;
}
function mapOf(text) {                                      // rows of letters with a point between, or the page's map
  const rows = (text || "").split("."), even = rows.every((row) => row.length === rows[0].length);
  const known = /^[SFHG.]+$/.test(text || "") && even && rows.length <= 20 && rows[0].length <= 20;
  return known && !Ways.wrong(rows) ? rows : DATA.rows;
}

// ---- where the visitor was ------------------------------------------------------------------------------------------
const PLACE = `frozen-lake ${DATA.rows.join(".")}`;
function keep(push) {
  try { history[push ? "pushState" : "replaceState"](null, "", address()); } catch { location.hash = address(); }
  Common.remember(PLACE, address());
}

// ---- what is computed, each thing once for a lake and its ways ---------------------------------------------------
const BETS = { c: "nearer", s: "about as near", f: "farther away" };
const LOSER_KINDS = { own: "", fall: "falls into a hole", dither: "dithers" };
const cache = new Map();
function cached(key, compute) {
  if (cache.size > 60) cache.clear();
  if (!cache.has(key)) cache.set(key, compute());
  return cache.get(key);
}
const here = () => `${state.rows} ${state.best} ${state.worse}`;
const loserKinds = () => Object.keys(LOSER_KINDS).filter((kind) => kind === "own" || losers[kind]);
const loserMoves = (kind) => (kind === "own" ? moves(state.worse || shipped.worse) : losers[kind]);
const pair = (kind) => ({ map, gold, loser: Lake.walk(map, loserMoves(kind)), ...DATA.hp });
const trained = (name, kind) => cached(`train ${name} ${kind} ${here()}`,
  () => Lake.train(name, start, pair(kind), DATA.hp, DATA.hp.steps));
const policy = (name, kind) => cached(`policy ${name} ${kind} ${here()}`, () => trained(name, kind).map(Lake.softmax));
const push = (name) => cached(`push ${name} ${here()}`, () => {
  // per cell [[move, -gradient]] of the first step
  const { grad } = Lake.LOSSES[name](start, { ...pair("own"), ref: start });
  const size = (row) => Math.max(...row.map(Math.abs)), most = Math.max(...grad.map(size));
  return grad.map((row) => (size(row) < 1e-12 ? []
    : row.map((g, a) => [a, -g / most]).filter(([, g]) => Math.abs(g) * most > 0.6 * size(row))));
});
const touched = (name) => map.live.filter((s) => push(name)[s].length);
const different = (own) => gold.s.map((_, i) => i).filter((i) => own[i] !== gold.s[i]);
const frames = () => cached(`ghosts ${here()}`, () => {     // the ghosts before each update of IFT, until all are gone
  const all = [];
  Lake.train("ift", start, pair("own"), DATA.hp, DATA.hp.steps,
    (_, table) => all.push({ own: Lake.ghosts(map, table, gold), arrows: table.map(Lake.argmax) }));
  return all.slice(0, all.findLastIndex((f) => different(f.own).length) + 6);
});
const measured = (p) => ({ distance: Lake.distance(map, p, good), arrives: Lake.arrives(map, p) / map.live.length });
const firstPolicy = () => start.map(Lake.softmax);
const ended = (gap) => (gap < -0.01 ? "c" : gap > 0.01 ? "f" : "s");     // which bet wins
