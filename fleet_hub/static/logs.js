/* What scripts add to lists of log lines: a drag over the histogram sets the time, by mouse, touch and keyboard;
 * a row that is opened gets its fields from the line's own page; and buttons copy a line. */
const DRAG_PX = 5;              /* less is a click */

function tag(name, properties, ...children) {
	const element = Object.assign(document.createElement(name), properties);
	element.append(...children);
	return element;
}

/* ---- the histogram ---------------------------------------------------------------------- */
const bars = (zoom) => [...zoom.querySelectorAll(".hist a")];
const clock = (ms) => new Date(ms).toISOString().slice(11, 19);
const day = (ms) => new Date(ms).toISOString().slice(5, 10);

function go(from, to) {
	const url = new URL(location.href);
	for (const name of ["range", "before", "after"])
		url.searchParams.delete(name);
	url.searchParams.set("from", new Date(from).toISOString());
	url.searchParams.set("to", new Date(to).toISOString());
	location.href = url;
}

/* The part of the histogram that is chosen, between two times in milliseconds. */
function choose(zoom, from, to) {
	const begin = Date.parse(zoom.dataset.from), span = Date.parse(zoom.dataset.to) - begin;
	const long = span > 72e6, said = (ms) => (long ? day(ms) + " " : "") + clock(ms);
	let mark = zoom.querySelector(".mark");
	if (!mark) {
		mark = tag("div", { className: "mark" });
		zoom.append(mark, tag("output", { className: "said" }));
	}
	zoom.classList.add("busy");
	zoom.chosen = [from, to];
	mark.style.left = `${(from - begin) / span * 100}%`;
	mark.style.width = `${(to - from) / span * 100}%`;
	zoom.querySelector(".said").textContent = `${said(from)} to ${said(to)}`;
}

function forget(zoom) {
	zoom?.classList.remove("busy");
	delete zoom?.chosen;
	zoom?.querySelectorAll(".mark, .said").forEach((e) => e.remove());
}

function timeAt(zoom, x) {
	const box = zoom.querySelector(".hist").getBoundingClientRect(), begin = Date.parse(zoom.dataset.from);
	const part = Math.min(Math.max((x - box.left) / box.width, 0), 1);
	return Math.round(begin + part * (Date.parse(zoom.dataset.to) - begin));
}

function startDrags(found) {
	let drag = null;
	found.addEventListener("pointerdown", (event) => {
		const zoom = event.target.closest(".zoom");
		if (zoom && event.isPrimary && event.button === 0)
			drag = { zoom, id: event.pointerId, x: event.clientX, moved: false };
	});
	found.addEventListener("pointermove", (event) => {
		if (!drag || event.pointerId !== drag.id)
			return;
		if (!drag.moved && Math.abs(event.clientX - drag.x) < DRAG_PX)
			return;
		if (!drag.moved)
			drag.zoom.setPointerCapture(drag.id);
		drag.moved = true;
		const ends = [drag.x, event.clientX].sort((a, b) => a - b);
		choose(drag.zoom, ...ends.map((x) => timeAt(drag.zoom, x)));
	});
	found.addEventListener("pointerup", (event) => {
		const done = drag;
		drag = null;
		if (!done?.moved || event.pointerId !== done.id)
			return;
		/* The click that follows would open the bar where the drag ended. */
		addEventListener("click", (click) => click.preventDefault(), { capture: true, once: true });
		setTimeout(() => go(...done.zoom.chosen), 0);
	});
	const cancel = () => { forget(drag?.zoom); drag = null; };
	found.addEventListener("pointercancel", cancel);
	found.addEventListener("dragstart", (event) => event.target.closest(".zoom") && event.preventDefault());
	return cancel;
}

/* One bar is in the order of Tab; arrows lead to the others, with Shift they choose all on the way. */
function roam(found) {
	const zoom = found.querySelector(".zoom"), all = zoom ? bars(zoom) : [];
	const current = all.find((bar) => bar === document.activeElement) ?? all.at(-1);
	for (const bar of all)
		bar.setAttribute("tabindex", bar === current ? "0" : "-1");
}

