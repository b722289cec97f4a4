// The ways over a lake, as demos.py finds them, and the student who is to learn them. Works on any map.
const Ways = (() => {
  const { MOVES, go } = Lake;
  function byWay(v, w) {                                                // two ways in the order of Python's lists
    const p = v.flat(), q = w.flat(), i = p.findIndex((x, k) => x !== q[k]);
    return i < 0 ? p.length - q.length : q[i] === undefined ? 1 : p[i] - q[i];
  }
  const order = (x, y) => x[0] - y[0] || x[1] - y[1] || byWay(x[2], y[2]);      // of [cost, cell, way]

  function best(map) {                                                  // ties: left, down, right, up
    const good = Lake.best(map), way = [];
    for (let s = map.start; s !== map.goal; s = go(map, s, good[s][0])) way.push([s, good[s][0]]);
    return way;
  }
  function detour(map) {                                                // shares the fewest cells with the best way
    const own = best(map), on = own.map(([s]) => s), queue = [[0, map.start, []]], seen = new Set();
    while (queue.length) {
      const next = queue.reduce((x, y) => (order(y, x) < 0 ? y : x)), [cost, s, way] = next;
      queue.splice(queue.indexOf(next), 1);
      if (s === map.goal) return way.length > own.length ? way : null;
      if (seen.has(s) || map.kind[s] === "H") continue;
      seen.add(s);
      MOVES.forEach((_, a) => {
        const t = go(map, s, a);
        queue.push([cost + 1 + 1000 * on.includes(t), t, [...way, [s, a]]]);
      });
    }
    return null;
  }
  function fall(map) {                                                  // leaves the best way early, into a hole
    const own = best(map), on = own.map(([s]) => s);
    for (const [k, [leave]] of own.entries()) {
      const queue = [[leave, own.slice(0, k)]], seen = new Set([leave]);
      while (queue.length) {
        const [s, way] = queue.shift();
        for (let a = 0; a < 4; a++) {
          const t = go(map, s, a);
          if (map.kind[t] === "H" && s !== leave) return [...way, [s, a]];
          if (seen.has(t) || on.includes(t) || t === map.goal || map.kind[t] === "H") continue;
          seen.add(t), queue.push([t, [...way, [s, a]]]);
        }
      }
    }
    for (const [k, [s]] of own.entries()) {                             // nothing beside the way: from the way itself
      const a = MOVES.findIndex((_, m) => map.kind[go(map, s, m)] === "H");
      if (a >= 0) return [...own.slice(0, k), [s, a]];
    }
    return null;
  }
  function dither(map) {                                                // one step back in the middle, and again
    const own = best(map), k = own.length >> 1;
    if (!k) return null;
    const back = (own[k - 1][1] + 2) % 4;
    return [...own.slice(0, k), [own[k][0], back], own[k - 1], ...own.slice(k)];
  }
  const moves = (way) => way && way.map(([, a]) => a);

  // all ghosts that could stand: one wrong move from the way, onto ice; is the copied move right there?
  function ghosts(map, way) {
    const good = Lake.best(map), found = [];
    way.a.slice(1).forEach((copied, i) => MOVES.forEach((_, a) => {
      const at = go(map, way.s[i], a);
      if (a !== way.a[i] && map.live.includes(at)) found.push({ at, right: good[at].includes(copied) });
    }));
    return found;
  }

  // ---- the student: a table of four small random numbers a cell ----------------------------------------------------
  function uniform(seed) {                                              // mulberry32: the same numbers everywhere
    let x = seed;
    return () => {
      x = (x + 0x6d2b79f5) | 0;
      let y = Math.imul(x ^ (x >>> 15), x | 1);
      y ^= y + Math.imul(y ^ (y >>> 7), y | 61);
      return ((y ^ (y >>> 14)) >>> 0) / 4294967296;
    };
  }
  function table(map, seed) {                                           // about N(0, 0.3 squared): it knows nothing
    const draw = uniform(seed), normal = () => draw() + draw() + draw() - 1.5;
    return map.cells.map(() => MOVES.map(() => Math.round(600 * normal()) / 1000));
  }
  // Not any student: of 300 the first that shows most. Up to five ghosts on ice, some right and some wrong, two of
  // them beside the way. That is chosen for having something to see.
  function student(map, way) {
    const good = Lake.best(map);
    const shows = (seed) => {
      const own = Lake.ghosts(map, table(map, seed), way);
      const apart = own.map((_, i) => i).filter((i) => own[i] !== way.s[i]);
      const right = apart.filter((i) => good[own[i]].includes(way.a[i])).length;
      const off = apart.filter((i) => !way.s.includes(own[i])).length;
      const fair = apart.length <= 5 && apart.every((i) => map.live.includes(own[i]));
      return fair ? apart.length + 2 * (right > 0 && right < apart.length) + Math.min(2, off) : 0;
    };
    const scores = Array.from({ length: 300 }, (_, seed) => shows(seed));
    return table(map, scores.indexOf(Math.max(...scores)));
  }
  // The walker of the second scene first imitated another way, so some of its likeliest moves are still not gold's. The
  // updates after which this is so for the last time; 10 if it never is.
  const HABIT = 30, RATE = { lr: 0.02 };
  function walker(map, gold, start) {                                   // -> {habit, updates, table}
    const habit = Lake.walk(map, moves(detour(map) || fall(map) || dither(map))), tables = [];
    const before = Lake.train("sft", start, { gold: habit }, RATE, HABIT);
    Lake.train("sft", before, { gold }, RATE, 200, (_, table) => tables.push(table.map((row) => row.slice())));
    const guessed = (table) => Lake.ghosts(map, table, gold).some((s, i) => s !== gold.s[i]);
    const last = tables.findLastIndex(guessed), updates = last < 0 ? 10 : last;
    return { habit, updates, table: tables[updates] };
  }
  return { best: (map) => moves(best(map)), detour: (map) => moves(detour(map)), fall: (map) => moves(fall(map)),
    dither: (map) => moves(dither(map)), ghosts, uniform, student, walker, HABIT };
})();
if (typeof module !== "undefined") module.exports = Ways;
