SELECT rule_id, kind, question, at, extract(epoch FROM at) FROM external_questions(clock_timestamp())
