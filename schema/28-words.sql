-- ==== 28-words: the words of a log line, and of what is looked for in it ========================
-- A word is a run of letters and digits, and everything else separates words: PostgreSQL's own ideas of URLs,
-- paths, tags, class names and negative numbers play no part. Letters are folded to lower case after NFC
-- normalisation; accents stay. A script without spaces between words becomes pairs of characters, so each
-- part of two characters or more is found. The parts of camelCase words are words too.
--
-- log_entries.search has the words without their places. The index finds the lines that have all words of a
-- phrase, and the text decides: this costs least for each line, and has no limit of places. Lines and queries
-- go through the same functions. These use tables of code points and ICU instead of the database's locale.
-- docs/schema.md has the figures.

-- Raise this when words() makes other words of a line: then schema.sql makes those of all lines anew.
CREATE OR REPLACE FUNCTION words_version() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 2;

-- A text of a line that is indexed is cut, because a tsvector holds at most 1 MiB and no line may be refused
-- for its words.
CREATE OR REPLACE FUNCTION max_search_chars() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 16384;

-- Beginnings of longer words are indexed. A query has no longer ones.
CREATE OR REPLACE FUNCTION max_word_chars() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 255;

-- Punctuation, symbols and blanks beyond ASCII: classes P, S, Z, Cc and Co of Unicode 14, as ranges for a
-- regular expression. A test holds them against Unicode.
CREATE OR REPLACE FUNCTION separators() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
	'\u0080-\u00A9\u00AB-\u00AC\u00AE-\u00B1\u00B4\u00B6-\u00B8\u00BB\u00BF\u00D7\u00F7'
	'\u02C2-\u02C5\u02D2-\u02DF\u02E5-\u02EB\u02ED\u02EF-\u02FF\u0375\u037E\u0384-\u0385\u0387'
	'\u03F6\u0482\u055A-\u055F\u0589-\u058F\u05BE\u05C0\u05C3\u05C6\u05F3-\u05F4\u0606-\u060F'
	'\u061B\u061D-\u061F\u066A-\u066D\u06D4\u06DE\u06E9\u06FD-\u06FE\u0700-\u070D\u07F6-\u07F9'
	'\u07FE-\u07FF\u0830-\u083E\u085E\u0888\u0964-\u0965\u0970\u09F2-\u09F3\u09FA-\u09FB\u09FD'
	'\u0A76\u0AF0-\u0AF1\u0B70\u0BF3-\u0BFA\u0C77\u0C7F\u0C84\u0D4F\u0D79\u0DF4\u0E3F\u0E4F'
	'\u0E5A-\u0E5B\u0F01-\u0F17\u0F1A-\u0F1F\u0F34\u0F36\u0F38\u0F3A-\u0F3D\u0F85\u0FBE-\u0FC5'
	'\u0FC7-\u0FDA\u104A-\u104F\u109E-\u109F\u10FB\u1360-\u1368\u1390-\u1399\u1400\u166D-\u166E'
	'\u1680\u169B-\u169C\u16EB-\u16ED\u1735-\u1736\u17D4-\u17D6\u17D8-\u17DB\u1800-\u180A'
	'\u1940-\u1945\u19DE-\u19FF\u1A1E-\u1A1F\u1AA0-\u1AA6\u1AA8-\u1AAD\u1B5A-\u1B6A\u1B74-\u1B7E'
	'\u1BFC-\u1BFF\u1C3B-\u1C3F\u1C7E-\u1C7F\u1CC0-\u1CC7\u1CD3\u1FBD\u1FBF-\u1FC1\u1FCD-\u1FCF'
	'\u1FDD-\u1FDF\u1FED-\u1FEF\u1FFD-\u200A\u2010-\u2029\u202F-\u205F\u207A-\u207E\u208A-\u208E'
	'\u20A0-\u20C0\u2100-\u2101\u2103-\u2106\u2108-\u2109\u2114\u2116-\u2118\u211E-\u2123\u2125'
	'\u2127\u2129\u212E\u213A-\u213B\u2140-\u2144\u214A-\u214D\u214F\u218A-\u244A\u249C-\u24E9'
	'\u2500-\u2775\u2794-\u2BFF\u2CE5-\u2CEA\u2CF9-\u2CFC\u2CFE-\u2CFF\u2D70\u2E00-\u2E2E'
	'\u2E30-\u3004\u3008-\u3020\u3030\u3036-\u3037\u303D-\u303F\u309B-\u309C\u30A0\u30FB'
	'\u3190-\u3191\u3196-\u319F\u31C0-\u31E3\u3200-\u321E\u322A-\u3247\u3250\u3260-\u327F'
	'\u328A-\u32B0\u32C0-\u33FF\u4DC0-\u4DFF\uA490-\uA4C6\uA4FE-\uA4FF\uA60D-\uA60F\uA673\uA67E'
	'\uA6F2-\uA716\uA720-\uA721\uA789-\uA78A\uA828-\uA82B\uA836-\uA839\uA874-\uA877\uA8CE-\uA8CF'
	'\uA8F8-\uA8FA\uA8FC\uA92E-\uA92F\uA95F\uA9C1-\uA9CD\uA9DE-\uA9DF\uAA5C-\uAA5F\uAA77-\uAA79'
	'\uAADE-\uAADF\uAAF0-\uAAF1\uAB5B\uAB6A-\uAB6B\uABEB\uE000-\uF8FF\uFB29\uFBB2-\uFBC2'
	'\uFD3E-\uFD4F\uFDCF\uFDFC-\uFDFF\uFE10-\uFE19\uFE30-\uFE6B\uFF01-\uFF0F\uFF1A-\uFF20'
	'\uFF3B-\uFF40\uFF5B-\uFF65\uFFE0-\uFFEE\uFFFC-\uFFFD\U00010100-\U00010102'
	'\U00010137-\U0001013F\U00010179-\U00010189\U0001018C-\U000101FC\U0001039F\U000103D0\U0001056F'
	'\U00010857\U00010877-\U00010878\U0001091F\U0001093F\U00010A50-\U00010A58\U00010A7F\U00010AC8'
	'\U00010AF0-\U00010AF6\U00010B39-\U00010B3F\U00010B99-\U00010B9C\U00010EAD'
	'\U00010F55-\U00010F59\U00010F86-\U00010F89\U00011047-\U0001104D\U000110BB-\U000110BC'
	'\U000110BE-\U000110C1\U00011140-\U00011143\U00011174-\U00011175\U000111C5-\U000111C8'
	'\U000111CD\U000111DB\U000111DD-\U000111DF\U00011238-\U0001123D\U000112A9\U0001144B-\U0001144F'
	'\U0001145A-\U0001145D\U000114C6\U000115C1-\U000115D7\U00011641-\U00011643'
	'\U00011660-\U0001166C\U000116B9\U0001173C-\U0001173F\U0001183B\U00011944-\U00011946\U000119E2'
	'\U00011A3F-\U00011A46\U00011A9A-\U00011A9C\U00011A9E-\U00011AA2\U00011C41-\U00011C45'
	'\U00011C70-\U00011C71\U00011EF7-\U00011EF8\U00011FD5-\U00011FFF\U00012470-\U00012474'
	'\U00012FF1-\U00012FF2\U00016A6E-\U00016A6F\U00016AF5\U00016B37-\U00016B3F'
	'\U00016B44-\U00016B45\U00016E97-\U00016E9A\U00016FE2\U0001BC9C\U0001BC9F\U0001CF50-\U0001D164'
	'\U0001D16A-\U0001D16C\U0001D183-\U0001D184\U0001D18C-\U0001D1A9\U0001D1AE-\U0001D241'
	'\U0001D245\U0001D300-\U0001D356\U0001D6C1\U0001D6DB\U0001D6FB\U0001D715\U0001D735\U0001D74F'
	'\U0001D76F\U0001D789\U0001D7A9\U0001D7C3\U0001D800-\U0001D9FF\U0001DA37-\U0001DA3A'
	'\U0001DA6D-\U0001DA74\U0001DA76-\U0001DA83\U0001DA85-\U0001DA8B\U0001E14F\U0001E2FF'
	'\U0001E95E-\U0001E95F\U0001ECAC\U0001ECB0\U0001ED2E\U0001EEF0-\U0001F0F5\U0001F10D-\U0001FBCA'
	'\U000F0000-\U0010FFFF';

