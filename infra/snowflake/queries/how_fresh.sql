-- How fresh Snowflake's rows are: where this stands still while devices send, the refresh has stopped.
SELECT max(publish_time) AS newest_published, max(ingestion_ts) AS newest_received,
       datediff('minute', max(ingestion_ts), current_timestamp()) AS minutes_since_received
FROM lean_ops.semantic.semantic_events;
