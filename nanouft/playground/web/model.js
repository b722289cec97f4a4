"use strict";
/* GPT-2 in plain JavaScript: forward, backward by hand, AdamW, and answers token by token.

     const model = new Model(DATA);
     model.say([prompt, ...]);                       // greedy answers, token ids
     model.look(row, "dpo", { beta: 0.1 });          // the push on each token
     model.step(rows, "dpo", { beta: 0.1 }, 2.5e-4); // one optimizer step

   The rows of a pass lie one after the other without padding, N positions in all. An array is
   (N, wide); zeros follow until N is a multiple of 4. C: width of the model, V: tokens it knows,
   T: positions of one row, D: width of a head. */

const zeros = (n) => new Float32Array(n);
const rowsOf4 = (n) => 4 * Math.ceil(n / 4);

/* y (N,O) += x (N,I) times w (O,I) transposed. Nearly all time is spent here, so each weight that
   is read serves four rows of x. N is a multiple of 4. */
function product(y, x, w, N, I, O) {
  for (let n = 0; n < N; n += 4) {
    const p = n * I, q = p + I, r = q + I, s = r + I;
    for (let o = 0; o < O; o++) {
      const row = o * I, at = n * O + o;
      let a = 0, b = 0, c = 0, d = 0;
      for (let i = 0; i < I; i++) {
        const u = w[row + i];
        a += x[p + i] * u;
        b += x[q + i] * u;
        c += x[r + i] * u;
        d += x[s + i] * u;
      }
      y[at] += a;
      y[at + O] += b;
      y[at + 2 * O] += c;
      y[at + 3 * O] += d;
    }
  }
}

function transposed(x, N, I) {                                  // (N,I) -> (I,N)
  const out = zeros(x.length);
  for (let n = 0; n < N; n++) {
    for (let i = 0; i < I; i++) out[i * N + n] = x[n * I + i];
  }
  return out;
}

/* One pass through the network. A state is {v: values, d: the loss's derivative by each, wide}.
   Each operation computes v and notes in `back` how d goes through it. Without `slopes`, the
   derivatives of the weights, there is no way back. */
class Pass {
  constructor(config, weights, slopes = null) {
    this.config = config;
    this.w = weights;
    this.g = slopes;
    this.back = [];
  }

  state(v, wide) {
    return { v, d: this.g && zeros(v.length), wide };
  }

  /* y (N,O) = x (N,I) W^T + b; the output head has no b. */
  linear(x, name) {
    const W = this.w[name + ".weight"], b = this.w[name + ".bias"];
    const I = x.wide, O = W.length / I, N = x.v.length / I;
    const y = this.state(zeros(N * O), O);
    for (let n = 0; n < N && b; n++) y.v.set(b, n * O);
    product(y.v, x.v, W, N, I, O);
    this.back.push(() => {
      product(x.d, y.d, transposed(W, O, I), N, O, I);                          // dx = dy W
      product(this.g[name + ".weight"], transposed(y.d, N, O), transposed(x.v, N, I), O, N, I);
      for (let i = 0; i < N * O && b; i++) this.g[name + ".bias"][i % O] += y.d[i];
    });
    return y;
  }

  /* LayerNorm: y = (x - mean) / spread * W + b. */
  norm(x, name) {
    const W = this.w[name + ".weight"], b = this.w[name + ".bias"];
    const C = x.wide, N = x.v.length / C;
    const y = this.state(zeros(N * C), C), unit = zeros(N * C), spread = zeros(N);
    for (let n = 0, at = 0; n < N; n++, at += C) {
      let mean = 0, squares = 0;
      for (let i = 0; i < C; i++) mean += x.v[at + i] / C;
      for (let i = 0; i < C; i++) squares += (x.v[at + i] - mean) ** 2 / C;
      spread[n] = Math.sqrt(squares + this.config.eps);
      for (let i = 0; i < C; i++) {
        unit[at + i] = (x.v[at + i] - mean) / spread[n];
        y.v[at + i] = unit[at + i] * W[i] + b[i];
      }
    }
    this.back.push(() => {
      const gW = this.g[name + ".weight"], gb = this.g[name + ".bias"];
      for (let n = 0, at = 0; n < N; n++, at += C) {
        let mean = 0, along = 0;
        for (let i = 0; i < C; i++) {
          const d = y.d[at + i];
          gW[i] += d * unit[at + i];
          gb[i] += d;
          mean += d * W[i] / C;
          along += d * W[i] * unit[at + i] / C;
        }
        for (let i = 0; i < C; i++) {
          x.d[at + i] += (y.d[at + i] * W[i] - mean - along * unit[at + i]) / spread[n];
        }
      }
    });
    return y;
  }

