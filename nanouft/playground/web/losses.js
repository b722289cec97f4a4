"use strict";
/* Three methods as functions of log-probs, the losses of nanouft/objectives line by line.

     const batch = arrange("dpo", rows);         // which sequences the loss sees together
     const { loss, push } = pushes("dpo", hp, batch);    // -dL/dlogp of every token of the answers

   A sequence is {prompt, answer}. The model writes into it, for each token: `logp` of the policy,
   a Num; `ref` of the start model, a number. */

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

  logsigmoid() {
    const x = this.value;
    const value = Math.min(0, x) - Math.log1p(Math.exp(-Math.abs(x)));
    return new Num(value, [[this, sigmoid(-x)]]);
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

/* w_t = v_t / mean v, v_t = l_t + gamma v_(t+1): how much IFT lets a token count. */
function iftWeights(nll, { variant, gamma }) {
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

// ---- the methods --------------------------------------------------------------------------------
/* needs: which sequences a row brings; how: how the model reads them (model.js);
   reference: does the loss read the start model's log-probs, `ref`? */
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
      return mean(nll.map((l, t) => l.times(w[t])));
    }),
  },

  // L = -log sigmoid(beta (r_w - r_l))
  dpo: {
    needs: "pair",
    reference: true,
    loss: (batch, { beta }) => each(batch, ({ chosen, rejected }) =>
      ratio(chosen).minus(ratio(rejected)).times(beta).logsigmoid().times(-1)),
  },
};

// ---- from rows to a batch -----------------------------------------------------------------------
/* A row is {prompt, answer, rejected}. */
function arrange(name, rows) {
  const of = {
    answer: ({ prompt, answer }) => [{ seqs: { answer: { prompt, answer } } }],
    pair: ({ prompt, answer, rejected }) => [{ seqs: {
      chosen: { prompt, answer },
      rejected: { prompt, answer: rejected },
    } }],
  };
  return { rows: rows.flatMap(of[METHODS[name].needs]) };
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
  const answers = batch.rows.flatMap(({ seqs }) => Object.values(seqs));
  return { loss, push: answers.map(({ logp }) => logp.map(({ slope }) => -slope * n)) };
}
