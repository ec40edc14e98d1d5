-- What upkeep did to each table in the last 30 days, the one first that took longest.
SELECT topic, layer, count(*) AS passes, count_if(NOT finished) AS unfinished, round(sum(seconds), 1) AS seconds,
       sum(files_compacted) AS files_compacted, sum(snapshots_expired) AS snapshots_expired,
       sum(orphan_bytes) AS orphan_bytes, sum(rows_past) AS rows_past,
       max(data_files_before) AS most_data_files, max_by(data_files_after, publish_time) AS data_files_now,
       max_by(bytes_after, publish_time) AS bytes_now
FROM ops_upkeep
WHERE publish_time >= current_timestamp - INTERVAL '30' DAY
GROUP BY topic, layer
ORDER BY seconds DESC, topic, layer
