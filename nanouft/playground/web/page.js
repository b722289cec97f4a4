// Shows the record of ../record.py. The whole state of the page is its address:
// #left=sft&right=dpo&rate=1e-4&step=4. Controls change the address, and draw() reads it.
const $ = (id) => document.getElementById(id);
const { learns, methods, questions, rates, texts } = DATA;
const SIDES = ["left", "right"], ALL = Object.keys(methods), ASKED = questions.length;
const STEPS = Object.values(methods[ALL[0]].runs)[0].length - 1;
const VALUES = { left: ALL, right: ALL, rate: [...rates, "own"],
  step: [...Array(STEPS + 1).keys()].map(String) };
const FIRST = { left: ALL[0], right: methods.dpo ? "dpo" : ALL.at(-1), rate: rates[1] ?? rates[0],
  step: "0" };
const NUMBERS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight"];
const BASE = "from the base model";
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
  return `<span class="said">${shown}</span>${stopped(text) ? "" : "<i>goes on</i>"}`;
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
  const [a, b] = [left, right].map(called);
  const [m, n] = [left, right].map((name) => stops(name, rate, step));
  const [p, q] = [left, right].map((name) => rateOf(name, rate)), one = p === q;
  const when = step < STEPS ? ` after ${NUMBERS[step]} of ${NUMBERS[STEPS]} steps` : "";
  const answers = `${NUMBERS[m]} of ${NUMBERS[ASKED]} answers ${
    m === 1 ? "stops" : "stop"} with ${a}`;
  const fits = bet && bet.left === left && bet.right === right && bet.rate === rate;
  const told = fits ? ` You bet on ${escaped(bet.words)}.` : "";
  if (step === "0") return `<b>Before the first step, no answer stops.</b>${told}`;
  if (left === right) return `<b>At ${p}, ${answers}${when}.</b> Both sides show the same loss.`;
  const out = [one ? `<b>At ${p}, ${answers} and ${NUMBERS[n]} with ${b}${when}.</b>`
    : `<b>At their own rates, ${answers} (${p}) and ${NUMBERS[n]} with ${b} (${q})${when}.</b>`];
  if (step < STEPS) return out + told;
  if (fits) out.push(`You bet on ${escaped(bet.words)}: ${bet.who === winner(m, n) ? "right" : "not so"}.`);
  const fewer = m < n ? left : right;
  if (!one) out.push("Two things differ here, the loss and the rate.");
  else if (m !== n) out.push(cause(fewer, rate));
  const others = rates.filter((x) => x !== rate).map((x) =>
    `at ${x} it is ${NUMBERS[stops(left, x)]} and ${NUMBERS[stops(right, x)]}`);
  out.push(`<b>${one ? "Now change the rate" : "With one rate for both"}:</b> ${
    others.join(", ")}.`);
  if (m !== n && Math.min(m, n) <= ASKED / 2) {
    out.push(rates.some((x) => stops(fewer, x) > ASKED / 2) ? "Slower isn’t never."
      : `${called(fewer)} doesn’t get past half at any of these rates.`);
  }
  out.push(`<span class="soft">(One seed, ${NUMBERS[ASKED]} questions.)</span>`);
  const never = ALL.filter((name) => name !== left && name !== right
    && rates.every((x) => stops(name, x) <= ASKED / 2));
  if (never.length) {
    out.push(`At no rate here do more than half stop with ${never.map((name) =>
      `<button data-method="${escaped(name)}">${called(name)}</button>`).join(", ")}.`);
  }
  return out.filter(Boolean).join(" ");
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
    ? `${called(name)} pushes ${END} up in the better answer and down in the worse one, so the two
      pushes work against each other.` : "";
}

function drawVerdict(now) {
  asks &&= now.step === "0" && !bet;
  $("verdict").innerHTML = !asks ? verdict(now)
    : `<b>Which copy will stop after most lists?</b> <span id="bets">${
      [...SIDES, "both", "neither"].map((who) => `<button data-bet="${who}">${
        SIDES.includes(who) ? called(now[who]) : who}</button>`).join(" ")}</span>`;
}

// ---- all methods at this rate -------------------------------------------------------------------
const WIDE = 920, LOW = 46, TOP = 83, GRID = [50, 60, 70, 80], ROW = 24;

