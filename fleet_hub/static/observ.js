/* What scripts add to the pages: live refresh, keys, charts. Everything works without. */
document.documentElement.classList.add("scripts");

const live = document.getElementById("live");
const every = 10000;

/* ---- live refresh: the page again, its data-live parts swapped in -------------------- */
const mayRefresh = () => live && live.getAttribute("aria-pressed") === "true" && !document.hidden
	&& !document.querySelector(".msg > details[open], .menu[open], .zoom.busy") && getSelection().isCollapsed;

function identity(element) {
	const row = element.closest(".row"), href = element.getAttribute("href");
	if (element.id)
		return "#" + CSS.escape(element.id);
	if (row && href)
		return `[href="${CSS.escape(href)}"]`;
	return row?.dataset.line && element.matches("summary") ? `[data-line="${row.dataset.line}"] summary` : null;
}

function swap(fresh) {
	const icon = document.querySelector('link[rel="icon"]'), other_icon = fresh.querySelector('link[rel="icon"]');
	document.title = fresh.title;
	if (other_icon && icon.getAttribute("href") !== other_icon.getAttribute("href"))
		icon.replaceWith(document.adoptNode(other_icon));
	for (const part of document.querySelectorAll("[data-live]")) {
		const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
		if (!other || other.outerHTML === part.outerHTML)
			continue;
		for (const kept of part.querySelectorAll("details[data-keep]")) {
			const same = other.querySelector(`details[data-keep="${CSS.escape(kept.dataset.keep)}"]`);
			if (same)
				same.open = kept.open;
		}
		const focused = part.contains(document.activeElement) ? identity(document.activeElement) : null;
		part.replaceWith(document.adoptNode(other));
		if (focused)
			other.querySelector(focused)?.focus({ preventScroll: true });
	}
}

async function refresh() {
	if (!mayRefresh())
		return;
	try {
		const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
		if (!answer.ok)
			throw new Error(answer.status);
		swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
		live.lastElementChild.textContent = "live";
		document.dispatchEvent(new Event("observ:refreshed"));
	} catch {
		live.lastElementChild.textContent = "no answer";
	}
}

function toggleLive() {
	const on = live.getAttribute("aria-pressed") !== "true";
	live.setAttribute("aria-pressed", String(on));
	if (on)
		refresh();
}

/* A page of the past does not change. */
const query = new URLSearchParams(location.search);
if (live && document.querySelector("[data-live]") && !["before", "after", "to"].some((k) => query.has(k))) {
	live.hidden = false;
	live.addEventListener("click", toggleLive);
	setInterval(refresh, every);
	document.addEventListener("visibilitychange", refresh);
}

/* ---- keys ------------------------------------------------------------------------------ */
const base = document.body.dataset.base;
const go = (path) => { location.href = base + path; };
let pending = "";

function step(by) {
	const rows = [...document.querySelectorAll(".row")].map((row) => row.querySelector("a.go, summary")).filter(Boolean);
	const at = rows.findIndex((link) => link.closest(".row").contains(document.activeElement));
	rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1)]?.focus();
}

const keys = {
	"/": () => document.getElementById("q")?.focus(),
	"?": () => go("/help"),
	"g f": () => go("/"),
	"g l": () => go("/logs"),
	j: () => step(1),
	k: () => step(-1),
	r: () => live && !live.hidden && toggleLive(),
};

/* A menu closes when something else is chosen. Its summary keeps the focus that was within. */
function closeMenus(but) {
	for (const menu of document.querySelectorAll(".menu[open]")) {
		if (menu === but)
			continue;
		if (menu.contains(document.activeElement))
			menu.firstElementChild.focus();
		menu.open = false;
	}
}

document.addEventListener("click", (event) => closeMenus(event.target.closest(".menu")));

document.addEventListener("keydown", (event) => {
	const typing = event.target.matches("input, textarea, select");
	if (event.defaultPrevented)
		return;
	if (event.key === "Escape" && typing)
		event.target.blur();
	if (event.key === "Escape")
		closeMenus(null);
	if (typing || event.ctrlKey || event.metaKey || event.altKey)
		return;
	const key = pending ? pending + " " + event.key : event.key;
	pending = event.key === "g" && !pending ? "g" : "";
	if (keys[key]) {
		event.preventDefault();
		keys[key]();
	}
});

/* ---- what only some pages have ----------------------------------------------------------- */
const charts = document.getElementById("charts");
if (charts?.querySelector(".chart"))
	import(charts.dataset.script).then((module) => module.draw(charts));
for (const part of document.querySelectorAll("[data-script]:not(#charts)"))
	import(part.dataset.script).then((module) => module.start(part));
