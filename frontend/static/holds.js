// Choosing several orders: the button names how many. Without this file the form works as it is.
(() => {
  "use strict";
  for (const form of document.querySelectorAll("form[data-choose]")) {
    const button = form.querySelector("[data-choose-label]");
    const bar = form.querySelector(".choose-bar");
    const all = form.querySelector("[data-choose-all]");
    const boxes = [...form.querySelectorAll('tbody input[type="checkbox"]')];
    if (!button || boxes.length === 0) {
      if (bar) bar.hidden = true;
      continue;
    }
    const show = () => {
      const chosen = boxes.filter((box) => box.checked).length;
      button.textContent = chosen ? button.dataset.chooseLabel.replace("{n}", chosen) : button.dataset.chooseNone;
      button.disabled = chosen === 0;
      bar.hidden = chosen === 0;
      all.checked = chosen === boxes.length;
      all.indeterminate = chosen > 0 && chosen < boxes.length;
    };
    all.hidden = false;
    all.addEventListener("change", () => { for (const box of boxes) box.checked = all.checked; show(); });
    form.addEventListener("change", show);
    window.addEventListener("pageshow", show);
    show();
  }
})();
