"use strict";
/* Every objective as a function of log-probs: the losses of nanouft/objectives, line by line.

     arrange(objective, rows, hp)        // which sequences it wants to see together -> {rows: [{seqs, ...known}]}
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
  map(value, slope) { return new Num(value, [[this, slope]]); }
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
const tokenMean = (b, role, loss) => sum(b.rows.map(({ seqs }) => sum(loss(seqs[role])))).over(tokens(b, role));
const nll = (b, role) => tokenMean(b, role, ({ logp }) => logp.map((x) => x.neg()));
const ratio = (s, from = s.ref) => sum(s.logp.map((x, t) => x.minus(from[t])));     // log pi/pi_ref of the answer
const dpo = (w, l, beta, eps = 0) => smooth(ratio(w).minus(ratio(l)).times(beta), eps);
const smooth = (h, eps) => h.logsigmoid().times(eps - 1).minus(h.neg().logsigmoid().times(eps));
const logOdds = ({ logp }) => { const A = mean(logp).clamp(-Infinity, -1e-6); return A.minus(A.log1mexp()); };
const scoreLoss = (i, score, form) => (form === "mse" ? i.sigmoid().minus(score).square()
  : i.logsigmoid().times(-score).minus(i.neg().logsigmoid().times(1 - score)));

const total = (xs) => xs.reduce((a, b) => a + b, 0);
const average = (xs) => total(xs) / xs.length;
const spread = (xs) => Math.sqrt(total(xs.map((x) => (x - average(xs)) ** 2)) / (xs.length - 1));      // Bessel's
const k3 = (x) => x.clamp(-Infinity, 20).exp().minus(x.clamp(-Infinity, 20)).minus(1);
const rhos = ({ logp, old }) => logp.map((x, t) => x.minus(old[t]));
const clipped = (rho, adv, low, high) => rho.times(adv).least(rho.clamp(1 - low, 1 + high).times(adv)).neg();
const rewards = (b, beta) => b.rows.map(({ seqs: { answer: s }, reward }) =>        // the score minus its KL penalty
  reward - beta * total(s.old.map((x, t) => x - s.ref[t])));
const groups = (b, xs, f) => {                                  // f of the numbers of each prompt's answers
  const K = b.rows.length / b.prompts;
  return xs.flatMap((_, i) => (i % K ? [] : f(xs.slice(i, i + K))));
};
const earn = (b, advantages) => b.rows.forEach((row, i) => { row.adv = advantages[i]; });

// ---- IFT ------------------------------------------------------------------------------------------------------------
function futureSum(xs, gamma) {                                 // sum over k >= t of gamma^(k-t) x_k
  const out = [];
  for (let t = xs.length - 1, later = num(0); t >= 0; t--) out[t] = later = xs[t].plus(later.times(gamma));
  return out;
}

function iftWeights(nll, { variant, gamma, detach }) {
  const N = nll.length, seen = detach || variant === "detached" ? nll.map((x) => num(x.value)) : nll;
  if (variant === "algorithm1") return futureSum(seen, 1).map((x, t) => x.times(gamma ** (N - 1 - t)));
  if (variant === "eq21") return nll.map((_, t) => num(t + 1));
  const w = variant === "eq21_mean1" ? nll.map((_, t) => num(t + 1))
    : gamma > 0 ? futureSum(seen, gamma) : nll.map(() => num(1));
  return sum(w).value > 0 ? w.map((x) => x.times(N).over(sum(w))) : nll.map(() => num(1));      // mean 1
}

// ---- numbers that single methods want ---------------------------------------------------------------------------------
function adaRoot(rho) {                                         // u > 0 with log(2 sigmoid(u)) - u sigmoid(-u) = rho
  let low = 0, high = 100;
  for (let i = 0; i < 60; i++) {
    const u = (low + high) / 2;
    if (Math.log(2 * sigmoid(u)) - u * sigmoid(-u) < rho) low = u; else high = u;
  }
  return low;
}

function tisWeights({ logp, reward = logp.map(() => 0) }, mu, how) {                // TIS-DPO: constants of r_t
  const x = reward.map((r) => mu * r), n = x.length;
  if (how === "paper") return reward.map((r) => Math.exp(mu * Math.min(1.5, Math.max(-0.5, r))));
  if (how === "ones" || n === 1) return x.map(() => 1);
  const rank = (v) => (x.filter((o) => o < v).length + (x.filter((o) => o === v).length - 1) / 2) / (n - 1);
  return x.map((v) => 0.7 + 0.6 * rank(v));
}

function rpoWeights(b, { form, temperature, diagonal_weight: own }) {               // (B,B)
  const B = b.rows.length, e = b.rows.map((row) => row.reading), dot = (x, y) => total(x.map((v, i) => v * y[i]));
  return b.rows.map((_, i) => {
    if (form === "diagonal") return b.rows.map((_, j) => (B === 1 ? 1 : i === j ? own : (1 - own) / (B - 1)));
    const near = e.map((x) => Math.exp((dot(e[i], x) / Math.sqrt(dot(e[i], e[i]) * dot(x, x)) - 1) / temperature));
    return near.map((x) => x / total(near));
  });
}

function gae(R, { gamma, lam }) {                               // PPO: the critic of this page expects 0 everywhere
  const adv = [];
  for (let t = R.length - 1, later = 0; t >= 0; t--) adv[t] = later = R[t] + gamma * lam * later;
  return adv;
}

// ---- the objectives: loss(batch, settings); how the model reads; who earned the reward --------------------------------
const pair = (loss, more = {}) => ({ needs: "pair", loss: (b, hp) => each(b, ({ chosen, rejected, gold }, row) =>
  loss(chosen, rejected, hp, row)), ...more });
const implicit = (loss, more) => pair((w, l, hp, row) => loss(ratio(w).times(hp.beta), ratio(l).times(hp.beta), hp, row), more);
const answer = (loss, more = {}) => ({ needs: "answer", loss, ...more });
const graded = (loss, more = {}) => ({ needs: "graded", loss, ...more });
const sampled = (credit, loss) => ({ needs: "sampled", credit, loss });
const policyGradient = (b) => each(b, ({ answer }, { adv }) => sum(answer.logp).times(-adv));
const withNll = (role, loss) => ({ ...loss, gold: role === "gold",
  loss: (b, hp) => loss.loss(b, hp).plus(nll(b, role).times(hp.alpha)) });
const simpo = ({ logp: w }, { logp: l }, { beta, gamma, label_smoothing = 0 }) =>
  smooth(mean(w).times(beta).minus(mean(l).times(beta)).minus(gamma), label_smoothing);
const cpo = ({ logp: w }, { logp: l }, { beta }) => sum(w).minus(sum(l)).times(beta).logsigmoid().neg();

const objectives = {
  sft: answer((b, hp) => (hp.reduction === "token" ? nll(b, "answer") : each(b, ({ answer }) => mean(answer.logp).neg())),
    { how: (hp) => ({ frozen: hp.detach_embeddings }) }),
  ift: answer((b, hp) => each(b, ({ answer }) => {
    const nll = answer.logp.map((x) => x.neg()), w = iftWeights(nll, hp), paid = nll.map((x, t) => x.times(w[t]));
    return ["algorithm1", "eq21"].includes(hp.variant) ? sum(paid) : mean(paid);
  }), { how: (hp) => ({ lam: hp.lam, frozen: true }) }),
  dft: answer((b) => tokenMean(b, "answer", ({ logp }) => logp.map((x) => x.times(-Math.exp(x.value))))),
  neftune: answer((b) => nll(b, "answer"), { how: (hp) => ({ noise: hp.alpha }) }),
  tofu: answer((b, hp) => tokenMean(b, "answer", ({ logp, plain }) => logp.map((x, t) => {
    const p = Math.exp(plain[t]), rest = -Math.expm1(plain[t]), g = hp.gamma;
    return x.times(-hp.beta * (g === 0 ? 1 : rest ** g - g * p * plain[t] * rest ** (g - 1)));
  })), { how: (hp) => ({ temperature: hp.beta }) }),
  poft: answer((b, hp) => each(b, ({ answer: { logp, ref } }, { aligned = average(ref) }) =>
    mean(logp).minus(aligned).times(hp.beta).plus(hp.margin).logsigmoid().neg())),
  sftmix: answer((b, hp) => {
    const n = tokens(b, "sure") + tokens(b, "unsure");
    const sft = nll(b, "sure").times(tokens(b, "sure")).plus(nll(b, "unsure").times(tokens(b, "unsure"))).over(n);
    if (hp.mu === 0) return sft;
    return sft.plus(each(b, ({ mix_sure: x, mix_unsure: y }) =>
      mean(x.logp).times(x.share).plus(mean(y.logp).times(y.share)).neg()).times(hp.mu));
  }, { mix: true }),

  dpo: pair((w, l, hp) => dpo(...(hp.swap ? [l, w] : [w, l]), hp.beta, hp.label_smoothing)),
  robust_dpo: pair((w, l, { beta, label_smoothing: e }) =>
    dpo(w, l, beta).times(1 - e).minus(dpo(l, w, beta).times(e)).over(1 - 2 * e)),
  ipo: pair((w, l, { beta, reduction }) => {
    const [x, y] = [w, l].map((s) => ratio(s).over(reduction === "mean" ? s.logp.length : 1));
    return x.minus(y).minus(1 / (2 * beta)).square();
  }),
  hinge: implicit((w, l) => num(1).minus(w.minus(l)).relu()),
  apo: implicit((w, l, { form }) => (form === "zero" ? w.neg().sigmoid().plus(l.sigmoid())
    : w.sigmoid().plus(l.minus(w).sigmoid()))),
  nca: implicit((w, l) => w.logsigmoid().plus(w.neg().logsigmoid().plus(l.neg().logsigmoid()).over(2)).neg()),
  sppo: pair((w, l, { beta }) => ratio(w).minus(1 / (2 * beta)).square().plus(ratio(l).plus(1 / (2 * beta)).square())),
  gdpo: implicit((w, l, hp, { p = 1 }) => w.minus(l).times(2 * p - 1).logsigmoid().neg()),
  ada_dpo: implicit((w, l, { rho, tau_min, tau_max }) => {
    const z = w.minus(l), tau = Math.min(tau_max, Math.max(tau_min, Math.abs(z.value) / adaRoot(rho)));
    return z.over(tau).logsigmoid().times(-tau);
  }),
  tis_dpo: pair((w, l, { beta, weights }) => {
    const [u, v] = [[w, 1], [l, -1]].map(([s, mu]) => {
      const weight = tisWeights(s, mu, weights);
      return sum(s.logp.map((x, t) => x.minus(s.ref[t]).times(weight[t])));
    });
    return u.minus(v).times(beta).logsigmoid().neg();
  }),
  rpo: { needs: "pair", how: (hp) => ({ reading: hp.form === "paired" }), loss: (b, hp) => {
    const W = rpoWeights(b, hp), good = b.rows.map(({ seqs }) => ratio(seqs.chosen));
    const bad = b.rows.map(({ seqs }) => ratio(seqs.rejected)), inside = hp.form === "paired";
    return mean(good.map((w, i) => sum(bad.map((l, j) =>
      w.minus(l).times(hp.beta * (inside ? W[i][j] : 1)).logsigmoid().times(inside ? -1 / bad.length : -W[i][j])))));
  } },
  orpo: { needs: "pair", how: (hp) => ({ whole: hp.nll === "all" ? "chosen" : "" }), loss: (b, hp) => {
    const read = b.rows.map(({ seqs: { chosen } }) => [...chosen.before, ...chosen.logp]).flat();
    return mean(read).neg().plus(each(b, ({ chosen, rejected }) =>
      logOdds(chosen).minus(logOdds(rejected)).logsigmoid()).times(-hp.lam));
  } },
  asft: pair((w, l, { lam, sft_weight, beta }) => mean(w.logp).times(-sft_weight).minus(
    logOdds(w).times(beta).logsigmoid().plus(logOdds(l).times(-beta).logsigmoid()).times(lam))),
  cpo: withNll("chosen", pair(cpo)),
  simpo: withNll("chosen", pair(simpo)),
  tpo: withNll("gold", pair(cpo)),
  tpo_l: withNll("gold", pair(simpo)),
  slic: { needs: "pair", loss: (b, hp) => (hp.form === "paper"
    ? each(b, ({ chosen: w, rejected: l }) => num(hp.delta).minus(sum(w.logp)).plus(sum(l.logp)).relu()
      .minus(sum(w.logp).times(hp.lam)))
    : each(b, ({ chosen: w, rejected: l }) => num(1).minus(sum(w.logp).minus(sum(l.logp)).times(hp.beta)).relu())
      .plus(nll(b, "chosen").times(hp.alpha))) },

  una: graded((b, hp) => each(b, ({ answer }, { score }) => scoreLoss(ratio(answer).times(hp.beta), score, hp.loss))),
  uft: graded((b, hp) => each(b, ({ answer }, { score }) => scoreLoss(ratio(answer).times(hp.beta), score, hp.loss))),
  kto: graded((b, hp) => {
    const k = Math.max(0, each(b, ({ mismatch }) => ratio(mismatch)).value);       // a constant of the step
    return each(b, ({ answer }, { label }) => (label ? ratio(answer).minus(k).times(-hp.beta).sigmoid().times(hp.desirable_weight)
      : ratio(answer).minus(k).times(hp.beta).sigmoid().times(hp.undesirable_weight)));
  }, { mismatch: true }),

  reinforce: sampled((b, hp) => {
    const R = rewards(b, hp.beta);
    earn(b, R.map((r) => r - (hp.baseline === "mean" ? average(R) : 0)));
  }, policyGradient),
  rloo: sampled((b, hp) => {
    const adv = groups(b, rewards(b, hp.beta), (R) => R.map((r) => r - (total(R) - r) / (R.length - 1)));
    earn(b, hp.normalize ? adv.map((a) => (a - average(adv)) / (spread(adv) + 1e-4)) : adv);
  }, (b, { eps }) => each(b, ({ answer }, { adv }) => clipped(sum(rhos(answer)).clamp(-20, 20).exp(), adv, eps, eps))),
  grpo: sampled((b, hp) => earn(b, groups(b, b.rows.map((row) => row.reward), (R) =>
    R.map((r) => (r - average(R)) / (hp.scale === "group" ? spread(R) + 1e-4 : 1)))), (b, hp) => {
    const high = hp.eps_high ?? hp.eps, tokenLosses = (s, adv) => {
      const moved = hp.surrogate === "gspo" ? s.logp.map(() => mean(rhos(s))) : rhos(s);
      return moved.map((m, t) => {
        const rho = m.clamp(-20, 20).exp(), held = Math.min(1 + high, Math.max(1 - hp.eps, rho.value));
        const gain = hp.surrogate === "cispo" ? s.logp[t].times(-held * adv) : clipped(rho, adv, hp.eps, high);
        return gain.plus(k3(num(s.ref[t]).minus(s.logp[t])).times(hp.beta));
      });
    };
    if (hp.aggregation === "grpo") return each(b, ({ answer }, { adv }) => mean(tokenLosses(answer, adv)));
    const all = sum(b.rows.map(({ seqs, adv }) => sum(tokenLosses(seqs.answer, adv))));
    return all.over(hp.aggregation === "dapo" ? tokens(b, "answer") : b.rows.length * hp.length);
  }),
  ppo: sampled((b, hp) => {
    const adv = b.rows.map(({ seqs: { answer: s }, reward, ended }) => gae(s.old.map((x, t) => {
      const k1 = x - s.ref[t], last = t === s.old.length - 1;
      const penalty = hp.kl === "k1" ? k1 : k3(num(-k1)).value;
      return -hp.beta * penalty + (last ? reward - hp.end_penalty * (1 - ended) : 0);
    }), hp));
    const all = adv.flat(), middle = average(all), width = all.length > 1 ? spread(all) : 0;
    b.rows.forEach((row, i) => Object.assign(row, { returns: adv[i],
      adv: adv[i].map((a) => (a - middle) / Math.sqrt(width ** 2 + 1e-8)) }));
  }, (b, hp) => {
    const n = tokens(b, "answer"), value = total(b.rows.flatMap(({ returns }) => returns.map((r) => 0.5 * r * r))) / n;
    return sum(b.rows.map(({ seqs: { answer }, adv }) => sum(rhos(answer).map((m, t) =>
      clipped(m.clamp(-20, 20).exp(), adv[t], hp.eps, hp.eps))))).over(n).plus(hp.vf * value);
  }),
  online_dpo: { ...sampled((b) => {
    const K = b.rows.length / b.prompts, pairs = [];
    for (let i = 0; i < b.rows.length; i += K) {
      const R = b.rows.slice(i, i + K).map((row) => row.reward), best = R.indexOf(Math.max(...R));
      const worst = R.every((r) => r === R[0]) ? (best + 1) % K : R.indexOf(Math.min(...R));
      const [chosen, rejected] = [[best, "chosen"], [worst, "rejected"]].map(([k, role]) =>
        ({ ...b.rows[i + k].seqs.answer, role }));
      pairs.push({ seqs: { chosen, rejected }, untied: +(R[best] > R[worst]) });
    }
    b.rows = pairs;
  }), loss: (b, hp) => each(b, ({ chosen, rejected }, { untied }) => dpo(chosen, rejected, hp.beta).times(untied)) },
  online_una: sampled(() => {}, (b, hp) => each(b, ({ answer: s }, { reward }) =>
    scoreLoss(ratio(s, hp.against === "rollout" ? s.old : s.ref).times(hp.beta), reward, hp.loss))),
  distill: sampled((b) => earn(b, b.rows.map(({ seqs: { answer: s } }) => s.ref.map((x, t) => x - s.old[t]))), (b) =>
    sum(b.rows.map(({ seqs, adv }) => sum(seqs.answer.logp.map((x, t) => x.times(-adv[t]))))).over(tokens(b, "answer"))),
};

// ---- from rows to batches -----------------------------------------------------------------------------------------------
/* Which sequences stand together. A row is {prompt, answer, rejected, score}: the score of the rejected answer, from 0
   to 1. Of a sampled row {drawn: [{answer, reward, ended}]}; without it, the answer and the rejected one were drawn. */
