// Shows the record of ../record.py. The whole state of the page is its address:
// #left=sft&right=dpo&rate=1e-4&step=4&answers=short. Controls change it, and draw() reads it.
const $ = (id) => document.getElementById(id);
const { learns, methods, questions, rates, texts } = DATA;
const SIDES = ["left", "right"], ALL = Object.keys(methods), ASKED = questions.length;
const STEPS = Object.values(methods[ALL[0]].runs)[0].length - 1;
const VALUES = { left: ALL, right: ALL, rate: [...rates, "own"],
  step: [...Array(STEPS + 1).keys()].map(String), answers: ["short", "whole"] };
const FIRST = { left: ALL[0], right: methods.dpo ? "dpo" : ALL.at(-1), rate: rates[1] ?? rates[0],
  step: "0", answers: "short" };
const NUMBERS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight"];
const BASE = "from the base model";
const COMPARED = /^C\d/;                    // the source of a score that a question compared
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
let clock, bet, asks = true, last = "right";    // the side that was changed last

// ---- the state, and what it says ----------------------------------------------------------------
function state() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(Object.entries(FIRST).map(([key, first]) =>
    [key, VALUES[key].includes(given.get(key)) ? given.get(key) : first]));
}

function go(change, replace = false) {
  const address = `#${new URLSearchParams({ ...state(), ...change })}`;
  if (address !== location.hash) history[replace ? "replaceState" : "pushState"]("", "", address);
  draw();
}

const rateOf = (name, rate) => rate === "own" ? methods[name].own : rate;
const frame = (name, rate, step) => {
  const [said, chance, push] = methods[name].runs[rateOf(name, rate)][step];
  return { said, chance, push };
};
const stopped = (text) => text.split("\t").find((x) => x.startsWith("<|")) === "<|end|>";
const stops = (name, rate, step = STEPS) =>
  frame(name, rate, step).said.filter((i) => stopped(texts[i])).length;
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")
  .replaceAll('"', "&quot;");
const called = (name) => escaped(methods[name].called);
const colour = (name) => `style="color: var(--${methods[name].family})"`;
const mark = (name) => `<span aria-hidden="true" ${colour(name)}>${methods[name].mark}</span>`;
const END = "<code>&lt;|end|></code>";
const points = ([mean, half]) => `${mean.toFixed(1)} ± ${half.toFixed(1)}`;
const signed = (x) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(2)}`;

// ---- the two models -----------------------------------------------------------------------------
function answer(text) {                     // token by token; from its next question on it fades
  const tokens = text.split("\t"), over = tokens.findIndex((x) => x.startsWith("<|"));
  const shown = tokens.map((token, t) => `<span style="--t: ${t}" class="${
    token === "<|end|>" && t === over ? "end" : token.startsWith("<|") ? "turn" : ""} ${
    stopped(text) || over < 0 || t < over ? "" : "over"}">${escaped(token)}</span>`).join(" ");
  return `<span class="said">${shown}</span>${stopped(text) ? "" : "<i>no EOS</i>"}`;
}

function drawSides({ rate, step, ...name }) {
  for (const side of SIDES) {
    const n = stops(name[side], rate, step), { said } = frame(name[side], rate, step);
    $(side).value = name[side];
    $(`${side}Count`).innerHTML = `<b>${n} of ${ASKED} stop</b> <span aria-hidden="true"
      ${colour(name[side])}>${"●".repeat(n)}${"○".repeat(ASKED - n)}</span>
      <span class="soft">at ${rateOf(name[side], rate)}</span>`;
    said.forEach((i, row) => {              // only what has changed is written again
      const cell = $(`${side}${row}`);
      cell.style.setProperty("--own", `var(--${methods[name[side]].family})`);
      if (cell.dataset.text !== texts[i]) cell.innerHTML = answer(cell.dataset.text = texts[i]);
    });
  }
}

// ---- the verdict --------------------------------------------------------------------------------
function verdict({ left, right, rate, step }) {
  const [m, n] = [left, right].map((name) => stops(name, rate, step));
  const [p, q] = [left, right].map((name) => rateOf(name, rate));
  const when = +step < STEPS ? ` after ${NUMBERS[step]} of ${NUMBERS[STEPS]} steps` : "";
  const answers = `${NUMBERS[m]} of ${NUMBERS[ASKED]} answers ${
    m === 1 ? "stops" : "stop"} with ${called(left)}`;
  const same = left === right ? " Both sides show the same loss." : "";
  const fits = bet && bet.left === left && bet.right === right && bet.rate === rate;
  const hit = fits && bet.who === winner(m, n);
  const sofar = when ? hit ? "right so far" : "not yet" : hit ? "right" : "not so";
  const told = !fits ? "" : ` You bet on ${escaped(bet.words)}${step === "0" ? "" : `: ${sofar}`}.`;
  if (step === "0") return `<b>Before the first step, no answer stops.</b>${told}`;
  if (same) return `<b>At ${p}, ${answers}${when}.</b>${same}${told}`;
  return (p === q ? `<b>At ${p}, ${answers} and ${NUMBERS[n]} with ${called(right)}${when}.</b>`
    : `<b>At their own rates, ${answers} (${p}) and ${NUMBERS[n]} with ${called(right)} (${q})${
      when}.</b>`) + told;
}

