-- The 100 corrections that came last: what a key said before, and what it says since.
SELECT newer.received, newer.idempotency_key, newer.what, older.message_id AS corrected, newer.message_id,
       older.superseded_since AS newer_because, older.json_payload AS payload_before,
       newer.json_payload AS payload_after
FROM history_${topic} older
JOIN history_${topic} newer
    ON newer.idempotency_key = older.idempotency_key
    AND newer.message_id = older.superseded_by AND newer.valid_from = older.valid_to
ORDER BY newer.received DESC, newer.idempotency_key, newer.valid_from DESC
LIMIT 100
