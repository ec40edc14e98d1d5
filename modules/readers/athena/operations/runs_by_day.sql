-- Rows, requests to S3 and seconds of runs, by day, topic and layer, of the last 30 days.
SELECT CAST(publish_time AT TIME ZONE 'UTC' AS date) AS day, topic, layer, count(*) AS commits,
       sum(rows_read) AS rows_read, sum(inserted + updated + removed) AS rows_changed,
       sum(new_columns) AS new_columns, sum(bytes) AS bytes, sum(gets) AS gets, sum(puts) AS puts,
       round(sum(seconds), 1) AS seconds
FROM ops_runs
WHERE publish_time >= current_timestamp - INTERVAL '30' DAY
GROUP BY 1, 2, 3
ORDER BY day DESC, topic, layer
