"use strict";
/* GPT-2 in plain JavaScript: forward, gradients by hand, AdamW with clipping, answers token by token.

     const model = new Model(DATA);
     model.say(prompt, {most: 24, onToken: ({token, p}) => ...});
     model.look(rows, "ift", {variant: "released"});         // how hard each token is pushed; nothing changes
     model.step(rows, "ift", {variant: "released"}, 5e-4);   // one optimizer step

   The rows of a pass lie one after the other without padding: N places in all. An array is (N, wide), made longer
   with zeros until N is a multiple of 4. Letters: C width of the model, V tokens known, T places of a row. */
if (typeof module !== "undefined") Object.assign(globalThis, require("./losses.js"));

const zeros = (n) => new Float32Array(n);
const rowsOf4 = (n) => 4 * Math.ceil(n / 4);

/* y (N,O) += x (N,I) times w (O,I) transposed. Nearly all time is spent here. Eight sums are made at once, so that
   each number is read once for two or four products. N is a multiple of 4, O of 2. */
function product(y, x, w, N, I, O) {
  for (let o = 0; o < O; o += 2) {
    const u = o * I, v = u + I;
    for (let n = 0; n < N; n += 4) {
      const p = n * I, q = p + I, r = q + I, s = r + I;
      let pu = 0, pv = 0, qu = 0, qv = 0, ru = 0, rv = 0, su = 0, sv = 0;
      for (let i = 0; i < I; i++) {
        const a = w[u + i], b = w[v + i], xp = x[p + i], xq = x[q + i], xr = x[r + i], xs = x[s + i];
        pu += xp * a; pv += xp * b; qu += xq * a; qv += xq * b;
        ru += xr * a; rv += xr * b; su += xs * a; sv += xs * b;
      }
      const at = n * O + o;
      y[at] += pu; y[at + 1] += pv; y[at + O] += qu; y[at + O + 1] += qv;
      y[at + 2 * O] += ru; y[at + 2 * O + 1] += rv; y[at + 3 * O] += su; y[at + 3 * O + 1] += sv;
    }
  }
}

function transposed(x, N, I) {                                  // (N,I) -> (I,N)
  const out = zeros(x.length);
  for (let n = 0; n < N; n++) for (let i = 0; i < I; i++) out[i * N + n] = x[n * I + i];
  return out;
}

/* One pass through the network. A state is {v: values, d: their slopes (-> the loss), wide}. Each operation says how
   it is made, and in `back` how slopes go through it. Without `slopes` (of the weights) there is no way back. */
class Pass {
  constructor(config, weights, slopes = null, cache = null) {
    Object.assign(this, { config, w: weights, g: slopes, cache, back: [] });
  }

  state(v, wide) { return { v, d: this.g && zeros(v.length), wide }; }

  linear(x, name, tied = false) {                               // x W^T + b; the output head has no b
    const W = this.w[name + ".weight"], b = this.w[name + ".bias"], I = x.wide, O = W.length / I, N = x.v.length / I;
    const y = this.state(zeros(N * O), O);
    if (!tied) for (let n = 0; n < N; n++) y.v.set(b, n * O);
    product(y.v, x.v, W, N, I, O);
    this.back.push(() => {
      product(x.d, y.d, transposed(W, O, I), N, O, I);
      product(this.g[name + ".weight"], transposed(y.d, N, O), transposed(x.v, N, I), O, N, I);
      for (let n = 0; n < N && !tied; n++) for (let o = 0; o < O; o++) this.g[name + ".bias"][o] += y.d[n * O + o];
    });
    return y;
  }