-- Characters that nobody sees: classes Cf and Me, and variation selectors. They leave before words are made.
CREATE OR REPLACE FUNCTION invisibles() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
	'\u00AD\u0488-\u0489\u0600-\u0605\u061C\u06DD\u070F\u0890-\u0891\u08E2\u180E\u1ABE'
	'\u200B-\u200F\u202A-\u202E\u2060-\u206F\u20DD-\u20E0\u20E2-\u20E4\uA670-\uA672\uFE00-\uFE0F'
	'\uFEFF\uFFF9-\uFFFB\U000110BD\U000110CD\U00013430-\U00013438\U0001BCA0-\U0001BCA3'
	'\U0001D173-\U0001D17A\U000E0001-\U000E01EF';

-- Scripts without spaces between words: Thai, Lao, Tibetan, Myanmar, Hangul, Khmer, those of Yunnan and Java,
-- kana, bopomofo, Han, Yi.
CREATE OR REPLACE FUNCTION unspaced() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
	'\u0E00-\u109F\u1100-\u11FF\u1780-\u17FF\u1950-\u19DF\u1A20-\u1AAD\u1B00-\u1B7F\u3005-\u3007'
	'\u3021-\u302F\u3031-\u3035\u303B-\u303C\u3041-\u3096\u3099-\u309F\u30A1-\u4DBF\u4E00-\uA4CF'
	'\uA960-\uAADF\uAC00-\uD7FF\uF900-\uFAFF\uFF66-\uFFDC\U00016FE0-\U00018D7F'
	'\U0001AFF0-\U0001B2FF\U00020000-\U0003FFFF';

