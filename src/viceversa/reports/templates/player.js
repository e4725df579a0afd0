for (const player of document.querySelectorAll(".player")) {
  const figures = [...player.querySelectorAll(".moment")];
  const slider = player.querySelector(".controls input");
  const button = player.querySelector(".controls button");
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
