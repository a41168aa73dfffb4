// Modules of widgets are looked for beside this file, never on a content delivery network.
(() => {
  const here = document.currentScript.src.replace(/[^/]*$/, "");
  requirejs.config({ baseUrl: here, paths: { anywidget: here + "anywidget" } });
})();
