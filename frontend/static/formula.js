// The formula book: an address like #IF opens that function. Everything else is htmx and <details>.
(() => {
  "use strict";
  const open = () => {
    const name = decodeURIComponent(location.hash.slice(1));
    const details = name && document.getElementById(name);
    if (!details || details.tagName !== "DETAILS") return;
    details.open = true;
    details.scrollIntoView({ block: "start" });
    details.querySelector("summary").focus({ preventScroll: true });
  };
  // The address follows what is open, so that it can be passed on.
  document.addEventListener("toggle", (event) => {
    const details = event.target;
    if (details.matches && details.matches("details.function") && details.open) {
      history.replaceState(history.state, "", `#${details.id}`);
    }
  }, true);
  window.addEventListener("hashchange", open);
  document.addEventListener("DOMContentLoaded", open);
  if (document.readyState !== "loading") open();
})();
