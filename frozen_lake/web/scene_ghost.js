// Scene 1: IFT mixes in the cell where the student would have gone, and stamps the demonstrator's arrow on both.
const isRight = (s, i) => good[s].includes(gold.a[i]);      // is the demonstrator's move i a best one in cell s?
const verdictSign = (right) => (right ? "✓" : "✗");
function spirit(i, at, known) {
  const [x, y] = middle(at), sign = verdictSign(isRight(at, i));
  const mark = known ? `<text class="mark" x="31" y="-31">${sign}</text>` : "";
  return `<path class="link" d="M${middle(gold.s[i - 1])}L${x} ${y}"/>`
    + put(at, `<circle r="39"/>${arrow(gold.a[i], "", 0.82)}${mark}`, 'class="who ghost"');
}
// What one step of training changes: blue and + likelier, orange and − less likely.
const tint = (name) => (s) => (!push(name)[s].length ? "" : push(name)[s].some(([, g]) => g > 0) ? "more" : "less");
const pushes = (name) => (s) => push(name)[s].map(([a, g], _, all) => {
  const [dy, dx] = Lake.MOVES[a].map((v) => v * (all.length > 1 ? 22 : 0)), weight = 0.7 + 0.3 * Math.abs(g);
  return `<g transform="translate(${dx},${dy})">
    ${arrow(a, g > 0 ? "up" : "down", (all.length > 1 ? 0.64 : 1) * weight, g > 0 ? "+" : "−")}</g>`;
}).join("");
const pushed = (name) => (s) => push(name)[s].map(([a, g]) => `${NAMES[a]} ${g > 0 ? "likelier" : "less likely"}`);
const changes = (name) => `<figure><figcaption>${method(name)} <span>${plural(push(name).filter((x) => x.length).length,
  "cell")}</span></figcaption>${lake({ label: `${upper(name)}: what the first step changes`, cls: tint(name),
  inside: pushes(name), tell: pushed(name) })}</figure>`;
const firstStep = () => `<h2>What the first step of training changes</h2>
  <div class="two">${changes("sft")}${changes("ift")}</div>${say(signs, "small")}`;

const WEIGHTED = `IFT is SFT with weights: the loss of each move is multiplied by the sum of its own loss and of the
  losses of the moves after it (the later a move, the less of its loss).`;
const ghostList = () => different(frames()[0].own);
function ghostScene() {
  const list = ghostList();
  if (!list.length) return { body: scene(lake({ label: "the best way", under: line(gold, "best") }),
    say(`On this lake the student's guesses are the demonstrator's from the start: there is no ghost. ${WEIGHTED}`),
    firstStep()),
  actions: [primary("turn:1", "Does SFT overestimate?")] };
  return state.judged.length < list.length ? judgeScene(list) : ghostsOverTime(list);
}
function judgeScene(list) {
  const i = list[state.judged.length], at = frames()[0].own[i], from = gold.s[i - 1], stamp = NAMES[gold.a[i]];
  const wall = at === from ? " (a wall: it stays)" : "", k = state.judged.length;
  const answers = [...state.judged].map((c) => (c === "y" ? "right" : "wrong"));
  const solid = put(gold.s[i], `<circle r="39"/>${arrow(gold.a[i], "", 0.82)}`, 'class="who solid"');
  const picture = lake({
    label: "one ghost", under: line(gold, "best"), over: solid + spirit(i, at, false),
    tell: (s) => [...goesHere(s), s === gold.s[i] ? `full circle, stamped ${stamp}` : "",
      s === at ? `ghost, stamped ${stamp}` : ""],
  });
  return { body: scene(picture, say(`The demonstrator stands on the full circle and goes <b>${stamp}</b>. One move
    earlier the student would have gone <b>${NAMES[firstArrows[from]]}</b>${wall}: there stands its <b>ghost</b>. IFT
    reads a mixture, ${percent(1 - DATA.hp.lam)} true cell and ${percent(DATA.hp.lam)} ghost (its temporal residual), and
    stamps the same arrow on it.`),
  live(`Ghost ${k + 1} of ${list.length}, in ${place(at)}: is “${stamp}” a best move <b>there</b>?`, "big"),
  say(k ? `Your answers so far: ${answers.join(", ")}.`
    : `The line is the best way, as demonstrated. This student was chosen among 300 for having something to see: ghosts
    of both kinds. A model that talks walks, too: a cell is the text so far, a move the next word, the goal the end of
    a right answer. ${DATA.note}`, "small")),
  actions: [button("judge:y", "✓ &nbsp;right there", 'class="primary"'),
    button("judge:n", "✗ &nbsp;wrong there", 'class="primary"')] };
}
const goesHere = (s) => goes(gold, "best way", s);
function ghostsOverTime(list) {
  const all = frames(), time = clamp(state.time, 0, all.length - 1), now = all[time], left = different(now.own);
  const stamped = (s) => left.filter((i) => now.own[i] === s);
  const picture = lake({
    label: `the ghosts after ${plural(time, "update")}`, under: line(gold, "best"),
    over: left.map((i) => spirit(i, now.own[i], true)).join(""),
    inside: (s) => (stamped(s).length ? "" : own(now.arrows)(s)),
    tell: (s) => [map.live.includes(s) ? `student goes ${NAMES[now.arrows[s]]}` : "", ...stamped(s).map((i) =>
      `ghost, stamped ${NAMES[gold.a[i]]}, ${isRight(s, i) ? "right" : "wrong"} here`)],
  });
  const { hits, of } = ghostScore(), n = list.filter((i) => isRight(all[0].own[i], i)).length;
  const could = Ways.ghosts(map, gold), sound = could.filter((g) => g.right).length;
  return { body: scene(picture,
    live(`You judged <b>${hits} of ${of}</b> correctly: <b>✓ ${n} right</b>, <b>✗ ${of - n} wrong</b>.
      Of all ${could.length} ghosts that could stand on this ice, ${sound} would get a right arrow.`),
    slider("time", `Now train IFT: <b>${plural(time, "update")}</b>`, all.length - 1, time,
      `${plural(time, "update")}, ${left.length} of ${gold.s.length} guesses still differ`),
    live(`Guesses that still differ: ${left.length} of ${gold.s.length}.`, "big"),
    firstStep(), say(left.length ? "Slide on: where the guess turns right, the ghost steps into the true cell."
      : `<b>From here on</b> ${WEIGHTED}`),
    takeaway(`SFT changes only the cells of the way. IFT adds cells where the student's own guess leads, as long as the
      guess differs; what it copies there may be wrong there. ${wordsFor("ift")}`)),
  actions: [primary("turn:1", "Does SFT overestimate?"), button("again3", "Judge again")] };
}
function ghostScore() {
  const list = ghostList(), truth = list.map((i) => isRight(frames()[0].own[i], i));
  const hits = truth.filter((right, k) => state.judged[k] === (right ? "y" : "n")).length;
  return { hits, of: list.length };
}
Object.assign(ACTS, {
  judge: (c) => { state.judged += c; },
  again3: () => { state.judged = "", state.time = 0; },
});
