"use strict";
/* Every objective as a function of log-probs: the losses of nanouft/objectives, line by line.

     arrange(objective, rows)            // which sequences it wants to see together -> {rows: [{seqs, ...known}]}
     pushes(name, hp, batch)             // {loss, roles: [{role, pushes, p}]}, on the scale of nanouft.ledger

   A sequence is {role, prompt, answer}; the model writes logp, ref (of the start model) and old (when it was sampled),
   one number a token. Numbers that remember how they were made (Num) give the derivative of any loss. What is to be a
   constant of the step is a plain number: x.value. */

// ---- numbers that remember --------------------------------------------------------------------------------------
class Num {
  constructor(value, from = []) {
    Object.assign(this, { value, from, slope: 0, number: Num.made++ });      // from: [[Num, derivative], ...]
  }
  plus(y) { return new Num(this.value + num(y).value, [[this, 1], [num(y), 1]]); }
  minus(y) { return this.plus(num(y).times(-1)); }
  times(y) { const x = num(y); return new Num(this.value * x.value, [[this, x.value], [x, this.value]]); }
  over(y) { const x = num(y); return this.times(new Num(1 / x.value, [[x, -1 / x.value ** 2]])); }
  map(value, slope) { return new Num(value, [[this, slope]]); }                      // of one number
  neg() { return this.times(-1); }
  square() { return this.times(this); }
  exp() { const e = Math.exp(this.value); return this.map(e, e); }
  sigmoid() { const p = sigmoid(this.value); return this.map(p, p * (1 - p)); }
  logsigmoid() { return this.map(logsigmoid(this.value), sigmoid(-this.value)); }
  relu() { return this.map(Math.max(0, this.value), +(this.value > 0)); }
  clamp(low, high) {
    const inside = this.value >= low && this.value <= high;
    return this.map(Math.min(high, Math.max(low, this.value)), +inside);
  }
  least(y) { return this.value <= y.value ? this : y; }
  log1mexp() { return this.map(log1mexp(this.value), 1 / -Math.expm1(-this.value)); }      // log(1 - e^x), x < 0
  /* Slopes of everything that this number was made from. Newer numbers first: nobody is asked before it is complete. */
  backward() {
    const seen = new Set([this]);
    for (const x of seen) for (const [parent] of x.from) seen.add(parent);
    this.slope = 1;
    for (const x of [...seen].sort((a, b) => b.number - a.number)) {
      for (const [parent, derivative] of x.from) parent.slope += x.slope * derivative;
    }
  }
}
Num.made = 0;
const num = (x) => (x instanceof Num ? x : new Num(x));
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const logsigmoid = (x) => Math.min(0, x) - Math.log1p(Math.exp(-Math.abs(x)));
const log1mexp = (x) => (x > -Math.LN2 ? Math.log(-Math.expm1(x)) : Math.log1p(-Math.exp(x)));
const sum = (xs) => new Num(xs.reduce((total, x) => total + num(x).value, 0), xs.map((x) => [num(x), 1]));
const mean = (xs) => sum(xs).over(xs.length);

// ---- what several losses share ------------------------------------------------------------------------------------
const each = (b, loss) => mean(b.rows.map((row) => loss(row.seqs, row)));           // mean over the rows of the step
const tokens = (b, role) => b.rows.reduce((n, { seqs }) => n + seqs[role].logp.length, 0);
const tokenMean = (b, role, loss) => sum(b.rows.map((row) => sum(loss(row.seqs[role], row)))).over(tokens(b, role));
const nll = (b, role) => tokenMean(b, role, ({ logp }) => logp.map((x) => x.neg()));
const ratio = (s, from = s.ref) => sum(s.logp.map((x, t) => x.minus(from[t])));     // log pi/pi_ref of the answer
const smooth = (h, eps = 0) => h.logsigmoid().times(eps - 1).minus(h.neg().logsigmoid().times(eps));
const reduced = (s, how) => ratio(s).over(how === "mean" ? s.logp.length : 1);
const dpo = (w, l, beta, eps, how) => smooth(reduced(w, how).minus(reduced(l, how)).times(beta), eps);
const simpo = (w, l, { beta, gamma, label_smoothing }) =>
  smooth(mean(w.logp).minus(mean(l.logp)).times(beta).minus(gamma), label_smoothing);
