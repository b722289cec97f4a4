// What the theme leaves out for those who read with a keyboard or a screen reader: a box that scrolls can be focused, and
// each part of the page has a name of its own.
const BOXES = ".md-typeset__scrollwrap, .md-typeset pre > code, .formula";

function reachable() {
  for (const box of document.querySelectorAll(BOXES)) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
  document.querySelectorAll(".md-code__nav").forEach((nav, i) => nav.setAttribute("aria-label", `Code ${i + 1}`));
}

document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
for (const nav of document.querySelectorAll(".md-nav[aria-labelledby]")) {
  nav.removeAttribute("aria-labelledby");
  nav.setAttribute("aria-label", nav.querySelector(".md-nav__title").textContent.trim());
}
const article = document.querySelector("article");
new MutationObserver(reachable).observe(article, { childList: true, subtree: true });       // the theme adds boxes late
new ResizeObserver(reachable).observe(article);