function arrange(objective, rows, hp, random = Math.random) {
  const seq = (role, row, answer = row.answer) => ({ role, prompt: row.prompt, answer });
  const out = rows.flatMap((row, k) => {
    if (objective.mix) {
      if (k % 2 && rows.length > 1) return [];
      const a = seq("sure", row), b = seq("unsure", rows[k + 1] || row), lam = row.lam ?? Math.sin(random() * Math.PI / 2) ** 2;
      const n = Math.min(a.answer.length, b.answer.length);
      const mixed = (role, s, share) => ({ role, mix: [a, b], lam, share, answer: s.answer.slice(0, n), prompt: s.prompt });
      const seqs = { sure: a, unsure: b };
      if (hp.mu > 0) Object.assign(seqs, { mix_sure: mixed("mix_sure", a, lam), mix_unsure: mixed("mix_unsure", b, 1 - lam) });
      return [{ seqs }];
    }
    if (objective.needs === "answer") return [{ seqs: { answer: seq("answer", row) } }];
    if (objective.needs === "pair") {
      const seqs = { chosen: seq("chosen", row), rejected: seq("rejected", row, row.rejected) };
      if (objective.gold) seqs.gold = seq("gold", row);
      return [{ seqs, p: row.score === undefined ? 1 : (2 - row.score) / 2 }];
    }
    if (objective.needs === "sampled") return row.drawn.map(({ answer, ...earned }) => ({ seqs: { answer: seq("answer", row, answer) }, ...earned }));
    return [[row.answer, 1, 1], [row.rejected, 0, row.score ?? 0]].map(([answer, label, score]) => {
      const seqs = { answer: seq("answer", row, answer) };
      if (objective.mismatch) seqs.mismatch = seq("mismatch", row, rows.length > 1 ? rows[(k + 1) % rows.length].answer : row.other);
      return { seqs, label, score };
    });
  });
  return { rows: out, prompts: rows.length };
}

