// What to do with what somebody has: an estimate for every method, and which of them are tied.
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

  // ---- the estimate for one's own size --------------------------------------------------------------------------
  // The measured sizes around n and the weight of each, on a logarithmic scale; beyond the last: the last.
  around(sizes, n) {
    const low = Math.max(...sizes.filter((x) => x <= n)), high = Math.min(...sizes.filter((x) => x >= n));
    if (low === high || !Number.isFinite(high - low)) return [[Number.isFinite(low) ? low : high, 1]];
    const t = Math.log(n / low) / Math.log(high / low);
    return [[low, 1 - t], [high, t]];
  },
  // Regimes around a size, with weights: four corners; two, where a corner was not measured; or the nearest alone.
  corners(there, near, demos, samples) {
    const sizes = (key) => [...new Set(there.map((g) => g[key]))];
    const [d, s] = [Choose.around(sizes("demos"), demos), Choose.around(sizes("samples"), samples)];
    const [oneD, oneS] = [[[near.demos, 1]], [[near.samples, 1]]];
    const found = [[d, s], [d, oneS], [oneD, s], [oneD, oneS]].map(([ds, ss]) => ds.flatMap(([x, p]) =>
      ss.map(([y, q]) => ({g: there.find((g) => g.demos === x && g.samples === y), weight: p * q}))));
    return found.find((box) => box.every(({g}) => g));
  },
  // The mean of some numbers by weight; null if one is missing.
  mean: (pairs) => pairs.some(([x]) => x === null) ? null : pairs.reduce((sum, [x, weight]) => sum + weight * x, 0),
  judged(gain, half, borrowed, margin) {
    const sure = half !== null;
    if (sure && gain - half > 0) return "better";
    if (sure && !borrowed && gain + half < 0) return "worse";
    return sure && !borrowed && Math.abs(gain) + half < margin ? "equal" : "undecided";
  },
  // One regime from several: gains between theirs, and intervals as wide as if all of them erred in the same direction.
  blend(corners, margin) {
    const {g} = corners.reduce((a, b) => (b.weight > a.weight ? b : a));
    const blended = (row) => {
      const each = corners.map((c) => [c.g.rows.find(({name}) => name === row.name), c.weight]);
      if (each.some(([r]) => !r)) return [];
      const mean = (of) => Choose.mean(each.map(([r, weight]) => [of(r), weight]));
      const [gain, half] = [0, 1].map((i) => mean((r) => r.gain[i])), borrowed = each.some(([r]) => r.borrowed);
      const relative = Math.exp(mean((r) => Math.log(r.cost.relative)));
      const verdict = row.verdict === "baseline" ? row.verdict : Choose.judged(gain, half, borrowed, margin);
      return [{...row, gain: [gain, half], endpoint: [0, 1].map((i) => mean((r) => r.endpoint[i])), borrowed, verdict,
        worse: row.worse.filter((name) => each.every(([r]) => r.worse.includes(name))),
        cost: {...row.cost, relative, samples: null, flops: null}, changes: null}];
    };
    return {...g, corners, rows: corners.length < 2 ? g.rows : Choose.best(g.rows.flatMap(blended))};
  },
  best: (rows) => rows.sort((a, b) => b.gain[0] - a.gain[0]),
  // Rows for what somebody has: measured, or between the regimes around it.
  estimate(regimes, asked, margin) {
    const ask = Choose.usual(asked), near = Choose.nearest(regimes, ask), none = ask.have === "nothing";
    const exact = ["demos", "source", "base"].every((key) => near[key] === ask[key])
      && (near.noise > 0) === Boolean(ask.wrong) && (none || near.samples === ask.samples);
    const errs = !exact && ask.source.startsWith("errs");
    const g = errs ? Choose.nearest(regimes, {...ask, source: "own"}) : near;
    const there = regimes.filter((x) => Choose.alike(x, g) && (none || x.samples));
    const samples = none ? Math.min(...there.map((x) => x.samples)) : ask.samples;
    const found = Choose.blend(Choose.corners(there, g, ask.demos, samples), margin);
    return errs ? Choose.erring(regimes, found, ask, margin) : found;
  },
  alike: (x, g) => x.base === g.base && x.source === g.source && (x.noise > 0) === (g.noise > 0),
  // A judge who errs was measured at few sizes. At another size each gain is that of a judge who never errs, times the
  // share that the one who errs left where he was measured; never more than one who errs less left.
  erring(regimes, own, ask, margin) {
    const often = (source) => Number(source.replace("errs ", "")), left = {}, wide = {}, usual = {...ask, wrong: "", base: "base"};
    const known = regimes.filter((g) => g.source === ask.source), sizes = known.map((g) => g.demos);
    const demos = Math.min(Math.max(ask.demos, ...[Math.min(...sizes)]), Math.max(...sizes)), [{samples}] = known;
    const there = (source) => Choose.blend(Choose.corners(regimes.filter((g) => Choose.alike(g, {...known[0], source})),
      known[0], demos, samples), margin);
    const never = there("own"), less = [...new Set(regimes.map((g) => g.source))].filter((source) =>
      source.startsWith("errs") && often(source) <= often(ask.source));
    for (const r of less.flatMap((source) => there(source).rows)) {
      const before = never.rows.find(({name}) => name === r.name)?.gain[0];
      if (before > 0) left[r.name] = Math.max(0, Math.min(left[r.name] ?? 1, r.gain[0] / before));
      if (r.gain[0] > 0) wide[r.name] = r.gain[1] / r.gain[0];
    }
    left[Choose.cleaned] = left.RFT ?? 0;                                       // not measured: judged demonstrations
    const rows = own.rows.filter((r) => r.verdict === "baseline" || r.name in left).map((r) => {
      const gain = Math.min(r.gain[0], r.gain[0] * (left[r.name] ?? 1)), sft = r.verdict === "baseline";
      const half = Math.max(r.gain[1], gain * (wide[r.name] ?? 0));       // as wide a share as where he was measured
      return {...r, gain: [gain, half], endpoint: [r.endpoint[0] + gain - r.gain[0], r.endpoint[1]], changes: null,
        borrowed: !sft, verdict: sft ? r.verdict : Choose.judged(gain, half, true, margin)};
    });
    return {...own, rows: Choose.best(rows), left, where: {demos: [...new Set(sizes)].sort((a, b) => a - b), samples}};
  },

  // ---- the rows that one can use ------------------------------------------------------------------------------
  // Do two intervals touch? If they do not, the difference is sure, however the two rows depend on each other.
  touch(a, b) {
    const [above, below] = a.gain[0] > b.gain[0] ? [a, b] : [b, a];
    const half = (r) => (r.gain[1] === null ? Infinity : r.gain[1]);
    return below.gain[0] + half(below) >= above.gain[0] - half(above);
  },
  // Rows that one can use, best first. Those that are better than SFT and not clearly worse than the best one share
  // place 1; where none is better than SFT, SFT and all that are not clearly worse do. Then the others in the same way.
  // Clearly worse: a test says so, or the intervals do not touch.
  rows(regime, have) {
    const mine = regime.rows.filter((r) => Choose.can(regime, have).includes(r.needs));
    const sft = mine.find((r) => r.verdict === "baseline"), places = new Map();
    while (places.size < mine.length) {
      const left = mine.filter((r) => !places.has(r)), first = !places.size;
      const better = left.filter((r) => r.verdict === "better");
      const head = first && sft && !better.length ? sft : left[0];
      const near = (better.length ? better : left).filter((r) => !head.worse.includes(r.name) && Choose.touch(head, r));
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
  kinds: {own: "exact score, never errs", learnt: "learnt reward model", spoilt: "pairs: a right and a spoilt answer",
    "errs 5": "a person (errs in 5 of 100)", base: "one million parameters", "second base": "the same, pretrained with another seed"},
  kind: (name) => Choose.kinds[name] || name.replace(/^errs (\d+)$/, "a judge who errs in $1 of 100"),
  // Who judges, if one does not say: labels are mostly a person's.
  judge: (have) => (["nothing", "labels"].includes(have) ? "errs 5" : "own"),
  word: (verdict, margin) => ["better", "worse"].includes(verdict) ? `${verdict} than SFT` : verdict === "equal" ? `equal (within ${+(100 * margin).toFixed(1)} points)`
    : verdict === "baseline" ? "the baseline" : verdict,
  ties: (r) => `${r.place}${r.shared ? " =" : ""}${r.borrowed ? " *" : ""}`,

  // ---- the answer, in sentences ---------------------------------------------------------------------------------
  // What to do, in one sentence or two. A method that learns in a second stage: on what?
  cleaned: "SFT on the right demonstrations",
  stages: {RFT: "on the answers that were judged right", "SFT on the chosen": "on the better answer of each pair",
    "SFT on the best of 4": "on the best of four answers to each prompt"},
  stage({name, needs}) {
    const how = {labels: "on all answers with their labels", pairs: "on the pairs", reward: "with the reward, on fresh answers",
      scores: "on all answers with their scores"}[needs];
    if (name === Choose.cleaned) return "Have your demonstrations judged first. Train on the right ones only (SFT).";
    if (name.startsWith("best of")) return `Train on your demonstrations (SFT). At every use draw answers and take the best (${name}).`;
    return needs === "nothing" ? `Train on your demonstrations (${name}).`
      : `Train on your demonstrations (SFT). Then train once more, ${Choose.stages[name] || how} (${name}).`;
  },
  lead: (rows, {have, samples}) => have === "nothing" ? "With nothing more: "
    : Choose.cheapest(Choose.top(rows)).name === Choose.cleaned ? "" : `With ${Choose.what[have]} on ${Choose.count(samples)} answers: `,
  advice(rows, have) {
    const low = Choose.cheapest(Choose.top(rows));
    if (low.verdict !== "baseline") return Choose.stage(low);
    return "Train on your demonstrations (SFT)" + (have === "nothing" || rows.length === 1 ? "."
      : `. Nothing that ${Choose.what[have]} allow${have === "reward" ? "s" : ""} was clearly better.`);
  },
  // What to expect of it, and what was not told apart from it.
  expect(rows, have) {
    const top = Choose.top(rows), low = Choose.cheapest(top), sft = low.verdict === "baseline";
    const others = top.filter((r) => r !== low && r.verdict !== "baseline" && r.gain[0] + r.gain[1] >= low.gain[0])
      .map((r) => `${r.name} (${Choose.gain(r.gain)})`);
    if (have === "nothing") return `Expect a score of ${Choose.score(low)} of 100.`;
    return (sft ? "" : `Expect ${Choose.gain(low.gain)} points over SFT alone, for ${
      Choose.times(low.cost.relative)} its computing.`)
      + (others.length ? ` Not told apart from ${sft ? "SFT" : "it"}: ${Choose.list(others)}.` : "");
  },
  score: (r) => r.endpoint.map((x) => (100 * x).toFixed(1)).join(" ± "),
  // What the answer rests on.
  basis(g, asked, seeds) {
    const ask = Choose.usual(asked), keys = ask.have === "nothing" ? ["demos"] : ["demos", "samples"];
    const unit = {demos: "demonstrations", samples: "answers"};
    const sizes = (key) => [...new Set(g.corners.map((c) => c.g[key]))].sort((x, y) => x - y);
    const range = (key) => `${Choose.list(sizes(key).map(Choose.count))} ${unit[key]}`;
    const between = keys.filter((key) => sizes(key).length > 1);
    const beyond = keys.filter((key) => !between.includes(key) && sizes(key)[0] !== ask[key]);
    const judged = Choose.can(g, ask.have).includes("labels") && g.rows.some((r) => r.name === Choose.cleaned);
    const hint = (key) => {
      if (judged && key === "samples") return `Judging the demonstrations takes ${Choose.count(ask.demos)
      } judgements, one for each. The rows that learn from answers were measured with ${range(key)}.`;
      const factor = Math.exp(Math.abs(Math.log(ask[key] / sizes(key)[0])));
      return `The nearest that was measured: ${range(key)}. You have ${Choose.count(ask[key])}`
        + (factor < 1.5 - 1e-9 ? "." : `: a factor of ${Choose.count(factor.toFixed(factor > 10 ? 0 : 1))}, so this is only a hint.`);
    };
    const kept = Object.entries(g.left || {}).filter(([name]) => name !== Choose.cleaned && g.rows.some((r) => r.name === name
      && Choose.can(g, ask.have).includes(r.needs))).map(([name, x]) => `${name} ${Math.round(100 * x)} %`);
    const notes = [g.base !== ask.base && `the model "${Choose.kind(ask.base)}"`, (g.noise > 0) !== Boolean(ask.wrong)
      && `${ask.wrong ? "partly wrong" : "clean"} demonstrations`, (g.left ? g.noise > 0 || g.base !== "base"
      : g.source !== ask.source) && `answers judged by "${Choose.kind(ask.source)}"`].filter(Boolean);
    const exact = !between.length && !beyond.length && !notes.length && !g.left;
    return [exact && `Measured at this size, with ${seeds} seeds.`, between.length
      && `Interpolated: your size lies between ${Choose.list(between.map(range))}, which were measured.`, ...beyond.map(hint),
      g.left && `${Choose.kind(ask.source).replace(/^a/, "A")} was measured with ${Choose.list(g.where.demos.map(Choose.count))
      } demonstrations and ${Choose.count(g.where.samples)} answers only. Of its gain a method kept there: ${
        Choose.list(kept)}. The same is assumed here${judged ? ", and RFT's share for judged demonstrations" : ""}.`,
      g.noise > 0 && `Of the demonstrations ${Math.round(100 * g.noise)} % were wrong there.`,
      notes.length && `Not measured together: ${Choose.list(notes)}.`].filter(Boolean).join(" ");
  },

  // What the letters mean, and what a row trains on with one's own files: [objective, file, more].
  full: {SFT: "supervised fine-tuning", RFT: "rejection sampling: SFT on the model's right answers",
    UNA: "fits its implicit reward to every score", KTO: "pushes good answers up and bad ones down",
    DPO: "widens the gap between a better and a worse answer", SimPO: "like DPO, without a reference model",
    RLOO: "policy gradient: samples while it trains", GRPO: "policy gradient over groups of samples",
    PPO: "policy gradient with a clipped ratio"},
  files: {"right answers": "labels.jsonl", labels: "labels.jsonl", pairs: "pairs.jsonl", scores: "scores.jsonl"},
  // Lines with # are for the reader; the shell skips them.
  mine(rows, have) {
    const train = (name, objective, rest) =>
      `python -m nanouft.train --objective ${objective} ${rest} --out out/mine-${name}`;
    const asks = {reward: "python -m nanouft.rewards.harvest --init out/mine-sft --data prompts.jsonl --reward my.py:right "
      + "--good 1 --samples 4 --out out/own"};
    asks.labels = asks.pairs = "python -m nanouft.rewards.judge out/mine-sft --data prompts.jsonl --samples 4 "
      + "--out out/judged";
    const folder = {reward: "out/own/", labels: "out/judged/", pairs: "out/judged/"}[have] || "";
    const stage = ({name, needs}) => {
      const low = name.toLowerCase(), file = name === "RFT" && have === "reward" ? "demos.jsonl" : Choose.files[needs];
      const data = file ? folder + file : "prompts.jsonl --reward my.py:right";
      return train(low, name === "RFT" ? "sft" : low, `--data ${data} --init out/mine-sft`);
    };
    const top = Choose.top(rows), low = Choose.cheapest(top), stop = low.verdict === "baseline";
    const first = (more = "") => train("sft", "sft", `--data demos.jsonl${more} --init out/mine`);
    if (low.name === Choose.cleaned) return have === "reward" ? [first(" --keep 0.6 --reward my.py:right")]
      : ['# first write "label": true or "label": false into each line of demos.jsonl', first()];
    const mine = (r) => Choose.full[r.name] && r.needs !== "nothing";
    const others = stop ? [] : top.filter((r) => r !== low && mine(r)), best = stop || !mine(low) ? [] : [low];
    return [first(), ...(asks[have] && best.length + others.length ? [asks[have]] : []), ...best.map(stage),
      ...others.flatMap((r) => ["# not told apart from it:", stage(r)])];
  },
  // What each file is that these commands name: [[name, what it is], ...].
  named(lines) {
    const label = '{"prompt": "...", "response": "...", "label": true} on each line, false for a';
    const judged = lines.some((line) => line.startsWith("# first"));
    const wrote = "what the line before wrote. A file of your own works, too:";
    const all = {"demos.jsonl": judged ? `your demonstrations, judged: ${label} wrong one. SFT leaves the wrong ones out. `
      + "In a CSV file label is a column" : 'your demonstrations: {"prompt": "...", "response": "..."} on each line',
      "0.6": "the share of the demonstrations that is right; in our runs it was 0.6",
      "out/mine": "the folder of your model. python -m nanouft.pretrain --corpus my.txt --out out/mine makes one; "
        + "the folder of a GPT-2 works, too",
      "out/judged": "the verdicts of the person who judges: y good, n bad. --page: in a browser instead",
      "out/judged/labels.jsonl": `${wrote} ${label} thumb down`,
      "out/judged/pairs.jsonl": `${wrote} {"prompt": "...", "chosen": "...", "rejected": "..."} on each line`,
      "labels.jsonl": `your thumbs: ${label} thumb down`,
      "pairs.jsonl": 'your pairs: {"prompt": "...", "chosen": "...", "rejected": "..."} on each line',
      "scores.jsonl": 'your scores: {"prompt": "...", "response": "...", "score": 0.7} on each line, 0 to 1',
      "prompts.jsonl": 'new questions: {"prompt": "..."} on each line, and what your reward wants to read',
      "my.py:right": "the function right(prompts, answers, **others) in your file my.py: a number from 0 to 1 for each answer"};
    const typed = lines.filter((line) => !line.startsWith("#")).flatMap((line) => line.split(" "));
    return Object.entries(all).filter(([name]) => typed.includes(name));
  },

  // ---- prices -----------------------------------------------------------------------------------------------
  paid: (text) => text > 0 && text <= 1e9,
  unrated: ({have, wrong, source, base}) => (have === "pairs" && "pairs")
    || (wrong && "partly wrong demonstrations") || (base !== "base" && `the model "${Choose.kind(base)}"`)
    || {learnt: "a learnt reward model", spoilt: "spoilt answers"}[source],
  // What to pay for next: a heading, why, and `first` if it comes before what to do with what one has. How many
  // judgements gain as much as one more demonstration, with the row of the advice? That depends on how many are judged:
  // who has few answers is told the rate of 4,000, too. A rate is only compared with one of as many answers.
  price(exchange, regimes, asked, margin) {
    const none = asked.have === "nothing", ask = none ? {...asked, have: "labels", samples: Choose.many} : asked;
    const unrated = Choose.unrated(ask), what = "What to pay for next:", cost = (n) => Choose.cost(n, ask);
    if (ask.wrong) return {head: `${what} have your ${Choose.count(ask.demos)} demonstrations judged.`, first: none,
      why: `${cost(ask.demos)}. For answers, no rate was measured with ${unrated}.`};
    if (unrated) return {head: `${what} no rate was measured for ${unrated}.`, first: false, why: ""};
    const sizes = [...new Set([ask.samples, Math.max(ask.samples, Choose.many)])];
    const each = sizes.map((samples) => Choose.rate(exchange, regimes, {...ask, samples}, margin));
    const best = each.reduce((a, b) => (b.for > a.for ? b : a)), ratio = ask["demo-price"] / ask["judge-price"];
    return {head: `${what} ${best.head}`, first: true, open: best.open, why: `${each.map((x) => x.why).join(" ")} `
      + `For the price of a demonstration you get ${Choose.short(ratio)} judgements; ${cost(sizes[sizes.length - 1])}.`};
  },
  many: 4000,
  short: (x) => (x < 10 ? x.toLocaleString("en", {maximumSignificantDigits: 2}) : Choose.count(Math.round(x))),
  cost: (n, ask) => `${Choose.count(n)} judgements cost ${Choose.short(n * ask["judge-price"])}, as much as ${
    Choose.short(n * ask["judge-price"] / ask["demo-price"])} demonstrations`,
  // At one number of answers: {head, why, for: how much speaks for judged answers, 0 to 3, open, answers: [about, from,
  // to] for a demonstration}.
  rate(exchange, regimes, ask, margin) {
    const g = Choose.estimate(regimes, ask, margin), sizes = g.corners.map((c) => c.g.samples);
    const row = Choose.cheapest(Choose.top(Choose.rows(g, ask.have))), {name} = row, ratio = ask["demo-price"] / ask["judge-price"];
    const n = Math.min(Math.max(ask.samples, Math.min(...sizes)), Math.max(...sizes));
    const at = `at ${Choose.count(n)} judged answers`, At = at.replace("a", "A"), no = {head: "demonstrations.", for: 0, open: false};
    if (row.verdict === "baseline") return {...no, why: `${At} no gain could be seen.`};
    const errs = g.left ? 0 : Number(g.source.replace("errs ", "")) || 0, share = g.left?.[name] ?? 1;
    const each = g.corners.map(({g: {demos, samples}, weight}) => [exchange.find((x) => x.row === name && x.errs === errs
      && x.demos === demos && x.samples === samples), weight]);
    const gain = `${At}: ${Choose.gain(row.gain)} points (${name})`, mean = (key) => Choose.mean(each.map(([x, w]) => [x[key], w]));
    if (each.some(([x]) => !x) || mean("worth") <= 0) return {...no, why: `${gain}; ${name} has no rate.`};
    const never = ["worth", "high", "low"].map((key) => (mean(key) > 0 ? mean("samples") / mean(key) : Infinity));
    const answers = never.map((x) => x / share), [about, from, to] = answers, cheap = ratio > about;
    // Where the gain of a judge who errs is only assumed, demonstrations are sure if they are so with a judge who never
    // errs, and judged answers never are.
    const open = cheap ? ratio <= to || Boolean(g.left) : ratio >= (g.left ? never[1] : from);
    const round = (x) => Choose.count(Math.round(x)), better = cheap ? "judged answers" : "demonstrations";
    const range = ([, a, b]) => `95 %: ${round(a)} ${b < 1e4 ? `to ${round(b)}` : "or more, or no gain at all"}`;
    return {answers, open, for: cheap ? 3 - open : 0 + open,
      head: open ? `open. ${cheap ? "Judged answers" : "Demonstrations"} are the better guess (${at}).` : `${better} (${at}).`,
      why: `${gain}; about ${round(about)} judgements do as much as one demonstration (${
        g.left ? `a judge who never errs: ${round(never[0])}, ${range(never)}` : range(answers)}).`};
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
