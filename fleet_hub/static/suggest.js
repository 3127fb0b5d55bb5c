/* The search box as a combobox: it suggests how the term at the cursor may go on, and remembers searches in this
 * browser. */
const WAIT_MS = 120;            /* after a key */
const REMEMBERED = 20;          /* searches */
const STORE = "observ.searches";

/* ---- searches of before --------------------------------------------------------------------- */
function remembered() {
	try {
		const list = JSON.parse(localStorage.getItem(STORE) ?? "[]");
		return Array.isArray(list) ? list.filter((q) => typeof q === "string").slice(0, REMEMBERED) : [];
	} catch {
		return [];
	}
}

function remember(list) {
	try {
		localStorage.setItem(STORE, JSON.stringify(list));
	} catch { /* a browser that keeps nothing */ }
}

function linkTo(q) {
	const url = new URL(location.href);
	for (const name of ["before", "after"])
		url.searchParams.delete(name);
	url.searchParams.set("q", q);
	return url.pathname + url.search;
}

function showHistory(menu) {
	const items = remembered().map((q) => {
		const link = Object.assign(document.createElement("a"), { href: linkTo(q), textContent: q });
		const item = document.createElement("li");
		item.append(link);
		return item;
	});
	menu.querySelector("ul").replaceChildren(...items);
	menu.querySelector(".none").hidden = items.length > 0;
	menu.querySelector("button").hidden = items.length === 0;
}

function startHistory(menu) {
	const q = new URLSearchParams(location.search).get("q")?.trim();
	if (q)
		remember([q, ...remembered().filter((old) => old !== q)].slice(0, REMEMBERED));
	menu.addEventListener("toggle", () => showHistory(menu));
	menu.querySelector("button").addEventListener("click", () => {
		try {
			localStorage.removeItem(STORE);
		} catch { /* there is none */ }
		showHistory(menu);
		menu.querySelector("summary").focus();
	});
}

/* ---- the term at the cursor --------------------------------------------------------------------- */
/* Where the term before `end` begins: behind a blank or parenthesis that stands outside of quotes, and behind the
 * minus of it. */
function termStart(text, end) {
	let start = 0, quoted = false;
	for (let i = 0; i < end; i++) {
		if (quoted && text[i] === "\\")
			i++;
		else if (text[i] === '"' && (quoted || i === start || ":=<>.".includes(text[i - 1])))
			quoted = !quoted;
		else if (!quoted && (/\s/.test(text[i]) || (i === start && "(-".includes(text[i]))))
			start = i + 1;
	}
	return Math.min(start, end);
}

const unquoted = (text) => text.replace(/^"/, "").replace(/"$/, "").replace(/\\(["\\])/g, "$1");

/* What to ask the hub for: the field and its value, or the beginning of a term. */
function asked(term) {
	const field = /^(level|app|vps|server|host|logger|ctx\.(?:"(?:[^"\\]|\\.)*"|[^"\s:=<>!]+))(!=|[<>]=?|[:=])/i.exec(term);
	if (!field)
		return { field: "", value: term, op: "" };
	const name = field[1].startsWith("ctx.") ? "ctx." + unquoted(field[1].slice(4)) : field[1];
	return { field: name, value: unquoted(term.slice(field[0].length)), op: field[0] };
}

/* The suggestion with the operator that was typed: app!=shop, level>=ERROR. */
function completed(item, op) {
	const own = /^(?:ctx\."(?:[^"\\]|\\.)*"|[^:="]*)[:=]/.exec(item.text)?.[0] ?? "";
	return op ? op + item.text.slice(own.length) : item.text;
}