/* The exact score of an answer to a list: five checks, as in nanouft/world/skills.py. */
function score({ count, words, without, last }, answer, { pieces, config }) {
  const said = answer.filter((id) => id !== config.end).map((id) => pieces[id]).join("").split(/\s+/).filter(Boolean);
  const closed = said.at(-1) === last, items = closed ? said.slice(0, -1) : said;
  if (!items.length) return closed / 5;
  return (closed + items.every((w) => words.includes(w)) + (items.length === count)
    + (new Set(items).size === items.length) + !items.some((w) => without.includes(w))) / 5;
}

// ---- slopes ---------------------------------------------------------------------------------------------------------------
/* The loss of a batch; every pick of the model gets its slope, dL/dlogp. */
function backward(name, hp, batch) {
  const live = { ...batch, rows: batch.rows.map((row) => ({ ...row, seqs: Object.fromEntries(Object.entries(row.seqs).map(
    ([role, s]) => [role, { ...s, logp: s.logp.map((x) => new Num(x)), before: (s.before || []).map((x) => new Num(x)) }])) })) };
  const loss = objectives[name].loss(live, hp);
  loss.backward();
  live.rows.forEach(({ seqs }, k) => Object.entries(seqs).forEach(([role, { before, logp, picks = [] }]) => {
    batch.rows[k].seqs[role].slopes = logp.map((x) => x.slope);
    [...before, ...logp].forEach((x, t) => { if (picks[t]) picks[t].slope = x.slope; });
  }));
  return loss.value;
}

/* {loss, roles: [{role, pushes, p}]}. A push is -dL/dlogp times the tokens of the first answer (and the rows): so
   token-mean SFT is +1 everywhere. */
function pushes(name, hp, batch) {
  const loss = backward(name, hp, batch), n = Object.values(batch.rows[0].seqs)[0].logp.length * batch.rows.length;
  const roles = batch.rows.flatMap(({ seqs, label, reward }) => Object.entries(seqs).filter(([role]) => role !== "mismatch")
    .map(([role, s]) => ({ role: label === undefined ? role : label ? "good answer" : "bad answer", reward,
      pushes: s.slopes.map((x) => -x * n), p: s.logp.map(Math.exp), tokens: s.answer })));
  return { loss, roles };
}

if (typeof module !== "undefined") module.exports = { Num, objectives, arrange, pushes, backward, score };
