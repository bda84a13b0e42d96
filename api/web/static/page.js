"use strict";
const root = document.documentElement, ROOT = document.body.dataset.root;  // where a proxy offers the page
const wanted = localStorage.getItem("theme");
if (wanted) root.dataset.theme = wanted;

const ENDED = ["completed", "failed", "cancelled"];
const all = (selector, under = document) => [...under.querySelectorAll(selector)];

// Times are told by the service's clock, whatever the one here says.
const aheadOf = (page) => Number(page.body.dataset.now) - Date.now();
let ahead_ms = aheadOf(document);
function ago(then) {
  const since = (Date.now() + ahead_ms - then) / 1000, seconds = Math.abs(since);
  const told = (number, unit) => (since < 0 ? `in ${number} ${unit}` : `${number} ${unit} ago`);
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]])
    if (seconds >= length) return told(Math.floor(seconds / length), unit);
  return seconds < 10 ? "just now" : told(Math.floor(seconds), "s");
}

function tellTimes(under = document) {
  for (const time of all("time[datetime]", under)) {
    const then = new Date(time.dateTime);
    time.title = "clock" in time.dataset ? ago(then) : then.toLocaleString();
    time.textContent = "clock" in time.dataset ? then.toLocaleString([], { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" }) : ago(then);
  }
}

// A live part is made like a fresh one. What is in both stays the element that it was: a clip plays on, the focus stays.
const keyOf = (node) => node.id || node.dataset?.video || ["action", "href", "src"].map((name) => node.getAttribute?.(name)).find(Boolean)
  || (node.nodeName === "LI" && node.querySelector("a")?.getAttribute("href"));
const isBroken = (node) => node.error || (node.matches?.("img:not([data-preview])") && node.complete && !node.naturalWidth);
const isAlike = (one, other) => one.nodeName === other.nodeName && keyOf(one) === keyOf(other) && !isBroken(one);
function become(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) { if (old.data !== fresh.data) old.data = fresh.data; return; }
  if (old.matches("video, img[data-preview]") || "kept" in fresh.dataset) return;  // these are what they play and last showed
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const left = [...old.childNodes].filter((one) => !("added" in (one.dataset ?? {})));
  const pairs = [...fresh.childNodes].map((next) => {
    const place = left.findIndex((one) => isAlike(one, next));
    return [place < 0 ? null : left.splice(place, 1)[0], next];
  });
  for (const gone of left) gone.remove();
  let at = old.firstChild;
  for (const [same, next] of pairs) {
    if (same && same === at) at = at.nextSibling;
    else old.insertBefore(same ?? next, at);
    if (same) become(same, next);
  }
}

// What has the focus may go: then its like elsewhere has it, else what came into the place of its row.
const linksOfRows = () => all("[data-row] a, a[data-row]").filter((link) => link.matches("[data-row], .prompt"));
function keepFocus(change) {
  const at = document.activeElement, link = at?.getAttribute("href"), row = at?.closest("li[data-row]");
  const like = at?.id ? `#${CSS.escape(at.id)}` : link && `a[href="${CSS.escape(link)}"]`;
  const place = linksOfRows().findIndex((one) => row?.contains(one));
  change();
  if (!at || at.isConnected) return;
  const rows = linksOfRows();
  ((like && document.querySelector(like)) ?? rows[Math.min(place, rows.length - 1)])?.focus();
}

// Looks at the page anew, one look at a time, and no more often than the answers take.
const SLOWEST_MS = 20000;
const needsKey = (answer) => answer.redirected && new URL(answer.url).pathname === `${ROOT}/signin`;
let due = null, isLooking = false, isStale = false, took_ms = 0;
function refresh(after_ms = 300) {
  if (isLooking) isStale = true;
  else due ??= setTimeout(look, Math.max(after_ms, Math.min(took_ms, 5000)));
}
async function look() {
  due = null;
  if (!document.querySelector("[data-live]")) return;
  const began = performance.now();
  isLooking = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(SLOWEST_MS) });
    if (answer.status >= 500) silent();
    else if (needsKey(answer)) signedOut();
    else show(await read(answer), answer.ok);
  } catch { silent(); }
  isLooking = false;
  took_ms = performance.now() - began;
  if (isStale) { isStale = false; refresh(); }
}
async function read(answer) {
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  ahead_ms = aheadOf(fresh);
  tellTimes(fresh);
  return fresh;
}
// What a wall fetched behind the part that is looked at stays as it is, and so does the link to what follows.
function keepTail(fresh) {
  const wall = fresh.getElementById("wall"), more = fresh.getElementById("more"), last = wall?.lastElementChild?.id;
  const tail = more ? all(`#${CSS.escape(last)} ~ li`) : [];
  const stub = (node) => { const kept = node.cloneNode(); kept.dataset.kept = ""; return kept; };
  if (!tail.length) return;
  wall.append(...tail.map(stub));
  const next = document.getElementById("more");
  if (next) more.replaceWith(stub(next)); else more.remove();
}
function show(fresh, isThere) {
  answered();
  const token = fresh.querySelector("[name=token]")?.value;  // another tab, or an end of the cookie, may have changed it
  if (token) for (const field of all("[name=token]")) field.value = token;
  keepTail(fresh);
  keepFocus(() => {
    if (isThere) for (const old of all("[data-live]")) { const now = fresh.getElementById(old.id); if (now) become(old, now); }
    else {  // it is gone, which no later look changes
      become(document.getElementById("main"), fresh.getElementById("main"));
      for (const old of all("[data-live]")) old.removeAttribute("data-live");
    }
  });
  watch();
}

