// Runs before the page is painted, so that it never flashes in the other theme.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    document.documentElement.dataset.theme = chosen || (dark.matches ? "dark" : "light");
    dispatchEvent(new Event("theme"));
  };
  const keep = () => {
    try {
      localStorage.setItem("theme", chosen);
    } catch {
      // Storage is forbidden: the choice holds until the page is closed.
    }
  };
  let chosen = "";
  try {
    chosen = localStorage.getItem("theme") ?? "";
  } catch {
    // as above
  }
  dark.addEventListener("change", apply);
  window.toggleTheme = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    chosen = next === (dark.matches ? "dark" : "light") ? "" : next;
    keep();
    apply();
  };
  apply();
})();