const cpo = (w, l, { beta }) => smooth(sum(w.logp).minus(sum(l.logp)).times(beta));
const logOdds = ({ logp }) => { const A = mean(logp).clamp(-Infinity, -1e-6); return A.minus(A.log1mexp()); };
const scoreLoss = (i, score, form) => (form === "mse" ? i.sigmoid().minus(score).square()
  : i.logsigmoid().times(-score).minus(i.neg().logsigmoid().times(1 - score)));
const una = (b, hp) => each(b, ({ answer: s }, { score }) => scoreLoss(ratio(s).times(hp.beta), score, hp.loss));

const total = (xs) => xs.reduce((a, b) => a + b, 0);            // of plain numbers
const average = (xs) => total(xs) / xs.length;
const spread = (xs) => Math.sqrt(total(xs.map((x) => (x - average(xs)) ** 2)) / (xs.length - 1));      // Bessel's

// ---- numbers that single methods want -------------------------------------------------------------------------------
function futureSum(xs, gamma) {                                 // sum over k >= t of gamma^(k-t) x_k
  const out = [];
  for (let t = xs.length - 1, later = num(0); t >= 0; t--) out[t] = later = xs[t].plus(later.times(gamma));
  return out;
}

function iftWeights(nll, { variant, gamma, detach }) {
  const N = nll.length, seen = detach || variant === "detached" ? nll.map((x) => num(x.value)) : nll;
  const ones = nll.map(() => num(1)), ranks = nll.map((_, t) => num(t + 1));
  if (variant === "algorithm1") return futureSum(seen, 1).map((x, t) => x.times(gamma ** (N - 1 - t)));
  if (variant === "eq21") return ranks;
  const w = variant === "eq21_mean1" ? ranks : gamma > 0 ? futureSum(seen, gamma) : ones;
  return sum(w).value > 0 ? w.map((x) => x.times(N).over(sum(w))) : ones;           // mean 1
}

function adaRoot(rho) {                                         // u > 0 with log(2 sigmoid(u)) - u sigmoid(-u) = rho
  let low = 0, high = 100;
  for (let i = 0; i < 60; i++) {
    const u = (low + high) / 2;
    if (Math.log(2 * sigmoid(u)) - u * sigmoid(-u) < rho) low = u; else high = u;
  }
  return low;
}

function tisRatio({ logp, ref, reward = logp.map(() => 0) }, mu, how) {             // TIS-DPO: tokens weigh by r_t
  const x = reward.map((r) => mu * r), n = x.length, below = (v) => x.filter((o) => o < v).length;
  const rank = (v) => (n > 1 ? (below(v) + (x.filter((o) => o === v).length - 1) / 2) / (n - 1) : 0.5);
  const weigh = { paper: (v, r) => Math.exp(mu * Math.min(1.5, Math.max(-0.5, r))),
    rank_based: (v) => 0.7 + 0.6 * rank(v) }[how];
  return sum(logp.map((l, t) => l.minus(ref[t]).times(weigh(x[t], reward[t]))));
}

function rpoWeights(b, { form, temperature, diagonal_weight: own }) {               // (B,B)
  const B = b.rows.length, dot = (x, y) => total(x.map((v, i) => v * y[i]));
  const unit = b.rows.map(({ reading: e = [1] }) => e.map((v) => v / Math.sqrt(dot(e, e))));
  return b.rows.map((_, i) => {
    if (form === "diagonal") return b.rows.map((_, j) => (B === 1 ? 1 : i === j ? own : (1 - own) / (B - 1)));
    const near = unit.map((e) => Math.exp((dot(e, unit[i]) - 1) / temperature));
    return near.map((x) => x / total(near));
  });
}

// ---- what the model's samples have earned: constants of the step ------------------------------------------------
const earn = (b, advantages) => b.rows.forEach((row, i) => { row.adv = advantages[i]; });
const rewards = (b, beta) => b.rows.map(({ seqs: { answer: s }, reward }) =>        // the score minus its KL penalty
  reward - beta * total(s.old.map((x, t) => x - s.ref[t])));
