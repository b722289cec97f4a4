// Shows the record of ../record.py: two methods side by side after 0 to 4 steps, and all on a map.
const $ = (id) => document.getElementById(id);
const { asked, dials, learns, methods, runs } = DATA;
const SIDES = ["left", "right"], ALL = Object.keys(methods);
const STEPS = Object.values(runs)[0].frames.length - 1;
const UNIT = 1.9;                           // rem of a push of 1: one scale for all bars
const ANSWERS = {                           // what a method calls its answers
  answer: "the right answer", chosen: "the right answer", "good answer": "the right answer",
  rejected: "the wrong answer", "bad answer": "the wrong answer",
  gold: "the right answer once more, as a demonstration",
  sure: "the right answer, in a row of which SFT is sure",
  unsure: "the right answer, in a row of which SFT is less sure",
  mix_sure: "the right answer, as the first half of a mixture",
  mix_unsure: "the right answer, as the second half of a mixture",
};
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
let clock, bet = "";                        // the clock runs while the steps are played

const step = () => +$("step").value;
const method = (side) => $(`${side}Method`).value;
const chosen = (side) => [...$(`${side}Dials`).querySelectorAll("select")].map((x) => x.value);
const called = (side) => methods[method(side)].called
  + (chosen(side)[0] === "released" ? " as released" : "")
  + (method("left") === method("right") ? ` (${side})` : "");
