// Shows the record of ../__main__.py after 0 to 4 steps: SFT on the left, another run on the right.
const $ = (id) => document.getElementById(id);
const { answers, asked, runs } = DATA;
const STEPS = runs.sft.length - 1;
const PUSHES = Object.values(runs).flat().flatMap(({ push }) => push.flat());
const HIGH = Math.max(...PUSHES), LOW = Math.min(...PUSHES);
const UNIT = 4.4 / HIGH;                    // rem of a push of 1: one scale for all bars
const NAMES = {
  sft: "● SFT", released: "▲ IFT as released", detached: "△ IFT detached", dpo: "■ DPO",
};
const COLOURS = { sft: "sft", released: "ift", detached: "ift", dpo: "pairs" };
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
let clock;                                  // runs while the steps are played

const step = () => +$("step").value;
const method = () => $("method").value;
const settings = () => [$("lam").value, $("gamma").value];
const taught = () => runs[method() === "dpo" ? "dpo" : [method(), ...settings()].join(" ")];
const signed = (x) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(2)}`;
const percent = (x) => Math.round(100 * x);

// ---- one model: what it says, whether it stops, how the next step pushes ------------------------
function token(text) {
  const escaped = text.trim().replaceAll("<", "&lt;");
  return text.startsWith("<|") ? `<span class="mark">${escaped}</span>` : escaped;
}

function bar(x) {                           // the box has room for every push of the record
  const zero = 1.2 + UNIT * HIGH, end = zero - UNIT * x;
  return `<div class="bar ${x < 0 ? "down" : "up"}" style="height: ${zero + 1.2 - UNIT * LOW}rem">
    <u style="top: ${zero}rem"></u>
    <i style="top: ${Math.min(zero, end)}rem; height: ${Math.abs(UNIT * x)}rem"></i>
    <b style="top: ${end + (x < 0 ? 0.1 : -1.2)}rem">${signed(x)}</b></div>`;
}

function show(side, name, frames) {
  const { said, stops, chance, push } = frames[step()];
  const now = step() ? ` → <b>${percent(chance)}</b>` : "";
  const strips = push.map((xs, k) => `
    <p class="small soft">How the next step pushes a ${k ? "wrong" : "right"} answer</p>
    <div class="bars">${xs.map((x, t) => `<div>${token(answers[k][t])}${bar(x)}</div>`).join("")}
    </div>`);
  $(`${side}Head`).innerHTML = `<p><b>${NAMES[name]}</b></p><p><span style="color: var(--${
    COLOURS[name]})" aria-hidden="true">${"●".repeat(stops)}${"○".repeat(asked - stops)}</span>
    <b class="stops">${stops} of ${asked} stop</b></p>`;
  $(side).innerHTML = `<p class="says"><span class="soft">${NAMES[name].slice(2, 5)}:</span> ${
    said.map(token).join(" ")}</p>
    <p class="small">Chance of ${token("<|end|>")} after the right answer, mean of ${asked}:
      ${percent(frames[0].chance)}${now} %</p>
    ${strips.join("")}`;
}

// ---- both, and what they say together -----------------------------------------------------------
function reason() {                         // why, in the numbers of the right model
  const ends = taught()[step()].push.map((push) => signed(push.at(-1)));
  const next = `the next step pushes <|end|> by ${ends[0]}`;
  if (method() === "dpo") {
    return `DPO pushes the right answer up and the wrong one down, each as a whole: ${next} in one `
      + `and by ${ends[1]} in the other.`;
  }
  if ($("gamma").value === "0") {
    return `With gamma 0 no token counts the losses of others, and all weigh the same: ${next}.`;
  }
  return {
    released: "IFT gives a token more weight the worse the model does on it and on the tokens "
      + "after it. As released, gradient flows through these weights, and then the loss can fall "
      + `when the easy last token gets less likely: ${next}.`,
    detached: "With constant weights no token of a right answer is pushed down. Hard tokens still "
      + `count more than in SFT, and ${next}.`,
  }[method()];
}

function draw() {
  const right = taught(), [lam, gamma] = settings(), ift = method() !== "dpo";
  show("left", "sft", runs.sft);
  show("right", method(), right);
  const own = ift && (lam !== "0.2" || gamma !== "0.95") ? ` (lam ${lam}, gamma ${gamma})` : "";
  const counts = `after step ${step()}, ${runs.sft[step()].stops} of ${asked} answers stop with `
    + `SFT and ${right[step()].stops} with ${NAMES[method()].slice(2)}${own}.`;
  $("title").textContent =
    `${document.title}: ${step() ? counts : "which model learns to stop?"}`;
  $("number").textContent = step();
  $("why").textContent = reason();
  const again = method() === "released" ? "▶ now with nll.detach()" : "▶ again";
  $("play").textContent = step() < STEPS ? "▶ teach" : again;
  document.querySelectorAll(".dial").forEach((dial) => { dial.hidden = !ift; });
}

function play() {                           // one step after another, until the last
  clock = step() < STEPS && setTimeout(() => {
    $("step").value = step() + 1;
    play();
  }, 650);
  draw();
}

function stay() {                           // at what the visitor has chosen
  clock = clearTimeout(clock);
  draw();
}

$("play").onclick = () => {
  if (clock) return stay();
  if (step() === STEPS) {
    $("step").value = 0;
    if (method() === "released") $("method").value = "detached";
  }
  if (calm) $("step").value = STEPS;
  play();
};
for (const id of ["step", "method", "lam", "gamma"]) $(id).oninput = stay;
for (const [id, values, first] of [["lam", DATA.lams, 0.2], ["gamma", DATA.gammas, 0.95]]) {
  $(id).append(...values.map((x) => new Option(x, x, false, x === first)));
}
$("question").textContent = DATA.question;
$("line").textContent = DATA.line;
draw();
