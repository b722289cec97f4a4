// What the reader sees and moves. The model itself lives in a worker (worker.js); this file asks it and draws.
//
// `state` is what the reader has chosen, and all of it stands in the address. `model` is what the worker has trained.
"use strict";
const $ = (id) => document.getElementById(id), { esc, signed, tell, show, strip } = Common;
const { questions, pieces, config, objectives } = DATA, named = (name) => objectives.find((o) => o.name === name);
const RATES = [1e-5, 3e-5, 1e-4, 2.5e-4, 5e-4, 1e-3], STEPS = 16, FIRST = 1;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const percent = (p) => `${p < 0.0095 && p > 0 ? "<1" : Math.round(100 * p)} %`;
const total = (list) => list.reduce((a, b) => a + b, 0);

// ---- the state, and the address ------------------------------------------------------------------------------------
const fresh = () => ({ objective: "sft", dials: {}, question: FIRST, answer: null, rejected: null, seed: 0 });
const question = () => questions[state.question];
const row = () => ({ ...question(), answer: state.answer || question().answer,
  rejected: state.rejected || question().rejected, other: questions[(state.question + 1) % questions.length] });
const usual = (name) => Object.fromEntries(named(name).dials.map((dial) => [dial.name, dial.default]));
const dials = () => ({ ...usual(state.objective), ...state.dials });
const rate = () => state.dials.lr || named(state.objective).lr;
function keep() {
  const ids = (list) => list && list.join("."), { question: q, seed: s } = state;
  const turned = named(state.objective).dials.map(({ name }) => [`d.${name}`, state.dials[name]]);
  Common.write({ o: state.objective, q: q === FIRST ? "" : q, a: ids(state.answer), w: ids(state.rejected), s: s || "",
    lr: state.dials.lr, ...Object.fromEntries([...Object.keys(Common.read()).filter((key) => key.startsWith("d."))
      .map((key) => [key, ""]), ...turned]) });
}
function load() {                                           // what is odd in an address is left out, without a word
  const given = Common.read(), found = fresh();
  const whole = (text, most, otherwise) => (/^\d{1,6}$/.test(text || "") ? Math.min(+text, most) : otherwise);
  if (named(given.o)) found.objective = given.o;
  found.question = whole(given.q, questions.length - 1, FIRST), found.seed = whole(given.s, 999999, 0);
  for (const [key, name] of [["a", "answer"], ["w", "rejected"]]) {
    const list = /^\d+(\.\d+){0,23}$/.test(given[key] || "") ? given[key].split(".").map(Number) : [];
    if (list.length && list.every((id) => id < pieces.length)) found[name] = list;
  }
  for (const dial of named(found.objective).dials) {
    const text = given[`d.${dial.name}`];
    const value = dial.choices ? dial.choices.find((choice) => `${choice}` === text) : +text;
    const fits = dial.choices ? value !== undefined : text && value >= dial.low && value <= dial.high;
    if (fits && value !== dial.default) found.dials[dial.name] = value;
  }
  if (RATES.includes(+given.lr)) found.dials.lr = +given.lr;
  return found;
}

// ---- what the worker has trained ------------------------------------------------------------------------------------
const base = () => ({ objective: "", dials: {}, steps: 0, history: [] });     // history: log-probs after some steps
let state = load(), model = base(), running = false, picked = null, latest = null, asked = 0, tested = [],
  surprise = "";
function called(objective, set) {                           // "IFT as released", "DPO, beta 0.5"
  const at = { ...usual(objective), ...set }, other = { ...set };
  let name = objective.toUpperCase().replace("_", "-");
  if (objective === "ift") {
    delete other.variant;
    name += { released: at.detach ? ", token weights as constants" : " as released",
      detached: ", token weights as constants" }[at.variant] || `, ${at.variant}`;
  }
  return [name, ...Object.entries(other).map(([key, value]) => `${key} ${value}`)].join(", ");
}
const speaker = () => (!model.steps ? "The base"
  : `${called(model.objective, model.dials)}, ${model.steps} ${model.steps === 1 ? "step" : "steps"}`);
const same = () => model.objective === state.objective && JSON.stringify(model.dials) === JSON.stringify(state.dials);
const goesOn = () => model.steps && same();

