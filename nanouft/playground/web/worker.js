// Each model has a thread of its own: here it answers, is looked at and learns, and the page stays smooth.
//
// A message says what to do: load, look, measure, train, stop, reset, rollout, use. Its answer carries the same `id`.
// A training run lets other messages in between two steps, so one can turn a dial or stop while it runs.
"use strict";
let model, data, view, kept, stopped = false;
let run = 0;                                                // grows with each reset: what was asked before is void
const pause = () => new Promise((go) => setTimeout(go));    // messages that wait are read now
const LONGEST = 28;                                         // tokens of an answer; who is not done then does not stop
const BATCH = 8;                                            // answers of a step; the model's own: 4 to each question
const TEACHER = { objective: "sft", steps: 4, lr: 2.5e-4 }; // who teaches in distillation, if nobody has learnt yet

// How hard would a step push the tokens of this row? `direct`: the push if the weights of IFT were constants.
function look({ objective, dials, row, seed }) {
  const seen = model.look(row, objective, dials, seed);
  const weighs = objective === "ift" && ["released", "algorithm1"].includes(dials.variant) && !dials.detach;
  const direct = weighs ? model.look(row, objective, { ...dials, detach: true }, seed).roles : [];
  seen.roles.forEach((one, r) => {
    one.direct = direct[r] && direct[r].pushes;
    one.score = score(row.task, one.tokens, data);
  });
  return seen;
}
const say = (prompt, most = LONGEST) => model.say(prompt, { most });
function sayNow() {                                         // to the question that is looked at, and how right it is
  const said = say(view.row.prompt);
  return { said, score: score(view.row.task, said, data) };
}
async function measure() {                                  // all questions: what it says, and the chance to stop
  const exam = [];
  for (const { prompt } of data.questions) exam.push(say(prompt)), await pause();
  return { exam, stopping: model.stopping(data.questions) };
}
function rowsOf(step, objective) {                          // the demonstrations of a step
  const n = objectives[objective].credit ? BATCH / 4 : BATCH, first = step * n;
  return Array.from({ length: n }, (_, i) => data.demos[(first + i) % data.demos.length]);
}
function needsTeacher(objective) {                          // teach a second copy first, if there is none
  if (!objectives[objective].taught || model.teacher !== model.reference) return;
  const copy = new Model(data);
  for (let step = 0; step < TEACHER.steps; step++) copy.step(rowsOf(step, "sft"), "sft", {}, TEACHER.lr);
  model.teacher = copy.weights;
}
async function train({ objective, dials, steps, lr, from, id }, mine) {
  stopped = false;
  needsTeacher(objective);
  for (let step = 1; step <= steps && mine === run && !stopped; step++) {
    const { loss, norm } = model.step(rowsOf(from + step - 1, objective), objective, dials, lr);
    postMessage({ did: "step", id, step, loss, norm, look: look(view), ...sayNow(),
      stopping: model.stopping(data.questions) });
    await pause();
  }
}
let queue = Promise.resolve();                              // what takes longer waits for its turn
function inTurn(did, id, job) {
  const mine = run;
  queue = queue.then(async () => {
    if (mine !== run) return;
    if (job) await job(mine);
    const found = await measure();
    if (mine === run) postMessage({ did, id, ...found });
  }).catch((error) => setTimeout(() => { throw error; }));  // so that the page hears of it
}
// One step on the kept rollout, or none; then how each form of the loss would push on.
function onRollout({ id, hp, steps, lr }) {
  for (let k = 0; k < steps; k++) model.step([kept], "grpo", hp, lr);
  postMessage({ did: "rollout", id, steps: model.steps, roles: model.look(kept, "grpo", hp).roles });
}
const DO = {
  load: (message) => { data = message.data, model = new Model(data); },
  look(message) {
    view = message;
    needsTeacher(message.objective);
    if (message.talk) postMessage({ did: "said", ...sayNow() });
    postMessage({ did: "look", id: message.id, look: look(view) });
  },
  measure: ({ id }) => inTurn("measured", id),
  train: (message) => inTurn("trained", message.id, (mine) => train(message, mine)),
  stop: () => { stopped = true; },
  reset: () => { run += 1, model.reset(); },
  weights: ({ id }) => postMessage({ did: "weights", id, flat: model.flat }),
  teacher: ({ flat }) => { model.teacher = model.named(flat); },
  rollout(message) {
    model.reset();
    kept = model.rollout(message.row, message.samples, message.seed);
    onRollout(message);
  },
  use: (message) => onRollout(message),
};
addEventListener("message", ({ data: message }) => DO[message.do](message));