const winner = (m, n) => m > ASKED / 2 ? n > ASKED / 2 ? "both" : "left"
  : n > ASKED / 2 ? "right" : "neither";

function cause(name, rate) {                // what all steps do to the end of both kinds of answer
  const { answers } = methods[name];
  const ends = (kind) => {
    const k = answers.findIndex(([which]) => which === kind);
    return k < 0 ? [] : VALUES.step.slice(0, -1).map((step) =>
      frame(name, rate, step).push[k].at(-1));
  };
  const right = ends("the right answer"), wrong = ends("the wrong answer");
  if (right.length && right.every((x) => x < 0)) return `${called(name)} pushes ${END} down.`;
  return wrong.length && right.every((x, t) => x > 0 && wrong[t] < 0 && x + wrong[t] < 0.3 * x)
    ? `${called(name)} pushes ${END} up in the right answer and down in the wrong one. The two
      pushes work against each other.` : "";
}

function drawVerdict(now) {
  asks &&= now.step === "0" && !bet;
  $("verdict").innerHTML = !asks ? verdict(now)
    : `<b>Which copy will stop after most lists?</b> <span id="bets">${
      [...SIDES, "both", "neither"].map((who) => `<button data-bet="${who}">${
        SIDES.includes(who) ? called(now[who]) : who}</button>`).join(" ")}</span>`;
}

function drawWhy({ left, right, rate, step }) {     // after the last step: one rate for both
  $("why").hidden = +step < STEPS || left === right;
  if ($("why").hidden) return;
  const [m, n] = [left, right].map((name) => stops(name, rate)), fewer = m < n ? left : right;
  const half = ASKED / 2, past = rates.find((x) => stops(fewer, x) > half);
  $("cause").innerHTML = rateOf(left, rate) !== rateOf(right, rate)
    ? "Two things differ here, the loss and the rate. The table has one rate for both."
    : m !== n && Math.min(m, n) <= half ? cause(fewer, rate) : "";
  $("byRate").innerHTML = `<caption>Answers of ${NUMBERS[ASKED]} that stop after ${
    NUMBERS[STEPS]} steps</caption>
    <tr><th scope="col">learning rate</th>${rates.map((x) => `<th scope="col" ${
      x === rate ? 'class="now"' : ""}>${x}</th>`).join("")}</tr>${
    [left, right].map((name) => `<tr><th scope="row">${mark(name)} ${called(name)}</th>${
      rates.map((x) => `<td ${x === rate ? 'class="now"' : ""}>${stops(name, x)}</td>`).join("")
    }</tr>`).join("")}`;
  const never = ALL.filter((name) => name !== left && name !== right
    && rates.every((x) => stops(name, x) <= half));
  $("never").innerHTML = [
    m === n || Math.min(m, n) > half ? "" : past === undefined
      ? `${called(fewer)} doesn’t get past half at any of these rates.`
      : `Slower isn’t never: at ${past}, ${NUMBERS[stops(fewer, past)]} answers stop with ${
        called(fewer)}.`,
    never.length && `At none of these rates do more than half stop with ${never.map((name) =>
      `<button data-method="${escaped(name)}">${called(name)}</button>`).join(", ")}.`,
    `<b>Now change the rate above.</b> <span class="soft">(One seed, ${
      NUMBERS[ASKED]} questions.)</span>`].filter(Boolean).join(" ");
}

// ---- one loss: equation, paper, pushes, code ----------------------------------------------------
function bars(tokens, push) {         // the token is the zero line; high: log of the push
  return `<div class="bars">${tokens.map((token, t) => {
    const high = `${1.4 * Math.log2(1 + Math.abs(push[t]))}rem`, up = push[t] >= 0;
    return `<b class="up">${up ? `${signed(push[t])}<i style="height: ${high}"></i>` : ""}</b>
      <span>${escaped(token)}</span>
      <b class="down">${up ? "" : `<i style="height: ${high}"></i>${signed(push[t])}`}</b>`;
  }).join("")}</div>`;
}

