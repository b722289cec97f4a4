// The page: two columns, one button, what the reader presses, and the address.
"use strict";
const $ = (id) => document.getElementById(id);
const STEPS = 4, WAIT = 3;                                  // steps of a press; seconds until it starts by itself
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const columns = state.sides.map((_, i) => new Column(i, draw)), rollouts = new Rollouts($("rollouts"));
$("columns").append(...columns.map(({ elements }) => elements[0]), ...columns.map(({ elements }) => elements[1]));
columns[0].measured = (found) => { columns.forEach((one) => { one.before = found; }), draw(), count(); };
const both = (f) => columns.forEach(f);
const teaching = () => columns.some(({ running }) => running);

function draw(aloud = "") {
  const step = Math.max(...columns.map(({ steps }) => steps)), ready = columns.every(({ latest, before }) => latest && before);
  $("question").textContent = question().text;
  $("teach").textContent = teaching() ? `Stop (step ${step})` : `Teach both, ${STEPS} ${step ? "more steps" : "steps"}`;
  $("teach").disabled = !ready;
  $("again").disabled = !step;
  $("play").setAttribute("aria-busy", teaching() || columns.some(({ busy }) => busy));
  both((one) => one.draw());
  if (aloud) tell(aloud);
}

// ---- it starts by itself: not if the reader has begun to do something, nor where little should move --------------
let left = calm.matches ? 0 : WAIT, clock;
function count() {
  if (!left || teaching()) return;
  $("soon").textContent = `starts by itself in ${left} s`;
  clock = setTimeout(() => { left -= 1, left ? count() : (quiet(), teach()); }, 1000);
}
function quiet() {
  left = 0, clearTimeout(clock), $("soon").textContent = "";
}
["pointerdown", "keydown"].forEach((kind) => addEventListener(kind, quiet, { once: true }));

// ---- what the reader does ---------------------------------------------------------------------------------------
function teach() {
  both((one, i) => one.teach(STEPS, columns[1 - i]));
}
function changed({ talk = false } = {}) {                   // the answer, the question or the seed: both look again
  keep();
  both((one) => { one.history = [], one.look(talk); });
  draw();
}
function turned(column) {                                   // other dials: a model that has learnt begins again
  keep();
  const steps = column.steps;
  if (steps) column.reset();
  else column.look();
  return steps;
}
function retaught(column) {                                 // ... and is taught as long as it had been
  const steps = turned(column) || columns[1 - column.i].steps;
  if (steps) column.teach(steps, columns[1 - column.i]);
  else draw();
}
function edit(column, change) {                             // the ids of the picked answer, changed
  const [r, i] = column.picked.split(".").map(Number), ids = [...column.latest.roles[r].tokens];
  column.picked = `${r}.${change(ids, i)}`;
  state[r ? "rejected" : "answer"] = ids;
  changed();
}
const ACT = {
  pick: (column, place) => { column.picked = column.picked === place ? null : place, draw(); },
  drop: (column) => edit(column, (ids, i) => { ids.splice(i, 1); return Math.min(i, ids.length - 1); }),
  swap: (column) => edit(column, (ids, i) => { [ids[i], ids[i + 1]] = [ids[i + 1], ids[i]]; return i + 1; }),
  exchange() { [state.rejected, state.answer] = [row().answer, row().rejected], changed(); },
  undo() { state.answer = state.rejected = null, both((one) => { one.picked = null; }), changed(); },
  draw() { state.seed += 1, changed(); },
};
const CHANGE = {                                            // select and check boxes of a column
  choose(column, { value }) {
    const dials = value === "released" ? { variant: "released" } : {};
    state.sides[column.i] = { objective: value === "released" ? "ift" : value, dials };
    column.picked = null, retaught(column);
  },
  constants(column, { checked }) {
    column.side.dials.variant = checked ? "detached" : "released";
    if (checked) delete column.side.dials.variant;
    retaught(column);
  },
};
const columnOf = (target) => columns.find((one) => one.holds(target));
document.addEventListener("click", ({ target }) => {
  const on = target.closest("button[data-act]"), [what, argument] = on ? on.dataset.act.split(":") : [];
  if (!on) return;
  const column = columnOf(on), key = on.dataset.key;
  if (column) ACT[what](column, argument);
  else rollouts.ACT[what](argument);
  if (!document.activeElement || document.activeElement === document.body)      // what was pressed may be gone
    (column?.part("pushes") || $("rollouts")).querySelector(`[data-key="${key}"], .edits button, .bars button`)?.focus();
});
document.addEventListener("change", ({ target }) => {
  if (CHANGE[target.dataset.act]) CHANGE[target.dataset.act](columnOf(target), target);
});
document.addEventListener("input", ({ target }) => {
  const { dial: name } = target.dataset, column = columnOf(target);
  if (!name) return;
  const about = named(column.side.objective).dials.find((one) => one.name === name) || { choices: RATES };
  const { choices, default: normal } = about, text = target.value;
  const value = target.type === "checkbox" ? target.checked : choices ? choices.find((one) => `${one}` === text) : +text;
  column.side.dials[name] = value;
  if (value === normal) delete column.side.dials[name];
  turned(column), draw();
});
document.addEventListener("toggle", ({ target }) => {
  const column = columnOf(target);
  if (column) column.open = target.open;
  if (target.id === "inspect" && target.open) rollouts.start();
}, true);
$("other").onclick = () => {
  Object.assign(state, { question: (state.question + 1) % questions.length, answer: null, rejected: null });
  both((one) => { one.picked = null; });
  changed({ talk: true });
  if (rollouts.worker) rollouts.sample();
};
$("teach").onclick = () => (teaching() ? both((one) => one.stop()) : teach());
$("again").onclick = () => both((one) => one.reset());
addEventListener("hashchange", () => {
  const old = JSON.stringify(state.sides);
  state = load();
  both((one) => { one.picked = null; });
  if (JSON.stringify(state.sides) === old) changed({ talk: true });
  else both((one) => one.reset());
  $("play").scrollIntoView();                               // the links stand far below what they change
});
Common.theme($("theme"));
both((one) => one.look(true));
columns[0].ask("measure");
draw();
