// One of the two columns: a model in a worker of its own, and what is seen of it.
"use strict";
const SHOWN = 8;                                            // tokens shown of an answer that it wrote itself
const families = [...new Set(objectives.map(({ family }) => family))];
const button = (what, text, more = "") =>
  `<button type="button" data-act="${what}" data-key="${what}" ${more}>${text}</button>`;

class Column {
  constructor(i, changed) {
    Object.assign(this, { i, changed, asked: 0, looking: 0, before: null, picked: null, open: false });
    this.elements = [["result", ["pick", "count", "chance", "says"]], ["cause", ["whose", "why", "pushes", "turn"]]]
      .map(([kind, parts]) => this.make(kind, parts));
    const code = new Blob([$("engine").textContent], { type: "text/javascript" });
    this.worker = new Worker(URL.createObjectURL(code));
    this.worker.onmessage = ({ data }) => this[`hear_${data.did}`](data);
    this.worker.onerror = ({ message }) => { show(this.part("why"), `This model has stopped with an error: ${esc(message)}`); };
    this.ask("load", { data: DATA });
    this.clear();
  }

  make(kind, parts) {                                       // what it can, and why: on a phone they stand apart
    const element = document.createElement("article");
    element.className = kind;
    element.setAttribute("aria-label", `${["left", "right"][this.i]} model: ${kind}`);
    element.innerHTML = parts.map((part) => `<div class="${part}"></div>`).join("");
    return element;
  }

  get side() { return state.sides[this.i]; }
  get sampled() { return named(this.side.objective).needs === "sampled"; }
  get busy() { return this.running || !this.latest || this.seen < this.looking || !this.before; }
  part(name) { return this.elements.map((one) => one.querySelector(`:scope > .${name}`)).find(Boolean); }
  holds(target) { return this.elements.some((one) => one.contains(target)); }
  ask(what, more = {}) { this.worker.postMessage({ do: what, id: ++this.asked, ...more }); return this.asked; }
  clear() { Object.assign(this, { steps: 0, running: 0, now: null, history: [], first: null, latest: null, said: [], teacher: "" }); }

  // ---- what is asked of the worker, and what it answers ---------------------------------------------------------
  look(talk = false) {
    this.looking = this.ask("look", { objective: this.side.objective, dials: dialsOf(this.side), row: row(),
      seed: state.seed, talk });
  }
  hear_look({ id, look }) {
    if (id !== this.looking) return;
    Object.assign(this, { latest: look, seen: id });
    if (!this.steps) this.remember();
    this.changed();
  }
  hear_said({ said, score }) {
    Object.assign(this, { said, score, old: said });
    this.changed();
  }
  hear_measured({ exam, stopping }) { this.measured({ exam, stopping }); }
  hear_step({ step, look, said, score, stopping }) {
    if (!this.running) return;
    Object.assign(this, { steps: this.steps + 1, latest: look, old: this.said, said, score });
    this.now = { ...this.now, stopping };
    this.remember();
    this.changed(`${this.name()}: step ${step}`);
  }
  hear_trained({ exam, stopping }) {
    this.running = 0;
    this.now = { exam, stopping };
    this.changed();
    tell([this.name(), "says", "count", "chance", "why"].map((part, k) => (k ? this.part(part).innerText : part)).join(". "));
  }
  hear_weights({ flat }) { this.given(flat); }
  weights() { this.ask("weights"); return new Promise((go) => { this.given = go; }); }