function drawLosses({ rate, step, ...name }) {
  $("losses").innerHTML = SIDES.map((side) => {
    const { answers, code, equation, file, idea, paper, scores } = methods[name[side]];
    const { chance, push } = frame(name[side], rate, step);
    const whole = Object.entries(scores).map(([start, [mean, half, source]]) =>
      `${start} ${points([mean, half])}${COMPARED.test(source) ? ` (run ${source})`
        : ", compared with nothing"}`).join("; ");
    return `<div><h2>${mark(name[side])} ${called(name[side])}</h2>
      <p>${escaped(idea.charAt(0).toUpperCase() + idea.slice(1))} ${paper
        && `<a href="https://arxiv.org/abs/${paper}">arXiv:${paper}</a>`}</p>
      <pre tabindex="0" role="region" aria-label="equation of ${called(name[side])}, ${side}">${
        escaped(equation.join("\n")) || `See the head of ${escaped(file)}`}</pre>
      ${answers.map(([which, tokens], k) => `<p class="soft">The next step would push ${
        escaped(which)}:</p>${bars(tokens, push[k])}`).join("")}
      ${answers.some(([which]) => which === "the wrong answer") ? ""
        : `<p class="soft">${called(name[side])} reads no wrong answer.</p>`}
      <p class="soft">Chance of ${END} after a right answer, mean of ${ASKED}:
        ${Math.round(100 * chance)} %. Score of 100 after a whole run: ${
        whole || "not measured"}.</p>
      <p class="soft">${escaped(file)}</p>
      <pre tabindex="0" role="region" aria-label="code of ${called(name[side])}, ${side}">${
        escaped(code)}</pre></div>`;
  }).join("");
}

// ---- what a visitor does ------------------------------------------------------------------------
function draw() {
  const now = state();
  for (const key of ["rate", "step"]) $(`${key}-${now[key]}`).checked = true;
  $("whole").checked = now.answers === "whole";
  for (const part of [drawSides, drawVerdict, drawWhy, drawMap, drawLosses]) part(now);
}

function teach() {                          // all steps, from the first
  clearTimeout(clock);
  asks = false;
  go({ step: calm ? String(STEPS) : "0" });
  if (!calm) clock = setTimeout(next, 700);
}

function next() {                           // Back leads from any step of a run to its beginning
  const step = +state().step + 1;
  go({ step: String(step) }, step > 1);
  if (step < STEPS) clock = setTimeout(next, 1300);
}

function put(side, name) {
  last = side;
  go({ [side]: name });
}

function choose(side, name) {               // from below the answers, so back to them
  put(side, name);
  $("answers").scrollIntoView();
  $(side).focus({ preventScroll: true });
}

const families = Object.keys(learns).filter((x) => ALL.some((name) => methods[name].family === x));
for (const side of SIDES) {
  $(side).innerHTML = families.map((family) => `<optgroup label="learns from ${learns[family]}">${
    ALL.filter((name) => methods[name].family === family).map((name) => `<option value="${
      escaped(name)}">${methods[name].mark} ${called(name)}</option>`).join("")}</optgroup>`)
    .join("");
  $(side).onchange = () => put(side, $(side).value);
}
const radios = (key, words) => VALUES[key].map((value) => `<label><input type="radio" name="${key}"
  id="${key}-${value}" value="${value}"> ${words(value)}</label>`).join("");
$("rates").innerHTML += radios("rate", (x) => x === "own" ? "each at its own learning rate" : x);
$("steps").innerHTML += radios("step", (x) => x);
$("rates").onchange = ({ target }) => go({ rate: target.value });
$("steps").onclick = ({ target }) => {      // of the step that is shown, too: it ends the run
  if (!VALUES.step.includes(target.value)) return;
  clearTimeout(clock);
  go({ step: target.value });
};
$("teach").onclick = teach;
$("whole").onchange = ({ target }) => go({ answers: target.checked ? "whole" : "short" });
$("verdict").onclick = ({ target }) => {
  if (!target.dataset.bet) return;
  bet = { ...state(), who: target.dataset.bet, words: target.textContent };
  $("teach").focus({ preventScroll: true });
  teach();
};
$("never").onclick = ({ target }) => {
  if (target.dataset.method) choose("right", target.dataset.method);
};
$("answers").insertAdjacentHTML("beforeend", questions.map((question, row) => `<div role="row">
  <div class="ask" role="rowheader">${question}</div>${SIDES.map((side) =>
    `<div class="answer" role="cell" id="${side}${row}"></div>`).join("")}</div>`).join(""));
makeMap();
$("legend").innerHTML = families.map((family) => {
  const name = ALL.find((x) => methods[x].family === family);
  return `${mark(name)} ${learns[family]}`;
}).join("; ");
$("letters").textContent = DATA.letters.join("\n");
onpopstate = () => {
  clearTimeout(clock);
  draw();
};
onresize = () => drawMap(state());
onbeforeprint = () => document.querySelectorAll("details").forEach((x) => { x.open = true; });
draw();
