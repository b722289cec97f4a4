// Scene 3: DPO blames every move of the worse way. Is that fair, and does it bring its student nearer to the best?
const PARTS = {                                             // what a move of the worse way is, and what DPO does to it
  cancels: ["=", "shared with the best way: + and − cancel"], right: ["✓", "right here, pushed down all the same"],
  wrong: ["✗", "wrong here, pushed down"],
};
const DISTANCE = `Distance: how far the student's chances are from those of the nearest best student (0: the same; one
  that picks at random has .188 where one move is best). Arrives: the share of cells from which it reaches the goal.`;

function loserScene() {
  if (!state.bet) {
    return { body: scene(lake({ under: both(), inside: own(firstArrows), label: "both ways",
      tell: (s) => [map.live.includes(s) ? `student goes ${NAMES[firstArrows[s]]}` : "", ...alongWays(s)] }),
    say(`DPO sees one pair, the best way and the worse way, and makes ${DATA.hp.steps} updates.
      Each pushes the best way up and the worse way down.`), say(legend, "small"),
    say("Does its student end nearer to the best student, or farther away?", "big")),
    actions: Object.entries(BETS).map(([k, text]) => button(`bet:${k}`, text)) };
  }
  const kind = state.loser, { loser } = pair(kind);
  const parts = Lake.blame(map, gold, loser);
  const count = (part) => parts.filter((x) => x === part).length, last = (s) => loser.s.lastIndexOf(s);
  const sign = (i) => PARTS[parts[i]][0];
  const picture = lake({
    label: "what DPO does to the worse way", cls: (s) => (last(s) < 0 || parts[last(s)] === "cancels" ? "" : "less"),
    inside: (s) => (last(s) < 0 ? "" : arrow(loser.a[last(s)], parts[last(s)] === "cancels" ? "own" : "down", 0.95,
      parts[last(s)] === "cancels" ? "=" : "−")
      + (parts[last(s)] === "cancels" ? "" : `<text class="mark" x="31" y="-31">${sign(last(s))}</text>`)),
    tell: (s) => (last(s) < 0 ? "" : `${NAMES[loser.a[last(s)]]}, ${PARTS[parts[last(s)]][1]}`),
  });
  const chip = (part, i) => `<li class="${part}"><span aria-hidden="true">${GLYPH[loser.a[i]]}
    <small>${PARTS[part][0]}</small></span><span class="unseen">${NAMES[loser.a[i]]}: ${PARTS[part][1]}</span></li>`;
  return { body: scene(picture,
    `<ol class="moves" aria-label="the moves of the worse way">${parts.map(chip).join("")}</ol>`,
    live(`Of ${plural(parts.length, "move")}, <b>${count("cancels")} cancel (=)</b>,
      <b>${count("right")} are right in their own cell (✓), yet <span class="down">pushed down (−)</span></b>,
      <b>${count("wrong")} really wrong (✗)</b>.`),
    live(betResult(kind)), experiment(kind), students(kind),
    takeaway(`a label for a whole way blames all of its moves, the right ones too. ${wordsFor("dpo")}`)),
  actions: [primary("turn:1", "The verdict"), button("again4", "Bet again")] };
}
function experiment(kind) {                                 // each worse way: how much of it is right, what follows
  const tried = loserKinds.map((k) => ({ k, distance: measured(policy("dpo", k)).distance,
    blamed: Lake.blame(map, gold, pair(k).loser).filter((part) => part === "right").length }));
  const falling = tried.sort((a, b) => b.blamed - a.blamed).every((x, i) => !i || x.distance <= tried[i - 1].distance);
  const rows = tried.map(({ k, distance, blamed }) =>
    [choice(`loser:${k}`, LOSERS[k], k === kind), blamed, num(distance)]);
  return tried.length < 2 ? "" : table(`Other worse ways, other students. ${falling
    ? "The fewer right moves DPO pushes down, the nearer its student ends."
    : "On this lake the two numbers do not fall together."}`,
  ["the worse way", "right moves pushed down", "DPO's distance"], rows, true);
}
const dpoGap = (kind) => measured(policy("dpo", kind)).distance - measured(firstPolicy()).distance;
const betResult = (kind) => `You said “${BETS[state.bet]}”. This student ended <b>${BETS[ended(dpoGap(kind))]}</b>.`;
function students(kind) {
  const row = (name, p) => [name, num(p.distance), percent(p.arrives)];
  const after = (name) => row(method(name), measured(policy(name, kind)));
  return table(DISTANCE, ["student", "distance", "arrives"],
    [row("before", measured(firstPolicy())), ...METHODS.map(after)], true);
}
Object.assign(ACTS, {
  bet: (b) => { state.bet = b; }, loser: (kind) => { state.loser = kind; },
  again4: () => { state.bet = "", state.loser = loserKinds[0]; },
});