// What runs shows what it is becoming; while there is no picture, nothing.
function sketch(shown, step) {
  const next = new Image();
  next.onload = () => { shown.src = next.src; shown.hidden = false; };
  next.src = `${shown.dataset.preview}?step=${step}`;
}

const known = new Map();
function heard(video) {
  const before = known.get(video.id);
  known.set(video.id, video.status);
  for (const row of all(`[data-video="${CSS.escape(video.id)}"]`)) {
    const bar = row.querySelector("progress");
    if (bar) Object.assign(bar, { value: video.progress, className: `work ${video.path ?? ""}` });
    const shown = row.querySelector("img[data-preview]");
    if (shown && video.status === "in_progress" && video.step) sketch(shown, video.step);
    const step = row.querySelector("[data-step]");
    if (step && video.step !== null) step.textContent = `step ${video.step} of ${video.num_steps}`;
  }
  if (video.status === "in_progress") {
    const line = document.querySelector(".hairline");
    if (line) Object.assign(line, { value: video.progress, className: `hairline ${video.path ?? ""}` });
  }
  if (before !== video.status) {
    if (ENDED.includes(video.status) && !video.batch_id) say(`${video.status}: ${video.prompt.slice(0, 80)}`);
    refresh();
  }
}

function say(text) { const live = document.getElementById("said"); if (live) live.textContent = text; }

// While nothing answers, the page says since when; whose key has ended is told so, and keeps what is on the page.
const note = document.getElementById("lost");
let silentSince = null, telling = null;
function silent() {
  if (silentSince) return;
  silentSince = new Date();
  telling = setTimeout(() => { note.textContent = `No answer since ${silentSince.toLocaleTimeString()}; trying again`; note.hidden = false; }, 5000);
}
function answered() { clearTimeout(telling); silentSince = null; note.hidden = true; }
function signedOut() {
  answered();
  const link = Object.assign(document.createElement("a"), { href: `${ROOT}/signin`, target: "_blank", textContent: "Sign in" });
  note.replaceChildren("This key is signed out, has expired or was revoked. ", link);
  note.hidden = false;
}