// ---- the worker -----------------------------------------------------------------------------------------------------
const worker = new Worker(URL.createObjectURL(new Blob([$("engine").textContent], { type: "text/javascript" })));
const ask = (what, more = {}) => worker.postMessage({ do: what, id: ++asked, ...more });
let looking = 0, seen = 0, saying = 0;                       // numbers of the last questions, and of the last answer
function look() {
  ask("look", { objective: state.objective, dials: dials(), row: row(), seed: state.seed });
  looking = asked;
  $("look").setAttribute("aria-busy", true);
}
function say() {
  speech = { tokens: [], chances: [], shown: 0, over: false, before: [] };
  ask("say", { prompt: question().prompt });
  saying = asked;
  type();
}
const HEAR = {
  token: ({ id, token }) => { if (id === saying) speech.tokens.push(token); },
  said: ({ id }) => { if (id === saying) speech.over = true; },
  look: (heard) => { if (heard.id === looking) latest = heard.look, seen = heard.id, draw(); },
  exam: ({ exam }) => { tested = [{ label: "The base", exam }], draw(); },
  step(heard) {
    if (!running) return;
    model.steps += 1;
    remember(heard.look);
    latest = heard.look;
    speech = { tokens: heard.said, shown: heard.said.length, over: true, before: speech.tokens };
    $("progress").textContent = `Last step: loss ${heard.loss.toFixed(3)}, gradient ${
      heard.norm.toFixed(2)}, ${heard.seconds.toFixed(1)} s`;
    if (heard.step % 4 === 0) tell(`step ${heard.step}`);
    drawSpeech(), drawRun(), drawLook();
  },
  trained({ exam }) {
    running = false;
    const label = speaker();
    tested = [tested[0], ...tested.slice(1).filter((one) => one.label !== label).slice(-4), { label, exam }];
    surprise = findSurprise(exam);
    draw();
    tell(`${label}. ${$("verdict").textContent} ${$("surprise").textContent}`);
  },
};
worker.onmessage = ({ data }) => { if (HEAR[data.did]) HEAR[data.did](data); };
worker.onerror = (event) => { $("verdict").textContent = `The model has stopped with an error: ${event.message}`; };
function remember({ roles }) {
  if (drawn()) return;                                      // the answers are others at each step
  model.history.push({ step: model.steps, roles: roles.map(({ role, p }) => ({ role,
    logp: total(p.map(Math.log)) })) });
}
const ANEW = "Another objective: the model is the base again.";
function reset(why = "") {
  ask("reset");
  model = base(), running = false, surprise = "", $("progress").textContent = why;
  tell(why);
  if (!tested.length) ask("exam");
  say(), look();
}
function train(steps) {
  if (model.steps && !goesOn()) ask("reset"), model = base();
  Object.assign(model, { objective: state.objective, dials: { ...state.dials } });
  if (!model.steps) model.history = [], remember(latest);
  running = true, surprise = "";
  ask("train", { objective: state.objective, dials: dials(), steps, lr: rate(), from: model.steps });
  draw();
}

// ---- the answer is typed --------------------------------------------------------------------------------------------
let speech = { tokens: [], shown: 0, over: false, before: [] }, typist;
function type() {                                           // one token after the other, at the pace of reading
  clearTimeout(typist);
  speech.shown = calm.matches ? speech.tokens.length : Math.min(speech.shown + 1, speech.tokens.length);
  drawSpeech();
  if (!speech.over || speech.shown < speech.tokens.length) typist = setTimeout(type, calm.matches ? 30 : 110);
  else tell(`${speaker()} says: ${plain(speech.tokens)}. ${$("verdict").textContent}`);
}
const isMark = (id) => /^<\|.*\|>$/.test(pieces[id]), plain = (ids) => ids.map((id) => pieces[id]).join("").trim();
const mark = (id, own = false) => `<span class="mark ${id === config.end && !own ? "end" :
  ""}">${esc(pieces[id])}</span>`;
