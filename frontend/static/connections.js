// Copying an address with one press. Without this file the address can be selected by hand.
(() => {
  "use strict";
  for (const field of document.querySelectorAll(".copy input[readonly]")) {
    field.addEventListener("focus", () => field.select());
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const field = button.parentElement.querySelector("input");
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      document.execCommand("copy"); // no permission, or not a secure address: the selection is copied
    }
    const was = button.textContent;
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = was; }, 1500);
  });
})();