const run = (side) => runs[[method(side), ...chosen(side)].join(" ")];
const frame = (side) => run(side).frames[step()];
const signed = (x) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(2)}`;
const percent = (x) => Math.round(100 * x);
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const coloured = (name, text) =>
  `<span aria-hidden="true" style="color: var(--${methods[name].family})">${text}</span>`;
const points = ([mean, half]) => `${mean.toFixed(1)} ± ${half.toFixed(1)}`;
const explored = ([, , source]) => source === "exploratory";     // else the question it answers

// ---- one model: what it says, whether it stops, how the next step pushes, what its loss is ------
function token(text) {
  const shown = escaped(text.trim());
  return text.startsWith("<|") ? `<span class="mark">${shown}</span>` : shown;
}

const high = (push) => UNIT * Math.sign(push) * Math.log2(1 + Math.abs(push));     // rem

function bar(push, [top, bottom]) {
  const zero = 1.2 + top, end = zero - high(push);
  return `<div class="bar ${push < 0 ? "down" : "up"}" style="height: ${zero + 1.2 - bottom}rem">
    <u style="top: ${zero}rem"></u>
    <i style="top: ${Math.min(zero, end)}rem; height: ${Math.abs(high(push))}rem"></i>
    <b style="top: ${end + (push < 0 ? 0.1 : -1.2)}rem">${signed(push)}</b></div>`;
}

function box(k) {                           // room for the k-th answer's bars, on both sides alike
  const every = SIDES.flatMap((x) => run(x).frames.flatMap(({ push }) => push[k] ?? [])).map(high);
  return [Math.max(0, ...every), Math.min(0, ...every)];
}

function strips(side) {
  const shown = run(side).answers.map(([which, tokens], k) => `
    <p class="small soft">How the next step pushes ${ANSWERS[which] ?? `the role “${which}”`}</p>
    <div class="bars">${tokens.map((text, t) =>
      `<div>${token(text)}${bar(frame(side).push[k][t], box(k))}</div>`).join("")}</div>`);
  const wrong = ends(side)[1] !== undefined;
  return shown.join("")
    + (wrong ? "" : `<p class="small soft">${called(side)} reads no wrong answer.</p>`);
}

function ends(side) {                       // the push on the last token of each kind of answer
  const last = (kind) => frame(side).push[
    run(side).answers.findIndex(([which]) => ANSWERS[which] === kind)]?.at(-1);
  return [frame(side).push[0].at(-1), last("the wrong answer")];
}

function place(side) {                      // after a whole run
  const lines = Object.entries(methods[method(side)].scores)
    .map(([start, score]) => `${start} <b>${points(score)}</b> of 100 (${
      explored(score) ? score[2] : `question ${score[2]}`})`).join("; ");
  const own = (dials[method(side)] ?? []).every(({ options }, i) =>
    options[0][0] === chosen(side)[i]);
  return `<h3>After a whole run</h3><p>${!lines ? "Not measured yet." : own ? `${capital(lines)}.`
    : `Not measured yet with these settings. With its defaults: ${lines}.`}</p>`;
}

function loss(side) {                       // equation, paper and code
  const { code, equations, file, idea, paper } = methods[method(side)];
  const form = chosen(side).map((value) => equations[`--variant ${value}`]).find(Boolean);
  const lines = form ?? Object.values(equations)[0]
    ?? [`no line “L = ...” stands at the head of ${file}`];
  return `<h3>Its loss</h3><p>${escaped(capital(idea))} ${
    paper && `<a href="https://arxiv.org/abs/${paper}">The paper, arXiv:${paper}</a>`}</p>
    ${lines.map((line) => `<code class="equation" style="display: block">${escaped(line)}</code>`)
      .join("")}
    <details><summary>The code of its loss</summary><p class="small soft">${file}</p>
    <pre tabindex="0" role="region" aria-label="code of ${called(side)}">${escaped(code)}</pre>
    </details>`;
}

function show(side) {
  const { said, stops, chance } = frame(side), name = method(side);
  const now = step() ? ` → <b>${percent(chance)}</b>` : "";
  const open = $(side).querySelector("details")?.open;
  $(`${side}Head`).innerHTML = `<p>${coloured(name, "●".repeat(stops) + "○".repeat(asked - stops))}
    <b class="stops">${stops} of ${asked} stop</b></p>`;
  $(side).innerHTML = `<h2 class="says">${coloured(name, methods[name].mark)} ${called(side)}
    <span class="said"><span class="soft">says:</span> ${said.map(token).join(" ")}</span></h2>
    <p class="small">Chance of ${token("<|end|>")} after the right answer, mean of ${asked}:
      ${percent(run(side).frames[0].chance)}${now} %</p>
    ${strips(side)}<p>${escaped(why(side))}</p>${repair(side)}${place(side)}${loss(side)}`;
  $(side).querySelector("details").open = Boolean(open);
}

// ---- why: in the numbers of the step that is shown ----------------------------------------------
function why(side) {
  const [right, wrong] = ends(side), out = [`The next step pushes <|end|> by ${signed(right)} in `
    + `the right answer${wrong === undefined ? "" : ` and by ${signed(wrong)} in the wrong one`}.`];
  if (right < 0) out.push("So it makes the end of a right answer less likely.");
  if (right > 0 && wrong < 0 && Math.abs(right + wrong) < 0.3 * right) {
    out.push("Both answers end with <|end|>, so for stopping the two pushes work against each "
      + "other.");
  }
  return [...out, ...notes(side)].join(" ");
}

function rates() {                          // of DPO: how much of it is its low learning rate?
  const [own, faster] = dials.dpo[0].options.map(([rate]) => rate);
  const stops = (rate) => runs[`dpo ${rate}`].frames[STEPS].stops;
  return `DPO’s own learning rate is ${own}, SFT’s is ${faster}. After step ${STEPS}, ${stops(own)} `
    + `of ${asked} of DPO’s answers stop at its own rate and ${stops(faster)} at SFT’s.`;
}

function notes(side) {                      // what belongs to the settings of one method
  const [first, , gamma] = chosen(side);
  if (method(side) !== "ift") return [];
  if (Number(gamma) === 0) {
    return ["With gamma 0 no token counts the losses of others, and all weigh the same."];
  }
  return [first === "released"
    ? "IFT gives a token more weight the worse the model does on it and on the tokens after it. As "
      + "released, gradient flows through these weights, and then the loss can fall when the easy "
      + "last token gets less likely."
    : "With constant weights no token of a right answer is pushed down. Hard tokens still count "
      + "more than in SFT."];
}

function repair(side) {                     // the one line that makes the difference
  const [variant, , gamma] = chosen(side);
  if (variant !== "released" || Number(gamma) === 0) return "";
  return `<p class="row"><button data-repair="${side}">Give the weights no gradient</button>
    <code>${escaped(DATA.line)}</code></p>`;
}

// ---- both, and the bet on them ------------------------------------------------------------------
function draw() {
  const [a, b] = SIDES.map(called), [left, right] = SIDES.map((side) => frame(side).stops);
  SIDES.forEach(show);
  $("title").textContent = step()
    ? `After step ${step()}, ${left} of ${asked} answers stop with ${a} and ${right} with ${b}.`
    : `${a} or ${b}: which of them learns to stop, and why?`;
  $("ask").textContent = `Your bet: after ${STEPS} steps most answers stop with`;
  for (const button of $("bets").children) {
    const who = button.dataset.bet;
    button.textContent = { left: a, right: b }[who] ?? who;
    button.setAttribute("aria-pressed", bet === who);
  }
  $("verdict").textContent = bet && step() === STEPS ? verdict(a, b) : "";
  $("number").textContent = step();
  $("play").textContent = step() < STEPS ? `Teach both, ${STEPS} steps` : "Teach both again";
}

function verdict(a, b) {
  const learns = SIDES.map((side) => frame(side).stops > asked / 2);
  const so = learns[0] ? (learns[1] ? "both" : "left") : learns[1] ? "right" : "neither";
  const name = { left: a, right: b };
  return `You bet “${name[bet] ?? bet}”. ${bet === so ? "That is right" : "It came out otherwise"}: ${
    name[so] ? `only ${name[so]} learns` : so === "both" ? "both learn" : "neither learns"} to stop `
    + `in these ${STEPS} steps. ${SIDES.some((side) => method(side) === "dpo") ? `${rates()} ` : ""}`
    + "What a step does to the end of an answer stands under the bars.";
}

function play() {                           // one step after another, until the last
  clock = step() < STEPS && setTimeout(() => {
    $("step").value = step() + 1;
    play();
  }, 650);
  draw();
}

function begin() {
  clearTimeout(clock);
  $("step").value = calm ? STEPS : 0;
  play();
}

function stay() {                           // at what the visitor has chosen
  clock = clearTimeout(clock);
  draw();
}

function set(side, name) {                  // a method, with its default settings
  $(`${side}Method`).value = name;
  $(`${side}Dials`).innerHTML = (dials[name] ?? []).map(({ label, options }) =>
    `<label>${label} <select>${options.map(([value, words]) =>
      `<option value="${value}">${words}`).join("")}</select></label>`).join("");
}

function choose(side, name) {
  bet = "";
  set(side, name);
  stay();
  drawMap();
}

// ---- the map of all methods ---------------------------------------------------------------------
const atEnd = (name) => runs[Object.keys(runs).find((key) => key.split(" ")[0] === name)]
  .frames[STEPS].stops;
const FROM_BASE = "from the base model";
const onMap = ALL.filter((name) => methods[name].scores[FROM_BASE])
  .sort((a, b) => methods[b].scores[FROM_BASE][0] - methods[a].scores[FROM_BASE][0]);

function drawMap() {
  const wide = $("map").clientWidth || 700, tall = 560, left = 44, bottom = tall - 44;
  const scores = onMap.map((name) => methods[name].scores[FROM_BASE][0]);
  const low = 5 * Math.floor((Math.min(50, ...scores) - 2) / 5), top = 85;
  const x = (stops) => left + 16 + (wide - left - 44) * stops / asked;
  const y = (score) => bottom - (bottom - 12) * (score - low) / (top - low);
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `13px ${getComputedStyle(document.body).fontFamily}`;
  const taken = [];                         // boxes [x, y, half width] of marks and names
  const free = (box) => taken.every(([a, b, half]) =>
    Math.abs(a - box[0]) >= half + box[2] || Math.abs(b - box[1]) >= 14);
  const nearest = (boxes) => boxes.find(free) ?? boxes[0];
  const aside = [0, 1, -1, 2, -2, 3, -3, 4, -4].map((k) => 16 * k);
  const marks = onMap.map((name) => {
    const across = x(atEnd(name)), up = y(methods[name].scores[FROM_BASE][0]);
    const inside = aside.filter((d) => across + d > left + 8 && across + d < wide - 8);
    taken.push(nearest(inside.map((d) => [across + d, up, 8])));
    return taken.at(-1);
  });
  const drawn = onMap.map((name, k) => {
    const [across, up] = marks[k], { called, family, mark, scores } = methods[name];
    const [mean, error, source] = scores[FROM_BASE], half = 4 + pen.measureText(called).width / 2;
    const boxes = [...Array(40).keys()].flatMap((d) => [-d, d].flatMap((dy) =>
      [1, -1].flatMap((way) => [12, 34, 60].map((gap) =>
        [across + way * (gap + half), up + 7 * dy, half]))))
      .filter(([a, b]) => a - half > left && a + half < wide && b > 10 && b < bottom - 6)
      .sort((p, q) => Math.hypot(p[0] - across, 2 * (p[1] - up))
        - Math.hypot(q[0] - across, 2 * (q[1] - up)));
    const at = nearest(boxes);
    taken.push(at);
    const edge = at[0] + (at[0] > across ? -1 : 1) * (half - 3);
    const far = Math.hypot(edge - across, at[1] - up) > 16;
    const shown = SIDES.some((side) => method(side) === name);
    return `<g class="point${shown ? " shown" : ""}" tabindex="0" role="button"
      data-method="${name}" aria-label="${called}: ${atEnd(name)} of ${asked} answers
      stop after ${STEPS} steps, score ${points([mean, error])} after a whole run, ${
        source}; learns from
      ${learns[family]}" style="color: var(--${family})">
      <path d="M${across} ${y(mean + error)}V${y(mean - error)}" stroke="currentColor"
        opacity=".45"/>
      ${far ? `<path d="M${across} ${up}L${edge} ${at[1]}" stroke="currentColor" opacity=".35"/>`
        : ""}
      <text x="${across}" y="${up + 5}" text-anchor="middle">${mark}</text>
      <text x="${at[0]}" y="${at[1] + 4}" text-anchor="middle">${called}</text></g>`;
  });
  const grid = [];
  for (let score = 10 * Math.ceil(low / 10); score <= top; score += 10) {
    grid.push(`<path d="M${left} ${y(score)}H${wide}" stroke="var(--line)"/>
      <text x="${left - 8}" y="${y(score) + 4}" text-anchor="end">${score}</text>`);
  }
  for (let stops = 0; stops <= asked; stops++) {
    grid.push(`<text x="${x(stops)}" y="${bottom + 18}" text-anchor="middle">${stops}</text>`);
  }
  $("map").innerHTML = `<svg viewBox="0 0 ${wide} ${tall}" role="group" aria-label="Map of
    ${onMap.length} methods: answers that stop after ${STEPS} steps, and score after a whole run">
    <g style="color: var(--soft)">${grid.join("")}
    <text x="${wide}" y="${bottom + 36}" text-anchor="end">answers of ${asked} that stop after
      ${STEPS} steps</text><text x="${left + 6}" y="10">score of 100</text></g>
    ${drawn.join("")}</svg>`;
}

function chips(id, words, names, text) {    // methods without a place on the map
  $(id).hidden = !names.length;
  $(id).innerHTML = words + names.map((name) => `<button data-method="${name}">${
    coloured(name, methods[name].mark)} ${methods[name].called}${text(name)}</button>`).join("");
}

function put(name) {                        // a method of the map, on the right
  choose("right", name);
  $("two").scrollIntoView({ behavior: calm ? "auto" : "smooth" });
  $("rightMethod").focus({ preventScroll: true });
}

// ---- what is there from the beginning -----------------------------------------------------------
const AFTER_SFT = "after SFT", offMap = ALL.filter((name) => !onMap.includes(name));
const families = Object.keys(learns).filter((x) => ALL.some((name) => methods[name].family === x));
for (const side of SIDES) {
  $(`${side}Method`).innerHTML = families.map((family) => `<optgroup label="learns from
    ${learns[family]}">${ALL.filter((name) => methods[name].family === family).map((name) =>
      `<option value="${name}">${methods[name].mark} ${methods[name].called}`).join("")}
    </optgroup>`).join("");
  $(`${side}Method`).oninput = () => choose(side, method(side));
  $(`${side}Dials`).oninput = stay;
  $(side).onclick = ({ target }) => {
    if (!target.dataset.repair) return;
    $(`${side}Dials`).querySelector("select").value = "detached";
    stay();
    $(`${side}Dials`).querySelector("select").focus();
  };
}
$("bets").innerHTML = [...SIDES, "both", "neither"].map((who) =>
  `<button data-bet="${who}"></button>`).join("");
$("bets").onclick = ({ target }) => {
  if (!target.dataset.bet) return;
  bet = target.dataset.bet;
  begin();
};
$("play").onclick = () => clock ? stay() : begin();
$("step").max = STEPS;
$("step").oninput = stay;
for (const id of ["map", "afterSft", "unmeasured"]) {
  $(id).onclick = ({ target }) => {
    const name = target.closest("[data-method]")?.dataset.method;
    if (name) put(name);
  };
}
$("map").onkeydown = (event) => {
  if (event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  if (event.target.dataset.method) put(event.target.dataset.method);
};
$("mapTitle").textContent = `The map of all ${ALL.length} methods: choose another one`;
$("legend").innerHTML = `Colour and shape say what a method learns from: ${families.map((family) => {
  const name = ALL.find((x) => methods[x].family === family);
  return `${coloured(name, methods[name].mark)} ${learns[family]}`;
}).join("; ")}.`;
chips("afterSft", "Measured after SFT alone, not from the base model:",
  offMap.filter((name) => methods[name].scores[AFTER_SFT]),
  (name) => ` ${points(methods[name].scores[AFTER_SFT])}`);
chips("unmeasured", "Not measured yet:",
  offMap.filter((name) => !methods[name].scores[AFTER_SFT]), () => "");
$("exploratory").hidden = !ALL.some((name) =>
  Object.values(methods[name].scores).some(explored));
$("question").textContent = DATA.question;
$("letters").innerHTML = DATA.letters.map((line) =>
  `<code class="equation" style="display: block">${escaped(line)}</code>`).join("");
set("left", ALL[0]);
choose("right", methods.dpo ? "dpo" : ALL.at(-1));
addEventListener("resize", drawMap);
