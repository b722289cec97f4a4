// Pictures as SVG text: points with labels, intervals, small curves, bars a token. Shapes and labels say what colours say.
const Draw = {
  esc: typeof Common === "undefined" ? require("../../nanouft/playground/web/common.js").esc : Common.esc,

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

  // Places of the labels of points with `named`: the first spot round its point that covers no label, no point and
  // no edge; if there is none, the one that covers least. -> [{b: [left, top, right, bottom], far} or undefined]
  place(points, width, box) {
    const boxes = points.map((p) => [p.px - 7, p.py - 7, p.px + 7, p.py + 7]), out = [];
    const covered = (b, o) => Math.max(0, Math.min(b[2], o[2]) - Math.max(b[0], o[0]))
      * Math.max(0, Math.min(b[3], o[3]) - Math.max(b[1], o[1]));
    const order = points.map((p, i) => i).filter((i) => points[i].named).sort((i, j) => points[i].py - points[j].py);
    for (const i of order) {
      const p = points[i], w = width(p.name);
      let best = null;
      for (const far of [14, 22, 32, 44, 60, 80, 110, 150, 200])
        for (const turn of [0, 4, 7, 1, 5, 3, 2, 6].map((k) => k * Math.PI / 4)) {
          const [x, y] = [p.px + far * Math.cos(turn), p.py + 0.8 * far * Math.sin(turn)];
          const left = x < p.px - 2 ? x - w : x > p.px + 2 ? x : x - w / 2, b = [left, y - 7, left + w, y + 7];
          if (b[0] < box[0] || b[1] < box[1] || b[2] > box[2] || b[3] > box[3]) continue;
          const loss = boxes.reduce((sum, o) => sum + covered(b, o), 0);
          if (!best || loss < best.loss) best = {b, far, loss};
        }
      if (best) { boxes.push(best.b); out[i] = best; }
    }
    return out;
  },

  // Points that no other point beats in both directions: y large, x small. By x.
  frontier(points) {
    return points.filter((p) => !points.some((o) => o.x <= p.x && o.y >= p.y && (o.x < p.x || o.y > p.y)))
      .sort((a, b) => a.x - b.x);
  },

  // points: [{name, group, x, y, xh, yh, tip}]; picked: the name of the marked one
  scatter(points, {xlabel, ylabel, log, picked = null, W = 660, H = 460}) {
    const L = 56, R = 14, T = 14, B = 46;
    points = points.filter((p) => p.x !== null && p.y !== null && (!log || p.x > 0));
    if (!points.length) return `<p class="hint">nothing to draw</p>`;
    const xs = Draw.scale(points.flatMap((p) => [p.x - (log ? 0 : p.xh || 0), p.x + (p.xh || 0)]), L, W - R, log);
    const ys = Draw.scale(points.flatMap((p) => [p.y - (p.yh || 0), p.y + (p.yh || 0)]), H - B, T, false);
    const front = Draw.frontier(points), fine = (t) => Number(t.toPrecision(3)).toString();
    let svg = `<svg class="plot" viewBox="0 0 ${W} ${H}" role="img" aria-label="${Draw.esc(ylabel)} against ${
      Draw.esc(xlabel)}; on the frontier: ${Draw.esc(front.map((p) => p.name).join(", "))}; the numbers stand in the table">`;
    for (const t of Draw.ticks(xs.low, xs.high, log))
      svg += `<path class="grid" d="M${xs.at(t)},${T}V${H - B}"/><text x="${xs.at(t)}" y="${H - B + 18}"
        text-anchor="middle">${fine(t)}</text>`;
    for (const t of Draw.ticks(ys.low, ys.high, false))
      svg += `<path class="grid" d="M${L},${ys.at(t)}H${W - R}"/><text x="${L - 8}" y="${ys.at(t) + 4}"
        text-anchor="end">${fine(t)}</text>`;
    svg += `<text class="axis" x="${(L + W - R) / 2}" y="${H - 8}" text-anchor="middle">${Draw.esc(xlabel)}</text>
      <text class="axis" transform="translate(14,${(T + H - B) / 2}) rotate(-90)" text-anchor="middle">${
      Draw.esc(ylabel)}</text>`;
    const marked = (p) => p.name === picked;
    points = points.map((p) => ({...p, named: marked(p) || front.includes(p), px: xs.at(p.x), py: ys.at(p.y)}))
      .sort((a, b) => marked(a) - marked(b));                                     // the marked one is drawn last
    svg += `<path class="front" d="M${front.map((p) => `${xs.at(p.x)},${ys.at(p.y)}`).join("L")}"/>`;
    const spots = Draw.place(points, (s) => 6.9 * s.length + 4, [L + 2, 0, W, H - B - 1]);
    points.forEach((p, i) => {
      const s = spots[i];
      if (p.yh) svg += `<path class="error" d="M${p.px},${ys.at(p.y - p.yh)}V${ys.at(p.y + p.yh)}"/>`;
      if (p.xh && !log) svg += `<path class="error" d="M${xs.at(p.x - p.xh)},${p.py}H${xs.at(p.x + p.xh)}"/>`;
      if (s) svg += `<path class="lead" d="M${p.px},${p.py}L${Math.min(Math.max(p.px, s.b[0] + 1), s.b[2] - 1)},${
        Math.min(Math.max(p.py, s.b[1] + 3), s.b[3] - 2)}"/>`;
    });
    points.forEach((p, i) => {
      const s = spots[i];
      svg += `<g class="point g-${Draw.esc(p.group)}${marked(p) ? " marked" : ""}" data-name="${Draw.esc(p.name)}" data-tip="${
        Draw.esc(p.tip)}" data-x="${p.px}" data-y="${p.py}">${marked(p) ? `<circle cx="${p.px}" cy="${p.py}" r="11"/>` : ""}
        <path fill-rule="evenodd" transform="translate(${p.px},${p.py})" d="${Draw.paths[p.group]}"/>`
        + (s ? `<text x="${s.b[0] + 2}" y="${s.b[3] - 3}">${Draw.esc(p.name)}</text>` : "") + "</g>";
    });
    return svg + "</svg>";
  },

  // A difference and its interval on a scale with 0; what lies farther than the scale is an arrow at its end.
  interval(mean, half, low, high) {
    const at = (x) => (4 + 92 * (Math.min(Math.max(x, low), high) - low) / (high - low)).toFixed(1), h = half || 0;
    const arrow = mean < low ? "M9,1L0,7L9,13Z" : mean > high ? "M91,1L100,7L91,13Z" : "";
    return `<svg class="range" viewBox="0 0 100 14" aria-hidden="true"><path class="zero" d="M${at(0)},0V14"/>
      <path class="band" d="M${at(mean - h)},7H${at(mean + h)}"/>${arrow ? `<path class="dot" d="${arrow}"/>`
      : `<circle class="dot" cx="${at(mean)}" cy="7" r="3.5"/>`}</svg>`;
  },

  // ---- one learning curve: points are [step, mean, lowest, highest seed] --------------------------------------
  span: (points) => [Math.min(...points.flatMap((p) => p.slice(1))), Math.max(...points.flatMap((p) => p.slice(1)))],
  // range: ends of the scale of the held-out figure, the same in all panels of that figure
  curve(name, group, loss, held, range, number) {
    const W = 210, H = 128, T = 24, B = 26, x0 = 6, x1 = W - 34;
    const last = loss[loss.length - 1][0], X = (s) => (x0 + (x1 - x0) * s / last).toFixed(1);
    const line = (points, ends) => {
      const y = Draw.scale(ends, H - B - 4, T + 2, false).at, go = (k) => (p) => `${X(p[0])},${y(p[k]).toFixed(1)}`;
      const wide = points[0].length > 2;
      return {y, d: `M${points.map(go(1)).join("L")}`,
        band: wide ? `M${points.map(go(2)).join("L")}L${[...points].reverse().map(go(3)).join("L")}Z` : ""};
    };
    const a = line(loss, Draw.span(loss)), ends = (p) => `${number(p[0][1])} → ${number(p[p.length - 1][1])}`;
    let svg = `<svg class="curve" data-name="${Draw.esc(name)}" viewBox="0 0 ${W} ${H}" role="img" aria-label="${Draw.esc(name)}: loss ${
      ends(loss)}${held?.points.length ? `, held-out ${Draw.esc(held.name)} ${ends(held.points)}` : ""}"><path class="frame" d="M0,${H - B}H${W}"/>
      <g class="g-${Draw.esc(group)}" transform="translate(9,10)"><path fill-rule="evenodd" d="${Draw.paths[group]}"/></g>
      <text class="title" x="20" y="14">${Draw.esc(name)}</text>
      <text class="small" x="${W}" y="14" text-anchor="end">${Number(last)} steps</text>
      <path class="band loss" d="${a.band}"/><path class="loss" d="${a.d}"/>`;
    if (held?.points.length) {
      const b = line(held.points, range);
      svg += `<path class="band held" d="${b.band}"/><path class="held" d="${b.d}"/>` + held.points.map((p) =>
        `<circle class="held" cx="${X(p[0])}" cy="${b.y(p[1])}" r="3"/>`).join("")
        + `<text class="small" x="${W}" y="${T + 6}" text-anchor="end">${number(range[1])}</text>
        <text class="small" x="${W}" y="${H - B - 3}" text-anchor="end">${number(range[0])}</text>
        <text class="small" x="0" y="${H - 3}">- • - ${Draw.esc(held.name)} ${ends(held.points)}</text>`;
    }
    return svg + `<text class="small" x="0" y="${H - 14}">— loss ${ends(loss)}</text></svg>`;
  },

};
if (typeof module !== "undefined") module.exports = Draw;