const word = (id, own) => (isMark(id) ? mark(id, own) : esc(pieces[id].trim() || "␣"));
function spoken(ids, before = ids) {
  let own = false;
  return ids.map((id, i) => {
    own ||= isMark(id) && id !== config.end;
    const space = isMark(id) && id !== config.end ? "<br>" : " ", changed = before.length && before[i] !== id;
    return `${isMark(id) ? space : pieces[id].startsWith(" ") ? " " : ""}<span class="${own ? "own" : ""} ${
      changed ? "new" : ""}">${word(id, own)}</span>`;
  }).join("");
}
function drawSpeech() {
  const { tokens, shown, over, before } = speech, done = over && shown === tokens.length;
  $("answer").className = done ? "" : "typing";
  show($("answer"), spoken(tokens.slice(0, shown), before));
  $("speaker").textContent = `${speaker()}:`;
  const at = tokens.findIndex(isMark), ended = tokens.at(-1) === config.end;
  show($("verdict"), !done ? "" : stops(tokens)
    ? `<b>It stops.</b> ${mark(config.end)} is the token with which an answer ends.`
    : `<b>It does not stop.</b> Its answer should be followed by ${mark(config.end)}. ${at < 0 ? "It goes on"
      : `Instead it writes ${mark(tokens[at])}, as if you asked again, and answers that, too`}${
      ended ? `: its ${mark(config.end)} comes too late` : ", until we cut it off"}.`);
}

// ---- bars -----------------------------------------------------------------------------------------------------------
const ROLES = { answer: "right answer", chosen: "right answer", rejected: "wrong answer",
  gold: "right answer, once more",
  "good answer": "good answer (label: good, score 1)", "bad answer": "bad answer (label: bad)",
  sure: "right answer", unsure: "neighbour", mix_sure: "states mixed: its share",
  mix_unsure: "states mixed: the neighbour's share" };
const drawn = () => named(state.objective).needs === "sampled";
const editable = () => !drawn() && state.objective !== "sftmix";
const roleName = ({ role, reward }, r) => (!drawn() ? ROLES[role] || role
  : `its own answer ${r + 1}${reward === undefined ? "" : `: score ${reward.toFixed(2)}`}`);
const SHOWN = 8;                                            // tokens shown of an answer that it has drawn
function drawLook() {
  const { roles } = latest, most = Math.max(1.6, ...roles.flatMap(({ pushes }) => [...pushes].map(Math.abs)));
  $("steep").hidden = most < 4;
  $("strips").className = roles.length > 1 ? "many" : "";
  show($("strips"), roles.map((one, r) => {
    const n = drawn() ? Math.min(SHOWN, one.tokens.length) : one.tokens.length, more = one.tokens.length - n;
    const label = one.tokens.map((id, i) => `${pieces[id].trim()} ${signed(one.pushes[i])}`).join(", ");
    const button = (i) => `<button type="button" data-key="${r}.${i}" data-act="pick:${r}.${i}"
      aria-pressed="${picked === `${r}.${i}`}">${word(one.tokens[i])}</button>`;
    return `<div>${roles.length > 1 ? `<p class="role">${esc(roleName(one, r))}${more ?
      `; ${more} more tokens are pushed, too` : ""}</p>` : ""}
      ${strip(one.pushes.slice(0, n), { most, label, word: (i) => (editable() ? button(i) : word(one.tokens[i])),
    under: (i) => `<small class="chance">${percent(one.p[i])}</small>` })}</div>`;
  }).join(""));
}
const act = (what, text, more = "") =>
  `<button type="button" data-act="${what}" data-key="${what}" ${more}>${text}</button>`;