  gelu(x) {                                                     // its tanh form
    const k = Math.sqrt(2 / Math.PI);
    const t = x.v.map((u) => Math.tanh(k * (u + 0.044715 * u * u * u)));
    const y = this.state(x.v.map((u, i) => 0.5 * u * (1 + t[i])), x.wide);
    this.back.push(() => x.v.forEach((u, i) => {
      const inner = k * (1 + 3 * 0.044715 * u * u);
      x.d[i] += y.d[i] * 0.5 * (1 + t[i] + u * (1 - t[i] ** 2) * inner);
    }));
    return y;
  }

  add(x, y) {
    const sum = this.state(x.v.map((u, i) => u + y.v[i]), x.wide);
    this.back.push(() => sum.d.forEach((d, i) => {
      x.d[i] += d;
      y.d[i] += d;
    }));
    return sum;
  }

  /* Each position looks at itself and those before it in its row: softmax(q k^T / sqrt(D)) v.
     qkv (N,3C) holds queries, keys and values side by side. While an answer is typed, those of all
     earlier positions of a row (`past` of them) lie in its cache. */
  attention(qkv, rows, layer) {
    const { width: C, heads } = this.config, D = C / heads, S = 3 * C, a = qkv.v;
    const y = this.state(zeros(a.length / 3), C), kept = [];
    for (const { at, T, past, cache } of rows) {
      if (cache) cache[layer].set(a.subarray(at * S, (at + T) * S), past * S);
      const from = cache ? cache[layer] : a, start = cache ? 0 : at * S;
      for (let c = 0; c < C; c += D) {                          // first column of a head
        for (let t = 0; t < T; t++) {
          const q = (at + t) * S + c, o = (at + t) * C + c, p = zeros(past + t + 1);
          let top = -Infinity, all = 0;
          for (let j = 0; j < p.length; j++) {
            const k = start + j * S + C + c;
            for (let i = 0; i < D; i++) p[j] += a[q + i] * from[k + i] / Math.sqrt(D);
            top = Math.max(top, p[j]);
          }
          for (let j = 0; j < p.length; j++) {
            p[j] = Math.exp(p[j] - top);
            all += p[j];
          }
          for (let j = 0; j < p.length; j++) {
            const v = start + j * S + 2 * C + c;
            p[j] /= all;
            for (let i = 0; i < D; i++) y.v[o + i] += p[j] * from[v + i];
          }
          kept.push({ p, q, o, start: start + c });
        }
      }
    }
    this.back.push(() => kept.forEach(({ p, q, o, start }) => {
      const slope = p.map((_, j) => {                           // by each weight p
        const v = start + j * S + 2 * C;
        let dot = 0;
        for (let i = 0; i < D; i++) {
          dot += y.d[o + i] * a[v + i];
          qkv.d[v + i] += y.d[o + i] * p[j];
        }
        return dot;
      });
      const mean = slope.reduce((all, s, j) => all + s * p[j], 0);
      p.forEach((weight, j) => {
        const k = start + j * S + C, e = weight * (slope[j] - mean) / Math.sqrt(D);
        for (let i = 0; i < D; i++) {
          qkv.d[q + i] += e * a[k + i];
          qkv.d[k + i] += e * a[q + i];
        }
      });
    }));
    return y;
  }

