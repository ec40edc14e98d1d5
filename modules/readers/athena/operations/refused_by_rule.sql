-- What contracts refused in the last 30 days, the most first.
SELECT topic, column_name, rule, sum(rows) AS refused, min(publish_time) AS first_refused,
       max(publish_time) AS last_refused
FROM ops_rules
WHERE publish_time >= current_timestamp - INTERVAL '30' DAY
GROUP BY topic, column_name, rule
ORDER BY refused DESC, topic, column_name, rule
