// Writing a check: colours under the text area, names inserted at the cursor, one-click fixes that
// keep the cursor, and saving as one types. The server is the only judge of a formula; here is only
// what must answer at once. Without this script the page still saves with its button.
(() => {
  "use strict";
  const form = document.getElementById("check-form");
  if (!form) return;
  const area = form.querySelector("[data-formula]");
  const mirror = form.querySelector("[data-mirror]");
  const side = document.querySelector("[data-names]");
  const editable = !area.readOnly;

  // --- the mirror -------------------------------------------------------------------------------
  const names = new Map();
  for (const button of side ? side.querySelectorAll("[data-insert]") : []) {
    for (const name of button.dataset.names.split("|")) names.set(name.toLowerCase(), button.dataset.kind);
  }
  const TOKEN = /(“[^“”]*[“”]?|"[^"]*"?|＂[^＂]*＂?)|(\/\*[\s\S]*?(?:\*\/|$))|([A-Za-z_\u3007\u3400-\u4dbf\u4e00-\u9fff][A-Za-z0-9_\u3007\u3400-\u4dbf\u4e00-\u9fff]*)|\[([^\[\]\n]*)\]/g;

  const classOf = (match) => {
    if (match[1]) return "str";
    if (match[2]) return "remark";
    return { field: "name", function: "fn" }[names.get((match[3] || match[4] || "").toLowerCase())] || "";
  };

  // The server counts characters, JavaScript UTF-16 units.
  const unitsOf = (text, count) => Array.from(text).slice(0, count).join("").length;

  const findPlaces = (text) => {
    const list = document.getElementById("check-findings");
    if (!list || list.dataset.formula !== text) return [];
    return Array.from(list.querySelectorAll("[data-start]"), (item) => ({
      start: unitsOf(text, Number(item.dataset.start)),
      end: unitsOf(text, Number(item.dataset.end)),
      kind: item.dataset.refuses ? "bad" : "doubt",
    }));
  };

  const paint = () => {
    const text = area.value;
    const colours = [];
    for (const match of text.matchAll(TOKEN)) {
      const name = classOf(match);
      if (name) colours.push({ start: match.index, end: match.index + match[0].length, name });
    }
    const places = findPlaces(text);
    const cuts = new Set([0, text.length]);
    for (const { start, end } of [...colours, ...places]) cuts.add(start).add(end);
    const sorted = Array.from(cuts).sort((a, b) => a - b);
    mirror.replaceChildren();
    for (let i = 0; i + 1 < sorted.length; i += 1) {
      const [start, end] = [sorted[i], sorted[i + 1]];
      const colour = colours.find((c) => c.start <= start && end <= c.end);
      const place = places.find((p) => p.start <= start && end <= p.end);
      const span = document.createElement("span");
      span.textContent = text.slice(start, end);
      if (colour) span.classList.add(colour.name);
      if (place) span.classList.add(place.kind);
      mirror.append(span);
    }
    const atEnd = places.find((p) => p.start >= text.length);
    if (atEnd) {
      const gap = document.createElement("span");
      gap.className = `${atEnd.kind} gap`;
      gap.textContent = "\u2003";
      mirror.append(gap);
    }
    mirror.append("\n");
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + 2}px`;
  };

  // --- writing into a field, so that Ctrl+Z takes it back ------------------------------------------
  const write = (field, start, end, text) => {
    field.focus();
    field.setSelectionRange(start, end);
    const done = text === "" && start !== end
      ? document.execCommand("delete")
      : document.execCommand("insertText", false, text);
    if (!done) {
      field.setRangeText(text, start, end, "end");
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
  };

  let target = area; // the field a name goes into: the formula, or the reason as {name}
  for (const field of form.querySelectorAll("[data-takes-names]")) {
    field.addEventListener("focus", () => { target = field; });
  }

  const insert = (button) => {
    const isFunction = button.dataset.kind === "function";
    if (target !== area && isFunction) target = area;
    const { selectionStart: start, selectionEnd: end } = target;
    const text = target === area ? button.dataset.insert : `{${button.dataset.label}}`;
    write(target, start, end, text);
    if (target === area && isFunction && text.endsWith("()") && button.dataset.parameters !== "0") {
      const inside = start + text.length - 1;
      area.setSelectionRange(inside, inside);
    }
  };

  const fix = (button) => {
    const list = document.getElementById("check-findings");
    const text = area.value;
    if (!list || list.dataset.formula !== text) return; // a newer answer is on its way
    const start = unitsOf(text, Number(button.dataset.start));
    const end = unitsOf(text, Number(button.dataset.end));
    const put = button.dataset.text;
    const cursor = area.selectionStart;
    write(area, start, end, put);
    const moved = cursor >= end ? cursor + put.length - (end - start) : Math.min(cursor, start + put.length);
    area.setSelectionRange(moved, moved);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-insert], [data-fix], [data-goto]");
    if (!button || !editable) return;
    if (button.matches("[data-insert]")) insert(button);
    if (button.matches("[data-fix]")) { event.preventDefault(); fix(button); }
    if (button.matches("[data-goto]")) {
      const text = area.value;
      area.focus();
      area.setSelectionRange(unitsOf(text, Number(button.dataset.start)), unitsOf(text, Number(button.dataset.end)));
    }
  });

  // --- finding a name ------------------------------------------------------------------------------
  const search = side && side.querySelector("[data-search]");
  const visible = () => Array.from(side.querySelectorAll("[data-insert]")).filter((b) => b.offsetParent !== null);
  if (search) {
    search.addEventListener("input", () => {
      const wanted = search.value.trim().toLowerCase();
      side.classList.toggle("searching", wanted !== "");
      for (const item of side.querySelectorAll("[data-words]")) {
        item.hidden = wanted !== "" && !item.dataset.words.toLowerCase().includes(wanted);
      }
      for (const group of side.querySelectorAll("[data-group]")) {
        group.hidden = !group.querySelector("[data-words]:not([hidden])");
        if (wanted !== "" && !group.hidden) group.open = true;
      }
      side.querySelector("[data-none]").hidden = visible().length > 0;
    });
    side.addEventListener("keydown", (event) => {
      const buttons = visible();
      const at = buttons.indexOf(document.activeElement);
      if (event.key === "Enter" && event.target === search) {
        event.preventDefault();
        if (buttons.length) insert(buttons[0]);
      } else if (event.key === "ArrowDown" && buttons.length) {
        event.preventDefault();
        buttons[Math.min(at + 1, buttons.length - 1)].focus();
      } else if (event.key === "ArrowUp" && at >= 0) {
        event.preventDefault();
        (at === 0 ? search : buttons[at - 1]).focus();
      }
    });
  }

  // --- what stands at the cursor --------------------------------------------------------------------
  const help = side && side.querySelector("[data-names-help]");
  const signature = document.getElementById("signature");
  const helpBox = document.getElementById("function-help");
  const items = new Map();
  for (const button of side ? side.querySelectorAll("[data-insert]") : []) {
    for (const name of button.dataset.names.split("|")) {
      const key = name.toLowerCase();
      if (!items.has(key) || button.dataset.kind === "function") items.set(key, button);
    }
  }
  const fields = new Map();
  for (const button of side ? side.querySelectorAll("[data-kind=field]") : []) {
    for (const name of button.dataset.names.split("|")) {
      if (!fields.has(name.toLowerCase())) fields.set(name.toLowerCase(), button);
    }
  }

  // The name under the cursor, else the function whose brackets are around it and which argument.
  const contextAt = (text, place) => {
    const around = [];
    const PIECE = new RegExp(`${TOKEN.source}|[(（]|[)）]|[,，]`, "g");
    let last = null;
    for (const match of text.matchAll(PIECE)) {
      const [start, end] = [match.index, match.index + match[0].length];
      const name = match[3] || match[4];
      if (name !== undefined && start <= place && place <= end) {
        const isCall = /^\s*[(（]/.test(text.slice(end));
        const button = isCall ? items.get(name.toLowerCase()) : fields.get(name.toLowerCase());
        return button ? { button, argument: -1 } : null;
      }
      if (start >= place) break;
      if (match[1] || match[2]) {
        last = null;
        if (place < end) return null;
      } else if (/[(（]/.test(match[0])) {
        around.push({ name: last && /^\s*$/.test(text.slice(last.end, start)) ? last.name : "", argument: 0 });
      } else if (/[)）]/.test(match[0])) around.pop();
      else if (/[,，]/.test(match[0])) { if (around.length) around[around.length - 1].argument += 1; }
      last = name === undefined ? null : { name, end };
    }
    for (const { name, argument } of around.reverse()) {
      const button = name && items.get(name.toLowerCase());
      if (button && button.dataset.kind === "function") return { button, argument };
    }
    return null;
  };

  const writeUsage = (usage, argument) => {
    const [, name, inner] = usage.match(/^([^(]*)\((.*)\)$/) || [null, usage, ""];
    const parts = inner ? inner.split(", ") : [];
    const at = parts.length && /…\]?$/.test(parts[parts.length - 1]) ? Math.min(argument, parts.length - 1) : argument;
    const code = document.createElement("code");
    code.append(`${name}(`);
    parts.forEach((part, index) => {
      const word = document.createElement(index === at ? "b" : "span");
      word.textContent = part;
      code.append(index ? ", " : "", word);
    });
    code.append(")");
    return code;
  };

  const showContext = () => {
    if (!signature || document.activeElement !== area) return; // its link stays while it is pressed
    const found = contextAt(area.value, area.selectionStart);
    const key = found ? `${found.button.dataset.names} ${found.argument}` : "";
    if (signature.dataset.key === key) return;
    signature.dataset.key = key;
    signature.hidden = !found;
    signature.replaceChildren();
    if (!found) return;
    const { button, argument } = found;
    if (button.dataset.kind !== "function") {
      const label = document.createElement("b");
      label.textContent = button.dataset.label;
      signature.append(label, ` ${button.title}`);
      return;
    }
    button.dataset.usage.split("|").forEach((usage, index) => {
      signature.append(index ? " / " : "", writeUsage(usage, argument));
    });
    const read = document.createElement("a");
    read.href = `${help.dataset.book}#${button.dataset.en}`;
    read.dataset.help = button.dataset.en;
    read.textContent = help.dataset.read;
    signature.append(" ", read);
  };
  document.addEventListener("selectionchange", showContext);
  area.addEventListener("keyup", showContext);
  area.addEventListener("click", showContext);
  const openHelp = (name) => {
    helpBox.hidden = false;
    window.htmx.ajax("GET", `${help.dataset.book}${encodeURIComponent(name)}/?help=1`, { target: helpBox, swap: "innerHTML" });
  };
  area.addEventListener("keydown", (event) => {
    if (event.key === "F1") showContext(); // the selection's own event may still be on its way
    const read = signature && signature.querySelector("[data-help]");
    if (event.key === "F1" && read) { event.preventDefault(); openHelp(read.dataset.help); }
    if (event.key === "Escape" && !helpBox.hidden) helpBox.hidden = true;
  });
  document.addEventListener("click", (event) => {
    const read = event.target.closest("#signature [data-help], [data-names-help] [data-help]");
    if (read && window.htmx && !event.ctrlKey && !event.metaKey) { event.preventDefault(); openHelp(read.dataset.help); }
    if (event.target.closest("[data-close-help]")) { helpBox.hidden = true; area.focus(); }
  });
  // The list says below itself what the name under the mouse or the focus means.
  const describe = (event) => {
    const button = event.target.closest("[data-insert]");
    if (!button || !help) return;
    help.replaceChildren(button.title);
    if (button.dataset.en) {
      const read = document.createElement("a");
      read.href = `${help.dataset.book}#${button.dataset.en}`;
      read.dataset.help = button.dataset.en;
      read.textContent = help.dataset.read;
      help.append(" ", read);
    }
  };
  if (side) {
    side.addEventListener("focusin", describe);
    side.addEventListener("mouseover", describe);
  }

  // --- saving as one types -------------------------------------------------------------------------
  let isDirty = false; // typed since the last request began
  let isSending = false;
  let hasFailed = false;
  let retry = 0;
  let afterSaving = null; // a form that waits for the last keystrokes
  const say = (name) => {
    const saved = document.getElementById("check-saved"); // every answer brings a new one
    saved.textContent = saved.dataset[name];
    saved.classList.toggle("late", name !== "saving");
  };
  const ask = () => form.dispatchEvent(new CustomEvent("check-changed"));
  const changed = () => {
    isDirty = true;
    say("saving");
    ask();
  };
  const failed = () => {
    isDirty = hasFailed = true;
    afterSaving = null;
    say("failed");
    clearTimeout(retry);
    retry = setTimeout(ask, 4000);
  };
  if (editable) {
    // While a Chinese word is being composed the text holds pinyin: wait for the word.
    form.addEventListener("input", (event) => {
      paint();
      if (!event.isComposing) changed();
    });
    area.addEventListener("compositionend", changed);
    // Points of other checks and the lines stand outside, but belong to the form.
    document.addEventListener("input", (event) => {
      if (event.target.form === form && !form.contains(event.target)) changed();
    });
    form.addEventListener("submit", (event) => { if (!event.submitter) event.preventDefault(); });
    form.addEventListener("htmx:sendError", failed);
    form.addEventListener("htmx:timeout", failed);
    form.addEventListener("htmx:responseError", (event) => {
      if (event.detail.xhr.status >= 500) failed();
      else say("refused");
    });
    form.addEventListener("htmx:beforeRequest", (event) => {
      if (event.target !== form) return;
      isDirty = false;
      isSending = true;
    });
    form.addEventListener("htmx:afterRequest", (event) => {
      if (event.target !== form) return;
      isSending = false;
      if (!event.detail.successful) return;
      hasFailed = false;
      clearTimeout(retry);
      const waiting = afterSaving;
      afterSaving = null;
      if (waiting && !isDirty) waiting.requestSubmit();
    });
    // Submitting waits for the last keystrokes to be saved.
    window.addEventListener("submit", (event) => {
      if (!event.target.matches("[data-after-saving]") || !(isDirty || isSending)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      afterSaving = event.target;
      if (!isSending) ask();
    }, true);
    // Leaving saves what was typed in the last moment; only what could not be saved holds one back.
    window.addEventListener("pagehide", () => {
      if (isDirty) navigator.sendBeacon(form.action, new FormData(form));
    });
    window.addEventListener("beforeunload", (event) => { if (hasFailed) event.preventDefault(); });
  }
  // Points that the server changed (rebalancing) belong into the fields, and at once: a save that
  // waits in the queue reads them as soon as this answer is through.
  document.body.addEventListener("htmx:oobAfterSwap", () => {
    const laidOut = document.querySelector("[data-laid-out]");
    if (laidOut) {
      const text = laidOut.dataset.laidOut;
      laidOut.remove();
      if (text !== area.value) write(area, 0, area.value.length, text);
    }
    const points = document.querySelector("#check-points[data-sync]");
    if (!points) return;
    delete points.dataset.sync;
    for (const mark of points.querySelectorAll("[data-value-of]")) {
      const field = form.elements[mark.dataset.valueOf];
      if (field && document.activeElement !== field) field.value = mark.dataset.value;
    }
  });
  // The answer brought new findings: mark their places.
  document.body.addEventListener("htmx:afterSettle", () => {
    paint();
    const panel = document.getElementById("check-results");
    const list = document.getElementById("check-findings");
    if (panel && list) panel.classList.toggle("stale", list.dataset.valid !== "1");
  });
  paint();
})();