function drawEdits() {
  const changed = state.answer || state.rejected, [r, i] = (picked || "0.0").split(".").map(Number);
  const { tokens } = latest.roles[r] || latest.roles[0], chosen = picked && editable() && tokens[i] !== undefined;
  show($("edits"), [
    !editable() ? act("draw", "draw four other answers") : "",
    chosen && tokens.length > 1 ? act("drop", `drop ${word(tokens[i])}`) : "",
    chosen && i + 1 < tokens.length ? act("swap", `swap it with ${word(tokens[i + 1])}`) : "",
    editable() && latest.roles.length > 1 ? act("turn", "exchange the two answers") : "",
    changed ? act("undo", "the answer as it was") : "",
    editable() && !chosen ? '<small class="soft">Press a word to drop or move it.</small>' : ""].join(""));
}
function drawObjective() {
  const o = named(state.objective), { variant } = dials(), lesson = DATA.lessons[o.name];
  const isIft = o.name === "ift", isReleased = isIft && variant === "released";
  const two = [["sft", "SFT", o.name === "sft"], isIft && !isReleased ? ["ift", esc(called("ift", { variant })), true]
    : ["released", "IFT as released", isIft]];
  if (!two.some(([, , on]) => on)) two.push([o.name, esc(called(o.name, {})), true]);
  show($("two"), two.map(([name, text, on]) => act(`choose:${name}`, text, `aria-pressed="${on}"`)).join("")
    + (isIft ? `<label class="check"><input type="checkbox" data-act="constants" data-key="constants" ${
      isReleased ? "" : "checked"}> token weights are constants</label>` : ""));
  show($("about"), `<b>${esc(o.title)}</b>: ${esc(o.sentence)} ${esc(o.note || "")} ${
    lesson ? `<a href="${lesson}">Lesson ${lessonOf(o.name)}</a>` : ""}`);
  const rates = { name: "lr", choices: RATES, default: o.lr, help: "learning rate: how far a step goes" };
  show($("dials"), [...o.dials, rates].map(dial).join(""));
}
const HINT = ". The first push grows with it, but it dies away sooner: this is how it holds the model back";
function dial({ name, default: normal, low, high, step, choices, help }) {
  const value = state.dials[name] ?? normal, more = state.objective === "dpo" && name === "beta" ? HINT : "";
  const about = `<small id="help-${name}">${esc(help)}${more}</small>`;
  const common = `id="dial-${name}" data-dial="${name}" data-key="dial-${name}" aria-describedby="help-${name}"`;
  if (choices && choices.includes(true)) {
    const box = `<input type="checkbox" ${common} ${value ? "checked" : ""}>`;
    return `<div class="dial"><label class="check">${box} ${name}</label>${about}</div>`;
  }
  const option = (one) => `<option ${one === value ? "selected" : ""}>${esc(one)}</option>`;
  const input = choices ? `<select ${common}>${choices.map(option).join("")}</select>`
    : `<input type="range" ${common} min="${low}" max="${high}" step="${step}" value="${value}">`;
  const number = choices ? "" : ` <output>${+(+value).toPrecision(3)}</output>`;
  return `<div class="dial"><label for="dial-${name}">${name}${number}</label>${input}${about}</div>`;
}

// ---- training, and what became of it --------------------------------------------------------------------------------
function drawRun() {
  $("train").textContent = running ? `Stop (step ${model.steps})`
    : `Train ${STEPS} steps${goesOn() ? " more" : ", here"}`;
  $("train").disabled = !latest;
  $("one").disabled = running || !latest;
  $("reset").disabled = !model.steps && !running;
  show($("surprise"), surprise);
  $("about").hidden = Boolean(surprise);
  $("look").setAttribute("aria-busy", running || !tested.length || looking > seen);
  show($("chart"), model.history.length > 1 ? chart(model.history) : "");
  show($("results"), !tested.length ? "<p>The base is being asked …</p>" : `<table><thead><tr><th scope="col">model</th>
    <th scope="col">answers that end, of ${questions.length} questions</th><th scope="col">to this question it says</th></tr></thead>
    <tbody>${tested.map(({ label, exam }) => {
    const ends = exam.map(stops), n = ends.filter(Boolean).length;
    return `<tr><th scope="row">${esc(label)}</th><td><span class="dots" aria-hidden="true">${
      ends.map((end) => (end ? "●" : "○")).join("")}</span> ${n} of ${ends.length}</td>
      <td class="says">${spoken(exam[state.question])}</td></tr>`;
  }).join("")}</tbody></table>`);
}
function chart(history) {                                   // the log-probability of each answer, from step to step
  const W = 250, H = 110, [first, last] = [history[0], history.at(-1)], roles = first.roles.slice(0, 2);
  const all = history.flatMap((at) => at.roles.slice(0, 2).map(({ logp }) => logp)), low = Math.min(...all);
  const high = Math.max(...all, low + 0.1), x = (step) => (4 +
    ((step - first.step) / (last.step - first.step)) * (W - 8)).toFixed(1);
  const y = (logp) => (6 + ((high - logp) / (high - low)) * (H - 18)).toFixed(1);
  const line = (_, r) => `<polyline class="${"ab"[r]}" points="${
    history.map((at) => `${x(at.step)},${y(at.roles[r].logp)}`).join(" ")}"/>`;
  const told = (one, r) => `<p><svg viewBox="0 0 26 8" aria-hidden="true"><path class="${"ab"[r]}" d="M0,4H26"/></svg>${
    esc(roleName(one, r).split(" (")[0])}: ${minus(one.logp)} → <b>${minus(last.roles[r].logp)}</b></p>`;
  return `<svg viewBox="0 0 ${W} ${H}" aria-hidden="true"><path class="axis" d="M0,${H - 2}H${W}"/>${
    roles.map(line).join("")}</svg>
    <p>log p (logarithm of the chance of the whole answer), from step ${first.step} to step ${last.step}</p>${
    roles.map(told).join("")}`;
}

