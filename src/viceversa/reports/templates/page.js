"use strict";

const whole = (number) => number.toLocaleString("en", { maximumFractionDigits: 0 });

function format(number) {  // four significant digits, as in the rest of the page
  if (number === null) return "–";
  const size = Math.abs(number);
  if (size !== 0 && (size < 1e-4 || size >= 1e15)) return number.toPrecision(4);
  return size >= 1e4 ? whole(number) : number.toLocaleString("en", { maximumSignificantDigits: 4 });
}

for (const plot of document.querySelectorAll(".plot")) {
  const lines = [...plot.querySelectorAll(".line")].map((line) => ({
    name: line.dataset.name, x: JSON.parse(line.dataset.x), y: JSON.parse(line.dataset.y),
  }));
  const moments = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  const cross = plot.querySelector(".cross");
  const tip = plot.querySelector(".tip");
  const low = Number(plot.dataset.low), span = Number(plot.dataset.high) - low;
  let at = -1;

  const nearest = (list, value) =>
    list.reduce((best, x, i) => (Math.abs(x - value) < Math.abs(list[best] - value) ? i : best), 0);

  function value(line, moment) {  // null outside of the line
    const first = line.x[0], last = line.x[line.x.length - 1];
    const gap = (last - first) / Math.max(1, line.x.length - 1);
    if (moment < first - gap || moment > last + gap) return null;
    return line.y[nearest(line.x, moment)];
  }

  function show(index) {
    at = Math.max(0, Math.min(moments.length - 1, index));
    const moment = moments[at], fraction = (moment - low) / span;
    const values = lines.map((line) => `${line.name}  ${format(value(line, moment))}`);
    tip.textContent = [`after ${whole(moment)} images`, ...values].join("\n");
    cross.hidden = tip.hidden = false;
    cross.style.left = `${100 * fraction}%`;
    // On the side of the line with more space, inside the plot.
    const space = plot.clientWidth - tip.offsetWidth, across = fraction * plot.clientWidth;
    const beside = fraction < 0.5 ? across + 10 : across - 10 - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(space, beside))}px`;
  }

  function hide() { cross.hidden = tip.hidden = true; }

  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    show(nearest(moments, low + (span * (event.clientX - box.left)) / box.width));
  });
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    show(at < 0 ? moments.length - 1 : at + step);
    event.preventDefault();
  });
}

for (const player of document.querySelectorAll(".player")) {
  const figures = [...player.querySelectorAll(".moment")];
  const slider = player.querySelector("input");
  const button = player.querySelector("button");
  if (!slider) continue;
  let timer = 0;

  function show() {
    figures.forEach((figure, i) => { figure.hidden = i !== Number(slider.value); });
    const caption = figures[Number(slider.value)].querySelector("figcaption").textContent;
    slider.setAttribute("aria-valuetext", caption);
  }

  function move(index) { slider.value = index; show(); }

  function stop() {
    clearInterval(timer);
    timer = 0;
    button.textContent = "▶";
    button.setAttribute("aria-label", "play");
    button.setAttribute("aria-pressed", "false");
  }

  function play() {
    if (Number(slider.value) === figures.length - 1) move(0);
    timer = setInterval(() => {
      if (Number(slider.value) === figures.length - 1) stop();
      else move(Number(slider.value) + 1);
    }, 700);
    button.textContent = "❚❚";
    button.setAttribute("aria-label", "stop");
    button.setAttribute("aria-pressed", "true");
  }

  slider.addEventListener("input", () => { if (timer) stop(); show(); });
  button.addEventListener("click", () => (timer ? stop() : play()));
  document.addEventListener("keydown", (event) => {  // unless another control has the focus
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const free = document.activeElement === document.body || document.activeElement === null;
    if (!step || !free || event.altKey || event.ctrlKey || event.metaKey) return;
    if (timer) stop();
    move(Number(slider.value) + step);
    event.preventDefault();
  });
  show();
}
