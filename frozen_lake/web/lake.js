// The lake without pictures: map, best moves, a softmax table, four losses with their gradients by hand, training.
//
// page.py puts this file into the page; `node` can load it, too (tests/lake/test_lake_page.py compares it with torch).
// A table is a list of rows, one a cell: four logits (left, down, right, up), as in gymnasium. Nats, float64.
// Simplified: the ice is not slippery, and a step reads one pair of walks.
const Lake = (() => {
  const MOVES = [[0, -1], [1, 0], [0, 1], [-1, 0]], LEFT = 0, DOWN = 1, RIGHT = 2, UP = 3;
  const sum = (xs) => xs.reduce((a, b) => a + b, 0), copy = (table) => table.map((row) => row.slice());
  const argmax = (row) => row.indexOf(Math.max(...row));

  // ---- the lake: cells are numbered row by row ---------------------------------------------------------------------
  function lake(rows) {
    const kind = [...rows.join("")], cells = kind.map((_, s) => s);
    const map = { rows: rows.length, cols: rows[0].length, kind, cells };
    map.start = kind.indexOf("S"), map.goal = kind.indexOf("G");
    map.far = steps(map);
    map.live = cells.filter((s) => s !== map.goal && map.far[s] < Infinity);     // where there is something to decide
    return map;
  }
  function go(map, s, a) {                                              // the next cell; into a wall: one stays
    if (!"SF".includes(map.kind[s])) return s;
    const y = Math.floor(s / map.cols) + MOVES[a][0], x = (s % map.cols) + MOVES[a][1];
    return y < 0 || y >= map.rows || x < 0 || x >= map.cols ? s : y * map.cols + x;
  }
  function steps(map) {                                                 // per cell: moves to the goal, or Infinity
    const far = map.cells.map((s) => (s === map.goal ? 0 : Infinity));
    for (let n = 0, more = true; more; n++) {
      const next = map.cells.filter((s) => far[s] === Infinity && MOVES.some((_, a) => far[go(map, s, a)] === n));
      next.forEach((s) => { far[s] = n + 1; });
      more = next.length > 0;
    }
    return far;
  }
  function walk(map, actions, from = map.start) {                       // {s: cell before each move, a: moves, end}
    const s = [from];
    for (const a of actions) s.push(go(map, s[s.length - 1], a));
    return { s: s.slice(0, -1), a: [...actions], end: s[s.length - 1] };
  }
  function best(map) {                                                  // best moves of each cell: one step nearer
    const nearer = (s) => [0, 1, 2, 3].filter((a) => map.far[go(map, s, a)] === map.far[s] - 1);
    return map.cells.map((s) => (map.live.includes(s) ? nearer(s) : []));
  }

  // ---- the student: softmax of one row, or of a blend of two -------------------------------------------------------
  function softmax(z) {
    const m = Math.max(...z), e = z.map((x) => Math.exp(x - m)), total = sum(e);
    return e.map((x) => x / total);
  }
  function read(table, seen, a) {                                       // seen: [[cell, share], ...]; -> p, log p(a)
    const z = MOVES.map((_, k) => sum(seen.map(([s, share]) => share * table[s][k])));
    const m = Math.max(...z);
    return { p: softmax(z), logp: z[a] - m - Math.log(sum(z.map((x) => Math.exp(x - m)))), seen, a };
  }
  const readings = (table, walked) => walked.s.map((s, i) => read(table, [[s, 1]], walked.a[i]));
  function pull(grad, reading, slope) {                                   // grad += slope * d log p(a) / d table
    for (const [s, share] of reading.seen)
      for (let k = 0; k < 4; k++) grad[s][k] += slope * share * ((k === reading.a) - reading.p[k]);
  }

  // ---- four losses: {loss, grad} -----------------------------------------------------------------------------------
  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const total = (rs) => sum(rs.map((r) => r.logp)), mean = (rs) => total(rs) / rs.length;
  function collect(table, loss, ...parts) {                             // parts: [readings, slope of each log p]
    const grad = table.map(() => [0, 0, 0, 0]);
    for (const [rs, slope] of parts) rs.forEach((r, t) => pull(grad, r, Array.isArray(slope) ? slope[t] : slope));
    return { loss, grad };
  }
  function sft(table, { gold }) {
    const rs = readings(table, gold);
    return collect(table, -mean(rs), [rs, -1 / rs.length]);
  }
  function ghosts(map, table, gold) {                                   // ghost i: a greedy move from true cell i - 1
    return gold.s.map((s, i) => (i === 0 ? s : go(map, gold.s[i - 1], argmax(table[gold.s[i - 1]]))));
  }
  function blended(map, table, gold, lam) {                             // each true cell, mixed with its ghost
    const own = ghosts(map, table, gold);
    return gold.s.map((s, i) => read(table, [[s, 1 - lam], [own[i], lam]], gold.a[i]));
  }
  function ift(table, { map, gold, lam, gamma }) {                      // the released form: weights are live
    const rs = blended(map, table, gold, lam);
    const l = rs.map((r) => -r.logp), n = l.length, w = Array(n).fill(1), before = Array(n).fill(0);
    if (gamma > 0) {
      for (let t = n - 1, f = 0; t >= 0; t--) w[t] = f = l[t] + gamma * f;              // sum_k>=t gamma^(k-t) l_k
      for (let t = 0, b = 0, d = 0; t < n; t++) { b = l[t] + gamma * b; d = 1 + gamma * d; before[t] = [b, d]; }
    }
    const W = sum(w), loss = sum(l.map((x, t) => w[t] * x)) / W;        // weights rescaled to mean 1
    const slope = l.map((_, t) => -(gamma > 0 ? (w[t] + before[t][0] - loss * before[t][1]) / W : 1 / n));
    return collect(table, loss, [rs, slope]);
  }
  function dpo(table, { gold, loser, ref, beta }) {
    const [w, l, rw, rl] = [table, ref].flatMap((x) => [readings(x, gold), readings(x, loser)]);
    const h = beta * (total(w) - total(rw) - total(l) + total(rl)), g = beta * sigmoid(-h);
    return collect(table, softplus(-h), [w, -g], [l, g]);
  }
  function orpo(table, { gold, loser, lamOdds }) {                      // NLL + lam * -log sigmoid(log odds ratio)
    const [w, l] = [readings(table, gold), readings(table, loser)], [mw, ml] = [mean(w), mean(l)];
    const odds = (m) => m - Math.log(-Math.expm1(m)), h = odds(mw) - odds(ml), g = lamOdds * sigmoid(-h);
    return collect(table, -mw + lamOdds * softplus(-h),
      [w, (-1 - g / -Math.expm1(mw)) / w.length], [l, g / -Math.expm1(ml) / l.length]);
  }
  const LOSSES = { sft, ift, dpo, orpo };

  // ---- training: one step, and many --------------------------------------------------------------------------------
  function step(table, grad, { lr }, memory) {                          // RMSprop; memory: mean square of each gradient
    table.forEach((row, s) => row.forEach((_, k) => {
      const g = grad[s][k];
      memory[s][k] = 0.99 * memory[s][k] + 0.01 * g * g;                // torch.optim.RMSprop's alpha and eps
      row[k] -= (lr * g) / (Math.sqrt(memory[s][k]) + 1e-8);
    }));
  }
  function train(name, start, data, how, steps, watch = () => {}) {     // -> the trained table; start stays as it is
    const table = copy(start), memory = start.map(() => [0, 0, 0, 0]), given = { ref: start, ...data };
    for (let i = 0; i < steps; i++) {
      const { loss, grad } = LOSSES[name](table, given);
      watch(i, table, loss, grad);
      step(table, grad, how, memory);
    }
    return table;
  }

  // ---- what is measured --------------------------------------------------------------------------------------------
  function distance(map, policy, good = best(map)) {                    // squared, to the NEAREST best policy (ties)
    const of = (s) => {
      const tied = good[s], gap = (1 - sum(tied.map((a) => policy[s][a]))) / tied.length;
      return sum(policy[s].map((p, a) => (tied.includes(a) ? gap * gap : p * p)));
    };
    return sum(map.live.map(of)) / (4 * map.live.length);
  }
  const over = (map, s) => s === map.goal || map.kind[s] === "H";       // here a walk ends
  function drop(map, table, from) {                                     // greedy walk: {s, a, end: goal | hole | loop}
    const seen = new Set(), s = [], a = [];
    for (let at = from; ; at = go(map, at, a[a.length - 1])) {
      if (over(map, at)) return { s, a, last: at, end: at === map.goal ? "goal" : "hole" };
      if (seen.has(at)) return { s, a, last: at, end: "loop" };
      seen.add(at), s.push(at), a.push(argmax(table[at]));
    }
  }
  const arrives = (map, table) => map.live.filter((s) => drop(map, table, s).end === "goal").length;
  function blame(map, gold, loser) {                                    // moves of the loser: cancels | right | wrong
    const good = best(map), left = gold.s.map((s, i) => s * 4 + gold.a[i]);
    return loser.s.map((s, i) => {
      const at = left.indexOf(s * 4 + loser.a[i]);
      if (at >= 0) return left.splice(at, 1), "cancels";                // the winner made the same move: + and - cancel
      return good[s].includes(loser.a[i]) ? "right" : "wrong";
    });
  }

  // ---- does a student make exactly gold's moves? -------------------------------------------------------------------
  // lam 0: SFT's estimate, each move from its true cell; else from the blend with the ghost
  const chance = (map, table, gold, lam = 0) => Math.exp(total(blended(map, table, gold, lam)));
  function reach(map, policy, moves = 100) {                            // by any way; gymnasium's own limit of moves
    let value = map.cells.map((s) => (s === map.goal ? 1 : 0));
    for (let i = 0; i < moves; i++) {
      const v = value;
      value = map.cells.map((s) => (over(map, s) ? v[s] : sum(policy[s].map((p, a) => p * v[go(map, s, a)]))));
    }
    return value[map.start];
  }
  function pick(p, u) {                                                 // u: even in [0, 1); -> a move
    let a = 0;
    for (let left = u - p[0]; left >= 0 && a < 3; left -= p[a]) a++;
    return a;
  }
  function wander(map, policy, moves, draw) {                           // alone: each move from its own cell
    const a = [];
    for (let s = map.start; a.length < moves && !over(map, s); s = go(map, s, a[a.length - 1]))
      a.push(pick(policy[s], draw()));
    return a;
  }
  function along(map, policy, gold, n, draw) {                          // [how many of n walks begin as gold does, by
    const on = Array(gold.a.length + 1).fill(0);                        // 0, 1, 2 ... moves]; the last: all moves alike
    for (let k = 0; k < n; k++) {
      const own = wander(map, policy, gold.a.length, draw), leaves = gold.a.findIndex((a, i) => own[i] !== a);
      on.forEach((_, i) => { on[i] += leaves < 0 || i <= leaves; });
    }
    return on;
  }
  return { LEFT, DOWN, RIGHT, UP, MOVES, LOSSES, lake, go, walk, best, softmax, argmax, ghosts, train, distance, drop,
    arrives, chance, reach, along, blame };
})();
if (typeof module !== "undefined") module.exports = Lake;