  /* Token and position. IFT mixes in a share `lam` of the model's own guess, and does not train
     the input embedding (`frozen`). */
  embed(rows, { lam = 0, frozen = false } = {}) {
    const C = this.config.width, wte = this.w["wte.weight"], wpe = this.w["wpe.weight"];
    const positions = rows.flatMap(({ ids, guess = ids, past }) => ids.map((id, t) =>
      ({ token: id * C, own: guess[t] * C, place: (past + t) * C })));
    const x = this.state(zeros(rowsOf4(positions.length) * C), C);
    positions.forEach(({ token, own, place }, n) => {
      for (let i = 0; i < C; i++) {
        x.v[n * C + i] = (1 - lam) * wte[token + i] + lam * wte[own + i] + wpe[place + i];
      }
    });
    this.back.push(() => positions.forEach(({ token, place }, n) => {
      for (let i = 0; i < C; i++) {
        this.g["wpe.weight"][place + i] += x.d[n * C + i];
        if (!frozen) this.g["wte.weight"][token + i] += x.d[n * C + i];
      }
    }));
    return x;
  }

  hidden(rows, how) {                                           // final states (N,C)
    let x = this.embed(rows, how);
    for (let l = 0; l < this.config.layers; l++) {
      const h = `h.${l}.`, qkv = this.linear(this.norm(x, h + "ln_1"), h + "attn.c_attn");
      x = this.add(x, this.linear(this.attention(qkv, rows, l), h + "attn.c_proj"));
      const wide = this.gelu(this.linear(this.norm(x, h + "ln_2"), h + "mlp.c_fc"));
      x = this.add(x, this.linear(wide, h + "mlp.c_proj"));
    }
    return this.norm(x, "ln_f");
  }

  /* Log-probs of tokens: picks [{id, at: the position that says it}]. Each gets `logp`, `p` of all
     tokens and the likeliest, `best`. The way back reads `slope`, the loss's derivative by logp. */
  head(hidden, picks) {
    const V = this.config.vocab, z = this.linear(hidden, "wte");
    for (const pick of picks) {
      const logits = z.v.subarray(pick.at * V, (pick.at + 1) * V);
      const top = logits.reduce((a, b) => Math.max(a, b));
      const e = logits.map((x) => Math.exp(x - top)), all = e.reduce((a, b) => a + b);
      pick.best = logits.indexOf(top);
      pick.p = e.map((x) => x / all);
      pick.logp = logits[pick.id] - top - Math.log(all);
    }
    this.back.push(() => picks.forEach(({ id, at, p, slope }) => {
      p.forEach((x, v) => { z.d[at * V + v] -= slope * x; });           // d logp / d logits
      z.d[at * V + id] += slope;
    }));
  }

  backward() {
    while (this.back.length) this.back.pop()();
  }
}

// ---- a model that answers and learns ------------------------------------------------------------
const LONGEST = 28;         // tokens of an answer; who has not stopped by then does not stop

function unpacked(text) {                                       // two bytes a weight
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Float32Array(new Float16Array(bytes.buffer));
}

function placed(rows) {                                         // one after the other, from `at`
  let at = 0;
  for (const row of rows) {
    row.at = at;
    row.T = row.ids.length;
    at += row.T;
  }
  return rows;
}

class Model {
  constructor(data) {
    this.config = data.config;
    this.shapes = data.shapes;
    this.flat = unpacked(data.weights);
    this.weights = this.named(this.flat);
    this.start = this.named(this.flat.slice());                 // the reference: never trained
    this.slopes = zeros(this.flat.length);
    this.moments = [zeros(this.flat.length), zeros(this.flat.length)];         // AdamW's two
    this.steps = 0;
  }

  named(flat) {                                                 // {name: its part of the array}
    const sizes = this.shapes.map(([, shape]) => shape.reduce((a, b) => a * b));
    let at = 0;
    return Object.fromEntries(this.shapes.map(([name], k) => {
      at += sizes[k];
      return [name, flat.subarray(at - sizes[k], at)];
    }));
  }

