// What the page shows is kept in its address (#demos=300&have=labels&row=dpo): a link shows the same, so does a reload.
const State = {
  read: () => Object.fromEntries(new URLSearchParams(location.hash.slice(1))),
  write(changes) {
    const now = new URLSearchParams(location.hash.slice(1));
    for (const [key, value] of Object.entries(changes)) {
      if (value === "" || value === null || value === undefined) now.delete(key);
      else now.set(key, value);
    }
    history.replaceState(null, "", now.size ? `#${now}` : location.pathname + location.search);
  },
  // light or dark is a matter of the reader, not of what is shown: kept beside, where the browser allows it
  theme(value) {
    try {
      if (value) localStorage.setItem("nanouft theme", value);
      return localStorage.getItem("nanouft theme");
    } catch { return null; }
  },
};
