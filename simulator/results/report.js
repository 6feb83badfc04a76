// One cursor for all plots: point at a moment, and every legend tells its value then. The page reads well without it.
"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const plots = [...document.querySelectorAll(".plot")];
  const values = [...document.querySelectorAll("[data-series]")];
  const at = document.getElementById("at");
  const whole = values.map((value) => value.textContent);

  const number = (value, unit) => {
    if (value === null || value === undefined) return "–";
    if (unit === "ms" && value >= 1000) return `${(value / 1000).toPrecision(3)} s`;
    if (unit === "cores") return `${(value * 100).toFixed(value >= 0.1 || value === 0 ? 0 : 1)}%`;
    const digits = value >= 100 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3)).toString();
    return ["ms", "m", "MiB"].includes(unit) ? `${digits} ${unit}` : digits;
  };
  const clock = (seconds) => {
    const whole = Math.floor(seconds);
    const pad = (part) => String(part).padStart(2, "0");
    const hours = Math.floor(whole / 3600);
    const minutes = Math.floor(whole / 60) % 60;
    return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
  };

  const show = (share) => {
    const end = Number(document.body.dataset.end);
    const index = Math.min(report.time_s.length - 1, Math.floor((share * end) / report.bin_s));
    for (const plot of plots) {
      const cursor = plot.querySelector(".cursor");
      const [left, bottom, width, height] = document.body.dataset.frame.split(" ").map(Number);
      cursor.style.cssText = `display:block;left:${(left + width * share) * 100}%;top:${(1 - bottom - height) * 100}%;height:${height * 100}%`;
    }
    for (const value of values) {
      const series = report.series[value.dataset.series];
      value.textContent = number(series.columns[value.dataset.column][index], value.dataset.unit);
    }
    at.textContent = `${clock(report.time_s[index])} into the run`;
    at.style.display = "block";
  };
  const hide = () => {
    for (const plot of plots) plot.querySelector(".cursor").style.display = "none";
    values.forEach((value, index) => { value.textContent = whole[index]; });
    at.style.display = "none";
  };

  for (const plot of plots) {
    plot.addEventListener("pointermove", (event) => {
      const [left, , width] = document.body.dataset.frame.split(" ").map(Number);
      const box = plot.getBoundingClientRect();
      const share = ((event.clientX - box.left) / box.width - left) / width;
      if (share >= 0 && share <= 1) show(share); else hide();
    });
    plot.addEventListener("pointerleave", hide);
  }
})();
