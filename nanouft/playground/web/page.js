"use strict";
// The page: a record that plays in two acts, a check of it, and a model that learns in this tab.
const $ = (id) => document.getElementById(id);
const { pieces, config, questions, shown, methods, record, line } = DATA;
const STEPS = record.sft.frames.length - 1;
const TOO_FAR = 1e-3;                       // by so much the tab may differ from the record
const SECOND_ACT = 3000;                    // milliseconds after the first has ended
const LABELS = { released: "IFT as released", detached: "IFT detached", dpo: "DPO" };

// ---- a card: what a model says, whether it stops, how one step would push -----------------------
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const isMark = (id) => pieces[id].startsWith("<|");
const signed = (x) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(2)}`;
const percent = (x) => Math.round(100 * x);

function token(id, ends = true) {
  const text = escaped(pieces[id].trim()), end = ends && id === config.end ? "end" : "";
  return isMark(id) ? `<span class="mark ${end}">${text}</span>` : text;
}

function spoken(ids) {                      // the beginning of a question of its own is grey
  const own = ids.findIndex((id) => isMark(id) && id !== config.end);
  if (own < 0) return ids.map((id) => token(id)).join(" ");
  const [answer, question] = [ids.slice(0, own), ids.slice(own, own + 4)];
  return `${answer.map((id) => token(id)).join(" ")}
    <span class="own">${question.map((id) => token(id, false)).join(" ")} …</span>`;
}

function answerBars(side, which) {
  const bars = questions[shown][side].map((id) =>
    `<div>${token(id)}<div class="bar"><i></i><b></b></div></div>`);
  return `<p class="small soft">Push of one step on ${which}</p>
    <div class="bars">${bars.join("")}</div>`;
}

class Card {
  constructor(parent, heading) {
    this.element = document.createElement("article");
    this.element.innerHTML = `
      <div class="panel top">
        <div class="head"><span aria-hidden="true"></span> ${heading}</div>
        <p><span class="dots" aria-hidden="true"></span> <b class="stops"></b></p>
      </div>
      <div class="panel body">
        <p class="says"></p>
        <p class="small chance"></p>
        <div class="answers"></div>
      </div>`;
    parent.append(this.element);
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  draw({ name, dials }, first, now, step) {
    const { light, dark, mark } = methods[name], all = questions.length;
    const then = step ? `→ <b>${percent(now.chance)}</b>` : "";
    const hollow = dials.variant === "detached";
    this.element.style.setProperty("--method", `light-dark(${light}, ${dark})`);
    this.part(".says").dataset.mark = hollow ? "△" : mark;
    this.part(".head span").textContent = hollow ? "△" : mark;
    this.part(".says").innerHTML = spoken(now.said);
    this.part(".dots").textContent = "●".repeat(now.stops) + "○".repeat(all - now.stops);
    this.part(".stops").textContent = `${now.stops} of ${all} stop`;
    this.part(".chance").innerHTML = `Chance to stop in time: ${percent(first.chance)} ${then} %`;
    this.push(now.push);
  }

  push(numbers) {                           // bars are made once and then only moved
    const answers = this.part(".answers");
    if (answers.dataset.count !== `${numbers.length}`) {
      answers.dataset.count = numbers.length;
      answers.innerHTML = answerBars("answer", "a right answer")
        + (numbers.length > 1 ? answerBars("rejected", "a wrong answer") : "");
    }
    answers.querySelectorAll(".bar").forEach((bar, k) => {
      const x = numbers.flat()[k], below = x < 0, [box, number] = bar.children;
      const high = Math.min(below ? 1 : 4.2, 2 * Math.abs(x));           // rem; 2 is a push of 1
      box.style.background = number.style.color = `var(--${below ? "down" : "up"})`;
      box.style.height = `${high}rem`;
      box.style.top = `${below ? 5.5 : 5.5 - high}rem`;
      number.style.top = `${below ? 5.6 + high : 4.3 - high}rem`;
      number.textContent = signed(x);
    });
  }
}

// ---- the record, in two acts --------------------------------------------------------------------
const left = new Card($("story"), "<b>SFT</b>");
const options = Object.entries(LABELS).map(([key, text]) => `<option value="${key}">${text}`);
const right = new Card($("story"),
  `<select aria-label="method on the right">${options.join("")}</select>`);
const choice = right.part("select");
let step = 0, clock;

const LEADS = {
  released: "The same right answers, taught in two ways",
  detached: "The same rows, with IFT's weights held constant",
  dpo: "Right answers alone, or beside wrong ones",
};

function finding() {
  const stop = record[choice.value].frames[STEPS].stops > questions.length / 2;
  const way = stop ? "both models learn to stop" : "one model learns to stop, the other does not";
  return `${LEADS[choice.value]}: ${way}.`;
}

function reason() {                         // why, in the numbers of the right card
  const { frames } = record[choice.value], { push, chance } = frames[STEPS];
  const end = push.map((weights) => signed(weights.at(-1)));
  return {
    released: "IFT gives a token more weight the worse the model does on it and on the tokens "
      + "after it. As released, gradient flows through these weights, and then the loss can fall "
      + `when the easy last token gets less likely: one step pushes <|end|> by ${end[0]}.`,
    detached: "With constant weights no token of a right answer is pushed down. Hard tokens still "
      + `count more than in SFT, <|end|> gets ${end[0]}, and the model learns to stop.`,
    dpo: "DPO pushes the right answer up and the wrong one down, each as a whole: <|end|> by "
      + `${end[0]} in one and by ${end[1]} in the other. The model stops, but the chance to stop `
      + `in time is ${percent(chance)} %.`,
  }[choice.value];
}

/* The line of nanouft/objectives/ift.py in which the two forms of IFT part; what runs is marked. */
function code() {
  const runs = { released: /(?<=else )\w+/, detached: /\S+\.detach\(\)/ }[choice.value];
  $("line").hidden = !runs;
  $("file").textContent = `${line.file}, line ${line.number}`;
  $("code").innerHTML = runs ? escaped(line.text).replace(runs, "<mark>$&</mark>") : "";
}

function draw() {
  const pair = [[left, record.sft], [right, record[choice.value]]];
  for (const [card, taught] of pair) card.draw(taught, taught.frames[0], taught.frames[step], step);
  $("number").textContent = step;
  $("step").value = step;
  $("title").textContent = finding();
  $("why").textContent = reason();
  $("play").textContent = choice.value === "released" ? "▶ next" : "▶ again";
  code();
}

const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
function act(key, ended = () => {}) {
  clearInterval(clock);
  choice.value = key;
  step = calm ? STEPS : 0;
  draw();
  clock = !calm && setInterval(() => {
    step += 1;
    draw();
    if (step < STEPS) return;
    clearInterval(clock);
    ended();
  }, 650);
}
const secondAct = () => act("detached");
const firstAct = () => act("released", () => { clock = setTimeout(secondAct, SECOND_ACT); });

$("question").textContent = questions[shown].text;
$("main").hidden = false;                   // the data are read: from here on nothing moves
$("play").onclick = () => (choice.value === "released" ? secondAct() : firstAct());
$("step").oninput = ({ target }) => {
  clearInterval(clock);
  step = +target.value;
  draw();
};
choice.onchange = () => {
  clearInterval(clock);
  draw();
};
firstAct();

// ---- models that learn in this tab --------------------------------------------------------------
const source = new Blob([$("engine").textContent], { type: "text/javascript" });
const engine = URL.createObjectURL(source);

function teach({ name, dials }, steps, onFrame) {           // a thread, whose frames come one by one
  const worker = new Worker(engine);
  worker.onmessage = ({ data }) => onFrame(data);
  worker.onerror = ({ message }) => onFrame(null, message);
  worker.postMessage({ data: DATA, name, dials, steps });
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
  $("check").setAttribute("aria-busy", false);
  $("done").textContent = "";
}

function check(runs, worst = 0) {           // one model after the other
  const all = Object.keys(record).length * (STEPS + 1), { frames } = runs[0];
  let seen = 0;
  const worker = teach(runs[0], STEPS, (frame, error) => {
    worst = error ? Infinity : Math.max(worst, distance(frame, frames[seen]));
    seen += 1;
    $("done").textContent = `${all - runs.length * (STEPS + 1) + seen} of ${all} pictures`;
    if (worst > TOO_FAR) {
      worker.terminate();
      const far = worst < Infinity ? `off by ${worst.toFixed(4)}` : error || "another answer";
      verdict(`✗ computed again in this tab: NOT the same, ${far}`, true);
    } else if (seen === frames.length) {
      worker.terminate();
      if (runs.length > 1) return check(runs.slice(1), worst);
      const within = Math.max(1e-4, 1e-4 * Math.ceil(1e4 * worst)).toFixed(4);
      verdict(`✓ computed again in this tab: the same, within ${within}`);
    }
  });
}
setTimeout(() => check(Object.values(record)), 100);        // after the first picture

// ---- IFT with the visitor's settings ------------------------------------------------------------
let own, worker;                            // the card and the thread that computes for it

function begin(steps) {                     // from the start model
  const [variant, lam, gamma] = ["variant", "lam", "gamma"].map((id) => $(id).value);
  const run = { name: "ift", dials: { variant, lam: +lam, gamma: +gamma } };
  let first, step = 0;
  worker?.terminate();
  worker = teach(run, steps, (frame, error) => {
    if (error) throw new Error(error);
    first ??= frame;
    own.draw(run, first, frame, step);
    step += 1;
    $("teach").textContent = step > steps ? "Teach 4 steps" : `step ${step} of ${steps} …`;
  });
}

function numbers() {                        // beside the sliders
  $("dials").querySelectorAll("input").forEach((slider) => {
    slider.parentElement.querySelector("output").textContent = slider.value;
  });
}

$("live").ontoggle = () => {                // the record knows what stands there first
  if (own) return;
  const { frames, dials } = record.detached;
  for (const [id, value] of Object.entries(dials)) $(id).value = value;
  numbers();
  own = new Card($("own"), "<b>IFT</b>");
  own.draw(record.detached, frames[0], frames[0], 0);
};
$("dials").oninput = numbers;
$("dials").onchange = () => begin(0);
$("teach").onclick = () => begin(STEPS);