function moveTo(zoom, bar, extend) {
	const all = bars(zoom), old = document.activeElement;
	if (!bar)
		return;
	if (extend) {
		zoom.anchor ??= old;
		const [a, b] = [all.indexOf(zoom.anchor), all.indexOf(bar)].sort((x, y) => x - y);
		choose(zoom, Date.parse(all[a].dataset.from), Date.parse(all[b].dataset.to));
	} else {
		delete zoom.anchor;
		forget(zoom);
	}
	for (const other of all)
		other.setAttribute("tabindex", other === bar ? "0" : "-1");
	bar.focus();
}

function startKeys(found, cancel) {
	const leads = { ArrowLeft: (all, i) => all[i - 1], ArrowRight: (all, i) => all[i + 1],
		Home: (all) => all[0], End: (all) => all.at(-1) };
	found.addEventListener("keydown", (event) => {
		const zoom = event.target.closest(".zoom");
		if (!zoom)
			return;
		const all = bars(zoom), lead = leads[event.key];
		if (lead) {
			moveTo(zoom, lead(all, all.indexOf(event.target.closest("a"))), event.shiftKey);
		} else if (event.key === "Enter" && zoom.chosen) {
			go(...zoom.chosen);
		} else if (event.key === "Escape" && zoom.chosen) {
			delete zoom.anchor;
			forget(zoom);
		} else {
			return;
		}
		event.preventDefault();
	});
	addEventListener("keydown", (event) => event.key === "Escape" && cancel());
	document.addEventListener("observ:refreshed", () => roam(found));
	roam(found);
}

/* ---- copies ------------------------------------------------------------------------------- */
async function wholeLine(address) {
	const answer = await fetch(address + "&format=json");
	if (!answer.ok)
		throw new Error(answer.status);
	return (await answer.json()).line;
}

const copies = {
	message: async (address) => (await wholeLine(address)).message,
	JSON: async (address) => JSON.stringify(await wholeLine(address), null, 2),
	link: async (address) => new URL(address, location.href).href,
};

/* Where the page came over plain HTTP from another machine, there is no clipboard but the old one. */
async function toClipboard(text) {
	if (navigator.clipboard)
		return navigator.clipboard.writeText(text);
	const area = document.body.appendChild(tag("textarea", { value: text, className: "unseen" }));
	area.select();
	const done = document.execCommand("copy");
	area.remove();
	if (!done)
		throw new Error("refused");
}

async function copy(button) {
	const place = button.closest(".copy"), what = button.dataset.copy;
	let said = place.querySelector("output");
	said ??= place.appendChild(tag("output"));
	try {
		await toClipboard(await copies[what](place.dataset.line));
		said.textContent = `${what} copied`;
	} catch {
		said.textContent = `${what} not copied: the hub or the browser refused`;
	}
}

/* ---- the fields of a row --------------------------------------------------------------------- */
/* The line's own page. "list" and the query with it make + and - change the query of this list. */
function pageOf(link) {
	const url = new URL(link.href);
	if (location.pathname.endsWith("/logs")) {
		for (const [name, value] of new URLSearchParams(location.search))
			if (!["before", "after", "id", "at"].includes(name))
				url.searchParams.append(name, value);
		url.searchParams.set("list", "yes");
	}
	return url;
}

async function addFields(row) {
	const place = row.querySelector(".detail"), link = place.querySelector(".alone");
	if (!link || place.ariaBusy)
		return;
	place.ariaBusy = "true";
	try {
		const answer = await fetch(pageOf(link));
		if (!answer.ok)
			throw new Error(answer.status);
		const page = new DOMParser().parseFromString(await answer.text(), "text/html");
		const whole = document.adoptNode(page.querySelector(".detail"));
		whole.querySelector(".acts").prepend(link);
		place.replaceChildren(...whole.childNodes);
		place.ariaBusy = "false";
	} catch {
		place.ariaBusy = null;          /* the next time that it opens */
	}
}

export function start(part) {
	part.addEventListener("click", (event) => {
		const button = event.target.closest("[data-copy]");
		if (button)
			copy(button);
	});
	part.addEventListener("toggle", (event) => event.target.matches(".msg > details[open]") && addFields(event.target), true);
	if (part.querySelector(".zoom"))
		startKeys(part, startDrags(part));
	part.dataset.started = "yes";
}
