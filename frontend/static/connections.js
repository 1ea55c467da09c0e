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

// Picking places in a sample: choose a field of the form, then press a place. Without this file the
// places are suggestions of the field itself.
(() => {
  "use strict";
  const fields = [...document.querySelectorAll("input[data-places]")];
  if (fields.length === 0) return;
  let active = null;
  const show = (field) => {
    active = field;
    for (const other of fields) other.classList.toggle("picking", other === field);
    for (const box of document.querySelectorAll("[data-picker]")) {
      const isOn = field !== null && box.dataset.picker === field.dataset.places;
      box.classList.toggle("active", isOn);
      if (isOn && box.tagName === "DETAILS") box.open = true;
    }
  };
  const mark = () => {
    const taken = new Set(fields.map((field) => `${field.dataset.places} ${field.value}`));
    for (const place of document.querySelectorAll("[data-pick]")) {
      const kind = place.closest("[data-picker]").dataset.picker;
      place.setAttribute("aria-pressed", String(taken.has(`${kind} ${place.dataset.pick}`)));
    }
  };
  for (const field of fields) {
    field.addEventListener("focus", () => show(field));
    field.addEventListener("input", mark);
  }
  document.addEventListener("click", (event) => {
    const place = event.target.closest("[data-pick]");
    if (!place) return;
    const kind = place.closest("[data-picker]").dataset.picker;
    let field = active && active.dataset.places === kind ? active : null;
    field = field || fields.find((one) => one.dataset.places === kind && !one.value);
    if (!field) return;
    field.value = place.dataset.pick;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    const rest = fields.slice(fields.indexOf(field) + 1);
    show(rest.find((one) => one.dataset.places === kind && !one.value) || field);
  });
  show(null);
  mark();
})();

// On the way to a platform's own public page nobody has to press twice. Without this file there is
// the link; an address that is not the public one always waits for a person.
(() => {
  "use strict";
  const onward = document.querySelector("a[data-forward]");
  if (onward) location.replace(onward.href);
})();
