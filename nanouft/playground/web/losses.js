"use strict";
/* Twelve methods as functions of log-probs, the losses of nanouft/objectives line by line.

     const batch = arrange("dpo", rows);         // which sequences the loss sees together
     const { loss, push } = pushes("dpo", hp, batch);    // -dL/dlogp of every token of the answers

   A sequence is {role, prompt, answer}. The model writes into it, for each token: `logp` of the
   policy, a Num; `ref` of the start model or the teacher, a number; for ORPO also `before`, of the
   prompt.
   Each step of the page samples anew, so pi_old is the policy itself: ratios are 1, and no clip
   is ever reached. */

// ---- numbers that remember how they were made: the derivative of any loss -----------------------
class Num {
  constructor(value, from = []) {
    this.value = value;
    this.from = from;               // [[Num, derivative of this by it], ...]
    this.slope = 0;                 // derivative of the loss by this
  }

  plus(y) {
    const x = num(y);
    return new Num(this.value + x.value, [[this, 1], [x, 1]]);
  }

  times(y) {
    const x = num(y);
    return new Num(this.value * x.value, [[this, x.value], [x, this.value]]);
  }

  minus(y) { return this.plus(num(y).times(-1)); }

  over(y) {
    const x = num(y);
    return this.times(new Num(1 / x.value, [[x, -1 / x.value ** 2]]));
  }

  exp() {
    const e = Math.exp(this.value);
    return new Num(e, [[this, e]]);
  }

  sigmoid() {
    const p = sigmoid(this.value);
    return new Num(p, [[this, p * (1 - p)]]);
  }

  logsigmoid() {
    const x = this.value;
    const value = Math.min(0, x) - Math.log1p(Math.exp(-Math.abs(x)));
    return new Num(value, [[this, sigmoid(-x)]]);
  }

  log1mexp() {                      // log(1 - e^x) for x < 0
    const rest = -Math.expm1(this.value);
    return new Num(Math.log(rest), [[this, 1 - 1 / rest]]);
  }

  /* Slopes of everything that this number was made from, parents after all their children. */
  backward() {
    const order = [];
    const seen = new Set();
    const visit = (x) => {
      if (seen.has(x)) return;
      seen.add(x);
      x.from.forEach(([parent]) => visit(parent));
      order.push(x);
    };
    visit(this);
    this.slope = 1;
    for (const x of order.reverse()) {
      for (const [parent, derivative] of x.from) parent.slope += x.slope * derivative;
    }
  }
}
const num = (x) => (x instanceof Num ? x : new Num(x));
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const total = (xs) => xs.reduce((a, b) => a + b, 0);            // of plain numbers
const average = (xs) => total(xs) / xs.length;
const sum = (xs) => new Num(total(xs.map((x) => num(x).value)), xs.map((x) => [num(x), 1]));
const mean = (xs) => sum(xs).times(1 / xs.length);

// ---- what several losses share ------------------------------------------------------------------
const each = (batch, loss) => mean(batch.rows.map((row) => loss(row.seqs, row)));
const ratio = ({ logp, ref }) => sum(logp).minus(total(ref));   // log pi/pi_ref of an answer

/* L = (sigmoid(i) - score)^2, or the cross-entropy of the two (UNA, UFT; PoFT: score 1). */
function scoreLoss(i, score, form) {
  if (form === "mse") {
    const gap = i.sigmoid().minus(score);
    return gap.times(gap);
  }
  const unlike = i.times(-1).logsigmoid().times(1 - score);
  return i.logsigmoid().times(-score).minus(unlike);
}
const una = (batch, { beta, loss }) => each(batch, ({ answer }, { score }) =>
  scoreLoss(ratio(answer).times(beta), score, loss));

/* w_t = v_t / mean v, v_t = l_t + gamma v_(t+1): how much IFT lets a token count. */
function iftWeights(nll, { variant, gamma }) {
  if (variant === "eq21") return nll.map((_, t) => num(t + 1));         // token t counts t times
  if (gamma === 0) return nll.map(() => num(1));
  const seen = variant === "detached" ? nll.map((x) => num(x.value)) : nll;
  const v = [];
  let later = num(0);
  for (let t = nll.length - 1; t >= 0; t--) {
    later = seen[t].plus(later.times(gamma));
    v[t] = later;
  }
  const scale = mean(v);
  return v.map((x) => x.over(scale));
}