function places(rate, wide) {               // of marks and names; wide: across stops, upwards score
  const all = ALL.map((name) => ({ name, n: stops(name, rate), score: methods[name].scores[BASE] }))
    .sort((a, b) => b.n - a.n || (b.score?.[0] ?? 0) - (a.score?.[0] ?? 0));
  if (wide < WIDE) {                        // narrow: a row for each, in bands of equal stops
    const along = (score) => 170 + (wide - 180) * (score - LOW) / (TOP - LOW);
    all.forEach((p, k) => {
      p.band = p.n !== all[k - 1]?.n;
      p.y = p.nameY = k ? all[k - 1].y + ROW + (p.band ? 8 : 0) : 40;
      p.nameX = 62;
      p.x = 50;
    });
    return { all, along, tall: all.at(-1).y + ROW };
  }
  const ground = 420, along = (score) => ground - (ground - 24) * (score - LOW) / (TOP - LOW);
  all.forEach((p, k) => {                   // names: below each other; marks: beside each other
    const above = all[k - 1]?.n === p.n ? all[k - 1] : { y: -99, nameY: -99, x: 0 };
    const left = 58 + (wide - 48) / (ASKED + 1) * p.n;
    p.y = p.score ? along(p.score[0]) : ground + 34;
    p.x = p.y - above.y > 11 ? left : left + (above.x - left + 9) % 27;
    p.nameX = left + 38;
    p.nameY = Math.max(p.y, above.nameY + 15);
  });
  all.filter((p) => p.score).reduceRight((room, p) => {       // none below the ground
    p.nameY = Math.min(p.nameY, room[p.n] ?? ground - 8);
    return { ...room, [p.n]: p.nameY - 15 };
  }, {});
  return { all, along, tall: 24 + Math.max(...all.map((p) => p.nameY), ground + 40), ground };
}

function drawMap({ left, right, rate }) {
  const wide = $("map").clientWidth, { all, along, tall, ground } = places(rate, wide);
  const line = (d, faint) => `<path d="${d}" stroke="currentColor" opacity="${faint}"/>`;
  const text = (x, y, words, anchor = "start") =>
    `<text x="${x}" y="${y}" text-anchor="${anchor}">${words}</text>`;
  const across = (n) => 58 + (wide - 48) / (ASKED + 1) * n;
  $("map").setAttribute("viewBox", `0 0 ${wide} ${tall + 40}`);
  $("grid").innerHTML = (ground ? [
    ...GRID.map((x) => line(`M48 ${along(x)}H${wide}`, 0.25) + text(40, along(x) + 5, x, "end")),
    ...NUMBERS.slice(0, ASKED + 1).map((_, n) => text(across(n), tall + 14, n, "middle")),
    text(48, 8, "score of 100 after a whole run"),
    text(48, ground + 18,
      "no score from the base; those that sample (✚) were compared with nothing"),
    text(wide, tall + 34, `answers of ${ASKED} that stop after ${STEPS} steps`, "end"),
    line(`M48 ${ground}H${wide}M48 ${tall - 4}H${wide}`, 0.5),
    ...all.map((p) => line(`M${p.x + 8} ${p.y}L${p.nameX - 3} ${p.nameY}`, 0.35)),
  ] : [
    text(0, 16, "stop; score"),
    ...GRID.map((x) => line(`M${along(x)} 24V${tall}`, 0.25) + text(along(x), 16, x, "middle")),
    ...all.filter((p) => p.band).map((p) => text(0, p.y + 5, `${p.n} of ${ASKED}`)
      + line(`M0 ${p.y - 16}H${wide}`, 0.25)),
    ...all.filter((p) => !p.score).map((p) => text(along(LOW), p.y + 5,
      methods[p.name].family === "sampled" ? "compared with nothing" : "not scored")),
  ]).join("");
  for (const { name, n, score, x, y, nameX, nameY } of all) {
    const { scores } = methods[name], point = $(`map-${name}`), [low, mean, high] = score
      ? [score[0] - score[1], score[0], score[0] + score[1]].map(along) : [];
    point.setAttribute("aria-label", `${methods[name].called}: ${n} of ${ASKED} stop, ${score
      ? `score ${points(score)}` : scores["after SFT"]
        ? `compared with nothing, ${points(scores["after SFT"])} after SFT` : "not scored"}`);
    point.setAttribute("aria-pressed", name === left || name === right);
    const [range, sign, title] = point.children;
    range.setAttribute("d", !score ? "" : ground ? `M0 ${low - y}V${high - y}`
      : `M${low} 0H${high}`);
    range.style.transform = `translate(${ground ? x : 0}px, ${y}px)`;
    sign.style.transform = `translate(${ground || !score ? x : mean}px, ${y + 5}px)`;
    title.style.transform = `translate(${nameX}px, ${nameY + 5}px)`;
  }
  $("mapTitle").textContent = `All losses, ${rate === "own" ? "each at its own rate"
    : `at ${rate}`}`;
  $("lastSide").textContent = last;
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
      `${start} ${points([mean, half])} (${source})`).join(", ");
    return `<div><h2>${mark(name[side])} ${called(name[side])}</h2>
      <p>${escaped(idea.charAt(0).toUpperCase() + idea.slice(1))} ${paper
        && `<a href="https://arxiv.org/abs/${paper}">arXiv:${paper}</a>`}</p>
      <pre tabindex="0" role="region" aria-label="equation of ${called(name[side])}">${
        escaped(equation.join("\n")) || `See the head of ${escaped(file)}`}</pre>
      ${answers.map(([which, tokens], k) => `<p class="soft">The next step would push ${
        escaped(which)}:</p>${bars(tokens, push[k])}`).join("")}
      ${answers.some(([which]) => which === "the wrong answer") ? ""
        : `<p class="soft">${called(name[side])} reads no wrong answer.</p>`}
      <p class="soft">Chance of ${END} after a right answer, mean of ${ASKED}:
        ${Math.round(100 * chance)} %. Score of 100 after a whole run: ${
        whole || "not measured"}.</p>
      <p class="soft">${escaped(file)}</p>
      <pre tabindex="0" role="region" aria-label="code of ${called(name[side])}">${
        escaped(code)}</pre></div>`;
  }).join("");
}

