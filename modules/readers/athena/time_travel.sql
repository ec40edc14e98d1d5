-- Keys whose row is another than it was a day ago; for another time put TIMESTAMP '2026-11-26 12:00:00 UTC' there.
SELECT coalesce(present.idempotency_key, earlier.idempotency_key) AS idempotency_key,
       earlier.message_id AS message_then, present.message_id AS message_now,
       earlier.publish_time AS published_then, present.publish_time AS published_now
FROM curated_${topic} present
FULL JOIN curated_${topic} FOR TIMESTAMP AS OF (current_timestamp - INTERVAL '1' DAY) earlier
    ON earlier.idempotency_key = present.idempotency_key
WHERE earlier._merge_seq IS DISTINCT FROM present._merge_seq
ORDER BY 1
