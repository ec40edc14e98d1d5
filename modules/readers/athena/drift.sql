-- Fields that have no column of their own and are kept in _rescued, of the last 30 days, the most frequent first.
SELECT path, count(*) AS row_count, min(publish_time) AS first_published, max(publish_time) AS newest_published
FROM curated_${topic}
CROSS JOIN UNNEST(map_keys(CAST(json_parse(_rescued) AS map(varchar, json)))) AS rescued (path)
WHERE publish_time >= current_timestamp - INTERVAL '30' DAY
GROUP BY path
ORDER BY row_count DESC, path