// ---- what a visitor does ------------------------------------------------------------------------
function draw() {
  const now = state();
  for (const key of ["rate", "step"]) $(`${key}-${now[key]}`).checked = true;
  for (const part of [drawSides, drawVerdict, drawMap, drawLosses]) part(now);
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
$("rates").innerHTML += radios("rate", (x) => x === "own" ? "each at its own rate" : x);
$("steps").innerHTML += radios("step", (x) => x);
$("rates").onchange = ({ target }) => go({ rate: target.value });
$("steps").onchange = ({ target }) => {
  clearTimeout(clock);
  go({ step: target.value });
};
$("teach").onclick = teach;
$("verdict").onclick = ({ target }) => {
  if (target.dataset.method) {
    put("right", target.dataset.method);
    $("right").focus({ preventScroll: true });
  }
  if (!target.dataset.bet) return;
  bet = { ...state(), who: target.dataset.bet, words: target.textContent };
  $("teach").focus({ preventScroll: true });
  teach();
};
function pick(event) {                      // a loss of the map, for the side that was changed last
  const name = event.target.closest("[data-method]")?.dataset.method;
  if (!name || event.key && event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  put(last, name);
  $("answers").scrollIntoView({ behavior: calm ? "auto" : "smooth" });
  $(last).focus({ preventScroll: true });
}
$("map").onclick = $("map").onkeydown = pick;
$("map").innerHTML = `<g id="grid"></g>${ALL.map((name) => `<g id="map-${escaped(name)}" tabindex="0"
  role="button" data-method="${escaped(name)}" ${colour(name)}>
  <path stroke="currentColor" stroke-width="1.5" opacity=".5"/><text text-anchor="middle">${
  methods[name].mark}</text><text>${called(name)}</text></g>`).join("")}`;
$("answers").insertAdjacentHTML("beforeend", questions.map((question, row) => `
  <p class="ask">${question}</p>${SIDES.map((side) =>
    `<div class="answer" id="${side}${row}"></div>`).join("")}`).join(""));
$("legend").innerHTML = families.map((family) => {
  const name = ALL.find((x) => methods[x].family === family);
  return `${mark(name)} ${learns[family]}`;
}).join("; ");
const moved = (name) => methods[name].moved[FIRST.rate] / methods[ALL[0]].moved[FIRST.rate];
const byDistance = [...ALL].sort((a, b) => moved(a) - moved(b));
$("moved").textContent = `One rate compares where losses go, more than how fast: after four steps at
  ${FIRST.rate} the weights have moved between ${moved(byDistance[0]).toFixed(2)}
  (${methods[byDistance[0]].called}) and ${moved(byDistance.at(-1)).toFixed(2)}
  (${methods[byDistance.at(-1)].called}) of ${methods[ALL[0]].called}’s distance; half of all losses
  lie between ${[1, 3].map((k) => moved(byDistance[Math.floor(k * ALL.length / 4)]).toFixed(2))
    .join(" and ")}.`;
$("letters").textContent = DATA.letters.join("\n");
onpopstate = () => {
  clearTimeout(clock);
  draw();
};
onresize = () => drawMap(state());
onbeforeprint = () => document.querySelectorAll("details").forEach((x) => { x.open = true; });
draw();
