-- Where the keys are that RAW received, by day of the last 30: the last column is 0 unless rows are on their way.
WITH received AS (
    SELECT idempotency_key, CAST(max(ingestion_ts) AT TIME ZONE 'UTC' AS date) AS received_on
    FROM raw_${topic}
    WHERE publish_time >= current_timestamp - INTERVAL '30' DAY
    GROUP BY idempotency_key)
SELECT received_on, count(*) AS keys_in_raw,
       count_if(curated.idempotency_key IS NOT NULL) AS in_curated,
       count_if(curated._tombstone) AS deleted,
       count_if(semantic.idempotency_key IS NOT NULL) AS in_semantic,
       count_if(quarantine.idempotency_key IS NOT NULL) AS in_quarantine,
       count_if(curated.idempotency_key IS NULL
                OR (NOT coalesce(curated._tombstone, false) AND semantic.idempotency_key IS NULL
                    AND quarantine.idempotency_key IS NULL)) AS nowhere
FROM received
LEFT JOIN curated_${topic} curated ON curated.idempotency_key = received.idempotency_key
LEFT JOIN semantic_${topic} semantic ON semantic.idempotency_key = received.idempotency_key
LEFT JOIN quarantine_${topic} quarantine ON quarantine.idempotency_key = received.idempotency_key
GROUP BY received_on
ORDER BY received_on DESC