// ---- what is surprising: one sentence, true of the numbers that were just computed ----------------------------------
const surprises = {
  released: ({ ends, of }) => `Each of the 128 answers ended on ${mark(config.end)}, and ${
    ends ? `only ${ends}` : "none"} of its own ${of} does. This loss weighs a token by the losses after it, and the
    gradient also flows through the weights: they fall if an easy token after hard ones, such as ${mark(config.end)}, is
    made less likely. Tick “token weights are constants”, train again.`,
  detached: ({ ends, of }) => `${ends} of its ${of} answers end. The weights are the same numbers, but no gradient flows
    through them: that was all.`,
  sft: ({ ends, of }) => `${ends} of its ${of} answers end: every token is pushed alike, ${mark(config.end)} too.
    Now the other one: “IFT as released”, the same answers, the same number of steps.`,
  pair: ({ right, wrong }) => (right.now < right.then && right.now - right.then > wrong.now - wrong.then
    ? `The pair is won: the lead of the right answer grew by ${minus(right.now - right.then - wrong.now + wrong.then)}.
      Yet the right answer itself became less likely, log p ${range(right)}, though the bars push it up: the push
      against the wrong one, which begins alike, takes it along. The loss asks for a lead, and for nothing else.`
    : `log p of the right answer: ${range(right)}; of the wrong one: ${range(wrong)}. The difference ${
      right.now - right.then > wrong.now - wrong.then ? "grew" : "fell"}.`),
  free: ({ right, wrong }) => `No second model was asked: only this one, about both answers. Right answer: log p
    ${range(right)}; wrong answer: ${range(wrong)}.`,
  graded: ({ right, wrong }) => `No answer was compared with another: each came alone, with one judgement. Good answer:
    log p ${range(right)}; bad answer: ${range(wrong)}.`,
  sampled: ({ ends, of }) => `It was shown no right answer at all. It wrote four answers to each question and learnt
    from their scores. Now ${ends} of its ${of} answers end.`,
  other: ({ ends, of }) => `${ends} of its ${of} answers end.`,
};
const minus = (x) => x.toFixed(1).replace("-", "−");
const range = ({ then, now }) => `${minus(then)} → ${minus(now)}`;
const FREE = ["orpo", "simpo", "cpo", "slic", "asft"];      // no reference model (with their usual settings)
function findSurprise(exam) {
  const { name, needs } = named(state.objective), { variant, detach } = dials(), { history } = model;
  const moved = ({ logp }, r) => ({ then: logp, now: history.at(-1).roles[r].logp });
  const [right, wrong] = history.length ? history[0].roles.map(moved) : [];
  const form = variant === "released" && detach ? "detached" : variant;
  const kind = name === "ift" ? form : name === "sft" ? "sft" : FREE.includes(name) ? "free"
    : needs === "sampled" || (wrong && needs !== "answer") ? needs : "other";
  const words = (surprises[kind] || surprises.other)({ ends: exam.filter(stops).length, of: exam.length, right, wrong });
  return words + (DATA.lessons[name] ? ` <a href="${DATA.lessons[name]}">Lesson ${lessonOf(name)} takes it apart.</a>`
    : "");
}
const lessonOf = (name) => DATA.lessons[name].match(/(\w+)\.\w+$/)[1];
const stops = (ids) => ids.findIndex(isMark) === ids.length - 1 && ids.at(-1) === config.end;