// One stream for all tabs where the browser can share it, else one a tab. The browser brings back one that breaks off, and we one that was refused.
let source = null;
const channel = "BroadcastChannel" in window ? new BroadcastChannel(`chai${ROOT}`) : null;
const spread = (message) => { take(message); channel?.postMessage(message); };
function listen(opened = "open") {
  source = new EventSource(`${ROOT}/v1/events`);
  source.onopen = () => spread({ kind: opened });
  source.onerror = () => {
    const isRefused = source.readyState === EventSource.CLOSED;
    spread({ kind: isRefused ? "reload" : "lost" });
    if (isRefused) setTimeout(() => listen("reload"), 5000);  // nobody tells what it has missed
  };
  source.addEventListener("video", (event) => spread({ kind: "video", video: JSON.parse(event.data) }));
  source.addEventListener("video.deleted", (event) => spread({ kind: "deleted", id: JSON.parse(event.data).id }));
  source.addEventListener("reload", () => spread({ kind: "reload" }));
}
function follow(opened) {
  listen(opened);
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) { listen("reload"); refresh(0); } });
}
function take({ kind, video, id }) {
  if (kind === "video") return heard(video);
  if (kind === "lost") return silent();
  if (kind === "open" && !silentSince && note.hidden) return;
  if (kind === "deleted") keepFocus(() => document.querySelector(`#wall > [data-video="${CSS.escape(id)}"]`)?.remove());
  refresh();
}
if (document.body.dataset.follows === "yes") {
  if (navigator.locks && channel) {
    channel.onmessage = (event) => take(event.data);
    const lead = (opened) => new Promise(() => follow(opened));  // until the tab closes; who follows it looks anew
    const wait = () => navigator.locks.request(`chai-events${ROOT}`, () => lead("reload"));
    navigator.locks.request(`chai-events${ROOT}`, { ifAvailable: true }, (lock) => (lock ? lead("open") : wait())).catch(() => {});
  } else follow();
  setInterval(() => { if (!document.hidden) refresh(0); }, 10000);
}

// A poster becomes its clip while it is pointed at. Clips without one are fetched when they come into sight.
const inSight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) { target.src = target.dataset.src; inSight.unobserve(target); }
}, { rootMargin: "200px" });
function clipOf(element) {
  const frame = element?.closest?.("[data-row]")?.querySelector(".frame");
  const poster = frame?.querySelector("img[data-clip]");
  if (poster && !frame.querySelector("video")) {
    const clip = Object.assign(document.createElement("video"), { src: poster.dataset.clip, muted: true, loop: true, playsInline: true, tabIndex: -1, poster: poster.src });
    clip.dataset.added = "";
    clip.setAttribute("aria-hidden", "true");
    frame.append(clip);
  }
  return frame?.querySelector("video");
}
function rest(row) {
  const clip = row.querySelector(".frame video");
  if (!clip) return;
  clip.pause();
  if (row.querySelector("img[data-clip]")) clip.remove();
}
const rowOf = (element) => element?.closest?.("li[data-row]");
const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;  // then nothing plays that nobody started
if (isStill) for (const clip of all("video[autoplay]")) { clip.autoplay = false; clip.pause(); }
else for (const kind of ["pointerover", "focusin"]) document.addEventListener(kind, (event) => clipOf(event.target)?.play().catch(() => {}));
for (const kind of ["pointerout", "focusout"]) document.addEventListener(kind, (event) => { const row = rowOf(event.target); if (row && row !== rowOf(event.relatedTarget)) rest(row); });

// The next page of the wall, before its end comes into sight.
const atEnd = new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) goOn(); }, { rootMargin: "600px" });
let going = null;
const goOn = () => (going ??= addPage(document.getElementById("more")).finally(() => { going = null; }));
async function addPage(more) {
  if (!more) return;
  const answer = await fetch(more.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || needsKey(answer)) return setTimeout(() => { atEnd.unobserve(more); atEnd.observe(more); }, 3000);
  const fresh = await read(answer);
  document.getElementById("wall").append(...[...fresh.getElementById("wall").children].filter((card) => !document.getElementById(card.id)));
  const next = fresh.getElementById("more");
  if (next) more.replaceWith(next); else more.remove();
  watch();
}

// Who comes back to a wall finds it as long as it was, and the place.
const numCards = () => document.getElementById("wall")?.children.length ?? 0;
addEventListener("pagehide", () => history.replaceState({ num: numCards(), top: scrollY }, ""));
async function comeBack({ num, top }) {
  for (let before = 0; before < numCards() && numCards() < num;) { before = numCards(); await goOn(); }
  scrollTo(0, top);
}

// What came with the page, or with a look at it, is taken care of.
function watch() {
  for (const clip of all("video[data-src]:not([src])")) inSight.observe(clip);
  for (const more of all("#more")) atEnd.observe(more);
  for (const shown of all("img[data-preview][hidden]")) sketch(shown, 0);
}

