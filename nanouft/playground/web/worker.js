"use strict";
/* A thread that teaches, so that the page stays smooth. It is sent {data, runs, steps} and answers,
   for each run {name, dials}, with a frame of the start model and one after each step. */
const BATCH = 8;                            // answers of a step

/* What the page shows of a model; frame() in pack.py computes the same. */
function frame(model, data, name, dials) {
  const said = model.say(data.questions.map(({ prompt }) => prompt));
  const firstMark = (ids) => ids.find((id) => data.pieces[id].startsWith("<|"));
  return {
    said: said[0],
    stops: said.filter((ids) => firstMark(ids) === data.config.end).length,
    chance: model.stopping(data.questions),
    push: model.look(data.questions[0], name, dials),
  };
}

addEventListener("message", ({ data: { data, runs, steps } }) => {
  for (const { name, dials } of runs) {
    const model = new Model(data);
    for (let k = 0; k <= steps; k++) {
      const rows = data.demos.slice((k - 1) * BATCH, k * BATCH);
      if (k) model.step(rows, name, dials, data.rate);
      postMessage(frame(model, data, name, dials));
    }
  }
});