const groups = (b, xs, f) => {                                  // f of the numbers of each prompt's K answers
  const K = xs.length / b.prompts;
  return xs.flatMap((_, i) => (i % K ? [] : f(xs.slice(i, i + K), i)));
};
const rhos = ({ logp, old }) => logp.map((x, t) => x.minus(old[t]));                // log pi/pi_old
const clipped = (log, adv, low, high) => {
  const rho = log.clamp(-20, 20).exp();
  return rho.times(adv).least(rho.clamp(1 - low, 1 + high).times(adv)).neg();
};
const k3 = (x) => { const near = x.clamp(-Infinity, 20); return near.exp().minus(near).minus(1); };

function ppoCredit(b, { beta, end_penalty, gamma, lam }) {  // the critic of this page expects 0 everywhere
  const returns = b.rows.map(({ seqs: { answer: { old, ref } }, reward, ended }) => {
    const adv = [];
    for (let t = old.length - 1, later = 0; t >= 0; t--) {
      const k1 = old[t] - ref[t], end = t === old.length - 1 ? reward - end_penalty * (1 - ended) : 0;
      adv[t] = later = end - beta * k1 + gamma * lam * later;
    }
    return adv;
  });
  const all = returns.flat(), scale = Math.sqrt((all.length > 1 ? spread(all) ** 2 : 0) + 1e-8);
  b.rows.forEach((row, i) => { row.returns = returns[i]; });
  earn(b, returns.map((adv) => adv.map((a) => (a - average(all)) / scale)));
}

function grpoLosses(s, adv, { surrogate, eps, eps_high, beta }) {
  const high = eps_high ?? eps, moved = surrogate === "gspo" ? s.logp.map(() => mean(rhos(s))) : rhos(s);
  return moved.map((log, t) => {
    const held = Math.min(1 + high, Math.max(1 - eps, Math.exp(log.value)));
    const gain = surrogate === "cispo" ? s.logp[t].times(-held * adv) : clipped(log, adv, eps, high);
    return gain.plus(k3(num(s.ref[t]).minus(s.logp[t])).times(beta));
  });
}

function bestAndWorst(b) {                                      // one pair of each prompt's answers
  b.rows = groups(b, b.rows, (rows) => {
    const R = rows.map((row) => row.reward), best = R.indexOf(Math.max(...R)), low = R.indexOf(Math.min(...R));
    const chosen = rows[best].seqs.answer, rejected = rows[low === best ? (best + 1) % R.length : low].seqs.answer;
    return [{ seqs: { chosen, rejected }, untied: +(R[best] > R[low]) }];
  });
}

// ---- the objectives: loss(batch, settings); `how` the model reads; `credit`: who earned the reward? -----------------
const answer = (loss, how) => ({ needs: "answer", loss, how });
const pair = (loss) => ({ needs: "pair", loss: (b, hp) =>
  each(b, ({ chosen, rejected }, row) => loss(chosen, rejected, hp, row)) });
const implicit = (loss) => pair((w, l, hp, row) => loss(ratio(w).times(hp.beta), ratio(l).times(hp.beta), hp, row));
const imitating = (role, loss) => ({ needs: "pair", gold: role === "gold", loss: (b, hp) =>
  pair(loss).loss(b, hp).plus(nll(b, role).times(hp.alpha)) });
const sampled = (credit, loss, more) => ({ needs: "sampled", credit, loss, ...more });

