// What is wrong with a page for who reads it by ear, by keyboard or in little light: sentences, none where all is
// well. After the rules of WCAG 2.2, level AA, that a program can decide.
() => {
  const wrong = [];
  const visible = (e) => e.checkVisibility({ visibilityProperty: true });
  const say = (e, what) => wrong.push(`${what}: ${e.outerHTML.slice(0, 120)}`);
  if (!document.documentElement.lang) wrong.push("the page has no language");
  if (!document.title) wrong.push("the page has no title");
  for (const one of ["main", "header", "footer"])
    if (document.querySelectorAll(one).length !== 1) wrong.push(`expected one ${one}`);
  if (document.querySelectorAll("h1").length !== 1) wrong.push("expected one h1");
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const now = Number(heading.tagName[1]);
    if (now > level + 1) say(heading, "a heading skips a level");
    level = now;
  }
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids.filter((id, n) => ids.indexOf(id) !== n))) wrong.push(`an id stands twice: ${id}`);
  for (const e of document.querySelectorAll("[aria-labelledby]"))
    if (!document.getElementById(e.getAttribute("aria-labelledby"))) say(e, "its label is not there");
  for (const nav of document.querySelectorAll("nav, [role=region]"))
    if (!nav.getAttribute("aria-label")) say(nav, "a landmark has no name");
  for (const table of document.querySelectorAll("table")) {
    if (!table.caption?.textContent.trim()) say(table, "a table has no caption");
    for (const th of table.querySelectorAll("th")) if (!th.scope) say(th, "a header has no scope");
    for (const row of table.tBodies[0]?.rows ?? [])
      if (row.cells.length > 1 && !row.querySelector("th")) say(row, "a row has no header");
  }
  for (const svg of document.querySelectorAll("svg"))
    if (svg.getAttribute("aria-hidden") !== "true" && !svg.querySelector("title")?.textContent)
      say(svg, "a drawing has no text");
  for (const e of document.querySelectorAll("input, select"))
    if (!e.labels?.length && !e.getAttribute("aria-label")) say(e, "a field has no label");
  for (const e of document.querySelectorAll("a, button, summary"))
    if (!e.textContent.trim()) say(e, "a control has no text");
  for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) say(e, "a tabindex is above 0");
  for (const e of document.querySelectorAll("*")) {
    const box = getComputedStyle(e);
    if (["auto", "scroll"].includes(box.overflowX) && e.scrollWidth > e.clientWidth && e.tabIndex < 0)
      say(e, "what scrolls cannot be reached by keyboard");
  }
  const parse = (color) => color.match(/[\d.]+/g).map(Number);
  const over = (top, below) => {
    const a = top[3] ?? 1;
    return [0, 1, 2].map((n) => top[n] * a + below[n] * (1 - a));
  };
  const ground = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      layers.push(color);
      if ((color[3] ?? 1) === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const seen = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const e = node.parentElement;
    if (!node.data.trim() || seen.has(e) || e.closest("title, script, style") || !visible(e)) continue;
    seen.add(e);
    const style = getComputedStyle(e);
    const below = ground(e);
    const [high, low] = [light(over(parse(style.color), below)), light(below)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < (large ? 3 : 4.5)) say(e, `contrast ${ratio.toFixed(2)}`);
  }
  return wrong;
}