  /* One pass over sequences {prompt, answer}, which writes into each the `logp` of its answer. */
  read(sequences, { lam = 0, frozen } = {}, weights = this.weights, slopes = null) {
    const rows = placed(sequences.map(({ prompt, answer }) =>
      ({ ids: [...prompt, ...answer].slice(0, -1), past: 0 })));
    sequences.forEach((s, i) => {
      const first = rows[i].at + s.prompt.length - 1;
      s.picks = s.answer.map((id, t) => ({ id, at: first + t }));
    });
    const picks = sequences.flatMap((s) => s.picks);
    if (lam) {                                  // IFT: the guess for a position is made just before
      const pass = new Pass(this.config, weights);
      pass.head(pass.hidden(rows), picks);
      sequences.forEach(({ prompt, picks }, i) => {
        rows[i].guess = [...prompt, ...picks.map(({ best }) => best)];
      });
    }
    const pass = new Pass(this.config, weights, slopes);
    pass.head(pass.hidden(rows, { lam, frozen }), picks);
    for (const s of sequences) s.logp = s.picks.map(({ logp }) => logp);
    return pass;
  }

  /* Greedy answers to prompts, typed together. A token costs one position a row, because everything
     earlier lies in the row's cache. */
  say(prompts) {
    const { layers, width, end } = this.config;
    const rows = prompts.map((prompt) => {
      const size = 3 * width * (prompt.length + LONGEST);
      const cache = Array.from({ length: layers }, () => zeros(size));
      return { ids: prompt, past: 0, said: [], cache };
    });
    for (let speaking = rows; speaking.length;) {
      const pass = new Pass(this.config, this.weights), hidden = pass.hidden(placed(speaking));
      const picks = speaking.map(({ at, T }) => ({ id: end, at: at + T - 1 }));
      pass.head(hidden, picks);
      speaking.forEach((row, i) => {
        row.said.push(picks[i].best);
        row.past += row.T;
        row.ids = row.said.slice(-1);
      });
      speaking = speaking.filter(({ said }) => said.at(-1) !== end && said.length < LONGEST);
    }
    return rows.map(({ said }) => said);
  }

  /* The loss of a method on rows, with the slopes in the sequences: {loss, sequences, pass}. */
  lossOf(rows, name, hp, slopes = null) {
    const { how, pairs, loss } = METHODS[name];
    const groups = sequencesOf(name, rows), sequences = groups.flat();
    if (pairs) {                                // first, because a pass writes logp and picks
      this.read(sequences, {}, this.start);
      for (const s of sequences) s.ref = s.logp;
    }
    const pass = this.read(sequences, how ? how(hp) : {}, this.weights, slopes);
    return { loss: loss(groups, hp), sequences, pass };
  }

  /* The push on each token of a row's answers, of a pair of both: -dL/dlogp times the tokens of the
     right answer, so that SFT's is 1 everywhere. The scale of nanouft.ledger. */
  look(row, name, hp) {
    const { sequences } = this.lossOf([row], name, hp);
    return sequences.map(({ slope }) => slope.map((x) => -x * row.answer.length));
  }

  /* One optimizer step on these rows: {loss, norm: of the gradient}. */
  step(rows, name, hp, lr) {
    this.slopes.fill(0);
    const { loss, sequences, pass } = this.lossOf(rows, name, hp, this.named(this.slopes));
    for (const s of sequences) s.picks.forEach((pick, t) => { pick.slope = s.slope[t]; });
    pass.backward();
    return { loss, norm: this.adamw(lr) };
  }

  /* How likely the last token of each row's answer is after all others, on average. */
  stopping(rows) {
    const sequences = rows.map(({ prompt, answer }) => ({ prompt, answer }));
    this.read(sequences);
    return average(sequences.map((s) => Math.exp(s.logp.at(-1))));
  }

  adamw(lr) {                                   // betas .9 and .95, no decay, gradient cut to 1
    const { flat, slopes, moments: [first, second] } = this;
    const norm = Math.sqrt(slopes.reduce((all, g) => all + g * g, 0));
    const clip = Math.min(1, 1 / (norm + 1e-6));
    this.steps += 1;
    const bias1 = 1 - 0.9 ** this.steps, bias2 = 1 - 0.95 ** this.steps;
    for (let i = 0; i < flat.length; i++) {
      const g = clip * slopes[i];
      first[i] += 0.1 * (g - first[i]);
      second[i] += 0.05 * (g * g - second[i]);
      flat[i] -= lr * (first[i] / bias1) / (Math.sqrt(second[i] / bias2) + 1e-8);
    }
    return norm;
  }
}