const logOdds = ({ logp }) => {                                 // of the mean token: log p/(1 - p)
  const A = mean(logp);
  return A.minus(A.log1mexp());
};

/* f of the numbers of each prompt's answers, which stand together. */
function byPrompt(batch, numbers, f) {
  const K = numbers.length / batch.prompts;
  return numbers.flatMap((_, i) => (i % K ? [] : f(numbers.slice(i, i + K))));
}
const rho = (x) => x.minus(x.value).exp();                      // pi/pi_old: 1, but with a slope

// ---- the methods --------------------------------------------------------------------------------
/* needs: which sequences a row brings; how: how the model reads them (model.js);
   other: the model whose log-probs are `ref`. */
const METHODS = {
  // L = -log p_t, the mean over all tokens of the step
  sft: {
    needs: "answer",
    loss: (batch) => mean(batch.rows.flatMap(({ seqs }) => seqs.answer.logp)).times(-1),
  },

  // L = mean_t w_t l_t on states that hold a share lam of the model's own guess
  ift: {
    needs: "answer",
    how: ({ lam }) => ({ lam, frozen: true }),
    loss: (batch, hp) => each(batch, ({ answer }) => {
      const nll = answer.logp.map((x) => x.times(-1));
      const w = iftWeights(nll, hp);
      const all = sum(nll.map((l, t) => l.times(w[t])));
      return hp.variant === "eq21" ? all : all.times(1 / nll.length);
    }),
  },

  // L = -log sigmoid(beta (A - A_aligned) + margin), A: mean log-prob of the answer
  poft: {
    needs: "answer",
    other: "teacher",
    loss: (batch, { beta, margin }) => each(batch, ({ answer }) => {
      const ahead = mean(answer.logp).minus(average(answer.ref));
      return scoreLoss(ahead.times(beta).plus(margin), 1, "bce");
    }),
  },

  // L = -log sigmoid(h), h = beta (r_w - r_l); smoothing takes a share of -log sigmoid(-h)
  dpo: {
    needs: "pair",
    other: "start",
    loss: (batch, { beta, label_smoothing: eps }) => each(batch, ({ chosen, rejected }) => {
      const h = ratio(chosen).minus(ratio(rejected)).times(beta);
      return scoreLoss(h, 1 - eps, "bce");
    }),
  },

  // L = NLL(prompt and chosen) - lam log sigmoid(log odds of chosen - of rejected)
  orpo: {
    needs: "pair",
    how: () => ({ whole: "chosen" }),
    loss(batch, { lam }) {
      const read = batch.rows.flatMap(({ seqs }) => [...seqs.chosen.before, ...seqs.chosen.logp]);
      const align = each(batch, ({ chosen, rejected }) =>
        logOdds(chosen).minus(logOdds(rejected)).logsigmoid());
      return mean(read).plus(align.times(lam)).times(-1);
    },
  },

  // L = -log sigmoid(beta (A_w - A_l) - gamma)
  simpo: {
    needs: "pair",
    loss: (batch, { beta, gamma }) => each(batch, ({ chosen, rejected }) =>
      mean(chosen.logp).minus(mean(rejected.logp)).times(beta).minus(gamma).logsigmoid().times(-1)),
  },

  // L = weight sigmoid(beta (k - r)) for a good answer, sigmoid(beta (r - k)) for a bad one;
  // k: mean r of mismatched answers, not below 0, a constant
  kto: {
    needs: "graded",
    other: "start",
    loss(batch, { beta, desirable_weight: up, undesirable_weight: down }) {
      const k = Math.max(0, each(batch, ({ mismatch }) => ratio(mismatch)).value);
      return each(batch, ({ answer }, { label }) => {
        const gain = ratio(answer).minus(k).times(beta);
        return label ? gain.times(-1).sigmoid().times(up) : gain.sigmoid().times(down);
      });
    },
  },

  // L = (sigmoid(beta r) - score)^2; in UFT a demonstration is an answer of score 1
  una: { needs: "graded", other: "start", loss: una },
  uft: { needs: "graded", other: "start", loss: una },

  // L = -rho adv, adv = R - mean R of the other answers, R = reward - beta log pi_old/pi_ref
  rloo: {
    needs: "sampled",
    other: "start",
    loss(batch, { beta }) {
      const R = batch.rows.map(({ reward, seqs: { answer } }) =>
        reward - beta * ratio(answer).value);
      const adv = byPrompt(batch, R, (xs) => xs.map((x) => x - (total(xs) - x) / (xs.length - 1)));
      return mean(batch.rows.map(({ seqs }, i) => rho(sum(seqs.answer.logp)).times(-adv[i])));
    },
  },

  // L = mean_t (-rho_t adv + beta k3_t), adv = (reward - mean) / (spread + 1e-4);
  // k3 = ref/p - log(ref/p) - 1
  grpo: {
    needs: "sampled",
    other: "start",
    loss(batch, { beta, scale }) {
      const adv = byPrompt(batch, batch.rows.map(({ reward }) => reward), (xs) => {
        const centred = xs.map((x) => x - average(xs));
        const spread = Math.sqrt(total(centred.map((x) => x * x)) / (xs.length - 1));
        return scale === "group" ? centred.map((x) => x / (spread + 1e-4)) : centred;
      });
      return mean(batch.rows.map(({ seqs: { answer: { logp, ref } } }, i) =>
        mean(logp.map((x, t) => {
          const behind = num(ref[t]).minus(x);
          const k3 = behind.exp().minus(behind).minus(1);
          return k3.times(beta).minus(rho(x).times(adv[i]));
        }))));
    },
  },

  // L = -adv_t log p_t, the mean over all tokens; adv_t = log teacher_t - log old_t
  distill: {
    needs: "sampled",
    other: "teacher",
    loss: (batch) => mean(batch.rows.flatMap(({ seqs: { answer: { logp, ref } } }) =>
      logp.map((x, t) => x.times(x.value - ref[t])))),
  },
};

