-- Every version of every key: since when and until when it counted, and what made the next one newer.
WITH versions AS (
    SELECT idempotency_key, message_id, publish_time,
           min(ingestion_ts) AS ingestion_ts, count(*) AS copies, min(json_payload) AS json_payload,
           CASE WHEN min(operation) = 'delete' OR (min(operation) IS NULL AND min(json_payload) IS NULL)
                THEN 'delete' ELSE 'upsert' END AS what
    FROM raw_${topic}
    GROUP BY idempotency_key, message_id, publish_time),
ordered AS (
    SELECT versions.*,
           lead(publish_time) OVER (PARTITION BY idempotency_key ORDER BY publish_time, ingestion_ts, message_id)
               AS next_published,
           lead(ingestion_ts) OVER (PARTITION BY idempotency_key ORDER BY publish_time, ingestion_ts, message_id)
               AS next_received,
           lead(message_id) OVER (PARTITION BY idempotency_key ORDER BY publish_time, ingestion_ts, message_id)
               AS next_message
    FROM versions)
SELECT o.idempotency_key, o.message_id, o.what,
       CAST(o.publish_time AT TIME ZONE 'UTC' AS timestamp(6)) AS valid_from,
       CAST(o.next_published AT TIME ZONE 'UTC' AS timestamp(6)) AS valid_to,
       CAST(o.ingestion_ts AT TIME ZONE 'UTC' AS timestamp(6)) AS received,
       o.copies, o.next_message AS superseded_by,
       CASE WHEN o.next_published IS NULL THEN NULL
            WHEN o.next_published > o.publish_time THEN 'it was published later'
            WHEN o.next_received > o.ingestion_ts THEN 'it was received later'
            ELSE 'its message id is greater' END AS superseded_since,
       c.idempotency_key IS NOT NULL AS stands_in_curated,
       o.json_payload
FROM ordered o
LEFT JOIN curated_${topic} c
    ON c.idempotency_key = o.idempotency_key AND c.message_id = o.message_id
    AND c.publish_time = o.publish_time
