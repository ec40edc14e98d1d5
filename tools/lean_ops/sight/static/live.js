// Keeps the page current: asks for its inside every few seconds, and takes sections that have changed.
// Without this script the page loads itself again instead (meta refresh).
"use strict";

const EVERY_MS = 3000;
// While something is still being read that nobody has read yet.
const SOON_MS = 500;
const main = document.getElementById("main");
const looked = document.getElementById("looked");
const live = document.getElementById("live");
let tag = "";

function keyOf(element) {
  return element.id || "";
}

function take(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html").body;
  const sections = [...fresh.children];
  for (const section of sections) {
    const known = document.getElementById(keyOf(section));
    if (!known || known.parentElement !== main) {
      main.append(section);
      continue;
    }
    for (const details of section.querySelectorAll("details[id]")) {
      const before = document.getElementById(details.id);
      if (before) details.open = before.open;
    }
    // What somebody has selected or stands on is left alone until they go on.
    const selected = String(document.getSelection() || "") && known.contains(document.getSelection().anchorNode);
    if (selected || (known.contains(document.activeElement) && document.activeElement.matches("input, button")))
      continue;
    if (known.outerHTML !== section.outerHTML) {
      const at = [...known.querySelectorAll("a, summary, [tabindex]")].indexOf(document.activeElement);
      known.replaceWith(section);
      if (at >= 0) section.querySelectorAll("a, summary, [tabindex]")[at]?.focus({ preventScroll: true });
    }
  }
}

async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch(`/part/${main.dataset.view}${location.search}`, {
        headers: tag ? { "If-None-Match": tag } : {},
        credentials: "same-origin",
      });
      if (answer.status === 200) {
        tag = answer.headers.get("ETag") || "";
        take(await answer.text());
      } else if (answer.status !== 304) {
        throw new Error(String(answer.status));
      }
      looked.textContent = new Date().toISOString().slice(0, 19).replace("T", " ");
      live.textContent = "live, looked at";
    } catch {
      live.textContent = "the console does not answer; last looked at";
    }
  }
  wait();
}

function wait() {
  setTimeout(look, main.querySelector("p[role=status]") ? SOON_MS : EVERY_MS);
}

wait();
