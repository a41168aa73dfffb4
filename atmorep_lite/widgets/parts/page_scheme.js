// Light or dark: what the page around says first (book theme, JupyterLab), then what the reader's system says. What is
// printed is light.

let printed = false;
window.addEventListener("beforeprint", () => { printed = true; });
window.addEventListener("afterprint", () => { printed = false; });

export function pageScheme() {
  if (printed) return "light";
  const book = document.documentElement.dataset.theme;
  if (book === "dark" || book === "light") return book;
  const lab = document.body.dataset.jpThemeLight;
  if (lab === "false" || lab === "true") return lab === "false" ? "dark" : "light";
  return window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

// Calls back when the scheme may have changed; returns what ends that.
export function watchScheme(callback) {
  const query = window.matchMedia("(prefers-color-scheme: dark)");
  const observer = new MutationObserver(callback);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  query.addEventListener("change", callback);
  return () => {
    observer.disconnect();
    query.removeEventListener("change", callback);
  };
}
