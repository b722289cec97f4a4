// What the reader has chosen. All of it stands in the address, so that a link brings it back:
//
//   #l=sft&r=ift&r.variant=released&q=1      left and right objective, a dial of the right one, the question
//   a, w, s                                  the right and the worse answer if changed (token ids), a seed for samples
"use strict";
const { questions, pieces, config, objectives } = DATA;
const named = (name) => objectives.find((one) => one.name === name);
const RATES = [1e-5, 3e-5, 1e-4, 2.5e-4, 5e-4, 1e-3], FIRST = 1;
const START = [{ objective: "sft", dials: {} }, { objective: "ift", dials: { variant: "released" } }];
const KEYS = ["l", "r"];                                    // of the two columns in the address
const whole = (text, most, otherwise) => (/^\d{1,6}$/.test(text || "") ? Math.min(+text, most) : otherwise);

let state = load();

function load() {                                           // what is odd in an address is left out, without a word
  const given = Common.read();
  return { question: whole(given.q, questions.length - 1, FIRST), seed: whole(given.s, 999999, 0),
    answer: tokensOf(given.a), rejected: tokensOf(given.w), sides: KEYS.map((key, i) => sideOf(given, key, START[i])) };
}
function tokensOf(text) {
  const list = /^\d+(\.\d+){0,23}$/.test(text || "") ? text.split(".").map(Number) : [];
  return list.length && list.every((id) => id < pieces.length) ? list : null;
}
function sideOf(given, key, start) {
  const objective = named(given[key]);
  if (!objective) return { objective: start.objective, dials: { ...start.dials } };
  const dials = {};
  for (const dial of objective.dials) {
    const text = given[`${key}.${dial.name}`];
    const value = dial.choices ? dial.choices.find((choice) => `${choice}` === text) : +text;
    const fits = dial.choices ? value !== undefined : text && value >= dial.low && value <= dial.high;
    if (fits && value !== dial.default) dials[dial.name] = value;
  }
  if (RATES.includes(+given[`${key}.lr`])) dials.lr = +given[`${key}.lr`];
  return { objective: objective.name, dials };
}
function keep() {
  const { question: q, seed: s, answer, rejected, sides } = state, old = Object.keys(Common.read());
  const turned = sides.flatMap(({ dials }, i) => Object.entries(dials).map(([name, x]) => [`${KEYS[i]}.${name}`, x]));
  const ids = (list) => list && list.join(".");
  Common.write({ ...Object.fromEntries(old.map((key) => [key, ""])), l: sides[0].objective, r: sides[1].objective,
    ...Object.fromEntries(turned), q: q === FIRST ? "" : q, a: ids(answer), w: ids(rejected), s: s || "" });
}

const usual = (name) => Object.fromEntries(named(name).dials.map((dial) => [dial.name, dial.default]));
const dialsOf = (side) => ({ ...usual(side.objective), ...side.dials });
const rateOf = (side) => side.dials.lr || named(side.objective).lr;
const question = () => questions[state.question];
const row = () => ({ ...question(), answer: state.answer || question().answer,
  rejected: state.rejected || question().rejected, other: questions[(state.question + 1) % questions.length] });
