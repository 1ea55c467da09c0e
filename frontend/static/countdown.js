// Clocks that run: <time datetime data-countdown> inside an element with data-now (the server's
// moment, so that a wrong clock on the desk tells no lies). Without this file they stand still.
(() => {
  "use strict";
  let offset = 0;
  let told = "";
  const two = (number) => String(number).padStart(2, "0");

  const tick = () => {
    const box = document.querySelector("[data-now]");
    if (!box) return;
    if (box.dataset.now !== told) {
      told = box.dataset.now;
      offset = Date.parse(told) - Date.now();
    }
    const now = Date.now() + offset;
    for (const clock of box.querySelectorAll("[data-countdown]")) {
      const left = Date.parse(clock.getAttribute("datetime")) - now;
      const seconds = Math.floor(Math.abs(left) / 1000);
      const days = Math.floor(seconds / 86400);
      const rest = seconds % 86400;
      let text = `${two(Math.floor(rest / 3600))}:${two(Math.floor(rest / 60) % 60)}:${two(rest % 60)}`;
      if (days) text = box.dataset.sayDays.replace("{d}", days).replace("{t}", text);
      if (left < 0) text = box.dataset.sayOverdue.replace("{t}", text);
      if (clock.textContent !== text) clock.textContent = text;
      clock.classList.toggle("danger", left < 0);
    }
  };
  tick();
  setInterval(tick, 1000);
  document.addEventListener("htmx:afterSwap", tick);
})();
