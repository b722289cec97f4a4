// The address keeps the chooser's form, the view, the filters and the marked row (#demos=300&have=labels&row=dpo), for
// links and reloads. It does not keep the order of rows, "more rows", nor what is set above pictures and answers.
const State = {
  read: () => Object.fromEntries(new URLSearchParams(location.hash.slice(1))),
  write(changes) {
    const now = new URLSearchParams(location.hash.slice(1));
    for (const [key, value] of Object.entries(changes)) {
      if (value === "" || value === null || value === undefined) now.delete(key);
      else now.set(key, value);
    }
    history.replaceState(null, "", now.toString() ? `#${now}` : location.pathname + location.search);
  },
  // light or dark is a matter of the reader, not of what is shown: kept beside, where the browser allows it
  theme(value) {
    try {
      if (value) localStorage.setItem("nanouft theme", value);
      return localStorage.getItem("nanouft theme");
    } catch { return null; }
  },
};
