"use strict";
// The page: a record that plays, a check of it, and two cards whose models learn in this tab.
const $ = (id) => document.getElementById(id);
const { pieces, config, questions, shown, methods, record } = DATA;
const STEPS = record.sft.frames.length - 1;
const TOO_FAR = 1e-3;                       // by so much the tab may differ from the record
const LABELS = {
  sft: "SFT: imitate every token",
  released: "IFT, as released",
  detached: "IFT, weights constant",
};

// ---- a card: what a model says, whether it stops, how one step would push -----------------------
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const isMark = (id) => pieces[id].startsWith("<|");
const signed = (x) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(2)}`;
const options = (names) => Object.entries(names).map(([key, text]) =>
  `<option value="${key}">${text}</option>`).join("");

function token(id, ends = true) {
  const text = escaped(pieces[id].trim()), end = ends && id === config.end ? "end" : "";
  return isMark(id) ? `<span class="mark ${end}">${text}</span>` : text;
}

function spoken(ids) {                      // a question of its own, and what follows, is grey
  const own = ids.findIndex((id) => isMark(id) && id !== config.end);
  return ids.map((id, i) => (own < 0 || i < own ? token(id)
    : `<span class="own">${token(id, false)}</span>`)).join(" ");
}

function answerBars(side, which) {
  const bars = questions[shown][side].map((id) =>
    `<div>${token(id)}<div class="bar"><i></i><b></b></div></div>`);
  return `<p class="small soft">Push of one step on ${which}</p>
    <div class="bars">${bars.join("")}</div>`;
}

class Card {
  constructor(parent, names, label) {
    this.element = document.createElement("article");
    this.element.className = "card";
    this.element.innerHTML = `
      <div class="head"><span aria-hidden="true"></span>
        <select aria-label="${label}">${options(names)}</select></div>
      <div class="dials"></div>
      <p><span class="dots" aria-hidden="true"></span> <b class="stops"></b></p>
      <p class="says"></p>
      <p class="small chance"></p>
      <div class="gauge" aria-hidden="true"><i></i><u></u></div>
      <div class="answers"></div>`;
    this.select = this.part("select");
    parent.append(this.element);
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  draw(name, form, first, now, step) {
    const { colour: [light, dark], mark } = methods[name], all = questions.length;
    const percent = (x) => Math.round(100 * x);
    const then = step ? `→ <b>${percent(now.chance)}</b>` : "";
    this.element.style.setProperty("--method", `light-dark(${light}, ${dark})`);
    this.part(".head span").textContent = form && form !== "released" ? "△" : mark;
    this.part(".says").innerHTML = spoken(now.said);
    this.part(".dots").textContent = "●".repeat(now.stops) + "○".repeat(all - now.stops);
    this.part(".stops").textContent = `${now.stops} of ${all} answers stop`;
    this.part(".chance").innerHTML = `Chance to stop in time: ${percent(first.chance)} ${then} %`;
    this.part(".gauge i").style.width = `${100 * now.chance}%`;
    this.part(".gauge u").style.left = `${100 * first.chance}%`;
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

// ---- the record ---------------------------------------------------------------------------------
const cards = ["left", "right"].map((side) => new Card($("story"), LABELS, `method, ${side}`));
cards[0].select.value = "sft";
cards[1].select.value = "released";
let step = 0, clock;

function finding() {
  const learnt = cards.filter(({ select }) => record[select.value].frames[STEPS].stops > 4).length;
  const way = ["neither model learns to stop", "one model learns to stop, the other does not",
    "both models learn to stop"];
  return `The same right answers, taught in two ways: ${way[learnt]}.`;
}

function reason(key) {                      // why, in the numbers of the right card
  const end = signed(record[key].frames[STEPS].push[0].at(-1));
  return {
    sft: `SFT pushes every token of a right answer equally, <|end|> by ${end}.`,
    released: "IFT gives a token more weight the worse the model does on it and on the tokens "
      + "after it. In the released code gradient flows through these weights, and then the loss can "
      + `fall when the easy last token gets less likely: one step pushes <|end|> by ${end}. `
      + "Choose “weights constant” above.",
    detached: "With constant weights no token of a right answer is pushed down. Hard tokens count "
      + `more than in SFT, <|end|> is still pushed by ${end}, and the model learns to stop.`,
  }[key];
}

function draw() {
  for (const card of cards) {
    const { name, dials, frames } = record[card.select.value];
    card.draw(name, dials.variant, frames[0], frames[step], step);
  }
  $("number").textContent = step;
  $("step").value = step;
  $("title").textContent = finding();
  $("why").textContent = step === STEPS ? reason(cards[1].select.value) : "";
}

function play() {
  clearInterval(clock);
  step = 0;
  draw();
  clock = setInterval(() => {
    step += 1;
    draw();
    if (step === STEPS) clearInterval(clock);
  }, 650);
}

$("question").textContent = questions[shown].text;
$("main").hidden = false;                   // the data are read: from here on nothing moves
$("play").onclick = play;
$("step").oninput = ({ target }) => {
  clearInterval(clock);
  step = +target.value;
  draw();
};
cards.forEach(({ select }) => { select.onchange = draw; });
if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
  step = STEPS;
  draw();
} else {
  play();
}

// ---- a thread for each model --------------------------------------------------------------------
const source = new Blob([$("engine").textContent], { type: "text/javascript" });
const engine = URL.createObjectURL(source);

function thread(onFrame) {                  // returns ask(message); only the newest is answered
  const worker = new Worker(engine);
  let id = 0;
  worker.onmessage = ({ data }) => data.id === id && onFrame(data.frame);
  worker.onerror = ({ message }) => onFrame(null, message);
  worker.postMessage({ data: DATA });
  return (message) => {
    id += 1;
    worker.postMessage({ id, ...message });
  };
}

// ---- the same steps once more, in this tab: the record must come out ----------------------------
function check() {
  const waiting = Object.values(record);
  let worst = 0, seen = 0;
  const tell = (mark, text) => {
    $("check").textContent = `${mark} ${text}`;
    $("check").className = mark === "✗" ? "wrong" : "";
    $("check").setAttribute("aria-busy", false);
  };
  const ask = thread((frame, error) => {
    const { frames } = waiting[0], wanted = frames[seen];
    const same = !error && frame.stops === wanted.stops && `${frame.said}` === `${wanted.said}`;
    const pairs = same ? [[frame.chance, wanted.chance],
      ...frame.push[0].map((x, t) => [x, wanted.push[0][t]])] : [[0, Infinity]];
    worst = Math.max(worst, ...pairs.map(([x, y]) => Math.abs(x - y)));
    seen += 1;
    if (worst > TOO_FAR) {
      const far = worst < Infinity ? `off by ${worst.toFixed(4)}` : error || "another answer";
      tell("✗", `computed again in this tab: NOT the same, ${far}`);
    } else if (seen === frames.length) {
      waiting.shift();
      seen = 0;
      if (waiting.length) next();
      else {
        const within = Math.max(1e-4, 1e-4 * Math.ceil(1e4 * worst)).toFixed(4);
        tell("✓", `computed again in this tab: the same, within ${within}`);
      }
    }
  });
  const next = () => ask({ ...waiting[0], frames: null, steps: STEPS, fresh: true });
  $("check").setAttribute("aria-busy", true);
  $("check").textContent = "This tab computes it again …";
  next();
}
setTimeout(check, 100);                     // after the first picture

// ---- any two methods ----------------------------------------------------------------------------
class Bench extends Card {
  constructor(name, label) {
    super($("bench"), Object.fromEntries(Object.keys(methods).map((key) =>
      [key, methods[key].name])), label);
    this.select.value = name;
    this.ask = thread((frame, error) => this.show(frame, error));
    this.select.onchange = () => {
      this.dials();
      this.begin(taught());
    };
    this.part(".dials").oninput = () => this.numbers();
    this.part(".dials").onchange = () => this.begin(taught());
    this.dials();
    this.begin(0);
  }

  dials() {                                 // the settings of the method that is chosen
    const { title, dials } = methods[this.select.value];
    this.part(".dials").innerHTML = `<p class="small soft">${title}</p>` + dials.map((dial) => `
      <label class="dial small"><span><b>${dial.name}</b> ${escaped(dial.help)}</span>${dial.choices
      ? `<select name="${dial.name}">${dial.choices.map((x) => `<option>${x}`).join("")}</select>`
      : `<input type="range" name="${dial.name}" min="${dial.low}" max="${dial.high}"
          step="${dial.step}" value="${dial.default}"><output></output>`}</label>`).join("");
    this.numbers();
  }

  numbers() {
    this.element.querySelectorAll("output").forEach((output) => {
      output.textContent = +output.previousElementSibling.value;
    });
  }

  settings() {
    return Object.fromEntries([...this.part(".dials").querySelectorAll("[name]")].map((dial) =>
      [dial.name, dial.type === "range" ? +dial.value : dial.value]));
  }

  begin(steps) {                            // from the start model, as far as the other card is
    this.frames = [];
    this.steps = 0;
    this.teach(steps, true);
  }

  teach(steps, fresh = false) {
    this.steps += steps;
    this.ask({ name: this.select.value, dials: this.settings(), steps, fresh });
    buttons();
  }

  get busy() {
    return this.frames.length <= this.steps;
  }

  show(frame, error) {
    if (error) throw new Error(error);
    this.frames.push(frame);
    const { variant } = this.settings(), done = this.frames.length - 1;
    this.draw(this.select.value, variant, this.frames[0], frame, done);
    buttons();
  }
}

let bench = [];
const taught = () => Math.max(0, ...bench.map(({ steps }) => steps));
function buttons() {
  $("teach").disabled = bench.some(({ busy }) => busy);
  $("teach").textContent = taught() ? "4 more steps" : "Teach both 4 steps";
}
$("live").ontoggle = () => {
  if (!bench.length) bench = [new Bench("sft", "method, left"), new Bench("dpo", "method, right")];
};
$("teach").onclick = () => bench.forEach((card) => card.teach(4));
$("fresh").onclick = () => bench.forEach((card) => card.begin(0));
