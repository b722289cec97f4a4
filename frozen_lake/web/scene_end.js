// Scene 3: the score card, and whether the paper's order holds.
const studied = ({ seeds, settings, verdict, counts }) => say(`On random lakes, ${plural(seeds, "seed")} each, the order
  <b>${verdict}</b> in the base setting. Over ${plural(settings, "setting")} it holds in ${counts.holds}, does not hold
  in ${counts["does not hold"]}, is undecided in ${counts.undecided}${
  DATA.table ? ` (<a href="${DATA.table}">all settings</a>)` : ""}.`);
function scores() {                                         // [scene, points, of]; null: not played
  const ghosts = ghostList().length && state.judged.length >= ghostList().length ? ghostScore() : null;
  return [["1: the ghosts", ghosts && [ghosts.hits, ghosts.of]],
    ["2: the bet on DPO", state.bet && [+(state.bet === ended(dpoGap(loserKinds[0]))), 1]]];
}
function scoreCard() {
  const all = scores(), played = all.filter(([, points]) => points);
  const mean = played.reduce((sum, [, [got, of]]) => sum + got / of, 0) / (played.length || 1);
  const where = plural(played.length, "scene");
  return live(played.length ? `Your score: <b>${percent(mean)}</b> of what could be known, in ${where}.`
    : "Nothing played yet: no score.", "big") + table("Score card", ["scene", "points"], all.map(([name, points]) =>
    [name, points ? `${points[0]} of ${points[1]}` : "not played"]));
}
function verdictScene() {
  const seen = METHODS.map((name) => [name, Lake.distance(map, policy(name), good)]);
  seen.sort((a, b) => a[1] - b[1]);
  const between = (i) => (!i ? "" : seen[i][1] - seen[i - 1][1] < 0.003 ? " ≈ " : " &lt; ");
  const saw = seen.map(([name, d], i) => `${between(i)}${method(name)} ${num(d)}`);
  return { body: `<div class="ends"><div class="panel">${scoreCard()}
    ${takeaway(`what a method does can be counted; which one is better needs many lakes, many seeds and an
      interval.`)}</div>
    <div class="panel">${say(`The paper's order, by distance to the best policy (less is better):
      <b>DPO &lt; IFT &lt; ORPO, SFT</b>${
      DATA.claims ? ` (<a href="${DATA.claims}">all claims</a>)` : ""}.`)}
    ${say(`You saw, on one lake with one student: ${saw.join("")}`)}
    ${DATA.study ? studied(DATA.study) : say(`One lake and one student are no evidence. The study over many
      lakes is not in this page; this makes it: <code>${DATA.command}</code>`)}</div></div>`,
  actions: [button("fresh", "Start again", 'class="primary"')] };       // not on the space bar: it would undo all
}
Object.assign(ACTS, { fresh: () => { state = fresh(); } });
