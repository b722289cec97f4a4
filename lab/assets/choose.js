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
  // ask: {demos, samples, wrong, have, source, base}. How far is one number of a regime from one's own? A logarithm,
  // with a sign: below 0 the regime is larger.
  apart: (g, ask, key) => key === "demos" || (ask.have !== "nothing" && g.samples) ? Math.log(ask[key] / g[key])
    : ask.have === "nothing" ? (g.samples ? 0.01 : 0) : 100,
  // The situation weighs more than the size, and of the size the demonstrations weigh more.
  far(g, ask) {
    const other = (x, y, weight) => (String(x ?? "") === String(y ?? "") ? 0 : weight);
    return other(g.base, ask.base, 8000) + other(g.noise > 0, Boolean(ask.wrong), 4000)
      + other(g.source, ask.source, 2000) + 2 * Math.abs(Choose.apart(g, ask, "demos"))
      + Math.abs(Choose.apart(g, ask, "samples"));
  },
  // Regimes by how far they are; of two that are as far, the smaller first. A regime where SFT is the only row that one
  // can use tells nothing.
  sorted(regimes, asked) {
    const ask = Choose.usual(asked);
    return regimes.filter((g) => ask.have === "nothing" || Choose.rows(g, ask.have).length > 1)
      .map((g) => ({g, far: Math.round(1e9 * Choose.far(g, ask))}))
      .sort((a, b) => a.far - b.far || a.g.samples - b.g.samples || a.g.demos - b.g.demos).map(({g}) => g);
  },
  nearest: (regimes, ask) => Choose.sorted(regimes, ask)[0],
  // Where one's size lies between or beyond what was measured: the next regime of the same situation that is on the
  // other side in one of the two numbers.
  second(regimes, asked) {
    const ask = Choose.usual(asked), [first, ...others] = Choose.sorted(regimes, ask);
    const same = (g) => ["base", "source"].every((key) => g[key] === first[key]) && (g.noise > 0) === (first.noise > 0);
    const away = ["demos", "samples"].filter((key) => Math.abs(Choose.apart(first, ask, key)) > Math.log(1.25));
    const across = (g) => away.some((key) => Choose.apart(g, ask, key) * Choose.apart(first, ask, key) <= 1e-9);
    return others.find((g) => same(g) && across(g));
  },

  // Rows that one can use, best first. Those that are better than SFT and not clearly worse than the best one share
  // place 1; where none is better than SFT, SFT and all that are not clearly worse do. Then the others in the same way.
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
  kinds: {own: "exact score", learnt: "learnt reward model", spoilt: "pairs: a right and a spoilt answer"},
  kind: (source) => Choose.kinds[source] || source.replace(/^errs (\d+)$/, "a judge who errs in $1 of 100"),
  word: (verdict, margin) => verdict === "equal" ? `equal (within ${+(100 * margin).toFixed(1)} points)`
    : verdict === "baseline" ? "the baseline" : verdict,
  ties: (r) => `${r.place}${r.shared ? " =" : ""}${r.borrowed ? " *" : ""}`,

  // Where the regime differs from what was asked: one sentence.
  difference(g, asked) {
    const ask = Choose.usual(asked);
    const mine = Choose.size(ask.demos, ask.have === "nothing" ? 0 : ask.samples, Choose.what[ask.have], ask.wrong);
    const notes = [];
    if (g.base !== ask.base) notes.push(`the model "${ask.base}"`);
    if ((g.noise > 0) !== Boolean(ask.wrong)) notes.push(`${ask.wrong ? "partly wrong" : "clean"} demonstrations`);
    if (g.source !== ask.source) notes.push(`answers judged by "${Choose.kind(ask.source)}"`);
    const there = Choose.size(g.demos, ask.have === "nothing" ? 0 : g.samples, Choose.what[ask.have], g.noise > 0);
    const same = there === mine && !notes.length;
    const gap = Math.max(...["demos", "samples"].map((key) => Math.abs(Choose.apart(g, ask, key))));
    return (same ? `Measured: ${mine}.` : `You have ${mine}. The nearest that was measured: ${there}.`)
      + (g.noise > 0 ? ` Of the demonstrations ${Math.round(100 * g.noise)} % are wrong.` : "")
      + (notes.length ? ` Not measured together: ${Choose.list(notes)}.` : "")
      + (gap > Math.log(1.5) - 1e-9 ? ` Your size differs by a factor of ${
        Choose.count(Math.exp(gap).toFixed(gap > Math.log(10) ? 0 : 1))}, so this is only a hint.` : "");
  },

  // What the letters mean, and what a row trains on with one's own files: [objective, file, more].
  full: {SFT: "supervised fine-tuning", RFT: "rejection sampling: SFT on the model's right answers",
    UNA: "fits its implicit reward to every score", KTO: "pushes good answers up and bad ones down",
    DPO: "widens the gap between a better and a worse answer", SimPO: "like DPO, without a reference model",
    RLOO: "policy gradient: samples while it trains", GRPO: "policy gradient over groups of samples",
    PPO: "policy gradient with a clipped ratio"},
  named: (r) => r.name + (r.name === "RFT" ? ` (${Choose.full.RFT})` : ""),
  files: {"right answers": "labels.jsonl", labels: "labels.jsonl", pairs: "pairs.jsonl", scores: "scores.jsonl"},
  mine(rows, have) {
    const train = (name, objective, rest) =>
      `python -m nanouft.train --objective ${objective} ${rest} --out out/mine-${name}`;
    const judge = {reward: "right", labels: "nobody", scores: "nobody"}[have];         // nobody: then a person judges
    const harvest = "python -m nanouft.rewards.harvest --init out/mine-sft --data prompts.jsonl "
      + `--reward my.py:${judge} --good 1 --samples 4 --out out/own`;
    const stage = ({name, needs}) => {
      const low = name.toLowerCase(), file = name === "RFT" && have === "reward" ? "demos.jsonl" : Choose.files[needs];
      const data = file ? (have === "reward" ? "out/own/" : "") + file : "prompts.jsonl --reward my.py:right";
      return train(low, name === "RFT" ? "sft" : low, `--data ${data} --init out/mine-sft`);
    };
    const best = Choose.top(rows).filter(({name, needs}) => Choose.full[name] && needs !== "nothing");
    return [train("sft", "sft", "--data demos.jsonl --init out/mine"),
      ...(judge && best.length ? [harvest] : []), ...best.map(stage)];
  },

  // The answer in a sentence or two: who is on top, who of them is cheapest.
  advice(rows, margin) {
    const top = Choose.top(rows), low = Choose.cheapest(top);
    const sft = low.verdict === "baseline", about = `${Choose.named(low)}, ${Choose.gain(low.gain)} points over SFT (${
      Choose.word(low.verdict, margin)}), ${Choose.times(low.cost.relative)} SFT's FLOPs`;
    if (rows.length === 1)
      return "SFT. To get further, write more demonstrations, or have answers of that model judged: see what scores give.";
    if (top.length === 1)
      return sft ? "SFT alone is best: nothing else that you can use is as good." : `Best: ${about}.`;
    const rest = sft ? "The cheapest of them is SFT itself: nothing here is clearly better."
      : `The cheapest of them: ${about}.`;
    return `Not told apart on top: ${Choose.list(top.map((r) => r.name))}. ${rest}`;
  },

  // The same for the second regime, and which of the first one's rows on top are worse than SFT there.
  also(g, rows, first, ask, margin) {
    const tops = Choose.top(first).map(({name}) => name), samples = ask.have === "nothing" ? 0 : g.samples;
    const worse = rows.filter((r) => r.verdict === "worse" && tops.includes(r.name));
    const words = Choose.list(worse.map((r) => `${r.name}, ${Choose.gain(r.gain)}`));
    return `At the other neighbour, ${Choose.size(g.demos, samples, Choose.what[ask.have], g.noise > 0)}: `
      + Choose.advice(rows, margin) + (words && ` Worse than SFT there: ${words}.`);
  },

  // ---- prices -----------------------------------------------------------------------------------------------
  paid: (text) => text > 0 && text <= 1e9,
  unrated: ({have, wrong, source, base}) => ({nothing: "demonstrations alone", pairs: "pairs"}[have]
    || (wrong && "partly wrong demonstrations") || (base !== "base" && `the model "${base}"`)
    || {learnt: "a learnt reward model", spoilt: "spoilt answers"}[source]),
  // Is a demonstration worth more than the judged answers that replace it? Of the nearest regime, and of the second.
  price(exchange, ask, [nearest, second]) {
    const unrated = Choose.unrated(ask), ratio = ask["demo-price"] / ask["judge-price"];
    if (unrated) return `Prices: no rate was measured for ${unrated}.`;
    return `Prices: a demonstration costs ${ratio.toLocaleString("en", {maximumSignificantDigits: 3})} times as much `
      + `as a judgement. With ${Choose.rate(exchange, nearest, ask.have, ratio)}`
      + (second ? ` The other neighbour: with ${Choose.rate(exchange, second, ask.have, ratio)}` : "");
  },
  // The rate of the row that the advice names in this regime, and what to do at this ratio of the prices.
  rate(exchange, g, have, ratio) {
    const {name, verdict} = Choose.cheapest(Choose.top(Choose.rows(g, have)));
    const errs = Number(g.source.replace("errs ", "")) || 0;
    const where = `${Choose.count(g.demos)} demonstrations and ${Choose.count(g.samples)} judged answers`
      + (errs ? ` (${errs} of 100 misjudged)` : "");
    const x = exchange.find((x) => x.row === name && x.errs === errs && x.demos === g.demos && x.samples === g.samples);
    const why = verdict === "baseline" ? "no method that you can use is clearly better than SFT"
      : x ? `counted in demonstrations, the interval of ${name}'s gain reaches 0` : `${name} has no rate`;
    if (!(x?.low > 0)) return `${where} it cannot be told what pays: ${why}.`;
    const [few, many] = [x.samples / x.high, x.samples / x.low];
    const better = ratio > x.answers ? "let answers be judged" : "write demonstrations";
    return `${where} ${name} needs ${Math.round(x.answers)} judgements to gain as much as one more demonstration `
      + `(95 %: ${Math.round(few)} to ${Math.round(many)}). `
      + (ratio > many || ratio < few ? `So ${better}.` : `The interval leaves both open; the better guess: ${better}.`);
  },

  // what else clearly changes: [{text, word, kind, bad}, ...], the bad news first; diversity is neither
  changes(row) {
    const names = {fact: "facts", truth: "truth", unknown: "admits not knowing", ends: "stops", diversity: "diversity"};
    return Object.entries(row.changes).map(([key, [mean, half, word]]) => ({word, bad: word === "worse",
      kind: {worse: "bad", better: "good"}[word] || "plain",
      text: `${names[key] || key} ${Choose.gain([mean, half])}`})).sort((a, b) => b.bad - a.bad);
  },
};
if (typeof module !== "undefined") module.exports = Choose;