  norm(x, name) {                                               // LayerNorm
    const C = x.wide, N = x.v.length / C, W = this.w[name + ".weight"], b = this.w[name + ".bias"];
    const y = this.state(zeros(N * C), C), unit = zeros(N * C), spread = zeros(N);
    for (let n = 0, o = 0; n < N; n++, o += C) {
      let mean = 0, squares = 0;
      for (let i = 0; i < C; i++) mean += x.v[o + i] / C;
      for (let i = 0; i < C; i++) squares += (x.v[o + i] - mean) ** 2 / C;
      spread[n] = Math.sqrt(squares + this.config.eps);
      for (let i = 0; i < C; i++) y.v[o + i] = (unit[o + i] = (x.v[o + i] - mean) / spread[n]) * W[i] + b[i];
    }
    this.back.push(() => {
      const gW = this.g[name + ".weight"], gb = this.g[name + ".bias"];
      for (let n = 0, o = 0; n < N; n++, o += C) {
        let mean = 0, along = 0;
        for (let i = 0; i < C; i++) {
          const d = y.d[o + i];
          gW[i] += d * unit[o + i]; gb[i] += d; mean += d * W[i] / C; along += d * W[i] * unit[o + i] / C;
        }
        for (let i = 0; i < C; i++) x.d[o + i] += (y.d[o + i] * W[i] - mean - along * unit[o + i]) / spread[n];
      }
    });
    return y;
  }

  gelu(x) {                                                     // its tanh form
    const k = Math.sqrt(2 / Math.PI), t = x.v.map((u) => Math.tanh(k * (u + 0.044715 * u ** 3)));
    const y = this.state(x.v.map((u, i) => 0.5 * u * (1 + t[i])), x.wide);
    this.back.push(() => x.v.forEach((u, i) => {
      x.d[i] += y.d[i] * 0.5 * (1 + t[i] + u * (1 - t[i] ** 2) * k * (1 + 3 * 0.044715 * u * u));
    }));
    return y;
  }

  add(x, y) {
    const sum = this.state(x.v.map((u, i) => u + y.v[i]), x.wide);
    this.back.push(() => sum.d.forEach((d, i) => { x.d[i] += d; y.d[i] += d; }));
    return sum;
  }

  /* Every place looks at itself and at the places before it in its row. qkv holds queries, keys and values side by
     side. While an answer is typed, keys and values of all earlier places lie in `cache`. */
  attention(qkv, rows, layer) {
    const { width: C, heads } = this.config, D = C / heads, S = 3 * C, a = qkv.v, kept = [];
    const y = this.state(zeros(a.length / 3), C);
    for (const { at, T, past } of rows) {
      if (this.cache) this.cache[layer].set(a.subarray(0, T * S), past * S);
      const from = this.cache ? this.cache[layer] : a, start = this.cache ? 0 : at * S;
      for (let c = 0; c < C; c += D) for (let t = 0; t < T; t++) {
        const q = (at + t) * S + c, seen = past + t + 1, p = zeros(seen);
        let top = -Infinity, total = 0;
        for (let j = 0; j < seen; j++) {
          let dot = 0;
          for (let i = 0, k = start + j * S + C + c; i < D; i++) dot += a[q + i] * from[k + i];
          top = Math.max(top, p[j] = dot / Math.sqrt(D));
        }
        for (let j = 0; j < seen; j++) total += p[j] = Math.exp(p[j] - top);
        for (let j = 0; j < seen; j++) {
          p[j] /= total;
          for (let i = 0, v = start + j * S + 2 * C + c; i < D; i++) y.v[(at + t) * C + c + i] += p[j] * from[v + i];
        }
        kept.push({ p, q, o: (at + t) * C + c, start: start + c });
      }
    }
    this.back.push(() => {
      for (const { p, q, o, start } of kept) {
        const slope = p.map((_, j) => {                         // of each weight p, and on the way of the values
          let dot = 0;
          for (let i = 0, v = start + j * S + 2 * C; i < D; i++) {
            dot += y.d[o + i] * a[v + i];
            qkv.d[v + i] += y.d[o + i] * p[j];
          }
          return dot;
        });
        const mean = slope.reduce((sum, s, j) => sum + s * p[j], 0);
        for (let j = 0; j < p.length; j++) {
          const e = p[j] * (slope[j] - mean) / Math.sqrt(D);    // of each score
          for (let i = 0, k = start + j * S + C; i < D; i++) {
            qkv.d[q + i] += e * a[k + i];
            qkv.d[k + i] += e * a[q + i];
          }
        }
      }
    });
    return y;
  }