function drawFamilies() {
  const families = [...new Set(objectives.map((o) => o.family))];
  show($("families"), families.map((family) =>
    `<div class="family" role="group" aria-label="${esc(family)}"><h3>${esc(family)}</h3><div class="row">${
    objectives.filter((o) => o.family === family).map((o) => act(`choose:${o.name}`, esc(o.name),
      `aria-pressed="${o.name === state.objective}" title="${esc(o.title)}"`)).join("")}</div></div>`).join(""));
}
function draw() {
  $("question").textContent = question().text;
  drawSpeech(), drawObjective(), drawRun(), drawFamilies();
  if (latest) drawLook(), drawEdits();
}

// ---- what the reader does -------------------------------------------------------------------------------------------
function changed() {
  keep(), look(), draw();
}
function edit(change) {                                     // the ids of the picked answer, changed
  const [r, i] = picked.split(".").map(Number), ids = [...latest.roles[r].tokens];
  picked = `${r}.${change(ids, i)}`;
  state[r ? "rejected" : "answer"] = ids;
  model.history = [];
  changed();
}
const ACT = {
  choose(name) {
    const released = name === "released";
    state = { ...state, objective: released ? "ift" : name, dials: released ? { variant: "released" } : {} };
    picked = null, surprise = "";
    keep();
    if (model.steps || running) reset(ANEW);
    else changed();
  },
  constants() {
    state.dials = { ...state.dials, variant: dials().variant === "released" ? "detached" : "released" };
    changed();
  },
  pick: (place) => { picked = picked === place ? null : place, draw(); },
  drop: () => edit((ids, i) => { ids.splice(i, 1); return Math.min(i, ids.length - 1); }),
  swap: () => edit((ids, i) => { [ids[i], ids[i + 1]] = [ids[i + 1], ids[i]]; return i + 1; }),
  turn() {
    [state.rejected, state.answer] = [row().answer, row().rejected];
    model.history = [], changed();
  },
  undo: () => { state.answer = state.rejected = picked = null, model.history = [], changed(); },
  draw: () => { state.seed += 1, changed(); },
};
document.addEventListener("click", ({ target }) => {
  const on = target.closest("[data-act]"), [what, argument] = on ? on.dataset.act.split(":") : [];
  if (!on || !latest) return;
  const key = on.dataset.key;
  ACT[what](argument);
  if (!document.activeElement || document.activeElement === document.body)
    $("look").querySelector(`[data-key="${key}"], #edits button, #two button`)?.focus();
});
document.addEventListener("input", ({ target }) => {
  const { dial: name } = target.dataset;
  if (!name) return;
  const about = named(state.objective).dials.find((one) => one.name === name) || { choices: RATES };
  const { choices, default: normal } = about, text = target.value;
  const value = target.type === "checkbox" ? target.checked
    : choices ? choices.find((one) => `${one}` === text) : +text;
  state.dials = { ...state.dials, [name]: value };
  if (value === normal) delete state.dials[name];
  changed();
});
$("other").onclick = () => {
  Object.assign(state, { question: (state.question + 1) % questions.length, answer: null, rejected: null });
  picked = null, model.history = [];
  keep(), say(), look(), draw();
};
$("train").onclick = () => (running ? ask("stop") : train(STEPS));
$("one").onclick = () => train(1);
$("reset").onclick = () => reset();
addEventListener("hashchange", () => {                      // who has learnt this objective goes on with it
  state = load(), picked = null, latest = null, model.history = [];
  if (!same() && model.objective) reset(ANEW);
  else say(), look(), draw();
  $("talk").scrollIntoView();                               // the links stand far below what they change
});
Common.theme($("theme"));
ask("load", { data: DATA });
delete DATA.weights;
say(), look(), ask("exam"), draw();
