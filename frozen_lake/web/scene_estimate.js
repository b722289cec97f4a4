// Scene 2: does SFT overestimate what its student can do, as it scores each move from the demonstrator's cell?
//
// The student first imitated a worse way, so some of its guesses lead elsewhere. Its own walks answer, and the chain
// rule says why. IFT's blend is another estimate of the same chance.
const share = (x) => `${(100 * x).toFixed(x && x < 0.001 ? 4 : 1)}\u00a0%`;
const lambda = (lam) => `λ ${String(lam).replace(/^0\./, ".")}`;
const many = (n) => n.toLocaleString("en-US");

// ---- the student, and what is said of it -------------------------------------------------------------------------
const learner = () => cached("learner", () => {
  const made = Ways.walker(map, gold, start);
  return { ...made, policy: made.table.map(Lake.softmax) };
});
const estimate = (lam) => Lake.chance(map, learner().table, gold, lam);
const arriving = () => cached("arriving", () => Lake.reach(map, learner().policy));
const thousand = (seed) => cached(`walks ${seed}`,          // the same walks for everyone who opens this page
  () => Lake.along(map, learner().policy, gold, 1000, Ways.uniform(seed)));
function walked() {                                         // {n, on: of n walks, how many came so far on the way}
  const all = Array.from({ length: state.walks }, (_, seed) => thousand(seed));
  return { n: 1000 * state.walks, on: all[0].map((_, i) => all.reduce((total, on) => total + on[i], 0)) };
}

// ---- the two pictures --------------------------------------------------------------------------------------------
const figure = (s, text) => put(s, `<g transform="translate(0,${s === map.goal ? 26 : 0})">
  <rect class="plate" x="-45" y="-20" width="90" height="38" rx="12"/>
  <text font-size="${[29, 27, 24][clamp(text.length - 4, 0, 2)]}">${text}</text></g>`);
const moveChance = (i) => percent(learner().policy[gold.s[i]][gold.a[i]]);
const theWay = (label, texts, tell) => lake({ label,
  over: texts.map((text, i) => figure([...gold.s, gold.end][i], text)).join(""),
  under: line(gold, "best") + line(learner().habit, "worse"),
  tell: (s) => [...gold.s, gold.end].map((at, i) => (at === s ? tell(i) : "")) });

function estimateScene() {
  return state.says ? walksScene() : guessScene();
}
function guessScene() {
  const { updates } = learner(), says = estimate(0), steps = gold.s.map((_, i) => moveChance(i));
  const picture = theWay("the student's chance for each move of the demonstrator", steps,
    (i) => (i < steps.length ? `${NAMES[gold.a[i]]} with ${steps[i]}` : ""));
  return { body: scene(picture,
    say(`This student first imitated the worse way (${Ways.HABIT} updates of SFT), then the best way
      (${plural(updates, "update")}). How likely does it make exactly the demonstrator's
      ${plural(steps.length, "move")}? SFT stands in each of the demonstrator's cells, reads the chance of the
      demonstrator's move there (in the picture), and multiplies: <b>${share(says)}</b>.`),
    say(`But alone the student stands in its own cells. So SFT estimates too much, says IFT's paper. Let the student
      walk 1,000 times by itself.`),
    say(`SFT expects <b>${many(Math.round(1000 * says))}</b> walks with exactly these moves. Will there be more, as
      many, or fewer?`, "big"),
    say(`${legend}. This student was chosen so that, where possible, one of its likeliest moves is still not the
      demonstrator's. ${DATA.note}`, "small")),
  actions: Object.entries(SAYS).map(([k, text]) => button(`says:${k}`, text)) };
}

// ---- after the answer --------------------------------------------------------------------------------------------
function walksScene() {
  const { n, on } = walked(), exact = on[on.length - 1], says = estimate(0), lam = state.blend / 10;
  const luck = 100 * 1.96 * Math.sqrt(says * (1 - says) / n), blend = estimate(lam);
  const far = 100 * Math.abs(exact / n - says);
  const picture = theWay(`how far ${many(n)} walks come on the way`, on.map(many),
    (i) => `${many(on[i])} walks${i < gold.s.length ? `, chance to go ${NAMES[gold.a[i]]} ${moveChance(i)}` : ""}`);
  return { body: scene(picture,
    live(`You said “${SAYS[state.says]}”. On <b>${many(exact)} of ${many(n)}</b> walks the student made exactly these
      moves: <b>${share(exact / n)}</b>. SFT said <b>${share(says)}</b>: ${far > luck ? `farther apart than luck mostly brings`
      : "<b>as many</b>"}. Luck alone moves such a share by up to <span class="nowrap">± ${luck.toFixed(1)}</span> points,
      19 times of 20.`),
    say(`Why: only a right first move leads to the second cell of the way. The picture counts who is still on it. A
      walk with the right moves so far <b>stands in the demonstrator's cell</b>; there SFT looked. So the chances
      multiply (the chain rule), and there is nothing to repair.`),
    slider("blend", `Now IFT's blend, true cell and ghost: <b>${lambda(lam)}</b>`, 10, state.blend,
      `${lambda(lam)}, the blend says ${share(blend)}`),
    live(blendResult(lam, says, blend)),
    bars(`The first three: exactly these moves. The last is another question: other ways
      arrive, too.`, [["SFT's estimate", says, "sft"],
      [`${many(n)} walks`, exact / n], [`IFT's blend, ${lambda(lam)}`, blend, "ift"],
      ["arrives, on any way", arriving(), "soft"]]),
    takeaway(`on the lake SFT's estimate is exactly right, so a blend cannot make it better. On words the runs could not
      show an overestimate either; there it is undecided, and so is “equal” (claim C7${
      DATA.words ? `, <a href="${DATA.words}">its figures</a>` : ""}).`)),
  actions: [primary("turn:1", "And DPO?"), button("more", "Walk 1,000 more", state.walks < MOST ? "" : "disabled"),
    button("says:", "Again")] };
}
function blendResult(lam, says, blend) {
  if (!different(Lake.ghosts(map, learner().table, gold)).length) return `Here every guess of the student is the
    demonstrator's move: there is no ghost, and the blend is SFT's estimate with every λ.`;
  if (!lam) return "λ 0 blends nothing in: this is SFT's estimate.";
  const gap = share(blend) === share(says) ? "nearly the same" : blend < says ? "too little" : "too much";
  return `The blend says <b>${share(blend)}</b>: ${gap}; the student's chance is ${share(says)}.`;
}
function bars(caption, rows) {                              // rows: [name, chance, class]
  const most = Math.max(...rows.map(([, x]) => x));
  return table(caption, ["what is said", "chance"], rows.map(([name, x, cls = ""]) => [
    `${name}<span class="length ${cls}" style="--share:${(x / most).toFixed(4)}"></span>`, share(x)]), true);
}
Object.assign(ACTS, {
  says: (k) => { state.says = k, state.walks = k ? state.walks : 1; },
  more: () => { state.walks = Math.min(MOST, state.walks + 1); },
});