// ---- from rows to a batch -----------------------------------------------------------------------
/* A row is {prompt, answer, rejected, scores: [of both], other: a row with another prompt}; where
   the model has sampled, also drawn: [{answer, reward}, ...]. */
function arrange(name, rows) {
  const seq = (role, prompt, answer) => ({ role, prompt, answer });
  const graded = ({ prompt, answer, rejected, scores, other }) =>
    [answer, rejected].map((given, i) => ({
      label: i === 0,
      score: scores[i],
      seqs: {
        answer: seq("answer", prompt, given),
        ...(name === "kto" && { mismatch: seq("mismatch", prompt, other.answer) }),
      },
    }));
  const of = {
    answer: ({ prompt, answer }) => [{ seqs: { answer: seq("answer", prompt, answer) } }],
    pair: ({ prompt, answer, rejected }) => [{ seqs: {
      chosen: seq("chosen", prompt, answer),
      rejected: seq("rejected", prompt, rejected),
    } }],
    graded,
    sampled: ({ prompt, drawn }) => drawn.map(({ answer, reward }) =>
      ({ reward, seqs: { answer: seq("answer", prompt, answer) } })),
  };
  return { prompts: rows.length, rows: rows.flatMap(of[METHODS[name].needs]) };
}

/* The exact score of an answer to a list: five checks, as in nanouft/world/answers.py. */
function score({ count, words, without, last }, answer, { pieces, config }) {
  const text = answer.filter((id) => id !== config.end).map((id) => pieces[id]).join("");
  const said = text.split(/\s+/).filter(Boolean);
  const closed = said.at(-1) === last;
  const items = closed ? said.slice(0, -1) : said;
  if (!items.length) return closed / 5;
  const checks = [
    closed,
    items.length === count,
    new Set(items).size === items.length,
    items.every((word) => words.includes(word)),
    !items.some((word) => without.includes(word)),
  ];
  return total(checks.map(Number)) / 5;
}

// ---- slopes -------------------------------------------------------------------------------------
/* The loss of a batch that the model has read; every log-prob gets its `slope`, dL/dlogp. */
function backward(name, hp, batch) {
  const loss = METHODS[name].loss(batch, hp);
  loss.backward();
  return loss.value;
}

/* {loss, push: [numbers of each answer]}: -dL/dlogp times the response tokens of the batch (of a
   pair: of the chosen answers), so that SFT's is 1 everywhere. The scale of nanouft.ledger. */
function pushes(name, hp, batch) {
  const loss = backward(name, hp, batch);
  const n = total(batch.rows.map(({ seqs }) => Object.values(seqs)[0].logp.length));
  const answers = batch.rows.flatMap(({ seqs }) => Object.values(seqs))
    .filter(({ role }) => role !== "mismatch");
  return { loss, push: answers.map(({ logp }) => logp.map(({ slope }) => -slope * n)) };
}
