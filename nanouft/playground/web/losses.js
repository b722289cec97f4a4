"use strict";
/* Three methods: the loss of a step and, worked out by hand, its slope by each log-prob.

   rows: [[answer], ...], of DPO [[chosen, rejected], ...]. Each is a sequence {prompt, answer}, into
   which the model has written, for each token of the answer, `logp`, and for DPO `ref`, that of the
   start model. A loss writes `slope` beside them, dL/dlogp. The pushes on the page are -slope. */
const total = (xs) => xs.reduce((a, b) => a + b, 0);
const average = (xs) => total(xs) / xs.length;

/* [x_0, x_1 + g x_0, x_2 + g x_1 + g^2 x_0, ...] */
function discounted(xs, g) {
  let sum = 0;
  return xs.map((x) => {
    sum = x + g * sum;
    return sum;
  });
}

/* {loss, slopes}: L = sum_t v_t l_t / sum_t v_t, and dL/dl of each token of one answer.
   v_t = l_t + gamma v_(t+1) weighs a token by its own loss and those after it. If v is constant,
   dL/dl_t = v_t / sum v. As released l_t also moves v of itself and of all tokens before it:
   dL/dl_t = (v_t + before_t - L reach_t) / sum v, which is below 0 where v_t is small. */
function ift(nll, { variant, gamma }) {
  if (gamma === 0) return { loss: average(nll), slopes: nll.map(() => 1 / nll.length) };
  const v = discounted(nll.toReversed(), gamma).reverse();
  const all = total(v), loss = total(nll.map((l, t) => v[t] * l)) / all;
  if (variant === "detached") return { loss, slopes: v.map((x) => x / all) };
  const before = discounted(nll, gamma), reach = discounted(nll.map(() => 1), gamma);
  return { loss, slopes: v.map((x, t) => (x + before[t] - loss * reach[t]) / all) };
}

const METHODS = {
  // L = -log p_t, the mean over all tokens of the step
  sft: {
    loss(rows) {
      const n = total(rows.map(([answer]) => answer.logp.length));
      for (const [answer] of rows) answer.slope = answer.logp.map(() => -1 / n);
      return -total(rows.map(([answer]) => total(answer.logp))) / n;
    },
  },

  // the mean over answers, on states that hold a share lam of the model's own guess
  ift: {
    how: ({ lam }) => ({ lam, frozen: true }),
    loss: (rows, hp) => average(rows.map(([answer]) => {
      const { loss, slopes } = ift(answer.logp.map((x) => -x), hp);
      answer.slope = slopes.map((x) => -x / rows.length);
      return loss;
    })),
  },

  // L = -log sigmoid(h), h = beta (r_w - r_l), r: log pi/pi_ref of an answer
  dpo: {
    pairs: true,
    loss: (rows, { beta }) => average(rows.map(([chosen, rejected]) => {
      const ratio = ({ logp, ref }) => total(logp) - total(ref);
      const h = beta * (ratio(chosen) - ratio(rejected));
      const slope = -beta / (1 + Math.exp(h)) / rows.length;        // dL/dh = -sigmoid(-h)
      chosen.slope = chosen.logp.map(() => slope);
      rejected.slope = rejected.logp.map(() => -slope);
      return Math.log1p(Math.exp(-h));
    })),
  },
};

/* The sequences that a method reads of each row {prompt, answer, rejected}. */
function sequencesOf(name, rows) {
  const sides = METHODS[name].pairs ? ["answer", "rejected"] : ["answer"];
  return rows.map((row) => sides.map((side) => ({ prompt: row.prompt, answer: row[side] })));
}
