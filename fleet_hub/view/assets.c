#include "assets.h"

#include "common/embed.h"
#include "common/hash.h"

EMBED(css_observ, "fleet_hub/static/observ.css");
EMBED(css_uplot, "fleet_hub/static/vendor/uPlot.min.css");
EMBED(js_uplot, "fleet_hub/static/vendor/uPlot.iife.min.js");
EMBED(js_observ, "fleet_hub/static/observ.js");
EMBED(js_logs, "fleet_hub/static/logs.js");
EMBED(js_suggest, "fleet_hub/static/suggest.js");
EMBED(js_charts, "fleet_hub/static/charts.js");
EMBED(svg_icon, "fleet_hub/static/icon.svg");
EMBED(part_head, "fleet_hub/pages/_head.html");
EMBED(part_foot, "fleet_hub/pages/_foot.html");
EMBED(part_left_out, "fleet_hub/pages/_left_out.html");
EMBED(part_state, "fleet_hub/pages/_state.html");
EMBED(part_server_form, "fleet_hub/pages/_server_form.html");
EMBED(part_bootstrap, "fleet_hub/pages/_bootstrap.html");
EMBED(part_meter, "fleet_hub/pages/_meter.html");
EMBED(part_alerts_nav, "fleet_hub/pages/_alerts_nav.html");
EMBED(part_alert_row, "fleet_hub/pages/_alert_row.html");
EMBED(part_range, "fleet_hub/pages/_range.html");
EMBED(part_line, "fleet_hub/pages/_line.html");
EMBED(part_fields, "fleet_hub/pages/_fields.html");
EMBED(part_by, "fleet_hub/pages/_by.html");
EMBED(part_entry, "fleet_hub/pages/_entry.html");
EMBED(part_facet, "fleet_hub/pages/_facet.html");
EMBED(part_kept, "fleet_hub/pages/_kept.html");
EMBED(part_cells, "fleet_hub/pages/_cells.html");
EMBED(part_sessions, "fleet_hub/pages/_sessions.html");
EMBED(part_search, "fleet_hub/pages/_search.html");
EMBED(part_tokens, "fleet_hub/pages/_tokens.html");

static const char css[] = "text/css; charset=utf-8", js[] = "text/javascript; charset=utf-8";

static const struct asset assets[] = {
	{ "observ.css",    css,             css_observ, &css_observ_len },
	{ "vendor/uPlot.min.css",     css,             css_uplot,  &css_uplot_len  },
	{ "vendor/uPlot.iife.min.js", js,              js_uplot,   &js_uplot_len   },
	{ "observ.js",     js,              js_observ,  &js_observ_len  },
	{ "logs.js",       js,              js_logs,    &js_logs_len    },
	{ "suggest.js",    js,              js_suggest, &js_suggest_len },
	{ "charts.js",     js,              js_charts,  &js_charts_len  },
	{ "icon.svg",      "image/svg+xml", svg_icon,   &svg_icon_len   },
};

static const struct { const char *name, *bytes; const uint64_t *len; } partials[] = {
	{ "head",  part_head,  &part_head_len  },
	{ "foot",  part_foot,  &part_foot_len  },
	{ "left_out", part_left_out, &part_left_out_len },
	{ "state", part_state, &part_state_len },
	{ "server_form", part_server_form, &part_server_form_len },
	{ "bootstrap", part_bootstrap, &part_bootstrap_len },
	{ "meter", part_meter, &part_meter_len },
	{ "alerts_nav", part_alerts_nav, &part_alerts_nav_len },
	{ "alert_row", part_alert_row, &part_alert_row_len },
	{ "range", part_range, &part_range_len },
	{ "line",  part_line,  &part_line_len  },
	{ "cells", part_cells, &part_cells_len },
	{ "fields", part_fields, &part_fields_len },
	{ "sessions", part_sessions, &part_sessions_len },
	{ "tokens", part_tokens, &part_tokens_len },
	{ "kept", part_kept, &part_kept_len },
	{ "facet", part_facet, &part_facet_len },
	{ "entry", part_entry, &part_entry_len },
	{ "search", part_search, &part_search_len },
	{ "by", part_by, &part_by_len },
};

const struct asset *asset_find(struct text name)
{
	for (size_t i = 0; i < sizeof assets / sizeof assets[0]; i++)
		if (text_eq(name, text_of(assets[i].name)))
			return &assets[i];
	return NULL;
}

uint64_t asset_hash(const struct asset *a)
{
	return hash_bytes(HASH_START, a->bytes, (size_t)*a->len);
}

struct text asset_partial(struct text name)
{
	for (size_t i = 0; i < sizeof partials / sizeof partials[0]; i++)
		if (text_eq(name, text_of(partials[i].name)))
			return (struct text){ partials[i].bytes, (size_t)*partials[i].len };
	return (struct text){ NULL, 0 };
}