const objectives = {
  sft: answer((b, hp) => (hp.reduction === "token" ? nll(b, "answer")
    : each(b, ({ answer }) => mean(answer.logp).neg())), (hp) => ({ frozen: hp.detach_embeddings })),
  ift: answer((b, hp) => each(b, ({ answer }) => {
    const nll = answer.logp.map((x) => x.neg()), w = iftWeights(nll, hp), paid = nll.map((x, t) => x.times(w[t]));
    return ["algorithm1", "eq21"].includes(hp.variant) ? sum(paid) : mean(paid);
  }), (hp) => ({ lam: hp.lam, frozen: true })),
  dft: answer((b) => tokenMean(b, "answer", ({ logp }) => logp.map((x) => x.times(-Math.exp(x.value))))),
  neftune: answer((b) => nll(b, "answer"), (hp) => ({ noise: hp.alpha })),
  tofu: answer((b, { gamma, beta }) => tokenMean(b, "answer", ({ logp, plain }) => logp.map((x, t) => {
    const p = Math.exp(plain[t]), rest = -Math.expm1(plain[t]);
    return x.times(-beta * (gamma ? rest ** gamma - gamma * p * plain[t] * rest ** (gamma - 1) : 1));
  })), (hp) => ({ temperature: hp.beta })),
  poft: answer((b, { beta, margin }) => each(b, ({ answer: { logp, ref } }, { aligned = average(ref) }) =>
    mean(logp).minus(aligned).times(beta).plus(margin).logsigmoid().neg())),
  sftmix: { needs: "mix", loss: (b, { mu }) => {
    const both = b.rows.flatMap(({ seqs: { sure, unsure } }) => [...sure.logp, ...unsure.logp]);
    const mix = ({ mix_sure: x, mix_unsure: y }) => mean(x.logp).times(x.share).plus(mean(y.logp).times(y.share)).neg();
    return mu ? mean(both).neg().plus(each(b, mix).times(mu)) : mean(both).neg();
  } },

  dpo: pair((w, l, hp) => dpo(...(hp.swap ? [l, w] : [w, l]), hp.beta, hp.label_smoothing, hp.reduction)),
  robust_dpo: pair((w, l, { beta, label_smoothing: e }) =>
    dpo(w, l, beta).times(1 - e).minus(dpo(l, w, beta).times(e)).over(1 - 2 * e)),
  ipo: pair((w, l, { beta, reduction }) =>
    reduced(w, reduction).minus(reduced(l, reduction)).minus(1 / (2 * beta)).square()),
  hinge: implicit((w, l) => num(1).minus(w.minus(l)).relu()),
  apo: implicit((w, l, { form }) => (form === "zero" ? w.neg().sigmoid().plus(l.sigmoid())
    : w.sigmoid().plus(l.minus(w).sigmoid()))),
  nca: implicit((w, l) => w.logsigmoid().plus(w.neg().logsigmoid().plus(l.neg().logsigmoid()).over(2)).neg()),
  sppo: pair((w, l, { beta }) => ratio(w).minus(1 / (2 * beta)).square().plus(ratio(l).plus(1 / (2 * beta)).square())),
  gdpo: implicit((w, l, hp, { p = 1 }) => smooth(w.minus(l).times(2 * p - 1))),
  ada_dpo: implicit((w, l, { rho, tau_min, tau_max }) => {
    const z = w.minus(l), tau = Math.min(tau_max, Math.max(tau_min, Math.abs(z.value) / adaRoot(rho)));
    return smooth(z.over(tau)).times(tau);
  }),
  tis_dpo: pair((w, l, { beta, weights: how }) => smooth(tisRatio(w, 1, how).minus(tisRatio(l, -1, how)).times(beta))),
  rpo: { needs: "pair", how: (hp) => ({ reading: hp.form === "paired" }), loss: (b, { form, beta, ...hp }) => {
    const W = rpoWeights(b, { form, ...hp }), bad = b.rows.map(({ seqs }) => ratio(seqs.rejected));
    const margins = b.rows.map(({ seqs }) => bad.map((l) => ratio(seqs.chosen).minus(l).times(beta)));
    return mean(margins.map((row, i) => (form === "paired" ? mean(row.map((M, j) => smooth(M.times(W[i][j]))))
      : sum(row.map((M, j) => smooth(M).times(W[i][j]))))));
  } },
  orpo: { needs: "pair", how: () => ({ whole: "chosen" }), loss: (b, hp) =>
    mean(b.rows.flatMap(({ seqs: { chosen } }) => [...chosen.before, ...chosen.logp])).neg()
      .plus(each(b, ({ chosen: w, rejected: l }) => smooth(logOdds(w).minus(logOdds(l)))).times(hp.lam)) },
  asft: pair((w, l, { lam, sft_weight, beta }) => mean(w.logp).times(-sft_weight)
    .plus(smooth(logOdds(w).times(beta)).plus(smooth(logOdds(l).times(-beta))).times(lam))),
  cpo: imitating("chosen", cpo),
  simpo: imitating("chosen", simpo),
  tpo: imitating("gold", cpo),
  tpo_l: imitating("gold", simpo),
  slic: { needs: "pair", loss: (b, hp) => (hp.form === "paper"
    ? pair(({ logp: w }, { logp: l }) => num(hp.delta).minus(sum(w)).plus(sum(l)).relu().minus(sum(w).times(hp.lam)))
    : imitating("chosen", (w, l, { beta }) => num(1).minus(sum(w.logp).minus(sum(l.logp)).times(beta)).relu()))
    .loss(b, hp) },

  una: { needs: "graded", loss: una },
  uft: { needs: "graded", loss: una },
  kto: { needs: "graded", mismatch: true, loss: (b, { beta, desirable_weight: up, undesirable_weight: down }) => {
    const k = Math.max(0, each(b, ({ mismatch }) => ratio(mismatch)).value);       // a constant of the step
    return each(b, ({ answer: s }, { label }) => (label ? ratio(s).minus(k).times(-beta).sigmoid().times(up)
      : ratio(s).minus(k).times(beta).sigmoid().times(down)));
  } },

  reinforce: sampled((b, { beta, baseline }) => {
    const R = rewards(b, beta);
    earn(b, R.map((r) => (baseline === "mean" ? r - average(R) : r)));
  }, (b) => each(b, ({ answer }, { adv }) => sum(answer.logp).times(-adv))),
  rloo: sampled((b, { beta }) => earn(b, groups(b, rewards(b, beta), (R) =>
    R.map((r) => r - (total(R) - r) / (R.length - 1)))), (b, { eps }) => each(b, ({ answer }, { adv }) => clipped(sum(rhos(answer)), adv, eps, eps))),
  grpo: sampled((b, { scale }) => earn(b, groups(b, b.rows.map((row) => row.reward), (R) =>
    R.map((r) => (r - average(R)) / (scale === "group" ? spread(R) + 1e-4 : 1)))), (b, hp) => {
    if (hp.aggregation === "grpo") return each(b, ({ answer }, { adv }) => mean(grpoLosses(answer, adv, hp)));
    const dapo = tokenMean(b, "answer", (s, { adv }) => grpoLosses(s, adv, hp));
    return hp.aggregation === "dapo" ? dapo : dapo.times(tokens(b, "answer") / (b.rows.length * hp.length));
  }),
  ppo: sampled(ppoCredit, (b, { eps, vf }) => tokenMean(b, "answer", (s, { adv, returns }) =>
    rhos(s).map((log, t) => clipped(log, adv[t], eps, eps).plus(vf * returns[t] ** 2 / 2)))),
  online_dpo: sampled(bestAndWorst, (b, { beta }) => each(b, ({ chosen, rejected }, { untied }) =>
    dpo(chosen, rejected, beta).times(untied))),
  online_una: sampled(() => {}, (b, { against, beta, loss }) => each(b, ({ answer: s }, { reward }) =>
    scoreLoss(ratio(s, against === "rollout" ? s.old : s.ref).times(beta), reward, loss))),
  distill: sampled((b) => earn(b, b.rows.map(({ seqs: { answer: s } }) => s.ref.map((x, t) => x - s.old[t]))),
    (b) => tokenMean(b, "answer", ({ logp }, { adv }) => logp.map((x, t) => x.times(-adv[t]))), { taught: true }),
};

