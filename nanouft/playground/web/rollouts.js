// Rollouts: some answers to one question, what each has earned, and how five forms of GRPO push their tokens.
//
// The rollout is kept. At first the model is the one that wrote it, and the five forms agree but for a factor. After
// some steps on the same answers they part: what is clipped, and what counts as one ratio, differ.
"use strict";
const SAMPLES = 6, TOKENS = 12;                             // answers of a rollout; tokens shown of each
const RATE = 1e-4;                                          // larger than usual: two steps show something
const clip = (x, low, high) => Math.min(high, Math.max(low, x));

class Rollouts {
  constructor(element) {
    Object.assign(this, { element, asked: 0, form: "grpo", seed: 0, steps: 0, roles: null, picked: null, worker: null });
  }
  get hp() { return DATA.forms.find(({ name }) => name === this.form).hp; }

  start() {                                                 // a model of its own, made when it is first looked at
    if (this.worker) return;
    const code = new Blob([$("engine").textContent], { type: "text/javascript" });
    this.worker = new Worker(URL.createObjectURL(code));
    this.worker.onmessage = ({ data }) => { if (data.id === this.asked) this.hear(data); };
    this.worker.onerror = ({ message }) => { show(this.element, `This model has stopped with an error: ${esc(message)}`); };
    this.worker.postMessage({ do: "load", data: DATA });
    this.sample();
  }
  ask(what, more) {
    this.element.setAttribute("aria-busy", true);
    this.worker.postMessage({ do: what, id: ++this.asked, hp: this.hp, lr: RATE, steps: 0, ...more });
  }
  hear({ roles, steps }) {
    Object.assign(this, { roles, steps });
    this.element.setAttribute("aria-busy", false);
    this.draw();
  }
  sample() { this.picked = null, this.ask("rollout", { row: question(), samples: SAMPLES, seed: this.seed }); }

  ACT = {
    form: (name) => { this.form = name, this.ask("use"); },
    step: () => this.ask("use", { steps: 1 }),
    fresh: () => { this.seed += 1, this.sample(); },
    token: (place) => { this.picked = this.picked === place ? null : place, this.draw(); },
  };

  draw() {
    const { roles, steps } = this, most = Math.max(0.5, ...roles.flatMap(({ pushes }) => pushes.slice(0, TOKENS).map(Math.abs)));
    const forms = DATA.forms.map(({ name }) => button(`form:${name}`, name, `aria-pressed="${name === this.form}"`)).join("");
    show(this.element, `<p class="soft">${SAMPLES} answers to: ${esc(question().text)} They are kept; a step trains on all
      of them. ${steps ? "" : `Before the first step the policy is the one that wrote them: every ratio is 1.`}</p>
      <div class="row" role="group" aria-label="form of the loss">${forms}</div>
      <div class="row">${button("step", "one step on these answers", 'class="primary"')} ${button("fresh", "other answers")}
      <span class="soft">${steps} ${steps === 1 ? "step" : "steps"}; learning rate ${RATE}</span></div>
      <p class="soft">${esc(DATA.forms.find(({ name }) => name === this.form).says)}</p>
      <p class="told" role="status">${this.picked ? this.told() : "Press a token to see its numbers."}</p>
      ${roles.map((one, r) => this.answer(one, r, most)).join("")}`);
  }
  answer(one, r, most) {
    const n = Math.min(TOKENS, one.tokens.length), more = one.tokens.length - n;
    const press = (i) => `<button type="button" data-key="t${r}.${i}" data-act="token:${r}.${i}"
      aria-pressed="${this.picked === `${r}.${i}`}">${word(one.tokens[i])}</button>`;
    const label = one.tokens.slice(0, n).map((id, i) => `${pieces[id].trim()} ${signed(one.pushes[i])}`).join(", ");
    return `<div class="rollout"><p class="role">Answer ${r + 1}: score ${one.reward.toFixed(2)}, advantage
      ${signed(one.adv)}${more ? `; ${more} more tokens` : ""}</p>
      ${strip(one.pushes.slice(0, n), { most, label, word: press,
    under: (i) => `<small class="chance">×${this.ratio(one, i).toFixed(2)}</small>` })}</div>`;
  }
  ratio({ logp, old }, i) {                                 // of this token, or of the whole answer (GSPO)
    const moved = logp.map((x, t) => x - old[t]);
    return Math.exp(this.hp.surrogate === "gspo" ? moved.reduce((a, b) => a + b) / moved.length : moved[i]);
  }
  told() {                                                  // the formula of a token, with its own numbers
    const [r, i] = this.picked.split(".").map(Number), one = this.roles[r], A = one.adv;
    if (!one || one.tokens[i] === undefined) return "";
    const { surrogate, eps, eps_high: top, beta } = this.hp, high = top ?? eps, rho = this.ratio(one, i);
    const held = clip(rho, 1 - eps, 1 + high), digits = surrogate === "gspo" ? 5 : 3, f = (x) => x.toFixed(digits);
    const x = one.ref[i] - one.logp[i], k3 = Math.exp(Math.min(x, 20)) - Math.min(x, 20) - 1, still = held * A < rho * A;
    const gain = surrogate === "cispo"
      ? `The weight is clip(ρ, ${f(1 - eps)}, ${f(1 + high)}) A = ${f(held)} × ${signed(A)} = ${signed(held * A)}, times log p.`
      : `min(ρ A, clip(ρ, ${f(1 - eps)}, ${f(1 + high)}) A) = min(${signed(rho * A)}, ${signed(held * A)}). ${
        still ? "<b>Clipped</b>: the first part does not push this token any more." : "Not clipped."}`;
    return `${word(one.tokens[i])} in answer ${r + 1}: log p was ${one.old[i].toFixed(3)}, is ${one.logp[i].toFixed(3)}.
      Ratio ρ = ${f(rho)}${surrogate === "gspo" ? " (of the whole answer)" : ""}. ${gain} ${
      beta ? `The penalty: ${beta} × k3, k3 = ${k3.toFixed(4)}.` : "No KL penalty."} Push: <b>${signed(one.pushes[i])}</b>.`;
  }
}
