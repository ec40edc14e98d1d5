-- Every version of one key, the newest first. Parameter: the idempotency_key.
SELECT message_id, what, valid_from, valid_to, received, copies, superseded_by, superseded_since,
       stands_in_curated, json_payload
FROM history_${topic}
WHERE idempotency_key = ?
ORDER BY valid_from DESC, received DESC, message_id DESC
