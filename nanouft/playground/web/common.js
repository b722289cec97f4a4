// What the four pages share: theme, address, what is said aloud, safe text, drawing by comparison, strips of tokens.
const Common = (() => {
  const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  const esc = (text) => String(text).replace(/[&<>"']/g, (letter) => ENTITIES[letter]);
  const signed = (x, digits = 2) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(digits)}`;

  // ---- what the browser remembers. It may refuse; then nothing is remembered --------------------------------------
  function remember(key, value) {
    try { localStorage.setItem(key, value); } catch { /* private window */ }
  }
  function recall(key) {
    try { return localStorage.getItem(key) || ""; } catch { return ""; }
  }

  // ---- colours: those of the system, light, dark. One choice for all pages ----------------------------------------
  const THEMES = ["auto", "light", "dark"];
  function paint(button, wanted) {
    const theme = THEMES.includes(wanted) ? wanted : "auto";
    document.documentElement.dataset.theme = theme;
    button.innerHTML = `<span aria-hidden="true">◐</span> <span class="long">colours: ${theme}</span>`;
    button.setAttribute("aria-label", `colours: ${theme}`);
    remember("nanouft theme", theme);
  }
  function theme(button, changed = () => {}) {
    button.onclick = () => {
      paint(button, THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3]);
      changed();
    };
    paint(button, recall("nanouft theme"));
  }

  // ---- the address: #key=value&key=value ----------------------------------------------------------------------------
  const read = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  function write(changes) {                                 // an empty value leaves the address
    const now = new URLSearchParams(location.hash.slice(1));
    for (const [key, value] of Object.entries(changes)) {
      if (value === "" || value === null || value === undefined) now.delete(key);
      else now.set(key, value);
    }
    const hash = now.toString() ? `#${now}` : "";
    try { history.replaceState(null, "", hash || location.pathname + location.search); } catch { location.hash = hash; }
  }

  // ---- said aloud: the same words once more are told apart by a space, so that they are said again ------------------
  function tell(text) {
    const region = document.querySelector("[role=status]");
    region.textContent = region.textContent === text ? `${text}\u00a0` : text;
  }

  // ---- drawing: the new content is compared with the old one, and only what differs is changed ----------------------
  function patch(old, fresh) {                             // `old` turns into `fresh`; what is the same keeps its focus
    if (old.nodeName !== fresh.nodeName || (old.nodeType === 1 && old.dataset.key !== fresh.dataset.key)) {
      old.replaceWith(fresh);
    } else if (old.nodeType !== 1) {
      if (old.data !== fresh.data) old.data = fresh.data;
    } else {
      sameAttributes(old, fresh);
      const [has, wants] = [[...old.childNodes], [...fresh.childNodes]];
      has.slice(wants.length).forEach((child) => child.remove());
      wants.forEach((child, i) => (i < has.length ? patch(has[i], child) : old.append(child)));
    }
  }
  function sameAttributes(old, fresh) {
    const kept = old.tagName === "DETAILS" ? ["open"] : [];
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    if (old.tagName === "INPUT" && old.value !== fresh.getAttribute("value")) old.value = fresh.getAttribute("value");
  }
  function show(element, html) {
    const fresh = element.cloneNode(false);
    fresh.innerHTML = html;
    patch(element, fresh);
  }

  // ---- a strip: words, and under each a bar that shows how hard a loss pushes it, and which way ---------------------
  // word(i) gives the HTML of a word, under(i) what stands below it. Bars are `most` high at their highest.
  // direct[i], if given: a part of push i, drawn as the bar; the rest is drawn on it, from its end to the whole push.
  function strip(pushes, { word, under = () => "", direct = null, label = "",
    most = Math.max(1, ...pushes.map(Math.abs)) }) {
    const part = (x) => Math.max(-1, Math.min(1, x / most)).toFixed(3);
    const one = (push, i) => {
      const first = direct ? direct[i] : push, way = Math.abs(push) < 0.005 ? "" : push < 0 ? "down" : "up";
      const [low, high] = [Math.min(first, push), Math.max(first, push)];
      const rest = direct ? `<u class="${push < first ? "down" : "up"}" style="--low:${part(low)};--high:${part(high)}"></u>`
        : "";
      return `<li class="${way}" style="--push:${part(way === "down" ? low : high)}"><span class="word">${word(i)}</span>${
        under(i)}<span class="field"><i class="${first < 0 ? "down" : "up"}" style="--push:${part(first)}"></i>${rest}<b>${
        way ? signed(push) : "0"}</b></span></li>`;
    };
    const falls = [...pushes, ...(direct || [])].every((push) => push < -0.005);
    return `<ol class="bars ${falls ? "falls" : ""}" style="--one:${(1 / most).toFixed(3)}" aria-label="${esc(label)}">
      ${[...pushes].map(one).join("")}</ol>`;
  }
  return { esc, signed, remember, recall, theme, read, write, tell, show, strip };
})();
if (typeof module !== "undefined") module.exports = Common;