// What the cache would do with the prompt, before it is sent.
const form = document.getElementById("make"), would = document.getElementById("would");
let asking = null, ask = null;
function chip(text, kind, means, href) {
  const made = Object.assign(document.createElement(href ? "a" : "span"), { className: `chip ${kind}`, textContent: text, title: means });
  if (href) {  // the clip that it comes from, once it is pointed at
    made.href = `${ROOT}${href}`;
    made.append(Object.assign(document.createElement("img"), { loading: "lazy", alt: "", src: `${ROOT}/v1${href}/content?variant=thumbnail`, onerror() { this.remove(); } }));
  }
  const hidden = Object.assign(document.createElement("span"), { className: "hidden", textContent: ` (${means})` });
  made.append(hidden);
  return made;
}
const lasts = (seconds) => (seconds < 10 ? seconds.toFixed(2) : Math.round(seconds)) + " s";
function tell(said) {
  const known = new Map(said.matched.map((match) => [match.entity, match]));
  const chips = document.createElement("p");
  for (const entity of said.entities) {
    const match = known.get(entity.text);
    const like = match?.donor_entity && match.donor_entity !== entity.text ? ` as ${match.donor_entity}` : "";
    chips.append(chip(entity.text, match ? "known" : "new", match ? `made before${like}, ${Math.round(match.similarity * 100)} % alike` : "new", match?.donor && `/videos/${match.donor}`));
  }
  for (const word of said.excluded) chips.append(chip(word, "out", "excluded"));
  for (const word of said.unread) chips.append(chip(word, "unread", "not read by the model"));
  const plan = document.createElement("p");
  const all = said.steps + said.steps_saved;
  const word = Object.assign(document.createElement("strong"), { className: said.path, textContent: said.path === "fast" ? "Fast" : "Full" });
  const takes = said.seconds === null ? "" : ` About ${lasts(said.seconds)}${said.path === "fast" && said.full_seconds ? ` instead of ${lasts(said.full_seconds)}` : ""}, as recent ones took; the wait before comes on top.`;
  plan.append(word, `: ${said.steps}${said.steps_saved > 0 ? ` of ${all}` : ""} steps. ${said.explanation}${takes}`);
  would.className = `would ${said.path}`;
  would.replaceChildren(chips, plan);
}
async function wonder() {
  ask?.abort();
  if (!form.prompt.value.trim()) { would.hidden = true; return; }
  ask = new AbortController();
  try {
    const answer = await fetch(`${ROOT}/v1/cache/try`, { method: "POST", body: new URLSearchParams(fieldsOf(form)), signal: ask.signal });
    const said = await answer.json();
    const mistake = document.getElementById("mistake");
    if (answer.ok) {
      tell(said);
      mistake?.remove();
      for (const field of all("[aria-invalid]", form)) field.removeAttribute("aria-invalid");
    } else { would.className = "would"; would.textContent = said.error.message; }
    would.hidden = !answer.ok && !!mistake?.textContent.includes(said.error.message);
  } catch { /* another question took its place, or the service is away, which the stream says */ }
}

// What was typed and not sent is there again after a reload, or another view; a link that says what to ask for goes before.
const fieldsOf = (form) => Object.fromEntries([...new FormData(form)].filter(([name]) => !["token", "once"].includes(name)));
function takeUp() {
  if (location.search) return;
  for (const [name, value] of Object.entries(JSON.parse(sessionStorage.getItem("draft") ?? "{}"))) if (form[name]) form[name].value = value;
}
if (form) {
  takeUp();
  const later = () => { clearTimeout(asking); asking = setTimeout(wonder, 400); };
  const kept = () => { sessionStorage.setItem("draft", JSON.stringify(fieldsOf(form))); later(); };
  for (const kind of ["input", "change"]) form.addEventListener(kind, kept);
  if (form.prompt.value) later();
}

// The note offers one thing for ten seconds, fewer where another takes its place: then it is over. `press` is or holds its button.
let offered = null;
function offer(action, words, press, over, told = () => "") {
  offered?.end();
  const said = document.getElementById("undo"), count = Object.assign(document.createElement("span"), { textContent: told(10) });
  let left = 10;
  const stop = () => { clearInterval(tick); said.hidden = true; offered = null; };
  const end = () => { stop(); over(); };
  const tick = setInterval(() => { left -= 1; count.textContent = told(left); if (left <= 0) end(); }, 1000);
  offered = { action, end };
  press.addEventListener("click", stop);
  count.setAttribute("aria-hidden", "true");
  said.replaceChildren(words, count, press);
  said.hidden = false;
}
const post = (asked) => fetch(asked.action, { method: "POST", body: asked.body }).catch(() => null);
async function sent(asked) {
  const answer = await post(asked);
  if (answer?.ok && !needsKey(answer)) return answer.url;
  await refused(answer);
  return null;
}
async function refused(answer) {
  if (answer && needsKey(answer)) signedOut();
  const why = answer && !answer.ok ? (await read(answer)).querySelector(".banner.bad")?.textContent : "";
  const close = Object.assign(document.createElement("button"), { textContent: "Close" });
  refresh(0);
  offer(null, `That was not done${why ? `: ${why}` : "; try again"}. `, close, () => {});
}

