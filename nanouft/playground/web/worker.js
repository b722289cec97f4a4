"use strict";
/* A thread with one model, so that the page stays smooth.

   The page sends {data} once, then {id, name, dials, steps, fresh}: teach with this method so many
   steps, from the start model if `fresh`. Back come frames {id, frame}: one before the first step
   if `fresh`, and one after each step. A message with a new id ends what was going on. */
const BATCH = 8;                            // answers of a step
let data, model, latest;

const pause = () => new Promise((go) => setTimeout(go));        // messages that wait are read now

function stops(ids) {                       // does the answer end before it asks another question?
  return ids.find((id) => data.pieces[id].startsWith("<|")) === data.config.end;
}

/* What the page shows of a model; record() in pack.py computes the same. */
function frame(name, dials) {
  const said = model.say(data.questions.map(({ prompt }) => prompt));
  return {
    said: said[data.shown],
    stops: said.filter(stops).length,
    chance: model.stopping(data.questions),
    push: model.look(data.questions[data.shown], name, dials),
  };
}

function demonstrations(step) {
  return Array.from({ length: BATCH }, (_, i) =>
    data.demos[(step * BATCH + i) % data.demos.length]);
}

async function teach({ id, name, dials, steps, fresh }) {
  if (fresh) {
    model.reset();
    postMessage({ id, frame: frame(name, dials) });
  }
  for (let k = 0; k < steps; k++) {
    await pause();
    if (id !== latest) return;
    model.step(demonstrations(model.steps), name, dials, data.rate);
    postMessage({ id, frame: frame(name, dials) });
  }
}

addEventListener("message", ({ data: message }) => {
  if (message.data) {
    data = message.data;
    model = new Model(data);
  } else {
    latest = message.id;
    teach(message);
  }
});