// ---- from rows to batches -------------------------------------------------------------------------------------------
/* Which sequences stand together, by what an objective needs. A row is {prompt, answer, rejected, scores: [of both]};
   with sampled answers {prompt, drawn: [{answer, reward, ended, old}]}; without `old` they were sampled just now. */
const seq = (role, { prompt }, answer) => ({ role, prompt, answer });
const ARRANGE = {
  answer: (row) => [{ seqs: { answer: seq("answer", row, row.answer) } }],
  pair(row, next, { gold }) {
    const seqs = { chosen: seq("chosen", row, row.answer), rejected: seq("rejected", row, row.rejected) };
    if (gold) seqs.gold = seq("gold", row, row.answer);
    return [{ seqs, p: (1 + row.scores[0] - row.scores[1]) / 2 }];
  },
  graded: (row, next, { mismatch }) => [row.answer, row.rejected].map((answer, i) => {
    const seqs = { answer: seq("answer", row, answer) };
    if (mismatch) seqs.mismatch = seq("mismatch", row, next.answer);
    return { seqs, label: 1 - i, score: row.scores[i] };
  }),
  sampled: (row) => row.drawn.map((drawn) => ({ ...drawn,
    seqs: { answer: { ...seq("answer", row, drawn.answer), old: drawn.old } } })),
  mix(row, next, objective, random) {                           // SFTMix: a row and the next one, and their mixture
    const sure = seq("sure", row, row.answer), unsure = seq("unsure", next, next.answer);
    const lam = row.lam ?? Math.sin(random() * Math.PI / 2) ** 2, n = Math.min(row.answer.length, next.answer.length);
    const mixed = (s, share) => ({ ...s, answer: s.answer.slice(0, n), share, lam, mix: [sure, unsure] });
    return [{ seqs: { sure, unsure, mix_sure: mixed(sure, lam), mix_unsure: mixed(unsure, 1 - lam) } }];
  },
};

