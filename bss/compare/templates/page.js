"use strict";
// What a page can do beyond being read. It takes everything from the page itself, and writes no text as HTML.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const made = (tag, values) => Object.assign(document.createElement(tag), values);
  const button = (text, onclick) => made("button", { type: "button", textContent: text, onclick });

  // ---- files: a table as CSV, a figure as SVG in the colours of paper

  const save = (text, type, name, ending) => {
    const words = name.toLowerCase().match(/[a-z0-9]+/g) ?? ["report"];
    const url = URL.createObjectURL(new Blob([text], { type }));
    made("a", { href: url, download: `${words.join("-").slice(0, 80)}.${ending}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };

  const asCsv = (table) => {
    const quoted = (cell) => `"${cell.textContent.replaceAll("\u2212", "-").replaceAll('"', '""')}"`;
    const lines = [...table.rows].map((row) => [...row.cells].map(quoted).join(","));
    return "\ufeff" + lines.join("\r\n") + "\r\n"; // the mark tells spreadsheets that it is UTF-8
  };

  const asSvg = (svg) => {
    const copy = svg.cloneNode(true);
    all(".off", copy).forEach((part) => part.remove());
    const letters = all(".letters path").filter(({ id }) => copy.querySelector(`[href="#${id}"]`));
    const defs = copy.appendChild(document.createElementNS(svg.namespaceURI, "defs"));
    defs.append(...letters.map((letter) => letter.cloneNode(true))); // which all figures of the page share
    const [, , width, height] = svg.getAttribute("viewBox").split(" ");
    copy.setAttribute("width", `${width}pt`);
    copy.setAttribute("height", `${height}pt`);
    return new XMLSerializer().serializeToString(copy).replace(/var\(--\w+,(#[0-9a-f]+)\)/gi, "$1");
  };

  // ---- tables: sorted by a column, up, down, and as they came

  const by = (place, sign) => (one, other) => {
    const [a, b] = [one.cells[place], other.cells[place]];
    const [x, y] = [a.dataset.sort, b.dataset.sort];
    if (x !== undefined && y !== undefined) return sign * (x - y);
    if (x !== undefined || y !== undefined) return x === undefined ? 1 : -1; // what has no number comes last
    return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
  };

  const sort = (table, head) => {
    const next = { none: "ascending", ascending: "descending", descending: "none" }[head.ariaSort ?? "none"];
    for (const each of table.tHead.rows[0].cells) each.ariaSort = each === head ? next : "none";
    const asTheyCame = (one, other) => one.place - other.place;
    const order = next === "none" ? asTheyCame : by(head.cellIndex, next === "ascending" ? 1 : -1);
    const groups = [...table.tBodies];
    for (const body of groups) {
      const rows = [...body.rows];
      if (body.className === "group") rows.shift(); // the row of the whole group stays at its head
      body.append(...rows.sort(order));
    }
    table.append(...groups.sort((one, other) => order(one.rows[0], other.rows[0])));
  };

  for (const table of all("table")) {
    [...table.rows].forEach((row, place) => (row.place = place));
    for (const head of table.tHead.rows[0].cells) head.replaceChildren(button(head.textContent, () => sort(table, head)));
    const box = table.parentElement;
    const title = box.previousElementSibling.previousElementSibling.textContent;
    box.after(button("CSV", () => save(asCsv(table), "text/csv", title, "csv")));
  }
  for (const figure of all("figure")) {
    const [svg, caption] = figure.children;
    const title = caption.textContent;
    caption.append(" ", button("SVG", () => save(asSvg(svg), "image/svg+xml", title, "svg")));
  }

  // ---- arms: in all figures or in none

  for (const switches of all(".switches")) {
    const boxes = all("input", switches);
    const parts = all("figure[data-arm], figure [data-arm]");
    const control = switches.dataset.control;
    const others = all("figure").map((figure) => {
      const arms = all("[data-arm]", figure).map((part) => part.dataset.arm);
      return [figure, new Set(arms.filter((arm) => arm !== control))];
    });
    const show = () => {
      const on = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      for (const part of parts) part.classList.toggle("off", !on.has(part.dataset.arm));
      for (const [figure, arms] of others) figure.hidden = arms.size > 0 && ![...arms].some((arm) => on.has(arm));
      switches.querySelector("output").value = `${on.size} of ${boxes.length}`;
    };
    for (const each of all("button", switches)) {
      each.onclick = () => {
        for (const box of boxes) box.checked = each.value === "all";
        show();
      };
    }
    switches.onchange = show;
    switches.hidden = false;
    show();
  }

  // ---- values: under the pointer, at once and on a phone too

  const tip = document.body.appendChild(made("div", { className: "tip", hidden: true }));
  let held = null; // a title that is out of its mark for as long as it is shown here, and not by the browser as well
  document.addEventListener("pointerover", (event) => {
    if (held) held.mark.prepend(held.title);
    held = null;
    let mark = event.target;
    while (mark instanceof SVGElement && mark.firstElementChild?.tagName !== "title") mark = mark.parentNode;
    tip.hidden = !(mark instanceof SVGElement);
    if (tip.hidden) return;
    held = { mark, title: mark.firstElementChild };
    held.title.remove();
    const arm = mark.closest("[data-arm]")?.dataset.arm;
    const text = held.title.textContent;
    tip.textContent = arm && arm !== text ? `${arm}: ${text}` : text;
    const left = Math.min(event.clientX + 8, innerWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(left, 8)}px`;
    tip.style.top = `${Math.max(event.clientY - tip.offsetHeight - 12, 8)}px`;
  });
})();
