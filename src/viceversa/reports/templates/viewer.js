// Enlarged images. A grid's columns can be compared: side by side, by swiping, or as a difference.
{
  const viewer = document.querySelector(".viewer");
  const [form, canvas, note] = ["form", "canvas", ".note"].map((one) => viewer.querySelector(one));
  const stage = viewer.querySelector(".stage"), { row, view, left, right, swipe } = form.elements;
  let image, columns, rows;

  function fill(select, texts, index) {
    select.replaceChildren(...texts.map((text, i) => new Option(text, i, i === index, i === index)));
    select.closest("label").hidden = texts.length < 2;
  }

  function cell(column) {  // of the chosen row, or of all; without the gap of 2 px around each
    const gap = (2 * image.naturalWidth) / image.getAttribute("width");  // of a scaled image
    const width = (image.naturalWidth - gap) / columns.length, height = (image.naturalHeight - gap) / rows.length;
    const one = Number(row.value) - 1, all = one < 0;
    return [column * width + gap, all ? gap : one * height + gap, width - gap, all ? image.naturalHeight - 2 * gap : height - gap];
  }

  function draw() {
    const compares = columns.length > 1 && view.value !== "columns";
    for (const control of [left, right]) control.closest("label").hidden = !compares;
    swipe.closest("label").hidden = view.value !== "swipe" || !compares;
    const first = columns.length ? cell(0) : [0, 0, image.naturalWidth, image.naturalHeight];
    const last = columns.length ? cell(columns.length - 1) : first;
    const area = [first[0], first[1], last[0] + last[2] - first[0], first[3]];
    const [a, b] = [left, right].map((one) => cell(Number(one.value)));
    const [width, height] = (compares ? a : area).slice(2).map(Math.round);
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const paint = (from) => { context.drawImage(image, ...from, 0, 0, width, height); };
    note.textContent = "";
    if (!compares) paint(area);
    else if (view.value === "swipe") {
      const at = Math.round((width * swipe.value) / 100);
      paint(b);
      context.save();
      context.beginPath();
      context.rect(0, 0, at, height);
      context.clip();
      paint(a);
      context.restore();
      context.fillStyle = "#fff";
      context.fillRect(at - 1, 0, Math.max(1, width / 300), height);
      note.textContent = `left: ${columns[left.value]}; right: ${columns[right.value]}`;
    } else {
      paint(a);
      const one = context.getImageData(0, 0, width, height);
      paint(b);
      const other = context.getImageData(0, 0, width, height).data;
      let sum = 0;
      for (let i = 0; i < other.length; i += 1) {
        if (i % 4 === 3) continue;
        one.data[i] = Math.abs(one.data[i] - other[i]);
        sum += one.data[i];
      }
      context.putImageData(one, 0, 0);
      note.textContent = `absolute difference; mean ${format((sum / other.length) * (4 / 3))} of 255`;
    }
    const fits = compares ? Math.min(stage.clientWidth / width, stage.clientHeight / height) : stage.clientWidth / width;
    const enlarged = Math.min(fits, 12);
    canvas.style.width = `${Math.floor(width * enlarged)}px`;
    canvas.classList.toggle("small", enlarged > 1.5);
  }

  function open(button, event) {
    image = button.querySelector("img");
    columns = JSON.parse(button.dataset.columns || "[]");
    rows = JSON.parse(button.dataset.rows || "[]");
    if (columns.length && !rows.length) rows = ["image"];
    const box = image.getBoundingClientRect(), share = (event.clientY - box.top) / box.height;
    const chosen = 1 + Math.max(0, Math.min(rows.length - 1, Math.floor(share * rows.length)));
    fill(row, ["all", ...rows], event.detail && columns.length ? chosen : 0);  // 0: opened by a key
    row.closest("label").hidden = rows.length < 2;
    view.closest("label").hidden = columns.length < 2;
    const target = columns.indexOf("target"), output = columns.indexOf("translation");
    fill(left, columns, Math.max(0, output));
    fill(right, columns, target < 0 ? columns.length - 1 : target);
    viewer.querySelector("b").textContent = image.alt;
    viewer.showModal();
    draw();
    viewer.querySelector(".close").focus();
  }

  function drag(event) {
    if (view.value !== "swipe" || !event.buttons) return;
    const box = canvas.getBoundingClientRect();
    swipe.value = (100 * (event.clientX - box.left)) / box.width;
    draw();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".zoom");
    if (button) open(button, event);
  });
  form.addEventListener("input", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const name of ["pointerdown", "pointermove"]) canvas.addEventListener(name, drag);
  viewer.querySelector(".close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  window.addEventListener("resize", () => { if (viewer.open) draw(); });
}
