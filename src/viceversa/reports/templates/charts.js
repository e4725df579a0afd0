function path(points) {  // pieces between gaps; one point is drawn as a dot
  let text = "", length = 0;
  for (const [x, y] of points) {
    if (y === null) { text += length === 1 ? "h0" : ""; length = 0; continue; }
    text += `${length ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    length += 1;
  }
  return text + (length === 1 ? "h0" : "");
}

function download(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name.replace(/[^\w.]+/g, "-");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// The runs of a page: names, and curves of other x-axes over images.
const runs = JSON.parse(document.querySelector(".chart-controls")?.dataset.runs || '[{"axes": {}}]');

function interactive(figure) {
  const plot = figure.querySelector(".plot"), svg = plot.querySelector("svg");
  const list = (element, name) => (element.dataset[name] ? JSON.parse(element.dataset[name]) : null);
  const lines = [...plot.querySelectorAll(".line")].map((element) => ({
    element, name: element.dataset.name, run: Number(element.dataset.run), style: element.getAttribute("class"), shown: list(element, "y"),
    x: list(element, "x"), y: list(element, "y"), low: list(element, "min"), high: list(element, "max"),
    band: element.previousElementSibling.matches(".band") ? element.previousElementSibling : null,
    dots: element.nextElementSibling?.matches(".dots") ? element.nextElementSibling : null,
  }));
  const cross = plot.querySelector(".cross"), tip = plot.querySelector(".tip");
  const marks = [...plot.querySelectorAll(".mark")];
  const ends = [...lines.map((line) => [line.run, line.x[line.x.length - 1]]), ...marks.map((mark) => [0, Number(mark.dataset.x)])];
  const room = Number(plot.dataset.high) / ends.map(([, images]) => images).reduce((a, b) => Math.max(a, b));
  const sorted = (values) => [...new Set(values)].sort((a, b) => a - b);
  let at = -1, axis, positions;  // of all points, from 0 to 1

  function place(name) {
    axis = xAxis(name, runs.map((run) => run.axes[name]), ends, room);
    lines.forEach((line) => { line.at = line.x.map((images) => axis.at(line.run, images)); });
    positions = sorted(lines.flatMap((line) => line.at));
  }

  function value(line, position) {  // empty outside of the line
    const first = line.at[0], last = line.at[line.at.length - 1];
    const gap = (last - first) / Math.max(1, line.at.length - 1);
    if (position < first - gap || position > last + gap) return format(null);
    const i = nearest(line.at, position), text = format(line.shown[i]);
    return line.low && line.low[i] !== null ? `${text} (${format(line.low[i])} to ${format(line.high[i])})` : text;
  }

  function show(index) {
    at = Math.max(0, Math.min(positions.length - 1, index));
    const fraction = positions[at];
    const values = lines.map((line) => `${line.name}  ${value(line, fraction)}`);
    tip.textContent = [axis.words(fraction), ...values].join("\n");
    cross.hidden = tip.hidden = false;
    cross.style.left = `${100 * fraction}%`;
    // On the side of the line with more space, inside the plot.
    const space = plot.clientWidth - tip.offsetWidth, left = fraction * plot.clientWidth;
    const beside = fraction < 0.5 ? left + 10 : left - 10 - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(space, beside))}px`;
  }

  function hide() { cross.hidden = tip.hidden = true; }

  function draw(state) {
    hide();
    place(state.x);
    const finite = lines.flatMap((line) => [...line.y, ...(line.low || []), ...(line.high || [])]);
    const y = yAxis([...finite.filter((one) => one !== null), ...marks.map((one) => Number(one.dataset.y))], state.y);
    const down = (one) => (one === null ? null : HEIGHT * (1 - y.at(one)));
    const points = (line, values) => line.at.map((position, i) => [WIDTH * position, down(values[i])]);
    svg.querySelectorAll(".raw").forEach((one) => one.remove());
    for (const line of lines) {
      line.shown = smoothed(line.y, state.smoothing);
      const drawn = path(points(line, line.shown));
      line.element.setAttribute("d", drawn);
      line.dots?.setAttribute("d", drawn.match(/M[^ML]*h0/g).join(""));
      if (line.band) {
        const edge = (values) => points(line, values).filter(([, y]) => y !== null);
        const around = [...edge(line.high), ...edge(line.low).reverse()];
        line.band.setAttribute("d", `M${around.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}Z`);
      } else if (state.smoothing) {
        const raw = line.element.cloneNode();
        raw.setAttribute("class", line.style.replace("line", "raw"));
        raw.setAttribute("d", path(points(line, line.y)));
        svg.insertBefore(raw, svg.querySelector(".line"));
      }
    }
    const xTicks = roundTicks(0, axis.high, 4), xAt = (tick) => tick / axis.high;
    const grid = y.ticks.map((tick) => `M0 ${down(tick).toFixed(1)}H${WIDTH}`);
    grid.push(...xTicks.map((tick) => `M${(WIDTH * xAt(tick)).toFixed(1)} 0V${HEIGHT}`));
    svg.querySelector(".grid").setAttribute("d", grid.join(""));
    plot.querySelectorAll("span.x, span.y").forEach((one) => one.remove());
    const text = (kind, tick, ticks, side, share) => {
      const span = document.createElement("span");
      [span.className, span.textContent, span.style[side]] = [kind, label(tick, ticks), `${100 * share}%`];
      svg.after(span);
    };
    const lengths = y.ticks.map((tick) => label(tick, y.ticks).length);
    plot.style.setProperty("--characters", Math.max(0, ...lengths));
    y.ticks.forEach((tick) => text("y", tick, y.ticks, "top", 1 - y.at(tick)));
    xTicks.forEach((tick) => text("x", tick, xTicks, "left", xAt(tick)));
    for (const mark of marks) {
      mark.style.left = `${100 * axis.at(0, Number(mark.dataset.x))}%`;
      mark.style.top = `${100 * (1 - y.at(Number(mark.dataset.y)))}%`;
    }
    figure.querySelector(".logarithmic").hidden = !y.log;
    figure.querySelector(".unit").textContent = axis.unit;
  }

  function csv() {
    const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const columns = lines.flatMap((line) => [[line.name, line.x, line.y],
      ...(line.low ? [[`${line.name} min`, line.x, line.low], [`${line.name} max`, line.x, line.high]] : [])]);
    const axes = sorted(lines.map((line) => line.run)).flatMap((index) => Object.entries(runs[index].axes).map(([name, curve]) =>
      [`${runs[index].name} ${name === "time" ? "training_seconds" : name}`.trim(), curve]));
    const rows = sorted(lines.flatMap((line) => line.x)).map((images) => [images, ...axes.map(([, curve]) => interpolate(curve, images)),
      ...columns.map(([, x, values]) => values[x.indexOf(images)] ?? "")]);
    const head = ["images", ...axes.map(([name]) => quoted(name)), ...columns.map(([name]) => quoted(name))];
    return [head, ...rows].map((row) => row.join(",")).join("\n") + "\n";
  }

  function drawing() {  // a copy of the plot in which texts and colours are part of the SVG
    const css = (element, name) => getComputedStyle(element).getPropertyValue(name);
    const escaped = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
    const paths = [...svg.querySelectorAll("path")].map((one) => {
      const names = ["stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-opacity", "fill", "fill-opacity"];
      const style = names.map((name) => `${name}:${css(one, name)}`).join(";");
      return `<path vector-effect="non-scaling-stroke" style="${style}" d="${one.getAttribute("d")}"/>`;
    });
    const beside = Math.max(0, 9 * plot.style.getPropertyValue("--characters") - 60);  // for long labels
    const ink = css(document.body, "color"), texts = [];
    const write = (x, y, anchor, text, colour = ink) => texts.push(`<text x="${x}" y="${y}" text-anchor="${anchor}" fill="${colour}">${escaped(text)}</text>`);
    write(70, 24, "start", figure.dataset.title);
    plot.querySelectorAll("span.y").forEach((one) => write(62, 44 + 3 * parseFloat(one.style.top), "end", one.textContent));
    plot.querySelectorAll("span.x").forEach((one) => write(70 + 9 * parseFloat(one.style.left), 358, "middle", one.textContent));
    write(970, 380, "end", axis.unit);
    let left = 70;
    for (const line of lines) {
      write(left, 380, "start", line.name, css(line.element, "stroke"));
      left += 9 * line.name.length + 20;
    }
    return `<svg xmlns="${svg.namespaceURI}" width="${1000 + beside}" height="400" viewBox="${-beside} 0 ${1000 + beside} 400" font-family="sans-serif" font-size="14">` +
      `<rect x="${-beside}" width="${1000 + beside}" height="400" fill="${css(document.body, "background-color")}"/>` +
      `<svg x="70" y="40" width="900" height="300" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none">${paths.join("")}</svg>${texts.join("")}</svg>\n`;
  }

  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect(), share = (event.clientX - box.left) / box.width;
    show(nearest(positions, share));
  });
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    show(at < 0 ? positions.length - 1 : at + step);
    event.preventDefault();
  });
  place("images");
  const name = `${document.title.split(" – ")[0]}-${figure.dataset.title}`;
  const [asCsv, asSvg] = figure.querySelectorAll(".downloads button");
  asCsv.addEventListener("click", () => download(`${name}.csv`, "text/csv", csv()));
  asSvg.addEventListener("click", () => download(`${name}.svg`, "image/svg+xml", drawing()));
  return draw;
}

{
  const draws = [...document.querySelectorAll(".chart")].map(interactive);
  document.querySelectorAll(".downloads, .chart-controls").forEach((one) => { one.hidden = false; });
  for (const form of document.querySelectorAll(".chart-controls")) {
    form.addEventListener("input", () => {
      const state = { smoothing: Number(form.smoothing.value), x: form.x.value, y: form.y.value };
      form.querySelector("output").textContent = state.smoothing.toFixed(2);
      draws.forEach((draw) => draw(state));
    });
  }
}