  /* Token and position. IFT mixes in a share `lam` of another token, its own `guess`, and trains no input embedding
     (`frozen`); NEFTune adds noise. */
  embed(rows, { lam = 0, frozen = false, noise = 0, random } = {}) {
    const C = this.config.width, wte = this.w["wte.weight"], wpe = this.w["wpe.weight"];
    const places = rows.flatMap(({ ids, guess = ids, past, T }) => ids.map((id, t) =>
      ({ id: id * C, own: guess[t] * C, at: (past + t) * C, size: noise / Math.sqrt(T * C) })));
    const x = this.state(zeros(rowsOf4(places.length) * C), C);
    places.forEach(({ id, own, at, size }, n) => {
      for (let i = 0; i < C; i++) {
        const token = (1 - lam) * wte[id + i] + lam * wte[own + i];
        x.v[n * C + i] = token + wpe[at + i] + (size && size * (2 * random() - 1));
      }
    });
    this.back.push(() => places.forEach(({ id, at }, n) => {
      for (let i = 0; i < C; i++) {
        this.g["wpe.weight"][at + i] += x.d[n * C + i];
        if (!frozen) this.g["wte.weight"][id + i] += x.d[n * C + i];
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

  /* Log-probs of tokens. picks: [{id, from: [[place, share], ...]}]; a state is nearly always that of one place.
     Each pick gets `logp` at this temperature, `plain` without one, `p` of all tokens, the likeliest one in `best`;
     the loss later writes `slope`, its derivative by logp. */
  head(hidden, picks, temperature = 1) {
    const { width: C, vocab: V } = this.config, h = this.state(zeros(rowsOf4(picks.length) * C), C);
    picks.forEach(({ from }, m) => from.forEach(([n, share]) => {
      for (let i = 0; i < C; i++) h.v[m * C + i] += share * hidden.v[n * C + i];
    }));
    this.back.push(() => picks.forEach(({ from }, m) => from.forEach(([n, share]) => {
      for (let i = 0; i < C; i++) hidden.d[n * C + i] += share * h.d[m * C + i];
    })));
    const z = this.linear(h, "wte", true);
    picks.forEach((pick, m) => {
      const logits = z.v.subarray(m * V, m * V + V), top = logits.reduce((a, b) => Math.max(a, b));
      const sum = (heat) => logits.reduce((total, x) => total + Math.exp((x - top) / heat), 0);
      const gap = logits[pick.id] - top, total = sum(temperature);
      pick.best = logits.indexOf(top);
      pick.p = logits.map((x) => Math.exp((x - top) / temperature) / total);
      pick.logp = gap / temperature - Math.log(total);
      pick.plain = temperature === 1 ? pick.logp : gap - Math.log(sum(1));
    });
    this.back.push(() => picks.forEach(({ id, p, slope }, m) => {
      if (!slope) return;
      for (let v = 0; v < V; v++) z.d[m * V + v] -= slope / temperature * p[v];
      z.d[m * V + id] += slope / temperature;
    }));
  }

  backward() { while (this.back.length) this.back.pop()(); }
}

/* Random numbers that a seed decides (mulberry32). */
function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function unpacked(data) {                                       // one byte a weight, times the scale of its group
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const scales = new Float32Array(bytes(data.scales));
  return Float32Array.from(new Int8Array(bytes(data.weights)), (x, i) => x * scales[Math.floor(i / data.group)]);
}

class Model {
  constructor(data) {
    Object.assign(this, { data, config: data.config, start: unpacked(data) });
    this.about = Object.fromEntries(data.objectives.map((objective) => [objective.name, objective]));
    this.reference = this.named(this.start);                    // the start model's weights: never trained
    this.teacher = this.reference;                              // for distillation
    this.reset();
  }

  named(flat) {                                                 // {name: its part of one long array}
    let at = 0;
    const size = (shape) => shape.reduce((a, b) => a * b);
    return Object.fromEntries(this.data.shapes.map(([name, shape]) => [name, flat.subarray(at, at += size(shape))]));
  }

  reset() {
    this.flat = this.start.slice();
    this.weights = this.named(this.flat);
    this.slopes = zeros(this.flat.length);
    this.first = zeros(this.flat.length);                       // AdamW's two moments
    this.second = zeros(this.flat.length);
    this.steps = 0;
  }

  /* One pass over sequences {prompt, answer}, which writes into each: its `row` in the pass, `logp` of the answer, and
     with `whole` also `before`, of the prompt. A sequence {mix: [a, b], lam, answer} reads mixed states (SFTMix). */
  read(sequences, how = {}, weights = this.weights, slopes = null) {
    const rows = [];
    let at = 0;
    for (const s of sequences) {
      if (s.mix) continue;
      const ids = [...s.prompt, ...s.answer].slice(0, -1);
      rows.push(s.row = { ids, at, T: ids.length, past: 0 });
      at += ids.length;
    }
    const place = (s, t) => s.row.at + s.prompt.length - 1 + t;          // where token t of the answer is said
    for (const s of sequences) {
      const before = s.whole ? s.prompt.slice(1) : [];
      s.picks = [...before, ...s.answer].map((id, k) => ({ id, slope: 0, from: s.mix
        ? s.mix.map((x, i) => [place(x, k), i ? 1 - s.lam : s.lam]) : [[place(s, k - before.length), 1]] }));
    }
    const picks = sequences.flatMap((s) => s.picks);
    if (how.lam) {                                              // IFT: the guess for a place is made one place before
      const pass = new Pass(this.config, weights);
      pass.head(pass.hidden(rows), picks);
      for (const { row, prompt, picks } of sequences) row.guess = [...prompt, ...picks.map(({ best }) => best)];
    }
    const pass = new Pass(this.config, weights, slopes);
    pass.states = pass.hidden(rows, how);
    pass.head(pass.states, picks, how.temperature);
    for (const s of sequences) {
      const logp = s.picks.map((pick) => pick.logp), answer = logp.length - s.answer.length;
      Object.assign(s, { before: logp.slice(0, answer), logp: logp.slice(answer), plain: s.picks.map((x) => x.plain) });
    }
    return pass;
  }

  /* Type an answer: greedy, or drawn at temperature 1 (`sample`). A token costs one place: the rest is in `cache`. */
  say(prompt, { most = 40, sample = false, seed = 0, onToken = () => true } = {}) {
    const { layers, width, context, end } = this.config, said = [], random = seeded(seed);
    const room = Math.min(context, prompt.length + most);
    const cache = Array.from({ length: layers }, () => zeros(room * 3 * width));
    for (let past = 0, ids = prompt; said.length < most && past + ids.length <= room; ids = said.slice(-1)) {
      const pass = new Pass(this.config, this.weights, null, cache), pick = { id: end, from: [[ids.length - 1, 1]] };
      pass.head(pass.hidden([{ ids, T: ids.length, past, at: 0 }]), [pick]);
      past += ids.length;
      let left = random();
      const drawn = sample ? pick.p.findIndex((x) => (left -= x) < 0) : -1, token = drawn < 0 ? pick.best : drawn;
      said.push(token);
      if (onToken({ token, p: pick.p[token] }) === false || token === end) break;
    }
    return said;
  }

  /* The batch of an objective with all numbers that its loss reads: {batch, pass, hp}. An answer is worth its exact
     score; a row without a task, 1 for its answer and 0 for the rejected one. */
  situation(rows, name, dials, slopes = null, seed = 0) {
    const { settings, reads } = this.about[name], { how: asks, credit } = objectives[name];
    const hp = { ...settings, ...dials }, random = seeded(seed), how = asks ? asks(hp) : {};
    const scores = ({ task, answer, rejected }) =>
      (task ? [answer, rejected].map((said) => score(task, said, this.data)) : [1, 0]);
    const known = rows.map((row) => ({ other: this.data.demos[0], ...row, scores: scores(row) }));
    const batch = arrange(objectives[name], known, random);
    const sequences = batch.rows.flatMap((row) => Object.values(row.seqs));
    for (const s of sequences) s.whole = how.whole === s.role;
    const pass = this.read(sequences, { ...how, random, noise: slopes ? how.noise : 0 }, this.weights, slopes);
    if (reads) {                                                // does the loss read another model's log-probs?
      const copies = sequences.map((s) => ({ ...s, whole: false }));
      const start = this.read(copies, {}, objectives[name].taught ? this.teacher : this.reference);
      sequences.forEach((s, k) => Object.assign(s, { ref: copies[k].logp, old: s.old || s.logp }));
      if (how.reading) for (const row of batch.rows) row.reading = this.meanState(start.states.v, row.seqs.chosen);
    }
    if (credit) credit(batch, hp);
    return { batch, pass, hp };
  }

  /* How hard an objective pushes each token: {loss, roles: [{role, pushes, p}]}. */
  look(rows, name, dials = {}, seed = 0) {
    const { batch, hp } = this.situation(this.answered([rows].flat(), name, seed), name, dials);
    return pushes(name, hp, batch);
  }

  /* One optimizer step on these rows: {loss, norm}. */
  step(rows, name, dials, lr) {
    this.slopes.fill(0);
    const { batch, pass, hp } = this.situation(this.answered(rows, name, this.steps), name, dials,
      this.named(this.slopes), this.steps);
    const loss = backward(name, hp, batch);
    pass.backward();
    return { loss, norm: this.adamw(lr) };
  }

  /* For methods that learn from the model's samples: as many answers as there were rows, given now, and what each has
     earned. Answers to one prompt stand together. */
  answered(rows, name, seed, samples = this.about[name].settings.samples) {
    const { needs } = this.about[name];
    if (needs !== "sampled" || rows[0].drawn) return rows;
    const drawn = (row, k) => Array.from({ length: samples }, (_, i) => {
      const answer = this.say(row.prompt, { most: 24, sample: true, seed: (seed * 1009 + k) * 1009 + i });
      return { answer, reward: score(row.task, answer, this.data), ended: +(answer.at(-1) === this.config.end) };
    });
    return rows.slice(0, Math.ceil(rows.length / samples)).map((row, k) => ({ ...row, drawn: drawn(row, k) }));
  }

  /* A rollout that is kept: `samples` answers to one prompt, with the log-probs that sampled them. */
  rollout(row, samples, seed) {
    const [{ drawn }] = this.answered([row], "grpo", seed, samples);
    const sequences = drawn.map(({ answer }) => ({ role: "answer", prompt: row.prompt, answer }));
    this.read(sequences);
    return { ...row, drawn: drawn.map((one, k) => ({ ...one, old: sequences[k].logp })) };
  }

  /* How likely the last token of each row's answer is after all others: does the model know when to stop? */
  stopping(rows) {
    const sequences = rows.map(({ prompt, answer }) => ({ role: "answer", prompt, answer }));
    this.read(sequences);
    return sequences.reduce((sum, s) => sum + Math.exp(s.logp.at(-1)), 0) / rows.length;
  }

  adamw(lr) {
    const { flat, slopes, first, second } = this, norm = Math.sqrt(slopes.reduce((sum, g) => sum + g * g, 0));
    const clip = Math.min(1, 1 / (norm + 1e-6)), t = ++this.steps, bias1 = 1 - 0.9 ** t, bias2 = 1 - 0.95 ** t;
    for (let i = 0; i < flat.length; i++) {
      const g = clip * slopes[i];
      first[i] += 0.1 * (g - first[i]);
      second[i] += 0.05 * (g * g - second[i]);
      flat[i] -= lr * (first[i] / bias1) / (Math.sqrt(second[i] / bias2) + 1e-8);
    }
    return norm;
  }

  meanState(states, { row, prompt }) {                          // of a prompt: what RPO compares prompts by
    const C = this.config.width, at = row.at * C;
    return Array.from({ length: C }, (_, i) =>
      prompt.reduce((sum, _, t) => sum + states[at + t * C + i], 0) / prompt.length);
  }
}

if (typeof module !== "undefined") module.exports = { Model, Pass, seeded };
