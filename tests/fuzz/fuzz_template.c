/*
 * Any bytes as a template, before a NUL, and as a value's text behind it. Checks that it renders, or gives an
 * error with a sentence; an error leaves the output unchanged; without raw tags, a template escapes each '<'
 * and quote of a value.
 */
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/template/template.h"

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "broken: %s\n", what);
	abort();
}

static struct text partial(const void *ctx, struct text name)
{
	return text_eq(name, TEXT("p")) ? *(const struct text *)ctx : (struct text){ NULL, 0 };
}

static bool twice(const void *ctx, struct text in, struct buf *out)
{
	(void)ctx;
	return buf_add(out, in.s, in.len) && buf_add(out, in.s, in.len);
}

static template_formatter *formatter(const void *ctx, struct text name)
{
	(void)ctx;
	return text_eq(name, TEXT("t")) ? twice : NULL;
}

static struct json_object *data_with(const char *value, size_t len)
{
	struct json_object *data = json_object_new_object(), *list = json_object_new_array();

	json_object_object_add(data, "v", json_object_new_string_len(value, (int)len));
	for (int i = 0; i < 3; i++) {
		struct json_object *item = json_object_new_object();

		json_object_object_add(item, "v",
				       i == 1 ? NULL : json_object_new_string_len(value, (int)len));
		json_object_array_add(list, item);
	}
	json_object_object_add(data, "a", list);
	json_object_object_add(data, "n", json_object_new_int(0));
	return data;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const char *text = (const char *)bytes, *nul = size ? memchr(text, 0, size) : NULL;
	size_t len = nul ? (size_t)(nul - text) : size;
	struct text source = { text, len };
	struct template_env env = { .partial = partial, .formatter = formatter, .ctx = &source, .raw = true };
	struct json_object *data = data_with(nul ? nul + 1 : "", nul ? size - len - 1 : 0);
	struct buf out = BUF(1 << 18);
	struct err e = { 0 };

	if (template_render(source, data, &env, &out, &e) < 0) {
		must(e.msg[0] != '\0', "an error without a sentence");
		must(out.len == 0, "an error that left something in the output");
	} else if (len && !memchr(text, '<', len) && !memmem(text, len, "{{{", 3) &&
		   !memchr(text, '&', len) && out.len) {
		must(!memchr(out.data, '<', out.len), "a value's '<' came through");
	}
	json_object_put(data);
	buf_free(&out);
	return 0;
}
