/* The server page's charts: the same numbers as the server's own drawing, with a cursor that
 * all share and a drag that sets the time. */
const names = ["--accent", "--s2", "--s3", "--s4"];

/* Canvas knows nothing of light-dark(): let the browser resolve a colour on an element. */
function resolve(name) {
	const probe = document.body.appendChild(document.createElement("i"));
	probe.style.color = `var(${name})`;
	const value = getComputedStyle(probe).color;
	probe.remove();
	return value;
}

const faded = (rgb) => rgb.replace(/^rgba?\(([^)/]+).*$/, (_, parts) => `rgba(${parts.split(/[ ,]+/).slice(0, 3).join(",")},.14)`);

function bytes(v) {
	const units = ["B", "kB", "MB", "GB", "TB"];
	let i = 0;
	for (; Math.abs(v) >= 999.5 && i < 4; i++)
		v /= 1000;
	return `${v.toFixed(i && Math.abs(v) < 9.95 ? 1 : 0)} ${units[i]}`;
}

const shown = (chart, v) => v == null ? "-" : chart.bytes ? bytes(v) + "/s" : v.toLocaleString("en", { maximumFractionDigits: v < 10 ? 2 : 1 });

function load(tag, attributes) {
	return new Promise((done, failed) => {
		const element = Object.assign(document.createElement(tag), attributes, { onload: done, onerror: failed });
		document.head.append(element);
	});
}

/* One chart's columns: time, then average, lowest, highest of each series. */
function columns(chart, times) {
	return [times, ...chart.series.flatMap((s) => [s.avg, s.min, s.max])];
}

/* A line at each release, named where there is room: the list below the charts has all names. */
function markReleases(u, releases) {
	const { ctx, bbox } = u, ratio = devicePixelRatio || 1;
	let free = bbox.left;
	ctx.save();
	ctx.strokeStyle = ctx.fillStyle = resolve("--release");
	ctx.lineWidth = ratio;
	ctx.setLineDash([2 * ratio, 3 * ratio]);
	ctx.font = `${10 * ratio}px system-ui`;
	ctx.textAlign = "left";
	for (const { timestamp, release } of [...releases].reverse()) {
		const x = Math.round(u.valToPos(Date.parse(timestamp) / 1e3, "x", true)) + ratio / 2;
		if (x < bbox.left || x > bbox.left + bbox.width)
			continue;
		ctx.beginPath();
		ctx.moveTo(x, bbox.top);
		ctx.lineTo(x, bbox.top + bbox.height);
		ctx.stroke();
		const text = release.length > 16 ? release.slice(0, 15) + "…" : release, width = ctx.measureText(text).width;
		const at = Math.min(x + 3 * ratio, bbox.left + bbox.width - width);
		if (at < free)
			continue;
		ctx.fillText(text, at, bbox.top + 10 * ratio);
		free = at + width + 6 * ratio;
	}
	ctx.restore();
}

function options(chart, figure, size, sync, now) {
	const series = [{}], bands = [];
	chart.series.forEach((s, i) => {
		const line = resolve(names[Math.min(i, names.length - 1)]);
		series.push({ label: s.name, stroke: line, width: 1.4, points: { show: false } },
			{ stroke: "transparent", width: 0, points: { show: false } }, { stroke: "transparent", width: 0, points: { show: false } });
		bands.push({ series: [i * 3 + 3, i * 3 + 2], fill: faded(line) });
	});
	const axis = { stroke: resolve("--dim"), grid: { stroke: resolve("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
	return {
		...size, series, bands, legend: { show: false }, padding: [6, 16, 0, 0],
		tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "UTC"),
		scales: { x: { time: true }, y: { range: [chart.low, chart.high] } },
		axes: [{ ...axis, size: 22, gap: 3, values: (u, at) => at.map((s) => label(u, s)) },
			{ ...axis, size: 46, gap: 4, space: 32, values: (u, at) => at.map((v) => (chart.bytes ? bytes(v) : String(v))) }],
		cursor: { sync: { key: sync, setSeries: false }, drag: { x: true, y: false, setScale: false }, points: { size: 5 }, y: false },
		hooks: { setCursor: [(u) => legend(chart, figure, u.cursor.idx)], setSelect: [zoom],
			draw: [(u) => markReleases(u, now.releases)] },
	};
}

function label(u, seconds) {
	const t = new Date(seconds * 1e3).toISOString();
	return u.scales.x.max - u.scales.x.min > 172800 ? t.slice(5, 10) : t.slice(11, 16);
}

function legend(chart, figure, at) {
	figure.querySelectorAll(".key em").forEach((em, i) => {
		const s = chart.series[i];
		em.textContent = shown(chart, at == null ? s.last : s.avg[at]);
	});
}

function zoom(u) {
	if (u.select.width < 4)
		return;
	const url = new URL(location.href);
	url.searchParams.delete("range");
	url.searchParams.set("from", new Date(Math.floor(u.posToVal(u.select.left, "x")) * 1e3).toISOString());
	url.searchParams.set("to", new Date(Math.ceil(u.posToVal(u.select.left + u.select.width, "x")) * 1e3).toISOString());
	location.href = url;
}

async function fetchData() {
	const url = new URL(location.href);
	url.searchParams.set("format", "json");
	const answer = await fetch(url);
	if (!answer.ok)
		throw new Error(answer.status);
	return answer.json();
}

const timesOf = (data) => Array.from({ length: data.points }, (_, i) => Date.parse(data.from) / 1e3 + i * data.step_s);

export async function draw(section) {
	const [data] = await Promise.all([fetchData(), load("script", { src: section.dataset.uplot }),
		load("link", { rel: "stylesheet", href: section.dataset.uplotCss })]);
	const sync = uPlot.sync("time").key, plots = new Map();
	const now = { releases: data.deploys };
	const size = (plot) => ({ width: plot.clientWidth, height: plot.clientHeight });
	for (const chart of data.charts) {
		const figure = section.querySelector(`[data-chart="${chart.id}"]`), plot = figure?.querySelector(".plot");
		if (!plot)
			continue;
		plots.set(chart.id, [new uPlot(options(chart, figure, size(plot), sync, now), columns(chart, timesOf(data)), plot), plot]);
		plot.classList.add("drawn");
	}
	new ResizeObserver(() => { for (const [u, plot] of plots.values()) u.setSize(size(plot)); }).observe(section);
	document.addEventListener("observ:refreshed", async () => {
		const fresh = await fetchData();
		now.releases = fresh.deploys;
		for (const chart of fresh.charts)
			plots.get(chart.id)?.[0].setData(columns(chart, timesOf(fresh)));
	});
	section.dataset.drawn = "yes";
}
