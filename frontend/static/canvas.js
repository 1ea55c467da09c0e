// The canvas: LogicFlow draws and moves the boxes, the table beside it does the same by keyboard.
// Figures come from the server in words; only nodes whose figures changed are touched.
(() => {
  "use strict";
  const source = document.getElementById("canvas-data");
  const place = document.getElementById("canvas");
  if (!source || !place || !window.Core) return;
  const data = JSON.parse(source.textContent);
  const words = (document.getElementById("words") || { dataset: {} }).dataset;
  const { LogicFlow, RectNode, RectNodeModel, PolylineEdge, PolylineEdgeModel, h } = window.Core;
  const WIDTH = 184, HEIGHT = 76, POLL = 30000;
  const figures = data.figures;
  const labels = new Map(data.catalogue.map((n) => [n.code, n.label]));
  const wrong = new Set();
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // --- how a box looks -------------------------------------------------------------------
  const LINES = { mark: "mark", stock: "stock_line", side: "oldest_line", flow: "flow_line" };

  class BoxView extends RectNode {
    getShape() {
      const { model } = this.props;
      const { x, y, properties } = model;
      const f = figures[properties.node];
      const left = x - WIDTH / 2, top = y - HEIGHT / 2, label = properties.label || "";
      const kind = [f ? `heat-${f.heat}` : "own", wrong.has(model.id) ? "wrong" : ""].join(" ");
      return h("g", { className: kind, "data-code": properties.node, "data-id": model.id }, [
        h("rect", { className: "box", x: left, y: top, width: WIDTH, height: HEIGHT, rx: 8 }),
        h("rect", { className: "stripe", x: left + 6, y: top + 10, width: 4, height: HEIGHT - 20, rx: 2 }),
        h("text", { className: label.length > 8 ? "name long" : "name", x: left + 18, y: top + 25 }, label),
        h("text", { className: "mark", x: left + WIDTH - 10, y: top + 25, "text-anchor": "end" }, f ? f.mark : ""),
        h("text", { className: "stock", x: left + 18, y: top + 46 }, f ? f.stock_line : data.own),
        h("text", { className: "side", x: left + WIDTH - 10, y: top + 46, "text-anchor": "end" }, f ? f.oldest_line : ""),
        h("text", { className: "flow", x: left + 18, y: top + 64 }, f ? f.flow_line : ""),
        h("title", {}, f ? f.tip : label),
      ]);
    }
  }

  // Two anchors a side, one to leave and one to enter: lines there and back do not lie on each other,
  // and a drawn line never covers the place where the next one starts.
  const OFF = 14;
  const SIDES = {
    right: { out: [WIDTH / 2, -OFF], in: [WIDTH / 2, OFF] },
    left: { out: [-WIDTH / 2, OFF], in: [-WIDTH / 2, -OFF] },
    bottom: { out: [-OFF * 2, HEIGHT / 2], in: [OFF * 2, HEIGHT / 2] },
    top: { out: [OFF * 2, -HEIGHT / 2], in: [-OFF * 2, -HEIGHT / 2] },
  };

  class BoxModel extends RectNodeModel {
    setAttributes() {
      this.width = WIDTH;
      this.height = HEIGHT;
      this.radius = 8;
      this.text.editable = false;
      this.text.draggable = false;
    }
    getDefaultAnchor() {
      return Object.entries(SIDES).flatMap(([side, ways]) =>
        Object.entries(ways).map(([way, [dx, dy]]) => ({ id: `${this.id}_${side}_${way}`, x: this.x + dx, y: this.y + dy })));
    }
    getConnectedTargetRules() {
      const rules = super.getConnectedTargetRules();
      rules.push({ message: words.self, validate: (from, to) => from.id !== to.id });
      rules.push({
        message: words.twice,
        validate: (from, to) => !lf.graphModel.edges.some((e) => e.sourceNodeId === from.id && e.targetNodeId === to.id),
      });
      return rules;
    }
  }

  const lf = new LogicFlow({
    container: place,
    isSilentMode: !data.editing,
    hideAnchors: !data.editing,
    history: data.editing,
    grid: data.editing ? { size: 10, type: "dot" } : false,
    keyboard: { enabled: false },
    edgeType: "flow",
    snapline: data.editing,
    stopScrollGraph: true,
    stopZoomGraph: true,
    adjustEdge: false,
    textEdit: false,
    nodeTextEdit: false,
    edgeTextEdit: false,
    allowRotate: false,
    allowResize: false,
    hoverOutline: false,
    edgeSelectedOutline: false,
    nodeSelectedOutline: false,
  });
  lf.register({ type: "box", view: BoxView, model: BoxModel });
  lf.register({ type: "flow", view: PolylineEdge, model: PolylineEdgeModel });
  place.classList.add(data.editing ? "edit" : "show");

  const point = (box, side, way) => ({ x: box.x + SIDES[side][way][0], y: box.y + SIDES[side][way][1] });
  // A line runs straight to the next box; when a third box stands between, it goes round below or beside.
  const sidesOf = (from, to, others) => {
    const dx = to.x - from.x, dy = to.y - from.y;
    const isFlat = Math.abs(dx) >= Math.abs(dy) * (WIDTH / HEIGHT) * 0.6;
    const isBetween = (b) => b.id !== from.id && b.id !== to.id && (isFlat
      ? Math.abs(dy) < HEIGHT && Math.abs(b.y - (from.y + to.y) / 2) < HEIGHT && (b.x - from.x) * (b.x - to.x) < 0
      : Math.abs(dx) < WIDTH && Math.abs(b.x - (from.x + to.x) / 2) < WIDTH && (b.y - from.y) * (b.y - to.y) < 0);
    if (others.some(isBetween)) return isFlat ? ["bottom", "bottom"] : ["right", "right"];
    if (isFlat) return dx >= 0 ? ["right", "left"] : ["left", "right"];
    return dy >= 0 ? ["bottom", "top"] : ["top", "bottom"];
  };
  const lineData = (from, to, others = lf.graphModel.nodes) => {
    const [leave, enter] = sidesOf(from, to, others);
    return {
      type: "flow",
      sourceNodeId: from.id,
      targetNodeId: to.id,
      sourceAnchorId: `${from.id}_${leave}_out`,
      targetAnchorId: `${to.id}_${enter}_in`,
      startPoint: point(from, leave, "out"),
      endPoint: point(to, enter, "in"),
    };
  };
  const boxData = (box) => ({
    id: box.id, type: "box", x: box.x, y: box.y, properties: { node: box.node, label: box.label },
  });
  const boxesById = new Map(data.content.nodes.map((box) => [box.id, box]));
  lf.render({
    nodes: data.content.nodes.map(boxData),
    edges: data.content.edges.map((e) => lineData(boxesById.get(e.source), boxesById.get(e.target), data.content.nodes)),
  });

  // --- looking -------------------------------------------------------------------------------
  const isNarrow = () => place.clientWidth < 560;
  const fit = () => {
    lf.resetTranslate();
    lf.resetZoom();
    if (!lf.graphModel.nodes.length) return;
    if (!isNarrow()) {
      lf.fitView(16, 16);
      if (lf.getTransform().SCALE_X > 1) { lf.zoom(1); lf.translateCenter(); }
      return;
    }
    // On a phone the whole drawing would be too small to read: begin at the worst node.
    const heat = ["calm", "slow", "silted", "blocked"];
    const worst = [...lf.graphModel.nodes].sort((a, b) => {
      const fa = figures[a.properties.node], fb = figures[b.properties.node];
      return (fb ? heat.indexOf(fb.heat) : -1) - (fa ? heat.indexOf(fa.heat) : -1);
    })[0];
    lf.zoom(0.85);
    lf.focusOn({ id: worst.id });
    // No empty margin where there could be boxes.
    const t = lf.getTransform(), xs = lf.graphModel.nodes.map((n) => n.x), ys = lf.graphModel.nodes.map((n) => n.y);
    const keep = (shift, least, most, room) => Math.min(12 - least, Math.max(Math.min(room - 12 - most, 12 - least), shift));
    const x = keep(t.TRANSLATE_X, (Math.min(...xs) - WIDTH / 2) * t.SCALE_X, (Math.max(...xs) + WIDTH / 2) * t.SCALE_X, place.clientWidth);
    const y = keep(t.TRANSLATE_Y, (Math.min(...ys) - HEIGHT / 2) * t.SCALE_Y, (Math.max(...ys) + HEIGHT / 2) * t.SCALE_Y, place.clientHeight);
    lf.translate(x - t.TRANSLATE_X, y - t.TRANSLATE_Y);
  };
  fit();
  const actions = {
    in: () => lf.zoom(true),
    out: () => lf.zoom(false),
    fit,
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (button && actions[button.dataset.do]) actions[button.dataset.do]();
  });
  let width = place.clientWidth;
  new ResizeObserver(() => {
    if (place.clientWidth === width || !place.clientWidth) return;
    width = place.clientWidth;
    lf.resize(place.clientWidth, place.clientHeight);
    fit();
  }).observe(place);

  // --- figures: poll, touch only what changed ----------------------------------------------------
  const setText = (element, text) => {
    if (!element || element.textContent === text) return;
    element.textContent = text;
    element.classList.remove("moved");
    void element.getBoundingClientRect();
    element.classList.add("moved");
  };
  const redraw = (code) => {
    const f = figures[code];
    for (const box of all(`g[data-code="${code}"]`, place)) {
      box.setAttribute("class", `heat-${f.heat}${wrong.has(box.dataset.id) ? " wrong" : ""}`);
      for (const [name, line] of Object.entries(LINES)) setText(one(`.${name}`, box), f[line]);
      one("title", box).textContent = f.tip;
    }
    const row = one(`tr[data-code="${code}"]`);
    if (!row || data.editing) return;
    row.title = f.tip;
    for (const cell of all("[data-f]", row)) setText(cell, String(f[cell.dataset.f]));
    one(".band", row).className = `band ${f.band}`;
  };
  const update = (answer) => {
    for (const [code, f] of Object.entries(answer.figures)) {
      const before = figures[code];
      figures[code] = f;
      // Every link carries the moment its number was counted at.
      for (const link of all(`tr[data-code="${code}"] a[href]`)) link.href = f[link.dataset.to];
      if (!before || Object.keys(f).some((name) => !name.endsWith("url") && f[name] !== before[name])) redraw(code);
    }
    const at = one("[data-at] time");
    if (at) { at.textContent = answer.at_text; at.dateTime = answer.at; at.title = answer.at_exact; }
  };
  const poll = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(data.figures_url, { headers: { "HX-Request": "true" } });
      if (answer.ok) update(await answer.json());
    } catch { /* offline: the page keeps its figures and their moment, the next poll tries again */ }
  };
  setInterval(poll, POLL);
  document.addEventListener("visibilitychange", poll);

  if (!data.editing) {
    // A finger or mouse that pans over a node is no click on it.
    let pressed = { x: 0, y: 0 };
    place.addEventListener("pointerdown", (event) => { pressed = { x: event.clientX, y: event.clientY }; }, true);
    lf.on("node:click", ({ data: node, e }) => {
      if (Math.hypot(e.clientX - pressed.x, e.clientY - pressed.y) > 6) return;
      const f = figures[node.properties.node];
      if (f && f.url) window.location.assign(f.url);
    });
    place.dataset.ready = "yes";
    return;
  }

  // --- editing ------------------------------------------------------------------------------------
  let isDirty = false, version = data.version, checksum = data.checksum;
  const boxes = () => lf.graphModel.nodes.map((n) => ({
    id: n.id, node: n.properties.node, x: Math.round(n.x), y: Math.round(n.y), label: n.properties.label,
  }));
  const lines = () => lf.graphModel.edges.map((e) => ({ source: e.sourceNodeId, target: e.targetNodeId }));
  const content = () => ({ nodes: boxes(), edges: lines() });
  let saved = JSON.stringify(content());
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  };

  const connect = (from, to) => {
    if (from === to || lines().some((e) => e.source === from && e.target === to)) return;
    lf.addEdge(lineData(lf.getNodeModelById(from), lf.getNodeModelById(to)));
  };
  const disconnect = (from, to) => {
    for (const e of [...lf.graphModel.edges]) {
      if (e.sourceNodeId === from && e.targetNodeId === to) lf.deleteEdge(e.id);
    }
  };
  // Lines choose their sides themselves, whichever anchor they were drawn from.
  const reroute = (model) => {
    const from = lf.getNodeModelById(model.sourceNodeId), to = lf.getNodeModelById(model.targetNodeId);
    if (!from || !to) return;
    const want = lineData(from, to);
    if (model.sourceAnchorId === want.sourceAnchorId && model.targetAnchorId === want.targetAnchorId) return;
    model.sourceAnchorId = want.sourceAnchorId;
    model.targetAnchorId = want.targetAnchorId;
    model.updateStartPoint(want.startPoint);
    model.updateEndPoint(want.endPoint);
  };
  const rerouteAll = () => { for (const e of lf.graphModel.edges) reroute(e); };

  const newId = (code) => {
    if (code && !lf.getNodeModelById(code)) return code;
    return `s${Date.now().toString(36)}${Math.floor(Math.random() * 1296).toString(36)}`;
  };
  const freePlace = () => {
    const nodes = lf.graphModel.nodes;
    if (!nodes.length) return { x: 110, y: 70 };
    return { x: Math.min(...nodes.map((n) => n.x)), y: Math.max(...nodes.map((n) => n.y)) + 148 };
  };
  const add = (code, label, at = freePlace()) => {
    const node = lf.addNode({ ...boxData({ id: newId(code), node: code, label, ...at }) });
    lf.selectElementById(node.id);
    return node;
  };
  const missing = () => {
    const drawn = new Set(boxes().map((b) => b.node));
    return data.catalogue.filter((n) => !drawn.has(n.code));
  };

  const arrange = () => {
    // Layers by the longest way from a start; then the bends of the river, three boxes a row.
    const ids = boxes().map((b) => b.id), entering = new Map(ids.map((i) => [i, 0])), after = new Map(ids.map((i) => [i, []]));
    for (const e of lines()) { entering.set(e.target, entering.get(e.target) + 1); after.get(e.source).push(e.target); }
    const order = [], left = new Set(ids);
    while (left.size) {
      const next = [...left].find((i) => entering.get(i) === 0) ?? [...left][0];
      left.delete(next);
      order.push(next);
      for (const t of after.get(next)) entering.set(t, entering.get(t) - 1);
    }
    order.forEach((id, n) => {
      const row = Math.floor(n / 3), column = row % 2 ? 2 - (n % 3) : n % 3;
      lf.graphModel.moveNode2Coordinate(id, 110 + column * 230, 70 + row * 148, true);
    });
    rerouteAll();
    fit();
  };

  const selected = () => {
    const { nodes, edges } = lf.getSelectElements(true);
    return [...nodes.map((n) => n.id), ...edges.map((e) => e.id)];
  };
  const removeSelected = () => { for (const id of selected()) lf.deleteElement(id); };
  Object.assign(actions, { undo: () => lf.undo(), redo: () => lf.redo(), remove: removeSelected, arrange, save: () => save() });

  // --- the table does everything the drawing does ----------------------------------------------
  const body = one("[data-boxes]"), palette = one("[data-palette]"), form = one("[data-add]"), code = one("#add-code"), stepName = one("#add-label");
  const showBoxes = () => {
    const active = document.activeElement, key = active && active.dataset ? active.dataset.key : null;
    const list = boxes(), name = new Map(list.map((b) => [b.id, b.label]));
    body.replaceChildren(...list.map((box) => {
      const following = lines().filter((e) => e.source === box.id).map((e) => e.target);
      const open = list.filter((b) => b.id !== box.id && !following.includes(b.id));
      return make("tr", { "data-id": box.id },
        make("th", { scope: "row" }, inputOf(box)),
        make("td", {}, make("span", { class: "chips" },
          ...following.map((t) => make("span", { class: "chip" }, name.get(t), make("button", {
            type: "button", class: "unlink", "data-key": `un:${box.id}:${t}`, "aria-label": `${words.unconnect} ${box.label} → ${name.get(t)}`, onclick: () => disconnect(box.id, t),
          }, "×"))),
          make("select", { "data-key": `to:${box.id}`, "aria-label": `${box.label} ${words.connect}`, onchange: (event) => connect(box.id, event.target.value) },
            make("option", { value: "" }, words.connect), ...open.map((b) => make("option", { value: b.id }, b.label))))),
        make("td", { class: "num" }, make("button", {
          type: "button", class: "unlink", "data-key": `del:${box.id}`, "aria-label": `${words.delete} ${box.label}`, onclick: () => lf.deleteNode(box.id),
        }, "×")));
    }));
    if (key) { const again = all("[data-key]", body).find((e) => e.dataset.key === key); if (again) again.focus(); }
  };
  const inputOf = (box) => make("input", {
    type: "text", value: box.label, maxlength: data.max_label, "data-key": `name:${box.id}`, "aria-label": `${words.name} ${box.label}`,
    onchange: (event) => {
      const label = event.target.value.trim();
      if (label) lf.setProperties(box.id, { label }); else event.target.value = box.label;
    },
    onfocus: () => lf.selectElementById(box.id),
  });
  const showPalette = () => {
    const rest = missing();
    palette.replaceChildren(...(rest.length ? [words.drag] : []), ...rest.map((n) => make("button", {
      type: "button", "data-code": n.code,
      onpointerdown: (event) => {
        // A drag that leaves the button drops a box on the drawing; a click adds one below.
        const begin = { x: event.clientX, y: event.clientY };
        const moved = (e) => {
          if (Math.hypot(e.clientX - begin.x, e.clientY - begin.y) < 6) return;
          stop();
          lf.dnd.startDrag({ ...boxData({ id: newId(n.code), node: n.code, label: n.label }) });
        };
        const stop = () => { document.removeEventListener("pointermove", moved); document.removeEventListener("pointerup", stop); };
        document.addEventListener("pointermove", moved);
        document.addEventListener("pointerup", stop);
      },
      onclick: () => add(n.code, n.label),
    }, n.label)));
    code.replaceChildren(...rest.map((n) => make("option", { value: n.code }, n.label)), make("option", { value: "" }, words.addStep));
    stepName.hidden = code.value !== "";
  };
  code.addEventListener("change", () => { stepName.hidden = code.value !== ""; if (!stepName.hidden) stepName.focus(); });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const label = code.value ? labels.get(code.value) : stepName.value.trim();
    if (!label) { stepName.focus(); return; }
    add(code.value, label);
    stepName.value = "";
  });

  const dirtyMark = one("[data-dirty]");
  const button = (name) => one(`[data-do="${name}"]`);
  let timer = 0, checked = saved, checkTimer = 0, listed = "";
  const sync = () => { clearTimeout(timer); timer = setTimeout(syncNow, 20); };
  const syncNow = () => {
    const drawn = JSON.stringify(content());
    isDirty = drawn !== saved;
    if (drawn !== checked) { checked = drawn; check(); }
    dirtyMark.hidden = !isDirty;
    // A list that is made anew under a pressed pointer loses the click, so only when it differs.
    const names = JSON.stringify([boxes().map((b) => [b.id, b.node, b.label]), lines().map((e) => [e.source, e.target])]);
    if (names !== listed) { listed = names; showBoxes(); showPalette(); }
    syncSelection();
  };
  const syncSelection = () => { button("remove").disabled = selected().length === 0; };
  lf.on("node:add,node:dnd-add,node:delete,node:drop,node:properties-change,edge:add,edge:delete,anchor:drop", sync);
  lf.on("edge:add,anchor:drop", ({ edgeModel, data: edge }) => {
    const model = edgeModel || (edge && lf.getEdgeModelById(edge.id));
    if (model) reroute(model);
  });
  lf.on("node:drop,node:delete,node:add,node:dnd-add", rerouteAll);
  lf.on("history:change", ({ data: { undoAble, redoAble } }) => {
    button("undo").disabled = !undoAble;
    button("redo").disabled = !redoAble;
    sync();
  });
  lf.on("selection:selected,node:click,edge:click,blank:click,element:click", () => setTimeout(syncSelection, 0));
  lf.on("connection:not-allowed", ({ msg }) => { if (msg) say([{ text: msg, ids: [] }]); });

  const isTyping = (el) => el && /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName);
  document.addEventListener("keydown", (event) => {
    if (isTyping(event.target)) return;
    const control = event.ctrlKey || event.metaKey, letter = event.key.toLowerCase();
    if (control && letter === "z") { event.preventDefault(); if (event.shiftKey) lf.redo(); else lf.undo(); }
    else if (control && letter === "y") { event.preventDefault(); lf.redo(); }
    else if (control && letter === "s") { event.preventDefault(); save(); }
    else if ((event.key === "Delete" || event.key === "Backspace") && selected().length) { event.preventDefault(); removeSelected(); }
    else if (event.key.startsWith("Arrow") && selected().length && !control) {
      const step = event.shiftKey ? 50 : 10, dx = { ArrowLeft: -step, ArrowRight: step }[event.key] || 0, dy = { ArrowUp: -step, ArrowDown: step }[event.key] || 0;
      const nodes = lf.getSelectElements(true).nodes;
      if (!nodes.length) return;
      event.preventDefault();
      for (const n of nodes) lf.graphModel.moveNode(n.id, dx, dy, true);
      rerouteAll();
      sync();
    }
  });

  // --- saving -----------------------------------------------------------------------------------
  const list = one("[data-problems]"), submitForm = one("[data-submit-form]");
  const say = (problems) => {
    list.replaceChildren(...problems.map((p) => make("li", {}, p.text)));
    wrong.clear();
    for (const p of problems) for (const id of p.ids || []) wrong.add(id);
    for (const g of all("g[data-id]", place)) g.classList.toggle("wrong", wrong.has(g.dataset.id));
  };
  const post = (url, body) => fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", "HX-Request": "true", "X-CSRFToken": one("[name=csrfmiddlewaretoken]", submitForm).value },
    body: JSON.stringify(body),
  });
  // The server says what is wrong while one draws; the newest answer counts.
  const check = () => {
    clearTimeout(checkTimer);
    checkTimer = setTimeout(async () => {
      const asked = checked;
      try {
        const answer = await post(data.check_url, { content: content() });
        if (answer.ok && asked === checked) say((await answer.json()).problems);
      } catch { /* offline: saving will say so */ }
    }, 300);
  };
  // What else the page says of the draft: the list of versions, the button that discards it.
  const refreshAround = async () => {
    const answer = await fetch(window.location.href);
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of ["[data-discard]", "[data-testid=canvas-versions]"]) {
      const now = one(part, fresh);
      if (now) one(part).replaceWith(document.importNode(now, true));
    }
  };
  let isSaving = false;
  const save = async () => {
    if (isSaving) return false;
    isSaving = true;
    button("save").disabled = true;
    const sent = content();
    try {
      const answer = await post(data.save_url, { content: sent, version, checksum });
      if (!answer.ok) {
        const text = (answer.headers.get("Content-Type") || "").startsWith("text/plain") ? await answer.text() : document.body.dataset.sayDenied;
        say([{ text, ids: [] }]);
        return false;
      }
      const done = await answer.json();
      const isFirst = version !== done.version;
      ({ version, checksum } = done);
      saved = JSON.stringify(sent);
      if (isFirst) refreshAround().catch(() => {}); // a saved draft stays saved without it
      submitForm.action = done.submit_url;
      one("[data-state]").textContent = words.saved.replace("%n", done.number).replace("%at", done.saved_at);
      syncNow();
      say(done.problems);
      return done.problems.length === 0;
    } catch {
      say([{ text: words.failed, ids: [] }]);
      return false;
    } finally {
      isSaving = false;
      button("save").disabled = false;
    }
  };
  submitForm.addEventListener("submit", async (event) => {
    event.preventDefault();
    event.stopPropagation();
    if (!(await save())) { list.scrollIntoView({ block: "nearest" }); return; }
    submitForm.submit();
  }, true);
  window.addEventListener("beforeunload", (event) => { if (isDirty) event.preventDefault(); });

  syncNow();
  window.hedaoCanvas = lf;
  place.dataset.ready = "yes";
})();
