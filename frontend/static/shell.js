// Small habits of every page. Everything works without this file; nothing here decides anything.
(() => {
  "use strict";
  const isTyping = (el) => el && (el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName));

  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !isTyping(event.target) && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const search = document.getElementById("search");
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    }
    if (event.key === "Escape") {
      for (const menu of document.querySelectorAll("details.menu[open]")) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    }
  });

  // A menu closes when something outside it is pressed, and only one is open at a time.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  // <button data-tree="open|close">: every branch of the tree beside it.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-tree]");
    if (!button) return;
    for (const part of button.closest(".tree-box").querySelectorAll(".tree details")) {
      part.open = button.dataset.tree === "open";
    }
  });

  // <select data-submit> and the like send their form when changed.
  document.addEventListener("change", (event) => {
    const form = event.target.matches("[data-submit]") && event.target.form;
    if (form) form.requestSubmit();
  });

  // <form data-guard>: unsaved changes are kept and said.
  const isDirty = () => document.querySelector("form[data-guard][data-dirty]") !== null;
  document.addEventListener("input", (event) => {
    const form = event.target.form;
    if (form && form.matches("[data-guard]")) {
      form.dataset.dirty = "yes";
      for (const word of form.querySelectorAll("[data-unsaved]")) word.hidden = false;
    }
  });
  document.addEventListener("submit", (event) => {
    delete event.target.dataset.dirty;
    // A button pressed twice does its work once.
    if (event.target.method === "post" && !event.target.matches("[hx-post], [data-many]")) {
      if (event.target.dataset.sent) event.preventDefault();
      event.target.dataset.sent = "yes";
    }
  });
  window.addEventListener("beforeunload", (event) => { if (isDirty()) event.preventDefault(); });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });

  // A refreshed part keeps what the person had opened, and shows which numbers moved.
  let before = null;
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target } = event.detail;
    if (xhr.responseURL && new URL(xhr.responseURL).pathname.startsWith("/login/")) {
      event.detail.shouldSwap = false; // the session has ended: ask to sign in, on the whole page
      location.reload();
      return;
    }
    before = {
      open: [...target.querySelectorAll("details[id][open]")].map((d) => d.id),
      numbers: new Map([...target.querySelectorAll("[data-live]")].map((n) => [n.dataset.live, n.textContent])),
    };
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (!before) return;
    for (const id of before.open) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
    for (const number of document.querySelectorAll("[data-live]")) {
      const was = before.numbers.get(number.dataset.live);
      if (was !== undefined && was !== number.textContent) number.classList.add("moved");
    }
    before = null;
  });

  // An htmx request that failed says so instead of doing nothing.
  const say = (words) => {
    const place = document.getElementById("notes");
    if (!place) return;
    const note = document.createElement("div");
    note.className = "note warning";
    note.textContent = words;
    place.replaceChildren(note);
  };
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 403 || event.detail.xhr.status === 401) say(document.body.dataset.sayDenied);
    else say(document.body.dataset.sayFailed);
  });
  document.addEventListener("htmx:sendError", () => say(document.body.dataset.sayOffline));
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) {
      const note = document.querySelector("#notes > .note.warning");
      if (note && note.textContent === document.body.dataset.sayOffline) note.remove();
    }
  });
})();
