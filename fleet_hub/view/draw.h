/*
 * draw.h - the formatters that draw: numbers in, the path of an SVG out.
 *
 * Promises that the geometry of pictures is here alone: questions give numbers. A null is a gap in a
 * line. What is no list of numbers draws nothing. Documented in format.h.
 */
#ifndef FLEET_HUB_DRAW_H
#define FLEET_HUB_DRAW_H

#include "common/template/template.h"

template_formatter draw_line, draw_band, draw_bar;

#endif