function arrange(objective, rows, random = Math.random) {
  const use = objective.needs === "mix" && rows.length > 1 ? rows.filter((_, k) => k % 2 === 0) : rows;
  const next = (row) => (rows.length > 1 ? rows[(rows.indexOf(row) + 1) % rows.length] : row.other || row);
  const out = use.flatMap((row) => ARRANGE[objective.needs](row, next(row), objective, random));
  return { prompts: rows.length, rows: out };
}

/* The exact score of an answer to a list: five checks, as in nanouft/world/skills.py. */
function score({ count, words, without, last }, answer, { pieces, config }) {
  const said = answer.filter((id) => id !== config.end).map((id) => pieces[id]).join("").split(/\s+/).filter(Boolean);
  const closed = said.at(-1) === last, items = closed ? said.slice(0, -1) : said;
  if (!items.length) return closed / 5;
  return (closed + items.every((w) => words.includes(w)) + (items.length === count)
    + (new Set(items).size === items.length) + !items.some((w) => without.includes(w))) / 5;
}

// ---- slopes ---------------------------------------------------------------------------------------------------------
/* The loss of a batch; what the model has read (`picks`, one a token) gets its slope, dL/dlogp. */
function backward(name, hp, batch) {
  const live = (s) => ({ ...s, logp: s.logp.map((x) => num(x)), before: s.before.map((x) => num(x)) });
  const rows = batch.rows.map((row) => ({ ...row, seqs: Object.fromEntries(
    Object.entries(row.seqs).map(([role, s]) => [role, live(s)])) }));
  const loss = objectives[name].loss({ ...batch, rows }, hp);
  loss.backward();
  for (const { seqs } of rows) for (const { before, logp, picks } of Object.values(seqs)) {
    [...before, ...logp].forEach((x, t) => { picks[t].slope = x.slope; });
  }
  return loss.value;
}

/* {loss, roles: [{role, tokens, p, pushes}]}, and for sampled answers also {reward, adv, logp, old, ref}. A push is
   -dL/dlogp times the tokens of the batch (of all answers, or of all chosen ones): token-mean SFT is +1 everywhere. */
function pushes(name, hp, batch) {
  const loss = backward(name, hp, batch), n = total(batch.rows.map(({ seqs }) => Object.values(seqs)[0].logp.length));
  const called = (role, label) => (role === "answer" ? ["bad answer", "good answer"][label] || role : role);
  const roles = batch.rows.flatMap(({ seqs, label, reward, adv }) => Object.entries(seqs).map(([role, s]) => ({
    role: called(role, label), tokens: s.answer, p: s.logp.map(Math.exp),
    pushes: s.picks.slice(s.before.length).map(({ slope }) => -slope * n),
    ...(reward !== undefined && { reward, adv, logp: s.logp, old: s.old, ref: s.ref }) })));
  return { loss, roles: roles.filter(({ role }) => role !== "mismatch") };
}

if (typeof module !== "undefined") module.exports = { objectives, arrange, pushes, backward, score };
