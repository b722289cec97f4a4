"use strict";
// The page: a record that plays when pressed, a check of it, and a model that learns in this tab.
const $ = (id) => document.getElementById(id);
const { pieces, config, questions, record, line } = DATA;
const STEPS = record.sft.frames.length - 1;
const TOO_FAR = 1e-3;                       // by so much the tab may differ from the record
const FRAMES = Object.values(record).flatMap(({ frames }) => frames);
const PUSHES = FRAMES.flatMap(({ push }) => push.flat());
const UNIT = 4.4 / Math.max(...PUSHES);     // rem of a push of 1: one scale for all bars
const LABELS = { released: "▲ IFT as released", detached: "△ IFT detached", dpo: "■ DPO" };
const COLOURS = { sft: "sft", ift: "ift", dpo: "pairs" };

// ---- a card: what a model says, whether it stops, how one step would push -----------------------
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const isMark = (id) => pieces[id].startsWith("<|");
const signed = (x) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(2)}`;
const percent = (x) => Math.round(100 * x);

function token(id) {
  const text = escaped(pieces[id].trim());
  return isMark(id) ? `<span class="mark">${text}</span>` : text;
}

function spoken(ids) {                      // of a question of its own only the beginning
  const own = ids.findIndex((id) => isMark(id) && id !== config.end);
  return own < 0 ? ids.map(token).join(" ") : `${ids.slice(0, own + 2).map(token).join(" ")} …`;
}

function bar(x, top) {                      // 0 lies `top` rem below the upper edge
  const end = top - UNIT * x, colour = `var(--${x < 0 ? "down" : "up"})`;
  return `<u style="top: ${top}rem"></u><i style="top: ${Math.min(top, end)}rem; height: ${
    Math.abs(end - top)}rem; background: ${colour}"></i>
    <b style="top: ${end + (x < 0 ? 0.1 : -1.2)}rem; color: ${colour}">${signed(x)}</b>`;
}

function bars(push, k) {                    // higher only if a visitor's settings push more
  const [side, which] = [["answer", "a right answer"], ["rejected", "a wrong answer"]][k];
  const top = 1.2 + UNIT * Math.max(...PUSHES, ...push);
  const high = top + 1.2 - UNIT * Math.min(...PUSHES, ...push);
  const columns = push.map((x, t) => `<div>${token(questions[0][side][t])}
    <div class="bar" style="height: ${high}rem">${bar(x, top)}</div></div>`);
  return `<p class="small soft">How the next step pushes ${which}</p>
    <div class="bars">${columns.join("")}</div>`;
}

class Card {
  constructor(parent, heading) {
    this.element = document.createElement("article");
    this.element.innerHTML = `
      <div class="panel top">
        <div class="head">${heading}</div>
        <p><span class="dots" aria-hidden="true"></span> <b class="stops"></b></p>
      </div>
      <div class="panel body">
        <p class="says"></p>
        <p class="small chance"></p>
        <div class="pushes"></div>
      </div>`;
    parent.append(this.element);
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  draw({ name, frames }, now, step) {
    const then = step ? `→ <b>${percent(now.chance)}</b>` : "", all = questions.length;
    this.part(".says").innerHTML = `<span class="soft">${name.toUpperCase()}:</span> ${
      spoken(now.said)}`;
    this.part(".dots").style.color = `var(--${COLOURS[name]})`;
    this.part(".dots").textContent = "●".repeat(now.stops) + "○".repeat(all - now.stops);
    this.part(".stops").textContent = `${now.stops} of ${all} stop`;
    this.part(".chance").innerHTML =
      `Chance to stop in time: ${percent(frames[0].chance)} ${then} %`;
    this.part(".pushes").innerHTML = now.push.map(bars).join("");
  }
}

// ---- the record ---------------------------------------------------------------------------------
const left = new Card($("story"), "<b>● SFT</b>");
const options = Object.entries(LABELS).map(([key, text]) => `<option value="${key}">${text}`);
const right = new Card($("story"),
  `<select aria-label="method on the right">${options.join("")}</select>`);
const choice = right.part("select");
let step = 0, clock;                        // the clock runs while the steps are played

function finding() {                        // both counts of the step that is shown
  const [sft, other] = ["sft", choice.value].map((key) => record[key].frames[step].stops);
  const counts = `after step ${step}, ${sft} of ${questions.length} answers stop with SFT and `
    + `${other} with ${LABELS[choice.value].slice(2)}.`;
  return `${document.title}: ${step ? counts : "which model learns to stop?"}`;
}

function reason() {                         // why, in the numbers of the right card
  const { push } = record[choice.value].frames[step];
  const end = push.map((weights) => signed(weights.at(-1)));
  return {
    released: "IFT gives a token more weight the worse the model does on it and on the tokens "
      + "after it. As released, gradient flows through these weights, and then the loss can fall "
      + `when the easy last token gets less likely: the next step pushes <|end|> by ${end[0]}.`,
    detached: "With constant weights no token of a right answer is pushed down. Hard tokens still "
      + `count more than in SFT, and the next step pushes <|end|> by ${end[0]}.`,
    dpo: "DPO pushes the right answer up and the wrong one down, each as a whole: the next step "
      + `pushes <|end|> by ${end[0]} in one and by ${end[1]} in the other.`,
  }[choice.value];
}

/* The line of nanouft/objectives/ift.py in which the two forms of IFT part; what runs is marked. */
function code() {
  const runs = { released: /(?<=else )\w+/, detached: /\S+\.detach\(\)/ }[choice.value];
  $("line").hidden = !runs;
  $("file").textContent = `${line.file}, line ${line.number}`;
  $("code").innerHTML = escaped(line.text).replace(runs, "<mark>$&</mark>");
}

function draw() {
  for (const [card, taught] of [[left, record.sft], [right, record[choice.value]]]) {
    card.draw(taught, taught.frames[step], step);
  }
  $("number").textContent = $("step").value = step;
  $("title").textContent = finding();
  $("why").textContent = reason();
  const next = choice.value === "released" ? "▶ now with nll.detach()" : "▶ again";
  $("play").textContent = step < STEPS ? "▶ teach" : next;
  code();
}

const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

function play() {                           // one step after another, until the last
  clock = step < STEPS && setTimeout(() => {
    step += 1;
    play();
  }, 650);
  draw();
}

function stay() {                           // at what the visitor has chosen
  clock = clearTimeout(clock);
  step = +$("step").value;
  draw();
}

$("question").textContent = questions[0].text;
$("main").hidden = false;                   // the data are read: from here on nothing moves
$("play").onclick = () => {
  if (clock) return stay();
  if (step === STEPS) {
    step = 0;
    if (choice.value === "released") choice.value = "detached";
  }
  if (calm) step = STEPS;
  play();
};
$("step").oninput = stay;
choice.onchange = stay;
stay();

// ---- models that learn in this tab --------------------------------------------------------------
const engine = URL.createObjectURL(new Blob([$("engine").textContent]));

function teach(runs, steps, onFrame) {      // a thread, whose frames come one by one
  const worker = new Worker(engine);
  worker.onmessage = ({ data }) => onFrame(data);
  worker.postMessage({ data: DATA, runs, steps });
  return worker;
}

// ---- the same steps once more: the record must come out -----------------------------------------
function distance(frame, wanted) {          // the largest difference of two frames' numbers
  if (frame.stops !== wanted.stops || `${frame.said}` !== `${wanted.said}`) return Infinity;
  const [mine, theirs] = [frame, wanted].map(({ chance, push }) => [chance, ...push.flat()]);
  return Math.max(...mine.map((x, k) => Math.abs(x - theirs[k])));
}

function verdict(text, wrong = false) {
  $("check").textContent = text;
  $("check").classList.toggle("wrong", wrong);
  $("check").ariaBusy = "false";
}

function check() {
  const runs = Object.values(record);
  let seen = 0, worst = 0;
  const worker = teach(runs, STEPS, (frame) => {
    worst = Math.max(worst, distance(frame, FRAMES[seen]));
    seen += 1;
    if (worst > TOO_FAR) {
      worker.terminate();
      const far = worst < Infinity ? `off by ${worst.toFixed(4)}` : "another answer";
      verdict(`✗ computed again in this tab: NOT the same, ${far}`, true);
    } else if (seen === FRAMES.length) {
      verdict(`✓ computed again in this tab: the same, within ${(worst + 1e-4).toFixed(4)}`);
    }
  });
  worker.onerror = ({ message }) => verdict(`✗ this browser cannot compute it: ${message}`, true);
}
setTimeout(check, 100);                     // after the first picture

// ---- IFT with the visitor's settings ------------------------------------------------------------
let own, worker;                            // the card and the thread that computes for it

function begin(steps) {                     // from the start model
  const dials = { variant: $("variant").value, lam: +$("lam").value, gamma: +$("gamma").value };
  const run = { name: "ift", dials, frames: [] };
  worker?.terminate();
  worker = teach([run], steps, (frame) => {
    const step = run.frames.push(frame) - 1;
    own.draw(run, frame, step);
    $("teach").textContent = step < steps ? `step ${step + 1} of ${steps} …` : "Teach 4 steps";
  });
}

function numbers() {                        // beside the sliders
  for (const id of ["lam", "gamma"]) $(`${id}Now`).textContent = $(id).value;
}

$("live").ontoggle = () => {                // the record knows what stands there first
  if (own) return;
  for (const id of ["variant", "lam", "gamma"]) $(id).value = record.detached.dials[id];
  numbers();
  own = new Card($("own"), "<b>▲ IFT</b>");
  own.draw(record.detached, record.detached.frames[0], 0);
};
$("dials").oninput = numbers;
$("dials").onchange = () => begin(0);
$("teach").onclick = () => begin(STEPS);
