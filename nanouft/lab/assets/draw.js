// Pictures as SVG text: points with labels, small curves, bars a token. Shapes and labels say what colours say.
const Draw = {
  esc: (s) => String(s).replace(/[&<>"']/g, (c) => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;",
    "'": "&#39;"}[c])),

  // ---- shapes of the groups, around (0,0), radius about 6 ---------------------------------------------------
  paths: {
    start: "M-6,0a6,6 0 1,0 12,0a6,6 0 1,0 -12,0M-2.5,0a2.5,2.5 0 1,0 5,0a2.5,2.5 0 1,0 -5,0",
    demonstrations: "M-5.5,0a5.5,5.5 0 1,0 11,0a5.5,5.5 0 1,0 -11,0",
    pairs: "M-5,-5h10v10h-10z",
    grades: "M0,-7l7,7l-7,7l-7,-7z",
    both: "M0,-7l2,5h5l-4,3.5l1.5,5l-4.5,-3l-4.5,3l1.5,-5l-4,-3.5h5z",
    chain: "M0,-6.5l6.5,11.5h-13z",
    control: "M-2,-6.5h4v4.5h4.5v4h-4.5v4.5h-4v-4.5h-4.5v-4h4.5z",
    "on-policy": "M0,6.5l6.5,-11.5h-13z",
  },
  shape: (group) => `<svg class="shape g-${Draw.esc(group)}" viewBox="-8 -8 16 16" aria-hidden="true">`
    + `<path fill-rule="evenodd" d="${Draw.paths[group]}"/></svg>`,

  // ---- axes -------------------------------------------------------------------------------------------------
  ticks(low, high, log) {
    if (log) {
      const all = [], marks = high / low < 10 ? [1, 1.5, 2, 3, 4, 5, 7] : [1, 2, 5];
      for (let e = Math.floor(Math.log10(low)) - 1; e <= Math.log10(high) + 1; e++)
        for (const m of marks) all.push(Number((m * 10 ** e).toPrecision(3)));
      return all.filter((t) => t >= low && t <= high);
    }
    const rough = (high - low) / 5, unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * unit).find((s) => s >= rough);
    const out = [];
    for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + 1e-9 * step; t += step)
      out.push(Number(t.toPrecision(6)));
    return out;
  },

  scale(values, from, to, log) {
    const f = log ? Math.log : (x) => x;
    let low = Math.min(...values), high = Math.max(...values);
    if (high === low) [low, high] = log ? [low / 1.5, high * 1.5] : [low - 1, high + 1];
    const room = 0.06 * (f(high) - f(low)), [a, b] = [f(low) - room, f(high) + room];
    const at = (x) => from + (f(x) - a) / (b - a) * (to - from);
    return {at, low: log ? Math.exp(a) : a, high: log ? Math.exp(b) : b};
  },

  // Places of labels: the first spot round its point that covers no label, no point and no edge; farther
  // ones get a line.
  place(points, width, box) {
    const boxes = points.map((p) => [p.px - 7, p.py - 7, p.px + 7, p.py + 7]), out = [];
    const free = (b) => b[0] > box[0] && b[1] > box[1] && b[2] < box[2] && b[3] < box[3]
      && !boxes.some((o) => b[0] < o[2] && b[2] > o[0] && b[1] < o[3] && b[3] > o[1]);
    const order = points.map((p, i) => i).sort((i, j) => points[i].py - points[j].py);
    for (const i of order) {
      const p = points[i], w = width(p.name), spots = [];
      for (const far of [10, 18, 28, 40, 56, 74, 96, 120, 150])
        for (const turn of [0, 4, 7, 1, 5, 3, 2, 6].map((k) => k * Math.PI / 4))
          spots.push([p.px + far * Math.cos(turn), p.py + 0.8 * far * Math.sin(turn), far]);
      let best = null;
      for (const [x, y, far] of spots) {
        const left = x < p.px - 2 ? x - w : x > p.px + 2 ? x : x - w / 2;
        const b = [left, y - 7, left + w, y + 7];
        if (free(b)) { best = {b, far}; break; }
      }
      if (best) boxes.push(best.b);
      out[i] = best;
    }
    return out;
  },

  // points: [{name, group, x, y, xh, yh, tip}]; names: titles of the axes
  scatter(points, {xlabel, ylabel, log, W = 660, H = 460}) {
    const L = 56, R = 14, T = 14, B = 46, font = 12;
    points = points.filter((p) => p.x !== null && p.y !== null && (!log || p.x > 0));
    if (!points.length) return `<p class="hint">nothing to draw</p>`;
    const xs = Draw.scale(points.flatMap((p) => [p.x - (log ? 0 : p.xh || 0), p.x + (p.xh || 0)]), L, W - R, log);
    const ys = Draw.scale(points.flatMap((p) => [p.y - (p.yh || 0), p.y + (p.yh || 0)]), H - B, T, false);
    let svg = `<svg class="plot" viewBox="0 0 ${W} ${H}" role="img" aria-label="${Draw.esc(ylabel)} against ${
      Draw.esc(xlabel)}; the numbers stand in the table">`;
    const fine = (t) => Number(t.toPrecision(3)).toString();
    for (const t of Draw.ticks(xs.low, xs.high, log))
      svg += `<path class="grid" d="M${xs.at(t)},${T}V${H - B}"/><text x="${xs.at(t)}" y="${H - B + 18}"
        text-anchor="middle">${fine(t)}</text>`;
    for (const t of Draw.ticks(ys.low, ys.high, false))
      svg += `<path class="grid" d="M${L},${ys.at(t)}H${W - R}"/><text x="${L - 8}" y="${ys.at(t) + 4}"
        text-anchor="end">${fine(t)}</text>`;
    svg += `<text class="axis" x="${(L + W - R) / 2}" y="${H - 8}" text-anchor="middle">${Draw.esc(xlabel)}</text>
      <text class="axis" transform="translate(14,${(T + H - B) / 2}) rotate(-90)" text-anchor="middle">${
      Draw.esc(ylabel)}</text>`;
    points = points.map((p) => ({...p, px: xs.at(p.x), py: ys.at(p.y)}));
    const spots = Draw.place(points, (s) => 6.9 * s.length + 4, [L + 2, T - 8, W + 2, H - B - 1]);
    points.forEach((p, i) => {
      if (p.yh) svg += `<path class="error" d="M${p.px},${ys.at(p.y - p.yh)}V${ys.at(p.y + p.yh)}"/>`;
      if (p.xh && !log) svg += `<path class="error" d="M${xs.at(p.x - p.xh)},${p.py}H${xs.at(p.x + p.xh)}"/>`;
      const s = spots[i];
      if (s && s.far > 12) {
        const x = Math.min(Math.max(p.px, s.b[0]), s.b[2]);
        const y = p.py < s.b[1] ? s.b[1] + 2 : p.py > s.b[3] ? s.b[3] - 2 : p.py;
        svg += `<path class="lead" d="M${p.px},${p.py}L${x},${y}"/>`;
      }
    });
    points.forEach((p, i) => {
      const s = spots[i];
      svg += `<g class="point g-${Draw.esc(p.group)}" data-name="${Draw.esc(p.name)}"><title>${Draw.esc(p.tip)}</title>
        <path fill-rule="evenodd" transform="translate(${p.px},${p.py})" d="${Draw.paths[p.group]}"/>`
        + (s ? `<text x="${s.b[0] + 2}" y="${s.b[3] - 3}" font-size="${font}">${Draw.esc(p.name)}</text>` : "") + "</g>";
    });
    return svg + "</svg>";
  },

  // ---- one learning curve -----------------------------------------------------------------------------------
  curve(name, group, loss, held, number) {
    const W = 210, H = 118, T = 24, B = 16, x0 = 6, x1 = W - 6;
    const last = loss[loss.length - 1][0], X = (s) => x0 + (x1 - x0) * s / last;
    const line = (points) => {
      const y = Draw.scale(points.map((p) => p[1]), H - B - 6, T + 6, false).at;
      return {y, d: points.map((p, i) => `${i ? "L" : "M"}${X(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join("")};
    };
    const a = line(loss), ends = (p) => `${number(p[0][1])} → ${number(p[p.length - 1][1])}`;
    let svg = `<svg class="curve" viewBox="0 0 ${W} ${H}" role="img" aria-label="${Draw.esc(name)}: loss ${ends(loss)}${
      held ? `, held-out ${Draw.esc(held.name)} ${ends(held.points)}` : ""}"><path class="frame" d="M0,${H - B}H${W}"/>
      <g class="g-${Draw.esc(group)}" transform="translate(9,10)"><path fill-rule="evenodd" d="${Draw.paths[group]}"/></g>
      <text class="title" x="20" y="14">${Draw.esc(name)}</text>
      <text class="small" x="${W}" y="14" text-anchor="end">${Number(last)} steps</text><path class="loss" d="${a.d}"/>`;
    if (held && held.points.length) {
      const b = line(held.points);
      svg += `<path class="held" d="${b.d}"/>` + held.points.map((p) =>
        `<circle class="held" cx="${X(p[0])}" cy="${b.y(p[1])}" r="3"/>`).join("")
        + `<text class="small" x="${W}" y="${H - 3}" text-anchor="end">${Draw.esc(held.name)} ${ends(held.points)}</text>`;
    }
    return svg + `<text class="small" x="0" y="${H - 3}">loss ${ends(loss)}</text></svg>`;
  },

  // ---- the ledger of one answer -----------------------------------------------------------------------------
  strip(tokens, weights) {
    const w = Math.max(46, ...tokens.map((t) => 6.5 * t.length + 8)), high = 26, top = 15;
    const length = (x) => Math.sqrt(Math.min(4, Math.abs(x))) / 2 * high;
    const up = Math.max(...weights.map((x) => x > 0 ? length(x) : 0), 0);
    const down = Math.max(...weights.map((x) => x < 0 ? length(x) : 0), 0);
    const zero = top + up, H = zero + down + (down ? 13 : 0) + 17, W = w * tokens.length;
    let svg = `<svg class="strip" width="${W}" height="${H}" viewBox="0 0 ${W} ${H}" role="img" aria-label="${
      Draw.esc(tokens.map((t, i) => `${t} ${Draw.signed(weights[i])}`).join(", "))}">
      <path class="frame" d="M0,${zero}H${W}"/>`;
    tokens.forEach((t, i) => {
      const x = weights[i], h = length(x), mid = w * (i + 0.5);
      svg += `<rect class="${x < 0 ? "down" : "up"}" x="${mid - 14}" y="${x < 0 ? zero : zero - h}" width="28"`
        + ` height="${h}"/>`
        + `<text x="${mid}" y="${x < 0 ? zero + h + 11 : zero - h - 4}" text-anchor="middle">${Draw.signed(x)}</text>`
        + `<text class="token" x="${mid}" y="${H - 4}" text-anchor="middle">${Draw.esc(t)}</text>`;
    });
    return svg + "</svg>";
  },
  signed: (x) => (x < 0 ? "-" : "+") + Math.abs(x).toFixed(Math.abs(x) < 10 ? 2 : 0),
};
if (typeof module !== "undefined") module.exports = Draw;