-- The best lower() that this server has, and one sigma for the two that Greek has.
DO $$
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION lower_case(p text) RETURNS text
		LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN replace(lower(p %s), ''ς'', ''σ'')',
		(SELECT 'COLLATE pg_catalog.' || quote_ident(collname) FROM pg_collation
		WHERE collname IN ('und-x-icu', 'pg_c_utf8') AND collnamespace = 'pg_catalog'::regnamespace
		ORDER BY collname DESC LIMIT 1));
END
$$;

-- The text in which the words of a line stand, logger and message cut at p_max. Blanks stand for what
-- separates keys and values in the context's JSON, and for its escapes.
CREATE OR REPLACE FUNCTION line_text(p_logger text, p_message text, p_context text, p_max int) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(p_message) + coalesce(octet_length(p_logger), 0) < p_max
	THEN coalesce(p_logger || ' ', '') || p_message
	ELSE left(coalesce(p_logger || ' ', '') || p_message, p_max) END || coalesce(' ' ||
	CASE WHEN strpos(p_context, '\') = 0
	THEN replace(replace(replace(replace(p_context, '": "', ' '), '", "', ' '), '": ', ' '), ', "', ' ')
	ELSE regexp_replace(p_context, '\\(["\\/bfnrt]|u[0-9a-f]{4})', ' ', 'g') END, '');

-- Blanks in place of the symbols that most lines have. replace() takes a third of the time of a regular
-- expression, an eighth of that of translate().
CREATE OR REPLACE FUNCTION symbols_apart(p text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(p,
	'"', ' '), ':', ' '), ',', ' '), '{', ' '), '}', ' '), '/', ' '), '.', ' '), '-', ' '), '_', ' '),
	'=', ' '), '(', ' '), ')', ' ');

