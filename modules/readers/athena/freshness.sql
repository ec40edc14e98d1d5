-- How fresh each layer is, of what was published in the last 30 days.
SELECT layer, count(*) AS row_count, max(publish_time) AS newest_published, max(ingestion_ts) AS newest_received,
       date_diff('minute', max(ingestion_ts), current_timestamp) AS minutes_since_received
FROM (
    SELECT 'raw' AS layer, publish_time, ingestion_ts FROM raw_${topic}
    UNION ALL
    SELECT 'curated', publish_time, ingestion_ts FROM curated_${topic}
    UNION ALL
    SELECT 'semantic', publish_time, ingestion_ts FROM semantic_${topic}
)
WHERE publish_time >= current_timestamp - INTERVAL '30' DAY
GROUP BY layer
ORDER BY newest_received DESC, layer