// What was typed stays until it is accepted, whatever becomes of the line, the service or the key; a mistake is shown beside it.
async function make(asked) {
  const answer = await post(asked);
  if (answer?.ok && !needsKey(answer)) { sessionStorage.removeItem("draft"); return location.assign(answer.url); }
  const again = answer?.status === 400 && (await read(answer.clone())).getElementById("make");
  if (!again) return refused(answer);
  become(form, again);
  form.querySelector("[aria-invalid]")?.focus();
}
addEventListener("pageshow", (event) => { if (event.persisted && form) form.once.value += "+"; });  // who comes back asks anew

// What destroys waits for these seconds, in which it can be taken back; who leaves the page has taken it back. The same again changes nothing.
// It is sent as it was asked for, for what is live may have replaced the form.
function destroyLater(asked, words) {
  if (offered?.action === asked.action) return;
  const over = async () => { const next = await sent(asked); if (next && !offered) location.assign(next); };
  offer(asked.action, words, Object.assign(document.createElement("button"), { textContent: "Undo" }), over, (left) => ` in ${left} s. `);
}

// A video is cancelled at once, for somebody may wait for its GPU; what the note offers is the same from the start, behind what waits.
async function cancelNow(asked, cancel) {
  const again = cancel.cloneNode(true);
  again.setAttribute("action", again.dataset.again);
  for (const name of ["again", "cancel"]) delete again.dataset[name];
  Object.assign(again.querySelector("button"), { id: "", textContent: "The same again" });
  if (!(await sent(asked))) return;
  offer(asked.action, "The video is cancelled. ", again, () => {});
  refresh(0);
}
document.addEventListener("submit", (event) => {
  const form = event.target, { undo, again } = form.dataset;
  if (form.getAttribute("action") === `${ROOT}/signout`) sessionStorage.removeItem("draft");
  if (!undo && !again && form.id !== "make") return;
  event.preventDefault();
  const asked = { action: form.getAttribute("action"), body: new URLSearchParams(new FormData(form)) };
  if (undo) destroyLater(asked, undo); else if (again) cancelNow(asked, form); else make(asked);
});

const PLACES = { m: "/", q: "/queue", l: "/library", n: "/nights", s: "/cache", w: "/workers" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") || event.target.matches("input, textarea, select")) return;
  const rows = linksOfRows();
  const here = rows.indexOf(document.activeElement);
  if (event.key === "?") document.getElementById("help").showModal();
  else if (event.key === "/") { event.preventDefault(); const find = document.getElementById("q"); find?.offsetParent ? find.focus() : location.assign(`${ROOT}/library#q`); }
  else if (event.key === "j") rows[Math.min(here + 1, rows.length - 1)]?.focus();
  else if (event.key === "k") rows[Math.max(here - 1, 0)]?.focus();
  else if (event.key === " " && clipOf(document.activeElement)) { event.preventDefault(); const clip = clipOf(document.activeElement); clip.paused ? clip.play() : clip.pause(); }
  else if (event.key === "c") { const form = document.activeElement.closest("[data-row]")?.querySelector("form[data-cancel]") ?? document.querySelector("main[data-one] form[data-cancel]"); form?.requestSubmit(); }
  else if (PLACES[event.key]) location.assign(ROOT + PLACES[event.key]);
});

document.getElementById("theme")?.addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});
document.getElementById("ask")?.addEventListener("click", () => document.getElementById("help").showModal());
if (location.hash === "#q") document.getElementById("q")?.focus();
for (const zone of all("input[data-zone]")) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || zone.value;
tellTimes();
setInterval(tellTimes, 15000);
watch();
if (numCards() && history.state) comeBack(history.state);
