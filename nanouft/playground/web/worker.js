// The model has a thread of its own: here it answers, looks and trains, and the page stays smooth.
//
// Each message says what to do: load, say, look, train, stop, reset. A training run lets other messages in between two
// steps, so one can turn a dial or stop while it runs.
"use strict";
let model, data, view, stopped = false;
let run = 0;                                                // grows with each reset: what was asked before is void
const pause = () => new Promise((go) => setTimeout(go));    // messages that wait are read now
const LONGEST = 28;                                         // tokens of an answer; who is not done then does not stop
const BATCH = 8;                                            // answers of a step; the model's own: 4 to each question

function look({ objective, dials, row, seed }) {            // how hard would a step push this row's tokens?
  view = { objective, dials, row, seed };
  return model.look(row, objective, dials, seed);
}
function say(prompt, onToken) {
  return model.say(prompt, { most: LONGEST, onToken });
}
async function exam() {                                     // the answers to all questions
  const answers = [];
  for (const { prompt } of data.questions) answers.push(say(prompt)), await pause();
  return answers;
}
async function train({ objective, dials, steps, lr, from }, mine) {
  const n = objectives[objective].credit ? BATCH / 4 : BATCH;
  stopped = false;
  for (let step = 1; step <= steps && mine === run && !stopped; step++) {
    const began = performance.now(), first = (from + step - 1) * n;
    const rows = Array.from({ length: n }, (_, i) => data.demos[(first + i) % data.demos.length]);
    const { loss, norm } = model.step(rows, objective, dials, lr);
    const seconds = (performance.now() - began) / 1000;
    postMessage({ did: "step", step, loss, norm, seconds, look: look(view), said: say(view.row.prompt) });
    await pause();
  }
}
let queue = Promise.resolve();                              // what takes longer waits for its turn
function inTurn(did, job) {
  const mine = run;
  queue = queue.then(async () => {
    if (mine !== run) return;
    if (job) await job(mine);
    const found = await exam();
    if (mine === run) postMessage({ did, exam: found });
  }).catch((error) => setTimeout(() => { throw error; }));  // so that the page hears of it
}
const DO = {
  load: (message) => { data = message.data, model = new Model(data); },
  say: ({ prompt, id }) => { say(prompt, ({ token, p }) => postMessage({ did: "token", id, token, p })),
    postMessage({ did: "said", id }); },
  look: (message) => postMessage({ did: "look", look: look(message), id: message.id }),
  exam: () => inTurn("exam"),
  train: (message) => inTurn("trained", (mine) => train(message, mine)),
  stop: () => { stopped = true; },
  reset: () => { run += 1, model.reset(); },
};
addEventListener("message", ({ data: message }) => DO[message.do](message));