-- Blanks between the parts of camelCase words: orderService, HTTPServer, OAuth2Client.
CREATE OR REPLACE FUNCTION camel_apart(p text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(p COLLATE "C", '(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])', ' ', 'g');

-- NFC, without invisible characters.
CREATE OR REPLACE FUNCTION composed(p text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	p := regexp_replace(p COLLATE "C", '[' || observ.invisibles() || ']+', '', 'g');
	RETURN CASE WHEN p IS NORMALIZED THEN p ELSE normalize(p) END;
END
$$;

-- Blanks in place of all that separates words.
CREATE OR REPLACE FUNCTION separators_apart(p text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(p COLLATE "C", E'[\\u0001-\\u001F!-/:-@[-`{-\\u007F' || separators() || ']+', ' ', 'g');

-- Lower case, NFC, without invisible characters.
CREATE OR REPLACE FUNCTION folded(p text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(p) = length(p) THEN lower(p COLLATE "C") ELSE lower_case(composed(p)) END;

-- The words of a text in their order. A run of an unspaced script becomes its pairs and its last character.
-- In a query that character is left out if a longer run ends the text: the run may go on in the line.
CREATE OR REPLACE FUNCTION word_list(p text, p_query boolean DEFAULT false) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	t text := btrim(regexp_replace(observ.folded(p) COLLATE "C", E'[\\u0001-/:-@[-`{-\\u007F' ||
		observ.separators() || ']+', ' ', 'g'));
	run text := '[' || observ.unspaced() || ']';
	ret text[];
BEGIN
	IF t !~ run THEN
		ret := string_to_array(t, ' ');
	ELSE
		-- Blanks around each run; within it \x01 before a character that follows another.
		t := regexp_replace(t, '(' || run || '+)', E' \\1 ', 'g');
		t := regexp_replace(t, '(' || run || ')(?=' || run || ')', E'\\1 \x01', 'g');
		SELECT array_agg(ltrim(word, E'\x01') || CASE WHEN starts_with(next, E'\x01')
				THEN substr(next, 2) ELSE '' END ORDER BY place)
			FILTER (WHERE next IS NOT NULL OR NOT p_query OR NOT starts_with(word, E'\x01'))
		INTO ret
		FROM (SELECT word, place, lead(word) OVER (ORDER BY place) AS next
			FROM unnest(string_to_array(btrim(t), ' ')) WITH ORDINALITY u(word, place)
			WHERE word <> '') x;
	END IF;
	IF octet_length(t) > observ.max_word_chars() THEN
		SELECT array_agg(left(w, observ.max_word_chars()) ORDER BY place) INTO ret
		FROM unnest(ret) WITH ORDINALITY u(w, place);
	END IF;
	RETURN ret;
END
$$;

-- Each pair of characters in the runs of unspaced scripts, and the last character of each run.
CREATE OR REPLACE FUNCTION pairs(p text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	c CONSTANT text[] := string_to_array(regexp_replace(p COLLATE "C", '[^' || observ.unspaced() || ']+',
		' ', 'g') || ' ', NULL);
BEGIN
	RETURN ARRAY(SELECT rtrim(one || next) FROM unnest(c, c[2:]) u(one, next) WHERE one <> ' ');
END
$$;

-- The words of any line, some twice. p is p_line without its usual symbols. U+FFFD stands for a byte that is
-- no text.
CREATE OR REPLACE FUNCTION odd_words(p_line text, p text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	whole text := replace(p, E'\uFFFD', ' ');
	ascii CONSTANT boolean := octet_length(whole) = length(whole);
	composed CONSTANT text := CASE WHEN NOT ascii THEN observ.composed(p_line) END;
	parts text := '';
	list text[];
BEGIN
	IF composed <> p_line THEN                      -- symbols may be part of a composed character
		whole := composed;
	END IF;
	whole := observ.separators_apart(whole);
	IF whole ~ '[a-z][A-Z]|[A-Z0-9][A-Z][a-z]' THEN
		parts := ' ' || observ.camel_apart(whole);
	END IF;
	IF ascii THEN
		whole := lower((whole || parts) COLLATE "C");
	ELSIF whole ~ ('[' || observ.unspaced() || ']') THEN
		whole := observ.lower_case(whole);
		list := observ.pairs(whole);
		whole := regexp_replace((whole || observ.lower_case(parts)) COLLATE "C",
			'[' || observ.unspaced() || ']+', ' ', 'g');
	ELSE
		whole := observ.lower_case(whole || parts);
	END IF;
	list := list || string_to_array(whole, ' ');
	IF octet_length(whole) >= 2047 THEN             -- a longer word is none in a tsvector
		list := ARRAY(SELECT left(w, observ.max_word_chars()) FROM unnest(list) w);
	END IF;
	RETURN list;
END
$$;

-- The text of a line, for lines that are short and have ASCII letters, digits and the usual symbols alone: as
-- line_text() in fewer steps.
CREATE OR REPLACE FUNCTION usual_text(p_logger text, p_message text, p_context text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN symbols_apart(coalesce(p_logger || ' ', '') || p_message ||
	coalesce(' ' || replace(replace(p_context, '": ', ' '), ', "', ' '), ''));

-- The words of a log line; level=LEVEL if that is not INFO; cut= if the context is longer than what is
-- indexed. Most lines are usual ones. Nothing depends on the search_path, nor, with E before each backslash,
-- on standard_conforming_strings.
CREATE OR REPLACE FUNCTION words(p_level text, p_logger text, p_message text, p_context jsonb)
RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	t text := observ.usual_text(p_logger, p_message, p_context::text);
	low text := lower(t COLLATE "C");
	c text;
	line text;
	marks text;
BEGIN
	IF octet_length(t) < 2047 AND (CASE WHEN low = t THEN t !~ '[^a-z0-9 ]'
			ELSE t !~ '[^a-zA-Z0-9 ]|[a-z][A-Z]|[A-Z0-9][A-Z][a-z]' END) THEN
		RETURN array_to_tsvector(array_remove(string_to_array(
			CASE WHEN p_level = 'INFO' THEN low ELSE low || ' level=' || p_level END, ' '), ''));
	END IF;
	c := p_context::text;
	marks := CASE WHEN p_level = 'INFO' THEN '' ELSE ' level=' || p_level END;
	IF octet_length(c) > observ.max_search_chars() AND length(c) > observ.max_search_chars() THEN
		c := left(c, observ.max_search_chars());
		marks := marks || ' cut=';
	END IF;
	line := observ.line_text(p_logger, p_message, c, observ.max_search_chars());
	RETURN array_to_tsvector(array_remove(observ.odd_words(line, observ.symbols_apart(line)) ||
		string_to_array(marks, ' '), ''));
END
$$;
