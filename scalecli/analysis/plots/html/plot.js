"use strict";
// Hover and filters of the figures of a page: <figure class="plot" id="P"> with SVGs in which mark M of panel N has the
// id P-N-M, a line L the id P-N-line-L, and what belongs to them that id with -label, -back or -leader behind it.
for (const figure of document.querySelectorAll("figure.plot")) {
  const near = 24; // pixels from a mark at which the pointer is taken to mean it
  const panels = figure.querySelector(".plot-panels");
  const tip = figure.querySelector(".plot-tip");
  const boxes = [...figure.querySelectorAll("input[type=checkbox]")];
  const search = figure.querySelector("input[type=search]");
  const button = figure.querySelector("button");
  const marks = [];
  const lines = [];
  JSON.parse(figure.querySelector("script").textContent).forEach((panel, index) => {
    panel.marks.forEach((mark, number) => {
      const id = `${figure.id}-${index}-${number}`;
      marks.push({ ...mark, id, element: document.getElementById(id), isShown: true });
    });
    panel.lines.forEach((group, number) => lines.push({ id: `${figure.id}-${index}-line-${number}`, group }));
  });
  let current = null;

  function show(id, isShown) {
    for (const suffix of ["", "-label", "-back", "-leader"]) {
      const element = document.getElementById(id + suffix);
      if (element) element.style.display = isShown ? "" : "none";
    }
  }

  function filter() {
    const groups = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const part = search.value.trim().toLowerCase();
    for (const mark of marks) {
      mark.isShown = groups.has(mark.group) && mark.name.toLowerCase().includes(part);
      show(mark.id, mark.isShown);
    }
    for (const line of lines) show(line.id, line.group === null || groups.has(line.group));
    button.textContent = groups.size ? "none" : "all";
    const shown = marks.filter((mark) => mark.isShown).length;
    const isFrontierOfAll = shown < marks.length && lines.some((line) => line.group === null);
    figure.querySelector("output").textContent =
      `${shown} of ${marks.length} points${isFrontierOfAll ? "; the frontier is that of all" : ""}`;
    point(null);
  }

  function point(mark) {
    if (mark === current) return;
    current = mark;
    tip.hidden = mark === null;
    for (const each of marks) each.element.classList.toggle("plot-hit", mark !== null && each.model === mark.model);
    if (mark === null) return;
    const name = document.createElement("strong");
    name.textContent = mark.name;
    const facts = mark.text.map((text) => {
      const fact = document.createElement("span");
      fact.textContent = text;
      return fact;
    });
    tip.replaceChildren(name, ...facts);
    const frame = figure.getBoundingClientRect();
    const [x, y] = middle(mark);
    const isLeft = x - frame.left > frame.width / 2;
    const left = x - frame.left + (isLeft ? -14 - tip.offsetWidth : 14);
    tip.style.left = `${Math.max(0, Math.min(left, frame.width - tip.offsetWidth))}px`;
    tip.style.top = `${Math.max(0, y - frame.top - tip.offsetHeight / 2)}px`;
  }

  function middle(mark) {
    const box = mark.element.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  }

  panels.addEventListener("pointermove", (event) => {
    let best = null;
    let least = near;
    for (const mark of marks) {
      if (!mark.isShown) continue;
      const [x, y] = middle(mark);
      const distance = Math.hypot(event.clientX - x, event.clientY - y);
      if (distance < least) [best, least] = [mark, distance];
    }
    point(best);
  });
  panels.addEventListener("pointerleave", () => point(null));
  for (const mark of marks) {
    mark.element.setAttribute("tabindex", "0");
    mark.element.setAttribute("role", "img");
    mark.element.setAttribute("aria-label", [mark.name, ...mark.text].join(", "));
    mark.element.addEventListener("focus", () => point(mark));
    mark.element.addEventListener("blur", () => point(null));
  }
  for (const input of [...boxes, search]) input.addEventListener("input", filter);
  button.addEventListener("click", () => {
    const isAny = boxes.some((box) => box.checked);
    for (const box of boxes) box.checked = !isAny;
    filter();
  });
  filter();
}