  reset() {
    this.ask("reset");
    this.clear();
    this.look(true);
    this.changed();
  }
  async teach(steps, other) {
    this.running = steps;
    this.changed();
    if (this.side.objective === "distill" && !this.steps) {
      this.teacher = other.steps ? `${other.name()}, steps: ${other.steps}` : "SFT, steps: 4";
      if (other.steps) this.ask("teacher", { flat: await other.weights() });
    }
    this.ask("train", { objective: this.side.objective, dials: dialsOf(this.side), steps, lr: rateOf(this.side),
      from: this.steps });
  }
  stop() { this.ask("stop"); }
  remember() {                                              // log p of each answer, and the push of its last token
    if (this.sampled) return;
    const { roles } = this.latest, { pushes, direct } = roles[0];
    const logs = roles.map(({ p }) => p.reduce((sum, x) => sum + Math.log(x), 0));
    if (!this.steps) Object.assign(this, { first: { push: pushes.at(-1), direct: direct && direct.at(-1) }, history: [] });
    this.history.push(logs);
  }
  name() { return called(this.side); }

  // ---- what is seen ---------------------------------------------------------------------------------------------
  draw() {
    this.drawPick(), this.drawSays(), this.drawCount(), this.drawTurn();
    this.part("whose").textContent = this.name();
    if (this.latest) this.drawPushes();
    show(this.part("why"), this.now?.exam && !this.running ? this.why() : esc(this.about()));
  }
  about() {
    const { title, sentence, note } = named(this.side.objective);
    return `${title}: ${sentence} ${note || ""}`;
  }
  why() {
    const moves = (r) => ({ then: this.history[0]?.[r], now: this.history.at(-1)?.[r] }), lesson = DATA.lessons[this.side.objective];
    const words = WHY[kindOf(this.side)]({ chance: { then: this.before.stopping, now: this.now.stopping },
      last: this.first || {}, right: moves(0), wrong: moves(1), teacher: this.teacher });
    return `${words} ${lesson ? `<a href="${lesson}">Lesson ${lesson.match(/(\w+)\.\w+$/)[1]}</a>` : ""}`;
  }
  drawPick() {
    const { objective } = this.side, { variant } = dialsOf(this.side), released = objective === "ift" && variant === "released";
    const option = (value, text, on) => `<option value="${value}" ${on ? "selected" : ""}>${esc(text)}</option>`;
    const group = (family) => `<optgroup label="${esc(family)}">${objectives.filter((one) => one.family === family)
      .map(({ name }) => (name === "ift" ? option("released", IFT.released, released) : "")
        + option(name, name === "ift" ? IFT.detached : name.toUpperCase().replace("_", "-"), name === objective && !released))
      .join("")}</optgroup>`;
    const constants = objective === "ift" && IFT[variant] ? `<label class="check"><input type="checkbox"
      data-act="constants" data-key="constants" ${released ? "" : "checked"}> weights as constants</label>` : "";
    show(this.part("pick"), `<label><span class="soft">learns by</span> <select data-act="choose" data-key="choose">${families.map(group).join("")}
      </select></label>${constants}`);
  }
  drawSays() {
    const done = this.steps ? `After ${this.steps} ${this.steps === 1 ? "step" : "steps"}` : "Before";
    show(this.part("says"), `<span class="who">${done} it says${
      this.said.length ? ` (score ${this.score.toFixed(2)})` : ""}:</span> <span data-key="${this.steps}">${
      this.said.length ? spoken(this.said, this.old) : "…"}</span>`);
  }
  drawCount() {
    if (!this.before) return;
    const ends = (this.now?.exam || this.before.exam).map(stops), of = ends.length, n = ends.filter(Boolean).length;
    const was = this.before.exam.filter(stops).length, then = this.before.stopping, now = this.now?.stopping ?? then;
    const known = !this.running && (this.now?.exam || !this.steps);
    show(this.part("count"), `<span class="who">Answers that stop:</span> ${known
      ? `<span class="dots" aria-hidden="true">${ends.map((end) => (end ? "●" : "○")).join("")}</span> <b>${
        this.steps ? `${was} → ` : ""}${n} of ${of}</b>` : "…"}`);
    show(this.part("chance"), `<span class="who">Chance to stop after a right answer:</span>
      <b>${this.steps ? fromTo({ then: 100 * then, now: 100 * now }, 0) : (100 * then).toFixed(0)} %</b>
      <span class="gauge" style="--then:${then.toFixed(4)};--now:${now.toFixed(4)}" aria-hidden="true"><i></i><u></u></span>`);
  }
  drawPushes() {
    const { roles } = this.latest;
    const most = Math.max(1.6, ...roles.flatMap(({ pushes, direct = [] }) => [...pushes, ...direct].map(Math.abs)));
    const buttons = !this.sampled && this.side.objective !== "sftmix";
    show(this.part("pushes"), roles.map((one, r) => {
      const n = this.sampled ? Math.min(SHOWN, one.tokens.length) : one.tokens.length, more = one.tokens.length - n;
      const label = one.tokens.map((id, i) => `${pieces[id].trim()} ${signed(one.pushes[i])}`).join(", ");
      const press = (i) => `<button type="button" data-key="${r}.${i}" data-act="pick:${r}.${i}"
        aria-pressed="${this.picked === `${r}.${i}`}">${word(one.tokens[i])}</button>`;
      return `<div><p class="role">${this.heading(one, r)}${more ? `; ${more} more tokens` : ""}</p>
        ${strip(one.pushes.slice(0, n), { most, label, direct: one.direct,
    word: (i) => (buttons ? press(i) : word(one.tokens[i])),
    under: (i) => `<small class="chance">${percent(one.p[i])}</small>` })}</div>`;
    }).join("") + this.edits(buttons));
  }
  heading(one, r) {
    if (this.latest.roles.length > 1) return roleName(one, r, this.sampled);
    return `How hard one step pushes the tokens of ${one.score === 1 && one.tokens.at(-1) === config.end
      ? "a right answer" : `this answer (${roleName(one, r).split(": ")[1]})`}`;
  }
  edits(buttons) {
    if (this.sampled) return `<div class="row edits">${button("draw", "draw four other answers")}</div>`;
    const [r, i] = (this.picked || "0.0").split(".").map(Number), tokens = (this.latest.roles[r] || {}).tokens || [];
    const on = buttons && this.picked && tokens[i] !== undefined;
    return `<div class="row edits">${[
      on && tokens.length > 1 ? button("drop", `drop ${word(tokens[i])}`) : "",
      on && i + 1 < tokens.length ? button("swap", `swap it with ${word(tokens[i + 1])}`) : "",
      buttons && this.latest.roles.length > 1 ? button("exchange", "exchange the two answers") : "",
      state.answer || state.rejected ? button("undo", "the answer as it was") : "",
      buttons && !on ? '<small class="soft">Press a word to drop or move it.</small>' : ""].join("")}</div>`;
  }
  drawTurn() {
    const rates = { name: "lr", choices: RATES, default: named(this.side.objective).lr, help: "learning rate" };
    show(this.part("turn"), `<details ${this.open ? "open" : ""}><summary>settings of ${esc(this.name())}</summary><div class="dials">${
      [...named(this.side.objective).dials, rates].map((one) => this.dial(one)).join("")}</div></details>`);
  }
  dial({ name, choices, low, high, step, help, default: normal }) {
    const value = this.side.dials[name] ?? normal, id = `dial-${KEYS[this.i]}-${name}`;
    const common = `id="${id}" data-dial="${name}" data-key="${id}"`, about = `<small>${esc(help)}</small>`;
    if (typeof normal === "boolean") {
      return `<div class="dial"><label><input type="checkbox" ${common} ${value ? "checked" : ""}> ${esc(name)}</label>${about}</div>`;
    }
    const option = (one) => `<option value="${one}" ${one === value ? "selected" : ""}>${one}</option>`;
    const input = choices ? `<select ${common}>${choices.map(option).join("")}</select>`
      : `<input type="range" ${common} min="${low}" max="${high}" step="${step}" value="${value}">`;
    const number = choices ? "" : ` <output>${+(+value).toPrecision(3)}</output>`;
    return `<div class="dial"><label for="${id}">${esc(name)}${number}</label>${input}${about}</div>`;
  }
}