/* ---- the combobox ----------------------------------------------------------------------------------- */
class Combobox {
	constructor(input) {
		this.input = input;
		this.items = [];
		this.at = -1;
		this.list = Object.assign(document.createElement("ul"), { id: "suggestions", hidden: true });
		this.list.setAttribute("role", "listbox");
		this.list.setAttribute("aria-label", "Suggestions");
		for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list",
			"aria-expanded": "false", "aria-controls": this.list.id }))
			input.setAttribute(name, value);
		input.after(this.list);
		input.addEventListener("input", () => this.later());
		input.addEventListener("keydown", (event) => this.key(event));
		input.addEventListener("blur", () => this.close());
		this.list.addEventListener("pointerdown", (event) => event.preventDefault());
		this.list.addEventListener("click", (event) => {
			const option = event.target.closest("[role=option]");
			if (option)
				this.take([...this.list.children].indexOf(option));
		});
	}

	/* Until the hub answers, the list has what still fits. */
	later() {
		const { start, end, term } = this.term();
		clearTimeout(this.timer);
		this.stop?.abort();
		if (!this.list.hidden)
			this.show(this.items.filter((item) => item.text.toLowerCase().includes(term.toLowerCase())), start, end);
		this.timer = setTimeout(() => this.ask(), WAIT_MS);
	}

	term() {
		const end = this.input.selectionStart, start = termStart(this.input.value, end);
		return { start, end, term: this.input.value.slice(start, end) };
	}

	async ask() {
		const { start, end, term } = this.term();
		this.stop?.abort();
		if (!this.input.value.trim())
			return this.show(remembered().map((text) => ({ text, whole: true })), 0, this.input.value.length);
		if (!term)
			return this.close();
		const { field, value, op } = asked(term);
		this.stop = new AbortController();
		try {
			const answer = await fetch(`${this.input.dataset.suggest}?${new URLSearchParams({ field, value })}`,
				{ signal: this.stop.signal });
			if (!answer.ok)
				throw new Error(answer.status);
			const { items } = await answer.json();
			this.show(items.map((item) => ({ ...item, text: completed(item, op) })), start, end);
		} catch (error) {
			if (error.name !== "AbortError")
				this.close();
		}
	}

	show(items, start, end) {
		const typed = this.input.value.slice(start, end);
		this.items = items.filter((item) => item.text !== typed);
		this.from = start;
		this.to = end;
		this.at = -1;
		this.list.replaceChildren(...this.items.map((item, i) => {
			const option = Object.assign(document.createElement("li"), { id: `suggestion-${i}` });
			option.setAttribute("role", "option");
			option.setAttribute("aria-selected", "false");
			option.append(Object.assign(document.createElement("span"), { textContent: item.text }));
			if (item.n)
				option.append(Object.assign(document.createElement("em"), { textContent: item.n.toLocaleString("en") }));
			return option;
		}));
		const open = this.items.length > 0 && document.activeElement === this.input;
		this.list.hidden = !open;
		this.input.setAttribute("aria-expanded", String(open));
		this.mark(-1);
	}

	close() {
		clearTimeout(this.timer);
		this.stop?.abort();
		this.items = [];
		this.list.hidden = true;
		this.input.setAttribute("aria-expanded", "false");
		this.mark(-1);
	}

	mark(at) {
		this.at = at;
		[...this.list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === at)));
		if (at < 0)
			return this.input.removeAttribute("aria-activedescendant");
		this.input.setAttribute("aria-activedescendant", `suggestion-${at}`);
		this.list.children[at].scrollIntoView({ block: "nearest" });
	}

	/* Put the suggestion in the place of the term; what is whole gets a blank behind it, else the list goes on. */
	take(at) {
		const { text, whole } = this.items[at], { from: start, to: end, input: { value } } = this;
		const rest = value.slice(end), blank = whole && !/^\s/.test(rest) ? " " : "";
		this.close();
		this.input.value = value.slice(0, start) + text + blank + rest;
		const cursor = start + text.length + (whole ? 1 : 0);
		this.input.setSelectionRange(cursor, cursor);
		if (!whole)
			this.ask();
	}

	key(event) {
		const open = !this.list.hidden, n = this.items.length;
		if (event.isComposing || event.ctrlKey || event.metaKey)
			return;
		if (event.key === "ArrowDown" && !open)
			this.ask();
		else if (event.key === "ArrowDown")
			this.mark(this.at + 1 < n ? this.at + 1 : -1);
		else if (event.key === "ArrowUp" && open)
			this.mark(this.at < 0 ? n - 1 : this.at - 1);
		else if (event.key === "Enter" && open && this.at >= 0)
			this.take(this.at);
		else if (event.key === "Escape" && open)
			this.close();
		else
			return;
		event.preventDefault();
	}
}

export function start(box) {
	new Combobox(box.querySelector("[data-suggest]"));
	startHistory(box.querySelector(".history"));
	box.dataset.started = "yes";
}
