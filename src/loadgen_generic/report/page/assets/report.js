"use strict";
(() => {
  const root = document.documentElement;

  // Theme: the system's, until the reader chooses.
  const toggle = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const paint = () => {
    const dark = chosen ?? system.matches;
    root.dataset.theme = dark ? "dark" : "light";
    toggle.setAttribute("aria-pressed", String(dark));
  };
  toggle.addEventListener("click", () => {
    chosen = root.dataset.theme !== "dark";
    paint();
  });
  system.addEventListener("change", paint);
  paint();

  // Charts.
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const options = { renderer: "svg", actions: false, tooltip: { defaultStyle: false } };
  const draw = async (place) => {
    const { view } = await vegaEmbed(place, specs[place.dataset.chart], options);
    const legend = place.parentElement.querySelectorAll(".legend button");
    legend.forEach((button) => {
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") === "true";
        button.setAttribute("aria-pressed", String(!shown));
        const hidden = [...legend]
          .filter((each) => each.getAttribute("aria-pressed") === "false")
          .map((each) => each.dataset.series);
        view.signal("hidden", hidden).runAsync();
      });
    });
  };
  Promise.all([...document.querySelectorAll("[data-chart]")].map(draw)).then(() => {
    root.dataset.drawn = "true";
  });

  // Commands: where a page may not use the clipboard, the text is selected instead.
  document.querySelectorAll("[data-copies]").forEach((button) => {
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copies);
      let copied = false;
      if (navigator.clipboard) {
        copied = await navigator.clipboard.writeText(source.textContent).then(() => true, () => false);
      }
      if (!copied) getSelection().selectAllChildren(source);
      button.textContent = copied ? "Copied" : "Selected: press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; }, 2500);
    });
  });

  // On paper nothing can be unfolded.
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details.particular:not([open])")];
    unfolded.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => {
    unfolded.forEach((each) => { each.open = false; });
  });
})();
