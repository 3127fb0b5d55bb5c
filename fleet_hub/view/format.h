/*
 * format.h - the formatters that the templates may call: text in, text out.
 *
 *	{{#f.age}}37{{/f.age}}                          37 s
 *	{{#f.num}}18204{{/f.num}}                       18,204
 *	{{#f.bytes}}1234567{{/f.bytes}}                 1.2 MB
 *	{{#f.heat}}95{{/f.heat}}                        hot (from 90), warm (from 80) or nothing
 *	{{#f.zero}}0{{/f.zero}}                         zero, for 0, or nothing
 *	{{#f.plural}}2{{/f.plural}}                     s, or nothing for 1
 *	{{#f.clock}}2026-11-30T06:00:01Z{{/f.clock}}    06:00:01
 *	{{#f.day}}2026-11-30T06:00:01Z{{/f.day}}        11-30 06:00
 *	{{#f.span}}TIME FROM TO{{/f.span}}              06:00, or Nov 30 06:00 when FROM and TO are more
 *	                                                than 20 h apart
 *	{{#f.url}}a b/c{{/f.url}}                       a%20b%2Fc
 *	{{#f.with}}sort=cpu{{/f.with}}                  the page's own query, changed; k=v&k2=v2, no value:
 *	                                                without k. Only for values that hold no '&'.
 *	{{#f.set}}columns=time,ctx.a&b{{/f.set}}        ... one parameter of it changed, to any value
 *	{{#f.and}}app:billing{{/f.and}}                 the page's own query with a term added to q, or
 *	                                                no longer excluded there
 *	{{#f.not}}app:billing{{/f.not}}                 ... with the term excluded
 *	{{#f.drop}}app:billing{{/f.drop}}               ... without the term
 *	{{#f.term}}vps:my server{{/f.term}}             vps:"my server", as the search box reads it
 *	{{#f.line}}90 22 0 100 [1,2,null,3]{{/f.line}}  an SVG path: width, height, lowest, highest, values
 *	{{#f.band}}90 22 0 100 [1,2] [3,4]{{/f.band}}   an SVG path between two rows of values
 *	{{#f.bar}}600 62 60 3 40 1 2 5{{/f.bar}}        the whole picture's width, height and number of
 *	                                                bars, this bar's place, the highest sum, values
 *	                                                that are stacked: the box of the last one. Without
 *	                                                sum and values: the bar's place, top to bottom
 *	{{#f.asset}}observ.css{{/f.asset}}              the file's address, with a hash of its content
 *
 * What is no number comes out as it went in. A null is a gap in a line.
 */
#ifndef FLEET_HUB_FORMAT_H
#define FLEET_HUB_FORMAT_H

#include "fleet_hub/http/http.h"
#include "common/template/template.h"

/* The formatter of that name, or NULL. Its ctx is a const struct request. */
template_formatter *format_find(struct text name);

#endif
