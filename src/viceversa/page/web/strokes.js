// Strokes by mouse, pen, touch and keyboard; a ring shows position and width of the pen.

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function connectStrokes(canvas, ring, drawing, brush) {
  const position = { x: 0, y: 0 };

  function showRing(visible) {
    const { tool, width } = brush(), size = tool === "bucket" ? 1 : width;
    ring.hidden = !visible;
    ring.style.left = `${(100 * position.x) / canvas.width}%`;
    ring.style.top = `${(100 * position.y) / canvas.height}%`;
    ring.style.width = `${(100 * size) / canvas.width}%`;
    ring.style.height = `${(100 * size) / canvas.height}%`;
  }

  function toCentre() { Object.assign(position, { x: canvas.width / 2, y: canvas.height / 2 }); }

  function moveTo(event) {
    const box = canvas.getBoundingClientRect();
    position.x = ((event.clientX - box.left) / box.width) * canvas.width;
    position.y = ((event.clientY - box.top) / box.height) * canvas.height;
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    moveTo(event);
    canvas.setPointerCapture(event.pointerId);
    drawing.begin({ ...position }, brush());
    showRing(true);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!event.isPrimary) return;
    for (const one of event.getCoalescedEvents?.() ?? []) {
      moveTo(one);
      if (canvas.hasPointerCapture(event.pointerId)) drawing.extend({ ...position });
    }
    moveTo(event);
    if (canvas.hasPointerCapture(event.pointerId)) drawing.extend({ ...position });
    showRing(true);
  });
  canvas.addEventListener("pointerup", (event) => { if (event.isPrimary) drawing.end(); });
  canvas.addEventListener("pointercancel", () => drawing.cancel());
  canvas.addEventListener("pointerleave", () => showRing(document.activeElement === canvas && canvas.matches(":focus-visible")));
  canvas.addEventListener("blur", () => { drawing.end(); showRing(false); });
  canvas.addEventListener("focus", () => {
    if (!canvas.matches(":focus-visible")) return;
    toCentre();
    showRing(true);
  });

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (ring.hidden) toCentre();
    const arrow = ARROWS[event.key];
    if (arrow) {
      const step = event.shiftKey ? 10 : Math.max(1, Math.round(canvas.width / 128));
      position.x = Math.min(canvas.width - 0.5, Math.max(0.5, position.x + step * arrow[0]));
      position.y = Math.min(canvas.height - 0.5, Math.max(0.5, position.y + step * arrow[1]));
      drawing.extend({ ...position });
    } else if (event.key === " " || event.key === "Enter") {
      if (drawing.stroke) drawing.end();
      else {
        drawing.begin({ ...position }, brush());
        if (brush().tool === "bucket") drawing.end();
      }
    } else if (event.key === "Escape") drawing.cancel();
    else return;
    event.preventDefault();
    showRing(true);
  });
}
