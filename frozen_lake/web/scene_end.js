// Scene 4: does the paper's order hold?
const studied = ({ seeds, settings, verdict, counts }) => say(`On random lakes, ${plural(seeds, "seed")} each, the order
  <b>${verdict}</b> in the base setting. Over ${plural(settings, "setting")} it holds in ${counts.holds}, does not hold
  in ${counts["does not hold"]}, is undecided in ${counts.undecided}${
  DATA.table ? ` (<a href="${DATA.table}">all settings</a>)` : ""}.`);
function verdictScene() {
  const seen = METHODS.map((name) => [name, Lake.distance(map, policy(name), good)]);
  seen.sort((a, b) => a[1] - b[1]);
  const between = (i) => (!i ? "" : seen[i][1] - seen[i - 1][1] < 0.003 ? " ≈ " : " &lt; ");
  const saw = seen.map(([name, d], i) => `${between(i)}${method(name)} ${num(d)}`);
  return { body: `<div class="panel">${live(`The paper's order, by distance to the best policy (less is better):
      <b>DPO &lt; IFT &lt; ORPO, SFT</b>${DATA.claims ? ` (<a href="${DATA.claims}">all claims</a>)` : ""}.`)}
    ${say(`You saw, on one lake with one student: ${saw.join("")}`)}
    ${DATA.study ? studied(DATA.study) : say(`One lake and one student are no evidence. The study over many
      lakes is not in this page; this makes it: <code>${DATA.command}</code>`)}
    ${takeaway(`what a method does can be counted; which one is better needs many lakes, many seeds and an
      interval.`)}</div>`,
  actions: [button("fresh", "Start again", 'class="primary"')] };       // not on the space bar: it would undo all
}
Object.assign(ACTS, { fresh: () => { state = fresh(); } });
