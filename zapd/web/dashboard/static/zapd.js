// Keeps an open page live: one stream, regions replaced as they change, times in the reader's zone. No state of its own:
// whatever is missed, the next patch brings.

const policy = window.trustedTypes?.createPolicy("zapd", { createHTML: (markup) => markup }) ?? { createHTML: (m) => m };
const line = document.getElementById("line");
const regions = document.querySelectorAll("[data-region]");
const STALE_AFTER = 30_000;
const SHORTEST_WAIT = 1_000;
const LONGEST_WAIT = 10_000;

let source = null;
let wait = SHORTEST_WAIT;
let reopening = false;
let lastPatch = Date.now();

function show(state) {
  if (!line) return;
  line.hidden = false;
  line.className = `line ${state}`;
  line.textContent = line.dataset[state];
}

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.valueOf())) continue;
    const today = at.toDateString() === new Date().toDateString();
    time.title = time.dateTime;
    time.textContent = today
      ? at.toLocaleTimeString(document.documentElement.lang)
      : at.toLocaleString(document.documentElement.lang, { dateStyle: "short", timeStyle: "short" });
  }
}

// What the reader is using stays as it is; the next patch comes soon enough.
function inUse(region) {
  const active = document.activeElement;
  const selection = document.getSelection();
  return (
    (region !== active && region.contains(active) && active.matches("input, textarea, select")) ||
    (selection && !selection.isCollapsed && region.contains(selection.anchorNode))
  );
}

function patch(name, markup) {
  const region = document.getElementById(`region-${name}`);
  if (!region || inUse(region)) return;
  const focused = region.contains(document.activeElement) ? document.activeElement : null;
  const mark = focused?.getAttribute("formaction") ?? focused?.getAttribute("href");
  const atEnd = region.matches(".thread") && region.scrollHeight - region.scrollTop - region.clientHeight < 40;
  region.innerHTML = policy.createHTML(markup);
  localTimes(region);
  if (atEnd) region.scrollTop = region.scrollHeight;
  if (mark) region.querySelector(`[formaction="${CSS.escape(mark)}"], [href="${CSS.escape(mark)}"]`)?.focus();
}

function open() {
  if (source || document.hidden || regions.length === 0) return;
  source = new EventSource(location.pathname + location.search);
  source.addEventListener("patch", (event) => {
    const { region, markup } = JSON.parse(event.data);
    lastPatch = Date.now();
    wait = SHORTEST_WAIT;
    show("live");
    for (const element of regions) element.classList.remove("stale");
    patch(region, markup);
  });
  source.addEventListener("bye", reopen);
  source.onerror = reopen;
}

function close() {
  source?.close();
  source = null;
}

// The page itself is asked for first: it tells a login that ended from a daemon that is away.
async function reopen() {
  close();
  if (reopening) return;
  reopening = true;
  show("delayed");
  for (let there = false; !there; ) {
    await new Promise((done) => setTimeout(done, wait * (0.5 + Math.random())));
    wait = Math.min(wait * 2, LONGEST_WAIT);
    try {
      const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
      if (answer.redirected && new URL(answer.url).pathname === "/dashboard/login") location.assign(answer.url);
      there = true;
    } catch {
      show("offline");
    }
  }
  reopening = false;
  open();
}

document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
window.addEventListener("pagehide", close);

setInterval(() => {
  const stale = !document.hidden && source?.readyState !== EventSource.OPEN && Date.now() - lastPatch > STALE_AFTER;
  for (const element of regions) element.classList.toggle("stale", Boolean(stale));
}, 5_000);

document.addEventListener("click", async (event) => {
  const code = event.target.closest(".copy");
  if (!code) return;
  try {
    await navigator.clipboard.writeText(code.textContent);
    code.classList.add("copied");
    setTimeout(() => code.classList.remove("copied"), 1_500);
  } catch {
    document.getSelection().selectAllChildren(code); // no clipboard over plain HTTP: the reader copies by hand
  }
});

document.addEventListener("keydown", (event) => {
  const box = event.target.closest(".sendbox textarea");
  if (box && event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    box.form.requestSubmit();
  }
});

document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault(); // a double click
  event.target.dataset.sent = "yes";
  if (event.target.id === "act") delete event.target.dataset.sent;
});

localTimes(document);
for (const thread of document.querySelectorAll(".thread")) thread.scrollTop = thread.scrollHeight;
open();
