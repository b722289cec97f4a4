// Which measured regime is nearest to what somebody has, which of its rows can be used, and which of them are tied?
const Choose = {
  // what can be made of what one has: labels and pairs from scores, everything from a reward
  uses: {
    nothing: ["nothing"],
    labels: ["nothing", "labels", "right answers"],
    pairs: ["nothing", "pairs"],
    scores: ["nothing", "labels", "pairs", "scores", "right answers"],
    reward: ["nothing", "labels", "pairs", "scores", "right answers", "reward"],
  },

  // A right and a spoilt answer are also two labels, two scores and a right answer; pairs teach a reward model.
  can: (regime, have) => Choose.uses[have === "pairs" && {spoilt: "scores", learnt: "reward"}[regime.source] || have],

  // Without answers nobody judges: then that part of the case is the usual.
  usual: (ask) => ({...ask, source: ask.have === "nothing" ? "own" : ask.source}),
  // ask: {demos, samples, wrong, have, source, base}. The situation weighs more than the size; of two sizes
  // that are as near, the smaller.
  far(g, ask) {
    const other = (x, y, weight) => (String(x ?? "") === String(y ?? "") ? 0 : weight);
    const size = Math.abs(Math.log(ask.demos / g.demos));
    const samples = ask.have === "nothing" ? (g.samples ? 0.01 : 0)
      : g.samples ? Math.abs(Math.log(ask.samples / g.samples)) : 100;
    return other(g.base, ask.base, 8000) + other(g.noise > 0, Boolean(ask.wrong), 4000)
      + other(g.source, ask.source, 2000) + size + samples;
  },
  // A regime where SFT is the only row that one can use tells nothing.
  nearest(regimes, ask) {
    const some = regimes.filter((g) => ask.have === "nothing" || Choose.rows(g, ask.have).length > 1);
    const far = some.map((g) => Choose.far(g, Choose.usual(ask))), least = Math.min(...far);
    return some.filter((g, i) => far[i] < least + 1e-9)
      .sort((a, b) => a.samples - b.samples || a.demos - b.demos)[0];
  },

  // Rows that one can use, best first. Those that are better than SFT and not surely worse than the best one share place
  // 1; where none is better than SFT, SFT and all that are not surely worse do. Then the others in the same way.
  rows(regime, have) {
    const mine = regime.rows.filter((r) => Choose.can(regime, have).includes(r.needs));
    const sft = mine.find((r) => r.verdict === "baseline"), places = new Map();
    while (places.size < mine.length) {
      const left = mine.filter((r) => !places.has(r)), first = !places.size;
      const better = left.filter((r) => r.verdict === "better");
      const head = first && sft && !better.length ? sft : left[0];
      const near = (better.length ? better : left).filter((r) => !head.worse.includes(r.name));
      const group = near.length ? near : better;
      for (const r of group) places.set(r, {place: 1 + mine.length - left.length, shared: group.length > 1});
    }
    return mine.map((r) => ({...r, ...places.get(r)}));
  },
  top: (rows) => rows.filter((r) => r.place === 1),
  cheapest: (rows) => [...rows].sort((a, b) => a.cost.relative - b.cost.relative)[0],

  // ---- words ------------------------------------------------------------------------------------------------
  count: (n) => Number(n).toLocaleString("en"),
  whole: (text) => /^\d{1,10}$/.test(text) && text >= 1 && text <= 1e9,
  signed(x) {
    const points = Math.round(1000 * x) / 10;
    return (points < 0 ? "−" : "+") + Math.abs(points).toFixed(1);              // no "−0.0"
  },
  gain: ([mean, half]) => Choose.signed(mean) + (half === null ? "" : ` ± ${(100 * half).toFixed(1)}`),
  times: (x) => `${x < 10 ? x.toFixed(1) : Choose.count(Math.round(x))} ×`,
  list: (words, and = "and") => words.length < 2 ? words.join("")
    : `${words.slice(0, -1).join(words.some((w) => w.includes(",")) ? "; " : ", ")} ${and} ${words[words.length - 1]}`,
  size: (demos, samples, what, wrong) => `${Choose.count(demos)} ${wrong ? "partly wrong " : ""}demonstrations`
    + (samples ? ` and ${what} on ${Choose.count(samples)} answers` : ", nothing more"),
  what: {nothing: "nothing", labels: "labels", pairs: "pairs", scores: "scores", reward: "a reward"},
  kinds: {own: "exact score", learnt: "learnt reward model", spoilt: "pairs: a right and a spoilt answer",
    "errs 5": "judge who errs in 5 of 100", "errs 15": "judge who errs in 15 of 100", "errs 30": "judge who errs in 30 of 100"},
  word: (verdict, margin) => verdict === "equal" ? `equal (within ${+(100 * margin).toFixed(1)} points)`
    : verdict === "baseline" ? "the baseline" : verdict,
  ties: (r) => `${r.place}${r.shared ? " =" : ""}${r.borrowed ? " *" : ""}`,

  // Where the regime differs from what was asked: one sentence.
  difference(g, asked) {
    const ask = Choose.usual(asked);
    const mine = Choose.size(ask.demos, ask.have === "nothing" ? 0 : ask.samples, Choose.what[ask.have], ask.wrong);
    const notes = [];
    if (g.base !== ask.base) notes.push(`the model "${ask.base}"`);
    if ((g.noise > 0) !== Boolean(ask.wrong)) notes.push(ask.wrong ? "partly wrong demonstrations" : "clean demonstrations");
    if (g.source !== ask.source) notes.push(`answers judged by "${Choose.kinds[ask.source] || ask.source}"`);
    const there = Choose.size(g.demos, ask.have === "nothing" ? 0 : g.samples, Choose.what[ask.have], g.noise > 0);
    const same = there === mine && !notes.length;
    const gap = Math.max(Math.abs(Math.log(ask.demos / g.demos)),
      ask.have === "nothing" || !g.samples ? 0 : Math.abs(Math.log(ask.samples / g.samples)));
    return (same ? `Measured: ${mine}.` : `You have ${mine}. The nearest that was measured: ${there}.`)
      + (g.noise > 0 ? ` Of the demonstrations ${Math.round(100 * g.noise)} % are wrong.` : "")
      + (notes.length ? ` Not measured together: ${Choose.list(notes)}.` : "")
      + (gap > Math.log(2) + 1e-9 ? ` Your size differs by a factor of ${
        Choose.count(Math.exp(gap).toFixed(gap > Math.log(10) ? 0 : 1))}, so this is only a hint.` : "");
  },

  // The answer in a sentence or two: who is on top, who of them is cheapest.
  advice(rows, margin) {
    const top = Choose.top(rows), low = Choose.cheapest(top);
    const about = (r) => `${Choose.gain(r.gain)} points over SFT (${Choose.word(r.verdict, margin)}), `
      + `${Choose.times(r.cost.relative)} SFT's FLOPs`;
    const sft = (r) => r.verdict === "baseline";
    if (rows.length === 1) return "Only SFT was measured for this. Other methods for demonstrations: docs/claims.md.";
    if (top.length === 1) return sft(low) ? "SFT alone is best: nothing else that you can use is as good."
      : `Best: ${low.name}, ${about(low)}.`;
    const rest = sft(low) ? "The cheapest of them is SFT itself: nothing here is surely better."
      : `The cheapest of them: ${low.name}, ${about(low)}.`;
    return `Not told apart on top: ${Choose.list(top.map((r) => r.name))}. ${rest}`;
  },

  // Prices are logarithms. Is a demonstration worth more than the judged answers that replace it, at the nearest size?
  money: (log) => (10 ** log).toFixed(2),
  price(exchange, ask) {
    const ratio = 10 ** (ask["demo-price"] - ask["judge-price"]);
    const errs = Number(ask.source.replace("errs ", "")) || 0;
    const sure = exchange.filter((x) => x.row === "RFT" && x.errs === errs && x.low > 0);
    const far = (x) => Math.abs(Math.log(ask.demos / x.demos)) + Math.abs(Math.log(ask.samples / x.samples));
    if (!sure.length) return "";
    const x = sure.reduce((a, b) => (far(b) < far(a) ? b : a)), [few, many] = [x.samples / x.high, x.samples / x.low];
    const better = ratio > x.answers ? "let answers be judged" : "write demonstrations";
    const words = ratio > many || ratio < few ? better : `probably ${better}; the interval leaves both open`;
    return `Prices: a demonstration costs as much as ${Choose.count(+ratio.toPrecision(2))} judgements. Measured with ${
      Choose.count(x.demos)} demonstrations and ${Choose.count(x.samples)} judged answers (RFT): ${Math.round(x.answers)} judgements `
      + `gave as much as one more demonstration (95 %: ${Math.round(few)} to ${Math.round(many)}). So: ${words}. The judge erred in ${errs} of 100 answers.`;
  },

  // what else changes, surely: [{text, word, bad, good}, ...], the bad news first; diversity is neither
  changes(row) {
    const names = {fact: "facts", truth: "truth", unknown: "admits not knowing", ends: "stops", diversity: "diversity"};
    return Object.entries(row.changes).map(([key, [mean, half, word]]) => ({bad: word === "worse", good: word === "better", word,
      text: `${names[key] || key} ${Choose.gain([mean, half])}`})).sort((a, b) => b.bad - a.bad);
  },
};
if (typeof module !== "undefined") module.exports = Choose;
